"""A private repository over ssh on real machines: asked, cloned, built, answering."""

import dataclasses

import pytest

from bex_operator import api
from bex_stack.embedded import firewall, network
from bex_stack.embedded import instance as instances
from tests.support import embedded as support
from tests.support import places, ssh_git_server
from tests.support.build_plant import BASE, Plant, plant

__all__ = ["plant"]
pytestmark = pytest.mark.timeout(1800)  # a build, on a machine that may be busy


def open_to_builds(plant: Plant, *inner: str) -> None:
    """Put the rules in place that `bex:innerNetworks` leads to."""
    instance = dataclasses.replace(plant.embedded.instance, inner=inner)
    firewall.ensure(instance)
    for machine in support.MACHINES:
        network.ensure_machine(instance, machine.name, machine.slot)


def secret(shell: ssh_git_server.SshServer) -> dict[str, object]:
    """The deploy key, and what the server has to show."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "deploy-key", "namespace": api.NAMESPACE},
        "stringData": {
            "ssh-privatekey": shell.key.read_text(),
            "known_hosts": shell.known_hosts.read_text(),
        },
    }


def test_private_repository_over_ssh_is_built_once_its_address_is_open(plant: Plant) -> None:
    """Closed to machines' pods until the setting names it; then the deploy key opens it."""
    host, (port,) = plant.embedded.instance.bridge_address, places.free_ports(1)
    commit = plant.server.commit("shelled", {"Dockerfile": f"{BASE}COPY a /a\n", "a": "one"})
    with ssh_git_server.serve(plant.server.folder, host, port) as shell:
        plant.embedded.apply(secret(shell))
        plant.deploy("shelled", repo=f"{shell.url}/shelled.git", clone_secret="deploy-key")
        refused = plant.wait_for("shelled", "SourceUnavailable")
        open_to_builds(plant, f"{host}/32:{port}")
        try:
            plant.request("shelled", at="2026-01-01T00:00:00Z", by="test")
            plant.wait_for("shelled", "Deployed")
        finally:
            open_to_builds(plant)

    (job,) = plant.jobs("shelled")
    assert "no route to host" in refused
    assert job["metadata"]["annotations"]["app.bex.co/commit"] == commit
    assert "hello" in plant.answer("shelled").lower()


def test_rules_of_builds_name_what_the_setting_names() -> None:
    """And nothing else differs; without the setting the text is what it was."""
    plain = instances.from_inputs({"home": "/x"})
    opened = dataclasses.replace(plain, inner=("10.0.7.5/32:22",))
    before, after = (firewall.render_table(each).splitlines() for each in (plain, opened))

    added = [line.strip() for line in after if line not in before]
    assert added == ["ip daddr 10.0.7.5/32 tcp dport 22 accept"]
    assert instances.from_inputs(opened.to_inputs()) == opened
    assert "inner" not in plain.to_inputs()
