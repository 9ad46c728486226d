"""What all dynamic providers here have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi import dynamic

Inputs = Mapping[str, Any]


class Provider(dynamic.ResourceProvider):
    """Create and update are the same deed; a change of *fixed* inputs replaces."""

    serialize_as_secret_always = False

    keys: Sequence[str] = ()
    """Inputs that count; others, and outputs, are no reason for a change."""
    fixed: Sequence[str] = ()
    """Inputs that cannot change while it exists."""

    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        """Make or finish making it."""
        return dynamic.CreateResult(self.identifier(props), {**props, **self.ensure(props)})

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> dynamic.UpdateResult:
        """Bring it to its new inputs."""
        return dynamic.UpdateResult({**news, **self.ensure(news)})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> dynamic.DiffResult:
        """Compare inputs; the world is read by `refresh`."""
        replaces = [key for key in self.fixed if olds.get(key) != news.get(key)]
        changes = any(olds.get(key) != news.get(key) for key in (*self.keys, *self.fixed))
        return dynamic.DiffResult(changes, replaces, delete_before_replace=True)

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """Remove it; what is gone is no error."""
        self.remove(props)

    def identifier(self, props: Inputs) -> str:
        """Name it."""
        raise NotImplementedError

    def ensure(self, props: Inputs) -> dict[str, Any]:
        """Let it be as *props* say; return its outputs."""
        raise NotImplementedError

    def remove(self, props: Inputs) -> None:
        """Remove it."""
