"""A real etcd and kube-apiserver on loopback for tests, started in a few seconds.

`api_server` is both processes; `controllers` adds the controller-manager's garbage collector and
namespace controller, without which foreground deletes and namespaces never finish. A server that
watches users grants them what RBAC says, and writes down what they ask.
"""

import base64
import contextlib
import datetime
import ipaddress
import json
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support import evidence, places

START_TIMEOUT_SECONDS = 120.0
_ANYTHING_GOES = "--authorization-mode=AlwaysAllow"


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where the server listens and how an administrator reaches it."""

    url: str
    kubeconfig: Path
    directory: Path

    def kubeconfig_of(self, user: str) -> Path:
        """How a watched user reaches it, who is nobody without a role."""
        return self.directory / f"{user}.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """What the watched users asked, an audit Event a line."""
        return self.directory / "audit.log"


@dataclass(frozen=True, slots=True)
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )


def _issue(name: x509.Name, issuer: _Pair | None, usage: x509.ObjectIdentifier | None) -> _Pair:
    """Make a day-long certificate; without an issuer it is a self-signed authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return _Pair(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _name(common: str, *organizations: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run until the block ends; the kernel kills it too should the test run be killed."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command], stdout=output, stderr=output
        )
        try:
            yield process
        finally:
            # Nothing is worth keeping, and the API server waits a minute for those who watch it.
            process.kill()
            process.wait()


def _wait_ready(url: str, directory: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    # AlwaysAllow turns anonymous requests off.
    context.load_cert_chain(directory / "admin.pem")
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{url}/readyz", context=context, timeout=10) as answer,  # noqa: S310 - our own https URL
        ):
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{url}/readyz did not answer 200; {log} ends:\n{log.read_text()[-2000:]}")


def _kubeconfig(url: str, authority: _Pair, user: _Pair) -> str:
    def text(value: bytes) -> str:
        return base64.b64encode(value).decode()

    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {
                        "server": url,
                        "certificate-authority-data": text(authority.certificate_pem()),
                    },
                }
            ],
            "users": [
                {
                    "name": "admin",
                    "user": {
                        "client-certificate-data": text(user.certificate_pem()),
                        "client-key-data": text(user.key_pem()),
                    },
                }
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
    )


def _api_server_command(binary: Path, directory: Path, port: int, etcd_port: int) -> list[str]:
    return [
        str(binary),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--tls-cert-file={directory}/server.crt",
        f"--tls-private-key-file={directory}/server.key",
        f"--client-ca-file={directory}/ca.crt",
        f"--service-account-key-file={directory}/accounts.key",
        f"--service-account-signing-key-file={directory}/accounts.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--disable-admission-plugins=ServiceAccount",
        "--allow-privileged",
    ]


def _watching_arguments(server: ApiServer, users: Sequence[str]) -> list[str]:
    policy = server.directory / "audit-policy.json"
    rules = [{"level": "Metadata", "users": [*users], "omitStages": ["RequestReceived"]}]
    made = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [*rules, {"level": "None"}]}
    policy.write_text(json.dumps(made))
    return [
        "--authorization-mode=RBAC",
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={server.audit_log}",
        "--audit-log-mode=blocking",
    ]


def _write_certificates(server: ApiServer, watched: Sequence[str]) -> None:
    directory, url = server.directory, server.url
    authority = _issue(_name("test authority"), None, None)
    serving = _issue(_name("kube-apiserver"), authority, ExtendedKeyUsageOID.SERVER_AUTH)
    admin = _issue(_name("admin", "system:masters"), authority, ExtendedKeyUsageOID.CLIENT_AUTH)
    accounts = _issue(_name("accounts"), authority, None)
    (directory / "ca.crt").write_bytes(authority.certificate_pem())
    (directory / "server.crt").write_bytes(serving.certificate_pem())
    (directory / "server.key").write_bytes(serving.key_pem())
    (directory / "admin.pem").write_bytes(admin.certificate_pem() + admin.key_pem())
    (directory / "accounts.key").write_bytes(accounts.key_pem())
    server.kubeconfig.write_text(_kubeconfig(url, authority, admin))
    for name in watched:
        user = _issue(_name(name), authority, ExtendedKeyUsageOID.CLIENT_AUTH)
        server.kubeconfig_of(name).write_text(_kubeconfig(url, authority, user))


@contextlib.contextmanager
def run_api_server(*watched: str) -> Iterator[ApiServer]:
    """Start both processes in a folder of their own and remove everything afterwards.

    Whoever has a certificate may do everything, but with users *watched* only administrators.
    """
    from bex_stack.embedded import toolchain  # only for tests that need the binaries

    binaries = toolchain.ensure(["etcd", "kube-apiserver"])
    directory = evidence.keep(Path(tempfile.mkdtemp(prefix="bex-api-server-")))
    try:
        client_port, peer_port, port = places.free_ports(3)
        made = ApiServer(f"https://127.0.0.1:{port}", directory / "kubeconfig", directory)
        _write_certificates(made, watched)
        etcd = [
            str(binaries.path("etcd")),
            f"--data-dir={directory}/etcd",
            f"--listen-client-urls=http://127.0.0.1:{client_port}",
            f"--advertise-client-urls=http://127.0.0.1:{client_port}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}",
            f"--initial-cluster=default=http://127.0.0.1:{peer_port}",
            "--unsafe-no-fsync",
        ]
        server = _api_server_command(binaries.path("kube-apiserver"), directory, port, client_port)
        server += _watching_arguments(made, watched) if watched else [_ANYTHING_GOES]
        log = directory / "kube-apiserver.log"
        with _process(etcd, directory / "etcd.log"), _process(server, log) as process:
            _wait_ready(made.url, directory, process, log)
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """Serve a real Kubernetes API for the whole test session."""
    with run_api_server() as server:
        yield server


@pytest.fixture(scope="module")
def controllers(api_server: ApiServer) -> Iterator[ApiServer]:
    """Run the controllers that finish deletes beside the API server, for one module.

    Others play these controllers themselves: two that finish one delete would disturb each other.
    """
    from bex_stack.embedded import toolchain

    (port,) = places.free_ports(1)
    command = [
        str(toolchain.ensure(["kube-controller-manager"]).path("kube-controller-manager")),
        f"--kubeconfig={api_server.kubeconfig}",
        f"--authentication-kubeconfig={api_server.kubeconfig}",
        f"--authorization-kubeconfig={api_server.kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={api_server.directory}",
        "--leader-elect=false",
        "--controllers=namespace-controller,garbage-collector-controller",
        "--concurrent-namespace-syncs=4",
    ]
    with _process(command, api_server.directory / "kube-controller-manager.log"):
        yield api_server
