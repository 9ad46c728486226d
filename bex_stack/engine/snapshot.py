"""The stack's state while a run changes it: what was, what is done, what is under way.

Every change is on disk before the next operation begins, so a killed run can be taken up again.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bex_stack.engine import backend, errors, passphrase, state, urns

ENGINE_VERSION = "v3.272.0"


class Snapshot:
    """Resources of the last run that are not done yet, and the new ones in order of completion."""

    def __init__(
        self,
        files: backend.StackFiles,
        deployment: state.Deployment,
        crypter: passphrase.Crypter,
        *,
        dry_run: bool,
    ) -> None:
        self._files = files
        self._crypter = crypter
        self._dry_run = dry_run
        self._metadata = deployment.metadata
        self._old = list(deployment.resources)
        self._new: list[state.Resource] = []
        self._pending: list[state.Pending] = list(deployment.pending)
        self._texts: dict[int, tuple[state.Resource, str]] = {}
        # A stack without resources has no secrets to seal anew.
        self._dirty = bool(deployment.resources) and deployment.salt != crypter.state
        self._lock = threading.RLock()

    def all(self) -> list[state.Resource]:
        """Return every resource, in the order the state file has them."""
        with self._lock:
            return [*self._new, *self._old]

    def remaining(self) -> list[state.Resource]:
        """Return the resources of the last run that no step has taken up."""
        with self._lock:
            return list(self._old)

    def done(self) -> list[state.Resource]:
        """Return the resources this run registered."""
        with self._lock:
            return list(self._new)

    def find(self, urn: str) -> state.Resource | None:
        """Return the living resource with this URN, this run's first."""
        with self._lock:
            for resource in [*self._new, *self._old]:
                if resource.urn == urn and not resource.delete:
                    return resource
        return None

    @contextlib.contextmanager
    def operation(self, kind: str, resource: state.Resource) -> Iterator[None]:
        """Record an operation as begun for the length of the block; kind as in the state file.

        A provider's failure takes the record away too: it has said that nothing was done. What a
        killed process or a broken connection leaves is looked at by the next run.
        """
        pending = state.Pending(kind, resource)
        with self._lock:
            self._pending.append(pending)
            self._save()
        try:
            yield
        except errors.Unreachable:
            raise
        except errors.EngineError:
            self.settle(pending)
            raise
        self.settle(pending)

    def settle(self, pending: state.Pending) -> None:
        """Forget an operation that an earlier run left behind."""
        with self._lock:
            self._pending.remove(pending)
            self._save()

    def put(self, new: state.Resource, old: state.Resource | None) -> None:
        """Record a resource as done; `old` is what it supersedes. Written by the next save."""
        with self._lock:
            if old is not None:
                self._drop(old)
            self._new.append(new)
            self._dirty = self._dirty or old is None or not new.same_record(old)

    def adopt(self, resource: state.Resource, superseded: state.Resource | None) -> None:
        """Add a resource found outside to those of the last run."""
        with self._lock:
            if superseded is not None:
                self._drop(superseded)
            self._old.append(resource)
            self._dirty = True

    def swap(self, before: state.Resource, after: state.Resource) -> None:
        """Replace one record by another in place. Written by the next save."""
        with self._lock:
            for group in (self._new, self._old):
                for index, each in enumerate(group):
                    if each is before:
                        group[index] = after
                        self._dirty = self._dirty or not after.same_record(before)
                        return
        raise LookupError(before.urn)

    def remove(self, resource: state.Resource) -> None:
        """Forget a resource. Written by the next save."""
        with self._lock:
            self._drop(resource)
            self._dirty = True

    def pending(self) -> list[state.Pending]:
        """Return the operations begun and not settled."""
        with self._lock:
            return list(self._pending)

    def rename(self, old_urn: str, new_urn: str) -> None:
        """Let resources not done yet point to an aliased resource by its new URN."""
        with self._lock:
            self._old = [_repoint(each, old_urn, new_urn) for each in self._old]

    def flush(self) -> None:
        """Write what is not written yet."""
        with self._lock:
            if self._dirty:
                self._save()

    def _drop(self, resource: state.Resource) -> None:
        for group in (self._new, self._old):
            for index, each in enumerate(group):
                if each is resource:
                    del group[index]
                    return

    def _save(self) -> None:
        if self._dry_run:
            return
        records = [self._text(each) for each in [*self._new, *self._old]]
        pending: list[dict[str, Any]] = [
            {"resource": state.to_record(each.resource, self._crypter), "type": each.kind}
            for each in self._pending
        ]
        salt = self._crypter.state
        backend.write(
            self._files, backend.document(self._files, records, pending, salt, ENGINE_VERSION)
        )
        self._dirty = False

    def _text(self, resource: state.Resource) -> str:
        """Write a resource once only: its secrets keep their ciphertext while it is unchanged."""
        known = self._texts.get(id(resource))
        if known is None or known[0] is not resource:
            text = json.dumps(state.to_record(resource, self._crypter))
            known = self._texts[id(resource)] = (resource, text)
        return known[1]


def _repoint(resource: state.Resource, old: str, new: str) -> state.Resource:
    def urn(value: str) -> str:
        return new if value == old else value

    provider = resource.provider
    if provider and urns.parse_provider(provider).urn == old:
        provider = str(urns.ProviderReference(new, urns.parse_provider(provider).id))
    changed = replace(
        resource,
        parent=urn(resource.parent),
        dependencies=tuple(urn(each) for each in resource.dependencies),
        property_dependencies={
            key: tuple(urn(each) for each in group)
            for key, group in resource.property_dependencies.items()
        },
        deleted_with=urn(resource.deleted_with),
        provider=provider,
    )
    return resource if changed.same_record(resource) else changed
