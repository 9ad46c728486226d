"""The engine against what the real Pulumi CLI wrote for the same program (see tests/data/real_cli).

Compared are resources, URNs, parents, dependencies, inputs, outputs, operations and order; not
compared are times, ids, versions of objects, uids and the random part of field managers' names.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bex_stack.engine import engine, events, passphrase
from tests.support.api_server import ApiServer

SAMPLE = Path(__file__).parent.parent / "data" / "real_cli"
VOLATILE = re.compile(
    r'"(time|created|modified|creationTimestamp|resourceVersion|uid|duration|magic|version)": '
    r'("[^"]*"|\d+)'
)
SALT = re.compile(r"v1:[A-Za-z0-9+/=]+:v1:[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+")


class Project:
    """A copy of the sample program and a backend of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "program"
        self.backend = directory / "backend"
        self.events: list[events.Event] = []
        shutil.copytree(SAMPLE, self.directory)

    def engine(self, **config: str) -> engine.Engine:
        """Make an engine for the stack with these config values."""
        return engine.Engine(
            self.directory,
            "dev",
            backend_dir=self.backend,
            config_overrides=config,
            on_event=self.events.append,
        )

    def rename_config_map(self) -> None:
        """Edit the program: another metadata.name."""
        program = self.directory / "__main__.py"
        text = program.read_text()
        program.write_text(text.replace('{"name": "settings",', '{"name": "settings2",'))

    def state(self) -> Any:
        """Read the state file."""
        path = self.backend / ".pulumi" / "stacks" / "sample" / "dev.json"
        return comparable(json.loads(path.read_text()), self.state_salt())

    def state_salt(self) -> str:
        """Return the salt of the stack's secrets."""
        text = (self.directory / "Pulumi.dev.yaml").read_text()
        found = SALT.search(text)
        assert found is not None
        return found.group(0)


def comparable(document: Any, salt: str) -> Any:
    """Return a document with secrets decrypted and everything volatile named alike."""
    crypter = passphrase.open_state("sample", salt, "the sample")

    def opened(value: Any) -> Any:
        if isinstance(value, dict):
            if "ciphertext" in value:
                return {"secret": json.loads(crypter.decrypt(value["ciphertext"]))}
            return {key: opened(each) for key, each in value.items()}
        return [opened(each) for each in value] if isinstance(value, list) else value

    text = json.dumps(opened(document))
    text = VOLATILE.sub(r'"\1": "*"', text)
    text = re.sub(r"pulumi-kubernetes-[0-9a-f]{8}", "pulumi-kubernetes-*", text)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    return sort_sets(json.loads(text))


def sort_sets(value: Any) -> Any:
    """Sort what has no order of its own: dependencies and reasons."""
    if isinstance(value, dict):
        return {
            key: sorted(each)
            if key in ("dependencies", "replaceReasons") and isinstance(each, list)
            else sort_sets(each)
            for key, each in value.items()
        }
    return [sort_sets(each) for each in value] if isinstance(value, list) else value


def resources_by_urn(document: Any) -> dict[str, Any]:
    """Return a state file's resources."""
    return {each["urn"]: each for each in document["checkpoint"]["latest"]["resources"]}


def positions(document: Any) -> dict[str, int]:
    """Return at which place each resource stands."""
    found = document["checkpoint"]["latest"]["resources"]
    return {each["urn"]: index for index, each in enumerate(found)}


def sample(name: str, salt: str) -> Any:
    """Read one file of the CLI's."""
    return comparable(json.loads((SAMPLE / name).read_text()), salt)


@pytest.fixture
def project(
    controllers: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """Offer the sample project against the real API server, and empty the stack afterwards."""
    monkeypatch.setenv("KUBECONFIG", str(controllers.kubeconfig))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "sample")
    found = Project(tmp_path)
    yield found
    found.engine().destroy()


def test_engine_does_what_the_cli_did(project: Project) -> None:
    """One life of the stack: states, previews and order are those the CLI recorded."""
    salt = project.state_salt()

    assert project.engine().up().changes == {"create": 9}
    after_up = project.state()
    assert resources_by_urn(after_up) == resources_by_urn(sample("state-after-up.json", salt))
    assert_topological(after_up)

    unchanged = project.engine().preview().digest
    assert comparable(unchanged, salt) == sample("preview-unchanged.json", salt)

    data = project.engine(greeting="bonjour").preview().digest
    assert comparable(data, salt) == sample("preview-configmap-data.json", salt)

    project.rename_config_map()
    renamed = project.engine(greeting="bonjour").preview().digest
    assert comparable(renamed, salt) == sample("preview-configmap-data-and-name.json", salt)

    assert project.engine(greeting="bonjour").up().changes == {"replace": 1, "same": 8}
    after_replace = project.state()
    expected = sample("state-after-replace.json", salt)
    assert resources_by_urn(after_replace) == resources_by_urn(expected)
    assert_topological(after_replace)

    project.events.clear()
    assert project.engine().destroy().changes == {"delete": 9}
    done = [each.name for each in project.events if isinstance(each, events.Done)]
    assert_destroy_order(done)


def test_engine_takes_over_the_state_of_the_cli(project: Project) -> None:
    """A stack that the CLI made shows no change here, secrets opened with its passphrase."""
    stacks = project.backend / ".pulumi" / "stacks" / "sample"
    stacks.mkdir(parents=True)
    shutil.copy(SAMPLE / "state-after-up.json", stacks / "dev.json")

    result = project.engine().preview()

    assert result.changes == {"same": 9}
    assert result.outputs == {"namespace": "sample", "ready": True, "token": "[secret]"}
    (stacks / "dev.json").unlink()


def assert_topological(document: Any) -> None:
    """Everything a resource needs stands before it, as the CLI's integrity check demands."""
    where = positions(document)
    for urn, resource in resources_by_urn(document).items():
        for needed in [*resource.get("dependencies", []), resource.get("parent")]:
            assert needed is None or where[needed] < where[urn]


def assert_destroy_order(done: list[str]) -> None:
    """Dependents go first, as in the CLI's list; independent ones may change places."""
    listed = re.findall(
        r"^ -\s+\S+ (\S+) deleted", (SAMPLE / "destroy-order.txt").read_text(), re.M
    )
    visible = [name for name in done if name != "demo"]

    assert sorted(visible) == sorted(listed)
    assert visible[0] == listed[0] == "check"
    assert visible[-1] == listed[-1] == "sample-dev"
    assert set(visible[1:5]) == set(listed[1:5])
    assert set(visible[5:7]) == set(listed[5:7])
