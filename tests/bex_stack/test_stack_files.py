"""Stack files read and edited."""

from pathlib import Path

import pytest

from bex_stack import errors, stack_files


def test_edit_keeps_comments_and_order(tmp_path: Path) -> None:
    """Setting one value leaves every other byte as it was."""
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text('# top\nconfig:\n  bex:workers: 2 # how many\n  bex:apps: ["*", "!w"]\n')

    stack_files.set_config(file, "bex:workers", 3)

    assert file.read_text() == (
        '# top\nconfig:\n  bex:workers: 3 # how many\n  bex:apps: ["*", "!w"]\n'
    )


def test_salt_of_the_cli_ties_a_file_to_a_passphrase(tmp_path: Path) -> None:
    """`bex destroy` keeps the passphrase then, or the next `up` could not read the file."""
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text("config: {}\n")
    before = stack_files.is_sealed(file)
    file.write_text("config: {}\nencryptionsalt: v1:AAAA:v1:BBBB\n")

    assert (before, stack_files.is_sealed(file)) == (False, True)


def test_config_is_read_as_texts(tmp_path: Path) -> None:
    """Numbers and lists become the JSON texts that Pulumi hands a program."""
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text('config:\n  bex:workers: 2\n  bex:apps: ["*"]\n  bex:instance: two\n')

    assert stack_files.read_config(file) == {
        "bex:workers": "2",
        "bex:apps": '["*"]',
        "bex:instance": "two",
    }


def test_missing_stack_file_names_the_others(tmp_path: Path) -> None:
    """A misspelt stack shows which stacks there are."""
    (tmp_path / "Pulumi.embedded.yaml").write_text("config: {}\n")

    with pytest.raises(errors.BadSettings, match=r"Pulumi\.embedded\.yaml"):
        stack_files.path_of(tmp_path, "embeded", None)


@pytest.mark.parametrize("text", ["a: [", "- 1\n", "config: 3\n"])
def test_unreadable_stack_file_is_refused(tmp_path: Path, text: str) -> None:
    """Broken YAML and wrong shapes are refused with the file's name."""
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(text)

    with pytest.raises(errors.BadSettings, match=r"Pulumi\.x\.yaml"):
        stack_files.read_config(file)
