"""In which order resources go, and which must go with another. Pure.

Source: pulumi pkg/resource/deploy/step_generator.go, ScheduleDeletes and
calculateDependentReplacements (3.272).
"""

from collections.abc import Iterable, Sequence

from bex_stack.engine import state, urns


def edges(resource: state.Resource) -> set[str]:
    """Return the URNs a resource must outlive none of: it goes before all of them."""
    found = {
        *resource.dependencies,
        *(u for each in resource.property_dependencies.values() for u in each),
    }
    found |= {resource.parent, resource.deleted_with}
    if resource.provider:
        found.add(urns.parse_provider(resource.provider).urn)
    found.discard("")
    found.discard(resource.urn)
    return found


def schedule(
    condemned: Iterable[state.Resource], all_resources: Sequence[state.Resource]
) -> list[list[state.Resource]]:
    """Group resources into rounds; those of one round may go at once, the rounds one by one.

    Dependencies count through resources that stay, as parents and components do.
    """
    wanted = list(condemned)
    depth: dict[str, int] = {}
    position = {id(each): index for index, each in enumerate(all_resources)}
    ordered = sorted(wanted, key=lambda each: position.get(id(each), len(position)))
    reach = _reachable(all_resources)
    by_urn: dict[str, list[state.Resource]] = {}
    for each in ordered:
        by_urn.setdefault(each.urn, []).append(each)
    rounds: list[list[state.Resource]] = []
    for each in ordered:
        below = [depth[urn] for urn in reach.get(id(each), ()) if urn in depth and urn != each.urn]
        level = max(below, default=-1) + 1
        depth[each.urn] = max(level, depth.get(each.urn, 0))
        while len(rounds) <= level:
            rounds.append([])
        rounds[level].append(each)
    return [list(reversed(each)) for each in reversed(rounds)]


def _reachable(resources: Sequence[state.Resource]) -> dict[int, set[str]]:
    """Return for every resource all URNs it depends on, directly or through others."""
    by_urn: dict[str, set[str]] = {}
    found: dict[int, set[str]] = {}
    for resource in resources:
        mine: set[str] = set()
        for urn in edges(resource):
            mine.add(urn)
            mine |= by_urn.get(urn, set())
        found[id(resource)] = mine
        by_urn.setdefault(resource.urn, set()).update(mine)
    return found


def dependents(root: state.Resource, resources: Sequence[state.Resource]) -> list[state.Resource]:
    """Return the resources that stand after `root` and depend on it, in state order."""
    affected = {root.urn}
    found = []
    for resource in resources:
        if resource is root or resource.delete:
            continue
        if edges(resource) & affected:
            affected.add(resource.urn)
            found.append(resource)
    return found
