"""Dockerfiles whose steps are made to harm, run by BuildKit in pods on real machines."""

import json

import pytest

from bex_operator import api
from bex_operator.api import names
from bex_operator.kube import build_logs, kinds
from bex_operator.plan import build_outcomes
from tests.support.build_plant import BASE, BUILD_SECONDS, Plant, plant, probed
from tests.support.waiting import wait_until

__all__ = ["plant", "probed"]
pytestmark = pytest.mark.timeout(1800)  # several builds in a row, on a machine that may be busy
PROBE = "FROM localhost:5050/bex/probe:1 AS made\nUSER 0\n"
CACHE = "--mount=type=cache,id=shared,target=/c"


def build(plant: Plant, name: str, *lines: str) -> None:
    """Build an App of these lines, whose image is another one's."""
    steps = "".join(f"{line}\n" for line in lines)
    dockerfile = f"{PROBE}{steps}{BASE}COPY --from=made /probe /probe\n"
    plant.server.commit(name, {"Dockerfile": dockerfile})
    plant.deploy(name)


def test_mounts_lead_to_nobody_elses_files(probed: Plant) -> None:
    """A cache belongs to an App whatever its name is, and what is bound is the repository's."""
    build(probed, "cache-one", f'RUN {CACHE} ["/probe", "write", "/c/secret"]')
    wait_until(lambda: probed.image("cache-one"), "one has written", BUILD_SECONDS)
    build(probed, "cache-two", f'RUN {CACHE} ["/probe", "empty", "/c"]')
    bound = "--mount=type=bind,source={},target=/e"
    build(probed, "binder", f'RUN {bound.format("/etc/ssl")} ["/probe", "empty", "/e"]')
    told = probed.wait_for("binder", "BuildFailedUserError")
    wait_until(lambda: probed.image("cache-two"), "two found nothing", BUILD_SECONDS)

    assert "/etc/ssl" in told


def test_step_that_never_ends_harms_nobody_else(probed: Plant) -> None:
    """What forks ends at its pod's limit; what prints is cut; others are built meanwhile."""
    build(probed, "prints", 'RUN ["/probe", "print"]')
    build(probed, "forks", 'RUN ["/probe", "fork"]')
    told = probed.wait_for("forks", "BuildFailedUserError", "no more after")
    probed.server.commit("meanwhile", {"Dockerfile": BASE})
    probed.deploy("meanwhile")
    wait_until(lambda: probed.image("meanwhile"), "another is built", BUILD_SECONDS)
    (job,) = probed.jobs("prints")
    asked = json.dumps({"job": job["metadata"]["name"], "by": "ada"})
    body = {"metadata": {"annotations": {names.CANCEL_ANNOTATION: asked}}}
    probed.embedded.ask(lambda kube: kube.patch(kinds.APP, "prints", api.NAMESPACE, body))
    probed.wait_for("prints", "BuildCancelled")
    kept = probed.embedded.ask(
        lambda kube: kube.get(kinds.CONFIG_MAP, job["metadata"]["name"], names.BUILD_NAMESPACE)
    )
    log = build_logs.unpack(kept)

    assert "resource temporarily unavailable" in told
    assert "xxx" in log
    assert len(log) <= build_logs.STEP_BYTES * len(build_outcomes.STEPS)
