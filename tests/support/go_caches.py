"""Go's caches as the toolchain uses them, for tests that build into a cache of their own."""

import functools
import os
import subprocess

from bex_stack.embedded import golang


@functools.cache
def locate() -> dict[str, str]:
    """Return GOCACHE and GOMODCACHE: with them only what differs is compiled, not Go's library."""
    go = golang.find_or_install(golang.default_cache())
    told = subprocess.run(
        [go.program, "env", "GOCACHE", "GOMODCACHE"],
        env=go.environment(os.environ, cgo=False),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    build, modules = told.stdout.split()
    return {"GOCACHE": build, "GOMODCACHE": modules}
