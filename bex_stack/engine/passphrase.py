"""Secrets at rest, exactly as Pulumi's passphrase provider keeps them.

AES-256-GCM under a key from PBKDF2-SHA256 (1,000,000 rounds, 8-byte salt). Values read
`v1:b64(nonce):b64(ciphertext)`; a stack's salt state reads `v1:b64(salt):` and the encrypted word
"pulumi" to recognise a wrong passphrase. Source: pulumi sdk/go/common/resource/config/crypt.go.
"""

import base64
import binascii
import functools
import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bex_stack.engine import errors

ROUNDS = 1_000_000
KEY_BYTES = 32
SALT_BYTES = 8
NONCE_BYTES = 12
PROBE = "pulumi"
FILE = "passphrase"
"""The backend's own passphrase file."""


@dataclass(frozen=True, slots=True)
class Crypter:
    """Encrypts and decrypts one stack's secrets."""

    state: str
    """The salt state to record beside the ciphertexts."""
    _key: bytes = field(repr=False)

    def encrypt(self, text: str) -> str:
        """Encrypt under a fresh nonce."""
        return _encrypt(self._key, text)

    def decrypt(self, text: str) -> str:
        """Decrypt.

        Raises: SecretsError when the value is damaged or was made with another key.
        """
        return _decrypt(self._key, text)


def find(backend: Path, environment: Mapping[str, str], *, make: bool) -> str:
    """Return the passphrase: from the environment, a file it names, or the backend's own file.

    Where there is none yet, *make* writes the backend's file with a random one (mode 0600);
    otherwise it is empty. A new one opens nothing that is there already, so it would only hide
    that the old one was lost.
    """
    if "PULUMI_CONFIG_PASSPHRASE" in environment:
        return environment["PULUMI_CONFIG_PASSPHRASE"]
    named = environment.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    path = Path(named) if named else backend / FILE
    if not named and not path.exists():
        if not make:
            return ""
        _generate(path)
    try:
        return path.read_text().strip()
    except OSError as exc:
        raise errors.SecretsError(
            f"the passphrase file {path} cannot be read: {exc.strerror}"
        ) from exc


def _generate(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")


def create(passphrase: str) -> Crypter:
    """Start a stack's secrets with a new salt."""
    salt = secrets.token_bytes(SALT_BYTES)
    key = _derive(passphrase, salt)
    encoded = base64.b64encode(salt).decode()
    return Crypter(f"v1:{encoded}:{_encrypt(key, PROBE)}", key)


def open_state(passphrase: str, state: str, where: str) -> Crypter:
    """Open existing secrets; `where` names the file the salt stands in.

    Raises: WrongPassphrase, or SecretsError when the salt is damaged.
    """
    version, _, rest = state.partition(":")
    salt, _, probe = rest.partition(":")
    if version != "v1":
        raise errors.SecretsError(f"{where}: the salt {state[:8]!r}… is not of version v1")
    try:
        key = _derive(passphrase, base64.b64decode(salt, validate=True))
    except binascii.Error as exc:
        raise errors.SecretsError(f"{where}: the salt is not base64") from exc
    try:
        good = _decrypt(key, probe) == PROBE
    except errors.SecretsError:
        good = False
    if not good:
        raise errors.WrongPassphrase(
            f"the passphrase does not open the secrets in {where}; set PULUMI_CONFIG_PASSPHRASE or "
            "PULUMI_CONFIG_PASSPHRASE_FILE to the one the stack was made with"
        )
    return Crypter(state, key)


@functools.lru_cache(maxsize=8)
def _derive(passphrase: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, ROUNDS, KEY_BYTES)


def _encrypt(key: bytes, text: str) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, text.encode(), None)
    return f"v1:{base64.b64encode(nonce).decode()}:{base64.b64encode(sealed).decode()}"


def _decrypt(key: bytes, text: str) -> str:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        version, nonce, sealed = text.split(":")
        if version != "v1":
            raise errors.SecretsError(f"a secret of version {version!r} cannot be read")
        plain = AESGCM(key).decrypt(base64.b64decode(nonce), base64.b64decode(sealed), None)
    except InvalidTag as exc:
        raise errors.SecretsError("a secret was encrypted with another key or is damaged") from exc
    except (ValueError, binascii.Error) as exc:
        raise errors.SecretsError("a secret is not of the form v1:nonce:ciphertext") from exc
    return plain.decode()
