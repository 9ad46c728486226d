"""What the operator gets in a cluster: names, kinds, and no more rights than it uses."""

from typing import Any

from bex_operator import api
from bex_operator.api import rights
from bex_operator.controllers import views
from bex_operator.kube import kinds
from components.manifests import operator


def rendered() -> list[dict[str, Any]]:
    """Everything, for two users."""
    return operator.render(operator_user="someone", edge_user="other")


def test_order_is_that_of_need() -> None:
    """Namespaces before what lives in them, the kind before who may use it."""
    assert [(each["kind"], each["metadata"]["name"]) for each in rendered()] == [
        ("Namespace", "bex-system"),
        ("Namespace", "bex-apps"),
        ("CustomResourceDefinition", "apps.app.bex.co"),
        ("ClusterRole", "bex-operator"),
        ("ClusterRoleBinding", "bex-operator"),
        ("Role", "bex-operator"),
        ("RoleBinding", "bex-operator"),
        ("ClusterRole", "bex-operator-secrets"),
        ("RoleBinding", "bex-operator-secrets"),
        ("ClusterRole", "bex-edge"),
        ("ClusterRoleBinding", "bex-edge"),
    ]


def test_apps_namespace_refuses_what_is_dangerous() -> None:
    """Pod Security: baseline enforced, restricted told."""
    (apps,) = [each for each in rendered() if each["metadata"]["name"] == api.NAMESPACE]

    assert apps["metadata"]["labels"] == {
        "app.kubernetes.io/part-of": "bex",
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/audit": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    }


def test_no_right_is_a_wildcard() -> None:
    """Nobody may do everything."""
    for role in (each for each in rendered() if each["kind"] in {"ClusterRole", "Role"}):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_secrets_are_read_by_name_and_only_where_apps_live() -> None:
    """Nobody lists Secrets, and the right to get one ends at the Apps' namespace."""
    roles = [each for each in rendered() if each["kind"] in {"ClusterRole", "Role"}]
    reaching = {
        role["metadata"]["name"]: rule["verbs"]
        for role in roles
        for rule in role["rules"]
        if "secrets" in rule["resources"]
    }
    bound = [
        (each["kind"], each["metadata"].get("namespace"))
        for each in rendered()
        if each["kind"].endswith("Binding") and each["roleRef"]["name"] in reaching
    ]

    assert reaching == {"bex-operator-secrets": ["get"]}
    assert bound == [("RoleBinding", api.NAMESPACE)]


def test_users_are_those_given() -> None:
    """Each binding names one user and one role."""
    bindings = [each for each in rendered() if each["kind"].endswith("Binding")]

    bound = [(each["roleRef"]["name"], each["subjects"][0]["name"]) for each in bindings]
    assert bound == [
        ("bex-operator", "someone"),
        ("bex-operator", "someone"),
        ("bex-operator-secrets", "someone"),
        ("bex-edge", "other"),
    ]


def test_every_cached_kind_may_be_listed_and_watched() -> None:
    """A cache without the right would never fill."""
    granted = {(each.group, each.resource): each.verbs for each in rights.OPERATOR}

    for kind in (kinds.APP, kinds.POD, kinds.NAMESPACE, *views.CHILDREN):
        assert {"list", "watch"} <= set(granted[kind.group, kind.plural])
    for kind in views.CHILDREN:
        assert granted[kind.group, kind.plural] == rights.CHILD
    records = granted[kinds.CONTROLLER_REVISION.group, kinds.CONTROLLER_REVISION.plural]
    assert set(records) == {*rights.CHILD} - {"patch"}


def test_no_more_kinds_are_granted_than_are_touched() -> None:
    """The table lists what the operator has a reason for."""
    touched = {(each.group, each.plural) for each in (kinds.APP, kinds.POD, kinds.NAMESPACE)}
    touched |= {(each.group, each.plural) for each in (*views.CHILDREN, kinds.EVENT)}
    touched |= {(kinds.CONTROLLER_REVISION.group, kinds.CONTROLLER_REVISION.plural)}

    granted = {(each.group, each.resource.partition("/")[0]) for each in rights.OPERATOR}
    assert granted == touched
    assert [each.resource for each in rights.OPERATOR_IN_SYSTEM] == ["leases"]
