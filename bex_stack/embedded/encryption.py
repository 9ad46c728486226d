"""Encryption of Secrets at rest in etcd: one random key per instance, made once and kept."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import yaml

from bex_stack.embedded import disk

KEY_BYTES = 32  # secretbox takes exactly 32


def render(key: bytes) -> str:
    """EncryptionConfiguration (apiserver.config.k8s.io/v1): Secrets are written with secretbox.

    `identity` comes last so that anything stored in clear before can still be read.
    """
    secretbox = {"keys": [{"name": "key1", "secret": base64.b64encode(key).decode()}]}
    config = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [
            {"resources": ["secrets"], "providers": [{"secretbox": secretbox}, {"identity": {}}]}
        ],
    }
    return yaml.safe_dump(config, sort_keys=False)


def ensure_config(path: Path) -> Path:
    """Write the configuration with a new key unless it is there; a lost key loses the Secrets."""
    if not disk.read(path):
        disk.ensure_file(path, render(secrets.token_bytes(KEY_BYTES)))
    return path
