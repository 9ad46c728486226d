"""The pre-flight: look, then judge. By the program before an `up`, and by `bex preflight`."""

import datetime
import os

import pulumi

from bex_stack import errors, settings
from bex_stack.hetzner import access, cloud, costs, preflight, report
from bex_stack.hetzner.inventory import Inventory


class NotFit(errors.StackError):
    """The project cannot hold the stack as it is; every line says what mends it."""


def look(wanted: Inventory, connection: cloud.Cloud) -> report.Report:
    """Ask Hetzner, and judge.

    Raises:
        cloud.CloudError: Hetzner does not answer.
    """
    project = connection.look()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return report.Report(
        findings=preflight.check(wanted, project, today=today),
        costs=costs.table(wanted, connection.prices()),
        counts=preflight.counts(wanted, project),
    )


def check_program(wanted: Inventory) -> None:
    """Check before anything is registered.

    A preview with a token tells what an `up` would refuse, and what the stack will cost; one
    without a token, or by bex, asks nobody: it works offline.

    Raises:
        NotFit, cloud.CloudError: in an `up`, so that nothing is made.
    """
    is_preview = pulumi.runtime.is_dry_run()
    token = os.environ.get(access.VARIABLE) or settings.hetzner_token_text()
    if settings.is_run_by_bex() or (is_preview and not token):
        return
    try:
        with access.connect(token) as connection:
            found = look(wanted, connection)
    except cloud.CloudError as refused:
        if not is_preview:
            raise
        pulumi.log.warn(f"no pre-flight: {refused}")
        return
    if found.findings:
        pulumi.log.warn(report.list_findings(found.findings))
    pulumi.log.info(report.table_of_costs(found.costs))
    if found.blocking and not is_preview:
        raise NotFit(report.list_findings(found.blocking))
