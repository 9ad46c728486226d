"""How a repository is built is found out by reading its files, and by nothing else."""

from pathlib import Path

import pytest

from tests.support.build_steps import REPOSITORY_FAULT, program, resolve, write

__all__ = ["program"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("# syntax=evil.example.com/frontend", REPOSITORY_FAULT),
        ("// syntax=evil.example.com/frontend", REPOSITORY_FAULT),
        ("# syntax=docker/dockerfilex:1", REPOSITORY_FAULT),
        ("# syntax=docker/dockerfile:1", 0),
        ("# a comment", 0),
    ],
)
def test_foreign_frontends_are_refused(program: Path, tmp_path: Path, line: str, code: int) -> None:
    """Only what BuildKit has built in may read a Dockerfile."""
    write(tmp_path, Dockerfile=f"{line}\nFROM scratch\n")
    step = resolve(program, tmp_path)

    assert step.code == code
    assert code == 0 or "foreign frontend" in step.told["message"]


def test_dockerfile_behind_a_link_out_of_the_source_is_not_read(
    program: Path, tmp_path: Path
) -> None:
    """Even a link that the clone would have refused leads nowhere."""
    (tmp_path / "secret").write_text("FROM secret\n")
    write(tmp_path)
    (tmp_path / "source/Dockerfile").symlink_to("../secret")
    step = resolve(program, tmp_path)

    assert step.code == REPOSITORY_FAULT
    assert "FROM secret" not in step.output


@pytest.mark.parametrize(
    ("files", "strategy", "shown"),
    [
        ({"go__mod": "module x\n"}, "go", '"go","build"'),
        ({"package__json": '{"scripts": {"start": "node ."}}'}, "node", 'CMD ["npm","start"]'),
        ({"requirements__txt": "", "main__py": ""}, "python", 'CMD ["python3","main.py"]'),
        ({"uv__lock": "", "pyproject__toml": "", "app__py": ""}, "python", "/uv/bin/uv"),
    ],
    ids=["go", "node", "requirements", "uv"],
)
def test_projects_without_a_dockerfile_get_one_that_is_shown(
    program: Path, tmp_path: Path, files: dict[str, str], strategy: str, shown: str
) -> None:
    """The language is told by its files, and nothing runs as root."""
    write(tmp_path, **files)
    step = resolve(program, tmp_path)

    assert (step.code, step.told["strategy"]) == (0, strategy)
    assert shown in step.output
    assert "USER 65532:65532" in step.output


def test_repository_that_nothing_tells_how_to_build_is_refused(
    program: Path, tmp_path: Path
) -> None:
    """The message names what was looked for."""
    write(tmp_path, README="hello")
    step = resolve(program, tmp_path)

    assert step.code == REPOSITORY_FAULT
    assert "requirements.txt" in step.told["message"]


@pytest.mark.parametrize(
    "secret",
    [
        "ghp_0123456789abcdefghij0123456789abcdef",
        "https://ada:correct-horse@git.example.com/x",
        "Authorization: Bearer abcdefgh12345678",
        "ENV API_KEY=correct-horse",
        'ARG DB_PASSWORD="correct horse"',
        "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3MDAwMDB9.c2lnbmF0dXJl",
        "-----BEGIN OPENSSH PRIVATE KEY-----\ncorrecthorse\n-----END OPENSSH PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret_is_not_printed(
    program: Path, tmp_path: Path, secret: str
) -> None:
    """A repository may hold one; the log of its build, which more people read, does not."""
    write(tmp_path, Dockerfile=f"FROM scratch\n# {secret}\nLABEL after=1\n")
    step = resolve(program, tmp_path)

    assert "***" in step.output
    assert "LABEL after=1" in step.output
    for word in ("correct", "abcdefgh12345678", "0123456789abcdef", "c2lnbmF0dXJl"):
        assert word not in step.output + str(step.told)
