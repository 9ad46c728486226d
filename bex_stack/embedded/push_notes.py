"""Tells the operator of a push at once: run by the hook of a repository that this host serves.

Without it, or when the cluster does not answer, the push is seen when repositories are next asked.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
from pathlib import Path

from bex_operator.api import names
from bex_operator.kube import client as kube
from bex_operator.kube import errors, kinds

SECONDS = 10.0
FIELD_MANAGER = f"{names.MANAGED_BY}-push"


async def note(kubeconfig: Path, url: str) -> list[str]:
    """Note on every App of the repository *url* that it was pushed to; return their names.

    Raises: errors.KubeError.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    told = []
    async with kube.Client.from_kubeconfig(kubeconfig) as cluster:
        for app in (await cluster.list(kinds.APP)).items:
            if app["spec"].get("repo") != url:
                continue
            name, namespace = app["metadata"]["name"], app["metadata"]["namespace"]
            noted = {"annotations": {names.PUSHED_ANNOTATION: now}, "uid": app["metadata"]["uid"]}
            await cluster.patch(
                kinds.APP, name, namespace, {"metadata": noted}, field_manager=FIELD_MANAGER
            )
            told.append(name)
    return told


async def tell(kubeconfig: Path, url: str) -> str:
    """Do it, and say to who pushed what came of it."""
    try:
        async with asyncio.timeout(SECONDS):
            told = await note(kubeconfig, url)
    except (errors.KubeError, OSError, TimeoutError) as failed:
        return f"bex: seen within a minute or so; the cluster was not told ({failed})"
    return f"bex: told {', '.join(told)}" if told else "bex: no App has this repository"


def main() -> None:
    """Tell, and never fail: what was pushed is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("url")
    given = parser.parse_args()
    print(asyncio.run(tell(given.kubeconfig, given.url)))  # noqa: T201 - git shows it


if __name__ == "__main__":
    main()
