"""The providers of one run: which packages exist, their configuration, one instance each.

Provider resources themselves are managed here too: creating one gives it an id and nothing more.
"""

import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from bex_stack.engine import differences, foreign, providers, state, urns, values

INTERNAL = "__internal"
BUILTIN = "pulumi"
Factory = Callable[[values.Properties], providers.Provider]
"""Makes a provider of one package from its (revealed) configuration."""


class Registry:
    """Keeps provider instances by URN and id; implements Provider for provider resources."""

    def __init__(self, factories: Mapping[str, Factory]) -> None:
        self._factories = factories
        self._instances: dict[str, providers.Provider] = {}
        self._lock = threading.Lock()

    def manages(self, type_token: str) -> bool:
        """Say whether resources of this type can be managed here; provider resources always."""
        if urns.is_provider_type(type_token):
            return True
        known = urns.package_of(type_token) in self._factories
        return known and not foreign.is_program_of_plugin(type_token)

    def load(self, record: state.Resource, type_token: str) -> providers.Provider:
        """Return the instance a provider resource stands for, made on first use.

        For a type that cannot be managed here it is one that only plans.
        """
        if not self.manages(type_token):
            return foreign.PlanningProvider()
        reference = str(urns.ProviderReference(record.urn, record.id))
        with self._lock:
            if reference not in self._instances:
                package = urns.package_of(record.type)
                config = {k: v for k, v in record.inputs.items() if k != INTERNAL}
                self._instances[reference] = self._factories[package](values.reveal(config))
            return self._instances[reference]

    def close(self) -> None:
        """Let every instance free what it holds."""
        with self._lock:
            for instance in self._instances.values():
                instance.close()
            self._instances.clear()

    def check(
        self,
        subject: providers.Subject,
        old: values.Properties | None,
        new: values.Properties,
    ) -> providers.Checked:
        """Accept the configuration; the package's own check happens on first use."""
        return providers.Checked(new)

    def diff(
        self,
        subject: providers.Subject,
        identifier: str,
        old: tuple[values.Properties, values.Properties],
        new: values.Properties,
    ) -> providers.Diffed:
        """Compare configurations; some changes mean another cluster, thus new resources."""
        details = tuple(
            each for each in differences.of_inputs(old[0], new) if each.path[0] != INTERNAL
        )
        replaces: tuple[str, ...] = ()
        if urns.package_of(subject.type) == "kubernetes":
            from bex_stack.engine.kubernetes import configuration

            replaces = configuration.replaced_by(values.reveal(old[0]), values.reveal(new))
        return providers.Diffed(bool(details), replaces, details=details)

    def create(
        self, subject: providers.Subject, inputs: values.Properties, *, preview: bool
    ) -> providers.Made:
        """Give the provider an identity."""
        return providers.Made(values.UNKNOWN if preview else str(uuid.uuid4()), _outputs(inputs))

    def update(
        self,
        subject: providers.Subject,
        identifier: str,
        old: tuple[values.Properties, values.Properties],
        new: values.Properties,
        *,
        preview: bool,
    ) -> providers.Made:
        """Take the new configuration for everything that follows."""
        with self._lock:
            gone = self._instances.pop(str(urns.ProviderReference(subject.urn, identifier)), None)
        if gone is not None:
            gone.close()
        return providers.Made(identifier, _outputs(new))

    def delete(
        self,
        subject: providers.Subject,
        identifier: str,
        inputs: values.Properties,
        outputs: values.Properties,
    ) -> None:
        """Forget it; there is nothing outside."""

    def read(
        self,
        subject: providers.Subject,
        identifier: str,
        inputs: values.Properties | None,
        outputs: values.Properties | None,
    ) -> providers.Made | None:
        """Return the provider as recorded."""
        return providers.Made(identifier, outputs or {}, inputs)

    def find_created(
        self, subject: providers.Subject, inputs: values.Properties
    ) -> providers.Made | None:
        """Say nothing was left behind: an identity alone is nothing outside."""
        return None


def provider_inputs(inputs: values.Properties, version: str) -> values.Properties:
    """Return a provider resource's inputs as the CLI records them."""
    if not version:
        return inputs
    return {**inputs, INTERNAL: inputs.get(INTERNAL, {}), "version": version}


def default_name(version: str) -> str:
    """Return the name of a package's default provider."""
    return "default_" + version.translate(str.maketrans(".+-", "___")) if version else "default"


def default_inputs(
    package: str, version: str, config: Mapping[str, str], secret_keys: frozenset[str]
) -> values.Properties:
    """Return a default provider's inputs from the stack's configuration.

    The dynamic provider gets all of it under full names, others what is in their namespace.
    """
    found: dict[str, Any] = {}
    for key, text in sorted(config.items()):
        namespace, _, name = key.partition(":")
        if package == "pulumi-python":
            name = key
        elif namespace != package:
            continue
        found[name] = values.secret(text) if key in secret_keys else text
    return provider_inputs(found, version)


def _outputs(inputs: values.Properties) -> values.Properties:
    return {key: value for key, value in inputs.items() if key != INTERNAL}
