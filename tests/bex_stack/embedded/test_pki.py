"""Keys and certificates are made once, renewed in time, and hold up under real TLS."""

import asyncio
import datetime
import ssl
from pathlib import Path

import yaml
from cryptography import x509

from bex_stack.embedded import identities, pki
from bex_stack.embedded import instance as instances

NOW = datetime.datetime.now(datetime.UTC)
SERVER = pki.Leaf("web", dns_names=("localhost",), addresses=("127.0.0.1",))


def make_authority(folder: Path) -> pki.Authority:
    """Make an authority in *folder*."""
    return pki.ensure_authority(folder / "ca", "test", now=NOW)


def test_a_sound_pair_is_kept(tmp_path: Path) -> None:
    """The second call makes nothing."""
    authority = make_authority(tmp_path)
    made = [pki.ensure_pair(authority, tmp_path / "web", SERVER, now=NOW)[1] for _ in range(2)]

    assert made == [True, False]


def test_a_pair_is_made_again_when_it_says_something_else(tmp_path: Path) -> None:
    """Another address means another certificate."""
    authority = make_authority(tmp_path)
    pki.ensure_pair(authority, tmp_path / "web", SERVER, now=NOW)
    other = pki.Leaf("web", dns_names=("localhost",), addresses=("127.0.0.2",))

    assert pki.ensure_pair(authority, tmp_path / "web", other, now=NOW)[1]


def test_a_pair_is_renewed_a_month_before_its_end(tmp_path: Path) -> None:
    """A certificate lives a year and is replaced within its last 30 days."""
    authority = make_authority(tmp_path)
    pki.ensure_pair(authority, tmp_path / "web", SERVER, now=NOW)
    renewed = [
        pki.ensure_pair(authority, tmp_path / "web", SERVER, now=NOW + datetime.timedelta(days=d))[
            1
        ]
        for d in (330, 340)
    ]

    assert renewed == [False, True]


def test_a_new_authority_disowns_old_pairs(tmp_path: Path) -> None:
    """A lost authority's key makes a new one, and it signs everything again."""
    authority = make_authority(tmp_path)
    pki.ensure_pair(authority, tmp_path / "web", SERVER, now=NOW)
    authority.key.unlink()
    make_authority(tmp_path)

    assert pki.ensure_pair(authority, tmp_path / "web", SERVER, now=NOW)[1]


def test_a_truncated_certificate_is_made_again(tmp_path: Path) -> None:
    """A broken file is no certificate."""
    authority = make_authority(tmp_path)
    pair, _ = pki.ensure_pair(authority, tmp_path / "web", SERVER, now=NOW)
    pair.certificate.write_text("-----BEGIN CERT")

    assert pki.ensure_pair(authority, tmp_path / "web", SERVER, now=NOW)[1]


async def test_certificates_hold_up_under_mutual_tls(tmp_path: Path) -> None:
    """A server and a client of one authority trust each other, by every rule OpenSSL has."""
    authority = make_authority(tmp_path)
    web, _ = pki.ensure_pair(authority, tmp_path / "web", SERVER, now=NOW)
    user, _ = pki.ensure_pair(authority, tmp_path / "u", pki.Leaf("me", ("staff",)), now=NOW)
    seen: list[object] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peercert")["subject"])
        writer.close()

    serving = _context(ssl.PROTOCOL_TLS_SERVER, authority, web)
    asking = _context(ssl.PROTOCOL_TLS_CLIENT, authority, user)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=serving)
    port = server.sockets[0].getsockname()[1]
    async with server:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=asking)
        await reader.read()
        writer.close()

    assert seen == [((("organizationName", "staff"),), (("commonName", "me"),))]


def test_a_kubeconfig_stands_alone_and_is_private(tmp_path: Path) -> None:
    """It holds authority, certificate and key, and only its owner reads it."""
    authority = make_authority(tmp_path)
    path = tmp_path / "kubeconfig"
    pki.ensure_kubeconfig(path, authority, pki.Leaf("me"), server="https://h:1", now=NOW)
    config = yaml.safe_load(path.read_text())

    assert config["clusters"][0]["cluster"]["server"] == "https://h:1"
    assert {"client-certificate-data", "client-key-data"} == set(config["users"][0]["user"])
    assert path.stat().st_mode & 0o777 == 0o600


def test_nodes_are_named_as_the_node_authorizer_wants(tmp_path: Path) -> None:
    """A machine's kubelet is system:node:NAME in group system:nodes, and so is its server."""
    instance = instances.Instance(home=tmp_path)
    identities.ensure_control_plane(instance)
    folder = identities.ensure_machine(instance, "worker-1", 1)
    certificate = x509.load_pem_x509_certificate((folder / "kubelet.crt").read_bytes())

    assert certificate.subject.rfc4514_string() == "CN=system:node:worker-1,O=system:nodes"
    assert identities.is_current(folder, instance.pki_dir)


def _context(protocol: int, authority: pki.Authority, pair: pki.Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.load_verify_locations(authority.certificate)
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context
