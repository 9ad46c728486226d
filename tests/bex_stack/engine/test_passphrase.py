"""Secrets are kept exactly as the CLI's passphrase provider keeps them."""

import pytest

from bex_stack.engine import errors, passphrase

# The sample stack's own salt and secret, written by the CLI under the passphrase "sample".
SALT = "v1:9TIoSQGn6eo=:v1:U2dR3lnqgd7WUgO4:u2pzT2BEnvN8ouS1EcTF3eZ94Kc4bA=="
TOKEN = "v1:Dyf6SyY9dIKTyZLf:pp+fVyzaw5VWxq3Hw4fzaAbhVqolrQ=="


def test_secret_of_the_cli_opens():
    """What the CLI encrypted is read here."""
    crypter = passphrase.open_state("sample", SALT, "Pulumi.dev.yaml")

    assert crypter.decrypt(TOKEN)
    assert crypter.decrypt(crypter.encrypt("word")) == "word"
    assert crypter.encrypt("word") != crypter.encrypt("word")


def test_new_salt_opens_again():
    """A stack made here opens with its passphrase and no other."""
    state = passphrase.create("right").state

    assert passphrase.open_state("right", state, "f").state == state
    with pytest.raises(errors.WrongPassphrase, match="secrets in f"):
        passphrase.open_state("wrong", state, "f")


@pytest.mark.parametrize(
    "text",
    ["", "v1:x", "v2:AAAA:AAAA", "v1:AAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAA"],
    ids=["empty", "short", "version", "forged"],
)
def test_damaged_secret_is_an_error(text):
    """A value that is no ciphertext of ours is never taken for one."""
    with pytest.raises(errors.SecretsError):
        passphrase.open_state("sample", SALT, "f").decrypt(text)


def test_environment_wins_over_files(tmp_path):
    """The passphrase comes from the environment, a named file, or the backend's own, in order."""
    named = tmp_path / "named"
    named.write_text("from file\n")
    both = {"PULUMI_CONFIG_PASSPHRASE": "", "PULUMI_CONFIG_PASSPHRASE_FILE": str(named)}

    assert passphrase.find(tmp_path, both, make=True) == ""
    file_only = {"PULUMI_CONFIG_PASSPHRASE_FILE": str(named)}
    assert passphrase.find(tmp_path, file_only, make=True) == "from file"
    made = passphrase.find(tmp_path, {}, make=True)
    assert len(made) > 30
    assert passphrase.find(tmp_path, {}, make=False) == made


def test_passphrase_is_made_only_where_one_is_needed(tmp_path):
    """A preview, or a stack whose passphrase was lost, leaves no new one behind."""
    assert passphrase.find(tmp_path / "pulumi", {}, make=False) == ""
    assert list(tmp_path.iterdir()) == []


def test_missing_passphrase_file_is_named(tmp_path):
    """A file that was named but is not there is an error, not a reason to make one."""
    with pytest.raises(errors.SecretsError, match="absent"):
        passphrase.find(
            tmp_path, {"PULUMI_CONFIG_PASSPHRASE_FILE": str(tmp_path / "absent")}, make=True
        )


def test_key_is_not_shown():
    """Printing a crypter shows no key."""
    crypter = passphrase.open_state("sample", SALT, "f")

    assert "_key" not in repr(crypter)
