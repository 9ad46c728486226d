"""What cert-manager is asked for, and what an App hears of its certificates."""

from typing import Any

import pytest

from bex_operator.api import names
from bex_operator.plan import certificates

HOST = "web.example.com"


def certificate(
    *, ready: str = "False", hosts: tuple[str, ...] = (HOST,), **status: Any
) -> dict[str, Any]:
    """A Certificate as cert-manager leaves it."""
    told = {"type": "Ready", "status": ready, "message": "a secret is missing"}
    return {
        "metadata": {
            "name": "web-tls",
            "labels": {names.APP_UID_LABEL: "u1"},
            "ownerReferences": [{"kind": "Ingress", "name": "web", "controller": True}],
        },
        "spec": {"dnsNames": list(hosts)},
        "status": {"conditions": [told], **status},
    }


def test_each_host_has_a_secret_of_its_own() -> None:
    """The main one's is called after the App alone; a star may stand in no name."""
    made = certificates.tls("web", [HOST, "b.example.com", "*.c.example.com"])

    assert made == [
        {"hosts": [HOST], "secretName": "web-tls"},
        {"hosts": ["b.example.com"], "secretName": "web-tls-b.example.com"},
        {"hosts": ["*.c.example.com"], "secretName": "web-tls-wildcard.c.example.com"},
    ]


def test_name_that_would_be_too_long_is_shortened_to_no_clash() -> None:
    """Up to the API server's limit it stands as it is; after that a hash tells hosts apart."""
    app = "a" * 63
    fits, *long = [
        f"{letter * 63}.{'x' * size}" for letter, size in (("b", 121), ("c", 122), ("d", 122))
    ]

    made = [each["secretName"] for each in certificates.tls(app, ["main", fits, *long])]

    assert made[1] == f"{app}-tls-{fits}"
    assert [len(each) for each in made] == [67, 253, 84, 84]
    assert made[2] != made[3]
    assert made[2].startswith(f"{app}-tls-")


@pytest.mark.parametrize(("observed", "lacks"), [(1, True), (2, False), (None, False)])
def test_word_about_the_names_before_is_none_about_these(observed: int | None, lacks: bool) -> None:
    """Ready was said of another generation: the key is still that of the host before."""
    made = certificate(ready="True")
    made["metadata"]["generation"] = 2
    if observed is not None:
        made["status"]["conditions"][0]["observedGeneration"] = observed

    assert bool(certificates.lacking("web", [HOST], [made])) is lacks


def test_host_with_a_good_certificate_lacks_nothing() -> None:
    """Also while it is renewed, whatever became of an attempt."""
    good = certificate(ready="True", lastFailureTime="2026-01-31T12:00:00Z")

    assert certificates.lacking("web", [HOST], [good]) == ()
    assert certificates.lacking("web", [], []) == ()


def test_host_without_certificate_waits_for_one() -> None:
    """Nobody has begun, or it is being made, or the one there is has another name."""
    (unseen,) = certificates.lacking("web", [HOST], [])
    (making,) = certificates.lacking("web", [HOST], [certificate()])
    other = certificate(ready="True", hosts=("old.example.com",), lastFailureTime="x")
    (renamed,) = certificates.lacking("web", [HOST], [other])

    assert unseen == certificates.Lack(
        "the certificate of host 'web.example.com' is not begun: cert-manager has to see the route",
        failed=False,
    )
    message = "the certificate of host 'web.example.com' is being made"
    assert making == renamed == certificates.Lack(message, failed=False)


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ([], "cert-manager does not say why"),
        ([{"type": "Ready", "status": "False", "message": " no order "}], "no order"),
        (
            [
                {"type": "Ready", "status": "False", "message": "old"},
                {"type": "Issuing", "status": "False", "message": "x" * 301},
            ],
            "x" * 300,
        ),
    ],
    ids=["silent", "ready", "issuing"],
)
def test_failed_attempt_is_told_in_cert_managers_words(
    conditions: list[dict[str, str]], said: str
) -> None:
    """Those of the attempt rather than those of its outcome, and no more than can be read."""
    failed = certificate(lastFailureTime="2026-01-31T12:00:00Z", conditions=conditions)

    assert certificates.lacking("web", [HOST], [failed]) == (
        certificates.Lack(
            "the certificate of host 'web.example.com' could not be made; it is tried again by"
            f" itself, once the host leads here and the issuer is well: {said}",
            failed=True,
        ),
    )


def test_lacks_come_in_the_order_of_hosts() -> None:
    """The main host's first, whatever the order of certificates."""
    found = certificates.lacking("web", [HOST, "b.example.com"], [certificate()])

    assert [HOST in each.message for each in found] == [True, False]


def test_only_what_was_made_for_the_apps_ingress_is_its_own() -> None:
    """A label says little: whoever may make Certificates may write it."""
    mine = certificate()
    assert certificates.belongs(mine, "web", "u1")

    for name, value in (
        ("ownerReferences", [{"kind": "Ingress", "name": "other", "controller": True}]),
        ("ownerReferences", [{"kind": "Gateway", "name": "web", "controller": True}]),
        ("ownerReferences", [{"kind": "Ingress", "name": "web"}]),
        ("ownerReferences", None),
        ("labels", {names.APP_UID_LABEL: "u2"}),
        ("labels", None),
    ):
        other = {**mine, "metadata": mine["metadata"] | {name: value}}
        assert not certificates.belongs(other, "web", "u1")
