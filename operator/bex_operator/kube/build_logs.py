"""Keeps what the steps of a build printed, compressed, when their pods go; reads it again."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from typing import Any

from bex_operator.kube import client, errors, kinds
from bex_operator.plan import build_outcomes

Object = dict[str, Any]
KEY = "log.gz"
STEP_BYTES = 1024 * 1024
"""Most that is kept of one step."""
_KEPT_BYTES = 900_000
"""An object of the API server has at most 1 MiB."""


async def read_pods(kube: client.Client, pods: Sequence[Mapping[str, Any]]) -> str:
    """Read what every step printed so far, in order."""
    parts = []
    for pod in pods:
        metadata = pod["metadata"]
        path = kinds.POD.path(metadata["namespace"], metadata["name"], "log")
        for step in build_outcomes.steps_of(pod):
            params = {"container": step, "limitBytes": str(STEP_BYTES)}
            try:
                said = str(await kube.request("GET", path, params=params))
            except (errors.BadRequest, errors.NotFound):
                continue  # it has not begun
            parts.append(f"== {step} ==\n{said.rstrip()}\n")
    return "".join(parts)


async def keep(kube: client.Client, job: Object, text: str, *, field_manager: str) -> None:
    """Write the log beside its Job, and let it go with the Job."""
    packed = gzip.compress(text.encode(), mtime=0)
    if len(packed) * 4 // 3 > _KEPT_BYTES:
        packed = gzip.compress(text.encode()[-_KEPT_BYTES // 2 :], mtime=0)
    metadata = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job"}
    owner |= {key: metadata[key] for key in ("name", "uid")}
    kept = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": metadata["labels"],
            "ownerReferences": [owner],
        },
        "binaryData": {KEY: base64.b64encode(packed).decode()},
    }
    await kube.apply(kept, field_manager=field_manager)


def unpack(kept: Mapping[str, Any]) -> str:
    """Read what `keep` wrote (v1 ConfigMap)."""
    packed = base64.b64decode(kept["binaryData"][KEY])
    return gzip.decompress(packed).decode(errors="replace")


def by_step(text: str) -> list[tuple[str, str]]:
    """Split what `read_pods` wrote into steps and what each printed."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("== ") and line.rstrip().endswith(" =="):
            found.append((line.strip("= \n"), ""))
        elif found:
            step, said = found[-1]
            found[-1] = step, said + line
    return found
