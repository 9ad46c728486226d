"""The client against a real API server, and against one that misbehaves."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bex_operator.kube import client, errors, kinds, kubeconfig
from tests.support import cert_manager
from tests.support.api_server import ApiServer
from tests.support.apps_cluster import kube, namespace
from tests.support.fault_proxy import Fault, FaultProxy, fault_proxy

__all__ = ["kube", "namespace"]


def config_map(namespace: str, name: str = "a", **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


@pytest.fixture
async def broken(api_server: ApiServer) -> AsyncIterator[tuple[FaultProxy, client.Client]]:
    """A client whose server can be broken."""
    async with (
        fault_proxy(api_server.kubeconfig) as (proxy, access),
        client.Client(access) as made,
    ):
        yield proxy, made


async def test_every_verb_does_its_work(kube: client.Client, namespace: str) -> None:
    """Create, read, list, apply, patch, replace, delete."""
    made = await kube.create(config_map(namespace, x="1"), field_manager="test")
    applied = await kube.apply(config_map(namespace, x="2"), field_manager="test")
    patched = await kube.patch(kinds.CONFIG_MAP, "a", namespace, {"data": {"y": "3"}})
    replaced = await kube.replace(patched | {"data": {"z": "4"}}, field_manager="test")
    listed = await kube.list(kinds.CONFIG_MAP, namespace)

    assert made["data"] == {"x": "1"}
    assert applied["data"] == {"x": "2"}
    assert patched["data"] == {"x": "2", "y": "3"}
    assert replaced["data"] == {"z": "4"}
    assert [(each["kind"], each["metadata"]["name"]) for each in listed.items] == [
        ("ConfigMap", "a")
    ]
    await kube.delete(kinds.CONFIG_MAP, "a", namespace)
    with pytest.raises(errors.NotFound):
        await kube.get(kinds.CONFIG_MAP, "a", namespace)


async def test_list_follows_pages(kube: client.Client, namespace: str) -> None:
    """A list longer than a page is one list."""
    for number in range(5):
        await kube.create(config_map(namespace, f"m{number}"), field_manager="test")

    found = await kube.list(kinds.CONFIG_MAP, namespace, page_size=2)

    assert sorted(each["metadata"]["name"] for each in found.items) == [f"m{n}" for n in range(5)]


async def test_refusals_are_told_apart(kube: client.Client, namespace: str) -> None:
    """Each by what the caller can do about it."""
    made = await kube.create(config_map(namespace), field_manager="test")
    stale = made | {"metadata": made["metadata"] | {"resourceVersion": "1"}}

    with pytest.raises(errors.AlreadyExists):
        await kube.create(config_map(namespace), field_manager="test")
    with pytest.raises(errors.Conflict):
        await kube.replace(stale, field_manager="test")
    with pytest.raises(errors.Invalid) as refused:
        await kube.create(config_map(namespace, "Not A Name"), field_manager="test")
    with pytest.raises(errors.BadRequest):
        await kube.create(config_map(namespace, "b") | {"dataa": {}}, field_manager="test")
    with pytest.raises(errors.Conflict):
        await kube.delete(kinds.CONFIG_MAP, "a", namespace, uid="other")
    assert refused.value.details["causes"][0]["field"] == "metadata.name"


async def test_apply_without_force_leaves_others_fields(
    kube: client.Client, namespace: str
) -> None:
    """A conflict names the other manager; force takes the field."""
    await kube.apply(config_map(namespace, x="1"), field_manager="one")

    with pytest.raises(errors.Conflict, match="one"):
        await kube.apply(config_map(namespace, x="2"), field_manager="two", force=False)

    taken = await kube.apply(config_map(namespace, x="2"), field_manager="two")
    assert taken["data"] == {"x": "2"}


async def test_dry_run_changes_nothing(kube: client.Client, namespace: str) -> None:
    """The answer is what would be."""
    planned = await kube.apply(config_map(namespace, x="1"), field_manager="test", dry_run=True)

    assert planned["data"] == {"x": "1"}
    with pytest.raises(errors.NotFound):
        await kube.get(kinds.CONFIG_MAP, "a", namespace)


async def test_kinds_are_found_by_asking(kube: client.Client) -> None:
    """What the table lacks is discovered; what nobody serves is said to be unknown."""
    found = await kube.resolve("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration")

    assert (found.plural, found.namespaced) == ("prioritylevelconfigurations", False)
    with pytest.raises(errors.UnknownKind):
        await kube.resolve("example.com/v1", "Nothing")
    with pytest.raises(errors.UnknownKind):
        await kube.resolve("v1", "Nothing")


async def test_table_of_kinds_is_true(kube: client.Client) -> None:
    """Every kind of the table is served under the path and scope it says."""
    await cert_manager.serve(kube)

    for (api_version, name), kind in kinds._TABLE.items():
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        served = {
            each["kind"]: (each["name"], each["namespaced"])
            for each in (await kube.request("GET", root))["resources"]
            if "/" not in each["name"]
        }

        assert served[name] == (kind.plural, kind.namespaced)


async def test_busy_server_is_asked_again(broken: tuple[FaultProxy, client.Client]) -> None:
    """429 with Retry-After is waited for, a few times."""
    proxy, made = broken
    left = [Fault(429, headers={"Retry-After": "0"})] * 2
    proxy.choose = lambda _: left.pop() if left else None

    await made.get(kinds.NAMESPACE, "default")

    assert len(proxy.requests) == 3


async def test_server_that_stays_busy_is_told_with_its_time(
    broken: tuple[FaultProxy, client.Client],
) -> None:
    """In the end the caller learns when to come back."""
    proxy, made = broken
    proxy.choose = lambda _: Fault(429, headers={"Retry-After": "0.01"})

    with pytest.raises(errors.TooManyRequests) as busy:
        await made.get(kinds.NAMESPACE, "default")

    assert busy.value.retry_after_seconds == 0.01


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (Fault(0), errors.Unreachable),
        (Fault(200, '{"kind": "Nam'), errors.Unreachable),
        (Fault(200, "[]"), errors.Unreachable),
        (Fault(500, "it burns"), errors.ServerError),
        (Fault(503), errors.ServerError),
        (Fault(401), errors.Unauthorized),
        (Fault(403), errors.Forbidden),
        (Fault(410), errors.Gone),
        (Fault(418), errors.ApiError),
    ],
    ids=["reset", "truncated", "no object", "500", "503", "401", "403", "410", "418"],
)
async def test_no_error_of_the_http_library_leaks(
    broken: tuple[FaultProxy, client.Client], fault: Fault, wanted: type[Exception]
) -> None:
    """Whatever comes back, the caller gets one of ours."""
    proxy, made = broken
    proxy.choose = lambda _: fault

    with pytest.raises(wanted):
        await made.get(kinds.NAMESPACE, "default")


async def test_nobody_there_is_unreachable() -> None:
    """Refused connections are told with the address, and `ready` is no."""
    access = kubeconfig.Access(server="http://127.0.0.1:9")
    async with client.Client(access) as made:
        with pytest.raises(errors.Unreachable, match=r"127\.0\.0\.1:9"):
            await made.get(kinds.NAMESPACE, "default")

        assert not await made.ready()


async def test_strange_certificate_is_unreachable(api_server: ApiServer) -> None:
    """A server that nobody vouches for is not talked to."""
    async with client.Client(kubeconfig.Access(server=api_server.url)) as made:
        with pytest.raises(errors.Unreachable, match="certificate"):
            await made.get(kinds.NAMESPACE, "default")


async def test_ready_server_is_ready(kube: client.Client) -> None:
    """`/readyz` says so."""
    assert await kube.ready()


async def test_watch_ends_when_the_server_says(kube: client.Client, namespace: str) -> None:
    """A watch lasts as long as asked for."""
    version = (await kube.list(kinds.CONFIG_MAP, namespace)).resource_version

    async with asyncio.timeout(60):
        events = [
            event
            async for event in kube.watch(
                kinds.CONFIG_MAP, namespace, resource_version=version, timeout_seconds=1
            )
        ]

    assert all(event.type == "BOOKMARK" for event in events)


def write_kubeconfig(path: Path, **user: Any) -> Path:
    """A kubeconfig with this user."""
    server = {"server": "https://127.0.0.1:1"}
    file = path / "kubeconfig"
    file.write_text(
        str(
            {
                "clusters": [{"name": "c", "cluster": server}],
                "users": [{"name": "u", "user": user}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return file


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"exec": {"command": "x"}}, "user uses exec"),
        ({"client-key": "k"}, "client-key"),
        ({"client-certificate-data": "!"}, "not base64"),
        ({"client-certificate-data": "AA=="}, "go together"),
    ],
    ids=["plugin", "missing file", "no base64", "half a pair"],
)
def test_bad_kubeconfig_is_told(tmp_path: Path, user: dict[str, Any], words: str) -> None:
    """File and mistake are named."""
    with pytest.raises(errors.BadKubeconfig, match=words) as bad:
        kubeconfig.load(write_kubeconfig(tmp_path, **user))

    assert str(tmp_path) in str(bad.value)


@pytest.mark.parametrize("text", ["{", "a: [", "- x", "\x00", "current-context: z"])
def test_garbled_kubeconfig_is_told_without_its_content(tmp_path: Path, text: str) -> None:
    """What the file holds may be a key."""
    file = tmp_path / "kubeconfig"
    file.write_text(f"{text}\nsecret-secret")

    with pytest.raises(errors.BadKubeconfig) as bad:
        kubeconfig.load(file)

    assert "secret-secret" not in str(bad.value)


def test_key_and_token_never_show(tmp_path: Path) -> None:
    """A logged value tells no secret."""
    access = kubeconfig.load(write_kubeconfig(tmp_path, token="s3cret"))

    assert access.bearer() == "s3cret"
    assert "s3cret" not in repr(access)


async def test_token_file_is_read_again(tmp_path: Path) -> None:
    """Tokens are rotated in place."""
    (tmp_path / "token").write_text("one\n")
    access = kubeconfig.load(write_kubeconfig(tmp_path, tokenFile="token"))
    first = access.bearer()
    await asyncio.to_thread((tmp_path / "token").write_text, "two")

    assert (first, access.bearer()) == ("one", "two")
