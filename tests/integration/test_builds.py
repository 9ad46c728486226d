"""From a commit to a running release: git over https, BuildKit in pods, on real machines."""

import asyncio
import datetime
import json
import urllib.error
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from bex_operator import api
from bex_operator.api import names
from bex_operator.controllers import registry_care
from bex_operator.kube import build_logs, client, errors, kinds
from bex_operator.plan import build_outcomes, build_queue
from bex_operator.plan import builds as plan
from bex_operator.registry import care
from bex_stack import app_builds, build_log_view, deploy_table, image_evidence
from bex_stack.embedded import base_images, builder_image, registry, toolchain
from tests.support import oci
from tests.support.build_plant import BASE, BUILD_SECONDS, Plant, plant
from tests.support.waiting import until, wait_until

__all__ = ["plant"]
pytestmark = pytest.mark.timeout(1800)  # several builds in a row, on a machine that may be busy
GO_PROGRAM = """package main

import (
	"net"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", ":"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		connection.Read(make([]byte, 4096))
		connection.Write([]byte("HTTP/1.0 200 OK\\r\\n\\r\\nbuilt from a repository"))
		connection.Close()
	}
}
"""
"""A server without net/http, which alone takes a minute to compile."""
PYTHON_PROGRAM = """import http.server, os, six

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"six " + six.__version__.encode())

http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_push_becomes_a_running_release(plant: Plant) -> None:
    """A commit is built once and runs by digest; the next push makes the next release."""
    first = plant.server.commit("web", {"Dockerfile": f"{BASE}COPY note /n\n", "note": "one"})
    plant.deploy("web")
    plant.wait_for("web", "Deployed")
    image = plant.image("web")
    second = plant.server.commit("web", {"Dockerfile": f"{BASE}COPY note /n\n", "note": "two"})
    wait_until(lambda: plant.image("web") != image, "the second commit runs", BUILD_SECONDS)
    plant.wait_for("web", "Deployed")

    outcomes = {
        job["metadata"]["annotations"][build_outcomes.COMMIT_ANNOTATION]: orjson.loads(
            job["metadata"]["annotations"][build_outcomes.OUTCOME_ANNOTATION]
        )
        for job in plant.jobs("web")
    }
    assert set(outcomes) == {first, second}
    assert outcomes[first]["image"] == image
    assert outcomes[second]["image"] == plant.image("web")
    assert list(outcomes[second]["seconds"]) == [
        "queue", "place", "clone", "resolve", "build", "push",
    ]  # fmt: skip


def test_provenance_and_contents_lie_beside_the_image(plant: Plant) -> None:
    """Two statements about exactly the image that runs, read back from the registry."""
    plant.server.commit("proven", {"Dockerfile": f"{BASE}COPY note /n\n", "note": "one"})
    plant.deploy("proven")
    plant.wait_for("proven", "Deployed")
    fetch, digest = plant.beside("proven")
    index = fetch(f"manifests/{digest}")
    image = next(each for each in index["manifests"] if "annotations" not in each)["digest"]
    provenance = image_evidence.find(fetch, digest, image_evidence.PROVENANCE)
    contents = image_evidence.find(fetch, digest, image_evidence.SBOM)

    assert provenance is not None
    assert contents is not None
    for statement in (provenance, contents):
        about = {each["digest"]["sha256"] for each in statement["subject"]}
        assert about == {image.removeprefix("sha256:")}
    assert contents["predicate"]["spdxVersion"] == "SPDX-2.3"
    found = {(each.kind, each.name) for each in image_evidence.packages(contents)}
    assert found == {("golang", "go"), ("golang", "hello-go")}


def test_log_outlives_the_pod_of_the_build(plant: Plant) -> None:
    """The steps' words are kept beside the Job, and the pod with its volumes is gone."""
    plant.server.commit("logged", {"Dockerfile": f"{BASE}COPY note /n\n", "note": "one"})
    plant.deploy("logged")
    plant.wait_for("logged", "Deployed")
    (job,) = (each["metadata"]["name"] for each in plant.jobs("logged"))
    label = f"batch.kubernetes.io/job-name={job}"

    def pods() -> list[dict[str, Any]]:
        asked = plant.embedded.ask(
            lambda kube: kube.list(kinds.POD, names.BUILD_NAMESPACE, labels=label)
        )
        return asked.items

    wait_until(lambda: not pods(), "the pod is gone")
    kept = plant.embedded.ask(lambda kube: kube.get(kinds.CONFIG_MAP, job, names.BUILD_NAMESPACE))
    text = build_logs.unpack(kept)
    assert [line for line in text.splitlines() if line.startswith("== ")] == [
        "== room ==", "== clone ==", "== resolve ==", "== build ==", "== push ==",
    ]  # fmt: skip
    assert "COPY note /n" in text


def test_table_tells_every_deploy_from_what_is_kept(plant: Plant) -> None:
    """Commit, author, subject, trigger, times and result: of what serves, of a push that needed no
    build, of one that failed; and of what serves even when its Job is gone."""
    files = {"app/Dockerfile": f"{BASE}COPY note /n\n", "app/note": "one", "other/x": "1"}
    first = plant.server.commit("told", files, subject="First")
    plant.deploy("told", root_dir="app")
    plant.wait_for("told", "Deployed")
    plant.server.commit("told", {**files, "other/x": "2"}, subject="Elsewhere")
    wait_until(lambda: len(plant.jobs("told")) == 2, "the second push is looked at", BUILD_SECONDS)
    plant.wait_for("told", "Deployed")
    plant.server.commit("told", {**files, "app/Dockerfile": "FROM scratch\nCOPY no /\n"})
    plant.wait_for("told", "BuildFailedUserError")
    rows = plant.embedded.ask(lambda kube: deploy_table.read(kube, "told"))

    assert [(row.subject, row.trigger, row.result) for row in rows] == [
        ("Change", "push", "build failed (repository)"),
        ("Elsewhere", "push", "not needed"),
        ("First", "first deploy of bex-test", "serving"),
    ]
    serving = rows[-1]
    assert (serving.commit, serving.author) == (first[:7], "Ada")
    assert list(serving.seconds) == [
        "queue", "place", "clone", "resolve", "build", "push",
        "release", "schedule", "pull and start", "ready", "seen",
    ]  # fmt: skip
    label = f"{plan.BUILD_OF_LABEL}=told"
    for job in plant.embedded.ask(
        lambda kube: kube.list(kinds.JOB, names.BUILD_NAMESPACE, labels=label)
    ).items:
        name = job["metadata"]["name"]
        plant.embedded.ask(
            lambda kube, name=name: kube.delete(kinds.JOB, name, names.BUILD_NAMESPACE)
        )
    kept = plant.embedded.ask(lambda kube: deploy_table.read(kube, "told"))
    assert serving in kept


def test_running_build_is_watched_and_cancelled(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words come while it runs, it ends when somebody says so, and is built when asked for.

    Who cancels the next one hears that it is gone from the line, and has not seen its Job yet.
    """
    files = {"Dockerfile": f'{BASE}RUN ["/hello-go"]\n'}
    plant.server.commit("slow", files)
    plant.deploy("slow")
    wait_until(lambda: _running_step(plant, "slow") == "build", "it builds", BUILD_SECONDS)
    (job,) = plant.jobs("slow")
    second = plant.server.commit("slow", {**files, "README": "two"})
    plant.request("slow", at=datetime.datetime.now(datetime.UTC).isoformat(), by="bo")
    wait_until(lambda: _waiting(plant, "slow") == second, "the next commit waits", BUILD_SECONDS)

    async def cancel(kube: client.Client) -> str:
        get = kube.get

        async def get_late(*of: Any) -> dict[str, Any]:
            try:
                return await get(*of)
            except errors.NotFound:
                await until(_has_left_the_line(kube, "slow"), "it waits no more", BUILD_SECONDS)
                raise

        monkeypatch.setattr(kube, "get", get_late)
        return await app_builds.cancel_in(kube, "slow", second[:7])

    said = plant.embedded.ask(cancel)
    lines: list[str] = []

    async def watch(kube: client.Client) -> Any:
        follower = build_log_view.Follower(
            kube, job["metadata"]["name"], lambda line: lines.append(line.plain)
        )
        following = asyncio.create_task(follower.follow())
        await until(_has(lines, "== build =="), "the build's log comes", BUILD_SECONDS)
        asked = json.dumps({"job": job["metadata"]["name"], "by": "ada"})
        body = {"metadata": {"annotations": {names.CANCEL_ANNOTATION: asked}}}
        await kube.patch(kinds.APP, "slow", api.NAMESPACE, body)
        return await following

    ended = build_outcomes.read(plant.embedded.ask(watch))
    assert (ended.state, ended.message) == ("Cancelled", "cancelled by ada during build")
    assert said.startswith(f"the build of {second[:7]} cancelled; ")
    assert "before it began" in plant.wait_for("slow", "BuildCancelled")
    label = f"batch.kubernetes.io/job-name={ended.job}"
    wait_until(
        lambda: (
            not plant.embedded.ask(
                lambda kube: kube.list(kinds.POD, names.BUILD_NAMESPACE, labels=label)
            ).items
        ),
        "its pod is gone",
    )
    plant.request("slow", at="2999-01-01T00:00:00Z", by="bo")
    wait_until(lambda: len(plant.jobs("slow")) == 3, "it is built when asked for", BUILD_SECONDS)


def _waiting(plant: Plant, name: str) -> str | None:
    waits = build_queue.reported(plant.app(name)).waiting
    return waits.commit if waits else None


def _has_left_the_line(kube: client.Client, name: str) -> Callable[[], Awaitable[bool]]:
    async def has_left() -> bool:
        app = await kube.get(kinds.APP, name, api.NAMESPACE)
        return build_queue.reported(app).waiting is None

    return has_left


def _running_step(plant: Plant, name: str) -> str:
    return plant.ready(name)[2].rpartition(": ")[2]


def _has(lines: list[str], wanted: str) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return wanted in lines

    return holds


def test_go_project_without_a_dockerfile_is_built_and_answers(plant: Plant) -> None:
    """What `bex images seed golang` pushed is enough, and the image holds the program alone."""
    endpoint = registry.endpoint(plant.embedded.instance)
    base_images.seed("golang", endpoint, toolchain=toolchain.ensure(["crane"]))
    module = "module example.com/hello\n\ngo 1.26\n"
    plant.server.commit("hello", {"go.mod": module, "main.go": GO_PROGRAM})
    plant.deploy("hello")
    plant.wait_for("hello", "Deployed")

    assert plant.answer("hello") == "built from a repository"


def test_step_that_nothing_changed_is_not_run_again(plant: Plant) -> None:
    """The next build finds it in the App's cache, which has the layers of its base linked.

    Those of the base are as its maker packed them.
    """
    endpoint, name = registry.endpoint(plant.embedded.instance), "warm"
    base_images.seed("debian", endpoint, toolchain=toolchain.ensure(["crane"]))
    dockerfile = (
        'FROM debian AS made\nRUN ["cp", "/proc/sys/kernel/random/uuid", "/chance"]\n'
        f"{BASE}COPY --from=made /chance /\nCOPY note /\n"
    )
    made = []
    for words in ("one", "two"):
        commit = plant.server.commit(name, {"Dockerfile": dockerfile, "note": words})
        plant.deploy(name)
        wait_until(lambda commit=commit: _built(plant, name, commit), "built", BUILD_SECONDS)
        made.append(_built(plant, name, commit)[0])
    kept = plant.embedded.ask(
        lambda kube: kube.get(kinds.CONFIG_MAP, made[0].job, names.BUILD_NAMESPACE)
    )
    (base, *_, chance, note), (*_, same, other) = (_layers(endpoint, each.image) for each in made)

    assert "the layer cache links what it has of library/debian" in build_logs.unpack(kept)
    assert chance == same
    assert note["digest"] != other["digest"]
    assert base["mediaType"].endswith("+gzip")
    assert chance["mediaType"].endswith("+zstd")


def _built(plant: Plant, name: str, commit: str) -> list[build_outcomes.Build]:
    found = [build_outcomes.read(each) for each in plant.jobs(name)]
    return [each for each in found if each.commit == commit and each.state == "Succeeded"]


def _layers(endpoint: str, image: str) -> list[dict[str, Any]]:
    """Descriptors of the layers of an image that was built, lowest first."""
    folder, _, digest = image.partition("/")[2].partition("@")
    fetch = image_evidence.fetcher(f"http://{endpoint}/v2/{folder}")
    index = fetch(f"manifests/{digest}")
    found = next(each for each in index["manifests"] if "annotations" not in each)["digest"]
    layers: list[dict[str, Any]] = fetch(f"manifests/{found}")["layers"]
    return layers


def test_python_project_without_a_dockerfile_is_built_and_answers(plant: Plant) -> None:
    """Its packages are installed by pip from where pip finds them, as in every other build."""
    endpoint = registry.endpoint(plant.embedded.instance)
    base_images.seed("python", endpoint, toolchain=toolchain.ensure(["crane"]))
    plant.server.commit("snake", {"main.py": PYTHON_PROGRAM, "requirements.txt": "six==1.17.0\n"})
    plant.deploy("snake")
    plant.wait_for("snake", "Deployed")

    assert plant.answer("snake") == "six 1.17.0"


def test_person_asks_for_a_failed_commit_and_for_another_ref(plant: Plant) -> None:
    """A request from after the failure builds once more; one with a ref deploys that ref."""
    plant.server.commit("asked", {"Dockerfile": "FROM scratch\nCOPY missing /\n"})
    plant.deploy("asked")
    plant.wait_for("asked", "BuildFailedUserError")
    first = len(plant.jobs("asked"))
    plant.request("asked", at="2999-01-01T00:00:00Z")
    wait_until(
        lambda: len(plant.jobs("asked")) == first + 1, "the commit is built anew", BUILD_SECONDS
    )
    plant.server.commit("asked", {"Dockerfile": BASE}, branch="other")
    plant.request("asked", at="2999-01-01T00:00:01Z", ref="other")
    plant.wait_for("asked", "Deployed")

    assert len(plant.jobs("asked")) == first + 2


def test_commit_that_fails_leaves_what_serves(plant: Plant) -> None:
    """The failing step's words are in the condition, the release goes on, nothing is retried."""
    builder = f"localhost:5050/{builder_image.STEPS.name}"
    plant.server.commit("broken", {"Dockerfile": BASE})
    plant.deploy("broken")
    plant.wait_for("broken", "Deployed")
    image = plant.image("broken")
    failing = f'FROM {builder}\nRUN ["/bin/bex-build", "resolve", "--source=/nowhere"]\n'
    plant.server.commit("broken", {"Dockerfile": failing})
    message = plant.wait_for("broken", "BuildFailedUserError")

    assert "/nowhere" in message
    assert (plant.ready("broken")[0], plant.image("broken")) == ("Running", image)
    assert len(plant.jobs("broken")) == 2


def test_entitlements_are_not_given(plant: Plant) -> None:
    """A Dockerfile that asks for more than a container has is refused by BuildKit."""
    line = 'RUN --security=insecure --network=host ["/hello-go"]'
    plant.server.commit("insecure", {"Dockerfile": f"{BASE}{line}\n"})
    plant.deploy("insecure")
    message = plant.wait_for("insecure", "BuildFailedUserError")

    assert "is not allowed" in message


def test_missing_branch_and_foreign_frontend_are_told(plant: Plant) -> None:
    """What a person has to change is named by its field or file."""
    plant.server.commit("front", {"Dockerfile": f"# syntax=evil.example.com/x\n{BASE}"})
    plant.deploy("front", branch="nowhere")
    assert "spec.branch" in plant.wait_for("front", "SourceNotFound")

    plant.deploy("front", branch="main")
    assert "foreign frontend" in plant.wait_for("front", "BuildFailedUserError")


def test_private_repository_is_built_with_its_token_and_nobody_sees_it(plant: Plant) -> None:
    """Without the Secret the field is named; the token is in no log, Job or status."""
    plant.server.commit("private", {"Dockerfile": BASE})
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "deploy-token", "namespace": api.NAMESPACE},
        "stringData": {"token": "correct-horse"},
    }
    plant.server.tokens["private"] = "correct-horse"
    plant.deploy("private")
    plant.wait_for("private", "SourceUnavailable", "spec.cloneSecret")
    plant.embedded.apply(secret)
    plant.deploy("private", clone_secret="deploy-token")
    plant.wait_for("private", "Deployed")

    seen = plant.log.read_text() + str(plant.jobs("private")) + str(plant.app("private"))
    assert "correct-horse" not in seen


def test_images_of_a_deleted_app_go_and_those_of_others_stay(plant: Plant) -> None:
    """What another App runs, and what it could go back to, is there afterwards, whole."""
    for name in ("staying", "leaving"):
        plant.server.commit(name, {"Dockerfile": f"{BASE}COPY note /n\n", "note": name})
        plant.deploy(name)
    for name in ("staying", "leaving"):
        plant.wait_for(name, "Deployed")
    repositories = {name: plant.image(name).partition("/")[2] for name in ("staying", "leaving")}
    fetch, digest = plant.beside("leaving")
    attached = [f"manifests/{each['digest']}" for each in fetch(f"manifests/{digest}")["manifests"]]
    assert len(attached) == 2
    plant.embedded.ask(lambda kube: kube.delete(kinds.APP, "leaving", api.NAMESPACE))
    wait_until(lambda: not plant.jobs("leaving"), "its builds are gone")
    endpoint = f"http://{registry.endpoint(plant.embedded.instance)}"

    def whole(name: str) -> bool:
        async def ask() -> bool:
            async with oci.Client(endpoint) as client:
                return await client.is_whole(*repositories[name].split("@"))

        return asyncio.run(ask())

    def has_gone() -> bool:
        keeper = care.Care(endpoint)
        plant.embedded.ask(lambda kube: registry_care.collect(kube, keeper, grace_seconds=0))
        return not whole("leaving")

    wait_until(has_gone, "the images of the App are gone")

    assert whole("staying")
    assert image_evidence.find(*plant.beside("staying"), image_evidence.SBOM) is not None
    for each in attached:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(each)
    assert plant.ready("staying")[0] == "Running"
