"""The operator gets what it uses and no more: its rights against the API server's audit log.

It lives under a user of its own on a server that grants nobody anything but by roles. Its way
there breaks once at every place, so that what it needs only then is needed here too.
"""

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bex_operator import api
from bex_operator.api import names, rights
from bex_operator.controllers import operator, operator_settings
from bex_operator.kube import client, errors, kinds
from components.manifests import operator as manifests
from tests.support import cert_manager, git_server, places
from tests.support.api_server import ApiServer, run_api_server
from tests.support.apps_cluster import NO_REGISTRY, app_manifest, condition
from tests.support.fault_proxy import Fault, fault_proxy
from tests.support.waiting import until

USER = "bex-operator"
NEVER_ASKED = {
    # The API server here has OwnerReferencesPermissionEnforcement, which looks at this itself:
    # without it no child could be made.
    (names.GROUP, "apps/finalizers", "update"),
}
Used = tuple[str, str, str]
"""Group, resource with subresource, and verb."""


@dataclass
class Stumbles:
    """Breaks the first watch of each kind, and the first answer about each kind's objects."""

    met: set[str] = field(default_factory=set)

    def choose(self, request: web.Request) -> Fault | None:
        """Decide on a request."""
        place = f"{request.method} {'/'.join(request.path.split('/')[:7])}"
        if "watch" in request.query and "/leases" not in request.path:
            place = f"watch {request.path}"
        if place in self.met:
            return None
        self.met.add(place)
        if place.startswith("watch"):
            return Fault(503, "no backend")
        if request.method == "PATCH" and names.GROUP not in request.path:
            return Fault(409, '{"kind":"Status","code":409,"reason":"Conflict"}')
        if request.method == "POST" and request.path.endswith(("jobs", "revisions")):
            return Fault(409, '{"kind":"Status","code":409,"reason":"AlreadyExists"}', after=True)
        return None


@dataclass(frozen=True)
class Stage:
    """The server, with an operator at work on it, and who plays everybody else."""

    server: ApiServer
    kube: client.Client
    repository: git_server.GitServer

    async def reason(self, name: str) -> str:
        """The reason of the App's Ready."""
        found = await self.kube.get(kinds.APP, name, api.NAMESPACE)
        told = found.get("status", {}).get("conditions")
        return condition(found, "Ready")[1] if told else ""

    async def comes_to(self, name: str, reason: str) -> None:
        """Wait until Ready has that reason."""

        async def holds() -> bool:
            return await self.reason(name) == reason

        await until(holds, f"{name} is {reason}")

    async def change(self, name: str, **spec: Any) -> None:
        """Change an App and wait until that is taken in."""
        changed = await self.kube.patch(kinds.APP, name, api.NAMESPACE, {"spec": spec})
        wanted = changed["metadata"]["generation"]

        async def taken_in() -> bool:
            found = await self.kube.get(kinds.APP, name, api.NAMESPACE)
            return bool(found.get("status", {}).get("observedGeneration") == wanted)

        await until(taken_in, f"{spec} of {name} is taken in")

    async def has_releases(self, name: str, count: int) -> None:
        """Wait until so many releases of an App are kept."""
        labels = f"{names.APP_LABEL}={name}"

        async def kept() -> bool:
            found = await self.kube.list(kinds.CONTROLLER_REVISION, api.NAMESPACE, labels=labels)
            return len(found.items) == count

        await until(kept, f"{name} has {count} releases")

    async def job(self, namespace: str) -> dict[str, Any]:
        """Wait until the only Job of a namespace may run."""

        async def there() -> bool:
            found = (await self.kube.list(kinds.JOB, namespace)).items
            return any(not each["spec"].get("suspend") for each in found)

        await until(there, f"there is a Job in {namespace}")
        (found,) = (await self.kube.list(kinds.JOB, namespace)).items
        return found

    async def end_job(self, job: dict[str, Any], *ends: str) -> None:
        """Let a Job end, as its controller writes it."""
        metadata, time = job["metadata"], "2026-01-31T12:00:00Z"
        told = {"status": "True", "reason": "R", "lastTransitionTime": time}
        body: dict[str, Any] = {"startTime": time}
        body["conditions"] = [{"type": each, **told} for each in ends]
        if "Complete" in ends:
            body |= {"completionTime": time, "succeeded": 1, "ready": 0, "terminating": 0}
        await self.kube.patch(
            kinds.JOB,
            metadata["name"],
            metadata["namespace"],
            {"status": body},
            subresource="status",
        )

    async def make_pod(
        self, namespace: str, template: dict[str, Any], labels: dict[str, str], **status: Any
    ) -> None:
        """Create a pod from a template."""
        metadata = {"name": "played", "namespace": namespace}
        metadata |= {"labels": template["metadata"]["labels"] | labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        await self.kube.create(pod, field_manager="test")
        await self.kube.patch(
            kinds.POD, "played", namespace, {"status": status}, subresource="status"
        )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Start the server and give the operator its rights there, as stacks do."""
    with run_api_server(USER) as server, git_server.serve(tmp_path) as repository:
        async with client.Client.from_kubeconfig(server.kubeconfig) as kube:
            await cert_manager.serve(kube)
            for manifest in manifests.render(users=[USER], certifies=True):
                await kube.apply(manifest, field_manager="test")

            async def served() -> bool:
                with contextlib.suppress(errors.NotFound):
                    return (await kube.list(kinds.APP)).resource_version is not None
                return False

            await until(served, "the App kind is served")
            await kube.create(_held_lease(), field_manager="test")
            stage = Stage(server, kube, repository)
            async with _operator(stage, tmp_path):
                yield stage


@contextlib.asynccontextmanager
async def _operator(stage: Stage, folder: Path) -> AsyncIterator[None]:
    """Run the operator as stacks run it, under its user, on a way that breaks."""
    async with fault_proxy(stage.server.watched_kubeconfig) as (proxy, access):
        proxy.choose = Stumbles().choose
        parser = argparse.ArgumentParser()
        operator_settings.add_arguments(parser)
        arguments = [
            *("--kubeconfig", str(_without_user(folder, access.server))),
            *("--health-port", str(places.free_ports(1)[0])),
            *("--namespace-labels", "app.kubernetes.io/part-of=bex"),
            *("--registries", f"example.com={NO_REGISTRY}", "--certificate-issuer", "bex-local"),
            *("--builds", str(_builds(folder, stage.repository)), "--leader-elect"),
        ]
        stop = asyncio.Event()
        settings = operator_settings.read(parser.parse_args(arguments))
        running = asyncio.create_task(operator.operate(settings, stop))
        try:
            yield
        finally:
            stop.set()
            await running


def _held_lease() -> dict[str, Any]:
    """Let somebody who just died be the leader, so that the operator has to wait a moment."""
    metadata = {"name": "bex-operator", "namespace": names.SYSTEM_NAMESPACE}
    spec = {"holderIdentity": "before", "leaseDurationSeconds": 1}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
    return lease | {"spec": spec}


def _without_user(folder: Path, server: str) -> Path:
    """Write a kubeconfig that leads to *server*."""
    made = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "current-context": "c",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(made))
    return path


def _builds(folder: Path, repository: git_server.GitServer) -> Path:
    key, path = folder / "token.key", folder / "builds.json"
    key.write_bytes(b"k" * 32)
    settings = {"image": "example.com/builder:1", "registry": "127.0.0.1:9", "knownAs": "r:1"}
    given = {"tokenKey": str(key), "inner": ["127.0.0.0/8"], "pollSeconds": 1}
    path.write_text(json.dumps(settings | given | {"authority": str(repository.authority)}))
    return path


async def prepare_and_wait_for_room(stage: Stage) -> None:
    """An App with every child: its command runs, and no machine has room for its pods."""
    spec: dict[str, Any] = {"preDeployCommand": ["run"], "host": "web.example.com"}
    spec |= {"tier": "free", "autoscaling": {"maxReplicas": 3}, "envFromSecret": "settings"}
    await stage.kube.create(app_manifest(api.NAMESPACE, **spec), field_manager="test")
    await stage.end_job(await stage.job(api.NAMESPACE), "SuccessCriteriaMet", "Complete")
    await stage.comes_to("web", "RolloutProgressing")
    deployment = await stage.kube.get(kinds.DEPLOYMENT, "web", api.NAMESPACE)
    full = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/0"}
    template = deployment["spec"]["template"]
    await stage.make_pod(api.NAMESPACE, template, {}, phase="Pending", conditions=[full])
    await stage.comes_to("web", "Unschedulable")
    await cert_manager.begin(stage.kube, api.NAMESPACE, "web")


async def release_again(stage: Stage) -> None:
    """An App that changes once it has a release."""
    await stage.kube.create(app_manifest(api.NAMESPACE, "again"), field_manager="test")
    await stage.comes_to("again", "RolloutProgressing")
    await stage.change("again", env=[{"name": "A", "value": "b"}])
    await stage.has_releases("again", 2)


async def live_on(stage: Stage) -> None:
    """The App does what people do with one: all of it takes no further right."""
    await stage.change("again", replicas=3, hosts=["again.example.com"])
    await stage.change("again", replicas=1, hosts=[])
    await stage.change("again", suspended=True)
    await stage.comes_to("again", "Suspended")
    await stage.change("again", suspended=False, restartedAt="2026-01-31T12:00:00Z")
    await stage.has_releases("again", 3)
    annotations = {names.ROLLBACK_ANNOTATION: "rev-1"}
    body = {"metadata": {"annotations": annotations}}
    await stage.kube.patch(kinds.APP, "again", api.NAMESPACE, body)
    await stage.has_releases("again", 4)
    await stage.change("again", tier="free", autoscaling={"maxReplicas": 2})
    await stage.change("again", autoscaling=None, replicas=0)


async def build_and_fail(stage: Stage) -> None:
    """An App of a repository, whose build leaves a log and a pod."""
    stage.repository.commit("built", {"Dockerfile": "FROM scratch\n"})
    spec = {"image": None, "repo": stage.repository.url_of("built")}
    await stage.kube.create(app_manifest(api.NAMESPACE, "built", **spec), field_manager="test")
    job = await stage.job(names.BUILD_NAMESPACE)
    label = {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    await stage.make_pod(names.BUILD_NAMESPACE, job["spec"]["template"], label, phase="Failed")
    await stage.end_job(job, "FailureTarget", "Failed")
    await stage.comes_to("built", "BuildFailedInfrastructure")


async def lose_the_lease(stage: Stage) -> None:
    """Somebody deletes the lease; its holder makes another."""
    lease = kinds.LEASE, "bex-operator", names.SYSTEM_NAMESPACE
    await stage.kube.delete(*lease)

    async def there() -> bool:
        with contextlib.suppress(errors.NotFound):
            return bool(await stage.kube.get(*lease))
        return False

    await until(there, "there is a lease again")


async def remove(stage: Stage, *apps: str) -> None:
    """Delete Apps and wait until they are gone."""
    for name in apps:
        await stage.kube.delete(kinds.APP, name, api.NAMESPACE)

    async def gone() -> bool:
        return not (await stage.kube.list(kinds.APP)).items

    await until(gone, "the Apps are gone")


def audited(log: Path) -> list[dict[str, Any]]:
    """What the operator asked."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def used(events: Iterable[dict[str, Any]], *, where: str = "") -> set[Used]:
    """Which rights requests took; all requests but those of *where*'s own, or only those."""
    found = set()
    for event in events:
        asked = event["objectRef"]
        resource = "/".join(asked[key] for key in ("resource", "subresource") if key in asked)
        what = asked.get("apiGroup", ""), resource
        if _granted_in(asked.get("namespace", ""), resource) == where:
            found.add((*what, event["verb"]))
            if event["verb"] == "patch" and event["responseStatus"]["code"] == 201:
                found.add((*what, "create"))
    return found


def _granted_in(namespace: str, resource: str) -> str:
    """In which namespace alone the right is given; empty if it is given in all."""
    if namespace in {names.BUILD_NAMESPACE, names.SYSTEM_NAMESPACE} or resource == "secrets":
        return namespace
    return ""


def granted(table: Iterable[rights.Right]) -> set[Used]:
    """Every right of a table alone."""
    return {(each.group, each.resource, verb) for each in table for verb in each.verbs}


async def test_every_right_is_used_and_nothing_is_forbidden(stage: Stage) -> None:
    """Over the lives of Apps with every child, with a second release, and with a build."""
    await prepare_and_wait_for_room(stage)
    await release_again(stage)
    await live_on(stage)
    await build_and_fail(stage)
    await lose_the_lease(stage)
    await remove(stage, "web", "again", "built")

    events = audited(stage.server.audit_log)
    asked = [each for each in events if "objectRef" in each]
    assert {each["annotations"]["authorization.k8s.io/decision"] for each in events} == {"allow"}
    for where, table in (
        ("", (*rights.OPERATOR, *rights.OPERATOR_CERTIFYING)),
        (names.SYSTEM_NAMESPACE, rights.OPERATOR_IN_SYSTEM),
        (names.BUILD_NAMESPACE, rights.OPERATOR_IN_BUILDS),
        (api.NAMESPACE, rights.OPERATOR_IN_APPS),
    ):
        assert used(asked, where=where) == granted(table) - NEVER_ASKED, where
    served = str(await stage.kube.request("GET", "/metrics"))
    assert f'dispatched_requests_total{{flow_schema="{manifests.OPERATOR}"' in served
