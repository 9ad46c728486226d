"""One step of a build: a container of our own program, confined; and how it reaches a repository.

Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]

_NOBODY = 65532

CONFINED: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsGroup": _NOBODY,
    "runAsNonRoot": True,
    "runAsUser": _NOBODY,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, slots=True)
class Reaching:
    """How a step reaches a repository."""

    held: Mapping[str, str]
    """What lets it in, by its options."""
    inner: Sequence[str]
    """Inner networks that repositories may be in."""
    authority: str
    """Certificates of further authorities, PEM; empty: none."""

    def options(self, repo: str) -> dict[str, str]:
        """Spell them for the program."""
        options = {"repo": repo, **{name: f"/clone/{name}" for name in self.held}}
        if self.inner:
            options["inner"] = ",".join(self.inner)
        if self.authority:
            options["authority"] = "/authority/authority"
        return options

    @property
    def mounts(self) -> dict[str, str]:
        """What such a step mounts, and how."""
        mounts = {"clone": "ro"} if self.held else {}
        return mounts | ({"authority": "ro"} if self.authority else {})


def credentials(secret: str, held: Mapping[str, str]) -> Manifest:
    """Render the volume that such a step mounts."""
    items = [{"key": f"clone-{name}", "path": name} for name in sorted(held)]
    return {"name": "clone", "secret": {"secretName": secret, "items": items}}


def render(
    name: str,
    image: str,
    options: Mapping[str, str],
    mounts: Mapping[str, str],
    *,
    memory: str,
) -> Manifest:
    """Render the step *name*; *mounts* are volumes, each at a folder of its name, `ro` or `rw`."""
    return {
        "name": name,
        "image": image,
        # Each option is one argument: no value of a tenant can become another.
        "args": [name, *(f"--{key}={value}" for key, value in options.items())],
        "resources": resources(memory),
        "securityContext": CONFINED,
        "volumeMounts": [mount(each, how) for each, how in mounts.items()],
    }


def resources(memory: str) -> Manifest:
    """Render what a step may use."""
    return {
        "requests": {"cpu": "50m", "memory": "64Mi"},
        "limits": {"cpu": "2", "memory": memory},
    }


def mount(volume: str, how: str, folder: str = "") -> Manifest:
    """Render a volume at *folder*, or at one of its own name."""
    return {"name": volume, "mountPath": folder or f"/{volume}", "readOnly": how == "ro"}
