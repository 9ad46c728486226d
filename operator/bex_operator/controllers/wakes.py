"""Which Apps a change in the cluster concerns: they are looked at again."""

from collections.abc import Callable
from typing import Any

from bex_operator.api import names
from bex_operator.controllers import views
from bex_operator.kube import caches, kinds, queues

Object = dict[str, Any]
Key = caches.Key


class Wakes:
    """Listens to every cache and puts the Apps concerned into the queue."""

    def __init__(self, seen: views.Views, queue: queues.Queue[Key]) -> None:
        self._views = seen
        self.queue = queue
        seen.apps.listen(self._app_changed)
        seen.pods.listen(self._labelled_changed)
        seen.records.listen(self._labelled_changed)
        seen.jobs.listen(self._labelled_changed)
        for cache in seen.children.values():
            cache.listen(self._child_changed)
        seen.children[kinds.INGRESS.kind].listen(self._ingress_changed)
        if seen.certificates is not None:
            seen.certificates.listen(self._labelled_changed)
        if seen.namespaces is not None:
            seen.namespaces.listen(self._namespace_changed)

    def all(self) -> None:
        """Look at every App again, behind whatever is new."""
        for key in self._views.apps.keys():  # noqa: SIM118 - a cache is no dict
            self.queue.add(key, fresh=False)

    def claimants(self, before: Object | None, after: Object | None, key: Key) -> None:
        """Look at Apps that want hosts which the Ingress of App *key* took or gave up."""
        self._enqueue_claimants(_moved_hosts(before, after, views.hosts_of_ingress), key)

    def _namespace_changed(self, change: caches.Change) -> None:
        """A namespace came under our care (or left it): look at its Apps."""
        if change.is_new_or_gone:
            for key in self._views.apps.keys():  # noqa: SIM118 - a cache is no dict
                if key[0] == change.key[1]:
                    self.queue.add(key, fresh=not change.initial)

    def _app_changed(self, change: caches.Change) -> None:
        # One that was made or changed while nobody looked is not of the backlog.
        found = change.initial and not (change.after and views.is_unseen(change.after))
        self.queue.add(change.key, fresh=not found)
        if not change.initial:
            hosts = _moved_hosts(change.before, change.after, self._views.asked_hosts)
            self._enqueue_claimants(hosts, change.key)

    def _labelled_changed(self, change: caches.Change) -> None:
        manifest = change.after or change.before or {}
        labels = manifest["metadata"].get("labels", {})
        name = labels.get(names.APP_LABEL) or labels.get(names.JOB_OF_LABEL, "")
        self._enqueue_known((change.key[0], name), change)

    def _child_changed(self, change: caches.Change) -> None:
        self._enqueue_known(change.key, change)

    def _ingress_changed(self, change: caches.Change) -> None:
        if not change.initial:
            self.claimants(change.before, change.after, change.key)

    def _enqueue_claimants(self, hosts: list[str], besides: Key) -> None:
        for key in self._views.claimants(hosts) - {besides}:
            self.queue.add(key)

    def _enqueue_known(self, key: Key, change: caches.Change) -> None:
        if key in self._views.apps:
            self.queue.add(key, fresh=not change.initial)


def _moved_hosts(
    before: Object | None, after: Object | None, read: Callable[[Object], Any]
) -> list[str]:
    """Hosts that only one of the two has."""
    sides = [set(read(side)) if side is not None else set() for side in (before, after)]
    return sorted(sides[0] ^ sides[1])
