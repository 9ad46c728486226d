"""What a change of the program means for an object."""

import pytest

from bex_stack.engine import paths, values
from bex_stack.engine.kubernetes import comparison, objects

META = {"name": "web", "namespace": "default"}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": META,
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"spec": {"containers": [{"name": "a", "image": "i:1"}]}},
    },
}
LIVE = {
    **DEPLOYMENT,
    "metadata": {**META, "uid": "u", "generation": 1},
    "spec": {**DEPLOYMENT["spec"], "strategy": {"type": "RollingUpdate"}},
    "status": {"replicas": 2},
}


def compare(new, *, old=DEPLOYMENT, live=LIVE, ignored=(), patch=False):
    """Compare an object made from `old` and living as `live` with new inputs."""
    outputs = objects.checkpoint(old, live, old, "m", old["apiVersion"])
    mutable = {"mutable_config_maps": False, "mutable_secrets": False}
    return comparison.compare(outputs, new, patch=patch, ignored=ignored, mutable=mutable)


def changed(new, **options):
    """Return changed paths and what kind of change each is."""
    return {paths.render(each.path): each.kind.value for each in compare(new, **options).details}


def test_fields_of_the_cluster_are_no_change():
    """Defaults, status and metadata the server adds never show."""
    assert compare(DEPLOYMENT).changes is False


def test_changes_are_found_place_by_place():
    """Added, removed and edited fields, inside lists too."""
    new = {
        **DEPLOYMENT,
        "metadata": {**META, "labels": {"a": "b"}},
        "spec": {
            "selector": DEPLOYMENT["spec"]["selector"],
            "template": {"spec": {"containers": [{"name": "a", "image": "i:2"}]}},
        },
    }

    assert changed(new) == {
        "metadata.labels": "add",
        "spec.replicas": "delete",
        "spec.template.spec.containers[0].image": "update",
    }


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"metadata": {**META, "name": "other"}}, "metadata.name"),
        ({"metadata": {**META, "namespace": "other"}}, "metadata.namespace"),
        (
            {"spec": {**DEPLOYMENT["spec"], "selector": {"matchLabels": {"app": "x"}}}},
            "spec.selector.matchLabels.app",
        ),
    ],
    ids=["name", "namespace", "selector"],
)
def test_identity_and_immutable_fields_replace(change, path):
    """What cannot change in place needs a new object."""
    assert changed({**DEPLOYMENT, **change}) == {path: "update-replace"}


def test_same_name_is_deleted_first():
    """Two objects of one name cannot exist at once; with another name the new one comes first."""
    selector = {**DEPLOYMENT["spec"], "selector": {"matchLabels": {"app": "x"}}}

    assert compare({**DEPLOYMENT, "spec": selector}).delete_before_replace
    renamed = {**DEPLOYMENT, "metadata": {**META, "name": "n"}, "spec": selector}
    assert not compare(renamed).delete_before_replace


def test_spelling_of_the_server_is_no_change():
    """A value the server dropped or respelled is no change while the program asks the same."""
    asked = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "paused": False, "replicas": "2"}}

    assert compare(asked, old=asked, live=LIVE).changes is False


def test_ignored_paths_do_not_count():
    """ignoreChanges covers a place and everything below."""
    new = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": 5}}

    assert compare(new, ignored=("spec.replicas",)).changes is False


def test_namespace_may_be_left_out():
    """An object without a namespace is where the cluster put it."""
    bare = {**DEPLOYMENT, "metadata": {"name": "web"}}

    assert compare(bare, old=bare).changes is False


def test_patch_resources_change_in_place():
    """A Patch owns fields of an object; only another object's name replaces it."""
    selector = {**DEPLOYMENT["spec"], "selector": {"matchLabels": {"app": "x"}}}

    found = changed({**DEPLOYMENT, "spec": selector}, patch=True)

    assert found == {"spec.selector.matchLabels.app": "update"}


def test_unknown_metadata_replaces_and_unknown_spec_updates():
    """What may change identity is taken for doing so."""
    unknown_spec = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": values.UNKNOWN}}

    assert changed({**DEPLOYMENT, "metadata": values.UNKNOWN}) == {"metadata": "update-replace"}
    assert changed(unknown_spec) == {"spec.replicas": "update"}


def test_secret_values_stay_hidden_in_details():
    """A changed secret field shows its place, its values carry the mark."""
    new = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": values.secret(3)}}

    (found,) = compare(new).details

    assert values.is_secret(found.old)
    assert values.is_secret(found.new)
