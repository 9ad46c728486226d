"""The stack that the system tests share: brought up once, taken down at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import stacks


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stacks.Stack]:
    """A running stack with one worker and the app `hello`, two replicas."""
    folder: Path = tmp_path_factory.mktemp("stack")
    made = stacks.make(folder, number=1)
    made.write_app("hello", replicas=2)
    try:
        made.up()
        yield made
    finally:
        made.bex("destroy", "--yes")
