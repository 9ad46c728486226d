"""Fixtures every test may ask for; what a failed test shows."""

from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support import evidence

pytest_plugins = ["tests.support.api_server", "tests.support.hetzner_api"]

# The same examples in every run, and none fails because the machine is busy.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own with a short path: unix sockets may lie below it."""
    return tmp_path_factory.mktemp("t")


SHARED = {
    "tests/system/test_lifecycle.py": "own stacks",
    "tests/system/test_git_push.py": "stack of pushes",
    "tests/system/": "shared stack",
    "tests/integration/test_embedded": "embedded cluster",
}
"""Tests whose path begins so share something costly, so one worker takes them all; first match."""
ALONE = "tests/integration/test_operator_faults.py::test_each_trouble", "::test_any_plan"
"""Tests with such a part in their names take long enough for a worker to take one at a time."""


def group_of(nodeid: str) -> str:
    """Name what a test shares with others: a cluster, or else its file and its fixtures."""
    if any(part in nodeid for part in ALONE):
        return nodeid
    found = [group for start, group in SHARED.items() if nodeid.startswith(start)]
    return found[0] if found else nodeid.partition("::")[0]


def turn_of(nodeid: str) -> int:
    """Order groups: whole stacks first, small change last, so that all workers end together."""
    first = ["shared stack", "embedded cluster", "own stacks"]
    group = group_of(nodeid)
    if group in first:
        return first.index(group)
    return len(first) + (not nodeid.startswith(("tests/system/", "tests/integration/")))


class ByGroup(LoadScopeScheduling):
    """Give whole groups of tests to workers."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroup:
    """Schedule the workers of a run with `-n`."""
    return ByGroup(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give whole stacks more time; let workers begin with what takes longest."""
    for item in items:
        if item.nodeid.startswith("tests/system/"):
            item.add_marker(pytest.mark.timeout(900))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: turn_of(item.nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the servers behind the test last wrote."""
    report = yield
    if report.failed:
        given = getattr(item, "funcargs", {}).get("tmp_path")
        report.sections += evidence.tails(*([given] if given else []), since=call.start)
    return report
