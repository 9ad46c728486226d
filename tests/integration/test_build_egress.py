"""What steps of Dockerfiles reach: anybody's code, on a real machine's network."""

import json
from pathlib import Path

import pytest

from bex_stack.embedded import images, registry, toolchain
from bex_stack.embedded import instance as instances
from tests.support.build_plant import BASE, Plant, plant

__all__ = ["plant"]
pytestmark = pytest.mark.timeout(1800)  # two builds, on a machine that may be busy
PROBE = """package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	for _, each := range os.Args[1:] {
		connection, err := net.DialTimeout("tcp", each, 30*time.Second)
		if err == nil {
			connection.Close()
			fmt.Println(each, "is open")
			continue
		}
		fmt.Println(each, err)
	}
	os.Exit(1)
}
"""
"""Says which addresses can be reached, and fails, so that its words come to light."""


def test_code_of_tenants_reaches_nothing_inside(plant: Plant, tmp_path: Path) -> None:
    """No machine, pod, service, API server, plain registry or metadata; names and the guarded
    registry all the same."""
    plant.server.commit("inner", {"Dockerfile": f"{BASE}COPY note /n\n", "note": "one"})
    plant.deploy("inner")
    plant.wait_for("inner", "Deployed")
    instance, source = plant.embedded.instance, tmp_path / "probe"
    source.mkdir()
    (source / "main.go").write_text(PROBE)
    (source / "go.mod").write_text("module probe\n\ngo 1.26\n")
    tools = toolchain.ensure(["crane"])
    layout = images.build_go_image(source, toolchain=tools)
    images.push(layout, f"{registry.endpoint(instance)}/bex/probe:1", toolchain=tools)
    host, pods = instance.bridge_address, plant.pod_addresses("inner")
    hidden = [
        f"{host}:{instances.API_PORT}",
        f"{host}:{instance.registry_port}",
        *(f"{instance.machine_address(slot)}:10250" for slot in (1, 2)),
        *(f"{each}:8080" for each in pods),
        f"{instances.API_SERVICE_ADDRESS}:443",
        "169.254.169.254:80",
    ]
    seen = [f"{host}:{registry.GUARDED_PORT}", f"{instances.DNS_SERVICE_ADDRESS}:53"]
    asked = json.dumps(["/probe", *hidden, *seen])
    plant.server.commit("nosy", {"Dockerfile": f"FROM localhost:5050/bex/probe:1\nRUN {asked}\n"})
    plant.deploy("nosy")
    told = plant.wait_for("nosy", "BuildFailedUserError")

    assert pods
    for each in hidden:
        assert f"{each} dial tcp {each}: connect: no route to host" in told
    for each in seen:
        assert f"{each} is open" in told
