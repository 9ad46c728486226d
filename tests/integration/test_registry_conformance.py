"""What this project relies on of the OCI distribution API, asked of the running registry."""

import json
from collections.abc import AsyncIterator

import pytest

from tests.support import oci
from tests.support.image_registry import Registry, registry

__all__ = ["registry"]


@pytest.fixture
async def client(registry: Registry) -> AsyncIterator[oci.Client]:
    """A client of an empty registry."""
    async with oci.Client(registry.url) as made:
        yield made


async def test_image_is_found_by_tag_and_digest(client: oci.Client) -> None:
    """HEAD and GET say the same; the digest names the bytes that were sent."""
    digest = await client.push_image("app", "1", [b"layer"])
    by_tag = await client.ask("HEAD", "/v2/app/manifests/1", Accept=oci.MANIFEST)
    by_digest = await client.ask("GET", f"/v2/app/manifests/{digest}", Accept=oci.MANIFEST)

    assert (by_tag.status, by_tag.headers["Docker-Content-Digest"]) == (200, digest)
    assert (by_tag.body, oci.digest_of(by_digest.body)) == (b"", digest)
    assert by_digest.headers["Content-Type"] == oci.MANIFEST


async def test_image_pushed_by_digest_has_no_tag(client: oci.Client) -> None:
    """So a build can push before it says which tag it becomes."""
    digest = await client.push_image("app", "", [b"layer"])

    assert await client.is_whole("app", digest)
    assert (await client.ask("GET", "/v2/app/tags/list")).status in {200, 404}
    assert (await client.ask("HEAD", "/v2/app/manifests/latest")).status == 404


async def test_wrong_digest_and_missing_parts_are_refused(client: oci.Client) -> None:
    """Nothing is kept that is not what its name says, or that could not be pulled."""
    started = await client.ask("POST", "/v2/app/blobs/uploads/")
    wrong = oci.digest_of(b"other")
    joint = "&" if "?" in started.headers["Location"] else "?"
    place = f"{started.headers['Location']}{joint}digest={wrong}"
    sent = await client.ask("PUT", place, b"content")
    body = {"schemaVersion": 2, "mediaType": oci.MANIFEST, "layers": []}
    absent = {"mediaType": oci.CONFIG, "digest": wrong, "size": 5}
    content = json.dumps({**body, "config": absent}).encode()
    named = await client.ask("PUT", "/v2/app/manifests/1", content, Content_Type=oci.MANIFEST)

    assert (sent.status, named.status) == (400, 400)
    assert json.loads(sent.body)["errors"][0]["code"] == "DIGEST_INVALID"
    assert json.loads(named.body)["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"
    assert (await client.ask("HEAD", f"/v2/app/blobs/{wrong}")).status == 404


async def test_upload_goes_on_where_it_stopped(client: oci.Client) -> None:
    """Pieces are told by their range; one that does not follow is refused, and the rest taken."""
    content = b"0123456789" * 100
    started = await client.ask("POST", "/v2/app/blobs/uploads/")
    first = await client.ask(
        "PATCH", started.headers["Location"], content[:400], Content_Range="0-399"
    )
    gap = await client.ask(
        "PATCH", first.headers["Location"], content[600:], Content_Range="600-999"
    )
    known = await client.ask("GET", first.headers["Location"])
    second = await client.ask(
        "PATCH", known.headers["Location"], content[400:], Content_Range="400-999"
    )
    digest = oci.digest_of(content)
    joint = "&" if "?" in second.headers["Location"] else "?"
    ended = await client.ask("PUT", f"{second.headers['Location']}{joint}digest={digest}")

    assert (first.status, gap.status, second.status, ended.status) == (202, 416, 202, 201)
    assert known.headers["Range"] == "0-399"
    assert (await client.ask("GET", f"/v2/app/blobs/{digest}")).body == content


async def test_parts_of_a_blob_can_be_pulled(client: oci.Client) -> None:
    """A pull that was cut goes on; a range beyond the end is refused."""
    digest = await client.push_blob("app", b"0123456789")
    part = await client.ask("GET", f"/v2/app/blobs/{digest}", Range="bytes=4-6")
    beyond = await client.ask("GET", f"/v2/app/blobs/{digest}", Range="bytes=20-")

    assert (part.status, part.body, beyond.status) == (206, b"456", 416)


async def test_blob_is_mounted_from_another_repository(client: oci.Client) -> None:
    """A base image's layers are not sent again; one that is nowhere starts an upload."""
    digest = await client.push_blob("base", b"layer")
    other = oci.digest_of(b"nowhere")
    mounted = await client.ask("POST", f"/v2/app/blobs/uploads/?mount={digest}&from=base")
    missing = await client.ask("POST", f"/v2/app/blobs/uploads/?mount={other}&from=base")

    assert (mounted.status, missing.status) == (201, 202)
    assert (await client.ask("HEAD", f"/v2/app/blobs/{digest}")).status == 200


async def test_deleted_manifest_is_gone_with_its_tags(client: oci.Client) -> None:
    """By digest; other images of the repository stay, also those that share its layers."""
    first = await client.push_image("app", "1", [b"shared", b"one"])
    second = await client.push_image("app", "2", [b"shared", b"two"])
    deleted = await client.ask("DELETE", f"/v2/app/manifests/{first}")
    again = await client.ask("DELETE", f"/v2/app/manifests/{first}")

    assert (deleted.status, again.status) == (202, 404)
    assert (await client.ask("HEAD", "/v2/app/manifests/1")).status == 404
    assert json.loads((await client.ask("GET", "/v2/app/tags/list")).body)["tags"] == ["2"]
    assert await client.is_whole("app", second)


async def test_deleted_tag_leaves_the_image(client: oci.Client) -> None:
    """A tag is a name; what it named is found by digest still."""
    digest = await client.push_image("app", "1", [b"layer"])
    deleted = await client.ask("DELETE", "/v2/app/manifests/1")

    assert deleted.status == 202
    assert await client.is_whole("app", digest)


async def test_referrers_are_found_by_the_tag_schema(client: oci.Client) -> None:
    """This registry has no referrers API: what is attached is listed under the fallback tag."""
    digest = await client.push_image("app", "1", [b"layer"])
    subject = {"mediaType": oci.MANIFEST, "digest": digest, "size": 1}
    attached = await client.push_image("app", "", [b"statement"], subject=subject)
    listed = {"mediaType": oci.MANIFEST, "digest": attached, "size": 1}
    index = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [listed]}
    tag = digest.replace(":", "-")
    await client.push_manifest("app", tag, index)
    found = await client.ask("GET", f"/v2/app/manifests/{tag}", Accept=oci.INDEX)

    assert (await client.ask("GET", f"/v2/app/referrers/{digest}")).status == 404
    assert json.loads(found.body)["manifests"][0]["digest"] == attached


async def test_lists_come_in_pages(client: oci.Client) -> None:
    """Repositories and tags: as many as asked for, and where the rest is."""
    for name in ("a/one", "b", "c"):
        await client.push_image(name, "1", [b"layer"])
    for tag in ("2", "3"):
        await client.push_image("b", tag, [b"layer"])
    first = await client.ask("GET", "/v2/_catalog?n=2")
    rest = await client.ask("GET", "/v2/_catalog?n=2&last=b")
    tags = await client.ask("GET", "/v2/b/tags/list?n=2")

    assert json.loads(first.body)["repositories"] == ["a/one", "b"]
    assert "/v2/_catalog?" in first.headers["Link"]
    assert (json.loads(rest.body)["repositories"], "Link" in rest.headers) == (["c"], False)
    assert json.loads(tags.body)["tags"] == ["1", "2"]
    assert 'rel="next"' in tags.headers["Link"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2/", 200, ""),
        ("GET", "/v2/none/manifests/1", 404, "MANIFEST_UNKNOWN"),
        ("GET", f"/v2/none/blobs/{oci.digest_of(b'')}", 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/none/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/none/blobs/uploads/nothing", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("POST", "/v2/none/manifests/1", 405, ""),
        ("GET", "/v2/none/manifests/sha256:short", 400, "DIGEST_INVALID"),
    ],
)
async def test_what_is_not_there_is_told_by_its_code(
    client: oci.Client, method: str, path: str, status: int, code: str
) -> None:
    """Clients tell an absent image from a broken registry by status and code."""
    answer = await client.ask(method, path)

    assert answer.status == status
    assert not code or json.loads(answer.body)["errors"][0]["code"] == code
