"""The App model, the one definition of an App: what may be written, and what the CRD says."""

from bex_operator.api.app import Amounts, App, EnvVar, Resources, hosts_of, main_host_of
from bex_operator.api.crd import crd
from bex_operator.api.names import NAMESPACE, SYSTEM_NAMESPACE

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
