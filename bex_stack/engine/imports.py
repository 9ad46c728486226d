"""Which modules a program may import, and what is left of them afterwards."""

import contextlib
import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path


def warm_up() -> None:
    """Begin to import the SDK in the background: opening the secrets takes as long."""
    names = ("bex_stack.engine.monitor", "bex_stack.engine.program")
    threading.Thread(
        target=lambda: [importlib.import_module(name) for name in names], daemon=True
    ).start()


@contextlib.contextmanager
def importable(directory: Path) -> Iterator[None]:
    """Let modules beside the program be imported for the block, and forget them afterwards.

    Pickled dynamic providers are found by their module's name, even when the program is not run.
    """
    folder = str(directory if directory.is_dir() else directory.parent)
    before = set(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)
        _forget(Path(folder), before)


def _forget(folder: Path, before: set[str]) -> None:
    """Drop modules that were imported from the program's own folder during the run."""
    keep = {__name__.partition(".")[0]}
    for name in set(sys.modules) - before:
        top = name.partition(".")[0]
        if top in keep or top in before:
            continue
        if (folder / f"{top}.py").exists() or (folder / top).is_dir():
            sys.modules.pop(name, None)
