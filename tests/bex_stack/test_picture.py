"""The drawing of a cluster."""

from typing import Any

from rich import console

from bex_stack import picture


def node(name: str, *, ready: bool = True, unschedulable: bool = False) -> dict[str, Any]:
    """A Node object with what the picture reads."""
    condition = {"type": "Ready", "status": "True" if ready else "Unknown"}
    return {
        "metadata": {"name": name},
        "spec": {"unschedulable": unschedulable},
        "status": {"conditions": [condition]},
    }


def pod(name: str, on: str | None, *, ready: bool = True) -> dict[str, Any]:
    """A Pod object with what the picture reads."""
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": on} if on else {},
        "status": {"phase": "Running" if on else "Pending", "conditions": [condition]},
    }


def test_machines_hold_their_pods_in_order() -> None:
    """Pods stand in the machine that runs them, by name; unscheduled ones are returned apart."""
    found, waiting = picture.machines(
        [node("worker-1"), node("control-plane")],
        [pod("b", "worker-1", ready=False), pod("a", "worker-1"), pod("c", None)],
    )

    assert found == [
        picture.Machine("control-plane", "Ready", ()),
        picture.Machine(
            "worker-1", "Ready", (picture.Pod("a", "Running"), picture.Pod("b", "Starting"))
        ),
    ]
    assert waiting == [picture.Pod("c", "Pending")]


def test_machine_states_tell_draining_and_unreachable_ones() -> None:
    """A cordoned machine is Draining, one without a Ready condition NotReady."""
    found, _ = picture.machines([node("a", unschedulable=True), node("b", ready=False)], [])

    assert [machine.state for machine in found] == ["Draining", "NotReady"]


def test_drawing_names_machines_and_pods() -> None:
    """The drawing shows each machine's name and state and every pod in it."""
    terminal = console.Console(width=80, record=True, file=None, force_terminal=False)
    with terminal.capture() as captured:
        terminal.print(
            picture.draw(
                [picture.Machine("worker-1", "Ready", (picture.Pod("hello-1", "Running"),))], []
            )
        )

    assert "worker-1 · Ready" in captured.get()
    assert "hello-1" in captured.get()
