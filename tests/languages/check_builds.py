"""Projects of three languages, each with a Dockerfile of its own and without: built from git on the
base images that this host makes, and answering. Their packages come from where pip, uv and npm ask:
run by `make check-builds`.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bex_operator.plan import build_outcomes as plan
from bex_stack import image_evidence
from bex_stack.embedded import base_images, registry, toolchain
from tests.integration.test_builds import BUILD_SECONDS, GO_PROGRAM, PYTHON_PROGRAM, Plant, plant
from tests.support.embedded import embedded
from tests.support.waiting import wait_until

__all__ = ["embedded", "plant"]

pytestmark = pytest.mark.timeout(3600)
REPOSITORY = Path(__file__).parents[2]
Files = Mapping[str, str]

GO: Files = {"go.mod": "module example.com/hello\n\ngo 1.26\n", "main.go": GO_PROGRAM}
GO_DOCKERFILE = """FROM golang:1.26 AS build
WORKDIR /src
COPY . .
RUN go build -o /out/hello . && ls -l /out

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/hello /usr/local/bin/
USER nobody
ENTRYPOINT ["tini", "--", "hello"]
"""
REQUIREMENTS: Files = {"main.py": PYTHON_PROGRAM, "requirements.txt": "six==1.17.0\n"}
REQUIREMENTS_DOCKERFILE = """FROM python:3.11-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
CMD ["python", "main.py"]
"""
PROJECT = """[project]
name = "hello"
version = "1"
requires-python = ">=3.11"
dependencies = ["six==1.17.0"]
"""
UV_DOCKERFILE = """FROM python:3-slim AS build
RUN pip install uv
WORKDIR /app
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-install-project

FROM python:3-slim
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY main.py .
CMD [".venv/bin/python", "main.py"]
"""
NODE_PROGRAM = """const ms = require("ms");
require("http").createServer((_, answer) => answer.end(`ms ${ms("1 h")}`))
  .listen(process.env.PORT);
"""
NODE_PROJECT = {
    "name": "hello",
    "version": "1.0.0",
    "scripts": {"start": "node server.js"},
    "dependencies": {"ms": "2.1.3"},
}
NODE_DOCKERFILE = """FROM node:24-slim AS build
WORKDIR /app
COPY package*.json ./
RUN npm ci
COPY . .

FROM node:lts-bookworm-slim
WORKDIR /app
COPY --chown=node:node --from=build /app .
USER node
CMD ["npm", "start"]
"""


def locked_by_uv(folder: Path) -> Files:
    """A project with the lock file that uv writes."""
    (folder / "pyproject.toml").write_text(PROJECT)
    subprocess.run(
        [REPOSITORY / ".venv/bin/uv", "lock", "--quiet", "--project", folder],
        check=True,
        timeout=120,
    )
    lock = (folder / "uv.lock").read_text()
    return {"main.py": PYTHON_PROGRAM, "pyproject.toml": PROJECT, "uv.lock": lock}


def locked_by_npm() -> Files:
    """A project with a lock file that leaves out where packages come from."""
    root = {key: NODE_PROJECT[key] for key in ("name", "version", "dependencies")}
    lock = {
        **{key: NODE_PROJECT[key] for key in ("name", "version")},
        "lockfileVersion": 3,
        "packages": {"": root, "node_modules/ms": {"version": "2.1.3"}},
    }
    return {
        "package.json": json.dumps(NODE_PROJECT),
        "package-lock.json": json.dumps(lock),
        "server.js": NODE_PROGRAM,
    }


@pytest.fixture(scope="module", autouse=True)
def seeded(plant: Plant) -> None:
    """What `bex images seed debian golang node python` does."""
    endpoint = registry.endpoint(plant.embedded.instance)
    tools = toolchain.ensure(["crane"])
    for name in base_images.NAMES:
        base_images.seed(name, endpoint, toolchain=tools)


def answer(plant: Plant, name: str, files: Files) -> str:
    """Commit, deploy, and ask what came of it; say what the steps took."""
    plant.server.commit(name, dict(files))
    plant.deploy(name)
    wait_until(
        lambda: plant.ready(name)[1] in {"Deployed", "BuildFailedUserError"},
        f"{name} is built",
        BUILD_SECONDS,
    )
    assert plant.ready(name)[1] == "Deployed", plant.ready(name)[2]
    (job,) = plant.jobs(name)
    outcome = json.loads(job["metadata"]["annotations"][plan.OUTCOME_ANNOTATION])
    print(f"{name}: {outcome['strategy']} {outcome['seconds']}")  # noqa: T201 - the report
    return plant.answer(name)


def contents(plant: Plant, name: str) -> set[str]:
    """What BuildKit's scanner found in the image that runs, as KIND NAME VERSION."""
    fetch, digest = plant.beside(name)
    statement = image_evidence.find(fetch, digest, image_evidence.SBOM)
    assert statement is not None
    found = image_evidence.packages(statement)
    print(f"{name}: {len(found)} packages listed")  # noqa: T201 - the report
    return {f"{each.kind} {each.name} {each.version}" for each in found}


@pytest.mark.parametrize("dockerfile", [None, GO_DOCKERFILE], ids=["generated", "own"])
def test_go(plant: Plant, dockerfile: str | None) -> None:
    """Several stages with a shell, apt and a user; and none of a person's own."""
    files = {**GO, **({"Dockerfile": dockerfile} if dockerfile else {})}

    assert answer(plant, named("go", dockerfile), files) == "built from a repository"
    listed = contents(plant, named("go", dockerfile))
    assert "golang hello (devel)" in listed, listed  # the scanner leaves out example.com/
    if dockerfile:
        assert any(each.startswith("deb tini ") for each in listed)


@pytest.mark.parametrize("dockerfile", [None, REQUIREMENTS_DOCKERFILE], ids=["generated", "own"])
def test_python_with_requirements(plant: Plant, dockerfile: str | None) -> None:
    """pip installs what the file names."""
    files = {**REQUIREMENTS, **({"Dockerfile": dockerfile} if dockerfile else {})}

    assert answer(plant, named("pip", dockerfile), files) == "six 1.17.0"
    assert "pypi six 1.17.0" in contents(plant, named("pip", dockerfile))


@pytest.mark.parametrize("dockerfile", [None, UV_DOCKERFILE], ids=["generated", "own"])
def test_python_with_uv(plant: Plant, dockerfile: str | None, tmp_path: Path) -> None:
    """uv installs what its lock file says."""
    files = {**locked_by_uv(tmp_path), **({"Dockerfile": dockerfile} if dockerfile else {})}

    assert answer(plant, named("uv", dockerfile), files) == "six 1.17.0"
    assert "pypi six 1.17.0" in contents(plant, named("uv", dockerfile))


@pytest.mark.parametrize("dockerfile", [None, NODE_DOCKERFILE], ids=["generated", "own"])
def test_node(plant: Plant, dockerfile: str | None) -> None:
    """npm installs what its lock file says; a user called node is there."""
    files = {**locked_by_npm(), **({"Dockerfile": dockerfile} if dockerfile else {})}

    assert answer(plant, named("npm", dockerfile), files) == "ms 3600000"
    assert "npm ms 2.1.3" in contents(plant, named("npm", dockerfile))


def named(tool: str, dockerfile: str | None) -> str:
    """Name the App and its repository."""
    return f"{tool}-own" if dockerfile else f"{tool}-generated"
