"""Tensors in one safetensors file: written as a stream together with its sum, read with every doubt told. Not here: what
the tensors are (models/weights.py, training/state_file.py).

The layout is safetensors': 8 bytes with the length of the head, the head as JSON, the bytes of all tensors without gaps. It
is written here and not by the library, because that one copies everything once more and cannot sum what it writes; it is
read by the library.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from lib.files import DataError, atomic, sized

CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What a file can hold, in the words of the format."""
_PIECE = 16 << 20
_LARGEST_HEAD = 100_000_000
"""bytes; the library refuses longer ones when it reads."""


@dataclass(frozen=True)
class Head:
    """What a file says it holds, before any tensor is read. shapes: of each tensor; metadata: free texts."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def write_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> tuple[int, str]:
    """Write tensors (any device) atomically; returns the file's size in bytes and its sha256.

    Strides are not kept: a file holds every tensor contiguous. Raises DataError when the disk refuses, TypeError for a
    tensor that the format has no place for (sparse, quantised, complex128).
    """
    for name, tensor in tensors.items():
        refuse_odd(name, tensor)
    order = in_order(tensors)
    head = _head(Path(path), tensors, order, metadata)
    size = len(head) + sum(tensors[name].nbytes for name in order)
    digest = hashlib.sha256()
    with atomic(path, need=size) as temporary, open(temporary, "wb") as file:
        for piece in _all_pieces(head, tensors, order):
            digest.update(piece)
            file.write(piece)
    return size, digest.hexdigest()


def content_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 over the bytes of all tensors in the order of their file, whatever the head says."""
    digest = hashlib.sha256()
    for name in in_order(tensors):
        for piece in _pieces(tensors[name]):
            digest.update(piece)
    return digest.hexdigest()


def in_order(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Names in the order of the file: large elements first, so that each tensor begins at a multiple of its element."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def refuse_odd(name: str, tensor: torch.Tensor) -> None:
    """TypeError for a tensor that a file cannot hold bit for bit."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        layout = "without values (on meta)" if tensor.device.type == "meta" else f"{tensor.layout} {kind}"
        raise TypeError(f"{name}: a tensor {layout} cannot be stored. Hint: store its dense parts.")
    if tensor.dtype not in CODES:
        known = ", ".join(str(one).removeprefix("torch.") for one in CODES)
        raise TypeError(f"{name}: a tensor of {kind} cannot be stored. Hint: known are {known}.")


def _head(path: Path, tensors: Mapping[str, torch.Tensor], order: Sequence[str], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for name in order:
        tensor = tensors[name]
        end = start + tensor.nbytes
        entries[name] = {"dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LARGEST_HEAD:
        raise DataError(f"{path}: {len(order):,} tensors need {sized(len(text))} for their names, a file has 100 MB.")
    return struct.pack("<Q", len(text)) + text


def _all_pieces(head: bytes, tensors: Mapping[str, torch.Tensor], order: Iterable[str]) -> Iterator[Any]:
    yield head
    for name in order:
        yield from _pieces(tensors[name])


def _pieces(tensor: torch.Tensor) -> Iterator[memoryview]:
    """The bytes of a tensor (little-endian, as every machine that torch runs on) in pieces, without a copy on the CPU."""
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    whole = memoryview(plain.view(torch.uint8).numpy()) if plain.numel() else memoryview(b"")
    for start in range(0, len(whole), _PIECE):
        yield whole[start : start + _PIECE]


def read_head(path: str | Path) -> Head:
    """Names, shapes and texts of a file, none of its tensors. DataError for anything else than a whole safetensors file."""
    with _opened(Path(path), "np") as file:  # torch would map all of it as memory that it may write to
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return Head(shapes, file.metadata() or {})


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """All tensors of a file, on the CPU, each in memory of its own. DataError for what is no whole safetensors file."""
    with _opened(Path(path), "pt") as file:
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)


@contextmanager
def _opened(path: Path, framework: str) -> Iterator[Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file. Hint: was the training finished, is the path right?")
    try:
        with safe_open(path, framework) as file:
            yield file
    except Exception as error:  # a head that lies makes the library, torch or the memory fail, each in its own words
        told = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path}: no whole safetensors file ({told}). Hint: a cut copy, or another kind of file."
        ) from error
