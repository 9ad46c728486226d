"""Sizes of a replica: what is set aside for it is also the most it may use."""

from bex_operator.api import app, quantities, tiers


def resources(wanted: app.App) -> dict[str, dict[str, str]]:
    """Render a container's `resources`; empty (best effort) without tier and resources."""
    if wanted.tier is not None:
        cpu, memory = tiers.SIZES[wanted.tier]
        amounts = {"cpu": cpu, "memory": memory}
        return {"requests": amounts, "limits": amounts}
    if wanted.resources is None:
        return {}
    limits = _amounts(wanted.resources.limits)
    # The API server would set a missing request to the limit: say so, lest it look like drift.
    requests = limits | _amounts(wanted.resources.requests)
    made = {"requests": requests, "limits": limits}
    return {key: value for key, value in made.items() if value}


def _amounts(amounts: app.Amounts | None) -> dict[str, str]:
    made = {}
    if amounts is not None and amounts.cpu is not None:
        made["cpu"] = quantities.cpu(amounts.cpu)
    if amounts is not None and amounts.memory is not None:
        made["memory"] = quantities.memory(amounts.memory)
    return made
