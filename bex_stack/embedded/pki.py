"""Keys and certificates of an instance: authorities, leaves, service-account keys, kubeconfigs.

Everything is made once and kept; what is missing, does not fit its request any more or ends within
30 days is made again. Knows files and X.509, not what the certificates are for.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bex_stack.embedded import disk

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
RENEW_DAYS = 30
"""A certificate that ends within this many days is renewed by the next up."""

_CLOCK_SKEW = datetime.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: the folder-less stem of its `.crt` and `.key`."""

    stem: Path

    @property
    def certificate(self) -> Path:
        """PEM certificate, what clients trust."""
        return self.stem.with_name(self.stem.name + ".crt")

    @property
    def key(self) -> Path:
        """PEM private key, read only to sign."""
        return self.stem.with_name(self.stem.name + ".key")


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a certificate says: who it names, and where it serves (nowhere: a client only)."""

    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def is_server(self) -> bool:
        """A leaf with names or addresses may serve under them."""
        return bool(self.dns_names or self.addresses)


@dataclass(frozen=True, slots=True)
class Pair:
    """Files of one certificate and its private key."""

    certificate: Path
    key: Path


def ensure_authority(stem: Path, common_name: str, *, now: datetime.datetime) -> Authority:
    """Make the authority at *stem* unless a sound one lies there."""
    authority = Authority(stem)
    if _load_authority(authority, now) is None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = (
            _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        # The key goes first: a certificate without its key would look whole.
        disk.ensure_file(authority.key, _private_pem(key))
        disk.ensure_file(authority.certificate, _pem(certificate))
    return authority


def ensure_pair(
    authority: Authority, stem: Path, leaf: Leaf, *, now: datetime.datetime
) -> tuple[Pair, bool]:
    """Make key and certificate for *leaf* at *stem* unless sound ones lie there; tell if made."""
    pair = Pair(stem.with_name(stem.name + ".crt"), stem.with_name(stem.name + ".key"))
    loaded = _load_authority(authority, now)
    if loaded is None:
        raise FileNotFoundError(f"no sound certificate authority at {authority.certificate}")
    issuer, issuer_key = loaded
    if _is_sound(pair, leaf, issuer, now):
        return pair, False
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_subject(leaf), issuer.subject, key.public_key(), now, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_purposes(leaf)), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    )
    if leaf.is_server:
        builder = builder.add_extension(_alternative_names(leaf), critical=False)
    disk.ensure_file(pair.key, _private_pem(key))
    disk.ensure_file(pair.certificate, _pem(builder.sign(issuer_key, hashes.SHA256())))
    return pair, True


def ending(folder: Path, *, now: datetime.datetime) -> list[Path]:
    """Certificates in *folder* that are broken or end within 30 days."""
    return [path for path in sorted(folder.glob("*.crt")) if not is_lasting(path, now=now)]


def is_lasting(path: Path, *, now: datetime.datetime) -> bool:
    """Whether *path* holds a certificate that does not end within 30 days."""
    certificate = _load_certificate(path)
    soon = now + datetime.timedelta(days=RENEW_DAYS)
    return certificate is not None and certificate.not_valid_after_utc >= soon


def ensure_signing_key(stem: Path) -> Pair:
    """Make the key pair that signs service-account tokens; `.certificate` is the public key."""
    pair = Pair(stem.with_name(stem.name + ".pub"), stem.with_name(stem.name + ".key"))
    key = _load_key(pair.key)
    if key is None:
        key = ec.generate_private_key(ec.SECP256R1())
        disk.ensure_file(pair.key, _private_pem(key))
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    disk.ensure_file(pair.certificate, public)
    return pair


def render_kubeconfig(
    *, server: str, user: str, authority: bytes, pair: tuple[bytes, bytes]
) -> str:
    """A kubeconfig (v1 Config) that stands alone; *pair* is certificate and key in PEM."""
    certificate, key = (base64.b64encode(part).decode() for part in pair)
    cluster = {
        "server": server,
        "certificate-authority-data": base64.b64encode(authority).decode(),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bex", "cluster": cluster}],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": certificate, "client-key-data": key},
            }
        ],
        "contexts": [{"name": "bex", "context": {"cluster": "bex", "user": user}}],
        "current-context": "bex",
    }
    return yaml.safe_dump(config, sort_keys=False)


def ensure_kubeconfig(
    path: Path, authority: Authority, leaf: Leaf, *, server: str, now: datetime.datetime
) -> Path:
    """Let *path* be the kubeconfig of the user *leaf* names; key and certificate lie beside it."""
    pair, _ = ensure_pair(authority, user_pair(path).key.with_suffix(""), leaf, now=now)
    text = render_kubeconfig(
        server=server,
        user=leaf.common_name,
        authority=authority.certificate.read_bytes(),
        pair=(pair.certificate.read_bytes(), pair.key.read_bytes()),
    )
    disk.ensure_file(path, text)
    return path


def user_pair(kubeconfig: Path) -> Pair:
    """Where key and certificate of the user of *kubeconfig* lie."""
    stem = kubeconfig.with_name(f".{kubeconfig.name}")
    return Pair(stem.with_name(f"{stem.name}.crt"), stem.with_name(f"{stem.name}.key"))


def _load_authority(
    authority: Authority, now: datetime.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    certificate, key = _load_certificate(authority.certificate), _load_key(authority.key)
    if certificate is None or key is None or certificate.public_key() != key.public_key():
        return None
    # Leaves are signed for a year, so the authority is renewed before one could outlive it.
    if certificate.not_valid_after_utc - now < datetime.timedelta(days=LEAF_DAYS + RENEW_DAYS):
        return None
    return certificate, key


def _is_sound(pair: Pair, leaf: Leaf, issuer: x509.Certificate, now: datetime.datetime) -> bool:
    certificate, key = _load_certificate(pair.certificate), _load_key(pair.key)
    if certificate is None or key is None or certificate.public_key() != key.public_key():
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    remaining = certificate.not_valid_after_utc - now
    if remaining < datetime.timedelta(days=RENEW_DAYS) or certificate.subject != _subject(leaf):
        return False
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return not leaf.is_server
    return leaf.is_server and extension.value == _alternative_names(leaf)


def _load_certificate(path: Path) -> x509.Certificate | None:
    data = disk.read(path)
    try:
        return x509.load_pem_x509_certificate(data) if data else None
    except ValueError:
        return None


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    data = disk.read(path)
    try:
        key = serialization.load_pem_private_key(data, password=None) if data else None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _subject(leaf: Leaf) -> x509.Name:
    organizations = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in leaf.organizations
    ]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, leaf.common_name)])


def _alternative_names(leaf: Leaf) -> x509.SubjectAlternativeName:
    names = [x509.DNSName(name) for name in leaf.dns_names]
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in leaf.addresses]
    return x509.SubjectAlternativeName([*names, *addresses])


def _purposes(leaf: Leaf) -> list[x509.ObjectIdentifier]:
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    return [ExtendedKeyUsageOID.SERVER_AUTH, *purposes] if leaf.is_server else purposes


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
