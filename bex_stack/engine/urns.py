"""Names of resources and of the providers that manage them, as Pulumi writes them."""

from dataclasses import dataclass

STACK_TYPE = "pulumi:pulumi:Stack"
PROVIDER_PREFIX = "pulumi:providers:"


def make(stack: str, project: str, parent: str, type_token: str, name: str) -> str:
    """Build a URN; `parent` is a URN or empty. The stack itself never shows as a parent type."""
    qualified = type_token
    if parent and type_of(parent) != STACK_TYPE:
        qualified = f"{qualified_type(parent)}${type_token}"
    return f"urn:pulumi:{stack}::{project}::{qualified}::{name}"


def inherited_alias(type_token: str, name: str, parent: str, parent_alias: str) -> str:
    """Return the URN a child had under an alias of its parent.

    A name that begins with its parent's follows it. Source: pulumi
    pkg/resource/deploy/step_generator.go, inheritedChildAlias.
    """
    own = name_of(parent)
    if name.startswith(own):
        name = name_of(parent_alias) + name.removeprefix(own)
    _, _, stack, rest = parent_alias.split(":", 3)
    project = rest.removeprefix(":").split("::", 1)[0]
    return make(stack, project, parent_alias, type_token, name)


def qualified_type(urn: str) -> str:
    """Return the type with all parent types before it."""
    return urn.split("::", 3)[2]


def type_of(urn: str) -> str:
    """Return the resource's own type."""
    return qualified_type(urn).rsplit("$", 1)[-1]


def name_of(urn: str) -> str:
    """Return the logical name."""
    return urn.split("::", 3)[3]


def is_provider_type(type_token: str) -> bool:
    """Say whether resources of this type are providers themselves."""
    return type_token.startswith(PROVIDER_PREFIX)


def is_default_provider(urn: str) -> bool:
    """Say whether this is a provider the engine made by itself."""
    name = name_of(urn)
    return is_provider_type(type_of(urn)) and (name == "default" or name.startswith("default_"))


def package_of(type_token: str) -> str:
    """Return the package whose provider manages resources of this type."""
    if is_provider_type(type_token):
        return type_token.removeprefix(PROVIDER_PREFIX)
    return type_token.split(":", 1)[0]


@dataclass(frozen=True, slots=True)
class ProviderReference:
    """A provider's URN and id, written `urn::id` in requests and in the state."""

    urn: str
    id: str

    def __str__(self) -> str:
        return f"{self.urn}::{self.id}"


def parse_provider(text: str) -> ProviderReference:
    """Split `urn::id`; the id never holds `::`."""
    urn, _, identifier = text.rpartition("::")
    return ProviderReference(urn, identifier)
