"""The programs bex runs, built from pinned Go modules and kept in a cache for all checkouts.

`<cache>/toolchain/<family>-<digest>/bin/<name>`: the digest covers what the family is built from,
so a change of one module rebuilds that family only, and a second checkout builds nothing.
`python -m bex_stack.embedded.toolchain build|list|path|prune [NAMES]` does it by hand.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from bex_stack.embedded import binaries, build_progress, building, golang
from bex_stack.embedded.binaries import (
    BINARIES,
    CNI,
    CONTROL_PLANE,
    EDGE,
    EXTRAS,
    FIRST_APP,
    MACHINE,
    REGISTRY,
    SIMULATED,
    Binary,
)
from bex_stack.embedded.build_progress import Progress
from bex_stack.embedded.golang import ToolchainError

__all__ = [
    "BINARIES",
    "CNI",
    "CONTROL_PLANE",
    "EDGE",
    "EXTRAS",
    "FIRST_APP",
    "MACHINE",
    "REGISTRY",
    "SIMULATED",
    "Background",
    "Binary",
    "Progress",
    "Toolchain",
    "ToolchainError",
    "ensure",
    "locate",
    "missing",
    "start_background",
]


ANNOUNCED_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Programs that are there."""

    paths: Mapping[str, Path]
    cache: Path

    def path(self, name: str) -> Path:
        """Return the program called *name*.

        Raises: ToolchainError (it was not asked for).
        """
        try:
            return self.paths[name]
        except KeyError:
            raise ToolchainError(
                f"{name} was not asked for; there are {', '.join(self.paths) or 'none'}"
            ) from None

    def data(self, name: str) -> Path:
        """Return the one data file that comes with *name*, such as the stages of kwok."""
        (data,) = binaries.get(name).data
        return building.share_path(self.path(name), data.name)

    def go(self) -> golang.Go:
        """Return a Go for building images; the pinned one is installed if there is none.

        Raises: ToolchainError.
        """
        return golang.find_or_install(self.cache)


def locate(names: Iterable[str], *, cache: Path | None = None) -> dict[str, Path]:
    """Return where each of *names* is or will be, in build order; touches nothing.

    Raises: UnknownBinary.
    """
    root = golang.default_cache() if cache is None else cache
    digest = functools.cache(binaries.family_digest)
    return {
        binary.name: root
        / "toolchain"
        / f"{binary.family}-{digest(binary.family)}"
        / "bin"
        / binary.name
        for binary in binaries.in_build_order(names)
    }


def missing(names: Iterable[str], *, cache: Path | None = None) -> list[str]:
    """Return those of *names* that would have to be built, in build order."""
    return [name for name, path in locate(names, cache=cache).items() if not path.exists()]


def ensure(
    names: Iterable[str],
    *,
    progress: build_progress.Progress | None = None,
    cache: Path | None = None,
) -> Toolchain:
    """Build those of *names* that are missing, then return all of them.

    May be called from several threads and processes at once: one build goes on at a time, the
    most urgent first. Without *progress* bars or lines are shown on standard error.

    Raises: ToolchainError.
    """
    root = golang.default_cache() if cache is None else cache
    paths = locate(names, cache=root)
    wanted = [binaries.get(name) for name, path in paths.items() if not path.exists()]
    if wanted:
        with build_progress.on() if progress is None else nullcontext(progress) as shown:
            _announce(wanted, root, shown)
            find_go = functools.cache(lambda: golang.find_or_install(root, tell=shown.note))
            for binary in wanted:
                building.build(
                    binary,
                    paths[binary.name],
                    find_go=find_go,
                    lock=root / "toolchain" / ".lock",
                    progress=shown,
                )
    return Toolchain(paths, root)


def _announce(
    wanted: Sequence[binaries.Binary], root: Path, progress: build_progress.Progress
) -> None:
    """Say how long it may take where that is longer than a person looks on."""
    seconds = sum(binary.seconds for binary in wanted)
    if seconds >= ANNOUNCED_SECONDS:
        progress.note(
            f"{len(wanted)} programs are built once and kept in {root}: "
            f"about {max(1, round(seconds / 60))} min on 2 idle cores"
        )


class Background:
    """Builds that go on while the command does other things."""

    def __init__(
        self, names: Iterable[str], progress: build_progress.Progress | None, cache: Path | None
    ) -> None:
        self._names = tuple(names)
        self._result: Toolchain | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(
            target=self._run, args=(progress, cache), name="toolchain", daemon=True
        )
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether `wait` would return at once."""
        return not self._thread.is_alive()

    def wait(self, timeout_seconds: float = building.WAIT_TIMEOUT_SECONDS) -> Toolchain:
        """Return the programs once all are built.

        Raises: ToolchainError (also when *timeout_seconds* pass first).
        """
        self._thread.join(timeout_seconds)
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise ToolchainError(
                f"{', '.join(self._names)} not built within {timeout_seconds:.0f} s"
            )
        return self._result

    def _run(self, progress: build_progress.Progress | None, cache: Path | None) -> None:
        try:
            self._result = ensure(self._names, progress=progress, cache=cache)
        except Exception as exc:  # noqa: BLE001 - raised again in the thread that waits
            self._error = exc


def start_background(
    names: Iterable[str],
    *,
    progress: build_progress.Progress | None = None,
    cache: Path | None = None,
) -> Background:
    """Start building *names*; an `ensure` for something more urgent is served first."""
    return Background(names, progress, cache)


if __name__ == "__main__":
    from bex_stack.embedded import toolchain_command

    raise SystemExit(toolchain_command.main())
