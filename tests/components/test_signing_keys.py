"""The key that a stack makes is one that the operator signs with."""

from bex_operator.plan import tokens
from components.dynamic import signing_keys
from tests.bex_operator.plan import test_tokens


def test_made_key_signs_what_its_public_half_verifies() -> None:
    """One side writes the key, the other reads it."""
    private, public = signing_keys.make()

    test_tokens.verify(tokens.sign(private.encode(), [("bex/a", "pull")], 42), public)
