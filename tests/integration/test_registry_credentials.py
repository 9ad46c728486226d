"""What builds are given for the running registry: enough for their own App, and proven before."""

import dataclasses
import time

import pytest

from bex_operator.controllers import metrics, registry_care
from bex_operator.kube import client, kinds
from bex_operator.plan import build_jobs, tokens
from bex_operator.registry import care, entry, errors
from tests.support import build_jobs as playing
from tests.support import oci
from tests.support.apps_cluster import condition, kube, namespace, until
from tests.support.build_shop import shop
from tests.support.image_registry import Registry, registry

__all__ = ["kube", "namespace", "registry"]
MINE, OTHERS = "builds/mine", "builds/others"


def held(
    registry: Registry, *, folder: str = MINE, seconds: int = 600, key: str = ""
) -> tokens.Pass:
    """What a build of an App is given."""
    endpoint = registry.guarded_url.removeprefix("http://")
    signs = key.encode() or registry.key.read_bytes()
    return tokens.of_build(signs, endpoint, folder, expires=int(time.time()) + seconds)


@pytest.mark.parametrize(
    ("which", "method", "path", "status"),
    [
        ("push", "POST", f"/v2/{MINE}/image/blobs/uploads/", 202),
        ("push", "POST", f"/v2/{MINE}/cache/blobs/uploads/", 202),
        ("push", "POST", f"/v2/{MINE}/blobs/uploads/", 401),
        ("push", "POST", f"/v2/{OTHERS}/image/blobs/uploads/", 401),
        ("push", "POST", "/v2/library/python/blobs/uploads/", 401),
        ("push", "GET", f"/v2/{OTHERS}/image/manifests/1", 401),
        ("push", "GET", f"/v2/{OTHERS}/cache/manifests/1", 401),
        ("push", "GET", "/v2/library/python/manifests/1", 404),
        ("push", "GET", "/v2/bex/builder/manifests/1", 401),
        ("push", "DELETE", f"/v2/{MINE}/image/manifests/1", 401),
        ("push", "GET", "/v2/_catalog", 401),
        ("push", "GET", "/bex/inventory", 401),
        ("pull", "GET", "/v2/library/python/manifests/1", 404),
        ("pull", "GET", f"/v2/{MINE}/cache/manifests/1", 404),
        ("pull", "GET", f"/v2/{MINE}/image/manifests/1", 401),
        ("pull", "GET", f"/v2/{OTHERS}/cache/manifests/1", 401),
        ("pull", "POST", f"/v2/{MINE}/cache/blobs/uploads/", 401),
        ("pull", "POST", f"/v2/{MINE}/image/blobs/uploads/", 401),
        ("none", "GET", "/v2/library/python/manifests/1", 401),
    ],
)
async def test_credential_opens_what_a_step_needs_and_nothing_else(
    registry: Registry, which: str, method: str, path: str, status: int
) -> None:
    """The step that runs a tenant's code can push nothing, and nobody reaches another App's."""
    token = "" if which == "none" else getattr(held(registry), which)
    async with oci.Client(registry.guarded_url, token) as pod:
        answer = await pod.ask(method, path)

    assert answer.status == status


async def test_layer_of_another_app_is_not_mounted(registry: Registry) -> None:
    """Who knows a layer's digest has not got it by that; what the registry answers is an upload."""
    async with oci.Client(registry.url) as host:
        secret = await host.push_blob(f"{OTHERS}/image", b"a secret")
    async with oci.Client(registry.guarded_url, held(registry).push) as pod:
        wanted = f"/v2/{MINE}/image/blobs/uploads/?mount={secret}&from={OTHERS}/image"
        answer = await pod.ask("POST", wanted)
        there = await pod.ask("HEAD", f"/v2/{MINE}/image/blobs/{secret}")

    assert answer.status != 201
    assert there.status == 404


async def test_proof_leaves_nothing(registry: Registry) -> None:
    """Neither an upload nor a name in the registry's folder."""
    await entry.prove(held(registry))

    assert [each for each in registry.folder.rglob("*") if each.is_file()] == []


async def test_credential_that_opens_nothing_is_told_from_a_registry_that_is_away(
    registry: Registry,
) -> None:
    """Another key and one that is too old: refused. Nobody there: not known."""
    with pytest.raises(errors.Refused, match="pull with: "):
        await entry.prove(held(registry, key="o" * 64))
    with pytest.raises(errors.Refused, match="pull with: "):
        await entry.prove(held(registry, seconds=-1))
    of_another = dataclasses.replace(held(registry), push=held(registry, folder=OTHERS).push)
    with pytest.raises(errors.Refused, match="push with: "):
        await entry.prove(of_another)
    with pytest.raises(errors.Unavailable, match="does not answer"):
        await entry.prove(dataclasses.replace(held(registry), endpoint="127.0.0.1:9"))


async def test_broken_registry_is_found_before_a_build(registry: Registry) -> None:
    """What a push would meet at the end is met at the beginning."""
    images = registry.folder / "docker/registry/v2/repositories"
    images.parent.mkdir(parents=True)
    images.write_text("a file where a folder should be")

    with pytest.raises(errors.Unavailable, match="answers 500 to a pull"):
        await entry.prove(held(registry))


async def test_build_waits_while_its_credentials_open_nothing(
    kube: client.Client, namespace: str, registry: Registry
) -> None:
    """No Job is made, the condition says who is at fault, and it is built once that is mended."""
    endpoint = registry.guarded_url.removeprefix("http://")
    right = registry.key.read_bytes()
    reach = build_jobs.Registry(endpoint, "example.com", (), b"o" * 64)
    keeper = registry_care.Keeper(kube, care.Care(registry.url), metrics.Metrics())
    repository = playing.Repository()
    given = {"keeper": keeper, "needed_bytes": 0}
    async with shop(kube, namespace, repository, registry=reach, **given) as made:
        await made.create()

        async def is_told() -> bool:
            app = await made.bench.get(kinds.APP)
            told = (app.get("status") or {}).get("conditions")
            return bool(told) and condition(app, "Ready")[1] == "RegistryCredentialsRefused"

        await until(is_told, "the refusal is told")
        message = condition(await made.bench.get(kinds.APP), "Ready")[2]
        before = await made.jobs()
    mended = dataclasses.replace(reach, key=right)
    async with (
        playing.machines(kube, namespace),
        shop(kube, namespace, repository, registry=mended, **given) as made,
    ):
        await until(made.image, "the commit runs")

    assert before == []
    assert endpoint in message
    assert "the platform is at fault" in message
