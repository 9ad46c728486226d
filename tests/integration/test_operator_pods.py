"""Every pod that is rendered, judged by the API server's Pod Security admission."""

import asyncio
from typing import Any

import aiohttp
import pytest

from bex_operator import api
from bex_operator.api import status
from bex_operator.kube import client, errors, kinds, kubeconfig
from bex_operator.plan import predeploy, workload
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import kube, namespace

__all__ = ["kube", "namespace"]

LEVEL = "pod-security.kubernetes.io"
RELEASE = status.Release(number=1, digest="d")
SHAPES: list[dict[str, Any]] = [
    {},
    {"port": 80, "health_check_path": "/healthz"},
    {"command": ("run",), "args": ("a", "b"), "tier": "pro-ultra"},
    {"env": [{"name": "A", "value": "1"}], "env_from_secret": "settings", "tier": "free"},
    {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}, "max_shutdown_delay_seconds": 300},
    {"replicas": 100, "suspended": True},
]


@pytest.fixture
async def restricted(kube: client.Client, namespace: str) -> str:
    """A namespace that takes only restricted pods."""
    labels = {f"{LEVEL}/enforce": "restricted", f"{LEVEL}/enforce-version": "latest"}
    await kube.patch(kinds.NAMESPACE, namespace, None, {"metadata": {"labels": labels}})
    return namespace


async def refusal(kube: client.Client, namespace: str, template: dict[str, Any]) -> str:
    """Offer a pod of the template, without keeping it; what is said against it."""
    metadata = {**template["metadata"], "generateName": "web-", "namespace": namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    try:
        await kube.create(pod, field_manager="test", dry_run=True)
    except errors.Forbidden as forbidden:
        return str(forbidden)
    return ""


def templates(namespace: str, **fields: Any) -> list[dict[str, Any]]:
    """The pods of an App: those that serve, and that of the command before a release."""
    wanted = api.App(
        **{"name": "web", "image": "a/b:1", "pre_deploy_command": ("migrate",), **fields}
    )
    owner = workload.Owner("web", namespace, "uid")
    made = [
        workload.render(wanted, owner, RELEASE, ()).deployment,
        predeploy.render(wanted, owner, RELEASE),
    ]
    return [dict(each["spec"]["template"]) for each in made]


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
async def test_pods_with_a_user_pass_the_restricted_standard(
    kube: client.Client, restricted: str, shape: dict[str, Any]
) -> None:
    """Whatever else the App asks for."""
    pods = templates(restricted, run_as_user=1000, **shape)

    assert await asyncio.gather(*(refusal(kube, restricted, each) for each in pods)) == ["", ""]


@pytest.mark.parametrize("user", [1000, None])
async def test_namespace_that_warns_says_nothing_of_pods_with_a_user(
    api_server: ApiServer, kube: client.Client, namespace: str, user: int | None
) -> None:
    """As namespaces of Apps do, for pods and for what makes them."""
    labels = {f"{LEVEL}/enforce": "baseline", f"{LEVEL}/warn": "restricted"}
    await kube.patch(kinds.NAMESPACE, namespace, None, {"metadata": {"labels": labels}})
    wanted = api.App(name="web", image="a/b:1", run_as_user=user)
    made = workload.render(wanted, workload.Owner("web", namespace, "uid"), RELEASE, ())
    tls = kubeconfig.load(api_server.kubeconfig).tls()
    assert tls is not None
    url = f"{api_server.url}{kinds.DEPLOYMENT.path(namespace)}?dryRun=All"

    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=made.deployment, ssl=tls) as answer,
    ):
        warnings = answer.headers.getall("Warning", [])

    assert answer.status == 201
    assert bool(warnings) is (user is None)


async def test_pods_without_a_user_lack_nothing_else(kube: client.Client, restricted: str) -> None:
    """The one thing that only the image or the App's author knows is who it runs as."""
    said = [await refusal(kube, restricted, each) for each in templates(restricted)]

    assert all("runAsNonRoot" in each for each in said)
    assert not any(
        word in each
        for each in said
        for word in ("allowPrivilegeEscalation", "capabilities", "seccompProfile", "sysctl", "host")
    )
