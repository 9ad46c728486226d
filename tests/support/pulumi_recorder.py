"""What a program or a component registers, as plain data: nothing is made, nothing is asked.

Secrets stay marked, unknown outputs too. Errors of the program and of its applies surface.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime import mocks
from pulumi.runtime.proto import resource_pb2, resource_pb2_grpc

from bex_stack.engine import urns

ROOT = Path(__file__).parents[2]
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"

INVENTED = {
    "id": "1",
    "ipAddress": "192.0.2.1",
    "ipv4": "192.0.2.2",
    "address": "192.0.2.3",
    "imageId": "sha256:1",
    "repoDigest": "localhost:5050/bex/operator@sha256:1",
    "reference": "localhost:5050/bex/operator:1",
    "kubeconfig": "made up",
    "authority": "made up",
    "password": "made up",
    "htpasswd": "made up",
    "ready": True,
}
"""Outputs that providers would add; the programs under test ask for no others."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One registration."""

    urn: str
    type: str
    name: str
    inputs: Mapping[str, Any]
    parent: str
    provider: str
    dependencies: tuple[str, ...]
    is_custom: bool
    protect: bool
    deleted_with: str


@dataclass(slots=True)
class Recording:
    """Everything registered, in order."""

    resources: list[Registered] = field(default_factory=list)
    outputs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What `register_outputs` was given, by URN."""

    def of_type(self, type_token: str) -> list[Registered]:
        """Return the registrations of one type."""
        return [each for each in self.resources if each.type == type_token]

    def named(self, name: str) -> Registered:
        """Return the only registration of that name that is no provider."""
        (found,) = [
            each
            for each in self.resources
            if each.name == name and not urns.is_provider_type(each.type)
        ]
        return found


def record(
    program: Callable[[], object],
    *,
    stack: str = "test",
    config: Mapping[str, str] | None = None,
    preview: bool = True,
) -> Recording:
    """Run *program* against a monitor that only listens; outputs of providers are made up."""
    recording = Recording()
    contextvars.copy_context().run(_run, program, recording, stack, dict(config or {}), preview)
    return recording


def is_secret(value: Any) -> bool:
    """Say whether an input is marked as a secret."""
    return isinstance(value, dict) and value.get(SIGNATURE) == SECRET


def reveal(value: Any) -> Any:
    """Take the marks of secrets away."""
    if is_secret(value):
        return reveal(value["value"])
    if isinstance(value, dict):
        return {key: reveal(each) for key, each in value.items()}
    return [reveal(each) for each in value] if isinstance(value, list) else value


class _Monitor(resource_pb2_grpc.ResourceMonitorServicer):  # type: ignore[misc]
    """Answers every registration with its inputs, and with what a provider would add."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._lock = threading.Lock()

    def SupportsFeature(self, request: Any, context: Any = None) -> Any:  # noqa: N802 - protocol
        known = request.id in {"secrets", "resourceReferences", "deletedWith"}
        return resource_pb2.SupportsFeatureResponse(hasSupport=known)

    def GetDeploymentInfo(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        features = [
            resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
            resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
            resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
        ]
        return resource_pb2.DeploymentInfo(supportedFeatures=features)

    def RegisterResource(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        urn = urns.make("test", "bex", request.parent, request.type, request.name)
        inputs = json_format.MessageToDict(request.object)
        made = Registered(
            urn=urn,
            type=request.type,
            name=request.name,
            inputs=inputs,
            parent=request.parent,
            provider=request.provider,
            dependencies=tuple(request.dependencies),
            is_custom=request.custom,
            protect=request.protect,
            deleted_with=request.deletedWith,
        )
        with self._lock:
            self._recording.resources.append(made)
        given = {key: value for key, value in inputs.items() if value is not None}
        outputs = struct_pb2.Struct()
        outputs.update({**INVENTED, **given} if request.custom else given)
        return resource_pb2.RegisterResourceResponse(
            urn=urn, id="1" if request.custom else "", object=outputs
        )

    def RegisterResourceOutputs(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        with self._lock:
            self._recording.outputs[request.urn] = json_format.MessageToDict(request.outputs)
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        answer = struct_pb2.Struct()
        answer.update({**json_format.MessageToDict(request.args), "id": 1})
        return resource_pb2.ResourceInvokeResponse(**{"return": answer})

    def SignalAndWaitForShutdown(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        return empty_pb2.Empty()


def _run(
    program: Callable[[], object],
    recording: Recording,
    stack: str,
    config: dict[str, str],
    preview: bool,
) -> None:
    loop = asyncio.new_event_loop()  # before Pulumi makes one of its own, which nobody closes
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_all_config(config)
    pulumi.runtime.settings.ROOT.set(None)
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            project="bex",
            stack=stack,
            monitor=_Monitor(recording),
            engine=mocks.MockEngine(None),
            dry_run=preview,
            organization="organization",
            root_directory=str(ROOT),
        )
    )
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(program))
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
        asyncio.set_event_loop(None)
        loop.close()
