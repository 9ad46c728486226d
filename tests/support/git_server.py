"""A real git server for tests: repositories in a folder, `git http-backend` behind https."""

import base64
import contextlib
import http.server
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HOLD_SECONDS = 300.0
_AUTHOR = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
}


@dataclass(slots=True)
class GitServer:
    """Where repositories are served from."""

    folder: Path
    url: str
    authority: Path
    """Certificate to trust."""
    tokens: dict[str, str] = field(default_factory=dict)
    """What clients of a repository have to send as their password."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Where clients of a repository are sent instead."""
    held: dict[str, threading.Event] = field(default_factory=dict)
    """Clones of a repository wait for it; questions about its refs do not."""
    requests: list[str] = field(default_factory=list)
    """Method and path of everything asked."""

    def url_of(self, name: str) -> str:
        """Return the address of a repository."""
        return f"{self.url}/{name}.git"

    def commit(
        self, name: str, files: dict[str, str], *, branch: str = "main", subject: str = "Change"
    ) -> str:
        """Commit *files* (all there are) to a repository, made if need be; return the commit."""
        bare, work = self.folder / f"{name}.git", self.folder / f".{name}"
        if not bare.exists():
            git("init", "--quiet", "--bare", f"--initial-branch={branch}", str(bare))
            git("clone", "--quiet", str(bare), str(work))
        git("checkout", "--quiet", "-B", branch, cwd=work)
        git("rm", "-rf", "--quiet", "--ignore-unmatch", ".", cwd=work)
        for path, text in files.items():
            target = work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        git("add", "--all", cwd=work)
        git("commit", "--quiet", "--allow-empty", "-m", subject, cwd=work)
        git("push", "--quiet", "--force", "origin", branch, cwd=work)
        return git("rev-parse", "HEAD", cwd=work)


def git(*arguments: str, cwd: Path | None = None, input_text: str | None = None) -> str:
    """Run git as nobody in particular; return what it printed."""
    return subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env=_AUTHOR,
        input=input_text,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.strip()


@contextlib.contextmanager
def serve(
    folder: Path, address: str = "127.0.0.1", port: int = 0, *, host: str = ""
) -> Iterator[GitServer]:
    """Serve the repositories in *folder* over https under a certificate of their own, which is for
    *host* or for the address."""
    certificate, key = folder / "server.crt", folder / "server.key"
    _certify(certificate, key, f"DNS:{host}" if host else f"IP:{address}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer((address, port), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"https://{host or address}:{server.server_address[1]}"
    made = GitServer(folder, url, certificate)
    server.made = made  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _certify(certificate: Path, key: Path, subject: str) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *(
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=git",
                "-addext",
                f"subjectAltName={subject}",
            ),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        capture_output=True,
        timeout=30,
        check=True,
    )


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        made: GitServer = self.server.made  # type: ignore[attr-defined]
        path, _, query = self.path.partition("?")
        made.requests.append(f"{self.command} {path}")
        name = path.lstrip("/").partition(".git")[0]
        if name in made.elsewhere:
            self.send_response(302)
            self.send_header("Location", made.elsewhere[name])
            self.end_headers()
            return
        # Clones speak the first version of the protocol, questions the second.
        if name in made.held and "Git-Protocol" not in self.headers:
            made.held[name].wait(HOLD_SECONDS)
        token = made.tokens.get(name, "")
        if token and token not in self._password():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        environment = {
            **_AUTHOR,
            "GIT_PROJECT_ROOT": str(made.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": self.headers.get("Content-Length", "0"),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        body = self.rfile.read(int(environment["CONTENT_LENGTH"]))
        done = subprocess.run(
            ["git", "http-backend"],
            env=environment,
            input=body,
            capture_output=True,
            timeout=60,
            check=True,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _password(self) -> str:
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        return base64.b64decode(given).decode() if given else ""

    def log_message(self, *_: object) -> None:
        """Say nothing."""
