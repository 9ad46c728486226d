"""The files of a stack beside its state, as the CLI's file backend has them."""

import json

import pytest

from bex_stack.engine import errors, history
from bex_stack.engine import project as projects

PROGRAM = 'File("a", folder, "{}")'


def entries(project):
    """Return what the history says, oldest first, each with the state it left."""
    folder = project.backend / ".pulumi" / "history" / "shop" / "dev"
    return [
        (
            json.loads(path.read_text()),
            json.loads(path.with_name(path.name.replace(".history.", ".checkpoint.")).read_text()),
        )
        for path in sorted(folder.glob("*.history.json"))
    ]


def test_every_run_leaves_an_entry_with_its_state(project):
    """The CLI's `stack history` reads kind, result, times, configuration and changes."""
    (project.directory / "Pulumi.dev.yaml").write_text(
        "config:\n  size: 3\n  names: [a]\n  other:flag: true\n"
    )
    project.up(PROGRAM.format(1))
    project.preview(PROGRAM.format(2))
    project.up('File("a", folder, "2", fail=True)')
    project.engine().refresh()
    found = entries(project)

    assert [(each["kind"], each["result"]) for each, _ in found] == [
        ("update", "succeeded"),
        ("update", "failed"),
        ("refresh", "succeeded"),
    ]
    assert found[0][0]["resourceChanges"] == {"create": 2}
    assert found[0][0]["config"] == {"shop:size": "3", "shop:names": ["a"], "other:flag": "true"}
    assert found[0][0]["startTime"] <= found[0][0]["endTime"]
    assert found[-1][1] == json.loads(project.state_file.read_text())


def test_history_keeps_secrets_encrypted(project):
    """A secret of the stack file is recorded as the file has it."""
    secure = {"secure": "v1:AAAA:BBBB"}
    stack = projects.StackFile(project.directory / "Pulumi.dev.yaml", {"token": secure})

    found = projects.recorded(projects.load_project(project.directory), stack)
    assert found == {"shop:token": secure}


def test_old_entries_go(project, monkeypatch):
    """Only the newest runs are kept, both files of each."""
    monkeypatch.setattr(history, "MAX_RUNS", 2)
    for text in "123":
        project.up(PROGRAM.format(text))
    folder = project.backend / ".pulumi" / "history" / "shop" / "dev"

    assert len(entries(project)) == 2
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shop/dev.json.gz", "compressed"),
        ("shop/dev.json.zst", "compressed"),
        ("dev.json", "pulumi state upgrade"),
    ],
)
def test_state_in_another_form_is_not_taken_for_absent(project, name, words):
    """Otherwise everything would be made a second time."""
    other = project.backend / ".pulumi" / "stacks" / name
    other.parent.mkdir(parents=True)
    other.write_bytes(b"x")

    with pytest.raises(errors.StateError, match=words):
        project.up(PROGRAM.format(1))
    assert project.journal == []


def test_removed_stack_leaves_none_of_the_clis_files(project, tmp_path):
    """The CLI's storage library keeps `.attrs` files beside those of the state."""
    project.up(PROGRAM.format(1))
    other = project.state_file.with_name("other.json")
    other.write_text("{}")
    for path in (project.state_file, project.state_file.with_name("dev.json.bak")):
        path.with_name(path.name + ".attrs").write_text("{}")
    project.engine().destroy()
    project.engine().remove_stack()

    left = [path.name for path in (project.backend / ".pulumi").rglob("*") if path.is_file()]
    assert sorted(left) == ["meta.yaml", "other.json"]


def test_whole_seconds_of_a_timeout_are_integers(project):
    """As the CLI writes them."""
    project.up(
        'File("a", folder, "1", ResourceOptions('
        'custom_timeouts=pulumi.CustomTimeouts(create="5m", delete="1500ms")))'
    )

    timeouts = json.dumps(project.state["resources"][-1]["customTimeouts"])
    assert timeouts == '{"create": 300, "delete": 1.5}'
