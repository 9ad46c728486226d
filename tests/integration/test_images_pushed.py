"""The example image and the registry it is pushed to: the real registry, crane and program."""

import json
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bex_stack.embedded import images, oci_layout, toolchain
from tests.support import go_caches, places
from tests.support.waiting import wait_until

HELLO = Path(__file__).parents[2] / "examples" / "hello-go"
WAIT_SECONDS = 60


def wait_for(port: int) -> None:
    """Return once something listens on *port*."""

    def listens() -> bool:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True

    wait_until(listens, f"something listens on port {port}")


def get(url: str) -> tuple[int, str]:
    """Return status and body of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()


def sleeps(pid: int) -> bool:
    """Whether every thread of a process sleeps: it has done what it does at its start."""
    stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return {stat.rpartition(")")[2].split()[0] for stat in stats} == {"S"}


@pytest.fixture(scope="session")
def tools() -> toolchain.Toolchain:
    """The programs these tests run."""
    return toolchain.ensure(["registry", "crane", "pause"])


@pytest.fixture
def registry(tools: toolchain.Toolchain, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A registry that serves one folder on two addresses."""
    first, second = places.free_ports(2)
    addresses = (f"127.0.0.1:{first}", f"127.0.0.2:{second}")
    command = [str(tools.path("registry")), "-root", str(tmp_path / "images")]
    for address in addresses:
        command += ["-listen", address]
    with subprocess.Popen(command) as process:
        wait_for(first)
        yield addresses
        process.terminate()
        assert process.wait(timeout=WAIT_SECONDS) == 0


@pytest.fixture
def hello(
    tools: toolchain.Toolchain, tmp_path: Path
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The example's program, taken out of its image, and its port."""
    layout = images.build_go_image(HELLO, toolchain=tools)
    manifest = json.loads(
        (layout / "blobs" / "sha256" / oci_layout.digest(layout)[7:]).read_bytes()
    )
    layer = layout / "blobs" / "sha256" / manifest["layers"][0]["digest"][7:]
    shutil.unpack_archive(layer, tmp_path, "gztar")
    (port,) = places.free_ports(1)
    environment = {"PORT": str(port), "BEX_REVISION": "rev-7", "DRAIN_SECONDS": "4"}
    with subprocess.Popen([tmp_path / "hello-go"], env=environment) as process:
        wait_for(port)
        yield process, port
        process.kill()


def test_image_is_pushed_and_found(tools: toolchain.Toolchain, registry: tuple[str, str]) -> None:
    """What is pushed at one address is there at the other, with the digest of the layout."""
    layout = images.build_go_image(HELLO, toolchain=tools)
    before = images.digest_in_registry(registry[1], "bex/hello-go", "1")
    digest = images.push(layout, f"{registry[0]}/bex/hello-go:1", toolchain=tools)

    assert before == ""
    assert digest == oci_layout.digest(layout)
    assert images.digest_in_registry(registry[1], "bex/hello-go", "1") == digest


def test_pushed_image_is_valid(tools: toolchain.Toolchain, registry: tuple[str, str]) -> None:
    """Crane reads every blob back and finds what the manifest says."""
    reference = f"{registry[0]}/pause:{images.PAUSE_TAG}"
    images.push(images.build_pause_image(toolchain=tools), reference, toolchain=tools)
    crane = tools.path("crane")
    done = subprocess.run(
        [crane, "validate", "--remote", reference], check=False, capture_output=True, timeout=60
    )

    assert done.returncode == 0, done.stderr


def test_same_sources_make_the_same_image(
    tools: toolchain.Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the sources in another folder, built anew, has the same digest."""
    for key, value in go_caches.locate().items():
        monkeypatch.setenv(key, value)
    copy = tmp_path / "copy" / HELLO.name
    shutil.copytree(HELLO, copy)
    elsewhere = toolchain.Toolchain(tools.paths, tmp_path / "cache")
    first = images.build_go_image(HELLO, toolchain=tools)
    second = images.build_go_image(copy, toolchain=elsewhere)

    assert first != second
    assert oci_layout.digest(first) == oci_layout.digest(second)


def test_registry_lists_deletes_and_tells_its_health(
    tools: toolchain.Toolchain, registry: tuple[str, str]
) -> None:
    """Catalogue, deletion and the health page work as clients expect."""
    reference = f"{registry[0]}/pause:1"
    digest = images.push(images.build_pause_image(toolchain=tools), reference, toolchain=tools)
    listed = json.loads(get(f"http://{registry[0]}/v2/_catalog")[1])
    crane = tools.path("crane")
    subprocess.run(
        [crane, "delete", f"{registry[0]}/pause@{digest}"], check=True, timeout=WAIT_SECONDS
    )

    assert listed == {"repositories": ["pause"]}
    assert images.digest_in_registry(registry[0], "pause", "1") == ""
    assert get(f"http://{registry[0]}/healthz") == (200, "ok\n")


def test_push_to_nobody_says_how_to_repeat_it(tools: toolchain.Toolchain) -> None:
    """A registry that is not there is an error with the command that was tried."""
    layout = images.build_pause_image(toolchain=tools)

    with pytest.raises(toolchain.ToolchainError, match="Repeat it with"):
        images.push(layout, f"127.0.0.1:{places.free_ports(1)[0]}/pause:1", toolchain=tools)


def test_hello_answers_with_the_request(hello: tuple["subprocess.Popen[bytes]", int]) -> None:
    """Host name, revision and the request as it arrived."""
    status, body = get(f"http://127.0.0.1:{hello[1]}/some/path?a=b")

    assert status == 200
    assert body.startswith(f"Hello from {socket.gethostname()}\nRevision: rev-7\n")
    assert f"GET /some/path?a=b HTTP/1.1\nHost: 127.0.0.1:{hello[1]}\n" in body


def test_hello_streams(hello: tuple["subprocess.Popen[bytes]", int]) -> None:
    """Server-sent events arrive one by one, as many as were asked for."""
    _, body = get(f"http://127.0.0.1:{hello[1]}/stream?count=3&every=10ms")

    assert [line for line in body.splitlines() if line.startswith("id: ")] == [
        "id: 1",
        "id: 2",
        "id: 3",
    ]


def test_hello_echoes_after_an_upgrade(hello: tuple["subprocess.Popen[bytes]", int]) -> None:
    """The connection changes its protocol and every byte comes back."""
    with socket.create_connection(("127.0.0.1", hello[1]), timeout=WAIT_SECONDS) as connection:
        connection.sendall(
            b"GET /echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        )
        head = connection.recv(4096)
        connection.sendall(b"there and back")
        back = connection.recv(4096)

    assert head.startswith(b"HTTP/1.1 101 ")
    assert back == b"there and back"


def test_hello_still_answers_while_it_leaves(
    hello: tuple["subprocess.Popen[bytes]", int],
) -> None:
    """After SIGTERM requests are served for a moment, health says 503, then it ends with 0."""
    process, port = hello
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: get(f"http://127.0.0.1:{port}/healthz")[0] == 503, "it says it is leaving")
    page = get(f"http://127.0.0.1:{port}/")

    assert page[0] == 200
    assert process.wait(timeout=WAIT_SECONDS) == 0


def test_pause_reaps_and_ends_with_its_command(tools: toolchain.Toolchain) -> None:
    """As pid 1 it collects orphans: they vanish, as no zombie does."""
    script = "orphan=$(sleep 0.1 >&2 & echo $!); while [ -e /proc/$orphan ]; do :; done; exit 3"
    done = subprocess.run(
        [
            *("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"),
            *(tools.path("pause"), "--", "sh", "-c", script),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )

    assert (done.returncode, done.stdout) == (3, "")


def test_pause_ends_on_sigterm(tools: toolchain.Toolchain) -> None:
    """Alone it waits, and ends at once when it is told to."""
    with subprocess.Popen([tools.path("pause")]) as process:
        wait_until(lambda: sleeps(process.pid), "it waits")
        process.terminate()

        assert process.wait(timeout=WAIT_SECONDS) == 0
