"""What is pinned is fetched, checked and carried to a registry; anything else is refused."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bex_stack import bundles
from bex_stack.embedded import toolchain
from components import pins
from tests.support import image_registry

registry = image_registry.registry

CONTENT = b"a chart"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[pins.File]:
    """A pinned file that a server on loopback has."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "chart.tgz").write_bytes(CONTENT)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield pins.File("charts/chart.tgz", f"http://127.0.0.1:{server.server_port}/chart.tgz", ())
        server.shutdown()
        thread.join()


def said(into: list[str]) -> bundles.Tell:
    """Keep what is told."""
    return into.append


def test_file_with_the_locked_checksum_is_fetched_once(served: pins.File, tmp_path: Path) -> None:
    """A second time it is there, and only read."""
    lock, told = pins.Lock({served.name: SHA256}, {}), list[str]()
    for _ in range(2):
        bundles.fetch([served], tmp_path / "pins", lock, said(told))

    assert (tmp_path / "pins/charts/chart.tgz").read_bytes() == CONTENT
    assert len(told) == 1


def test_file_that_was_changed_on_disk_is_fetched_again(served: pins.File, tmp_path: Path) -> None:
    """What is there is checked, too."""
    place = tmp_path / "pins/charts/chart.tgz"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"something else")
    bundles.fetch([served], tmp_path / "pins", pins.Lock({served.name: SHA256}, {}), said([]))

    assert place.read_bytes() == CONTENT


def test_file_with_another_checksum_is_refused_and_not_kept(
    served: pins.File, tmp_path: Path
) -> None:
    """The message has both; nothing is left that a later run could take for good."""
    lock = pins.Lock({served.name: "0" * 64}, {})

    with pytest.raises(bundles.NotBrought, match=f"has SHA-256 {SHA256}"):
        bundles.fetch([served], tmp_path / "pins", lock, said([]))
    assert [file for file in (tmp_path / "pins").rglob("*") if file.is_file()] == []


def test_file_without_a_checksum_is_not_even_asked_for(served: pins.File, tmp_path: Path) -> None:
    """Only `bex pins lock` learns one."""
    told: list[str] = []

    with pytest.raises(bundles.NotBrought, match="run `bex pins lock`"):
        bundles.fetch([served], tmp_path, pins.Lock({}, {}), said(told))
    assert told == []


async def test_bundle_carries_images_to_a_mirror_with_the_same_digest(
    served: pins.File, registry: image_registry.Registry, tmp_path: Path
) -> None:
    """Learnt from one registry, kept in a folder, pushed to another name; known by its digest."""
    digest = await registry.push("outside/app", "1", "an image")
    host = registry.url.removeprefix("http://")
    wanted = bundles.Wanted([served], [pins.Image(f"{host}/outside/app:1", ())])
    crane = toolchain.ensure(["crane"]).path("crane")

    lock = bundles.learn(wanted, pins.Lock({}, {}), crane, said([]))
    bundles.bundle(wanted, tmp_path / "bundle", lock, crane, said([]))
    mirrored = bundles.Wanted([], [pins.Image(f"{host}/outside/app:1", ())])
    bundles.load(mirrored, tmp_path / "bundle", f"{host}/mirror", crane, said([]))

    found = bundles.learn(
        bundles.Wanted([], [pins.Image(f"{host}/mirror/outside/app:1", ())]),
        pins.Lock({}, {}),
        crane,
        said([]),
    )
    assert lock == pins.Lock({served.name: SHA256}, {f"{host}/outside/app:1": digest})
    assert set(found.images.values()) == {digest}


def test_lock_file_reads_back_what_was_written(tmp_path: Path) -> None:
    """Sorted, so that a diff shows what changed."""
    lock = pins.Lock({"b": "2", "a": "1"}, {"image:1": "sha256:3"})
    pins.write(lock, tmp_path / "pins.lock")

    assert pins.lock(tmp_path / "pins.lock") == lock
    assert (tmp_path / "pins.lock").read_text().index('"a"') < (
        tmp_path / "pins.lock"
    ).read_text().index('"b"')


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""
