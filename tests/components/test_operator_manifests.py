"""What the operator gets in a cluster: names, kinds, and no more rights than it uses."""

from typing import Any

from bex_operator import api
from bex_operator.api import names, rights
from bex_operator.controllers import views
from bex_operator.kube import kinds
from components.manifests import operator


def rendered() -> list[dict[str, Any]]:
    """Everything, with a user for an operator from source and one for the edge."""
    return operator.render(users=["someone"], edge_user="other")


def test_order_is_that_of_need() -> None:
    """Namespaces before what lives in them, the kind before who may use it."""
    assert [(each["kind"], each["metadata"]["name"]) for each in rendered()] == [
        ("Namespace", "bex-system"),
        ("Namespace", "bex-apps"),
        ("CustomResourceDefinition", "apps.app.bex.co"),
        ("ServiceAccount", "bex-controller-manager"),
        ("ClusterRole", "bex-operator"),
        ("ClusterRoleBinding", "bex-operator"),
        ("Role", "bex-operator"),
        ("RoleBinding", "bex-operator"),
        ("ClusterRole", "bex-operator-secrets"),
        ("RoleBinding", "bex-operator-secrets"),
        ("FlowSchema", "bex-operator"),
        ("Namespace", "bex-builds"),
        ("NetworkPolicy", "bex-builds-are-confined"),
        ("ValidatingAdmissionPolicy", "bex-builds-are-confined"),
        ("ValidatingAdmissionPolicyBinding", "bex-builds-are-confined"),
        ("Role", "bex-operator-builds"),
        ("RoleBinding", "bex-operator-builds"),
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
    """Nobody lists Secrets, the right to get one ends at the Apps' namespace, and those of builds
    are written only."""
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
        if "roleRef" in each and each["roleRef"]["name"] in reaching
    ]

    assert reaching == {
        "bex-operator-secrets": ["get"],
        "bex-operator-builds": ["create", "patch"],
    }
    assert bound == [("RoleBinding", api.NAMESPACE), ("RoleBinding", names.BUILD_NAMESPACE)]


def test_rights_go_to_the_pods_and_to_the_users_given() -> None:
    """Each binding names one role, the service account of the pods, and who else was named."""
    bindings = [each for each in rendered() if "roleRef" in each]

    bound = {
        (each["kind"], each["roleRef"]["name"]): [
            (who["kind"], who["name"]) for who in each["subjects"]
        ]
        for each in bindings
    }
    operators = [("ServiceAccount", "bex-controller-manager"), ("User", "someone")]
    assert bound == {
        ("ClusterRoleBinding", "bex-operator"): operators,
        ("RoleBinding", "bex-operator"): operators,
        ("RoleBinding", "bex-operator-secrets"): operators,
        ("RoleBinding", "bex-operator-builds"): operators,
        ("ClusterRoleBinding", "bex-edge"): [("User", "other")],
    }


def test_operator_does_not_queue_among_the_accounts_of_tenants() -> None:
    """Its requests are a flow of their own, beside those of the server's controllers."""
    (flow,) = [each["spec"] for each in rendered() if each["kind"] == "FlowSchema"]

    assert flow["priorityLevelConfiguration"] == {"name": "workload-high"}
    assert flow["rules"][0]["subjects"] == [
        {
            "kind": "ServiceAccount",
            "serviceAccount": {"name": "bex-controller-manager", "namespace": "bex-system"},
        },
        {"kind": "User", "user": {"name": "someone"}},
    ]


def test_nobody_but_the_pods_has_rights_unless_named() -> None:
    """Where everything runs in the cluster, no user is granted anything."""
    subjects = [who for each in operator.render() for who in each.get("subjects", [])]

    assert {who["kind"] for who in subjects} == {"ServiceAccount"}


def test_right_to_certificates_is_given_only_where_hosts_are_certified() -> None:
    """To read them, and to let them go; they are made by cert-manager, and keys stay its own."""
    plain, certifying = operator.render(), operator.render(certifies=True)

    role, binding = [each for each in certifying if each not in plain]
    assert role["rules"] == [
        {
            "apiGroups": ["cert-manager.io"],
            "resources": ["certificates"],
            "verbs": ["list", "watch", "delete"],
        }
    ]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [who["name"] for who in binding["subjects"]] == ["bex-controller-manager"]


def test_every_cached_kind_may_be_listed_and_watched() -> None:
    """A cache without the right would never fill."""
    granted = {(each.group, each.resource): each.verbs for each in rights.OPERATOR}

    for kind in (kinds.APP, kinds.POD, kinds.NAMESPACE, *views.CHILDREN):
        assert {"list", "watch"} <= set(granted[kind.group, kind.plural])
    for kind in views.CHILDREN:
        assert granted[kind.group, kind.plural] == rights.CHILD
    for kind in (kinds.CONTROLLER_REVISION, kinds.JOB):
        assert set(granted[kind.group, kind.plural]) == {*rights.CHILD} - {"patch"}


def test_no_more_kinds_are_granted_than_are_touched() -> None:
    """The table lists what the operator has a reason for."""
    touched = {(each.group, each.plural) for each in (kinds.APP, kinds.POD, kinds.NAMESPACE)}
    touched |= {(each.group, each.plural) for each in (*views.CHILDREN, kinds.EVENT)}
    touched |= {
        (each.group, each.plural) for each in (kinds.CONTROLLER_REVISION, kinds.JOB, kinds.NODE)
    }

    granted = {(each.group, each.resource.partition("/")[0]) for each in rights.OPERATOR}
    assert granted == touched
    assert [each.resource for each in rights.OPERATOR_IN_SYSTEM] == ["leases"]
