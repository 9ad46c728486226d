"""Dynamic providers, run in this process as `python -m pulumi.dynamic` runs them in its own.

Secrets reach the provider in clear, as in the CLI; the engine marks the outputs again. Source:
pulumi/dynamic/__main__.py and pulumi pkg .../provider_plugin.go (3.272).
"""

import asyncio
import base64
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from pulumi import dynamic
from pulumi.runtime import rpc
from pulumi.runtime._serialization import _deserialize

from bex_stack.engine import differences, errors, providers, values

PACKAGE = "pulumi-python"
PROVIDER_KEY = "__provider"


class DynamicProvider:
    """Unpickles each resource's provider once and calls it."""

    def __init__(self, project: str, config: Mapping[str, str]) -> None:
        self._project = project
        self._config = dict(config)
        self._cache: dict[str, dynamic.ResourceProvider] = {}
        self._lock = threading.Lock()

    def check(
        self, subject: providers.Subject, old: values.Properties | None, new: values.Properties
    ) -> providers.Checked:
        """Ask the provider to check inputs."""
        olds, news = _plain(old or {}), _plain(new)
        source = olds if news.get(PROVIDER_KEY) == rpc.UNKNOWN else news
        result = self._call(source, lambda provider: provider.check(olds, news))
        inputs = {**result.inputs, PROVIDER_KEY: news[PROVIDER_KEY]}
        failures = tuple(f"{each.property}: {each.reason}" for each in result.failures or ())
        return providers.Checked(values.mark_like(_wire(inputs), new), failures)

    def diff(
        self,
        subject: providers.Subject,
        identifier: str,
        old: tuple[values.Properties, values.Properties],
        new: values.Properties,
    ) -> providers.Diffed:
        """Ask the provider to compare the last outputs with new inputs."""
        olds, news = _plain(old[1]), _plain(new)
        source = olds if news.get(PROVIDER_KEY) == rpc.UNKNOWN else news
        result = self._call(source, lambda provider: provider.diff(identifier, olds, news))
        details = differences.of_inputs(old[0], new) if result.changes else None
        return providers.Diffed(
            changes=result.changes,
            replaces=tuple(result.replaces or ()) if result.changes is not False else (),
            delete_before_replace=bool(result.delete_before_replace),
            details=details,
            # Not part of the protocol: a provider of ours says so what it found outside.
            reasons=tuple(getattr(result, "reasons", ())),
        )

    def create(
        self, subject: providers.Subject, inputs: values.Properties, *, preview: bool
    ) -> providers.Made:
        """Create. Dynamic providers do not take part in previews: the inputs are what is known."""
        if preview:
            return providers.Made("", inputs)
        props = _plain(inputs)
        result = self._call(props, lambda provider: provider.create(props))
        outputs = {**(result.outs or {}), PROVIDER_KEY: props[PROVIDER_KEY]}
        return providers.Made(str(result.id), values.mark_like(_wire(outputs), inputs))

    def update(
        self,
        subject: providers.Subject,
        identifier: str,
        old: tuple[values.Properties, values.Properties],
        new: values.Properties,
        *,
        preview: bool,
    ) -> providers.Made:
        """Update under the new provider."""
        if preview:
            return providers.Made(identifier, new)
        olds, news = _plain(old[1]), _plain(new)
        result = self._call(news, lambda provider: provider.update(identifier, olds, news))
        outputs = {**(result.outs or {}), PROVIDER_KEY: news[PROVIDER_KEY]}
        return providers.Made(identifier, values.mark_like(_wire(outputs), new))

    def delete(
        self,
        subject: providers.Subject,
        identifier: str,
        inputs: values.Properties,
        outputs: values.Properties,
    ) -> None:
        """Delete under the provider the state remembers, not the program's."""
        props = _plain(outputs)
        self._call(props, lambda provider: provider.delete(identifier, props))

    def read(
        self,
        subject: providers.Subject,
        identifier: str,
        inputs: values.Properties | None,
        outputs: values.Properties | None,
    ) -> providers.Made | None:
        """Read the resource as it is now."""
        props = _plain(outputs or inputs or {})
        result = self._call(props, lambda provider: provider.read(identifier, props))
        if not result.id:
            return None
        marked = inputs or outputs or {}
        found = {**(result.outs or {}), PROVIDER_KEY: props[PROVIDER_KEY]}
        known = getattr(result, "inputs", None)
        if known is not None:
            known = {**known, PROVIDER_KEY: props[PROVIDER_KEY]}
            known = values.mark_like(_wire(known), marked)
        return providers.Made(str(result.id), values.mark_like(_wire(found), marked), known)

    def find_created(
        self, subject: providers.Subject, inputs: values.Properties
    ) -> providers.Made | None:
        """Say nothing was left behind: dynamic creates must be safe to repeat."""
        return None

    def close(self) -> None:
        """Nothing is held open."""

    def _call(
        self, props: Mapping[str, Any], action: Callable[[dynamic.ResourceProvider], Any]
    ) -> Any:
        provider = self._load(props)
        try:
            return action(provider)
        except errors.EngineError:
            raise
        except Exception as exc:
            raise errors.ProviderError(_explain(exc)) from exc

    def _load(self, props: Mapping[str, Any]) -> dynamic.ResourceProvider:
        text = props.get(PROVIDER_KEY)
        if not isinstance(text, str):
            raise errors.ProviderError("the dynamic provider of this resource is not recorded")
        with self._lock:
            if text not in self._cache:
                self._cache[text] = self._unpickle(text)
            return self._cache[text]

    def _unpickle(self, text: str) -> dynamic.ResourceProvider:
        import dill

        try:
            provider: dynamic.ResourceProvider = _deserialize(
                lambda: dill.loads(base64.b64decode(text))  # noqa: S301 - our own state, as the CLI does
            )
            config = dynamic.Config(raw_config=self._config, project_name=self._project)
            provider.configure(dynamic.ConfigureRequest(config=config))
        except Exception as exc:
            raise errors.ProviderError(f"the dynamic provider cannot be loaded: {exc}") from exc
        return provider


def _plain(properties: values.Properties) -> dict[str, Any]:
    """Return what the plugin process would see: no marks, numbers as floats, no top-level nulls."""
    struct = values.to_struct(values.reveal(properties))
    return rpc.deserialize_properties(struct, keep_unknowns=True)  # type: ignore[no-any-return]


def _wire(outputs: Mapping[str, Any]) -> values.Properties:
    loop = asyncio.new_event_loop()
    try:
        return values.from_struct(loop.run_until_complete(rpc.serialize_properties(outputs, {})))
    finally:
        loop.close()


def _explain(exc: Exception) -> str:
    """Return the message and the place in the provider's own code."""
    frames = traceback.extract_tb(exc.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(exc).__name__}: {exc}{place}" if str(exc) else f"{type(exc).__name__}{place}"
