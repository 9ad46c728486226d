"""Host names: one form, and which cover which."""

import pytest

from bex_operator import api
from bex_operator.api import hosts


def test_punycode_folds_like_any_name() -> None:
    """The encoded form of an international name has one spelling too."""
    assert hosts.fold("XN--BCHER-KVA.Example.") == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("a.b", "a.b", True),
        ("*.b.c", "a.b.c", True),
        ("a.b.c", "*.b.c", True),
        ("*.b.c", "b.c", False),
        ("*.b.c", "x.a.b.c", False),
        ("*.b.c", "*.a.b.c", False),
        ("a.b.c", "d.b.c", False),
    ],
)
def test_overlap_is_one_label_deep(one: str, other: str, wanted: bool) -> None:
    """A wildcard stands for one label and covers no parent."""
    assert hosts.overlap(one, other) is wanted


def test_exposed_app_has_the_platforms_name_after_its_main_one() -> None:
    """The main host stays first; without a base domain there is nothing to add."""
    app = api.App(name="web", image="a", host="a.b", hosts=["c.d", "web.apps.e"], expose=True)

    assert api.hosts_of(app, "apps.e") == ("a.b", "web.apps.e", "c.d")
    assert api.hosts_of(app) == ("a.b", "c.d", "web.apps.e")


@pytest.mark.parametrize("text", ["", "a..b", "-a", "*.a.b", "a b", "x" * 64, "a." * 120 + "a"])
def test_base_domain_is_a_domain(text: str) -> None:
    """One that is none, or that leaves no room for a name, is refused at the start."""
    with pytest.raises(ValueError, match="is no domain"):
        hosts.domain(text)


def test_platforms_names_are_folded() -> None:
    """An operator's own arguments are read like hosts."""
    assert hosts.domain("Apps.Example.COM.") == "apps.example.com"
    assert hosts.pattern("*.Bex.co") == "*.bex.co"
    with pytest.raises(ValueError, match="neither a host nor a wildcard"):
        hosts.pattern("*.*.a")
