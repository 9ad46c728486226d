"""Waits until every app of a stack answers through the edge, saying what is in the way."""

import asyncio
import time

import aiohttp
from rich import console as consoles
from rich import markup

from bex_operator import api
from bex_stack import app_table, errors, targets
from bex_stack.embedded import commands

TIMEOUT_SECONDS = 180.0
POLL_SECONDS = 0.25
SAY_SECONDS = 10.0
NOT_ANSWERING = frozenset({502, 503, 504})
"""Statuses of the edge when no pod of an app takes the request."""


async def wait(target: targets.Target, console: consoles.Console) -> None:
    """Return when every app that should serve is Running and answers at the edge.

    Raises:
        errors.NotReady: one does not within `TIMEOUT_SECONDS`; the message names what is in the
            way of each.
    """
    if target.embedded.machines == "simulated":
        return
    started = said = time.monotonic()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while problems := await _problems(target, session):
            now = time.monotonic()
            if now - started > TIMEOUT_SECONDS:
                raise errors.NotReady("\n".join(problems))
            if now - said > SAY_SECONDS:
                said = now
                console.print(f"waiting: {markup.escape('; '.join(problems))}")
            await asyncio.sleep(POLL_SECONDS)


async def _problems(target: targets.Target, session: aiohttp.ClientSession) -> list[str]:
    rows = {row.name: row for row in await app_table.observe(target)}
    # Parked by its definition, or by `bex suspend` until `bex resume`.
    parked = {name for name, row in rows.items() if row.phase == "Hibernated"}
    found = [
        _problem_of(app, rows.get(app.name)) or await _silence_of(app, target, session)
        for app in target.apps
        if not app.suspended and app.name not in parked
    ]
    return [problem for problem in found if problem]


def _problem_of(app: api.App, row: app_table.Row | None) -> str:
    if row is None:
        return f"App {app.name}: is not in the cluster"
    if row.phase != "Running":
        return f"App {app.name}: {row.phase}: {row.message or 'no reason given yet'}"
    return ""


async def _silence_of(app: api.App, target: targets.Target, session: aiohttp.ClientSession) -> str:
    host = api.main_host_of(app, commands.BASE_DOMAIN)
    if host is None:
        return ""
    url = f"http://127.0.0.1:{target.embedded.edge_http_port}{app.health_check_path or '/'}"
    try:
        async with session.get(url, headers={"Host": host}, allow_redirects=False) as answer:
            if answer.status in NOT_ANSWERING:
                return f"App {app.name}: the edge answers {answer.status} for {host}"
    except (aiohttp.ClientError, TimeoutError) as failed:
        return f"App {app.name}: {host} does not answer: {type(failed).__name__}"
    return ""
