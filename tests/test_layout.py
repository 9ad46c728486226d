"""Rules about the tree itself that nothing else would notice."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REGISTRY_HOST = re.compile(
    r"(?i)\b(?:[a-z0-9-]+\.)*(?:py" + r"pi|pythonhosted|npm" + r"js|crates|debian"
    r"|maven|golang)\.(?:org|com|io|net)\b"
)
MODULE_PATHS = re.compile(r"\bgolang\.org/x/|\bgo\.|\bgolang\.org/toolchain")


def tracked_files() -> list[Path]:
    """Every text file git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_operator_folder_is_no_package() -> None:
    """`operator/__init__.py` would shadow the standard library's `operator`."""
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_standard_operator_module_is_not_shadowed() -> None:
    """The standard library's `operator` is what `import operator` finds in the root."""
    import operator

    assert "site-packages" not in str(operator.__file__)
    assert str(ROOT) not in str(operator.__file__)


@pytest.mark.parametrize("file", tracked_files(), ids=lambda f: str(f.relative_to(ROOT)))
def test_file_names_no_package_registry(file: Path) -> None:
    """No file names the host of a package registry: which mirror is used is the machine's affair."""
    try:
        text = file.read_text()
    except UnicodeDecodeError:
        return

    found = {host for host in REGISTRY_HOST.findall(text)} - {"golang.org"}
    urls = re.findall(r"https?://[^\s\"']*", text)

    assert not [url for url in urls if REGISTRY_HOST.search(url)]
    assert not {host for host in found if not MODULE_PATHS.search(host + "/")}


def test_locks_hold_hashes_and_no_addresses() -> None:
    """Every locked dependency has a hash, and no lock names an address."""
    for lock in (ROOT / "requirements").glob("*.lock"):
        text = lock.read_text()

        assert "://" not in text, lock
        pins = re.findall(r"^\S+==\S+", text, re.MULTILINE)
        assert pins
        for block in re.split(r"^(?=\S)", text, flags=re.MULTILINE):
            assert not block.strip() or "--hash=sha256:" in block, block
