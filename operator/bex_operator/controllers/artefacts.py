"""The seam to whatever makes images out of repositories."""

from collections.abc import Sequence
from typing import Any, Protocol

from bex_operator.plan import artefacts

Object = dict[str, Any]

DISCARD_SECONDS = 5.0
"""How often a deleted App asks whether what was built for it is gone."""


class Builder(Protocol):
    """Makes images for Apps with a repository. It never waits: it looks, starts, and says."""

    async def outcome(self, manifest: Object, source: artefacts.Repository) -> artefacts.Outcome:
        """Say what the App object's repository has become so far, and set going what is due.

        Called with every reconcile of the App, so it costs nothing while nothing changes.
        """
        ...

    async def discard(self, manifest: Object) -> Sequence[str]:
        """Set going the removal of all that was made for a deleted App; say what is still there.

        Called again until the answer is empty; each answer names one thing, for people.
        """
        ...


class NoBuilder:
    """What an operator has that was given nothing to build with."""

    async def outcome(self, manifest: Object, source: artefacts.Repository) -> artefacts.Outcome:
        """Refuse."""
        return artefacts.Failed(
            "NotSupportedYet",
            "spec.repo: this platform was given nothing to build with; set spec.image instead",
        )

    async def discard(self, manifest: Object) -> Sequence[str]:
        """Nothing was ever made."""
        return ()
