"""The engine's Kubernetes provider against a real API server with its garbage collector.

There are no kubelets and no workload controllers: what they would report is written by the tests.
"""

import pytest

from bex_operator.kube import kinds
from bex_stack.engine import events
from tests.support import api_server
from tests.support.engine_cluster import MUTABLE, WIDGETS, Cluster, cluster, project
from tests.support.engine_project import Project

__all__ = ["cluster", "project"]


def test_dropped_field_goes_and_foreign_field_stays(project: Project, cluster: Cluster) -> None:
    """An update owns exactly the program's fields, also those that the create had made."""
    project.up(MUTABLE + 'config_map("a", {"one": "1", "two": "2"}, mutable)')
    cluster.call(
        lambda client: client.patch(
            kinds.CONFIG_MAP, "a", "default", {"data": {"foreign": "x"}}, field_manager="other"
        )
    )
    result = project.up(MUTABLE + 'config_map("a", {"one": "11"}, mutable)')

    assert result.changes == {"same": 2, "update": 1}
    assert cluster.get(kinds.CONFIG_MAP, "a")["data"] == {"one": "11", "foreign": "x"}


def test_field_of_another_manager_is_a_conflict_unless_forced(
    project: Project, cluster: Cluster
) -> None:
    """Another manager's field is not overwritten silently; the message says how to take it."""
    project.up(MUTABLE + 'config_map("a", {"one": "1"}, mutable)')
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default"},
        "data": {"one": "theirs"},
    }
    cluster.call(lambda client: client.apply(body, field_manager="other"))
    refused = project.up(MUTABLE + 'config_map("a", {"one": "2"}, mutable)')
    forced = MUTABLE + (
        'config_map("a", {"one": "2"}, mutable, annotations={"pulumi.com/patchForce": "true"})'
    )

    assert "another manager owns fields" in refused.failures[0].message
    assert "patchForce" in refused.failures[0].message
    assert project.up(forced).changes == {"same": 2, "update": 1}


def test_patch_resource_gives_up_its_fields_only(project: Project, cluster: Cluster) -> None:
    """A Patch resource sets a label on a foreign object and takes it off again."""
    project.up("""
    k8s.core.v1.NamespacePatch("p", metadata={"name": "default", "labels": {"team": "blue"}})
    """)
    labelled = cluster.get(kinds.NAMESPACE, "default", None)["metadata"]["labels"]
    project.up("")
    after = cluster.get(kinds.NAMESPACE, "default", None)["metadata"]["labels"]

    assert labelled["team"] == "blue"
    assert after == {"kubernetes.io/metadata.name": "default"}


def test_existing_object_is_refused_or_upserted(project: Project, cluster: Cluster) -> None:
    """A create never overwrites what others made unless the provider says so."""
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "taken", "namespace": "default"},
        "data": {"a": "1"},
    }
    cluster.call(lambda client: client.apply(body, field_manager="kubectl"))
    refused = project.up('config_map("taken", {"b": "2"})')
    upserting = """
    provider = k8s.Provider("cluster", upsert_existing_objects=True)
    config_map("taken", {"b": "2"}, Opts(provider=provider))
    """

    assert "exists already" in refused.failures[0].message
    assert not project.up(upserting).failed
    assert cluster.get(kinds.CONFIG_MAP, "taken")["data"] == {"a": "1", "b": "2"}


def test_get_reads_an_existing_object(project: Project) -> None:
    """`.get()` records the object as external; destroy leaves it alone."""
    result = project.up("""
    found = k8s.core.v1.Namespace.get("found", "kube-system")
    pulumi.export("phase", found.status.phase)
    """)
    project.engine().destroy()

    assert result.outputs == {"phase": "Active"}
    assert not project.up().failed


def test_get_of_a_missing_object_fails(project: Project) -> None:
    """What is not there cannot be read."""
    result = project.up('k8s.core.v1.Namespace.get("found", "nowhere")')

    assert "there is no such resource: nowhere" in result.failures[0].message


def test_kubeconfig_may_be_given_as_content(
    project: Project, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document itself, even a secret output of another resource, is as good as its path."""
    monkeypatch.delenv("KUBECONFIG")
    result = project.up(f"""
    text = pulumi.Output.secret(Path({str(cluster.kubeconfig)!r}).read_text())
    provider = k8s.Provider("cluster", kubeconfig=text)
    config_map("a", {{"one": "1"}}, Opts(provider=provider))
    """)

    assert result.changes == {"create": 3}
    assert "client-key-data" not in project.state_file.read_text()
    assert not project.engine().destroy().failed


def test_preview_before_the_cluster_exists(project: Project, cluster: Cluster) -> None:
    """With a kubeconfig that is not known yet a preview shows creates; up then makes them."""
    program = f"""
    made = File("kubeconfig", folder, Path({str(cluster.kubeconfig)!r}).read_text())
    provider = k8s.Provider("cluster", kubeconfig=made.id)
    config_map("a", {{"one": "1"}}, Opts(provider=provider))
    """
    assert project.preview(program).changes == {"create": 4}
    assert project.up().changes == {"create": 4}
    assert project.up().changes == {"same": 4}


def test_unreachable_cluster_fails_up_but_not_a_preview(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preview without a cluster shows what is known; up names the address."""
    kubeconfig = project.folder / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n"
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    program = 'config_map("a", {"one": "1"})'

    assert project.preview(program).changes == {"create": 2}
    assert "http://127.0.0.1:9 does not answer" in project.up(program).failures[0].message


def test_unnamed_object_gets_a_stable_name(project: Project) -> None:
    """An object without metadata.name is named after its resource, the same on every run."""
    program = 'm = k8s.core.v1.ConfigMap("auto", data={"a": "1"}); pulumi.export("n", m.id)'
    first = project.up(program)
    second = project.up()

    assert first.outputs["n"].startswith("default/auto-")
    assert second.changes == {"same": 2}
    assert second.outputs == first.outputs


def test_secret_values_are_masked_in_changes(project: Project) -> None:
    """A changed Secret shows which key changed, never the values."""
    program = """
    k8s.core.v1.Secret("s", metadata={"name": "s", "namespace": "default"},
        string_data={"word": WORD})
    """
    project.up(program.replace("WORD", "'firstword'"))
    result = project.up(program.replace("WORD", "'secondword'"))

    done = [each for each in project.events if isinstance(each, events.Done) and each.changes]
    assert result.changes == {"same": 1, "replace": 1}
    assert done[0].changes == (
        events.Change("data.word", "update-replace", "[secret]", "[secret]"),
    )
    assert "firstword" not in repr(project.events) + project.state_file.read_text()


def test_preview_shows_what_the_server_would_do(project: Project, cluster: Cluster) -> None:
    """The dry run of an update also shows what changed outside and would be put back."""
    project.up(MUTABLE + 'config_map("a", {"one": "1", "two": "2"}, mutable)')
    cluster.call(
        lambda client: client.patch(
            kinds.CONFIG_MAP, "a", "default", {"data": {"two": "edited"}}, field_manager="hand"
        )
    )
    project.events.clear()
    project.preview(MUTABLE + 'config_map("a", {"one": "11", "two": "2"}, mutable)')

    done = [each for each in project.events if isinstance(each, events.Done) and each.changes]
    found = {each.path: (each.old, each.new) for each in done[0].changes}
    assert found == {"data.one": ("1", "11"), "data.two": ("edited", "2")}


def test_refresh_sees_drift_and_loss(project: Project, cluster: Cluster) -> None:
    """After a refresh, up puts edited fields back and makes lost objects again."""
    program = MUTABLE + 'config_map("a", {"one": "1"}, mutable); config_map("b", {"x": "y"})'
    project.up(program)
    cluster.call(
        lambda client: client.patch(
            kinds.CONFIG_MAP, "a", "default", {"data": {"one": "edited"}}, field_manager="hand"
        )
    )
    cluster.call(lambda client: client.delete(kinds.CONFIG_MAP, "b", "default"))
    refreshed = project.engine().refresh()
    annotated = program.replace(
        'config_map("a", {"one": "1"}, mutable)',
        'config_map("a", {"one": "1"}, mutable, annotations={"pulumi.com/patchForce": "true"})',
    )
    project.up(annotated)

    assert refreshed.changes == {"update": 1, "delete": 1}
    assert cluster.get(kinds.CONFIG_MAP, "a")["data"] == {"one": "1"}
    assert cluster.get(kinds.CONFIG_MAP, "b")["data"] == {"x": "y"}


def test_definition_is_updated_in_place(project: Project, cluster: Cluster) -> None:
    """A CRD keeps its objects when its schema changes."""
    project.up(WIDGETS)
    uid = cluster.get(kinds.CUSTOM_RESOURCE_DEFINITION, "gadgets.test.dev", None)["metadata"]["uid"]
    changed = WIDGETS.replace('{"spec": anything,', '{"extra": anything, "spec": anything,')
    result = project.up(changed)
    after = cluster.get(kinds.CUSTOM_RESOURCE_DEFINITION, "gadgets.test.dev", None)

    assert result.changes == {"same": 1, "update": 1}
    assert after["metadata"]["uid"] == uid
    assert "extra" in after["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    assert project.up().changes == {"same": 2}


def test_another_cluster_gets_new_objects_and_the_old_one_loses_them(
    project: Project, cluster: Cluster
) -> None:
    """When the kubeconfig means another cluster, objects move: made there first, deleted here."""
    program = """
    provider = k8s.Provider("cluster", kubeconfig={!r})
    # The second cluster has no garbage collector, which foreground deletes wait for.
    config_map("moving", {{"a": "1"}}, Opts(provider=provider),
               annotations={{"pulumi.com/deletionPropagationPolicy": "background"}})
    """
    project.up(program.format(str(cluster.kubeconfig)))
    with api_server.run_api_server() as second:
        other = Cluster(second.kubeconfig)
        result = project.up(program.format(str(second.kubeconfig)))
        moved = other.get(kinds.CONFIG_MAP, "moving")
        left = cluster.get(kinds.CONFIG_MAP, "moving")
        project.up(program.format(str(cluster.kubeconfig)))

    assert not result.failed
    assert result.changes["replace"] == 2
    assert moved["data"] == {"a": "1"}
    assert left is None


def test_update_of_a_lost_object_says_what_to_do(project: Project, cluster: Cluster) -> None:
    """An object deleted by hand is not silently made again by an update; a refresh helps."""
    project.up(MUTABLE + 'config_map("a", {"one": "1"}, mutable)')
    cluster.call(lambda client: client.delete(kinds.CONFIG_MAP, "a", "default"))
    changed = MUTABLE + 'config_map("a", {"one": "2"}, mutable)'
    failed = project.up(changed)
    project.engine().refresh()

    assert "refresh the stack" in failed.failures[0].message
    assert project.up(changed).changes == {"same": 2, "create": 1}
