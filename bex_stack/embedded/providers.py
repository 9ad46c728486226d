"""What makes and mends the resources of the embedded substrate (`resources`) on this host.

Dynamic providers in an importable module with no data of their own, so that the state holds a
reference to them and not their code. Every create may be repeated: what an interrupted up left is
finished by the next. diff looks at the host, too: what does not run is a change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi import dynamic

_IDENTITY = ("name", "home", "kind", "network", "pod_network")
"""Settings of an instance that cannot change while it exists."""

Inputs = Mapping[str, Any]


class _Compared(dynamic.DiffResult):
    """A comparison that also says what differs on the host: bex shows it, the CLI has no place."""

    def __init__(self, changes: bool, replaces: list[str], reasons: list[str]) -> None:
        super().__init__(changes, replaces, delete_before_replace=True)
        self.reasons = reasons


class _Provider(dynamic.ResourceProvider):
    """What all have in common: create and update are the same deed, delete may be last."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        """Make or finish making it."""
        return dynamic.CreateResult(self.identifier(props), {**props, **self.ensure(props)})

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> dynamic.UpdateResult:
        """Mend it."""
        return dynamic.UpdateResult({**news, **self.ensure(news)})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> dynamic.DiffResult:
        """Compare settings, then the world with them."""
        if _instance(olds).dir != _instance(news).dir or _moved(olds, news, _IDENTITY):
            return dynamic.DiffResult(True, ["instance"], delete_before_replace=True)
        replaces = [key for key in self.fixed if olds.get(key) != news.get(key)]
        changed = any(olds.get(key) != value for key, value in _own(news).items())
        changed |= any(olds.get(key) is None for key in self.made)
        drift = [] if replaces or changed else self.unsettled(news)
        return _Compared(bool(replaces or changed or drift), replaces, drift)

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """Remove it, and the whole instance once nothing is left in it."""
        from bex_stack.embedded import teardown

        self.remove(props)
        teardown.destroy_if_unused(_instance(props))

    fixed: Sequence[str] = ()
    """Inputs that cannot change while it exists."""
    made: Sequence[str] = ()
    """Outputs that a state from before there were any lacks."""

    def identifier(self, props: Inputs) -> str:
        """Name it on this host."""
        raise NotImplementedError

    def ensure(self, props: Inputs) -> dict[str, Any]:
        """Let it be as *props* say; return its outputs."""
        raise NotImplementedError

    def unsettled(self, props: Inputs) -> list[str]:
        """What `ensure` would mend on this host, in words."""
        raise NotImplementedError

    def remove(self, props: Inputs) -> None:
        """Remove it; what is gone is no error."""
        raise NotImplementedError


class HostProvider(_Provider):
    """The instance's share of this host. Whatever else it has stands on it and goes with it."""

    made = ("authority",)

    def identifier(self, props: Inputs) -> str:
        """One per instance."""
        return f"{_instance(props).name}-host"

    def ensure(self, props: Inputs) -> dict[str, Any]:
        """Start the supervisor, set up network and firewall, make keys."""
        from bex_stack.embedded import host, identities

        instance = _instance(props)
        host.ensure(instance)
        return {"authority": identities.cluster_authority(instance).certificate.read_text()}

    def unsettled(self, props: Inputs) -> list[str]:
        """Each of them is looked at."""
        from bex_stack.embedded import host

        return host.unsettled(_instance(props))

    def remove(self, props: Inputs) -> None:
        """Remove the whole instance."""
        from bex_stack.embedded import teardown

        teardown.destroy(_instance(props))


class ClusterProvider(_Provider):
    """The control plane and, as soon as its program is built, the name server."""

    def identifier(self, props: Inputs) -> str:
        """One per instance."""
        return str(_instance(props).name)

    def ensure(self, props: Inputs) -> dict[str, Any]:
        """Start what does not run and wait until the API server is ready."""
        from bex_stack.embedded import cluster, services, toolchain

        instance = _instance(props)

        def meanwhile() -> None:
            if instance.kind == "simulated":
                from bex_stack.embedded import simulated

                simulated.ensure_player(instance, toolchain.ensure(toolchain.SIMULATED).paths)
            elif not toolchain.missing([services.DNS_PROGRAM]):
                found = toolchain.locate([services.DNS_PROGRAM])
                services.ensure_dns(instance, found, tell=_tell)

        programs = toolchain.ensure(toolchain.CONTROL_PLANE).paths
        cluster.ensure(instance, programs, meanwhile=meanwhile)
        return {"kubeconfig": str(instance.kubeconfig), "api_url": instance.api_url, "ready": True}

    def unsettled(self, props: Inputs) -> list[str]:
        """The name server counts only once its program is there: it is built last."""
        from bex_stack.embedded import cluster, services, toolchain

        instance = _instance(props)
        if absent := toolchain.missing(toolchain.CONTROL_PLANE):
            return [f"{name} has to be built" for name in sorted(absent)]
        found = cluster.unsettled(instance, toolchain.locate(toolchain.CONTROL_PLANE))
        if instance.kind == "simulated":
            from bex_stack.embedded import simulated

            programs = toolchain.locate(toolchain.SIMULATED)
            if not simulated.is_player_settled(instance, programs):
                found.append("the player of simulated nodes does not run as it should")
        elif not toolchain.missing([services.DNS_PROGRAM]):
            programs = toolchain.locate([services.DNS_PROGRAM])
            if not services.is_dns_settled(instance, programs):
                found.append("the name server does not run as it should")
        return found

    def remove(self, props: Inputs) -> None:
        """Remove the whole instance: states from before there was a Host have it go with this."""
        from bex_stack.embedded import teardown

        teardown.destroy(_instance(props))


class RegistryProvider(_Provider):
    """The OCI registry."""

    made = ("token_key",)

    def identifier(self, props: Inputs) -> str:
        """One per instance."""
        return f"{_instance(props).name}-registry"

    def ensure(self, props: Inputs) -> dict[str, Any]:
        """Start it unless it runs and wait until it answers."""
        from bex_stack.embedded import registry, services, toolchain

        instance = _instance(props)
        services.ensure_registry(instance, toolchain.ensure([registry.NAME]).path(registry.NAME))
        return {
            "endpoint": registry.endpoint(instance),
            "machine_endpoint": registry.machine_endpoint(instance),
            "token_key": registry.token_key(instance).read_text(),
        }

    def unsettled(self, props: Inputs) -> list[str]:
        """It runs as the settings say."""
        from bex_stack.embedded import registry, supervision, toolchain

        instance = _instance(props)
        program = toolchain.locate([registry.NAME])[registry.NAME]
        return supervision.unsettled(instance, [registry.process(instance, program)])

    def remove(self, props: Inputs) -> None:
        """Stop it; the images go with the instance."""
        from bex_stack.embedded import registry, supervision

        supervision.remove(_instance(props), [registry.NAME])


class MachineProvider(_Provider):
    """One machine, real or simulated as its instance is."""

    fixed = ("machine", "slot", "role")

    def identifier(self, props: Inputs) -> str:
        """Machine names are unique within an instance."""
        return f"{_instance(props).name}-{props['machine']}"

    def ensure(self, props: Inputs) -> dict[str, Any]:
        """Start what does not run and wait until its node is Ready."""
        from bex_stack.embedded import machines, toolchain

        instance, machine = _instance(props), _machine(props)
        if instance.kind == "simulated":
            from bex_stack.embedded import cluster, simulated

            cluster.wait_until_answering(instance)
            simulated.ensure(instance, machine)
        else:
            machines.ensure(instance, machine, toolchain.ensure(toolchain.MACHINE).paths)
        return {"address": instance.machine_address(machine.slot)}

    def unsettled(self, props: Inputs) -> list[str]:
        """All of it runs as the settings say and its node is Ready."""
        from bex_stack.embedded import machines, toolchain

        instance, machine = _instance(props), _machine(props)
        if instance.kind == "simulated":
            from bex_stack.embedded import simulated

            return [] if simulated.is_settled(instance, machine) else ["its node is not Ready"]
        return machines.unsettled(instance, machine, toolchain.locate(toolchain.MACHINE))

    def remove(self, props: Inputs) -> None:
        """Drain it, stop it, delete its node."""
        from bex_stack.embedded import drain, machines

        instance, machine = _instance(props), _machine(props)
        drain.drain_machine(instance, machine.name, tell=_tell)
        if instance.kind == "real":
            machines.remove(instance, machine)
        drain.forget_machine(instance, machine.name, tell=_tell)


class ProcessProvider(_Provider):
    """A process beside the cluster: the operator, the edge and its feeder."""

    fixed = ("process",)

    def identifier(self, props: Inputs) -> str:
        """Process names are unique within an instance."""
        return f"{_instance(props).name}-{props['process']}"

    def ensure(self, props: Inputs) -> dict[str, Any]:
        """Start it unless it runs as the settings say, and wait until it answers."""
        from bex_stack.embedded import services

        instance = _instance(props)
        user = props.get("user")
        services.ensure_process(instance, _process(props), user=user, ready=props.get("ready"))
        return {}

    def unsettled(self, props: Inputs) -> list[str]:
        """It runs as the settings say."""
        from bex_stack.embedded import services

        instance = _instance(props)
        if services.is_process_settled(instance, _process(props), user=props.get("user")):
            return []
        return [f"{props['process']} does not run as it should"]

    def remove(self, props: Inputs) -> None:
        """Stop it."""
        from bex_stack.embedded import supervision

        supervision.remove(_instance(props), [str(props["process"])])


class RepositoryProvider(_Provider):
    """A git repository that builds are let read; what it holds is who pushes to it's."""

    fixed = ("repository",)

    def identifier(self, props: Inputs) -> str:
        """Names of repositories are unique within an instance."""
        return f"{_instance(props).name}-{props['repository']}"

    def ensure(self, props: Inputs) -> dict[str, Any]:
        """Make it of its first files unless it is there, and let it be served."""
        from pathlib import Path

        from bex_stack.embedded import repositories

        repositories.ensure(_instance(props), str(props["repository"]), Path(props["source"]))
        return {}

    def unsettled(self, props: Inputs) -> list[str]:
        """It is there and its server runs."""
        from bex_stack.embedded import repositories

        if repositories.is_served(_instance(props), str(props["repository"])):
            return []
        return [f"the repository {props['repository']} is not served as it should be"]

    def remove(self, props: Inputs) -> None:
        """Remove it with all its commits."""
        from bex_stack.embedded import repositories

        repositories.remove(_instance(props), str(props["repository"]))


def _instance(props: Inputs) -> Any:
    from bex_stack.embedded import instance as instances

    return instances.from_inputs(props["instance"])


def _machine(props: Inputs) -> Any:
    from bex_stack.embedded import machine_config

    return machine_config.Machine(
        name=str(props["machine"]), slot=int(props["slot"]), role=props.get("role", "worker")
    )


def _process(props: Inputs) -> Any:
    from pathlib import Path

    from bex_stack.embedded import processes

    return processes.Process(
        name=str(props["process"]),
        command=tuple(props["command"]),
        environment=dict(props.get("env") or {}),
        directory=Path(props.get("working_dir") or "/"),
        priority=200,
    )


def _own(props: Inputs) -> dict[str, Any]:
    """Inputs as they were given; outputs are None there until the resource exists."""
    return {
        key: value for key, value in props.items() if value is not None and not key.startswith("__")
    }


def _moved(olds: Inputs, news: Inputs, keys: Sequence[str]) -> bool:
    return any(olds["instance"].get(key) != news["instance"].get(key) for key in keys)


def _tell(message: str) -> None:
    import logging

    logging.getLogger("bex.embedded").info(message)
