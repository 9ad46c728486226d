"""Exit codes."""

import pytest

from bex_stack import errors, exit_codes
from bex_stack.engine import errors as engine_errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.HostUnfit("x"), 3),
        (errors.BadApp("x"), 4),
        (errors.BadSettings("x"), 5),
        (engine_errors.StateCorrupt("x"), 6),
        (engine_errors.WrongPassphrase("x"), 7),
        (engine_errors.StateLocked("x"), 8),
        (errors.ChangesFound("x"), 9),
        (engine_errors.NeedsCli("x"), 10),
        (engine_errors.Interrupted("x"), 130),
        (errors.NotReady("x"), 1),
    ],
)
def test_each_kind_of_trouble_has_its_code(error: Exception, code: int) -> None:
    """Scripts can tell what to do from the code alone."""
    assert exit_codes.of(error) == code
