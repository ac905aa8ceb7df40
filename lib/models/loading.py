"""The one place where a torch checkpoint is read. Not here: what a model does with it (yolo.py).

A checkpoint is a pickle, and a pickle can run anything. So every file is read with `weights_only=True`, and its globals are
looked at before: allowed are plain tensors, layers of torch and ultralytics, and what the caller names.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lib.config.base import VipersightError
from lib.files import DataError

LAYERS = ("torch.nn.modules.", "ultralytics.nn.modules.")
TASKS = "ultralytics.nn.tasks"
NUMPY_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")
OWN_TYPES = ("ultralytics.utils.IterableSimpleNamespace",)


def load_checkpoint(path: str | Path, *, allow: Iterable[type] = ()) -> dict[str, Any]:
    """The contents of a torch checkpoint, tensors on the CPU.

    allow: further types that the file may hold. Raises DataError naming the file and every refused global, or what is wrong
    with the file; nothing of the file has run by then.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such checkpoint. Hint: was the training finished, is the path right?")
    try:
        needed = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except (ValueError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, IndexError) as error:
        raise DataError(
            f"{path}: not a torch checkpoint ({error}). Hint: a cut download, or another kind of file."
        ) from error
    given = {f"{one.__module__}.{one.__qualname__}": one for one in allow}
    found = {name: given.get(name) or _allowed(name) for name in needed}
    refused = sorted(name for name, entry in found.items() if entry is None)
    if refused:
        raise DataError(
            f"{path}: refused, the checkpoint wants to use {', '.join(refused)}. Allowed are tensors and layers of torch "
            "and ultralytics. Hint: only load weights from people you trust; save a plain state instead."
        )
    entries: list[Any] = [(entry, name) for name, entry in found.items()]
    if "numpy.dtype" in found:
        import numpy as np

        entries += [type(np.dtype(kind)) for kind in ("float64", "float32", "int64")]
    return _read(path, entries)


def _read(path: Path, entries: list[Any]) -> dict[str, Any]:
    import torch

    try:
        with torch.serialization.safe_globals(entries):
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except VipersightError:
        raise
    except Exception as error:  # what a hostile or damaged pickle can raise while being read has no bound
        raise DataError(f"{path}: refused or damaged checkpoint ({type(error).__name__}: {error})") from error
    if not isinstance(contents, dict):
        raise DataError(f"{path}: holds a {type(contents).__name__}, expected a checkpoint (a mapping).")
    return contents


def _allowed(name: str) -> Any:
    """The object behind a global of a checkpoint when it is harmless, else None. Imports torch and ultralytics only."""
    module, _, attribute = name.rpartition(".")
    if name in NUMPY_SCALARS or name in OWN_TYPES:
        return getattr(importlib.import_module(module), attribute, None)
    if not (name.startswith(LAYERS) or module in (TASKS, "torch.nn.modules", "ultralytics.nn.modules")):
        return None
    if name.startswith("ultralytics"):
        _no_eval()
    from torch import nn

    try:
        entry = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None
    return entry if isinstance(entry, type) and issubclass(entry, nn.Module) else None


def _no_eval() -> None:
    """Building an ultralytics model evaluates words of its description; with this switch of theirs it does not.

    Without it a file could ask for an allowed class with a description that runs code.
    """
    from lib.models.yolo import quiet_ultralytics

    quiet_ultralytics()
    from ultralytics.nn import tasks

    tasks.SAFE_LOAD = True
