"""The settings a stack file may hold: what every stack has, and the embedded one.

One closed model per provider; those of the others are in `settings_cluster_api`, which only their
stacks import. Every key has a description, a bound where one makes sense, and the same default for
each provider that has it: Pulumi.yaml declares all of them once (see `settings_schema`).
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import alias_generators

from bex_operator.api import images
from bex_stack.embedded import instance as instances
from components.manifests import builds

PROVIDERS = ("embedded", "capd", "caph")

Port = Annotated[int, pydantic.Field(ge=1, le=65535)]
Texts = Annotated[tuple[str, ...], pydantic.Field(strict=False)]

BaseImages = Annotated[
    tuple[Literal["debian", "golang", "node", "python"], ...], pydantic.Field(strict=False)
]


class Settings(pydantic.BaseModel):
    """What every stack has."""

    model_config = pydantic.ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        alias_generator=alias_generators.to_camel,
    )

    apps: Texts = ("*",)
    """App names or patterns this stack runs; a leading `!` leaves matching ones out."""
    workers: Annotated[int, pydantic.Field(ge=0, le=100)] = 2
    """Worker machines that apps run on, 0-100; `bex machines scale N` changes it."""
    pod_network: str = "10.244.0.0/16"
    """The pods' network (IPv4, /16); each machine has a /24 of it."""

    inner_networks: Texts = ()
    """Inner addresses that repositories may be at, like `10.0.7.5/32:22` (IPv4, CIDR and port), for
    clones and for the steps of builds; public ones need no entry, all others are refused."""

    @pydantic.field_validator("inner_networks")
    @classmethod
    def _names_networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for each in given:
            builds.read_inner_network(each)
        return given

    @property
    def inner(self) -> tuple[builds.InnerNetwork, ...]:
        """Those addresses."""
        return tuple(builds.read_inner_network(each) for each in self.inner_networks)


class EmbeddedSettings(Settings):
    """A stack whose machines live on this Linux host."""

    provider: Literal["embedded"]
    """Where machines come from: `embedded` = this Linux host, `capd` = Docker containers, `caph` =
    Hetzner servers."""
    instance: Annotated[str, pydantic.Field(pattern=r"^[a-z][a-z0-9]{0,9}$")] = "bex"
    """Name of the cluster on this host: 1-10 of a-z and 0-9; two can live side by side."""
    workers: Annotated[int, pydantic.Field(ge=0, le=50)] = 2
    """Worker machines that apps run on, 0-100 (embedded: 50); `bex machines scale N` changes it."""
    machines: Literal["real", "simulated"] = "real"
    """`real`: namespaces with their own containerd and kubelet (needs root). `simulated`: KWOK
    nodes that run no containers, for scale tests and hosts that refuse namespaces."""
    operator: Literal["pod", "source"] = "pod"
    """`pod`: the operator runs in the cluster, from an image made here. `source`: it runs beside
    the cluster from this checkout, as it always does with simulated machines."""
    network: str = "10.90.0.0/24"
    """The machines' network (IPv4, /24); the host has its first address."""
    edge_http_port: Port = 8080
    """Port on 127.0.0.1 where apps answer in clear."""
    edge_https_port: Port = 8443
    """Port on 127.0.0.1 where apps answer with TLS."""
    registry_port: Port = 5050
    """Port on 127.0.0.1 of the OCI registry."""
    repositories: Texts = ()
    """Folders of the project that this host serves to builds, as git repositories called like the
    last part of their path; pushed to in the folder of the stack's state."""
    base_images: BaseImages = ()
    """Base images for builds that are made here: `debian`, `golang`, `node`, `python`."""

    buildpack_builder: str = images.BUILDER
    """Image that Apps with `builder: buildpack` are built in, by digest: NAME@sha256:…."""
    buildpack_run_image: str = images.RUN_IMAGE
    """Image that they stand on, by digest; empty: the one that the builder names."""

    @pydantic.field_validator("buildpack_builder", "buildpack_run_image")
    @classmethod
    def _is_by_digest(cls, name: str, info: pydantic.ValidationInfo) -> str:
        may_be_empty = info.field_name == "buildpack_run_image"
        if not (re.fullmatch(images.BY_DIGEST, name) or (may_be_empty and not name)):
            raise ValueError(f"{name!r} must be given by digest: NAME@sha256:…")
        return name

    @pydantic.model_validator(mode="after")
    def _describes_an_instance(self) -> Self:
        self.as_instance(Path("/"))
        return self

    @property
    def has_operator_pod(self) -> bool:
        """Say whether the operator runs in the cluster: simulated machines run no containers."""
        return self.operator == "pod" and self.machines == "real"

    @property
    def buildpacks(self) -> images.Buildpacks:
        """What builds by buildpacks are made with."""
        return images.Buildpacks(self.buildpack_builder, self.buildpack_run_image)

    def as_instance(self, home: Path) -> instances.Instance:
        """Describe the embedded cluster; its files lie below *home*."""
        return instances.from_inputs(
            {
                "home": str(home),
                "name": self.instance,
                "kind": self.machines,
                "inner": self.inner_networks,
                **self.model_dump(
                    include={
                        "network",
                        "pod_network",
                        "edge_http_port",
                        "edge_https_port",
                        "registry_port",
                    }
                ),
            }
        )
