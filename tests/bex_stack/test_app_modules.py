"""App definitions found and refused."""

from pathlib import Path

import pytest

from bex_stack import app_modules, errors

HEAD = "from bex_operator.api import App\n"


def write(folder: Path, module: str, text: str) -> None:
    """Write one module of apps."""
    (folder / f"{module}.py").write_text(HEAD + text)


def test_apps_are_found_without_registration(tmp_path: Path) -> None:
    """Every App at the top level of a module is found, single or in a list; by name."""
    write(tmp_path, "web", 'web = App(name="web", image="a/web:1")\n')
    write(tmp_path, "many", 'apps = [App(name="b", image="x"), App(name="a", image="x")]\n')

    assert [app.name for app in app_modules.load(tmp_path)] == ["a", "b", "web"]


def test_app_under_two_names_counts_once(tmp_path: Path) -> None:
    """A second name for the same App is no second App."""
    write(tmp_path, "web", 'web = App(name="web", image="x")\nagain = web\n')

    assert [app.name for app in app_modules.load(tmp_path)] == ["web"]


def test_edited_module_is_read_again(tmp_path: Path) -> None:
    """Nothing of an earlier load is kept."""
    write(tmp_path, "web", 'web = App(name="web", image="x", replicas=1)\n')
    app_modules.load(tmp_path)
    write(tmp_path, "web", 'web = App(name="web", image="x", replicas=2)\n')

    assert app_modules.load(tmp_path)[0].replicas == 2


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Two broken modules are two lines, each with file, line and field."""
    write(tmp_path, "one", '\none = App(name="one", image="x", port=0)\n')
    write(tmp_path, "two", 'two = App(name="two", image="x", replicaz=3)\n')

    with pytest.raises(errors.BadApp) as refused:
        app_modules.load(tmp_path)

    first, second = str(refused.value).splitlines()
    assert first.startswith("apps/one.py:3: port: 0:")
    assert second.startswith("apps/two.py:2: replicaz: 3:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("oops(", "apps/bad.py:2: SyntaxError"),
        ("import nowhere_at_all\n", "apps/bad.py:2: ModuleNotFoundError"),
        ("x = 1 / 0\n", "apps/bad.py:2: ZeroDivisionError"),
    ],
)
def test_module_that_does_not_run_is_named_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    """Whatever a module raises is reported with the line it came from."""
    write(tmp_path, "bad", text)

    with pytest.raises(errors.BadApp, match=message):
        app_modules.load(tmp_path)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ('App(name="a", image="x")', "name 'a'"),
        ('App(name="b", image="x", host="A.Example.com.")', "host 'a.example.com'"),
        ('App(name="b", image="x", hosts=("a.example.com",))', "host 'a.example.com'"),
    ],
    ids=["name", "host-spelt-otherwise", "further-host"],
)
def test_second_claim_of_a_name_or_host_is_refused(
    tmp_path: Path, second: str, message: str
) -> None:
    """The message names the value, both apps and both files."""
    write(tmp_path, "one", 'one = App(name="a", image="x", host="a.example.com")\n')
    write(tmp_path, "two", f"two = {second}\n")

    with pytest.raises(errors.BadApp) as refused:
        app_modules.load(tmp_path)

    assert message in str(refused.value)
    assert "apps/one.py" in str(refused.value)
    assert "apps/two.py" in str(refused.value)


def test_no_folder_is_no_app(tmp_path: Path) -> None:
    """A project without apps deploys none."""
    assert app_modules.load(tmp_path / "apps") == ()
