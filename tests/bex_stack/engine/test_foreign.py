"""Stacks with resources that only the pulumi CLI can manage: previewed here, refused otherwise."""

import json
import re

import pytest

from bex_stack.engine import errors, events

SERVERS = """
class Server(pulumi.CustomResource):
    address: pulumi.Output[str]

    def __init__(self, name, opts=None, **args):
        super().__init__("cloud:index/server:Server", name, {**args, "address": None}, opts)


provider = pulumi.CustomResource("pulumi:providers:cloud", "cloud", {"token": "t"})
first = Server("first", size="small", labels={"a": "b"})
File("inventory", folder, first.address)
Server("second", first=first.address, size=pulumi.Output.secret("big"))
pulumi.export("address", first.address)
"""
CHART = """
import pulumi_kubernetes.helm.v4 as helm
helm.Chart("chart", chart="x")
"""
UNREACHABLE = """
import pulumi_kubernetes as kubernetes

KUBECONFIG = '''
apiVersion: v1
kind: Config
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: a, user: {}}]
'''
cluster = kubernetes.Provider("cluster", kubeconfig=KUBECONFIG, namespace="shop")
for number in range(3):
    kubernetes.core.v1.ConfigMap(
        f"settings-{number}",
        metadata={"name": f"settings-{number}"},
        data={"a": "b"},
        opts=ResourceOptions(provider=cluster),
    )
"""


def test_preview_lists_inputs_and_leaves_outputs_unknown(project):
    """A resource of an unknown package is planned with what the program gives it."""
    result = project.preview(SERVERS)

    planned = {each["urn"].rsplit("::", 1)[-1]: each["newState"] for each in result.digest["steps"]}
    shown = {
        each.name: {change.path: change.new for change in each.changes}
        for each in project.events
        if isinstance(each, events.Done)
    }
    assert not result.failed
    assert result.changes == {"create": 5}
    assert planned["first"]["inputs"] == {"size": "small", "labels": {"a": "b"}}
    assert shown["first"] == {"size": "small", "labels": {"a": "b"}}
    assert shown["second"] == {"size": "[secret]", "first": "[unknown]"}
    assert result.outputs == {"address": "[unknown]"}


def test_preview_says_who_can_do_it(project):
    """The preview names the types and the CLI's command for them."""
    project.preview(SERVERS)

    assert "cloud:index/server:Server" in project.messages()
    assert f"pulumi up --cwd {project.directory} --stack dev" in project.messages()


@pytest.mark.parametrize(
    ("program", "type_token"),
    [(SERVERS, "cloud:index/server:Server"), (CHART, "kubernetes:helm.sh/v4:Chart")],
    ids=["package", "component"],
)
def test_up_refuses_before_anything_is_touched(project, program, type_token):
    """What comes before the foreign resource in the program is not made either."""
    with pytest.raises(errors.NeedsCli, match=re.escape(type_token)) as refused:
        project.up('File("before", folder, "1")\n' + program)

    assert re.search(r"__main__\.py:\d+\)", str(refused.value))
    assert f"export PULUMI_BACKEND_URL=file://{project.backend}; pulumi stack init" in str(
        refused.value
    )
    assert project.journal == []
    assert not project.state_file.exists()


@pytest.mark.parametrize("method", ["up", "destroy", "refresh"])
def test_state_with_foreign_resources_is_left_alone(project, method):
    """What the CLI made is not taken apart by an engine that knows only half of it."""
    project.up('File("a", folder, "1")')
    document = json.loads(project.state_file.read_text())
    urn = "urn:pulumi:dev::shop::cloud:index/server:Server::s"
    document["checkpoint"]["latest"]["resources"].append(
        {"urn": urn, "custom": True, "id": "1", "type": "cloud:index/server:Server"}
    )
    project.state_file.write_text(json.dumps(document))

    with pytest.raises(errors.NeedsCli, match=f"pulumi {method}"):
        getattr(project.engine(), method)()
    assert project.files == {"a.txt": "1"}
    assert json.loads(project.state_file.read_text()) == document


def test_preview_of_a_changed_foreign_resource_says_what_differs(project):
    """Inputs are compared with those of the last run, whoever did it."""
    project.up("pass")
    document = json.loads(project.state_file.read_text())
    urn = "urn:pulumi:dev::shop::cloud:index/server:Server::first"
    provider = "urn:pulumi:dev::shop::pulumi:providers:cloud::default"
    document["checkpoint"]["latest"]["resources"] += [
        {"urn": provider, "custom": True, "id": "p", "type": "pulumi:providers:cloud"},
        {
            "urn": urn,
            "custom": True,
            "id": "1",
            "type": "cloud:index/server:Server",
            "inputs": {"size": "large", "labels": {"a": "b"}},
            "outputs": {"size": "large", "address": "10.0.0.1"},
            "provider": f"{provider}::p",
        },
    ]
    project.state_file.write_text(json.dumps(document))
    result = project.preview(SERVERS)

    steps = {each["urn"]: each for each in result.digest["steps"]}
    assert steps[urn]["op"] == "update"
    assert steps[urn]["detailedDiff"] == {"size": {"kind": "update", "inputDiff": True}}


def test_refresh_of_a_stack_that_does_not_exist_writes_nothing(project, monkeypatch):
    """There is nothing to look at, and no passphrase is made for it."""
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE")
    result = project.write("pass").engine().refresh()

    assert (result.changes, result.failed) == ({}, False)
    assert [each for each in project.backend.rglob("*") if each.is_file()] == []


def test_preview_asks_a_silent_cluster_once(project):
    """The plan is made from inputs; one warning says so."""
    result = project.preview(UNREACHABLE)

    warnings = [
        each.message
        for each in project.events
        if isinstance(each, events.Diagnostic) and each.severity == "warning"
    ]
    assert (result.changes, result.failed) == ({"create": 5}, False)
    assert len(warnings) == 1
    assert "127.0.0.1:1" in warnings[0]
