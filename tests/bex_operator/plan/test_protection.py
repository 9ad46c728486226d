"""Which Secrets an App names and must not."""

from bex_operator import api
from bex_operator.plan import protection


def test_every_path_to_a_secret_is_found() -> None:
    """Variables, the Secret with all variables, and what a build clones with."""
    app = api.App(
        name="web",
        repo="https://h/a",
        clone_secret="clone",
        env_from_secret="all",
        env=[
            {"name": "A", "value_from": {"secret_key_ref": {"name": "one", "key": "k"}}},
            {"name": "B", "value": "plain"},
            {"name": "C", "value_from": {"secret_key_ref": {"name": "one", "key": "l"}}},
        ],
    )

    assert protection.references(app) == {
        "one": "spec.env[A].valueFrom.secretKeyRef",
        "all": "spec.envFromSecret",
        "clone": "spec.cloneSecret",
    }


def test_every_field_that_may_name_a_secret_is_known() -> None:
    """A new field of that kind must be looked at too."""
    fields = {name for name in api.App.model_fields if "secret" in name}

    assert fields == {"env_from_secret", "clone_secret"}


def test_label_protects() -> None:
    """Its value is true and nothing else; what is not there protects nothing."""
    label = "app.bex.co/protected-from-tenant-mount"

    assert protection.is_protected({"metadata": {"labels": {label: "true"}}})
    assert not protection.is_protected({"metadata": {"labels": {label: "false"}}})
    assert not protection.is_protected({"metadata": {}})


def test_refusal_names_field_and_secret() -> None:
    """A person can mend the App from the message alone; without a Secret there is no refusal."""
    refusal = protection.refusal({"s": "spec.envFromSecret", "t": "spec.cloneSecret"}, ["s"])

    assert refusal is not None
    assert refusal.reason == "ProtectedSecretReference"
    assert refusal.message.startswith("spec.envFromSecret names Secret 's'")
    assert protection.refusal({"t": "spec.cloneSecret"}, []) is None


def test_secret_that_may_not_be_read_is_refused_with_what_mends_it() -> None:
    """Nobody may tell whether it is protected."""
    refusal = protection.unreadable("team", "s")

    assert refusal.reason == protection.UNREADABLE_REASON
    assert refusal.message == (
        "the operator may not read Secret 's' to tell whether it is protected; bind the"
        " ClusterRole 'bex-operator-secrets' to it in namespace 'team'"
    )
