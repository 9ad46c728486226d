"""What a machine keeps of an App's builds for the next one: BuildKit's own folder. Pure.

Base images lie in it unpacked, layers and cache mounts as the last build left them. Each App has a
folder of its own on each machine, so nothing goes from one tenant to another.
"""

from bex_operator.api import names
from bex_operator.plan import build_steps
from bex_operator.plan.build_steps import Manifest

VOLUME, _ALL = "kept", "builds"


def volumes(uid: str) -> list[Manifest]:
    """Render the folder of the App's own, and the one of all."""
    paths = {VOLUME: path(uid), _ALL: names.KEPT_BUILDS}
    return [
        {"name": name, "hostPath": {"path": each, "type": "DirectoryOrCreate"}}
        for name, each in paths.items()
    ]


def path(uid: str) -> str:
    """Name the folder of an App on its machine."""
    return f"{names.KEPT_BUILDS}/{uid}/state"


def make_room(uid: str, image: str) -> Manifest:
    """Render the step that removes what was kept too long, or takes too much of the disk."""
    options, mounts = {"app": uid}, {_ALL: "rw"}
    step = build_steps.render(names.ROOM_STEP, image, options, mounts, memory="64Mi")
    # Files of images belong to whom they will, inside the pod's own user namespace.
    rights = {"drop": ["ALL"], "add": ["DAC_OVERRIDE", "FOWNER"]}
    whose = {"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False}
    return step | {"securityContext": {**build_steps.CONFINED, **whose, "capabilities": rights}}


def near(machine: str) -> Manifest:
    """Prefer the machine that built the App last."""
    if not machine:
        return {}
    field = {"key": "metadata.name", "operator": "In", "values": [machine]}
    wished = {"weight": 100, "preference": {"matchFields": [field]}}
    return {
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wished]}}
    }
