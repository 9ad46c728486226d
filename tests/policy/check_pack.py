"""The policy pack itself, in its own environment, asked as the Pulumi CLI asks: by gRPC."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2, json_format
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from tests.policy import test_rules
from tests.support import pulumi_recorder

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "policy/.venv/bin/python"
SECONDS = 120


@pytest.fixture(scope="module")
def analyzer() -> Iterator[analyzer_pb2_grpc.AnalyzerStub]:
    """Start the pack as the CLI's language host does; it prints its port."""
    environment = {
        **os.environ,
        "PULUMI_PROJECT": "bex",
        "PULUMI_STACK": "hetzner",
        "PULUMI_DRY_RUN": "true",
    }
    command = [PYTHON, "-u", "-m", "pulumi.policy", "127.0.0.1:1", "."]
    with subprocess.Popen(
        command, cwd=ROOT / "policy", env=environment, stdout=subprocess.PIPE, text=True
    ) as pack:
        try:
            assert pack.stdout is not None
            port = int(pack.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield analyzer_pb2_grpc.AnalyzerStub(channel)
        finally:
            pack.terminate()


def request(kind: str, props: dict[str, object]) -> analyzer_pb2.AnalyzeRequest:
    """Wrap a resource as the engine does."""
    made = analyzer_pb2.AnalyzeRequest(type=kind, urn=f"urn:pulumi:hetzner::bex::{kind}::it")
    made.name = "it"
    json_format.ParseDict(props, made.properties)
    return made


def test_pack_tells_its_rules(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    """Every rule is a mandatory policy with a description."""
    told = analyzer.GetAnalyzerInfo(empty_pb2.Empty(), timeout=SECONDS)

    assert told.name == "bex"
    assert {each.name for each in told.policies} == set(test_rules.rules.RULES)
    assert all(each.description for each in told.policies)
    assert {each.enforcementLevel for each in told.policies} == {analyzer_pb2.MANDATORY}


@pytest.mark.parametrize(("name", "kind", "props", "said"), test_rules.BROKEN)
def test_pack_refuses_what_its_rules_forbid(
    analyzer: analyzer_pb2_grpc.AnalyzerStub,
    name: str,
    kind: str,
    props: dict[str, object],
    said: str,
) -> None:
    """Through the whole way: gRPC, the pack's proxies for unknown values, the rule."""
    answer = analyzer.Analyze(request(kind, props), timeout=SECONDS)

    told = [each.message for each in answer.diagnostics if each.policyName == name]
    assert any(said in each for each in told), answer


@pytest.mark.parametrize("stack", ["embedded", "local", "hetzner"])
@pytest.mark.usefixtures("locked")
def test_pack_lets_every_stack_pass(analyzer: analyzer_pb2_grpc.AnalyzerStub, stack: str) -> None:
    """With every input that the program registers; unknown values are left to the `up`."""
    recording = test_rules.record(stack)
    told = []
    for each in recording.resources:
        props = {k: v for k, v in pulumi_recorder.reveal(each.inputs).items() if v is not None}
        asked = request(each.type, props)
        asked.options.protect = each.protect
        answer = analyzer.Analyze(asked, timeout=SECONDS)
        told += [
            (each.name, diagnostic.message)
            for diagnostic in answer.diagnostics
            if diagnostic.enforcementLevel == analyzer_pb2.MANDATORY
            # The pack runs as the stack `hetzner`; elsewhere a tag is good enough.
            and (stack == "hetzner" or diagnostic.policyName != "images-by-digest")
        ]

    assert told == []


locked = test_rules.locked
