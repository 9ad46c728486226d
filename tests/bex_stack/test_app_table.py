"""Rows of the app table."""

from typing import Any

from rich import console as consoles

from bex_stack import app_table


def app(*, status: dict[str, Any], host: str = "hello.localhost") -> dict[str, Any]:
    """An App object with what the table reads."""
    return {"metadata": {"name": "hello"}, "spec": {"host": host, "replicas": 2}, "status": status}


def test_running_app_shows_revision_ready_pods_and_url() -> None:
    """The row has all a person needs to call the app."""
    status = {
        "phase": "Running",
        "activeRevision": "rev-1",
        "readyReplicas": 2,
        "url": "http://hello.localhost:8080",
        "conditions": [{"type": "Ready", "status": "True", "message": "2/2 replicas ready"}],
    }

    row = app_table.row(app(status=status))

    assert row == app_table.Row(
        "hello", "Running", "rev-1", "2/2", "http://hello.localhost:8080", ""
    )


def test_app_in_trouble_shows_what_is_in_the_way() -> None:
    """The Ready condition's message stands in the row."""
    status = {
        "phase": "Failed",
        "conditions": [{"type": "Ready", "status": "False", "message": "m"}],
    }

    assert app_table.row(app(status=status)).message == "m"


def test_table_is_cut_by_columns() -> None:
    """Columns stand apart by blanks only, so that awk and cut can read them."""
    rows = [app_table.Row("hello", "Running", "rev-1", "2/2", "http://hello.localhost:8080", "")]
    console = consoles.Console(width=120, force_terminal=False)

    with console.capture() as captured:
        console.print(app_table.render(rows))

    assert captured.get().splitlines()[-1].split() == [
        "hello",
        "Running",
        "rev-1",
        "2/2",
        "http://hello.localhost:8080",
    ]
