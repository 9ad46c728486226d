"""Project and stack files: what is read, how values are merged, what is refused."""

import pytest

from bex_stack.engine import errors, passphrase, project


@pytest.fixture
def make(tmp_path):
    """Write both files and return the project and the stack."""

    def write(stack_text="", project_text="name: shop\nruntime: python\n"):
        (tmp_path / "Pulumi.yaml").write_text(project_text)
        (tmp_path / "Pulumi.dev.yaml").write_text(stack_text)
        found = project.load_project(tmp_path)
        return found, project.load_stack(found, "dev", None)

    return write


def test_values_become_text_under_full_names(make):
    """Bare keys get the project's namespace, objects become JSON, booleans and numbers text."""
    found, stack = make("config: {a: 1, b: true, shop:c: {x: [1]}, kubernetes:context: k}")

    merged = project.configuration(found, stack, {"a": "2"}, None)

    assert merged.values == {
        "shop:a": "2",
        "shop:b": "true",
        "shop:c": '{"x":[1]}',
        "kubernetes:context": "k",
    }


def test_project_defaults_are_the_weakest(make):
    """Pulumi.yaml's defaults count where the stack says nothing; a bare schema gives no value."""
    found, stack = make(
        "config: {a: stack}",
        "name: shop\nruntime: {name: python}\n"
        "config: {a: {default: d}, b: {default: d}, c: plain, e: {type: string}}",
    )

    merged = project.configuration(found, stack, {}, None)

    assert merged.values == {"shop:a": "stack", "shop:b": "d", "shop:c": "plain"}


def test_secure_values_are_decrypted_and_marked(make):
    """Secrets reach the program in clear and are named, also inside objects."""
    crypter = passphrase.create("p")
    sealed = crypter.encrypt("word")
    found, stack = make(
        f"encryptionsalt: {crypter.state}\n"
        f"config: {{a: {{secure: '{sealed}'}}, b: {{deep: {{secure: '{sealed}'}}}}, c: open}}"
    )

    merged = project.configuration(found, stack, {}, crypter)

    assert merged.values["shop:a"] == "word"
    assert merged.values["shop:b"] == '{"deep":"word"}'
    assert merged.secret_keys == {"shop:a", "shop:b"}
    assert merged.masked() == {"shop:a": "[secret]", "shop:b": "[secret]", "shop:c": "open"}


def test_secret_without_salt_is_refused(make):
    """An encrypted value needs the salt beside it."""
    found, stack = make("config: {a: {secure: 'v1:x:y'}}")

    with pytest.raises(errors.SecretsError, match="encryptionsalt"):
        project.configuration(found, stack, {}, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("confg: {}", "unknown key `confg`"),
        ("config: [1]", "`config` must be a mapping"),
        ("secretsprovider: awskms://x", "must be passphrase"),
        ("environment: [x]", "`environment` needs the pulumi CLI"),
        ("config: {a: 1", "line 1: not YAML"),
        ("- a", "must be a mapping of keys"),
    ],
    ids=["unknown", "list", "kms", "environment", "syntax", "top"],
)
def test_broken_stack_file_is_named_with_its_rule(make, text, words):
    """Every refusal names the file and what is wrong."""
    with pytest.raises(errors.ProjectError, match=words) as refused:
        make(text)

    assert "Pulumi.dev.yaml" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("runtime: python", "`name` must be"),
        ("name: shop\nruntime: nodejs", "`runtime` must be python"),
    ],
    ids=["name", "runtime"],
)
def test_broken_project_file_is_refused(make, text, words):
    """A project needs a name and Python."""
    with pytest.raises(errors.ProjectError, match=words):
        make("", text)


@pytest.mark.parametrize("key", ["a:b:c", ":a", "a:"], ids=["three", "no-package", "no-name"])
def test_broken_config_key_is_refused(make, key):
    """A config key has a name and perhaps a package."""
    found, stack = make(f"config: {{'{key}': 1}}")

    with pytest.raises(errors.ProjectError, match="must read"):
        project.configuration(found, stack, {}, None)


def test_named_stack_file_must_exist(make, tmp_path):
    """A file named explicitly is not optional."""
    found, _ = make()

    with pytest.raises(errors.ProjectError, match="does not exist"):
        project.load_stack(found, "dev", tmp_path / "absent.yaml")


def test_stack_name_is_checked(make):
    """A stack's name becomes a path, so it may not be one."""
    found, _ = make()

    with pytest.raises(errors.ProjectError, match="stack name"):
        project.load_stack(found, "../dev", None)
