"""The embedded substrate as Pulumi resources: Host, Cluster, Registry, Machine, Process,
Repository."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi import dynamic

from bex_stack.embedded import providers


class Host(dynamic.Resource, module="embedded", name="Host"):
    """What an embedded instance has of this host: a supervisor, a bridge, rules, keys."""

    authority: pulumi.Output[str]
    """Certificate of whom the instance's certificates are from."""

    def __init__(
        self,
        name: str,
        instance: pulumi.Input[dict[str, Any]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"instance": instance, "authority": None}
        super().__init__(providers.HostProvider(), name, props, opts)


class Cluster(dynamic.Resource, module="embedded", name="Cluster"):
    """The control plane of an embedded instance."""

    kubeconfig: pulumi.Output[str]
    """Path of the administrator's kubeconfig on this host."""
    api_url: pulumi.Output[str]
    ready: pulumi.Output[bool]

    def __init__(
        self,
        name: str,
        instance: pulumi.Input[dict[str, Any]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"instance": instance, "kubeconfig": None, "api_url": None, "ready": None}
        super().__init__(providers.ClusterProvider(), name, props, opts)


class Registry(dynamic.Resource, module="embedded", name="Registry"):
    """The OCI registry of an embedded instance."""

    endpoint: pulumi.Output[str]
    """HOST:PORT on this host."""
    machine_endpoint: pulumi.Output[str]
    """HOST:PORT for machines."""
    token_key: pulumi.Output[str]
    """What tokens for pods are signed with; a secret."""

    def __init__(
        self,
        name: str,
        instance: pulumi.Input[dict[str, Any]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        made = {"endpoint": None, "machine_endpoint": None, "token_key": None}
        hidden = pulumi.ResourceOptions(additional_secret_outputs=["token_key"])
        merged = pulumi.ResourceOptions.merge(opts, hidden)
        super().__init__(providers.RegistryProvider(), name, {"instance": instance, **made}, merged)


class Machine(dynamic.Resource, module="embedded", name="Machine"):
    """One machine; deleting it drains it first."""

    address: pulumi.Output[str]
    """Where the host and other machines reach it."""

    def __init__(
        self,
        name: str,
        instance: pulumi.Input[dict[str, Any]],
        *,
        machine: pulumi.Input[str],
        slot: pulumi.Input[int],
        role: pulumi.Input[str] = "worker",
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"machine": machine, "slot": slot, "role": role, "address": None}
        super().__init__(providers.MachineProvider(), name, {"instance": instance, **props}, opts)


class Process(dynamic.Resource, module="embedded", name="Process"):
    """A process the instance's supervisor keeps running."""

    def __init__(  # noqa: PLR0913 - a resource takes its properties one by one
        self,
        name: str,
        instance: pulumi.Input[dict[str, Any]],
        *,
        process: pulumi.Input[str],
        command: pulumi.Input[list[str]],
        env: pulumi.Input[dict[str, str]] | None = None,
        user: pulumi.Input[str] | None = None,
        working_dir: pulumi.Input[str] = "/",
        ready: pulumi.Input[dict[str, str]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "instance": instance,
            "process": process,
            "command": command,
            "env": env or {},
            "user": user,
            "working_dir": working_dir,
            "ready": ready,
        }
        super().__init__(providers.ProcessProvider(), name, props, opts)


class Repository(dynamic.Resource, module="embedded", name="Repository"):
    """A git repository that this host serves to builds, at first with the files of *source*."""

    def __init__(
        self,
        name: str,
        instance: pulumi.Input[dict[str, Any]],
        *,
        repository: pulumi.Input[str],
        source: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"instance": instance, "repository": repository, "source": source}
        super().__init__(providers.RepositoryProvider(), name, props, opts)
