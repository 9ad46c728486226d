"""Plays a repository whose name means another address each time that it is looked up.

Run in network and mount namespaces of its own, `python -m tests.support.rebinding FOLDER PROGRAM`
prints as JSON how the clone step and the operator fared with each set of answers.
"""

import asyncio
import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bex_operator.git import errors, remotes
from bex_stack.embedded import netlink
from tests.support import build_steps, git_server

HOST = "git.example.com"
PUBLIC, CLOSED, INNER = "1.2.3.4", "1.2.3.5", "10.1.2.3"
"""Where the repository is, where nothing listens, and what nobody outside may reach."""
NAME_SERVER = "127.0.0.53"
ANSWERS = {
    "steady": [[PUBLIC]],
    "rebound": [[PUBLIC], [INNER]],
    "inner": [[INNER]],
    "mixed": [[CLOSED, INNER]],
}
"""What each lookup is told in turn; the last goes on."""
_A, _HEADER = 1, struct.Struct(">6H")


@dataclass
class NameServer:
    """Answers questions for addresses of version 4 of any name, and tells of none else."""

    answers: list[list[str]] = field(default_factory=lambda: [[]])
    told: list[list[str]] = field(default_factory=list)

    def serve(self, opened: socket.socket) -> None:
        """Go on as long as the process lives."""
        while True:
            question, client = opened.recvfrom(4096)
            opened.sendto(self._answer(question), client)

    def _answer(self, asked: bytes) -> bytes:
        end = asked.index(b"\0", _HEADER.size) + 1
        number = _HEADER.unpack_from(asked)[0]
        question, kind = asked[_HEADER.size : end + 4], struct.unpack_from(">H", asked, end)[0]
        found = self._next() if kind == _A else []
        # A response, authoritative, to be forgotten at once; names point back to the question.
        records = b"".join(
            struct.pack(">HHHIH", 0xC00C, _A, 1, 0, 4) + socket.inet_aton(each) for each in found
        )
        return _HEADER.pack(number, 0x8580, 1, len(found), 0, 0) + question + records

    def _next(self) -> list[str]:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.told.append(found)
        return found


def main(folder: Path, program: Path) -> None:
    """Build, try, print."""
    with netlink.Netlink() as links:
        loopback = socket.if_nametoindex("lo")
        links.raise_link(loopback)
        for address in (PUBLIC, CLOSED, INNER):
            links.ensure_address(loopback, f"{address}/32")
    names = _name_server(folder)
    knocks = _listen_inside()
    found = {}
    with git_server.serve(folder, PUBLIC, 443, host=HOST) as server:
        commit = server.commit("web", {"a": "one"})
        for case, answers in ANSWERS.items():
            names.answers, names.told = [list(each) for each in answers], []
            target = folder / case
            target.mkdir()
            step = build_steps.clone(
                program, target, server, server.url_of("web"), commit, inner="192.0.2.1/32"
            )
            told = {"code": step.code, "message": step.told.get("message", "")}
            told["asked"] = names.told
            names.answers = [list(each) for each in answers]
            found[case] = {**told, "operator": asyncio.run(_asked(server)), "knocks": len(knocks)}
    sys.stdout.write(json.dumps(found))


def _name_server(folder: Path) -> NameServer:
    """Let this namespace look names up at a server of the test's."""
    settings = folder / "resolv.conf"
    settings.write_text(f"nameserver {NAME_SERVER}\n")
    target = Path("/etc/resolv.conf").resolve()
    subprocess.run(["mount", "--bind", settings, target], check=True)
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((NAME_SERVER, 53))
    made = NameServer()
    threading.Thread(target=made.serve, args=(opened,), daemon=True).start()
    return made


def _listen_inside() -> Sequence[Any]:
    """Note whoever connects to the inner address."""
    server = socket.create_server((INNER, 443))
    found: list[Any] = []

    def accept() -> None:
        while True:
            found.append(server.accept())

    threading.Thread(target=accept, daemon=True).start()
    return found


async def _asked(server: git_server.GitServer) -> list[str]:
    """Ask for the refs as an operator does, twice."""
    found = []
    for _ in range(2):
        async with remotes.Remotes(authority=server.authority.read_text()) as asking:
            try:
                found.append(" ".join(await asking.refs(server.url_of("web"), ["main"])))
            except errors.GitError as refused:
                found.append(str(refused))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
