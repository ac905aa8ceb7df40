"""The one place where a torch checkpoint is read and written. Not here: what a model does with it (yolo.py).

A checkpoint is a pickle, and a pickle can run anything. So every file is read with `weights_only=True`, and its globals are
looked at before: allowed are plain tensors, layers of torch and ultralytics, and what the caller names. The one way round
is VIPERSIGHT_UNSAFE_SHA256, the sha256 sums (comma between) that the study's `weights.X.allow_unsafe` handed down.
"""

from __future__ import annotations

import importlib
import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.config.base import VipersightError
from lib.files import DataError, sha256_file, sized

LAYERS = ("torch.nn.modules.", "ultralytics.nn.modules.")
TASKS = "ultralytics.nn.tasks"
NUMPY_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")
OWN_TYPES = ("ultralytics.utils.IterableSimpleNamespace",)
UNSAFE_SHA256 = "VIPERSIGHT_UNSAFE_SHA256"
_GROWTH, _GROWTH_FROM = 4, 64 << 20
"""torch stores tensors as they are, so an honest file unpacks to its own size; one of this many times, from this size in
bytes on, is a bomb."""


def load_checkpoint(path: str | Path, *, allow: Iterable[type] = ()) -> dict[str, Any]:
    """The contents of a torch checkpoint, a mapping, tensors on the CPU.

    allow and what is refused are as of load_contents.
    """
    contents = load_contents(path, allow=allow)
    if not isinstance(contents, dict):
        raise DataError(f"{path}: holds a {type(contents).__name__}, expected a checkpoint (a mapping).")
    return contents


def load_contents(path: str | Path, *, allow: Iterable[type] = ()) -> Any:
    """Whatever a file that torch wrote holds (a mapping, one tensor), tensors on the CPU.

    allow: further types that the file may hold. Raises DataError naming the file and every refused global, or what is wrong
    with the file; nothing of the file has run by then. A file whose sha256 is in VIPERSIGHT_UNSAFE_SHA256 is read without
    any of this, and whatever stands in it runs.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such checkpoint. Hint: was the training finished, is the path right?")
    trusted = set(filter(None, os.environ.get(UNSAFE_SHA256, "").split(",")))
    if trusted and sha256_file(path) in trusted:
        return _read_trusted(path, trusted)
    _refuse_odd_zip(path)
    try:
        needed = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception as error:  # what damage makes torch raise has no bound: an OSError among others
        raise DataError(
            f"{path}: not a torch checkpoint ({error}). Hint: a cut download, or another kind of file."
        ) from error
    given = {f"{one.__module__}.{one.__qualname__}": one for one in allow}
    found = {name: given.get(name) or _allowed(name) for name in needed}
    refused = sorted(name for name, entry in found.items() if entry is None)
    if refused:
        raise DataError(
            f"{path}: refused, the checkpoint wants to use {', '.join(refused)}. Allowed are tensors and layers of torch "
            "and ultralytics. Hint: save a plain state instead; for a file whose maker you trust, state its `sha256` and "
            "`allow_unsafe: true` under `weights:`."
        )
    entries: list[Any] = [(entry, name) for name, entry in found.items()]
    if "numpy.dtype" in found:
        import numpy as np

        entries += [type(np.dtype(kind)) for kind in ("float64", "float32", "int64")]
    return _read(path, entries)


def save_checkpoint(values: dict[str, Any], path: str | Path) -> None:
    """Write a torch checkpoint to a path (a temporary one: see files.atomic).

    Through memory, because torch's own writer goes on after a write that failed and then leaves a damaged file.
    """
    import torch

    whole = io.BytesIO()
    torch.save(values, whole)
    with open(path, "wb") as file:
        file.write(whole.getbuffer())


def _read(path: Path, entries: list[Any]) -> Any:
    import torch

    try:
        with torch.serialization.safe_globals(entries), _nothing_built():
            return torch.load(path, map_location="cpu", weights_only=True)
    except VipersightError as error:
        raise DataError(f"{path}: refused, the checkpoint {error}") from error
    except Exception as error:  # what a hostile or damaged pickle can raise while being read has no bound
        raise DataError(f"{path}: refused or damaged checkpoint ({type(error).__name__}: {error})") from error


@contextmanager
def _nothing_built() -> Iterator[None]:
    """Layers are restored by their state; one that is called with arguments of the file's choice is refused.

    Constructors can allocate any memory, and some of ultralytics' evaluate text or fetch files.
    """
    from torch import nn

    original = nn.Module.__init__

    def refuse(self: nn.Module, *_: Any, **__: Any) -> None:
        raise DataError(f"wants to build a {type(self).__name__} of its own choice")

    nn.Module.__init__ = refuse  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__init__ = original  # type: ignore[method-assign]


def _read_trusted(path: Path, trusted: set[str]) -> Any:
    """Read a file that may run code: the very bytes whose sum was compared, whatever happens to the file meanwhile."""
    import hashlib

    import torch

    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() not in trusted:
        raise DataError(f"{path}: changed while it was being read.")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
    except Exception as error:
        raise DataError(f"{path}: damaged checkpoint ({type(error).__name__}: {error})") from error


def _refuse_odd_zip(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return  # torch will say what it is
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
            whole = sum(member.file_size for member in file.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: not a torch checkpoint ({error}). Hint: a cut download?") from error
    if len(set(names)) < len(names):
        raise DataError(f"{path}: refused, two of its members have one name, so readers may differ on what it holds.")
    if whole > max(_GROWTH * path.stat().st_size, _GROWTH_FROM):
        raise DataError(f"{path}: refused, its {sized(path.stat().st_size)} unpack to {sized(whole)}: a bomb.")


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
