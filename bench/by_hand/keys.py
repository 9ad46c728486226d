"""Certificates and kubeconfigs, all signed by two authorities made on the spot."""

from __future__ import annotations

import datetime
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench.by_hand import layout

Builder = x509.CertificateBuilder


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority and where its files lie."""

    stem: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def make_authority(stem: Path) -> Authority:
    """Make an authority; its certificate is `STEM.crt`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, stem.name)])
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    builder = _builder(name, name, key).add_extension(constraints, critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    _write(stem, key, certificate)
    return Authority(stem, key, certificate)


def load_authority(stem: Path) -> Authority:
    """Read an authority that was made before."""
    key = serialization.load_pem_private_key(stem.with_suffix(".key").read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{stem}.key is of another kind")
    crt = x509.load_pem_x509_certificate(stem.with_suffix(".crt").read_bytes())
    return Authority(stem, key, crt)


def make_pair(
    authority: Authority, stem: Path, user: str, group: str = "", names: tuple[str, ...] = ()
) -> None:
    """Make `STEM.crt` and `STEM.key` for *user*, serving under *names* (hosts and addresses)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    if group:
        subject.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    usage = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = _builder(x509.Name(subject), authority.certificate.subject, key)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    if names:
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    _write(stem, key, builder.sign(authority.key, hashes.SHA256()))


def make_kubeconfig(authority: Authority, file: Path, user: str, group: str = "") -> None:
    """Make a certificate for *user* and a kubeconfig that names its files."""
    stem = file.with_suffix("")
    make_pair(authority, stem, user, group)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "hand",
                "cluster": {
                    "server": layout.API,
                    "certificate-authority": f"{authority.stem}.crt",
                },
            }
        ],
        "users": [
            {
                "name": "me",
                "user": {"client-certificate": f"{stem}.crt", "client-key": f"{stem}.key"},
            }
        ],
        "contexts": [{"name": "hand", "context": {"cluster": "hand", "user": "me"}}],
        "current-context": "hand",
    }
    file.write_text(json.dumps(config))


def make_signing_key(stem: Path) -> None:
    """Make the pair that signs the tokens of service accounts."""
    key = ec.generate_private_key(ec.SECP256R1())
    _write_key(stem.with_suffix(".key"), key)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    stem.with_suffix(".pub").write_bytes(public)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> Builder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        Builder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=365))
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(stem: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    _write_key(stem.with_name(f"{stem.name}.key"), key)
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    stem.with_name(f"{stem.name}.crt").write_bytes(pem)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
