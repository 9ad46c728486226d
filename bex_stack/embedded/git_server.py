"""Serves the repositories of a folder over https, to be read only: `git http-backend` behind a door
that lets two requests through. Kept by the supervisor; knows nothing of the rest.

Source: git's smart http protocol (gitprotocol-http), git-http-backend(1), RFC 3875.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, cast

MAX_REQUEST = 1 << 20
"""What a client has and wants; longer lists are nobody's."""
MAX_AT_ONCE = 16
SECONDS = 120
GOODBYE_SECONDS = 2
_REPOSITORY = r"/([a-z0-9][a-z0-9._-]{0,99}\.git)"
_ASK = re.compile(rf"{_REPOSITORY}/info/refs\?service=git-upload-pack")
_FETCH = re.compile(rf"{_REPOSITORY}/git-upload-pack")
_HEADERS = frozenset({"content-type", "cache-control", "expires", "pragma"})


class Server(http.server.ThreadingHTTPServer):
    """Answers on *address*; each connection speaks TLS in a thread of its own."""

    daemon_threads = True
    address_family = socket.AF_INET

    def __init__(self, address: tuple[str, int], folder: Path, tls: ssl.SSLContext) -> None:
        super().__init__(address, Handler)
        self.folder = folder
        self._tls = tls
        self._room = threading.BoundedSemaphore(MAX_AT_ONCE)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Take a connection; its handshake waits for the thread, so that nobody else does."""
        connection, address = super().get_request()
        connection.settimeout(SECONDS)
        return self._tls.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        ), address

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Answer if there is room; otherwise the client tries again later."""
        if not self._room.acquire(timeout=SECONDS):
            self.shutdown_request(request)
            return
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._room.release()

    def shutdown_request(self, request: object) -> None:
        """Say goodbye as TLS wants it: an answer without a length would count as cut off."""
        connection = cast(ssl.SSLSocket, request)
        with contextlib.suppress(OSError):
            connection.settimeout(GOODBYE_SECONDS)
            connection.unwrap()
        super().shutdown_request(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say in one line what broke off; clients come and go."""
        print(f"git: {client_address}: {sys.exc_info()[1]!r}", file=sys.stderr, flush=True)  # noqa: T201


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.0"
    server_version, sys_version = "bex", ""

    def do_GET(self) -> None:
        """Tell the refs of a repository."""
        if self.path == "/healthz":
            self._say(200, "ok")
        elif found := _ASK.fullmatch(self.path):
            self._run(found[1], "/info/refs", b"")
        else:
            self._say(404, "no such repository")

    def do_POST(self) -> None:
        """Send what a client lacks."""
        found = _FETCH.fullmatch(self.path)
        length = self.headers.get("Content-Length", "")
        if not found:
            self._say(404, "no such repository")
        elif not length.isdecimal() or int(length) > MAX_REQUEST:
            self.rfile.read(MAX_REQUEST + 1)  # who still sends does not listen
            self._say(413, f"at most {MAX_REQUEST} bytes, and their number")
        else:
            self._run(found[1], "/git-upload-pack", self.rfile.read(int(length)))

    def _run(self, repository: str, what: str, body: bytes) -> None:
        folder = cast(Server, self.server).folder
        if not (folder / repository).is_dir():
            self._say(404, "no such repository")
            return
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_SYSTEM": "/dev/null",
            "GIT_PROJECT_ROOT": str(folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": f"/{repository}{what}",
            "QUERY_STRING": "service=git-upload-pack" if self.command == "GET" else "",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        with subprocess.Popen(
            ["git", *_SETTINGS, "http-backend"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as running:
            watch = threading.Timer(SECONDS, running.kill)
            watch.start()
            try:
                self._pass_on(running, body)
            finally:
                watch.cancel()
                running.kill()

    def _pass_on(self, running: subprocess.Popen[bytes], body: bytes) -> None:
        given, told = cast(IO[bytes], running.stdin), cast(IO[bytes], running.stdout)
        given.write(body)
        given.close()
        headers = {}
        while line := told.readline().strip():
            name, _, value = line.decode("latin-1").partition(": ")
            headers[name.lower()] = value
        self.send_response(int(headers.get("status", "200").split()[0]))
        for name in _HEADERS & headers.keys():
            self.send_header(name, headers[name])
        self.end_headers()
        shutil.copyfileobj(told, self.wfile)

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(f"{text}\n".encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing about what went well."""


_SETTINGS = (
    # Read whatever lies there, whoever pushed it; write nothing.
    *("-c", "safe.directory=*"),
    *("-c", "http.receivepack=false"),
    # Builds ask for one commit, which a branch may have left since.
    *("-c", "uploadpack.allowReachableSHA1InWant=true"),
)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    given = parser.parse_args()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.load_cert_chain(given.certificate, given.key)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server((given.address, given.port), given.folder, tls) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
