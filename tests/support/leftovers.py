"""What a test run that was killed left on the host, removed before its place is used again."""

import dataclasses

from bex_stack.embedded import instance as instances
from bex_stack.embedded import orphans, teardown


def clear(instance: instances.Instance) -> None:
    """Remove everything under the instance's name, whichever folder it belongs to.

    The place is this run's own: whatever is there has no owner any more.
    """
    folder = orphans.elsewhere(instance.name, instance.dir)
    orphans.kill(instance.name)
    stale = dataclasses.replace(instance, home=folder.parents[1]) if folder else instance
    if teardown.leftovers(stale):
        teardown.destroy(stale)
