"""A project for tests of the engine."""

from pathlib import Path

import pytest

from tests.support.engine_project import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Offer an empty project; its secrets open with the passphrase `test`."""
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
    return Project(tmp_path)
