"""Imports what a process is made of, with little work for the garbage collector then and later."""

import gc
import importlib
import os
from types import ModuleType

COLLECTED = (20_000, 20, 20)
"""New objects between two collections of each generation. References count nearly all of ours away,
and at the default of 700 a sixth of the processor's time went to finding nothing."""


def load(name: str) -> ModuleType:
    """Import a module that stays for good: the collector need not look at what it makes.

    A quarter of the time that a start takes would go to looking, and some of each look later.
    """
    gc.disable()
    # Pydantic would read what every installed package says of itself, in search of plug-ins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.set_threshold(*COLLECTED)
        gc.enable()
