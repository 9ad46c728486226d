"""The caches an operator looks at, with their indexes, and which Apps a change concerns."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bex_operator.api import hosts as hosts_api
from bex_operator.api import names
from bex_operator.kube import caches, client, kinds
from bex_operator.plan import authors, certificates, claims, differences
from bex_operator.plan import pods as pods_plan

CHANGED_BY = "changedBy"
"""Key that only cached Apps have in their metadata."""
BY_HOST = "host"
BY_ZONE = "zone"
"""What follows a host's first label: there are the hosts that it may overlap with."""
BY_APP = "app"
BY_JOB = "job"
"""Pods of an App's Jobs."""

CHILDREN = (
    kinds.DEPLOYMENT,
    kinds.SERVICE,
    kinds.INGRESS,
    kinds.POD_DISRUPTION_BUDGET,
    kinds.HORIZONTAL_POD_AUTOSCALER,
)


@dataclass(frozen=True, slots=True)
class Views:
    """Everything there is, as far as the operator cares."""

    apps: caches.Cache
    pods: caches.Cache
    children: Mapping[str, caches.Cache]
    """By kind."""
    records: caches.Cache
    """ControllerRevisions of Apps."""
    jobs: caches.Cache
    """Jobs of Apps."""
    namespaces: caches.Cache | None = None
    """Those with the label that the operator was given; None if it was given none."""
    base_domain: str | None = None
    """Where Apps that are exposed get a name."""
    certificates: caches.Cache | None = None
    """Certificates of Apps' hosts; None where none are kept for each."""

    @property
    def all(self) -> tuple[caches.Cache, ...]:
        """Every cache."""
        some = (each for each in (self.namespaces, self.certificates) if each is not None)
        return (self.apps, self.pods, *self.children.values(), self.records, self.jobs, *some)

    @property
    def by_kind(self) -> Mapping[str, caches.Cache]:
        """The caches of everything that an App owns."""
        more = (each for each in (self.records, self.jobs, self.certificates) if each is not None)
        return {**self.children, **{each.scope.kind.kind: each for each in more}}

    def owned_by(self, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the children that are the App object's own."""
        metadata = manifest["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        found = (cache.get(namespace, name) for cache in self.children.values())
        owned = [
            child
            for child in (*found, *self.records_of(namespace, name), *self.jobs_of(namespace, name))
            if child is not None and differences.owned_by(child, metadata["uid"])
        ]
        return [*owned, *self.certificates_of(manifest)]

    def certificates_of(self, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the Certificates that were made for the App object's Ingress."""
        if self.certificates is None:
            return []
        metadata = manifest["metadata"]
        name, uid = metadata["name"], metadata["uid"]
        found = self.certificates.by_index(BY_APP, f"{metadata['namespace']}/{name}")
        return [each for each in found if certificates.belongs(each, name, uid)]

    def records_of(self, namespace: str, name: str) -> list[dict[str, Any]]:
        """Return the ControllerRevisions that have the App's label."""
        return self.records.by_index(BY_APP, f"{namespace}/{name}")

    def jobs_of(self, namespace: str, name: str) -> list[dict[str, Any]]:
        """Return the Jobs that have the App's label."""
        return self.jobs.by_index(BY_APP, f"{namespace}/{name}")

    def job_pods_of(self, namespace: str, name: str) -> tuple[pods_plan.Pod, ...]:
        """Return the pods of the App's Jobs, finished ones too."""
        return pods_plan.read_all(self.pods.by_index(BY_JOB, f"{namespace}/{name}"))

    def pods_of(self, namespace: str, name: str) -> tuple[pods_plan.Pod, ...]:
        """Return the App's pods that count."""
        return pods_plan.read(self.pods.by_index(BY_APP, f"{namespace}/{name}"))

    def asked_hosts(self, manifest: Mapping[str, Any]) -> Iterator[str]:
        """Read the hosts that an App object asks for."""
        return hosts_of_app(manifest, self.base_domain)

    def claim(self, host: str, manages: Callable[[str], bool]) -> claims.Claim:
        """Gather who asks for a host and who routes it, and the same of hosts that may overlap."""
        claim = self._claim(host, manages)
        if not self._is_contested(host):
            return claim
        rivals = sorted(self._zone_of(host) - {host})
        return dataclasses.replace(
            claim, rivals=tuple(self._claim(each, manages) for each in rivals)
        )

    def claimants(self, hosts: Sequence[str]) -> set[caches.Key]:
        """Return the Apps that ask for any of the hosts, or for one that may overlap with it."""
        found: set[caches.Key] = set()
        for host in hosts:
            near = self._zone_of(host) if self._is_contested(host) else {host}
            for each in near:
                found |= set(map(_key, self.apps.by_index(BY_HOST, each)))
        return found

    def _claim(self, host: str, manages: Callable[[str], bool]) -> claims.Claim:
        asking = [
            each
            for each in self.apps.by_index(BY_HOST, host)
            if "deletionTimestamp" not in each["metadata"]
            and manages(each["metadata"]["namespace"])
        ]
        routing = self.children[kinds.INGRESS.kind].by_index(BY_HOST, host)
        return claims.Claim(
            host,
            [claims.claimant_of(each) for each in asking],
            frozenset(uid for each in routing for uid in _controllers(each)),
        )

    def _is_contested(self, host: str) -> bool:
        """Tell whether a wildcard is among those who ask, so that the whole zone counts."""
        wildcard = hosts_api.wildcard_over(host)
        return host == wildcard or bool(self.apps.by_index(BY_HOST, wildcard))

    def _zone_of(self, host: str) -> set[str]:
        """Find every host of the zone that is asked for."""
        wanted = hosts_api.zone(host)
        asking = self.apps.by_index(BY_ZONE, wanted)
        return {
            found
            for each in asking
            for found in self.asked_hosts(each)
            if hosts_api.zone(found) == wanted
        }


def make(
    kube: client.Client,
    namespace: str | None = None,
    namespace_labels: str | None = None,
    *,
    base_domain: str | None = None,
    certified: bool = False,
) -> Views:
    """Make the caches, over *namespace* or over all.

    With *namespace_labels* (a label selector) the namespaces that have them are cached too, and
    where hosts are to be *certified* their Certificates, as soon as there are any.
    """
    mine, ours = names.APP_LABEL, f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"
    apps = caches.Cache(kube, caches.Scope(kinds.APP, namespace, slim=_with_author))
    asked = functools.partial(hosts_of_app, base_domain=base_domain)
    apps.index(BY_HOST, asked)
    apps.index(BY_ZONE, lambda manifest: _zones(asked(manifest)))
    pod_cache = caches.Cache(
        kube, caches.Scope(kinds.POD, namespace, labels=ours, slim=pods_plan.slim)
    )
    pod_cache.index(BY_APP, _app_of)
    pod_cache.index(BY_JOB, functools.partial(_app_of, label=names.JOB_OF_LABEL))
    children = {
        kind.kind: caches.Cache(kube, caches.Scope(kind, namespace, slim=_slim_child))
        for kind in CHILDREN
    }
    children[kinds.INGRESS.kind].index(BY_HOST, hosts_of_ingress)
    records = caches.Cache(kube, caches.Scope(kinds.CONTROLLER_REVISION, namespace, labels=mine))
    records.index(BY_APP, _app_of)
    jobs = caches.Cache(kube, caches.Scope(kinds.JOB, namespace, labels=mine))
    jobs.index(BY_APP, _app_of)
    labelled = None
    if namespace_labels:
        scope = caches.Scope(kinds.NAMESPACE, labels=namespace_labels, slim=_identity)
        labelled = caches.Cache(kube, scope)
    found = None
    if certified:
        scope = caches.Scope(kinds.CERTIFICATE, namespace, labels=mine, optional=True)
        found = caches.Cache(kube, scope)
        found.index(BY_APP, _app_of)
    return Views(apps, pod_cache, children, records, jobs, labelled, base_domain, found)


def hosts_of_app(manifest: Mapping[str, Any], base_domain: str | None = None) -> Iterator[str]:
    """Read the hosts that an App object asks for; it may be one that the model refuses."""
    spec = manifest.get("spec") or {}
    more = spec.get("hosts")
    exposed = spec.get("expose") is True
    platform = hosts_api.exposed(manifest["metadata"]["name"], base_domain) if exposed else None
    asked = [spec.get("host"), platform, *(more if isinstance(more, list) else ())]
    yield from hosts_api.fold_all(*(each for each in asked if isinstance(each, str)))


def is_unseen(manifest: Mapping[str, Any]) -> bool:
    """Tell whether nothing was reported yet of an App object as its spec is now, or of its end."""
    metadata, found = manifest["metadata"], manifest.get("status") or {}
    seen = found.get("observedGeneration")
    return "deletionTimestamp" in metadata or seen != metadata.get("generation")


def hosts_of_ingress(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Read the hosts that an Ingress routes."""
    rules = manifest.get("spec", {}).get("rules") or []
    yield from hosts_api.fold_all(*(rule.get("host") for rule in rules))


def _zones(hosts: Iterable[str]) -> Iterator[str]:
    yield from {hosts_api.zone(host) for host in hosts}


def _key(manifest: Mapping[str, Any]) -> caches.Key:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def _slim_child(manifest: dict[str, Any]) -> dict[str, Any]:
    """Keep of what others made only that it is there: its name is not ours to take."""
    metadata = manifest["metadata"]
    if names.APP_LABEL in (metadata.get("labels") or {}):
        return manifest
    kept = ("name", "namespace", "uid", "resourceVersion", "ownerReferences", "labels")
    slimmed = {key: metadata[key] for key in kept if key in metadata}
    return {**_kind_of(manifest), "metadata": slimmed}


def _with_author(manifest: dict[str, Any]) -> dict[str, Any]:
    """Keep of an App's managed fields only who changed it last: they are larger than the rest."""
    manifest["metadata"][CHANGED_BY] = authors.changed_by(manifest)
    return manifest


def _identity(manifest: dict[str, Any]) -> dict[str, Any]:
    return {**_kind_of(manifest), "metadata": manifest["metadata"]}


def _kind_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: manifest[key] for key in ("apiVersion", "kind") if key in manifest}


def _app_of(manifest: Mapping[str, Any], label: str = names.APP_LABEL) -> Iterator[str]:
    metadata = manifest["metadata"]
    app = (metadata.get("labels") or {}).get(label)
    if app:
        yield f"{metadata['namespace']}/{app}"


def _controllers(manifest: Mapping[str, Any]) -> Iterator[str]:
    for reference in manifest["metadata"].get("ownerReferences") or []:
        if reference.get("controller"):
            yield reference["uid"]
