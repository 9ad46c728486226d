"""What a Hetzner project holds and offers, as far as rules ask; plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Thing:
    """Something in a project."""

    kind: str
    """As the API's path says it: `load_balancers`."""
    id: int
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    protected: bool = False
    members: tuple[int, ...] = ()
    """Of a placement group or a network: its servers."""
    text: str = ""
    """Of an SSH key: the key. Of a snapshot: its description."""

    def __str__(self) -> str:
        """Name it for a person."""
        return f"{self.kind.removesuffix('s').replace('_', ' ')} {self.name} ({self.id})"


@dataclass(frozen=True, slots=True)
class Offer:
    """A server type in a location."""

    type: str
    location: str
    architecture: str
    available: bool
    gone_after: str | None
    """The day (ISO) after which the type is no longer sold there."""


@dataclass(frozen=True, slots=True)
class Image:
    """A snapshot or one of Hetzner's own images."""

    id: int
    name: str | None
    description: str
    labels: Mapping[str, str]
    status: str
    architecture: str
    size_gb: float | None


@dataclass(frozen=True, slots=True)
class Budget:
    """Requests this project may still make in this hour."""

    limit: int
    remaining: int
    reset: int
    """When it is whole again, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Project:
    """One look at a project."""

    things: Sequence[Thing]
    offers: Sequence[Offer]
    images: Sequence[Image]
    balancer_targets: Mapping[str, int]
    """Load balancer type -> most targets."""
    locations: Mapping[str, str]
    """Location -> network zone."""
    budget: Budget
    may_write: bool

    def of_kind(self, kind: str) -> list[Thing]:
        """Things of one kind."""
        return [each for each in self.things if each.kind == kind]
