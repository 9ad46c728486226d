"""`python -m bex_operator ENTRY …`: one program, several entry points.

An entry is a module with `add_arguments(parser)` and `async run(args)`; only the chosen one is
imported.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

import orjson
import structlog
import uvloop

from bex_operator import loading
from bex_operator.kube import errors, leases

ENTRIES = {
    "operator": ("bex_operator.controllers.operator", "keep Apps as their specs say"),
    "caddy": ("bex_operator.controllers.edge_launcher", "start the edge proxy, Caddy"),
    "edge": ("bex_operator.controllers.edge", "feed the edge proxy from Ingress objects"),
}


def main(argv: Sequence[str]) -> int:
    """Run an entry point; return the process' exit code."""
    parser = argparse.ArgumentParser(prog="bex_operator", description=__doc__.splitlines()[0])
    entries = parser.add_subparsers(dest="entry", required=True, metavar="ENTRY")
    chosen = next((word for word in argv if word in ENTRIES), None)
    module = loading.load(ENTRIES[chosen][0]) if chosen else None
    for name, (_, text) in ENTRIES.items():
        added = entries.add_parser(name, help=text, description=text)
        if name == chosen and module is not None:
            module.add_arguments(added)
    args = parser.parse_args(argv)
    _configure_logs()
    if module is None:
        parser.error(f"choose one of {', '.join(ENTRIES)}")
    log = structlog.get_logger(__name__)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(module.run(args))
    except (errors.KubeError, leases.Lost, TimeoutError, OSError) as exc:
        # A traceback would say less than the message of an error we expect.
        log.error("process.failed", error=f"{type(exc).__name__}: {exc}")  # noqa: TRY400
        return 1
    return 0


def _configure_logs() -> None:
    """Log JSON lines to standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
