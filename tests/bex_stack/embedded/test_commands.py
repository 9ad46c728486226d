"""How the platform's processes are started."""

from pathlib import Path

import pytest

from bex_operator.controllers import operator_settings
from bex_stack.embedded import commands, instance


def test_operator_looks_images_up_where_machines_get_them(
    tmp_path: Path,
) -> None:
    """Our registry comes first, the real one second; ours alone knows `localhost:5050`."""
    given = commands.operator(instance.Instance(tmp_path, registry_port=15050)).command

    told = given[given.index("--registries") + 1]

    places = dict(operator_settings.endpoint(each) for each in told.split())
    assert places["localhost:5050"] == ("http://127.0.0.1:15050",)
    assert places["ghcr.io"] == ("http://127.0.0.1:15050", "https://ghcr.io")
    assert places["docker.io"] == ("http://127.0.0.1:15050", "https://registry-1.docker.io")


@pytest.mark.parametrize("text", ["", "a.io", "a.io=", "=http://b", "a.io=ftp://b", "a.io=b:5000"])
def test_garbled_registry_argument_is_refused(text: str) -> None:
    """A mistake shows at the start, not at the first release."""
    with pytest.raises(ValueError, match="HOST=URL"):
        operator_settings.endpoint(text)
