"""`operator/Dockerfile`, built by BuildKit in a pod on a base image that this host makes, and run
as the Deployment that every substrate gets: run by `make check-builds`.
"""

import re
from pathlib import Path

import pytest

from bex_operator import api
from bex_operator.kube import kinds
from bex_operator.plan import build_outcomes as plan
from bex_stack.embedded import base_images, operator_image, registry, toolchain
from components.manifests import operator, operator_pod
from tests.support.build_plant import BUILD_SECONDS, Plant, plant
from tests.support.embedded import embedded
from tests.support.waiting import wait_until

__all__ = ["embedded", "plant"]

pytestmark = pytest.mark.timeout(3600)
PROJECT = Path(__file__).parents[2]
SEEDED = {"BUILD": "docker.io/library/python:3.11-slim-bookworm", "RUNTIME": "python:3.11-slim"}
"""Python's own image comes from here under its name; the one without a shell does not."""


def files() -> dict[str, str]:
    """What the Dockerfile copies, and the file itself: only where it starts from differs."""
    written = (PROJECT / "operator/Dockerfile").read_text()
    for name, base in SEEDED.items():
        written = re.sub(rf"(?m)^ARG {name}=.*$", f"ARG {name}={base}", written)
    sources = [PROJECT / "requirements/operator.lock"]
    sources += sorted(operator_image.SOURCE.rglob("*.py"))
    copied = {str(each.relative_to(PROJECT)): each.read_text() for each in sources}
    return {**copied, "operator/Dockerfile": written}


def built(plant: Plant) -> list[plan.Build]:
    """What became of the build, once it has ended."""
    found = [plan.read(job) for job in plant.jobs("operator")]
    return [each for each in found if each.state != "Running"]


def test_operator_runs_from_the_image_of_its_dockerfile(plant: Plant) -> None:
    """Built from the project's root, it takes the lease as a pod that cannot write to its disk."""
    endpoint = registry.endpoint(plant.embedded.instance)
    base_images.seed("python", endpoint, toolchain=toolchain.ensure(["crane"]))
    plant.server.commit("operator", files())
    # Without an argument the operator ends at once, so the App itself never runs.
    plant.deploy("operator", dockerfile_path="operator/Dockerfile", root_dir=".", replicas=0)

    wait_until(lambda: built(plant) != [], "operator/Dockerfile is built", BUILD_SECONDS)
    (build,) = built(plant)
    assert build.state == "Succeeded", build.message
    wait_until(lambda: plant.app("operator")["status"].get("release"), "it is a release")
    deployed = operator_pod.Pod(
        image=plant.image("operator"), replicas=1, options={"namespaces": "nobody"}
    )
    plant.embedded.apply(*operator.render(), *operator_pod.render(deployed))
    wait_until(
        lambda: plant.embedded.ready_pods(api.SYSTEM_NAMESPACE) != [],
        "the operator of that image is ready",
        BUILD_SECONDS,
    )
    found = plant.embedded.ask(
        lambda kube: kube.get(kinds.LEASE, "bex-operator", api.SYSTEM_NAMESPACE)
    )
    (pod,) = plant.embedded.ready_pods(api.SYSTEM_NAMESPACE)
    assert found["spec"]["holderIdentity"].startswith(pod["metadata"]["name"])
