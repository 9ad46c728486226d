"""The exit codes of `bex`, one per kind of trouble; README lists them."""

from bex_stack import errors
from bex_stack.engine import errors as engine_errors

FAILED = 1
HOST = 3
APP = 4
SETTINGS = 5
STATE = 6
PASSPHRASE = 7
LOCKED = 8
CHANGES_FOUND = 9
NEEDS_CLI = 10
INTERRUPTED = 130

_BY_CLASS: tuple[tuple[type[Exception], int], ...] = (
    (errors.HostUnfit, HOST),
    (errors.BadApp, APP),
    (errors.BadSettings, SETTINGS),
    (engine_errors.ProjectError, SETTINGS),
    (engine_errors.WrongPassphrase, PASSPHRASE),
    (engine_errors.StateLocked, LOCKED),
    (engine_errors.StateError, STATE),
    (engine_errors.NeedsCli, NEEDS_CLI),
    (errors.ChangesFound, CHANGES_FOUND),
    (engine_errors.Interrupted, INTERRUPTED),
)


def of(error: Exception) -> int:
    """Return the exit code for *error*: of the first class in the table that fits."""
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), FAILED)
