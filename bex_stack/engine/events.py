"""What happens during a run, as values; the command line draws them."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class Operation(enum.StrEnum):
    """What is done to one resource; spelled as in `pulumi preview --json`."""

    SAME = "same"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    READ = "read"
    REFRESH = "refresh"


@dataclass(frozen=True, slots=True)
class Change:
    """One changed place, fit for people's eyes: secrets read `[secret]`."""

    path: str
    kind: str
    """One of add, delete, update and the same with `-replace`."""
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True)
class Started:
    """A resource's step began. Unchanged resources report only Done."""

    urn: str
    type: str
    name: str
    operation: Operation
    changes: tuple[Change, ...] = ()
    replace_reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What differs besides the inputs, in words."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a resource's step is waiting for."""

    urn: str
    type: str
    name: str
    operation: Operation
    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """A resource's step ended well."""

    urn: str
    type: str
    name: str
    operation: Operation
    seconds: float
    changes: tuple[Change, ...] = ()
    replace_reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """A resource's step failed."""

    urn: str
    type: str
    name: str
    operation: Operation
    seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Something said by the program (pulumi.log), a provider or the engine."""

    severity: str
    """One of debug, info, warning, error."""
    message: str
    urn: str = ""


Event = Started | Progress | Done | Failed | Diagnostic
Listener = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that went wrong."""

    urn: str
    message: str


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended."""

    changes: Mapping[str, int]
    """Resources by operation, the engine's own default providers apart."""
    outputs: Mapping[str, Any]
    """The stack's outputs, secrets as `[secret]`."""
    seconds: float
    failures: tuple[Failure, ...] = ()
    interrupted: bool = False
    digest: Mapping[str, Any] = field(default_factory=dict)
    """For a preview: the document `pulumi preview --json` prints."""

    @property
    def failed(self) -> bool:
        """Whether anything went wrong or was left undone."""
        return bool(self.failures) or self.interrupted

    @property
    def changed(self) -> int:
        """How many resources were not the same."""
        return sum(count for operation, count in self.changes.items() if operation != "same")
