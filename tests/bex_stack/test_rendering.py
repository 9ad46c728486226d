"""The lines of a run."""

from rich import console as consoles

from bex_stack import rendering
from bex_stack.engine import events

URN = "urn:pulumi:dev::bex::kubernetes:apps/v1:Deployment::web"
KIND = "kubernetes:apps/v1:Deployment"


def shown(*happened: events.Event, is_preview: bool = False) -> str:
    """What a person without a terminal reads of these events."""
    console = consoles.Console(width=100, highlight=False, force_terminal=False)
    view = rendering.RunView(console, is_preview=is_preview)
    with console.capture() as captured, view.shown():
        for event in happened:
            view.listen(event)
    return captured.get()


def test_finished_resource_is_one_line_with_its_time() -> None:
    """A created resource shows sign, name, type, verb and seconds."""
    text = shown(
        events.Started(URN, KIND, "web", events.Operation.CREATE),
        events.Done(URN, KIND, "web", events.Operation.CREATE, 1.25),
    )

    assert text == f" + web {KIND} created (1.2 s)\n"


def test_unchanged_resources_are_not_listed() -> None:
    """What stays the same costs no line."""
    assert shown(events.Done(URN, KIND, "web", events.Operation.SAME, 0.0)) == ""


def test_preview_shows_changed_paths_and_what_forces_replacement() -> None:
    """Each changed place is a line; secrets arrive masked."""
    changes = (
        events.Change("spec.replicas", "update", 1, 2),
        events.Change("metadata.name", "update-replace", "a", "b"),
        events.Change("data.token", "add", None, "[secret]"),
    )
    text = shown(
        events.Done(URN, KIND, "web", events.Operation.REPLACE, 0, changes, ("metadata.name",)),
        is_preview=True,
    )

    assert text.splitlines() == [
        f"+- web {KIND} would be replaced",
        "      ~ spec.replicas: 1 → 2",
        "      ~ metadata.name: 'a' → 'b' (forces replacement)",
        "      + data.token: '[secret]'",
    ]


def test_long_wait_is_said_without_a_terminal() -> None:
    """A wait is told every so often, with what it waits for; short ones stay silent."""

    def wait(seconds: float) -> events.Event:
        return events.Progress(URN, KIND, "web", events.Operation.CREATE, "1/2 ready", seconds)

    assert shown(wait(1.0), wait(16.0), wait(17.0)) == "  web: 1/2 ready (16 s)\n"


def test_markup_in_messages_is_shown_as_it_is() -> None:
    """A message with brackets cannot colour or break the output."""
    assert "[bold]x" in shown(events.Diagnostic("warning", "[bold]x"))


def test_summary_counts_what_was_done() -> None:
    """The last line counts operations, or says that there was nothing to do."""
    assert rendering.summary({"create": 2, "same": 3}, 1.0) == "2 created, 3 unchanged in 1.0 s"
    assert rendering.summary({}, 0.2) == "nothing to do in 0.2 s"


def test_what_differs_outside_is_said_in_words() -> None:
    """An update without a changed path has its reason below."""
    done = events.Done(URN, KIND, "web", events.Operation.UPDATE, 0, notes=("[web] is gone",))

    assert "      ~ [web] is gone\n" in shown(done)
