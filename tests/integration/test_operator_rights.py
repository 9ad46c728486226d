"""Operator and edge get what they use and no more: their rights against the API server's audit log.

Each lives under a user of its own on a server that grants nobody anything but by roles. Its way
there breaks once at every place, so that what it needs only then is needed here too.
"""

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bex_operator import api
from bex_operator.api import images, names, rights
from bex_operator.controllers import edge_objects, operator, operator_settings, registry_care
from bex_operator.kube import client, errors, kinds
from bex_operator.plan import webhooks
from bex_operator.registry import care
from bex_stack.embedded import toolchain
from components.manifests import operator as manifests
from tests.support import build_jobs as playing
from tests.support import cert_manager, git_server, image_registry, places, ssh_git_server
from tests.support.api_server import ApiServer, run_api_server
from tests.support.apps_cluster import NO_REGISTRY, app_manifest, condition
from tests.support.audits import Stumbles, audited, granted, used
from tests.support.fault_proxy import fault_proxy
from tests.support.image_registry import registry
from tests.support.waiting import until

__all__ = ["registry"]

USER, EDGE_USER = "bex-operator", "bex-edge"
NEVER_ASKED = {
    # The API server here has OwnerReferencesPermissionEnforcement, which looks at this itself:
    # without it no child could be made.
    (names.GROUP, "apps/finalizers", "update"),
}


@dataclass(frozen=True)
class Stage:
    """The server, with an operator at work on it, and who plays everybody else."""

    server: ApiServer
    kube: client.Client
    repository: git_server.GitServer
    registry: image_registry.Registry
    webhook_port: int

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
async def stage(tmp_path: Path, registry: image_registry.Registry) -> AsyncIterator[Stage]:
    """Start the server and give the operator its rights there, as stacks do."""
    with run_api_server(USER, EDGE_USER) as server, git_server.serve(tmp_path) as repository:
        async with client.Client.from_kubeconfig(server.kubeconfig) as kube:
            await cert_manager.serve(kube)
            for manifest in manifests.render(users=[USER], edge_user=EDGE_USER, certifies=True):
                await kube.apply(manifest, field_manager="test")

            async def served() -> bool:
                with contextlib.suppress(errors.NotFound):
                    return (await kube.list(kinds.APP)).resource_version is not None
                return False

            await until(served, "the App kind is served")
            await kube.create(_held_lease(), field_manager="test")
            (port,) = places.free_ports(1)
            stage = Stage(server, kube, repository, registry, port)
            async with _operator(stage, tmp_path):
                yield stage


@contextlib.asynccontextmanager
async def _operator(stage: Stage, folder: Path) -> AsyncIterator[None]:
    """Run the operator as stacks run it, under its user, on a way that breaks."""
    async with fault_proxy(stage.server.kubeconfig_of(USER)) as (proxy, access):
        proxy.choose = Stumbles().choose
        parser = argparse.ArgumentParser()
        operator_settings.add_arguments(parser)
        arguments = [
            *("--kubeconfig", str(_without_user(folder, access.server))),
            *("--health-port", str(places.free_ports(1)[0])),
            *("--namespace-labels", "app.kubernetes.io/part-of=bex"),
            *("--registries", f"example.com={NO_REGISTRY}", "--certificate-issuer", "bex-local"),
            *("--builds", str(_builds(folder, stage)), "--leader-elect"),
            *("--registry-care", stage.registry.guarded_url),
            *("--registry-key", str(stage.registry.key)),
            *("--webhook-port", str(stage.webhook_port)),
        ]
        stop = asyncio.Event()
        settings = operator_settings.read(parser.parse_args(arguments))
        running = asyncio.create_task(operator.operate(settings, stop))
        try:
            yield
        finally:
            stop.set()
            await running


@contextlib.asynccontextmanager
async def edge(stage: Stage) -> AsyncIterator[edge_objects.Objects]:
    """What the edge's feeder knows of the cluster, and all that it asks there."""
    async with contextlib.AsyncExitStack() as stack:
        way = fault_proxy(stage.server.kubeconfig_of(EDGE_USER))
        proxy, access = await stack.enter_async_context(way)
        proxy.choose = Stumbles().choose
        kube = await stack.enter_async_context(client.Client(access, user_agent=EDGE_USER))
        objects = edge_objects.Objects(kube)
        following = asyncio.create_task(objects.follow())
        try:
            yield objects
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


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


def _builds(folder: Path, stage: Stage) -> Path:
    path, endpoint = folder / "builds.json", stage.registry.guarded_url.removeprefix("http://")
    settings = {"image": "example.com/builder:1", "registry": endpoint, "knownAs": "example.com"}
    given = {"tokenKey": str(stage.registry.key), "inner": ["127.0.0.0/8"], "pollSeconds": 1}
    path.write_text(json.dumps(settings | given | {"authority": str(stage.repository.authority)}))
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


async def hear_of_a_push(stage: Stage) -> None:
    """The git server says that the repository has moved, and what had failed is built anew."""
    app = await stage.kube.get(kinds.APP, "built", api.NAMESPACE)
    key = stage.registry.key.read_bytes()
    secret = webhooks.secret_of(key, app["metadata"]["uid"]).encode()
    body = b'{"ref": "refs/heads/main"}'
    signed = hmac.new(secret, body, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signed}"}
    url = f"http://127.0.0.1:{stage.webhook_port}{webhooks.path_of(api.NAMESPACE, 'built')}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers) as answer,
    ):
        assert answer.status == 202
    app = await stage.kube.get(kinds.APP, "built", api.NAMESPACE)
    assert names.PUSHED_ANNOTATION in app["metadata"]["annotations"]


async def build_from_ssh(stage: Stage, folder: Path) -> None:
    """A Job asks the repository where its branch points; it, and the build, get the deploy key."""
    git_server.GitServer(folder, "", folder).commit("secret", {"a": "one"})
    with ssh_git_server.serve(folder) as shell:
        held = {"ssh-privatekey": shell.key.read_text()}
        held["known_hosts"] = shell.known_hosts.read_text()
        secret = {"apiVersion": "v1", "kind": "Secret", "stringData": held}
        secret["metadata"] = {"name": "key", "namespace": api.NAMESPACE}
        await stage.kube.create(secret, field_manager="test")
        spec = {"image": None, "repo": f"{shell.url}/secret.git", "cloneSecret": "key"}
        async with playing.machines(stage.kube, names.BUILD_NAMESPACE) as machines:
            machines.program = toolchain.ensure(["bex-build"]).path("bex-build")
            machines.folder = folder
            manifest = app_manifest(api.NAMESPACE, "shelled", **spec)
            await stage.kube.create(manifest, field_manager="test")
            await stage.has_releases("shelled", 1)


async def collect_images(stage: Stage) -> None:
    """What no App needs any more leaves the registry, as the leader sees to now and then."""
    await stage.registry.push(f"{images.BUILDS}nobody/{images.IMAGE}", "job", "old")
    async with client.Client.from_kubeconfig(stage.server.kubeconfig_of(USER)) as kube:
        kept = care.Care(stage.registry.guarded_url, stage.registry.key)
        done = await registry_care.collect(kube, kept, grace_seconds=0)
    assert [each.owner for each in done.going] == ["nobody"]


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


async def route(objects: edge_objects.Objects, name: str) -> None:
    """The edge hears of an App's host."""

    async def heard() -> bool:
        routed = {each["metadata"]["name"] for each in objects.of(kinds.INGRESS)}
        return objects.are_complete and name in routed

    await until(heard, f"the edge knows the hosts of {name}")


async def test_every_right_is_used_and_nothing_is_forbidden(
    stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Over the lives of Apps with every child, with a second release, and with builds."""
    async with edge(stage) as objects:
        await prepare_and_wait_for_room(stage)
        await route(objects, "web")
    await release_again(stage)
    await live_on(stage)
    await build_and_fail(stage)
    await hear_of_a_push(stage)
    await remove(stage, "web", "again", "built")
    await build_from_ssh(stage, tmp_path_factory.mktemp("ssh"))
    await collect_images(stage)
    await lose_the_lease(stage)
    await remove(stage, "shelled")

    asked = audited(stage.server.audit_log, USER)
    for where, table in (
        ("", (*rights.OPERATOR, *rights.OPERATOR_CERTIFYING)),
        (names.SYSTEM_NAMESPACE, rights.OPERATOR_IN_SYSTEM),
        (names.BUILD_NAMESPACE, rights.OPERATOR_IN_BUILDS),
        (api.NAMESPACE, rights.OPERATOR_IN_APPS),
    ):
        assert used(asked, where=where) == granted(table) - NEVER_ASKED, where
    assert used(audited(stage.server.audit_log, EDGE_USER)) == granted(rights.EDGE)
    served = str(await stage.kube.request("GET", "/metrics"))
    assert f'dispatched_requests_total{{flow_schema="{manifests.OPERATOR}"' in served
