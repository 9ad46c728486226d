"""What the engine asks of a provider. All values are in wire form (see values)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bex_stack.engine import differences, values

Report = Callable[[str], None]
"""Told what an operation is waiting for, in words."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The resource an operation is about."""

    urn: str
    type: str
    name: str
    timeout_seconds: float | None = None
    ignore_changes: tuple[str, ...] = ()
    report: Report = field(default=lambda _: None, compare=False)


@dataclass(frozen=True, slots=True)
class Checked:
    """Inputs as the provider wants them recorded, and what is wrong with them."""

    inputs: values.Properties
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diffed:
    """What a provider says about changed inputs.

    `changes` None leaves the comparison of inputs to the engine.
    """

    changes: bool | None
    replaces: tuple[str, ...] = ()
    delete_before_replace: bool = False
    details: tuple[differences.Difference, ...] | None = None
    reasons: tuple[str, ...] = ()
    """What differs besides the inputs, in words."""


@dataclass(frozen=True, slots=True)
class Made:
    """A resource as it is after create, update or read; an empty id means not known yet."""

    id: str
    outputs: values.Properties
    inputs: values.Properties | None = None
    planned: tuple[differences.Difference, ...] = ()
    """In a preview: what the server itself would change besides the inputs."""


class Provider(Protocol):
    """Manages resources of one package. Called from several threads at once."""

    def check(
        self, subject: Subject, old: values.Properties | None, new: values.Properties
    ) -> Checked:
        """Complete and validate inputs; `old` are the last inputs or None."""

    def diff(
        self,
        subject: Subject,
        identifier: str,
        old: tuple[values.Properties, values.Properties],
        new: values.Properties,
    ) -> Diffed:
        """Compare; `old` are the last inputs and the last outputs."""

    def create(self, subject: Subject, inputs: values.Properties, *, preview: bool) -> Made:
        """Create; in a preview only say what would be, as far as it is known."""

    def update(
        self,
        subject: Subject,
        identifier: str,
        old: tuple[values.Properties, values.Properties],
        new: values.Properties,
        *,
        preview: bool,
    ) -> Made:
        """Bring an existing resource to the new inputs."""

    def delete(
        self,
        subject: Subject,
        identifier: str,
        inputs: values.Properties,
        outputs: values.Properties,
    ) -> None:
        """Delete and wait until it is gone; a resource already gone is no error."""

    def read(
        self,
        subject: Subject,
        identifier: str,
        inputs: values.Properties | None,
        outputs: values.Properties | None,
    ) -> Made | None:
        """Return the resource as it is now, or None when it does not exist."""

    def find_created(self, subject: Subject, inputs: values.Properties) -> Made | None:
        """Return what an interrupted create of ours left behind, or None to create again."""

    def close(self) -> None:
        """Free connections; the provider is not used afterwards."""


class Plain:
    """What providers share that know nothing better: a provider is this and what it adds."""

    def check(
        self, subject: Subject, old: values.Properties | None, new: values.Properties
    ) -> Checked:
        """Accept the inputs."""
        return Checked(new)

    def diff(
        self,
        subject: Subject,
        identifier: str,
        old: tuple[values.Properties, values.Properties],
        new: values.Properties,
    ) -> Diffed:
        """Leave the comparison to the engine."""
        return Diffed(None)

    def find_created(self, subject: Subject, inputs: values.Properties) -> Made | None:
        """Say nothing is known of what was left behind."""
        return None

    def close(self) -> None:
        """Nothing is held open."""
