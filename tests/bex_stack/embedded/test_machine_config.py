"""What containerd, CNI, kubelet and kube-proxy of a machine are told."""

import ipaddress
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from bex_stack.embedded import (
    build_network,
    control_plane,
    dns,
    encryption,
    firewall,
    machine_config,
)
from bex_stack.embedded import instance as instances

INSTANCE = instances.Instance(home=Path("/var/lib/bex"), registry_port=5051)
WORKER = machine_config.Machine("worker-1", 1)


def render(machine: machine_config.Machine = WORKER) -> dict[str, str]:
    """Render all files of *machine*."""
    return machine_config.render(INSTANCE, machine, snapshotter="overlayfs")


def kubelet(machine: machine_config.Machine) -> dict[str, Any]:
    """Render a kubelet's configuration."""
    config: dict[str, Any] = yaml.safe_load(render(machine)["kubernetes/kubelet.yaml"])
    return config


def test_registries_are_asked_after_ours() -> None:
    """Every known registry has ours as its first host and itself as the last."""
    files = render()
    names = ["docker.io", "ghcr.io", "quay.io", "registry.k8s.io"]
    hosts = [tomllib.loads(files[f"containerd-config/certs.d/{n}/hosts.toml"]) for n in names]

    assert [list(each["host"]) for each in hosts] == [["http://10.90.0.1:5051"]] * 4
    assert hosts[0]["server"] == "https://registry-1.docker.io"


def test_our_registry_keeps_its_name_whatever_its_port() -> None:
    """Images are called localhost:5050/… also where the registry listens elsewhere."""
    config = tomllib.loads(render()["containerd-config/certs.d/localhost:5050/hosts.toml"])

    assert config["server"] == "http://10.90.0.1:5051"


def test_containerd_and_cni_configurations_parse() -> None:
    """All are well-formed, and pods get addresses of their machine's range: builds the last."""
    config = tomllib.loads(render()["containerd-config/config.toml"])
    network = json.loads(render()["cni/10-bex.conflist"])
    builds = json.loads(render()["cni-builds/10-builds.conflist"])
    runtime = config["plugins"]["io.containerd.cri.v1.runtime"]
    asked = build_network.runtime_class()["handler"]

    assert runtime["restrict_oom_score_adj"] is True
    assert runtime["containerd"]["runtimes"][asked]["cni_conf_dir"] == "/etc/cni/builds.d"
    assert network["plugins"][0]["ipam"]["ranges"] == [
        [{"subnet": "10.244.1.0/24", "rangeEnd": "10.244.1.223"}]
    ]
    assert builds["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.1.224/27"}]]


def test_inner_networks_of_an_instance_are_closed_to_its_builds() -> None:
    """Also where they lie outside of what is set aside for private networks."""
    public = instances.Instance(Path("/h"), network=ipaddress.IPv4Network("203.0.113.0/24"))
    table = build_network.render_table(public, 1)
    (refused,) = (line for line in table.splitlines() if "reject" in line)
    inner = [ipaddress.IPv4Network(each) for each in re.findall(r"[\d.]+/\d+", refused)]

    for address in ("203.0.113.11", "10.244.2.5", "10.96.0.1", "169.254.169.254", "192.168.1.1"):
        assert any(ipaddress.IPv4Address(address) in each for each in inner), address
    assert not any(ipaddress.IPv4Address("198.51.100.1") in each for each in inner)


def test_only_the_control_planes_machine_is_tainted() -> None:
    """Pods land on workers."""
    first = machine_config.Machine("control-plane", 0, "control-plane")
    taints = [kubelet(machine)["registerWithTaints"] for machine in (first, WORKER)]

    assert taints == [[{"key": machine_config.CONTROL_PLANE_TAINT, "effect": "NoSchedule"}], []]


def test_several_reports_fit_into_the_grace_period() -> None:
    """A kubelet that misses one report is not taken for dead."""
    renewal_seconds = kubelet(WORKER)["nodeLeaseDurationSeconds"] / 4

    assert control_plane.NODE_GRACE_SECONDS / renewal_seconds >= 4


def test_rendering_is_deterministic() -> None:
    """Equal values give equal bytes: a second up finds nothing to change."""
    assert render() == render()


def test_strangers_see_health_only() -> None:
    """Requests without a certificate or token reach three paths."""
    anonymous = control_plane.render_authentication()["anonymous"]

    assert [each["path"] for each in anonymous["conditions"]] == ["/livez", "/readyz", "/healthz"]


def test_secrets_are_written_encrypted_and_read_either_way() -> None:
    """The first provider writes; identity last reads what was stored before."""
    config = yaml.safe_load(encryption.render(b"k" * 32))
    providers = config["resources"][0]["providers"]

    assert [next(iter(provider)) for provider in providers] == ["secretbox", "identity"]


def test_an_encryption_key_is_made_once(tmp_path: Path) -> None:
    """A second call keeps the key: with another one all Secrets would be lost."""
    path = tmp_path / "encryption.yaml"
    contents = [encryption.ensure_config(path).read_bytes() for _ in range(2)]

    assert contents[0] == contents[1]
    assert path.stat().st_mode & 0o777 == 0o600


def test_pods_ask_the_name_server_by_its_service() -> None:
    """The Service has the address kubelets hand out, and leads to the bridge."""
    service, endpoints = dns.objects(INSTANCE)[-2:]

    assert service["spec"]["clusterIP"] == kubelet(WORKER)["clusterDNS"][0]
    assert endpoints["endpoints"][0]["addresses"] == ["10.90.0.1"]


def test_the_firewall_touches_its_own_table_only() -> None:
    """Every command of the rule set names the instance's table."""
    heads = [line for line in firewall.render_table(INSTANCE).splitlines() if "table" in line]

    assert heads == ["table ip bex", "delete table ip bex", "table ip bex {"]
