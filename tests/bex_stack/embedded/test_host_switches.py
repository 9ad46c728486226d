"""Settings the whole host shares are raised for the first instance and set back by the last."""

from pathlib import Path

from bex_stack.embedded import host_switches
from bex_stack.embedded import instance as instances


def make_switch(folder: Path, value: int, least: int) -> host_switches.Switch:
    """A number in a file, as below /proc/sys."""
    path = folder / "number"
    path.write_text(f"{value}\n")
    return host_switches.Switch(path, least)


def test_the_last_instance_sets_back(tmp_path: Path) -> None:
    """With two instances the first to go leaves the switch on, the second restores it."""
    switch = make_switch(tmp_path, value=0, least=1)
    where = {"switches": (switch,), "shared": tmp_path / "shared"}
    one, two = (instances.Instance(home=tmp_path, name=name) for name in ("one", "two"))
    values = []
    for step, instance in (
        (host_switches.ensure, one),
        (host_switches.ensure, two),
        (host_switches.release, one),
        (host_switches.release, two),
        (host_switches.release, two),
    ):
        step(instance, **where)  # type: ignore[arg-type]
        values.append(switch.value)

    assert values == [1, 1, 1, 0, 0]
    assert not (tmp_path / "shared").exists()


def test_a_switch_that_is_high_enough_stays(tmp_path: Path) -> None:
    """Nothing is ever lowered."""
    switch = make_switch(tmp_path, value=8192, least=1024)
    instance = instances.Instance(home=tmp_path)
    host_switches.ensure(instance, switches=(switch,), shared=tmp_path / "shared")

    assert switch.value == 8192
    assert host_switches.are_on(switches=(switch,))
