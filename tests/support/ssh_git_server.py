"""A git server that speaks ssh, for tests: one key may read the repositories of a folder."""

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh


@dataclass(frozen=True, slots=True)
class SshServer:
    """Where repositories are served from, and what a client needs."""

    url: str
    key: Path
    """Private key that is let in."""
    known_hosts: Path
    """What a client knows of the server."""
    stranger: Path
    """Private key that is not."""


@contextlib.contextmanager
def serve(folder: Path, address: str = "127.0.0.1", port: int = 0) -> Iterator[SshServer]:
    """Serve the repositories in *folder*, which has no other writer."""
    host, client, stranger = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(3))
    allowed = asyncssh.import_authorized_keys(client.export_public_key().decode())
    loop = asyncio.new_event_loop()

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            address,
            port,
            server_host_keys=[host],
            authorized_client_keys=allowed,
            process_factory=lambda process: _answer(folder, process),
            encoding=None,
        )

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    acceptor = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    taken = acceptor.get_port()
    known = folder / "known_hosts"
    known.write_text(f"[{address}]:{taken} {host.export_public_key().decode()}")
    keys = []
    for name, each in (("client", client), ("stranger", stranger)):
        keys.append(folder / f"{name}.key")
        keys[-1].write_bytes(each.export_private_key())
        keys[-1].chmod(0o600)
    try:
        yield SshServer(f"ssh://git@{address}:{taken}", keys[0], known, keys[1])
    finally:
        asyncio.run_coroutine_threadsafe(_close(acceptor), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _close(acceptor: asyncssh.SSHAcceptor) -> None:
    acceptor.close()
    await acceptor.wait_closed()


async def _answer(folder: Path, process: "asyncssh.SSHServerProcess[bytes]") -> None:
    """Run git-upload-pack for the one repository that is named, and nothing else."""
    command, _, named = (process.command or "").partition(" ")
    repository = folder / Path(named.strip("'").lstrip("/")).name
    if command != "git-upload-pack" or not repository.is_dir():
        process.stderr.write(b"there is no such repository\n")
        process.exit(128)
        return
    git = await asyncio.create_subprocess_exec(
        "git", "upload-pack", "--strict", str(repository),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert git.stdin is not None
    assert git.stdout is not None
    asked = asyncio.create_task(_pass_on(process.stdin, git.stdin))
    while told := await git.stdout.read(65536):
        process.stdout.write(told)
    process.exit(await git.wait())
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)


async def _pass_on(questions: "asyncssh.SSHReader[bytes]", into: asyncio.StreamWriter) -> None:
    while said := await questions.read(65536):
        into.write(said)
    into.close()
