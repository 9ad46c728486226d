"""The one Kubernetes client: plain dicts in and out, one aiohttp session, errors mapped once.

It knows paths, verbs and timeouts; what objects mean is the callers' affair.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from bex_operator.kube import errors, kinds, kubeconfig

Object = dict[str, Any]
"""A Kubernetes object as JSON: apiVersion, kind, metadata, …"""

REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 100.0
"""A watch that says nothing for so long is dead: bookmarks come about every 60 s."""
PAGE_SIZE = 500
BUSY_RETRIES = 3
BUSY_WAIT_SECONDS = 10.0

MERGE_PATCH = "application/merge-patch+json"
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


class Client:
    """Talks to one API server as one user. Use as `async with Client.from_kubeconfig(path)`."""

    def __init__(self, access: kubeconfig.Access, *, user_agent: str = "bex") -> None:
        self._access = access
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None
        self._discovered: dict[tuple[str, str], kinds.Kind] = {}

    @classmethod
    def from_kubeconfig(
        cls, path: str | Path, *, context: str | None = None, user_agent: str = "bex"
    ) -> Self:
        """Make a client for the kubeconfig's current context, or for *context*."""
        return cls(kubeconfig.load(Path(path), context), user_agent=user_agent)

    @property
    def server(self) -> str:
        """Base URL of the API server."""
        return self._access.server

    async def __aenter__(self) -> Self:
        self._tls = self._access.tls()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            headers={"User-Agent": self._user_agent, "Accept": "application/json"},
            auto_decompress=True,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, kind: kinds.Kind, name: str, namespace: str | None = None) -> Object:
        """Read one object."""
        return _object(await self.request("GET", kind.path(namespace, name)))

    async def list(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> ObjectList:
        """Read all objects that match the selectors, page by page.

        Raises:
            errors.Gone: the pages took so long that the server forgot the first; list again.
        """
        params = _selectors(labels, fields) | {"limit": str(page_size)}
        items: list[Object] = []
        while True:
            page = _object(await self.request("GET", kind.path(namespace), params=params))
            for item in page.get("items") or []:
                # Lists leave out what every item has in common.
                item["apiVersion"], item["kind"] = kind.api_version, kind.kind
                items.append(item)
            metadata = page.get("metadata", {})
            if not metadata.get("continue"):
                return ObjectList(items, str(metadata.get("resourceVersion", "")))
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
        params = _write_params(field_manager, dry_run) | {"force": str(force).lower()}
        return _object(
            await self.request(
                "PATCH",
                kind.path(namespace, name, subresource),
                params=params,
                body=obj,
                headers={"Content-Type": APPLY_PATCH},
            )
        )

    async def apply_status(
        self, obj: Object, *, field_manager: str, force: bool = True, dry_run: bool = False
    ) -> Object:
        """Apply the object's status server-side."""
        return await self.apply(
            obj, field_manager=field_manager, force=force, dry_run=dry_run, subresource="status"
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
        propagation: str = "Background",
        grace_seconds: int | None = None,
    ) -> None:
        """Ask for the object's deletion; finalizers and grace may keep it for a while.

        Raises:
            errors.NotFound: it is gone already.
            errors.Conflict: the object of that name is not the one with *uid*.
        """
        options: Object = {"propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        await self.request("DELETE", kind.path(namespace, name), body=options)

    async def watch(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        resource_version: str,
        labels: str | None = None,
        fields: str | None = None,
        timeout_seconds: int = 300,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> AsyncGenerator[Event, None]:
        """Follow changes after *resource_version* until the server ends the watch.

        The server ends it after *timeout_seconds*; go on from the last resource version seen.

        Raises:
            errors.Gone: *resource_version* is too old; list again.
            errors.Unreachable: reset, or no line (not even a bookmark) for *silence_seconds*.
        """
        params = _selectors(labels, fields) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        lines = self.lines(kind.path(namespace), params=params, silence_seconds=silence_seconds)
        async with contextlib.aclosing(lines):
            async for line in lines:
                event = _object(_decode(line))
                body = event.get("object") or {}
                if event.get("type") == "ERROR":
                    raise errors.from_status(int(body.get("code") or 500), body)
                yield Event(str(event.get("type")), body)

    async def lines(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> AsyncGenerator[bytes, None]:
        """Stream an answer line by line, without its line ends (watches, followed logs)."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_seconds
        )
        rest = b""
        async with self._answer("GET", path, timeout=timeout, params=params) as answer:
            async for chunk in answer.content.iter_any():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    if line:
                        yield line
        if rest.strip():
            yield rest

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
        await self._once("POST", path, body=orjson.dumps(body))

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request; the answer as JSON, or as text if it is not JSON.

        A server too busy to take the request (429 with Retry-After) is asked again a few times.
        """
        content = None if body is None else orjson.dumps(body)
        for _ in range(BUSY_RETRIES):
            try:
                return await self._once(method, path, params=params, body=content, headers=headers)
            except errors.TooManyRequests as busy:
                await asyncio.sleep(min(busy.retry_after_seconds, BUSY_WAIT_SECONDS))
        return await self._once(method, path, params=params, body=content, headers=headers)

    async def ready(self) -> bool:
        """Tell whether the API server says it is ready; False when it cannot be asked."""
        try:
            await self._once("GET", "/readyz")
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

    async def _once(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        async with self._answer(
            method, path, timeout=timeout, params=params, body=body, headers=headers
        ) as answer:
            return _content(answer, await answer.read())

    @contextlib.asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open an answer of status 2xx or 3xx; every error inside becomes one of ours."""
        if self._session is None:
            raise RuntimeError("the client is not open: use it in `async with`")
        where = f"{method} {self._access.server}{path}"
        try:
            async with self._session.request(
                method,
                self._access.server + path,
                params=params,
                data=body,
                headers=self._headers(body) | dict(headers or {}),
                timeout=timeout,
                ssl=self._tls if self._tls is not None else True,
                server_hostname=self._access.tls_server_name,
                allow_redirects=False,
            ) as answer:
                if answer.status >= 400:
                    raise errors.from_status(
                        answer.status,
                        _lenient(await answer.read()),
                        answer.headers.get("Retry-After"),
                    )
                yield answer
        except TimeoutError as exc:
            raise errors.Unreachable(f"{where}: no answer in time") from exc
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as exc:
            # ValueError: what aiohttp's parsers raise for some garbled answers.
            raise errors.Unreachable(f"{where}: {type(exc).__name__}: {exc}") from exc

    def _headers(self, body: bytes | None) -> dict[str, str]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        token = self._access.bearer()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers


def _content(answer: aiohttp.ClientResponse, raw: bytes) -> Any:
    if answer.content_type == "application/json":
        return _decode(raw)
    return raw.decode(errors="replace")


def _decode(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise errors.Unreachable(f"the API server sent no valid JSON ({exc.msg})") from exc


def _lenient(raw: bytes) -> object:
    """Decode an error's body, which a proxy in between may have written as text."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")


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
