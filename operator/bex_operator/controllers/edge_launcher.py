"""Entry point that becomes Caddy: makes its folders, checks what it starts from, and executes it.

Caddy starts from `<storage>/caddy.json`, which the feeder rewrites after every change, so a Caddy
that restarts serves the routes and pods it last knew, with or without feeder or API server. When
there is no such file, or it was made for other settings, or Caddy no longer takes it, the launcher
writes the bootstrap configuration. Run as `python -m bex_operator caddy --caddy BINARY …`.
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
    config = Path(settings.config_file)
    # Caddy would keep an identity of its own in the user's home.
    homes = {"XDG_DATA_HOME": str(settings.storage), "XDG_CONFIG_HOME": str(settings.storage)}
    environment = {**os.environ, **homes}
    await asyncio.to_thread(_make_folders, settings)
    reason = await _reason_to_start_afresh(args.caddy, config, settings, environment)
    if reason is not None:
        _log.info("starting from the bootstrap configuration", reason=reason)
        content = json.dumps(edge_config.bootstrap(settings))
        await asyncio.to_thread(edge_files.write, config, content)
    os.umask(0o077)
    os.execve(args.caddy, [str(args.caddy), "run", "--config", str(config)], environment)  # noqa: S606 - becoming Caddy is the purpose


def _make_folders(settings: edge_config.Settings) -> None:
    for folder in (Path(settings.storage), Path(settings.admin_socket).parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


async def _reason_to_start_afresh(
    caddy: Path, config: Path, settings: edge_config.Settings, environment: dict[str, str]
) -> str | None:
    try:
        kept = json.loads(await asyncio.to_thread(config.read_bytes))
    except FileNotFoundError:
        return "there is none from before"
    except ValueError as exc:
        return f"{config} is no JSON: {exc}"
    if not edge_config.fits(kept, settings):
        return f"{config} was made for other settings"
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
