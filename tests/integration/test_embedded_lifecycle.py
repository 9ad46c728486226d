"""An embedded instance from nothing to nothing: made, rebooted, half made, removed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bex_operator.kube import kinds
from bex_stack.embedded import (
    cgroups,
    cluster,
    firewall,
    host,
    host_switches,
    machine_config,
    network,
    orphans,
    providers,
    supervision,
    teardown,
)
from tests.support import addresses
from tests.support import embedded as support

OCTET = 95
WORKER = machine_config.Machine("worker-1", 1)


@pytest.fixture
def home() -> Iterator[Path]:
    """A state root with a short path, gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="bex-l-"))
    yield path
    teardown.destroy(support.make_embedded("life", OCTET, path).instance)
    shutil.rmtree(path)


def left_by(made: support.Embedded, before: dict[str, list[str]]) -> list[str]:
    """What the kernel holds now, did not hold before, and speaks of the instance."""
    instance = made.instance
    networks = [str(instance.network), *(instance.pod_cidr(slot) for slot in range(3))]
    marks = (instance.name, str(instance.home), *(each.partition("/")[0] for each in networks))
    after = support.snapshot()
    new = [f"{key}: {line}" for key in after for line in set(after[key]) - set(before[key])]
    return [line for line in new if any(mark in line for mark in marks)]


def reboot(made: support.Embedded) -> None:
    """Take away all that a reboot takes: processes, links, rules, groups, the runtime's folder."""
    orphans.kill(made.instance.name)
    network.remove_all(made.instance)
    firewall.remove(made.instance)
    host_switches.release(made.instance)
    cgroups.remove(f"/{made.instance.name}")


def resources(made: support.Embedded) -> list[tuple[Any, dict[str, Any]]]:
    """Providers and inputs of a small stack, in the order of their creation."""
    instance = made.instance.to_inputs()
    machine = {"instance": instance, "machine": "worker-1", "slot": 1.0, "role": "worker"}
    process = {"instance": instance, "process": "idle", "command": ["/bin/sleep", "9999"]}
    return [
        (providers.HostProvider(), {"instance": instance}),
        (providers.ClusterProvider(), {"instance": instance}),
        (providers.RegistryProvider(), {"instance": instance}),
        (providers.MachineProvider(), machine),
        (providers.ProcessProvider(), {**process, "user": "bex-idle", "env": {}}),
    ]


def test_resources_come_settle_and_leave_nothing(home: Path) -> None:
    """Created resources show no difference; deleted ones leave the host as it was."""
    before = support.snapshot()
    made = support.make_embedded("life", OCTET, home)
    outputs = [provider.create(inputs).outs for provider, inputs in resources(made)]
    settled = [
        provider.diff("id", outs, inputs).changes
        for (provider, inputs), outs in zip(resources(made), outputs, strict=True)
    ]
    for (provider, _), outs in reversed(list(zip(resources(made), outputs, strict=True))):
        provider.delete("id", outs)

    assert settled == [False] * 5
    assert teardown.leftovers(made.instance) == []
    assert left_by(made, before) == []
    assert list(home.iterdir()) == []


def test_a_reboot_loses_nothing(home: Path) -> None:
    """After a reboot every resource is a change, and its update brings it back with its data."""
    made = support.make_embedded("life", OCTET, home)
    outputs = [provider.create(inputs).outs for provider, inputs in resources(made)]
    made.push_images()
    with made.namespace("kept") as namespace:
        made.apply(support.deployment(namespace, replicas=1))
        support.wait_until(lambda: len(made.ready_pods(namespace)) == 1, "the pod is Ready")
        reboot(made)
        stack = list(zip(resources(made), outputs, strict=True))
        changed = [provider.diff("id", outs, inputs).changes for (provider, inputs), outs in stack]
        for (provider, inputs), outs in stack:
            provider.update("id", outs, inputs)
        support.wait_until(lambda: answers(made, namespace), "the pod answers again")

    assert changed == [True] * 5
    assert supervision.missing(made.instance, ["idle", "registry", "worker-1-kubelet"]) == []


def test_a_half_made_instance_is_finished_or_removed(home: Path) -> None:
    """What an interrupted up left does not stand in the way of up or destroy."""
    before = support.snapshot()
    made = support.make_embedded("life", OCTET, home)
    host.ensure(made.instance)
    cluster.ensure(made.instance, made.tools.paths)
    made.ask(addresses.keep_for_nobody)
    network.ensure_machine(made.instance, WORKER.name, WORKER.slot)
    cgroups.ensure(made.instance.cgroup(WORKER.name))
    made.ensure(WORKER)
    ready = made.ask(lambda api: api.get(kinds.NODE, WORKER.name))["metadata"]["labels"]
    orphans.kill(made.instance.name)
    shutil.rmtree(made.instance.dir)
    teardown.destroy(made.instance)
    teardown.destroy(made.instance)

    assert "node-role.kubernetes.io/worker" in ready
    assert teardown.leftovers(made.instance) == []
    assert left_by(made, before) == []


@pytest.mark.parametrize("seconds", [0.6, 2.5, 4.5])
def test_a_killed_up_is_finished_by_the_next(home: Path, seconds: float) -> None:
    """kill -9 in the middle of it: the next one settles, and nothing runs twice."""
    made = support.make_embedded("life", OCTET, home)
    stack = [(type(provider).__name__, inputs) for provider, inputs in resources(made)]
    up = subprocess.Popen([sys.executable, "-c", _UP, json.dumps(stack)], start_new_session=True)
    time.sleep(seconds)
    os.killpg(up.pid, signal.SIGKILL)
    up.wait()
    for provider, inputs in resources(made):
        outs = provider.create(inputs).outs
        assert not provider.diff("id", outs, inputs).changes
    wanted = dict.fromkeys(
        ["etcd", "kubelet", "containerd", "kube-scheduler", "registry", "pause"], 1
    )

    # A program that starts another is there twice for a moment.
    support.wait_until(lambda: running(made, wanted) == wanted, "each program runs once")


_UP = """
import json, sys
from bex_stack.embedded import providers
for name, inputs in json.loads(sys.argv[1]):
    getattr(providers, name)().create(inputs)
"""


def running(made: support.Embedded, programs: Iterable[str]) -> dict[str, int]:
    """How many processes of the instance run each of *programs*."""
    found = []
    for pid in orphans.find(made.instance.name):
        with contextlib.suppress(OSError):  # ended meanwhile
            found.append(Path(f"/proc/{pid}/comm").read_text().strip())
    return {name: found.count(name) for name in programs}


def answers(made: support.Embedded, namespace: str) -> bool:
    """Whether the pods of *namespace* answer."""
    try:
        for pod in made.ready_pods(namespace):
            support.fetch(f"http://{pod['status']['podIP']}:8080/")
    except OSError:
        return False
    return len(made.ready_pods(namespace)) == 1
