"""Resources that only the pulumi CLI can manage: planned in a preview, refused otherwise.

A plan is made of what the program says: inputs are compared with the last run's, and every output
that no input gives stays unknown.
"""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from bex_stack.engine import backend, differences, errors, passphrase, project, providers, values

_KUBERNETES_MODULES = ("helm.sh/", "kustomize/", "yaml")
"""Modules of the kubernetes package that are programs of its plugin, no objects."""
_REMOTE_MODULES = ("helm.sh/v4", "kustomize/v2", "yaml/v2")
"""Those whose components the plugin builds; older ones are built by the SDK itself."""


def is_program_of_plugin(type_token: str) -> bool:
    """Say whether a kubernetes type is no object, but something its plugin runs."""
    package, _, rest = type_token.partition(":")
    return package == "kubernetes" and rest.startswith(_KUBERNETES_MODULES)


def is_remote(type_token: str) -> bool:
    """Say whether a component of this type is one its plugin builds."""
    package, _, rest = type_token.partition(":")
    return package == "kubernetes" and rest.startswith(_REMOTE_MODULES)


def refusal(types: Mapping[str, str], command: str) -> errors.NeedsCli:
    """Build the refusal of a whole run from types and where the program has the first of each."""
    named = [f"{each} ({place})" if place else each for each, place in sorted(types.items())]
    return errors.NeedsCli(
        "this stack needs the pulumi CLI: the embedded engine can preview, but not manage its "
        f"resources of {', '.join(named)}. Run: {command}"
    )


def command(
    verb: str, found: project.Project, files: backend.StackFiles, stack_file: Path, exists: bool
) -> str:
    """Return the CLI's own commands for a run of this stack, on the same state.

    The CLI makes no stack by itself: one that does not exist is made first.
    """
    root = files.root.resolve()
    setting = {"PULUMI_BACKEND_URL": f"file://{root}"}
    if not any(each.startswith("PULUMI_CONFIG_PASSPHRASE") for each in os.environ):
        setting["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(root / passphrase.FILE)
    where = ["--cwd", str(found.directory), "--stack", files.stack]
    if stack_file != found.directory / f"Pulumi.{files.stack}.yaml":
        where += ["--config-file", str(stack_file.resolve())]
    commands = [["pulumi", verb, *where]]
    if not exists:
        commands.insert(0, ["pulumi", "stack", "init", *where])
    exported = " ".join(f"{key}={shlex.quote(value)}" for key, value in setting.items())
    return f"export {exported}; {' && '.join(map(shlex.join, commands))}"


class PlanningProvider(providers.Plain):
    """Stands in for a package's plugin while a preview runs."""

    def create(
        self, subject: providers.Subject, inputs: values.Properties, *, preview: bool
    ) -> providers.Made:
        """Plan a new resource: its inputs are what is known of it."""
        _ensure_plan(subject, preview)
        return providers.Made("", inputs, planned=differences.of_inputs({}, inputs))

    def update(
        self,
        subject: providers.Subject,
        identifier: str,
        old: tuple[values.Properties, values.Properties],
        new: values.Properties,
        *,
        preview: bool,
    ) -> providers.Made:
        """Plan an update: any output may change with it."""
        _ensure_plan(subject, preview)
        return providers.Made(identifier, new)

    def delete(
        self,
        subject: providers.Subject,
        identifier: str,
        inputs: values.Properties,
        outputs: values.Properties,
    ) -> None:
        """Refuse; a preview never comes here."""
        _ensure_plan(subject, False)

    def read(
        self,
        subject: providers.Subject,
        identifier: str,
        inputs: values.Properties | None,
        outputs: values.Properties | None,
    ) -> providers.Made | None:
        """Plan a look-up: nothing is known but the id and what was asked with."""
        return providers.Made(identifier, inputs or {}, inputs)


def _ensure_plan(subject: providers.Subject, preview: bool) -> None:
    if not preview:
        raise errors.Unsupported(f"resource {subject.type} {subject.name!r} needs the pulumi CLI")
