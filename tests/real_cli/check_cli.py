"""The embedded engine and a real Pulumi CLI take turns on one stack: `make check-cli PULUMI=PATH`.

Needs the CLI with its Python language host beside it, as its archive has them; no plugin and no
network. Everything lies in a folder of the test's own, PULUMI_HOME too.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine_project import Project

CLI = Path(os.environ["PULUMI"]).resolve()
SALT = "test"
GOES_WITH_ANOTHER = "options.txt"
"""The file of a resource with `deleted_with`, which nobody deletes."""
PROGRAM = """
class Shop(pulumi.ComponentResource):
    def __init__(self, name, opts=None):
        super().__init__("shop:index:Shop", name, {{"size": {size}}}, opts)
        child = ResourceOptions(parent=self)
        self.one = File(f"{{name}}-one", folder, "{text}", child, file="one{suffix}.txt")
        size = self.one.size.apply(lambda size: f"size {{size:.0f}}")
        self.two = File(f"{{name}}-two", folder, size, child, file="two.txt")
        self.register_outputs({{"size": self.one.size}})


config = pulumi.Config()
shop = Shop("{name}", ResourceOptions(aliases=[pulumi.Alias(name="shop")]))
after = ResourceOptions(depends_on=[shop])
File("secret", folder, config.get_secret("token") or pulumi.Output.secret("s3cret"), after)
File("kept", folder, config.get("names"), ResourceOptions(protect={protect}))
File("ignored", folder, "{text}", ResourceOptions(ignore_changes=["text"]))
options = ResourceOptions(
    additional_secret_outputs=["size"],
    deleted_with=shop.one,
    delete_before_replace=True,
    custom_timeouts=pulumi.CustomTimeouts(create="5m"),
)
File("options", folder, "{text}", options, number=2.5, deep={{"a": [1, None, {{"b": True}}]}})
{extra}
pulumi.export("size", shop.one.size)
pulumi.export("token", pulumi.Output.secret("{text}"))
"""
PLAIN: dict[str, Any] = {
    "size": 1,
    "text": "1",
    "suffix": "",
    "name": "shop",
    "protect": False,
    "extra": 'File("last", folder, "1")',
}
EDITS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "update": {"text": "22"},
    "replace": {"suffix": "-2"},
    "component": {"size": 2},
    "rename": {"name": "store"},
    "protect": {"protect": True},
    "delete": {"extra": ""},
}
SCHEMA = """
name: shop
runtime: {{name: python, options: {{virtualenv: {venv}}}}}
config:
  shop:names: {{type: array, items: {{type: string}}, default: [a, b]}}
  shop:size: {{type: integer, default: 3}}
"""


def program(**changed: Any) -> str:
    """Return the program, perhaps edited."""
    return PROGRAM.format(**{**PLAIN, **changed})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Offer a project that both can run."""
    made = Project(tmp_path)
    (made.directory / "Pulumi.yaml").write_text(SCHEMA.format(venv=sys.prefix))
    made.backend.mkdir()
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", SALT)
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{made.backend}")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PULUMI_SKIP_UPDATE_CHECK", "true")
    monkeypatch.setenv("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "true")
    monkeypatch.setenv("PATH", f"{CLI.parent}:{os.environ['PATH']}")
    return made.write(program())


def cli(project: Project, *arguments: str, fails: bool = False) -> str:
    """Run the CLI on stack dev; return what it printed."""
    command = [str(CLI), *arguments, "--stack", "dev", "--non-interactive"]
    done = subprocess.run(
        command, cwd=project.directory, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + (done.stderr if fails else "")


def up(project: Project) -> str:
    """Let the CLI bring the stack up."""
    return cli(project, "up", "--yes", "--skip-preview")


def masked(project: Project) -> dict[str, Any]:
    """Return the resources of the state by URN, without what differs from run to run."""
    found = {}
    for record in project.state["resources"]:
        for key in ("created", "modified", "sourcePosition", "stackTrace"):
            record.pop(key, None)
        if record["type"].startswith("pulumi:providers:"):
            record["id"] = "id"
        if "provider" in record:
            record["provider"] = record["provider"].rpartition("::")[0]
        if "dependencies" in record:
            record["dependencies"].sort()
        found[record["urn"]] = json.loads(json.dumps(record), object_hook=_without_ciphertext)
    return found


def _without_ciphertext(value: dict[str, Any]) -> dict[str, Any]:
    return {key: "" if key == "ciphertext" else each for key, each in value.items()}


def steps(document: Any) -> list[tuple[str, str, Any]]:
    """Return what a preview's document plans, in no order."""
    return sorted(
        (each["urn"], each["op"], each.get("replaceReasons")) for each in document["steps"]
    )


def test_cli_takes_over_a_stack_of_the_engine(project: Project) -> None:
    """What the engine made is unchanged to the CLI, which refreshes it and takes it down."""
    project.up()
    cli(project, "preview", "--expect-no-changes")
    cli(project, "refresh", "--yes", "--skip-preview", "--expect-no-changes")
    again = project.up()
    history = json.loads(cli(project, "stack", "history", "--json"))
    cli(project, "destroy", "--yes", "--skip-preview")

    assert set(again.changes) == {"same"}
    assert [each["kind"] for each in history] == ["update", "refresh", "update"]
    assert list(project.files) == [GOES_WITH_ANOTHER]


def test_engine_takes_over_a_stack_of_the_cli(project: Project) -> None:
    """What the CLI made from nothing is unchanged to the engine, secrets included."""
    cli(project, "stack", "init")
    cli(project, "config", "set", "--secret", "token", "from-the-cli")
    up(project)
    seen = project.preview()
    again = project.up()
    cli(project, "preview", "--expect-no-changes")
    project.engine().destroy()

    assert (set(seen.changes), set(again.changes)) == ({"same"}, {"same"})
    assert (list(project.files), project.names) == ([GOES_WITH_ANOTHER], [])


def test_both_write_the_same_state(project: Project) -> None:
    """Record by record, times and ids of providers apart."""
    cli(project, "stack", "init")
    up(project)
    theirs = masked(project)
    cli(project, "destroy", "--yes", "--skip-preview")
    project.up()

    assert masked(project) == theirs


@pytest.mark.parametrize("edit", EDITS)
def test_both_plan_and_do_the_same(project: Project, edit: str) -> None:
    """An edit means the same steps to both; what one has done is nothing to do for the other."""
    project.up()
    project.write(program(**EDITS[edit]))
    theirs = json.loads(cli(project, "preview", "--json"))
    ours = project.preview().digest
    up(project)
    after = project.preview()

    assert steps(ours) == steps(theirs)
    assert ours["changeSummary"] == theirs["changeSummary"]
    assert set(after.changes) == {"same"}


def test_each_finishes_what_the_other_began(project: Project) -> None:
    """A failed run of one is gone on with by the other."""
    last = 'File("last", folder, "1", ResourceOptions(depends_on=[shop]), fail=True)'
    broken = program(extra=last)
    cli(project, "stack", "init")
    project.write(broken)
    cli(project, "up", "--yes", "--skip-preview", fails=True)
    first = project.up(broken.replace("fail=True", "fail=False"))
    project.up(program(extra='File("more", folder, "1", fail=True)'))
    project.write(program(extra='File("more", folder, "1")'))
    up(project)

    assert first.changes["create"] == 1
    assert set(project.preview().changes) == {"same"}


def test_cli_waits_for_a_run_of_the_engine(project: Project) -> None:
    """The engine's lock is the CLI's lock."""
    project.up()
    lock = project.backend / ".pulumi" / "locks" / "organization" / "shop" / "dev" / "one.json"
    since = "2026-01-01T00:00:00Z"
    held = {"pid": os.getpid(), "username": "u", "hostname": "h", "timestamp": since}
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(json.dumps(held))

    assert "currently locked" in cli(project, "up", "--yes", "--skip-preview", fails=True)
