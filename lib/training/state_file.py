"""The nested state of a training in one safetensors file, bit for bit. Not here: which states are kept (checkpoint.py).

Tensors stand in the file under their place in the state (`model/encoder.weight`), everything else as JSON in one more
tensor of bytes. There is no pickle: reading a file can run nothing.

What comes back is what went in, with these exceptions: a tensor is contiguous, on the CPU and without gradient; a subclass
of dict, list, tuple, str, int, float or Tensor becomes the plain one; numbers of numpy become Python's. Tuples stay tuples,
keys of any kind stay as they are, and two places that hold the same tensor (tied weights) hold the same tensor again.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.files import DataError
from lib.tensor_files import read_tensors, refuse_odd, write_tensors

STRUCTURE = "structure.json"
_FLAT = {type(None), bool, int, float, str}


def flatten(state: Mapping[Any, Any]) -> tuple[Any, dict[str, torch.Tensor]]:
    """(everything but tensors as values that JSON can hold, tensors by name). Tensors are the state's own, not copies.

    TypeError naming the place of a value that cannot be stored.
    """
    walk = _Flattening()
    return walk.node(state, ""), walk.tensors


class _Flattening:
    """One walk over a state."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._seen: dict[tuple[Any, ...], str] = {}

    def node(self, value: Any, place: str) -> Any:
        """JSON values as they are; all others as an object of one key, which says what they are."""
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str | int | float):
            return _number_or_text(value)
        if isinstance(value, torch.Tensor):
            return {"tensor": self._named(value, place)}
        if isinstance(value, np.ndarray):
            return {"array": self._named(_as_tensor(value, place), place)}
        if isinstance(value, bytes | bytearray):
            return {"bytes": base64.b64encode(value).decode()}
        if isinstance(value, tuple | list):
            items = self._items(value, place)
            return {"tuple": items} if isinstance(value, tuple) else items
        if isinstance(value, Mapping):
            return self._mapping(value, place)
        raise TypeError(
            f"state[{place!r}]: a {type(value).__name__} cannot be stored. Hint: store its state_dict() or plain values."
        )

    def _items(self, values: list[Any] | tuple[Any, ...], place: str) -> list[Any]:
        flat = set(map(type, values)) <= _FLAT  # a sampler's order can be a million numbers: not one call each
        if flat and all(math.isfinite(one) for one in values if type(one) is float):
            return list(values)
        return [self.node(one, _join(place, number)) for number, one in enumerate(values)]

    def _mapping(self, values: Mapping[Any, Any], place: str) -> Any:
        if all(type(key) is str for key in values):
            return {"dict": {key: self.node(one, _join(place, key)) for key, one in values.items()}}
        pairs = [[self.node(key, _join(place, "key")), self.node(one, _join(place, key))] for key, one in values.items()]
        return {"items": pairs}

    def _named(self, tensor: torch.Tensor, place: str) -> str:
        """The name of a tensor; the same one for the same memory seen the same way."""
        tensor = tensor.detach()
        refuse_odd(f"state[{place!r}]", tensor)
        view = (tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride())
        same = (*view, tensor.is_conj(), tensor.is_neg()) if tensor.numel() else (place, len(self.tensors))
        if same not in self._seen:
            name = place
            while name in self.tensors or name == STRUCTURE:
                name += "~"
            self._seen[same], self.tensors[name] = name, tensor
        return self._seen[same]


def _join(place: str, key: Any) -> str:
    return f"{place}/{key}" if place else str(key)


def _number_or_text(value: Any) -> Any:
    """str, int, float (and their subclasses) as JSON has them; NaN and infinities as an object."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    return str.__str__(value) if isinstance(value, str) else int(value)


def _as_tensor(array: np.ndarray, place: str) -> torch.Tensor:
    try:
        return torch.from_numpy(np.array(array, order="C"))  # a copy: it may be read-only or backwards
    except TypeError as error:
        raise TypeError(f"state[{place!r}]: an array of {array.dtype} cannot be stored. Hint: store numbers.") from error


def write_state(path: Path, structure: Any, tensors: Mapping[str, torch.Tensor], version: int) -> tuple[int, str]:
    """Write what `flatten` gave; returns size in bytes and sha256. Raises DataError when the disk refuses."""
    text = json.dumps(structure, separators=(",", ":"), allow_nan=False).encode()
    plain = torch.from_numpy(np.frombuffer(bytearray(text), dtype=np.uint8))
    return write_tensors(path, {**tensors, STRUCTURE: plain}, {"format": "pt", "vipersight_state": str(version)})


def read_state(path: Path) -> Any:
    """The state of a file, tensors on the CPU. DataError when it is cut, or no state."""
    tensors = read_tensors(path)
    text = tensors.pop(STRUCTURE, None)
    if text is None:
        raise DataError(f"{path}: holds tensors, but no state of a training. Hint: weights alone are read by load_weights.")
    try:
        return _Unflattening(tensors).value(json.loads(text.numpy().tobytes()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: its structure is damaged ({type(error).__name__}: {error}).") from error


class _Unflattening:
    """The way back."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._tensors = tensors

    def value(self, node: Any) -> Any:
        """The value that `_Flattening.node` described."""
        if isinstance(node, list):
            return [self.value(one) for one in node]
        if not isinstance(node, dict):
            return node
        ((kind, inner),) = node.items()
        return getattr(self, f"_{kind}")(inner)

    def _tensor(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    def _array(self, name: str) -> np.ndarray:
        return self._tensors[name].numpy()

    def _bytes(self, text: str) -> bytes:
        return base64.b64decode(text, validate=True)

    def _float(self, text: str) -> float:
        return float(text)

    def _tuple(self, items: list[Any]) -> tuple[Any, ...]:
        return tuple(self.value(one) for one in items)

    def _dict(self, values: dict[str, Any]) -> dict[str, Any]:
        return {key: self.value(one) for key, one in values.items()}

    def _items(self, pairs: list[Any]) -> dict[Any, Any]:
        return {self.value(key): self.value(one) for key, one in pairs}
