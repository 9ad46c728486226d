"""The App model, the one definition of an App: what may be written, and what the CRD says."""

import importlib
from typing import TYPE_CHECKING, Any

from bex_operator.api.names import NAMESPACE, SYSTEM_NAMESPACE

if TYPE_CHECKING:
    from bex_operator.api.app import Amounts, App, EnvVar, Resources, hosts_of, main_host_of
    from bex_operator.api.crd import crd

__all__ = [
    "NAMESPACE",
    "SYSTEM_NAMESPACE",
    "Amounts",
    "App",
    "EnvVar",
    "Resources",
    "crd",
    "hosts_of",
    "main_host_of",
]


def __getattr__(name: str) -> Any:
    """Import the model when somebody asks for it: names alone come without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{'crd' if name == 'crd' else 'app'}")
    # It is kept: the import has put a module in the place of the function `crd`.
    found = globals()[name] = getattr(module, name)
    return found
