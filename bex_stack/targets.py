"""What a command works on: a project folder, a stack of it, its settings and its apps.

Everything a person wrote is read and checked here, before anything is touched.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bex_operator import api
from bex_stack import app_modules, errors, settings, stack_files
from bex_stack import settings_models as models
from bex_stack.embedded import instance as instances

APPS = "apps"
"""Folder of a project with its App definitions."""


@dataclass(frozen=True, slots=True)
class Target:
    """One stack of one project, read and found in order."""

    project: Path
    stack: str
    file: Path
    """The stack file."""
    settings: "settings.StackSettings"
    apps: tuple[api.App, ...]

    @property
    def is_embedded(self) -> bool:
        """Whether this host is where the stack's machines live."""
        return isinstance(self.settings, models.EmbeddedSettings)

    @property
    def embedded(self) -> models.EmbeddedSettings:
        """The settings of a stack whose machines live on this host.

        Raises:
            errors.BadSettings: its machines live elsewhere; only the pulumi CLI brings it up.
        """
        if isinstance(self.settings, models.EmbeddedSettings):
            return self.settings
        raise errors.BadSettings(
            f"{self.file.name}: bex:provider is {self.settings.provider}; this command knows "
            f"embedded stacks only. `bex preview -s {self.stack}` works, and "
            f"`pulumi up -s {self.stack}` brings it up"
        )

    @property
    def instance(self) -> instances.Instance:
        """The embedded cluster the settings describe."""
        return self.embedded.as_instance(settings.home())

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the cluster its apps run in; there once the stack is up."""
        if isinstance(self.settings, models.EmbeddedSettings):
            return self.instance.kubeconfig
        return self.project / self.settings.kubeconfig_file(self.stack)

    @property
    def backend(self) -> Path:
        """Folder of Pulumi's file backend (`pulumi login file://…`)."""
        return settings.home() / "pulumi"


def read(project: Path, stack: str, config_file: Path | None = None) -> Target:
    """Read a stack's settings and the apps they choose.

    Raises:
        errors.BadSettings, errors.BadApp: what is wrong, all of it, with file and rule.
    """
    found = read_settings(project, stack, config_file)
    apps = choose_apps(project, found.settings.apps, source=found.file.name)
    return dataclasses.replace(found, apps=apps)


def read_settings(project: Path, stack: str, config_file: Path | None = None) -> Target:
    """Read a stack's settings only: what needs no app works while an app is broken.

    Raises:
        errors.BadSettings: what is wrong, all of it, with file, key and rule.
    """
    file = stack_files.path_of(project, stack, config_file)
    given = settings.parse(stack_files.read_config(file), source=file.name)
    try:
        if isinstance(given, models.EmbeddedSettings):
            given.as_instance(settings.home())
    except instances.InstanceError as refused:  # the settings are fine by now, so it is the home
        raise errors.BadSettings(f"BEX_HOME: {refused}") from refused
    return Target(project, stack, file, given, ())


def choose_apps(project: Path, patterns: Sequence[str], *, source: str) -> tuple[api.App, ...]:
    """Load the apps of *project* that `bex:apps` (*patterns*, from *source*) chooses."""
    defined = {app.name: app for app in app_modules.load(project / APPS)}
    names = settings.select_apps(patterns, list(defined), source=source)
    return tuple(defined[name] for name in names)
