"""Reads a kubeconfig: where the API server is and who we are. Data inline or in files beside it."""

import base64
import binascii
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bex_operator.kube import errors


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one API server as one user; key and token never show in its repr."""

    server: str
    """Base URL without a trailing slash."""
    authority: bytes | None = None
    """PEM of the trusted authorities; None trusts the system's."""
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    """Read before every request: such tokens are rotated in place."""
    tls_server_name: str | None = None
    skip_verify: bool = False
    namespace: str = "default"
    """The context's namespace."""

    def tls(self) -> ssl.SSLContext | None:
        """Make the TLS context; None for a plain http server."""
        if not self.server.startswith("https://"):
            return None
        try:
            return self._context()
        except (ssl.SSLError, ValueError) as exc:
            raise errors.BadKubeconfig(f"certificates for {self.server}: {exc}") from exc

    def bearer(self) -> str | None:
        """Return the token to send, if the user has one."""
        if self.token_file is None:
            return self.token
        try:
            return self.token_file.read_text().strip()
        except OSError as exc:
            raise errors.BadKubeconfig(f"tokenFile {self.token_file}: {exc.strerror}") from exc

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(
            cadata=self.authority.decode() if self.authority else None
        )
        if self.skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            # OpenSSL reads a key only from a file: one that nobody else can open, gone at once.
            with _private_file(self.certificate + b"\n" + self.key) as pair:
                context.load_cert_chain(pair)
        return context


def load(path: Path, context: str | None = None) -> Access:
    """Read the kubeconfig at *path*; *context* defaults to its `current-context`.

    Raises:
        errors.BadKubeconfig: naming the file and what is wrong; values are never quoted.
    """
    try:
        content = _parsed(path.read_bytes())
    except OSError as exc:
        raise errors.BadKubeconfig(f"kubeconfig {path}: {exc.strerror}") from exc
    except ValueError as exc:
        # The parser's message quotes the text around the mistake, which may be a key.
        raise errors.BadKubeconfig(f"kubeconfig {path}: not YAML") from exc
    if not isinstance(content, Mapping):
        raise errors.BadKubeconfig(f"kubeconfig {path}: not a mapping")
    return _Reader(path, content).access(context)


def in_cluster(
    folder: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount"),
    environ: Mapping[str, str] = os.environ,
) -> Access:
    """Return what a pod's service account gives."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    authority = folder / "ca.crt"
    if not host or not port or not authority.is_file():
        raise errors.BadKubeconfig("not inside a cluster: no service account here; name a file")
    return Access(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        authority=authority.read_bytes(),
        token_file=folder / "token",
        namespace=(folder / "namespace").read_text().strip(),
    )


def _parsed(text: bytes) -> Any:
    """Parse YAML.

    Raises:
        ValueError: it is none.
    """
    try:
        # Most are JSON, which is YAML too and is read at once; for the rest a parser is imported.
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        import yaml
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ValueError("not YAML") from exc


@dataclass(frozen=True, slots=True)
class _Reader:
    """One kubeconfig file, with its path for messages and relative file names."""

    path: Path
    content: Mapping[str, Any]

    def access(self, context: str | None) -> Access:
        wanted = context or self.content.get("current-context")
        if not wanted:
            raise self._bad("no current-context")
        chosen = self._named("contexts", "context", str(wanted))
        cluster = self._named("clusters", "cluster", str(chosen.get("cluster", "")))
        user = self._named("users", "user", str(chosen["user"])) if chosen.get("user") else {}
        for plugin in ("exec", "auth-provider"):
            if user.get(plugin):
                raise self._bad(f"user uses {plugin}, which is not supported: use a certificate")
        if not cluster.get("server"):
            raise self._bad("cluster has no server")
        certificate = self._pem(user, "client-certificate")
        key = self._pem(user, "client-key")
        if (certificate is None) != (key is None):
            raise self._bad("client-certificate and client-key go together")
        return Access(
            server=str(cluster["server"]).rstrip("/"),
            authority=self._pem(cluster, "certificate-authority"),
            certificate=certificate,
            key=key,
            token=user.get("token"),
            token_file=self._beside(user["tokenFile"]) if user.get("tokenFile") else None,
            tls_server_name=cluster.get("tls-server-name"),
            skip_verify=cluster.get("insecure-skip-tls-verify") is True,
            namespace=str(chosen.get("namespace") or "default"),
        )

    def _named(self, section: str, key: str, name: str) -> Mapping[str, Any]:
        for entry in self.content.get(section) or []:
            if entry.get("name") == name:
                return entry.get(key) or {}
        raise self._bad(f"no entry {name!r} in {section}")

    def _pem(self, holder: Mapping[str, Any], name: str) -> bytes | None:
        if data := holder.get(f"{name}-data"):
            try:
                return base64.b64decode(data, validate=True)
            except (binascii.Error, ValueError):
                raise self._bad(f"{name}-data is not base64") from None
        if not holder.get(name):
            return None
        file = self._beside(holder[name])
        try:
            return file.read_bytes()
        except OSError as exc:
            raise self._bad(f"{name} {file}: {exc.strerror}") from exc

    def _beside(self, name: str) -> Path:
        return self.path.parent / name

    def _bad(self, what: str) -> errors.BadKubeconfig:
        return errors.BadKubeconfig(f"kubeconfig {self.path}: {what}")


@contextlib.contextmanager
def _private_file(content: bytes) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(prefix="bex-", suffix=".pem") as file:  # made with 0600
        file.write(content)
        file.flush()
        yield file.name
