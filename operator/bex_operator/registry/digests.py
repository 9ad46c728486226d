"""Digests of images: from the name itself, or from its registry."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bex_operator.registry import references

if TYPE_CHECKING:
    from bex_operator.registry import resolver


class Digests:
    """Finds digests. Use as `async with Digests(endpoints)`; what it is given is the resolver's."""

    def __init__(self, endpoints: Mapping[str, Sequence[str]], key: Path | None = None) -> None:
        self._endpoints = endpoints
        self._key = key
        self._resolver: resolver.Resolver | None = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resolver = None
        await self._stack.aclose()

    async def resolve(self, image: str) -> str:
        """Return the digest (`sha256:…`) of *image*, a reference that the App model accepted.

        Raises: errors.NotFound, errors.Unavailable.
        """
        digest = references.parse(image).digest
        return digest if digest is not None else await (await self._registries()).resolve(image)

    async def _registries(self) -> "resolver.Resolver":
        if self._resolver is None:
            # What asks registries takes 12 MiB; where images are named by digest nobody asks.
            from bex_operator.registry import resolver

            made = resolver.Resolver(self._endpoints, self._key)
            self._resolver = await self._stack.enter_async_context(made)
        return self._resolver
