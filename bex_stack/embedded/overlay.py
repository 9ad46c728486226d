"""The infrastructure overlay of the `embedded` stack, as components: cluster, registry, operator
process and edge processes on this host. Everything above it is the same on every substrate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi

from bex_operator import api
from bex_operator.api import images
from bex_stack.embedded import build_network, builds, built_images, commands, resources
from bex_stack.embedded import instance as instances
from bex_stack.embedded import registry as registries
from components.manifests import operator_pod as pods

WEBHOOK_HOST = "hooks.localhost"
"""Where git servers on this host reach the operator."""
REGISTRY_FOLDER, BUILDS_FOLDER = "/etc/bex/registry", "/etc/bex/builds"
"""Where the operator's pods find what they are told in secret."""
EXAMPLES = Path(__file__).parents[2] / "examples"


def url(instance: instances.Instance, app: api.App) -> str:
    """Say where *app* answers: at the edge, or inside the cluster if it has no host."""
    host = api.main_host_of(app, commands.BASE_DOMAIN)
    if host is not None:
        return f"http://{host}:{instance.edge_http_port}"
    return f"http://{app.name}.{api.NAMESPACE}.svc:{app.port}"


def operator_replicas(workers: int) -> int:
    """Two where there are two machines; on one, a second would be no help and cost memory."""
    return min(2, 1 + workers)


def operator_pod(args: "EmbeddedArgs", registry: "EmbeddedRegistry") -> pods.Pod | None:
    """Describe the operator's pods on this host's machines; None if it runs beside them."""
    if registry.operator is None:
        return None
    instance = args.instance
    options = commands.operator_options(instance, registries.guarded_endpoint(instance))
    options["registry-key"] = f"{REGISTRY_FOLDER}/{registries.TOKEN_KEY}"
    mounts = [pods.Mount(registries.SECRET, REGISTRY_FOLDER)]
    if args.has_builds:
        options["reserved-hosts"] = WEBHOOK_HOST
        options["builds"] = f"{BUILDS_FOLDER}/{builds.SETTINGS}"
        mounts.append(pods.Mount(builds.secret_name(instance, args.buildpacks), BUILDS_FOLDER))
    return pods.Pod(
        image=registry.operator.reference,
        mounts=mounts,
        replicas=operator_replicas(args.workers),
        options=options,
        webhook_host=WEBHOOK_HOST if args.has_builds else None,
    )


def operator_needs(
    args: "EmbeddedArgs", cluster: "EmbeddedCluster", registry: "EmbeddedRegistry"
) -> Sequence[Mapping[str, Any]]:
    """Render what those pods mount, and how pods that build are run."""
    needed: list[Mapping[str, Any]] = []
    if args.has_builds:
        needed.append(build_network.runtime_class())
    if registry.operator is None:
        return needed
    needed.append(registries.secret(pulumi.Output.secret(registry.token_key)))
    if args.has_builds:
        key, authority = f"{REGISTRY_FOLDER}/{registries.TOKEN_KEY}", cluster.host.authority
        needed.append(builds.secret(args.instance, args.buildpacks, BUILDS_FOLDER, key, authority))
    return needed


@dataclass(frozen=True, slots=True)
class EmbeddedArgs:
    """One embedded cluster on this host."""

    instance: instances.Instance
    workers: int
    """Worker machines, 0 or more; the control-plane machine comes on top."""
    has_operator_pod: bool = True
    """Whether the operator runs in the cluster; if not, it runs beside it from source."""
    has_builds: bool = False
    """Whether images are made out of repositories."""
    repositories: Sequence[Path] = ()
    """Folders that are served to builds as repositories, named by their last part."""
    base_images: Sequence[str] = ()
    """Base images for builds that are made here."""
    buildpacks: images.Buildpacks = field(default_factory=images.Buildpacks)


class EmbeddedCluster(pulumi.ComponentResource):
    """Control plane and machines."""

    kubeconfig: str
    """Path of the administrator's kubeconfig on this host. Known before there is a cluster, so a
    preview of a cluster that has to be mended does not take everything in it for replaced."""
    host: resources.Host
    """What everything else stands on and goes with."""
    control_plane: pulumi.Resource
    machines: Sequence[pulumi.Resource]

    def __init__(
        self, name: str, args: EmbeddedArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:embedded:AppCluster", name, None, opts)
        instance = args.instance.to_inputs()
        self.host = resources.Host(
            f"{name}-host", instance, opts=pulumi.ResourceOptions(parent=self)
        )
        on_host = pulumi.ResourceOptions(
            parent=self, depends_on=[self.host], deleted_with=self.host
        )
        self.control_plane = resources.Cluster(f"{name}-control-plane", instance, opts=on_host)
        self.kubeconfig = str(args.instance.kubeconfig)
        roles = {"control-plane": "control-plane"}
        roles |= {f"worker-{number}": "worker" for number in range(1, args.workers + 1)}
        self.machines = [
            resources.Machine(
                machine,
                instance,
                machine=machine,
                slot=slot,
                role=role,
                opts=on_host,
            )
            for slot, (machine, role) in enumerate(roles.items())
        ]
        self.register_outputs({"kubeconfig": self.kubeconfig})


class EmbeddedRegistry(pulumi.ComponentResource):
    """The OCI registry and the images this host builds for it."""

    endpoint: str
    """HOST:PORT on this host."""
    token_key: pulumi.Output[str]
    """What lets pods in."""
    images: Sequence[pulumi.Resource]
    """What Apps and machines need."""
    operator: built_images.OperatorImage | None
    """The operator's image, if it runs in the cluster."""
    builder: builds.BuilderImage | None
    """What builds run, if there are any."""
    bases: Sequence[pulumi.Resource]
    """Base images for them."""

    def __init__(
        self, name: str, args: EmbeddedArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:embedded:Registry", name, None, opts)
        registry = resources.Registry(
            name, args.instance.to_inputs(), opts=pulumi.ResourceOptions(parent=self)
        )
        self.endpoint, self.token_key = registries.endpoint(args.instance), registry.token_key
        child = pulumi.ResourceOptions(parent=self, depends_on=[registry])
        self.images = [
            built_images.PauseImage(f"{name}-pause", registry=self.endpoint, opts=child),
            built_images.GoImage(
                f"{name}-hello-go",
                source=EXAMPLES / "hello-go",
                repository="bex/hello-go",
                tag="1",
                registry=self.endpoint,
                opts=child,
            ),
        ]
        self.operator = (
            # After pause: whatever waits for this image starts pods with it.
            built_images.OperatorImage(
                f"{name}-operator",
                registry=self.endpoint,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[registry, *self.images]),
            )
            if args.has_operator_pod
            else None
        )
        self.builder = (
            builds.BuilderImage(f"{name}-builder", args.instance, args.buildpacks, opts=child)
            if args.has_builds
            else None
        )
        self.bases = [
            builds.BaseImage(f"{name}-{each}", image=each, registry=self.endpoint, opts=child)
            for each in args.base_images
        ]
        self.register_outputs({"endpoint": self.endpoint})


class EmbeddedProcesses(pulumi.ComponentResource):
    """Edge, its feeder and an operator from source, kept by the supervisor beside the cluster."""

    started: Sequence[pulumi.Resource]

    def __init__(
        self, name: str, args: EmbeddedArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:embedded:Processes", name, None, opts)
        self.started = [
            resources.Process(
                f"{name}-{process.name}",
                args.instance.to_inputs(),
                process=process.name,
                command=list(process.command),
                env=dict(process.env),
                user=process.user,
                ready=dict(process.ready),
                opts=pulumi.ResourceOptions(parent=self),
            )
            for process in commands.processes(
                args.instance,
                has_operator=not args.has_operator_pod,
                buildpacks=args.buildpacks if args.has_builds else None,
            )
        ]
        self.register_outputs({})


class EmbeddedRepositories(pulumi.ComponentResource):
    """Git repositories that this host serves to builds."""

    served: Sequence[pulumi.Resource]

    def __init__(
        self, name: str, args: EmbeddedArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:embedded:Repositories", name, None, opts)
        self.served = [
            resources.Repository(
                f"{name}-{folder.name}",
                args.instance.to_inputs(),
                repository=folder.name,
                source=str(folder),
                opts=pulumi.ResourceOptions(parent=self),
            )
            for folder in args.repositories
        ]
        self.register_outputs({})
