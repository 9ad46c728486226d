"""The engine on programs with dynamic resources: each option does what it does in the CLI."""

import json
from pathlib import Path

import pytest

from bex_stack.engine import errors, events

TWO = """
a = File("a", folder, "1")
b = File("b", folder, a.size.apply(lambda size: f"size {size:.0f}"))
pulumi.export("size", a.size)
"""


def test_up_creates_and_second_up_changes_nothing(project):
    """The first run makes everything in order; the second one touches neither files nor state."""
    first = project.up(TWO)
    written = project.state_file.read_text()
    second = project.up()

    assert first.changes == {"create": 3}
    assert first.outputs == {"size": 1}
    assert second.changes == {"same": 3}
    assert project.files == {"a.txt": "1", "b.txt": "size 1"}
    assert project.journal == ["create a.txt", "create b.txt"]
    assert project.state_file.read_text() == written


def test_preview_touches_nothing(project):
    """A preview of a new stack neither calls the provider nor writes a state."""
    result = project.preview(TWO)

    assert result.changes == {"create": 3}
    assert [step["op"] for step in result.digest["steps"]] == ["create"] * 3
    assert project.journal == []
    assert not project.state_file.exists()


def test_update_reports_changed_paths(project):
    """An edit updates in place and says from what to what."""
    project.up(TWO)
    result = project.up(TWO.replace('"1"', '"22"'))

    done = [each for each in project.events if isinstance(each, events.Done) and each.changes]
    assert result.changes == {"update": 2, "same": 1}
    assert project.files == {"a.txt": "22", "b.txt": "size 2"}
    assert done[0].changes == (events.Change("text", "update", "1", "22"),)


def test_removed_resource_is_deleted_after_everything_else(project):
    """What the program no longer has goes last."""
    project.up(TWO)
    result = project.up('c = File("c", folder, "3")')

    assert result.changes == {"same": 1, "create": 1, "delete": 2}
    assert project.journal[2:] == ["create c.txt", "delete b.txt", "delete a.txt"]
    assert project.names == ["c"]


def test_replacement_creates_first_and_deletes_last(project):
    """A change that needs a new resource keeps the old one until its successor is there."""
    project.up('a = File("a", folder, "1")')
    result = project.up('a = File("a", folder, "1", file="other.txt")')

    assert result.changes == {"replace": 1, "same": 1}
    assert project.journal[1:] == ["create other.txt", "delete a.txt"]
    assert project.files == {"other.txt": "1"}


def test_delete_before_replace_takes_dependents_along(project):
    """A dependent that the change would force to be replaced is deleted before and made again."""
    chain = """
    a = File("a", folder, "1", delete_first=True, file={name!r})
    b = File("b", folder, "2", delete_first=True, file=a.file)
    """.replace("file=a.file", "file=a.id.apply(lambda id: os.path.basename(id) + '.b.txt')")
    project.up(chain.replace("{name!r}", "'one.txt'"))
    project.up(chain.replace("{name!r}", "'two.txt'"))

    assert project.journal[2:] == [
        "delete one.txt.b.txt",
        "delete one.txt",
        "create two.txt",
        "create two.txt.b.txt",
    ]


def test_protect_refuses_before_anything_is_deleted(project):
    """A protected resource stops the whole delete phase."""
    project.up('a = File("a", folder, "1", ResourceOptions(protect=True)); File("b", folder, "2")')
    result = project.up("")

    assert "protected" in result.failures[0].message
    assert project.files == {"a.txt": "1", "b.txt": "2"}


def test_protect_is_inherited_from_the_parent(project):
    """A child of a protected component is protected."""
    program = """
    top = pulumi.ComponentResource("shop:index:Top", "top", None, ResourceOptions(protect=True))
    File("a", folder, "1", ResourceOptions(parent=top))
    """
    project.up(program)

    protected = [each["urn"] for each in project.state["resources"] if each.get("protect")]
    assert protected[1] == "urn:pulumi:dev::shop::shop:index:Top$pulumi-python:dynamic:Resource::a"


def test_retain_on_delete_forgets_without_deleting(project):
    """The file stays, the record goes."""
    project.up('File("a", folder, "1", ResourceOptions(retain_on_delete=True))')
    result = project.up("")

    assert result.changes == {"same": 1, "delete": 1}
    assert project.files == {"a.txt": "1"}
    assert project.names == []


def test_deleted_with_skips_the_delete(project):
    """What disappears with another resource is not deleted itself."""
    project.up("""
    a = File("a", folder, "1")
    File("b", folder, "2", ResourceOptions(deleted_with=a))
    """)
    project.engine().destroy()

    assert project.journal[2:] == ["delete a.txt"]


@pytest.mark.parametrize("first", [True, False], ids=["delete-first", "create-first"])
def test_deleted_with_goes_and_comes_back_with_its_host(project, first):
    """When the host is replaced, what lives in it is made again and never deleted by itself."""
    program = """
    host = File("host", folder, "1", file={!r}, delete_first={})
    File("guest", folder, "2", ResourceOptions(deleted_with=host))
    """
    project.up(program.format("one.txt", first))
    result = project.up(program.format("two.txt", first))

    assert result.changes == {"same": 1, "replace": 2}
    assert "delete guest.txt" not in project.journal
    assert project.journal.count("create guest.txt") == 2
    assert project.files == {"guest.txt": "2", "two.txt": "1"}


def test_alias_of_a_component_reaches_its_children(project):
    """A renamed component with an alias keeps its children."""
    program = """
    top = pulumi.ComponentResource("shop:index:Top", {!r}, None, ResourceOptions(
        aliases=[pulumi.Alias(name="old")]))
    File("a", folder, "1", ResourceOptions(parent=top))
    """
    project.up(program.format("old"))
    result = project.up(program.format("new"))

    assert result.changes == {"same": 3}
    assert project.journal == ["create a.txt"]


def test_alias_of_a_renamed_parent_type_and_name_reaches_grandchildren(project):
    """What is called after its parent is found under the parent's old name and type."""
    program = """
    top = pulumi.ComponentResource("shop:index:{kind}", "{name}", None, ResourceOptions(
        aliases=[pulumi.Alias(name="old", type_="shop:index:Old")]))
    middle = pulumi.ComponentResource("shop:index:Middle", "{name}-m", None,
                                      ResourceOptions(parent=top))
    File("{name}-m-a", folder, "1", ResourceOptions(parent=middle), file="a.txt")
    """
    project.up(program.format(kind="Old", name="old"))
    result = project.up(program.format(kind="New", name="new"))

    assert result.changes == {"same": 4}
    assert project.journal == ["create a.txt"]


def test_preview_lists_a_resource_whose_protection_changes(project):
    """The CLI's document does, though nothing is done to it."""
    project.up('File("a", folder, "1")')
    result = project.preview('File("a", folder, "1", ResourceOptions(protect=True))')

    found = [each for each in result.digest["steps"] if each["urn"].endswith("::a")]
    assert [(each["op"], each["newState"]["protect"]) for each in found] == [("same", True)]
    assert "id" not in found[0]["newState"]


def test_ignore_changes_keeps_the_old_value(project):
    """A change under an ignored path is no change, other changes go through with the old value."""
    program = 'File("a", folder, {text!r}, ResourceOptions(ignore_changes=["text"]), note={note})'
    project.up(program.format(text="1", note=1))
    same = project.up(program.format(text="2", note=1))
    project.up(program.format(text="3", note=2))

    assert same.changes == {"same": 2}
    assert project.files == {"a.txt": "1"}


def test_replace_on_changes_replaces(project):
    """A property named there forces a replacement where the provider would update."""
    program = 'File("a", folder, {!r}, ResourceOptions(replace_on_changes=["text"]))'
    project.up(program.format("1"))
    result = project.up(program.format("2"))

    replaced = [each for each in project.events if isinstance(each, events.Done)]
    assert result.changes == {"replace": 1, "same": 1}
    assert [each.replace_reasons for each in replaced if each.name == "a"] == [("text",)]


def test_alias_keeps_the_resource(project):
    """A renamed resource with an alias is the same one; its dependents follow."""
    project.up("""
    a = File("old", folder, "1", file="f.txt")
    File("b", folder, "2", ResourceOptions(depends_on=[a]))
    """)
    result = project.up("""
    a = File("new", folder, "1", ResourceOptions(aliases=[pulumi.Alias(name="old")]), file="f.txt")
    File("b", folder, "2", ResourceOptions(depends_on=[a]))
    """)

    assert result.changes == {"same": 3}
    assert project.names == ["new", "b"]


def test_failure_half_way_keeps_what_is_done_and_resumes(project):
    """The resources before the failure are in the state; the next run makes only the rest."""
    program = """
    a = File("a", folder, "1")
    b = File("b", folder, "2", ResourceOptions(depends_on=[a]), fail={})
    File("c", folder, "3", ResourceOptions(depends_on=[b]))
    """
    failed = project.up(program.format("True"))
    resumed = project.up(program.format("False"))

    assert "told to fail" in failed.failures[0].message
    assert len(failed.failures) == 1
    assert resumed.changes == {"same": 2, "create": 2}
    assert project.journal == ["create a.txt", "create b.txt", "create b.txt", "create c.txt"]


def test_failing_program_deletes_nothing(project):
    """An exception in the program never leads to the delete phase; its line is named."""
    project.up('File("a", folder, "1")')
    result = project.up("raise ValueError('no luck')")

    assert "__main__.py:7" in result.failures[0].message
    assert "no luck" in result.failures[0].message
    assert project.files == {"a.txt": "1"}


def test_duplicate_resource_is_refused(project):
    """Two resources of one name are an error of the program."""
    result = project.up('File("a", folder, "1"); File("a", folder, "2")')

    assert "registered twice" in result.failures[0].message


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (
            "pulumi.CustomResource('kubernetes:core/v1:X', 'r', {}, ResourceOptions(import_='1'))",
            "import_",
        ),
        ("pulumi.runtime.invoke('aws:x:y', {})", "aws:x:y"),
    ],
    ids=["import", "invoke"],
)
def test_outside_the_subset_is_refused_by_name(project, program, words):
    """What only the CLI can do is refused, naming it."""
    result = project.up(program)

    assert words in result.failures[0].message


def test_secrets_are_nowhere_in_clear(project):
    """Config secrets, outputs and provider inputs are encrypted in the state, masked in events."""
    project.write("""
    word = pulumi.Config().require_secret("word")
    a = File("a", folder, "x", note=word)
    pulumi.export("word", word)
    """)
    project.engine(config_overrides={"word": "tops3cret"}).up()

    assert "tops3cret" not in repr(project.events)
    assert project.engine().outputs()["word"] == "[secret]"
    assert project.engine().outputs(show_secrets=True)["word"] == "tops3cret"


def test_stack_reference_reads_the_other_stack(project, tmp_path):
    """Outputs of another stack of the same backend are there, secrets stay secret."""
    project.up('pulumi.export("word", pulumi.Output.secret("hush")); pulumi.export("n", 3)')
    project.write("""
    other = pulumi.StackReference("organization/shop/dev")
    pulumi.export("n", other.get_output("n"))
    pulumi.export("word", other.get_output("word"))
    """)
    from bex_stack.engine import engine

    result = engine.Engine(project.directory, "next", backend_dir=project.backend).up()

    assert result.outputs == {"n": 3, "word": "[secret]"}


def test_destroy_leaves_an_empty_stack_that_can_be_removed(project):
    """Destroy empties the stack as the CLI does; remove_stack takes its files away."""
    project.up(TWO)

    with pytest.raises(errors.StateError, match="still has resources"):
        project.engine().remove_stack()
    assert project.engine().destroy().changes == {"delete": 3}
    assert project.state_file.exists()
    project.engine().remove_stack()
    assert not (project.backend / ".pulumi").exists()


def test_refresh_sees_what_changed_outside(project):
    """A file edited by hand shows, a file removed by hand is forgotten and made again."""
    project.up(TWO)
    (project.folder / "a.txt").write_text("edited")
    (project.folder / "b.txt").unlink()
    refreshed = project.engine().refresh()
    result = project.up()

    assert refreshed.changes == {"update": 1, "delete": 1}
    assert result.changes == {"same": 1, "update": 1, "create": 1}
    assert project.files["a.txt"] == "1"


def test_log_and_warnings_reach_the_listener(project):
    """What the program says is reported as it says it."""
    project.up("pulumi.log.warn('careful')")

    assert events.Diagnostic("warning", "careful") in project.events


def test_changed_secret_is_not_shown(project):
    """An update of a secret input says where, not what."""
    program = 'File("a", folder, pulumi.Output.secret("{}"))'
    project.up(program.format("old-secret"))
    result = project.preview(program.format("new-secret"))

    changed = [each for each in project.events if isinstance(each, events.Done) and each.changes]
    assert result.changes == {"update": 1, "same": 1}
    assert changed[0].changes == (events.Change("text", "update", "[secret]", "[secret]"),)
    assert "-secret" not in json.dumps(result.digest)


def test_change_outside_alone_is_told_in_words(project):
    """A provider that looks at the world says what it found; there is no path for it."""
    project.up('File("a", folder, "1", watched=True)')
    (project.folder / "a.txt").unlink()
    result = project.preview()

    changed = [each for each in project.events if isinstance(each, events.Done) and each.notes]
    assert result.changes == {"update": 1, "same": 1}
    assert [(each.changes, each.notes) for each in changed] == [((), ("the file is gone",))]
    assert result.digest["diagnostics"][0]["message"] == "the file is gone"


def test_relative_paths_of_providers_begin_at_the_program(project, tmp_path, monkeypatch):
    """As with the CLI, wherever the command itself was started."""
    beside = project.directory / "beside"
    beside.mkdir()
    monkeypatch.chdir(tmp_path)
    project.up('File("a", "beside", "1")')
    assert (beside / "a.txt").read_text() == "1"

    project.engine().destroy()
    assert not (beside / "a.txt").exists()
    assert Path.cwd() == tmp_path
