"""Lines of several pods as one log."""

from bex_stack import app_logs


def test_lines_sort_by_time_whatever_the_pod() -> None:
    """The API server's timestamps have nanoseconds."""
    late = app_logs.parse("a", "2026-01-31T12:00:00.200000001Z second")
    early = app_logs.parse("b", "2026-01-31T12:00:00.100000001Z first: 1 2")

    assert [line.content for line in sorted([late, early])] == ["first: 1 2", "second"]


def test_each_pod_keeps_its_colour() -> None:
    """Two pods differ; the same pod looks the same."""
    paint = app_logs.Painter()
    first, other, again = (
        paint(app_logs.parse(pod, "2026-01-31T12:00:00Z [bold]x")) for pod in ("a", "b", "a")
    )

    assert first.plain == "a | [bold]x"
    assert first.spans == again.spans != other.spans
