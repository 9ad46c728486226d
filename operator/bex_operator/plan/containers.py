"""The pod of an App: one container, drained before it ends, without any privilege. Pure."""

from typing import Any

from bex_operator.api import app, names
from bex_operator.plan import tiers

Manifest = dict[str, Any]

ROLLOUT_SECONDS = 900
"""How long a new release may take to start before the old one stays."""
DRAIN_SECONDS = 10
"""A pod goes on answering so long after it was told to end: routers learn of it a moment later."""
PROBE_SECONDS = 10
PROBE_TIMEOUT_SECONDS = 5
LIVENESS_FAILURES = 6
READINESS_SECONDS = 2
"""A kubelet that has just started lets each probe wait for a random part of its period: with ten
seconds the pods of a new machine, or of one that comes back, serve up to ten seconds late."""
READINESS_FAILURES = 15

RESERVED_ENV = frozenset({"PORT", "BEX_REVISION"})


def serving(wanted: app.App, revision: str) -> Manifest:
    """Render the spec of a pod that serves."""
    container = _container(wanted, revision) | {
        "ports": [{"name": names.PORT_NAME, "containerPort": wanted.port, "protocol": "TCP"}],
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
        **_probes(wanted),
    }
    if wanted.command is not None:
        container["command"] = list(wanted.command)
    if wanted.args:
        container["args"] = list(wanted.args)
    grace = DRAIN_SECONDS + wanted.max_shutdown_delay_seconds
    return _pod(wanted, container) | {"terminationGracePeriodSeconds": grace}


def once(wanted: app.App, revision: str, command: tuple[str, ...]) -> Manifest:
    """Render the spec of a pod that runs *command* to its end, beside those that serve."""
    container = _container(wanted, revision) | {"command": list(command)}
    grace = wanted.max_shutdown_delay_seconds
    return _pod(wanted, container) | {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace,
    }


def _pod(wanted: app.App, container: Manifest) -> Manifest:
    security: Manifest = {
        "seccompProfile": {"type": "RuntimeDefault"},
        # Without capabilities a port below 1024 needs this; many images use 80.
        "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
    }
    if wanted.run_as_user is not None:
        security |= {"runAsUser": wanted.run_as_user, "runAsNonRoot": True}
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security,
        "containers": [container],
    }


def _container(wanted: app.App, revision: str) -> Manifest:
    assert wanted.image is not None  # noqa: S101 - builds resolve to an image before this
    container: Manifest = {
        "name": names.CONTAINER,
        "image": wanted.image,
        # A tag may have moved since it was pulled; a digest cannot.
        "imagePullPolicy": "IfNotPresent" if "@sha256:" in wanted.image else "Always",
        "env": _env(wanted, revision),
        # The last lines of a crash reach the App's status without access to logs.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if wanted.env_from_secret is not None:
        container["envFrom"] = [{"secretRef": {"name": wanted.env_from_secret}}]
    if resources := tiers.resources(wanted):
        container["resources"] = resources
    return container


def _env(wanted: app.App, revision: str) -> list[Manifest]:
    given = [_variable(each) for each in wanted.env if each.name not in RESERVED_ENV]
    return [
        *given,
        {"name": "PORT", "value": str(wanted.port)},
        {"name": "BEX_REVISION", "value": revision},
    ]


def _variable(variable: app.EnvVar) -> Manifest:
    if variable.value_from is not None:
        reference = variable.value_from.secret_key_ref
        source = {"secretKeyRef": {"name": reference.name, "key": reference.key}}
        return {"name": variable.name, "valueFrom": source}
    # The API server drops an empty value; sending it would look like drift for ever.
    return {"name": variable.name, **({"value": variable.value} if variable.value else {})}


def _probes(wanted: app.App) -> dict[str, Manifest]:
    handler: Manifest = {"tcpSocket": {"port": names.PORT_NAME}}
    if wanted.health_check_path is not None:
        path = {"path": wanted.health_check_path, "port": names.PORT_NAME, "scheme": "HTTP"}
        handler = {"httpGet": path}
    probe = {**handler, "timeoutSeconds": PROBE_TIMEOUT_SECONDS, "successThreshold": 1}
    regular = probe | {"periodSeconds": PROBE_SECONDS}
    return {
        # Asked every second, so that an App that starts in half a second serves in one, not ten.
        "startupProbe": probe | {"periodSeconds": 1, "failureThreshold": ROLLOUT_SECONDS},
        "readinessProbe": probe
        | {"periodSeconds": READINESS_SECONDS, "failureThreshold": READINESS_FAILURES},
        "livenessProbe": regular | {"failureThreshold": LIVENESS_FAILURES},
    }
