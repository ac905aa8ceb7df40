"""Import a library without the heavy one that it names at its top and rarely uses. Not here: any such library.

boxmot's trackers import torch for appearance models and for handing out tensors. Tracking boxes uses neither, and torch
would be two thirds of a tracking job's start and memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands for a module; the first attribute that is read of it imports it."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def deferred(name: str) -> Iterator[None]:
    """What is imported inside the block gets `name` as a module that is loaded when it is first used.

    Afterwards the rest of the process does not see the stand-in. Does nothing when the module is loaded, or not installed.
    """
    if name in sys.modules or (spec := find_spec(name)) is None:
        yield
        return
    stand_in = _Deferred(name)
    stand_in.__spec__ = spec
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
