"""The object the SDK talks to instead of the CLI: one method per call of the protocol.

Given to the SDK in process (`Settings(monitor=…, engine=…)`); because it keeps the servicers'
signatures it can be served over gRPC as well. It may never touch asyncio or Outputs.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import grpc
import yaml
from google.protobuf import empty_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    provider_pb2,
    resource_pb2,
    resource_pb2_grpc,
)

from bex_stack.engine import deployment, errors, goals, reporting, values

FEATURES = (
    resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
    resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
)
"""Without aliasSpecs the SDK itself turns aliases, inherited ones too, into URNs."""
_LEGACY_FEATURES = frozenset({"secrets", "resourceReferences", "deletedWith"})

_SEVERITIES = {0: "debug", 1: "info", 2: "warning", 3: "error"}
_Answer = TypeVar("_Answer")


class Aborted(grpc.RpcError):  # type: ignore[misc]
    """Tells the SDK that the run ends, as the CLI's closed connection does."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self._message = message

    def code(self) -> grpc.StatusCode:
        """Return a status the SDK reports with its details."""
        return grpc.StatusCode.ABORTED

    def details(self) -> str:
        """Return the message."""
        return self._message


class Monitor(resource_pb2_grpc.ResourceMonitorServicer):
    """Answers the program's registrations."""

    def __init__(self, resources: deployment.Deployment, *, dry_run: bool) -> None:
        self._deployment = resources
        self._dry_run = dry_run
        self.error: errors.EngineError | None = None
        """The first failure; later ones are its consequences."""

    def announce(self, type_token: str, find_place: Callable[[], str]) -> None:
        """Take note of a resource that the program has made; its registration follows."""
        self._deployment.announce(type_token, find_place)

    def GetDeploymentInfo(self, request: Any, context: Any = None) -> Any:  # noqa: N802 - protocol
        """Name the features of this monitor."""
        return resource_pb2.DeploymentInfo(supportedFeatures=FEATURES)

    def SupportsFeature(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Answer the older form of the same question."""
        return resource_pb2.SupportsFeatureResponse(hasSupport=request.id in _LEGACY_FEATURES)

    def RegisterResource(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Bring a resource to its goal; the answer comes when that is done."""
        resource = self._guard(lambda: self._deployment.register(goals.from_request(request)))
        response = resource_pb2.RegisterResourceResponse(
            urn=resource.urn,
            id="" if values.is_unknown(resource.id) else resource.id,
            object=values.to_struct(resource.outputs),
        )
        for key, urns in resource.property_dependencies.items():
            response.propertyDependencies[key].urns.extend(urns)
        return response

    def RegisterResourceOutputs(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Record a component's or the stack's outputs."""
        outputs = values.from_struct(request.outputs)
        self._guard(lambda: self._deployment.register_outputs(request.urn, outputs))
        return empty_pb2.Empty()

    def ReadResource(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Look up an existing resource."""
        goal = goals.Goal(
            type=request.type,
            name=request.name,
            custom=True,
            parent=request.parent,
            inputs=values.from_struct(request.properties),
            provider=request.provider,
            version=request.version,
            dependencies=tuple(request.dependencies),
            additional_secret_outputs=tuple(request.additionalSecretOutputs),
            position=goals.position(request),
        )
        resource = self._guard(lambda: self._deployment.read(goal, request.id))
        return resource_pb2.ReadResourceResponse(
            urn=resource.urn, properties=values.to_struct(resource.outputs), id=resource.id
        )

    def Invoke(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Run a function of a provider; only decoding of YAML is known here."""
        if request.tok == "kubernetes:yaml:decode":
            text = values.reveal(values.from_struct(request.args)).get("text", "")
            found = [each for each in yaml.safe_load_all(text) if each]
            return provider_pb2.InvokeResponse(**{"return": values.to_struct({"result": found})})
        where = goals.position(request)
        return self._refuse(f"function {request.tok!r}" + (f" at {where}" if where else ""))

    def Call(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Refuse resource methods."""
        return self._refuse(f"method {request.tok!r}")

    def ExistsResource(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Refuse to look for resources by id."""
        return self._refuse(f"an existence check of {request.type} {request.id!r}")

    def RegisterPackage(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Refuse parameterized packages."""
        return self._refuse(f"the parameterized package {request.name!r}")

    def RegisterStackTransform(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Refuse stack transforms."""
        return self._refuse("a stack transform")

    def RegisterStackInvokeTransform(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Refuse invoke transforms."""
        return self._refuse("an invoke transform")

    def RegisterResourceHook(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Refuse resource hooks."""
        return self._refuse(f"the resource hook {request.name!r}")

    def RegisterErrorHook(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Refuse error hooks."""
        return self._refuse("an error hook")

    def SignalAndWaitForShutdown(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Let the program end; nothing calls back into it."""
        return empty_pb2.Empty()

    def _refuse(self, what: str) -> Any:
        def refuse() -> None:
            raise errors.Unsupported(f"{what} needs the pulumi CLI; the embedded engine has none")

        return self._guard(refuse)

    def _guard(self, action: Callable[[], _Answer]) -> _Answer:
        """Run an action; a failure ends the program and is kept as the reason."""
        try:
            return action()
        except errors.EngineError as exc:
            if self.error is None or isinstance(self.error, errors.Interrupted):
                self.error = exc
            raise Aborted(str(exc)) from exc


class Engine(engine_pb2_grpc.EngineServicer):
    """Takes the program's log."""

    def __init__(self, reporter: reporting.Reporter) -> None:
        self._reporter = reporter

    def Log(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Report one message of the program."""
        severity = _SEVERITIES.get(request.severity, "info")
        if request.message and not (severity == "debug" or request.ephemeral):
            self._reporter.say(request.message.rstrip(), severity=severity, urn=request.urn)
        return empty_pb2.Empty()

    def RequirePulumiVersion(self, request: Any, context: Any = None) -> Any:  # noqa: N802
        """Accept: the engine is pinned to the SDK's own version."""
        return engine_pb2.RequirePulumiVersionResponse()
