"""Real machines whose operator builds from repositories of the test's own git server."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bex_operator import api
from bex_operator.api import names
from bex_operator.kube import errors, kinds
from bex_operator.plan import builds as plan
from bex_stack import image_evidence
from bex_stack.embedded import build_network, builder_image, builds, images, registry, toolchain
from bex_stack.embedded import instance as instances
from components.manifests import builds as manifests
from tests.support import embedded as support
from tests.support import git_server, places
from tests.support.waiting import wait_until

BUILD_SECONDS = 600.0
"""A compiler on a busy machine takes its time."""
BASE = "FROM localhost:5050/bex/hello-go:1\n"


@dataclass(frozen=True)
class Plant:
    """A cluster whose operator builds from repositories of the test's own git server."""

    embedded: support.Embedded
    server: git_server.GitServer
    log: Path

    def deploy(self, name: str, **spec: Any) -> None:
        """Create or change an App of the repository with its name."""
        given = {"repo": self.server.url_of(name), "port": 8080, **spec}
        self.embedded.apply(api.App(name=name, **given).manifest(api.NAMESPACE))

    def request(self, name: str, **asked: str | bool) -> None:
        """Ask for a deploy, as `bex deploy` does."""
        annotations = {names.DEPLOY_ANNOTATION: json.dumps(asked)}
        self.embedded.ask(
            lambda kube: kube.patch(
                kinds.APP, name, api.NAMESPACE, {"metadata": {"annotations": annotations}}
            )
        )

    def app(self, name: str) -> dict[str, Any]:
        """The App object."""
        return self.embedded.ask(lambda kube: kube.get(kinds.APP, name, api.NAMESPACE))

    def ready(self, name: str) -> tuple[str, str, str]:
        """Phase, and reason and message of Ready."""
        status = self.app(name).get("status", {})
        found = {each["type"]: each for each in status.get("conditions", [])}
        told = found.get("Ready", {"reason": "", "message": ""})
        return status.get("phase", ""), told["reason"], told["message"]

    def jobs(self, name: str) -> list[dict[str, Any]]:
        """The Jobs of an App's builds."""
        label = f"{plan.BUILD_OF_LABEL}={name}"
        found = self.embedded.ask(
            lambda kube: kube.list(kinds.JOB, names.BUILD_NAMESPACE, labels=label)
        )
        return found.items

    def wait_for(self, name: str, reason: str, words: str = "") -> str:
        """Wait until Ready has that reason, and words in its message; return the message."""

        def has_come() -> bool:
            _, found, message = self.ready(name)
            return found == reason and words in message

        wait_until(has_come, f"{name} is {reason} {words}", BUILD_SECONDS)
        return self.ready(name)[2]

    def image(self, name: str) -> str:
        """The image of the App's Deployment."""
        found = self.embedded.ask(lambda kube: kube.get(kinds.DEPLOYMENT, name, api.NAMESPACE))
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    def beside(self, name: str) -> tuple[image_evidence.Fetch, str]:
        """What reads the registry's repository of the App, and the digest that runs."""
        folder, _, digest = self.image(name).partition("/")[2].partition("@")
        base = f"http://{registry.endpoint(self.embedded.instance)}/v2/{folder}"
        return image_evidence.fetcher(base), digest

    def pod_addresses(self, name: str) -> list[str]:
        """Where the App's pods are."""
        label = f"{names.APP_LABEL}={name}"
        found = self.embedded.ask(lambda kube: kube.list(kinds.POD, api.NAMESPACE, labels=label))
        return [each["status"]["podIP"] for each in found.items if "podIP" in each["status"]]

    def answer(self, name: str) -> str:
        """What a pod of the App answers."""
        return support.fetch(f"http://{self.pod_addresses(name)[0]}:8080/")


@pytest.fixture(scope="module")
def plant(
    embedded: support.Embedded,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Plant]:
    """Serve repositories on the bridge and let an operator build from them.

    A module of tests may have `build_settings`, which says what it sets besides.
    """
    more = getattr(request.module, "build_settings", lambda *_: {})
    folder = tmp_path_factory.mktemp("git")
    instance = embedded.instance
    builds.push_images(registry.endpoint(instance))
    apps = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": api.NAMESPACE}}
    embedded.apply(apps, api.crd(), *manifests.render([]), build_network.runtime_class())
    with git_server.serve(folder, instance.bridge_address, instances.GIT_PORT) as server:
        settings = folder / "builds.json"
        settings.write_text(
            json.dumps(
                {
                    "image": f"{registry.KNOWN_AS}/{builder_image.STEPS.name}",
                    "scanner": f"{registry.KNOWN_AS}/{builder_image.SCANNER.name}",
                    "runtimeClass": build_network.RUNTIME_CLASS,
                    "registry": registry.guarded_endpoint(instance),
                    "knownAs": registry.KNOWN_AS,
                    "mirrored": ["docker.io"],
                    "tokenKey": str(registry.token_key(instance)),
                    "inner": [f"{instance.bridge_address}/32"],
                    "authority": str(server.authority),
                    "pollSeconds": 1,
                    **more(embedded, tmp_path_factory),
                }
            )
        )
        log = folder / "operator.log"
        with _operator(instance, settings, log):
            made = Plant(embedded, server, log)
            yield made
            _remove_apps(made)


@pytest.fixture(scope="module")
def probed(plant: Plant) -> Plant:
    """Give the registry a base image with a program for steps of Dockerfiles."""
    tools = toolchain.ensure(["crane"])
    source = Path(__file__).parents[1] / "data" / "probe"
    reference = f"{registry.endpoint(plant.embedded.instance)}/bex/probe:1"
    images.push(images.build_go_image(source, toolchain=tools), reference, toolchain=tools)
    return plant


@contextlib.contextmanager
def _operator(instance: instances.Instance, settings: Path, log: Path) -> Iterator[None]:
    command = [
        *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "bex_operator", "operator"),
        *("--kubeconfig", str(instance.kubeconfig), "--builds", str(settings)),
        *("--registry-care", f"http://{registry.guarded_endpoint(instance)}"),
        *("--registry-key", str(registry.token_key(instance))),
        *("--health-port", str(places.free_ports(1)[0])),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


def _remove_apps(plant: Plant) -> None:
    ask = plant.embedded.ask
    for app in ask(lambda kube: kube.list(kinds.APP, api.NAMESPACE)).items:
        name = app["metadata"]["name"]
        with contextlib.suppress(errors.NotFound):
            ask(lambda kube, name=name: kube.delete(kinds.APP, name, api.NAMESPACE))
    wait_until(
        lambda: not ask(lambda kube: kube.list(kinds.APP, api.NAMESPACE)).items, "Apps are gone"
    )
    assert ask(lambda kube: kube.list(kinds.JOB, names.BUILD_NAMESPACE)).items == []
