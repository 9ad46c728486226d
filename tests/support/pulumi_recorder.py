"""Records what a Pulumi component registers, as plain data to assert on."""

import asyncio
import concurrent.futures
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime import mocks, stack


@dataclass
class Recorder(mocks.Mocks):
    """Takes every registration; each resource's outputs are its inputs."""

    resources: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """(type, name, inputs) in the order in which they arrived."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        """Remember one registration."""
        self.resources.append((args.typ, args.name, args.inputs))
        return args.name, args.inputs

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:
        """Answer an invoke: none is expected."""
        raise AssertionError(f"unexpected invoke {args.token}")


def record(program: Callable[[], object]) -> list[tuple[str, str, dict[str, Any]]]:
    """Run *program* and return what it registered; its errors surface.

    In a thread of its own, because the SDK takes the thread's event loop for itself.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(_record, program).result()


def _record(program: Callable[[], object]) -> list[tuple[str, str, dict[str, Any]]]:
    recorder = Recorder()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        pulumi.runtime.set_mocks(recorder, project="bex", stack="test")
        program()
        loop.run_until_complete(stack.wait_for_rpcs())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return recorder.resources
