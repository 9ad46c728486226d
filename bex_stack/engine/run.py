"""What all parts of one run share."""

import threading
from dataclasses import dataclass, field

from bex_stack.engine import (
    errors,
    previews,
    providers,
    registry,
    reporting,
    snapshot,
    state,
    urns,
)
from bex_stack.engine import project as projects


@dataclass(slots=True)
class Run:
    """One up, preview, destroy or refresh."""

    project: projects.Project
    stack: str
    configuration: projects.Configuration
    snapshot: snapshot.Snapshot
    registry: registry.Registry
    reporter: reporting.Reporter
    digest: previews.Digest
    dry_run: bool
    parallel: threading.Semaphore
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when a person stops the run: nothing new begins, waits end early."""
    failed: threading.Event = field(default_factory=threading.Event)
    """Set by the first failure: nothing new begins."""
    command: str = ""
    """The pulumi CLI's command for the same run."""
    foreign: dict[str, str] = field(default_factory=dict)
    """Types the program has that only the pulumi CLI can manage, and where it has the first."""
    deleted: set[str] = field(default_factory=set)
    """URNs that this run deletes; `deletedWith` looks here."""

    def ensure_going(self) -> None:
        """Refuse to begin anything new once the run is stopped or failed.

        Raises: Interrupted.
        """
        if self.stopping.is_set() or self.failed.is_set():
            raise errors.Interrupted("the run was stopped before this step")

    def provider_of(self, resource: state.Resource) -> providers.Provider:
        """Return the provider that manages a recorded resource."""
        if urns.is_provider_type(resource.type):
            return self.registry
        reference = urns.parse_provider(resource.provider)
        for record in self.snapshot.all():
            # A replaced provider has the URN of its successor, but manages another cluster.
            if record.urn == reference.urn and record.id == reference.id:
                return self.registry.load(record, resource.type)
        raise errors.ProviderError(f"its provider {resource.provider} is not in the state")
