"""Manages Kubernetes objects for the engine; see the package for whose semantics these are."""

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from bex_operator.kube import client as clients
from bex_operator.kube import errors as kube_errors
from bex_operator.kube import kinds
from bex_stack.engine import errors, providers, values
from bex_stack.engine.kubernetes import (
    cluster,
    comparison,
    configuration,
    objects,
    readiness,
    waiting,
    writing,
)

SKIP_DELETE_WAIT = {"Namespace", "Pod", "DaemonSet", "Deployment", "StatefulSet", "Job"}
"""Kinds whose deletion is not waited for either when they carry `pulumi.com/skipAwait`."""
PROPAGATION = "pulumi.com/deletionPropagationPolicy"
_POLICIES = {"orphan": "Orphan", "background": "Background"}
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class _Target:
    """One object an operation is about."""

    obj: objects.Object
    manager: str
    patch: bool
    force: bool


class KubernetesProvider:
    """One cluster's objects."""

    def __init__(
        self,
        config: configuration.Configuration,
        stopping: threading.Event,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Manage what is behind *config*; *say* is given in a preview and told what is silent."""
        self._config = config
        self._cluster = cluster.Cluster(config, say)
        self._stopping = stopping

    def check(
        self, subject: providers.Subject, old: values.Properties | None, new: values.Properties
    ) -> providers.Checked:
        """Complete inputs: a name, the provider's namespace, one spelling."""
        _refuse(subject, new)
        obj = objects.normalize(objects.from_inputs(new))
        if objects.is_patch(subject.type, str(obj.get("kind"))) and not objects.name_of(obj):
            raise errors.ProviderError("patch resources need `metadata.name`")
        if not values.is_unknown(obj.get("metadata")):
            before = objects.from_inputs(old) if old else None
            obj = objects.with_name(obj, before, subject.urn)
            if self._config.namespace and not objects.namespace_of(obj):
                obj = self._in_namespace(obj)
        readiness.test_of(obj)
        return providers.Checked(objects.mark_secrets(obj, new))

    def diff(
        self,
        subject: providers.Subject,
        identifier: str,
        old: tuple[values.Properties, values.Properties],
        new: values.Properties,
    ) -> providers.Diffed:
        """Compare without asking the cluster."""
        return comparison.compare(
            old[1],
            new,
            patch=objects.is_patch(subject.type, str(new.get("kind"))),
            ignored=subject.ignore_changes,
            mutable={
                "mutable_config_maps": self._config.mutable_config_maps,
                "mutable_secrets": self._config.mutable_secrets,
            },
        )

    def create(
        self, subject: providers.Subject, inputs: values.Properties, *, preview: bool
    ) -> providers.Made:
        """Create and wait until ready; in a preview ask the server for a dry run where it can."""
        target = self._target(subject, inputs, None)
        if preview:
            return self._preview_create(target, inputs)
        manager = target.manager if target.patch or self._config.upsert else None

        async def create(client: clients.Client) -> objects.Object:
            kind, made = await writing.create(
                client,
                target.obj,
                namespace=self._config.namespace,
                manager=manager,
                force=target.force,
            )
            return await self._wait(client, kind, made, target, inputs, subject)

        return self._result(target, inputs, self._call(create))

    def update(
        self,
        subject: providers.Subject,
        identifier: str,
        old: tuple[values.Properties, values.Properties],
        new: values.Properties,
        *,
        preview: bool,
    ) -> providers.Made:
        """Apply the new inputs and wait until ready."""
        target = self._target(subject, new, old[1])
        if preview:
            return self._preview_update(target, identifier, new)

        async def update(client: clients.Client) -> objects.Object:
            kind, made = await writing.update(
                client,
                target.obj,
                namespace=self._config.namespace,
                manager=target.manager,
                patch=target.patch,
                force=target.force,
            )
            return await self._wait(client, kind, made, target, new, subject)

        try:
            return self._result(target, new, self._call(update))
        except _Gone as exc:
            raise errors.ProviderError(
                f"{exc}; it was deleted outside: refresh the stack, then bring it up again"
            ) from exc

    def delete(
        self,
        subject: providers.Subject,
        identifier: str,
        inputs: values.Properties,
        outputs: values.Properties,
    ) -> None:
        """Delete and wait until the object is gone."""
        given, live = objects.from_checkpoint(outputs)
        policy = objects.annotations(given).get(PROPAGATION, "").lower()
        wait = waiting.Wait(
            readiness.timeout_of(given, subject.timeout_seconds), subject.report, self._stopping
        )
        skips = objects.is_annotated(given, readiness.SKIP) and live["kind"] in SKIP_DELETE_WAIT

        async def delete(client: clients.Client) -> None:
            kind = await writing.resolve(client, live)
            if objects.is_patch(subject.type, kind.kind):
                manager = objects.field_manager(given, outputs)
                return await writing.relinquish(client, kind, live, manager)
            await client.delete(
                kind,
                objects.name_of(live),
                objects.namespace_of(live) or None,
                propagation=_POLICIES.get(policy, "Foreground"),
            )
            if not skips:
                await waiting.until_gone(client, kind, live, wait)
            return None

        try:
            self._call(delete)
        except _Gone:
            return
        except errors.Unreachable:
            if not self._config.delete_unreachable:
                raise

    def read(
        self,
        subject: providers.Subject,
        identifier: str,
        inputs: values.Properties | None,
        outputs: values.Properties | None,
    ) -> providers.Made | None:
        """Return the object as the cluster has it now."""
        given, last = objects.from_checkpoint(outputs or {})
        asked = objects.from_inputs(inputs or {})
        version, kind_name = _kind_of(subject, last if last.get("kind") else asked)
        namespace, _, name = identifier.rpartition("/")

        async def read(client: clients.Client) -> objects.Object:
            kind = await client.resolve(version, kind_name)
            within = (namespace or self._config.namespace or "default") if kind.namespaced else None
            return await client.get(kind, name, within)

        try:
            live = self._call(read)
        except _Gone:
            return None
        shape = given or asked
        known = comparison.prune(live, shape) if shape else comparison.without_noise(live)
        known = objects.normalize(known)
        manager = objects.field_manager(known, outputs)
        marked = inputs or {}
        state = objects.checkpoint(known, live, marked, manager, version)
        return providers.Made(identifier, state, objects.mark_secrets(known, marked))

    def find_created(
        self, subject: providers.Subject, inputs: values.Properties
    ) -> providers.Made | None:
        """Return the object when it is there, made by us, and as the inputs ask."""
        target = self._target(subject, inputs, None)
        if target.patch:
            return None

        async def find(client: clients.Client) -> objects.Object:
            kind, wanted = await writing.placed(client, target.obj, self._config.namespace)
            within = objects.namespace_of(wanted) or None
            return await client.get(kind, objects.name_of(wanted), within)

        try:
            live = self._call(find)
        except _Gone:
            return None
        managers = {each.get("manager") for each in live["metadata"].get("managedFields") or []}
        made = self._result(target, inputs, live)
        ours = any(str(each).startswith(objects.CREATE_MANAGER) for each in managers)
        subject_only = providers.Subject(subject.urn, subject.type, subject.name)
        differs = self.diff(subject_only, made.id, (inputs, made.outputs), inputs).changes
        return made if ours and not differs else None

    def close(self) -> None:
        """Close the connection."""
        self._cluster.close()

    def _target(
        self,
        subject: providers.Subject,
        inputs: values.Properties,
        outputs: values.Properties | None,
    ) -> _Target:
        obj = objects.normalize(objects.from_inputs(inputs))
        forced = self._config.patch_force or objects.is_annotated(obj, objects.PATCH_FORCE)
        patch = objects.is_patch(subject.type, str(obj.get("kind")))
        return _Target(obj, objects.field_manager(obj, outputs), patch, forced)

    def _preview_create(self, target: _Target, inputs: values.Properties) -> providers.Made:
        as_asked = providers.Made("", inputs)
        if target.patch or not self._config.known or values.has_unknowns(target.obj):
            return as_asked
        manager = target.manager if self._config.upsert else None
        try:
            planned = self._call(
                lambda client: writing.create_dry(
                    client, target.obj, namespace=self._config.namespace, manager=manager
                )
            )
        except errors.Unreachable:
            return as_asked
        if planned is None:
            return as_asked
        shown = {key: value for key, value in planned.items() if key != "status"}
        return providers.Made("", self._result(target, inputs, shown).outputs)

    def _preview_update(
        self, target: _Target, identifier: str, inputs: values.Properties
    ) -> providers.Made:
        as_asked = providers.Made(identifier, inputs)
        if not self._config.known or values.has_unknowns(target.obj):
            return as_asked
        try:
            found = self._call(
                lambda client: writing.update_dry(
                    client,
                    target.obj,
                    namespace=self._config.namespace,
                    manager=target.manager,
                    patch=target.patch,
                )
            )
        except errors.Unreachable:
            return as_asked
        if found is None:
            return as_asked
        live, planned = found
        made = self._result(target, inputs, planned)
        changes = comparison.server_changes(live, planned)
        return providers.Made(identifier, made.outputs, planned=tuple(changes))

    async def _wait(
        self,
        client: clients.Client,
        kind: kinds.Kind,
        made: objects.Object,
        target: _Target,
        inputs: values.Properties,
        subject: providers.Subject,
    ) -> objects.Object:
        """Wait until the object is ready; what exists is kept even when it never is."""
        seconds = readiness.timeout_of(target.obj, subject.timeout_seconds)
        wait = waiting.Wait(seconds, subject.report, self._stopping)
        try:
            live = await waiting.until_ready(client, kind, made, target.obj, wait)
        except (errors.ProviderError, kube_errors.KubeError) as exc:
            result = self._result(target, inputs, made)
            raise errors.PartlyDone(str(exc), result.id, result.outputs) from exc
        # The reference does not wait for definitions, so it records them as they were answered.
        return made if live["kind"] == "CustomResourceDefinition" else live

    def _result(
        self, target: _Target, inputs: values.Properties, live: objects.Object
    ) -> providers.Made:
        version = str(target.obj["apiVersion"])
        outputs = objects.checkpoint(target.obj, live, inputs, target.manager, version)
        return providers.Made(objects.identifier(live), outputs)

    def _in_namespace(self, obj: objects.Object) -> objects.Object:
        """Put a namespaced object into the provider's namespace."""

        async def place(client: clients.Client) -> objects.Object:
            return (await writing.placed(client, obj, self._config.namespace))[1]

        try:
            return self._call(place)
        except (errors.Unreachable, _Gone):
            metadata = {**(obj.get("metadata") or {}), "namespace": self._config.namespace}
            return {**obj, "metadata": metadata}

    def _call(self, action: Callable[[clients.Client], Awaitable[_Result]]) -> _Result:
        if not self._config.known:
            raise errors.Unreachable("the cluster's kubeconfig is not known yet")
        try:
            return self._cluster.call(action)
        except (kube_errors.NotFound, kube_errors.UnknownKind) as exc:
            raise _Gone(str(exc)) from exc
        except kube_errors.KubeError as exc:
            raise errors.ProviderError(str(exc)) from exc


class _Gone(errors.ProviderError):
    """The object, or its kind, does not exist."""


def _refuse(subject: providers.Subject, inputs: values.Properties) -> None:
    """Refuse lists, which look like objects but are made of several."""
    if subject.type.endswith("List") and "items" in inputs:
        raise errors.Unsupported(
            f"resource {subject.type} {subject.name!r} needs the pulumi CLI and its plugin"
        )


def _kind_of(subject: providers.Subject, obj: objects.Object) -> tuple[str, str]:
    """Return apiVersion and kind, from the object or the type token `kubernetes:apps/v1:Name`."""
    if obj.get("apiVersion") and obj.get("kind"):
        return str(obj["apiVersion"]), str(obj["kind"])
    _, module, name = subject.type.split(":", 2)
    return module.removeprefix("core/"), name
