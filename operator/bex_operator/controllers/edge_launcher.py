"""Entry point that becomes Caddy: makes its folders, writes what it starts from, and executes it.

The configuration follows from the arguments; the table of hosts and pods is the one that the feeder
kept in `<storage>/table.json`. So a Caddy that restarts serves what it last knew, with or without
feeder or API server. Without a usable table it asks clients to come back until the feeder speaks.
Run as `python -m bex_operator caddy --caddy BINARY …`.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path

import structlog

from bex_operator.controllers import edge_arguments, edge_files
from bex_operator.plan import edge_config

VALIDATE_TIMEOUT_SECONDS = 30.0

_log = structlog.get_logger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the launcher's arguments."""
    parser.add_argument("--caddy", type=Path, required=True, metavar="BINARY")
    edge_arguments.add_arguments(parser)


async def run(args: argparse.Namespace) -> None:
    """Replace this process by Caddy."""
    settings = edge_arguments.settings(args)
    # Caddy would keep an identity of its own in the user's home.
    homes = {"XDG_DATA_HOME": str(settings.storage), "XDG_CONFIG_HOME": str(settings.storage)}
    environment = {**os.environ, **homes}
    config = Path(settings.config_file)
    await asyncio.to_thread(_make_folders, settings)
    table = await asyncio.to_thread(_read_table, Path(settings.table_file))
    await _write(config, edge_config.render(settings, table))
    if table is not None:
        fault = await _find_fault(args.caddy, config, environment)
        if fault is not None:
            _log.warning("starting without the routes of before", fault=fault)
            await _write(config, edge_config.render(settings))
    os.umask(0o077)
    os.execve(args.caddy, [str(args.caddy), "run", "--config", str(config)], environment)  # noqa: S606 - becoming Caddy is the purpose


async def _write(path: Path, config: edge_config.Config) -> None:
    await asyncio.to_thread(edge_files.write, path, json.dumps(config))


def _read_table(path: Path) -> edge_config.Table | None:
    try:
        table = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as exc:
        _log.warning("the kept table is no JSON", path=str(path), error=str(exc))
        return None
    return table if isinstance(table, dict) else None


def _make_folders(settings: edge_config.Settings) -> None:
    for folder in (Path(settings.storage), Path(settings.admin_socket).parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


async def _find_fault(caddy: Path, config: Path, environment: dict[str, str]) -> str | None:
    """Ask Caddy whether it takes the configuration; None if it does."""
    process = await asyncio.create_subprocess_exec(
        *(str(caddy), "validate", "--config", str(config)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(VALIDATE_TIMEOUT_SECONDS):
            _, told = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"Caddy did not check {config} within {VALIDATE_TIMEOUT_SECONDS:.0f} s"
    if process.returncode != 0:
        return f"Caddy does not take {config}: {told.decode(errors='replace').strip()[-500:]}"
    return None
