"""Creates, updates and deletes single objects through the client.

Source: pulumi-kubernetes provider/pkg/await/await.go (Creation, Update, Deletion) and
provider/pkg/ssa. All functions run on the client's event loop.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from bex_operator.kube import client as clients
from bex_operator.kube import errors as kube_errors
from bex_operator.kube import kinds
from bex_stack.engine import errors
from bex_stack.engine.kubernetes import objects

CREATE_WAITS_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses before asking again for a kind or namespace that is not there yet."""
CONFLICT_RETRIES = 5

_EARLIER_MANAGERS = frozenset(
    {
        ("kubectl", "Apply"),
        ("kubectl", "Update"),
        ("before-first-apply", "Update"),
        ("pulumi-kubernetes", "Update"),
        ("pulumi-kubernetes.exe", "Update"),
        ("pulumi-resource-kubernetes", "Update"),
    }
)
"""Managers whose fields an update takes over, so that dropping a field from the inputs drops it."""


async def resolve(client: clients.Client, obj: objects.Object) -> kinds.Kind:
    """Return the object's kind.

    Raises: kube UnknownKind when the server does not serve it.
    """
    return await client.resolve(str(obj["apiVersion"]), str(obj["kind"]))


async def placed(
    client: clients.Client, obj: objects.Object, namespace: str
) -> tuple[kinds.Kind, objects.Object]:
    """Return the kind, and the object with the namespace its kind asks for."""
    kind = await resolve(client, obj)
    metadata = dict(obj.get("metadata") or {})
    if kind.namespaced:
        metadata["namespace"] = metadata.get("namespace") or namespace or "default"
    else:
        metadata.pop("namespace", None)
    return kind, {**obj, "metadata": metadata}


async def create(
    client: clients.Client,
    obj: objects.Object,
    *,
    namespace: str,
    manager: str | None,
    force: bool,
) -> tuple[kinds.Kind, objects.Object]:
    """Create the object; with a manager apply it instead, whether it exists or not.

    Asks again for about half a minute while its kind or namespace does not exist.
    """
    for pause in (*CREATE_WAITS_SECONDS, None):
        try:
            kind, placed_object = await placed(client, obj, namespace)
            if manager is not None:
                return kind, await client.apply(placed_object, field_manager=manager, force=force)
            made = await client.create(placed_object, field_manager=objects.CREATE_MANAGER)
        except (kube_errors.NotFound, kube_errors.UnknownKind):
            if pause is None:
                raise
            await asyncio.sleep(pause)
        except kube_errors.AlreadyExists as exc:
            raise errors.ProviderError(
                f"{obj['kind']} {objects.identifier(placed_object)} exists already, and not by "
                "this stack; delete it, or set `upsertExistingObjects` on the provider to take it "
                "over"
            ) from exc
        else:
            return kind, made
    raise AssertionError("the last attempt returns or raises")


async def create_dry(
    client: clients.Client, obj: objects.Object, *, namespace: str, manager: str | None
) -> objects.Object | None:
    """Return what a create would make, or None when the server cannot tell (yet)."""
    try:
        _, placed_object = await placed(client, obj, namespace)
        if manager is not None:
            return await client.apply(placed_object, field_manager=manager, dry_run=True)
        return await client.create(
            placed_object, field_manager=objects.CREATE_MANAGER, dry_run=True
        )
    except (
        kube_errors.UnknownKind,
        kube_errors.NotFound,
        kube_errors.AlreadyExists,
        kube_errors.Forbidden,
    ):
        return None
    except kube_errors.BadRequest as exc:
        if "dry run" in exc.message or "dryRun" in exc.message:
            return None
        raise


async def update(
    client: clients.Client,
    obj: objects.Object,
    *,
    namespace: str,
    manager: str,
    patch: bool,
    force: bool,
) -> tuple[kinds.Kind, objects.Object]:
    """Bring an existing object to its new shape; definitions by PUT, the rest by apply."""
    for attempt in range(CONFLICT_RETRIES):
        kind, wanted = await placed(client, obj, namespace)
        live = await client.get(kind, objects.name_of(wanted), objects.namespace_of(wanted) or None)
        try:
            if kind == kinds.CUSTOM_RESOURCE_DEFINITION and not patch:
                return kind, await _put(client, wanted, live, manager, dry_run=False)
            if not patch:
                await _take_over(client, kind, live, manager)
            forced = force or not live["metadata"].get("managedFields")
            return kind, await client.apply(wanted, field_manager=manager, force=forced)
        except kube_errors.Conflict as exc:
            causes = exc.details.get("causes") or []
            if causes or attempt + 1 == CONFLICT_RETRIES:
                raise _conflict(exc, manager) from exc
    raise AssertionError("the last attempt returns or raises")


async def update_dry(
    client: clients.Client, obj: objects.Object, *, namespace: str, manager: str, patch: bool
) -> tuple[objects.Object, objects.Object] | None:
    """Return the live object and what an update would make of it, or None when unknown."""
    try:
        kind, wanted = await placed(client, obj, namespace)
        live = await client.get(kind, objects.name_of(wanted), objects.namespace_of(wanted) or None)
        if kind == kinds.CUSTOM_RESOURCE_DEFINITION and not patch:
            return live, await _put(client, wanted, live, manager, dry_run=True)
        # Fields still owned by the create's manager would show as conflicts that do not exist.
        return live, await client.apply(wanted, field_manager=manager, force=True, dry_run=True)
    except (kube_errors.UnknownKind, kube_errors.NotFound, kube_errors.Forbidden):
        return None


async def relinquish(
    client: clients.Client, kind: kinds.Kind, obj: objects.Object, manager: str
) -> None:
    """Give up every field that `manager` owns; fields nobody else owns go."""
    metadata = {"name": objects.name_of(obj)}
    if kind.namespaced:
        metadata["namespace"] = objects.namespace_of(obj)
    bare = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    await client.apply(bare, field_manager=manager, force=True)


async def _put(
    client: clients.Client,
    wanted: objects.Object,
    live: objects.Object,
    manager: str,
    *,
    dry_run: bool,
) -> objects.Object:
    metadata = {**wanted["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}
    body = {**wanted, "metadata": metadata}
    return await client.replace(body, field_manager=manager, dry_run=dry_run)


async def _take_over(
    client: clients.Client, kind: kinds.Kind, live: objects.Object, manager: str
) -> None:
    """Make the fields of earlier managers ours, as one apply entry of `manager`."""
    entries = live["metadata"].get("managedFields") or []
    earlier = [each for each in entries if _is_earlier(each)]
    if not earlier:
        return
    own = next((each for each in entries if _is_own(each, manager)), None)
    merged: dict[str, Any] = dict(own["fieldsV1"]) if own else {}
    for each in earlier:
        merged = _merge(merged, each.get("fieldsV1") or {})
    kept = [each for each in entries if each is not own and each not in earlier]
    entry = {**(own or earlier[-1]), "manager": manager, "operation": "Apply", "fieldsV1": merged}
    patch = [
        {"op": "replace", "path": "/metadata/managedFields", "value": [entry, *kept]},
        {
            "op": "replace",
            "path": "/metadata/resourceVersion",
            "value": live["metadata"]["resourceVersion"],
        },
    ]
    await client.patch(
        kind,
        objects.name_of(live),
        objects.namespace_of(live) or None,
        patch,
        content_type="application/json-patch+json",
    )


def _is_earlier(entry: Mapping[str, Any]) -> bool:
    pair = (entry.get("manager"), entry.get("operation"))
    return pair in _EARLIER_MANAGERS and not entry.get("subresource")


def _is_own(entry: Mapping[str, Any], manager: str) -> bool:
    return (
        entry.get("manager") == manager
        and entry.get("operation") == "Apply"
        and not entry.get("subresource")
    )


def _merge(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(left)
    for key, value in right.items():
        merged[key] = _merge(merged.get(key, {}), value) if isinstance(value, Mapping) else value
    return merged


def _conflict(exc: kube_errors.Conflict, manager: str) -> errors.ProviderError:
    return errors.ProviderError(
        f"another manager owns fields that {manager!r} wants to set: {exc.message}; annotate the "
        f"object with {objects.PATCH_FORCE}: 'true' to take them over"
    )
