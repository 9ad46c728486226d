"""The one Kubernetes client: plain dicts in and out. It knows paths and verbs; what objects mean is
the callers' affair."""

import contextlib
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bex_operator.kube import errors, kinds, kubeconfig, transport

Object = dict[str, Any]
"""A Kubernetes object as JSON: apiVersion, kind, metadata, …"""

PAGE_SIZE = 500

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_DELETED = b'{"type":"DELETED"'
_VERSION = re.compile(rb'"resourceVersion":"(\d+)"')
"""The first of an event is its object's: `metadata` comes before anything that people write, and
what stands before it in there cannot hold one outside of quotes."""
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A consistent list; *resource_version* is where a watch goes on."""

    items: list[Object]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a watch."""

    type: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    object: Object


class Client(transport.Transport):
    """Talks to one API server as one user. Use as `async with Client.from_kubeconfig(path)`."""

    def __init__(self, access: kubeconfig.Access, *, user_agent: str = "bex") -> None:
        super().__init__(access, user_agent=user_agent)
        self._discovered: dict[tuple[str, str], kinds.Kind] = {}

    @classmethod
    def from_kubeconfig(
        cls, path: str | Path, *, context: str | None = None, user_agent: str = "bex"
    ) -> Self:
        """Make a client for the kubeconfig's current context, or for *context*."""
        return cls(kubeconfig.load(Path(path), context), user_agent=user_agent)

    async def get(self, kind: kinds.Kind, name: str, namespace: str | None = None) -> Object:
        """Read one object."""
        return _object(await self.request("GET", kind.path(namespace, name)))

    async def get_metadata(
        self, kind: kinds.Kind, name: str, namespace: str | None = None
    ) -> Object:
        """Read an object's metadata alone; its content never leaves the server."""
        path = kind.path(namespace, name)
        return _object(await self.request("GET", path, headers={"Accept": METADATA_ONLY}))

    async def list(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> ObjectList:
        """Read all objects that match the selectors.

        Raises:
            errors.Gone: the pages took so long that the server forgot the first; list again.
        """
        items: list[Object] = []
        version = ""
        pages = self.pages(kind, namespace, labels=labels, fields=fields, page_size=page_size)
        async with contextlib.aclosing(pages):
            async for page in pages:
                items += page.items
                version = page.resource_version
        return ObjectList(items, version)

    async def pages(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncGenerator[ObjectList, None]:
        """Read all objects that match the selectors, one page in memory at a time.

        Raises:
            errors.Gone: the pages took so long that the server forgot the first; list again.
        """
        params = _selectors(labels, fields) | {"limit": str(page_size)}
        while True:
            page = _object(await self.request("GET", kind.path(namespace), params=params))
            items = page.get("items") or []
            for item in items:
                # Lists leave out what every item has in common.
                item["apiVersion"], item["kind"] = kind.api_version, kind.kind
            metadata = page.get("metadata", {})
            yield ObjectList(items, str(metadata.get("resourceVersion", "")))
            if not metadata.get("continue"):
                return
            params["continue"] = metadata["continue"]

    async def create(self, obj: Object, *, field_manager: str, dry_run: bool = False) -> Object:
        """Create the object; AlreadyExists if its name is taken."""
        kind, namespace, _ = await self._address(obj)
        params = _write_params(field_manager, dry_run)
        return _object(await self.request("POST", kind.path(namespace), params=params, body=obj))

    async def apply(
        self,
        obj: Object,
        *,
        field_manager: str,
        force: bool = True,
        dry_run: bool = False,
        subresource: str | None = None,
    ) -> Object:
        """Apply the object server-side: own exactly its fields.

        Raises:
            errors.Conflict: *force* is false and others own some of the fields.
        """
        kind, namespace, name = await self._address(obj)
        params = _write_params(field_manager, dry_run) | {
            "force": str(force).lower(),
            # An apply refuses unknown fields whatever is asked for. More than that would only look
            # for keys that stand twice, which a dict has not, and read the whole body again.
            "fieldValidation": "Ignore",
        }
        return _object(
            await self.request(
                "PATCH",
                kind.path(namespace, name, subresource),
                params=params,
                body=obj,
                headers={"Content-Type": APPLY_PATCH},
            )
        )

    async def replace(
        self,
        obj: Object,
        *,
        field_manager: str,
        dry_run: bool = False,
        subresource: str | None = None,
    ) -> Object:
        """Write the whole object; Conflict if its resourceVersion is no longer the newest."""
        kind, namespace, name = await self._address(obj)
        path = kind.path(namespace, name, subresource)
        params = _write_params(field_manager, dry_run)
        return _object(await self.request("PUT", path, params=params, body=obj))

    async def patch(  # noqa: PLR0913 - the verb has that many parts
        self,
        kind: kinds.Kind,
        name: str,
        namespace: str | None,
        body: Any,
        *,
        content_type: str = MERGE_PATCH,
        field_manager: str | None = None,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Patch the object, by default by JSON merge patch."""
        return _object(
            await self.request(
                "PATCH",
                kind.path(namespace, name, subresource),
                params=_write_params(field_manager, dry_run),
                body=body,
                headers={"Content-Type": content_type},
            )
        )

    async def delete(
        self,
        kind: kinds.Kind,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        version: str | None = None,
        propagation: str = "Background",
        grace_seconds: int | None = None,
    ) -> None:
        """Ask for the object's deletion; finalizers and grace may keep it for a while.

        Raises:
            errors.NotFound: it is gone already.
            errors.Conflict: the object of that name is not the one with *uid*, or not in *version*.
        """
        options: Object = {"propagationPolicy": propagation}
        seen = {"uid": uid, "resourceVersion": version}
        if any(seen.values()):
            options["preconditions"] = {key: value for key, value in seen.items() if value}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        await self.request("DELETE", kind.path(namespace, name), body=options)

    async def watch(  # noqa: PLR0913 - the verb has that many parts
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        resource_version: str | None,
        labels: str | None = None,
        fields: str | None = None,
        timeout_seconds: int = 300,
        silence_seconds: float = transport.SILENCE_SECONDS,
        known: Callable[[int], bool] = lambda _: False,
    ) -> AsyncGenerator[Event, None]:
        """Follow changes after *resource_version* until the server ends the watch.

        Without a version everything that there is comes first, each as ADDED, then a BOOKMARK with
        the annotation `k8s.io/initial-events-end`. The server ends the watch after
        *timeout_seconds*; go on from the last resource version seen. What comes in a version that
        is *known* is left out, unread: it is the echo of a write.

        Raises:
            errors.Gone: *resource_version* is too old; list again.
            errors.Invalid: the server does not stream what there is; list it.
            errors.Unreachable: reset, or no line (not even a bookmark) for *silence_seconds*.
        """
        params = _selectors(labels, fields) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(timeout_seconds),
        }
        if resource_version is not None:
            params["resourceVersion"] = resource_version
        else:
            params |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        lines = self.lines(kind.path(namespace), params=params, silence_seconds=silence_seconds)
        async with contextlib.aclosing(lines):
            async for line in lines:
                if _is_known(line, known):
                    continue
                event = _object(transport.decode(line))
                body = event.get("object") or {}
                if event.get("type") == "ERROR":
                    raise errors.from_status(int(body.get("code") or 500), body)
                yield Event(str(event.get("type")), body)

    async def evict(self, pod_name: str, namespace: str) -> None:
        """Ask for a pod's eviction, respecting disruption budgets.

        Raises:
            errors.TooManyRequests: a budget holds the pod; try again later.
            errors.NotFound: the pod is gone.
        """
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod_name, "namespace": namespace},
        }
        path = kinds.POD.path(namespace, pod_name, "eviction")
        await self.request_once("POST", path, body=body)

    async def ready(self) -> bool:
        """Tell whether the API server says it is ready; False when it cannot be asked."""
        try:
            await self.request_once("GET", "/readyz")
        except errors.KubeError:
            return False
        return True

    async def resolve(self, api_version: str, kind: str) -> kinds.Kind:
        """Find a kind: in the table, else by asking the server, once.

        Raises:
            errors.UnknownKind: the server does not serve it; asked again on the next call.
        """
        known = kinds.of(api_version, kind) or self._discovered.get((api_version, kind))
        if known is not None:
            return known
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            answer = _object(await self.request("GET", root))
        except errors.NotFound:
            raise errors.UnknownKind(api_version, kind) from None
        group, _, version = api_version.rpartition("/")
        for entry in answer.get("resources") or []:
            if "/" not in entry["name"]:
                found = kinds.Kind(
                    group, version, entry["kind"], entry["name"], bool(entry["namespaced"])
                )
                self._discovered[(api_version, entry["kind"])] = found
        try:
            return self._discovered[(api_version, kind)]
        except KeyError:
            raise errors.UnknownKind(api_version, kind) from None

    async def _address(self, obj: Object) -> tuple[kinds.Kind, str | None, str]:
        kind = await self.resolve(str(obj["apiVersion"]), str(obj["kind"]))
        metadata = obj["metadata"]
        namespace = metadata.get("namespace")
        if kind.namespaced and not namespace:
            raise ValueError(f"{kind.kind} {metadata.get('name')!r} has no metadata.namespace")
        return kind, namespace if kind.namespaced else None, str(metadata.get("name", ""))


def _is_known(line: bytes, known: Callable[[int], bool]) -> bool:
    """Tell whether an event is of a known version; the end of an object is always news."""
    found = _VERSION.search(line)
    return found is not None and not line.startswith(_DELETED) and known(int(found[1]))


def _object(value: Any) -> Object:
    if not isinstance(value, dict):
        raise errors.Unreachable("the API server sent no JSON object")
    return value


def _selectors(labels: str | None, fields: str | None) -> dict[str, str]:
    given = {"labelSelector": labels, "fieldSelector": fields}
    return {key: value for key, value in given.items() if value}


def _write_params(field_manager: str | None, dry_run: bool) -> dict[str, str]:
    params = {"fieldManager": field_manager} if field_manager else {}
    if dry_run:
        params["dryRun"] = "All"
    return params | {"fieldValidation": "Strict"}
