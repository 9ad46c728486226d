"""Who goes first when several resources are deleted."""

from hypothesis import given
from hypothesis import strategies as st

from bex_stack.engine import deletions, state


def make(name, *dependencies, parent="", delete=False):
    """Make a resource called urn:name."""
    return state.Resource(
        urn=name,
        type="t",
        custom=True,
        dependencies=dependencies,
        parent=parent,
        delete=delete,
    )


@given(st.data())
def test_dependents_go_before_what_they_need(data):
    """In whatever graph: nothing is deleted while something that needs it is still there."""
    count = data.draw(st.integers(1, 8))
    found = []
    for index in range(count):
        needs = data.draw(st.sets(st.integers(0, index - 1))) if index else set()
        found.append(make(f"r{index}", *(f"r{each}" for each in needs)))
    condemned = data.draw(st.lists(st.sampled_from(found), unique_by=id))

    rounds = deletions.schedule(condemned, found)

    when = {each.urn: number for number, group in enumerate(rounds) for each in group}
    assert set(when) == {each.urn for each in condemned}
    for each in condemned:
        assert all(when[each.urn] < when[need] for need in each.dependencies if need in when)


def test_parents_and_go_betweens_count():
    """A child goes before its parent, also when the link runs through a resource that stays."""
    top = make("top")
    child = make("child", parent="top")
    last = make("last", "child")

    assert deletions.schedule([top, child], [top, child]) == [[child], [top]]
    assert deletions.schedule([top, last], [top, child, last]) == [[last], [top]]


def test_dependents_are_found_through_others():
    """Everything after a resource that reaches it is one of its dependents."""
    root, near, far, other = make("a"), make("b", "a"), make("c", "b"), make("d")

    assert deletions.dependents(root, [root, near, other, far]) == [near, far]
