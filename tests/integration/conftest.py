"""Servers that integration tests share, made once per session."""

from tests.support.embedded import embedded

__all__ = ["embedded"]
