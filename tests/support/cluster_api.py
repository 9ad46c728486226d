"""Cluster API's definitions from its Go modules, loaded into a real API server."""

import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from bex_operator.kube import client, errors
from tests.support import waiting

MODULES = Path(__file__).parents[2] / "tools" / "cluster-api"
DOWNLOAD_SECONDS = 300
CORE = "sigs.k8s.io/cluster-api"
DOCKER = "sigs.k8s.io/cluster-api/test"

Manifest = dict[str, Any]


def module_folder(module: str, pinned_in: Path = MODULES) -> Path:
    """Return where the version of a Go module lies that a folder of `tools/` pins; go.sum has
    checked it."""
    from bex_stack.embedded import golang

    go = golang.find_or_install(golang.default_cache())
    done = subprocess.run(
        [str(go.program), "mod", "download", "-json", module],
        cwd=pinned_in,
        env=go.environment(os.environ, cgo=False) | {"GOFLAGS": "-mod=mod"},
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_SECONDS,
        check=True,
    )
    return Path(json.loads(done.stdout)["Dir"])


def core_definitions() -> list[Manifest]:
    """Read the definitions of core, kubeadm bootstrap and kubeadm control plane."""
    root = module_folder(CORE)
    parts = ("core", "bootstrap/kubeadm", "controlplane/kubeadm")
    return definitions(root / part / "config/crd/bases" for part in parts)


def docker_definitions() -> list[Manifest]:
    """Read the definitions of the provider for Docker."""
    return definitions([module_folder(DOCKER) / "infrastructure/docker/config/crd/bases"])


def definitions(folders: Iterable[Path]) -> list[Manifest]:
    """Read every CustomResourceDefinition of *folders*; no manager runs that could convert."""
    found = []
    for folder in folders:
        for file in sorted(folder.glob("*.yaml")):
            manifest: Manifest = yaml.safe_load(file.read_text())
            if manifest and manifest.get("kind") == "CustomResourceDefinition":
                manifest["spec"].pop("conversion", None)
                found.append(manifest)
    return found


async def define(api: client.Client, manifests: Sequence[Manifest]) -> None:
    """Let a server know definitions, and wait until it serves them."""
    for manifest in manifests:
        await api.apply(manifest, field_manager="test", force=True)
    names = [manifest["metadata"]["name"] for manifest in manifests]
    kind = await api.resolve("apiextensions.k8s.io/v1", "CustomResourceDefinition")

    async def served() -> bool:
        return all([_is_established(await api.get(kind, name)) for name in names])

    await waiting.until(served, "the kinds are served")


@contextlib.asynccontextmanager
async def loaded(api: client.Client, manifests: Sequence[Manifest]) -> AsyncIterator[None]:
    """Serve definitions as long as the block lasts."""
    try:
        await define(api, manifests)
        yield
    finally:
        kind = await api.resolve("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        for manifest in manifests:
            await api.delete(kind, manifest["metadata"]["name"])


async def refusals(api: client.Client, manifests: Sequence[Manifest]) -> list[str]:
    """Send objects as strictly as the server can be asked to; return what it said against them.

    Nothing is kept but their namespace: a dry run is validated like any other request.
    """
    said = []
    for manifest in manifests:
        try:
            await _try(api, manifest)
        except errors.AlreadyExists:  # a namespace from the time before
            continue
        except errors.ApiError as refused:
            said.append(f"{manifest['kind']} {manifest['metadata']['name']}: {refused}")
    return said


async def _try(api: client.Client, manifest: Manifest) -> None:
    kind = await api.resolve(manifest["apiVersion"], manifest["kind"])
    # Strict: an unknown or repeated field is an error, not a warning.
    params = {"fieldManager": "test", "fieldValidation": "Strict"}
    if kind.kind != "Namespace":
        params["dryRun"] = "All"
    path = kind.path(manifest["metadata"].get("namespace"))
    await api.request("POST", path, params=params, body=manifest)


def _is_established(found: Manifest) -> bool:
    conditions = found.get("status", {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
