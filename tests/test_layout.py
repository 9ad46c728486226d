"""Rules about the tree itself that nothing else would notice."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
REGISTRY_ADDRESS = re.compile(
    r"//[a-z0-9.-]*(?:pypi|pythonhosted|npmjs|golang|crates|maven|debian)[a-z0-9.-]*"
)


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


def test_no_file_names_the_address_of_a_package_registry() -> None:
    """Which mirror serves a package is the machine's affair, never the project's."""
    named = {
        (file.name, address)
        for file in tracked_files()
        for address in REGISTRY_ADDRESS.findall(file.read_bytes().decode(errors="ignore"))
    }

    assert named == set()


def test_locks_hold_hashes_and_no_addresses() -> None:
    """Every locked dependency has a hash, and no lock names an address."""
    for lock in (ROOT / "requirements").glob("*.lock"):
        text = lock.read_text()

        assert "://" not in text, lock
        pins = re.findall(r"^\S+==\S+", text, re.MULTILINE)
        assert pins
        for block in re.split(r"^(?=\S)", text, flags=re.MULTILINE):
            assert not block.strip() or "--hash=sha256:" in block, block


def test_operator_starts_without_aiohttp() -> None:
    """It takes 12 MiB; builds, registries, webhooks and the edge import it when they need it."""
    program = "import sys, bex_operator.controllers.acting; print('aiohttp' in sys.modules)"
    command = [sys.executable, "-c", program]

    assert (
        subprocess.run(command, capture_output=True, check=True, timeout=120).stdout == b"False\n"
    )
