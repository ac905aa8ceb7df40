"""Weights alone as safetensors, and whether they fit a model. Not here: checkpoints of torch (loading.py), the state of a
training (training/checkpoint.py).

Names are those of the bare model: what torch.compile (`_orig_mod.`), DDP (`module.`) and Fabric (`_forward_module.`) put
before them is taken off on both sides. Weights that share memory (tied) are stored once; the file's metadata says for each
further name whose it shares, in the way of `safetensors.torch.save_model`, which such a file can be exchanged with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib.config.base import ConfigError
from lib.files import DataError
from lib.tensor_files import Head, content_digest, read_head, read_tensors, write_tensors

FORMAT = "1"
_MARK, _SUM = "vipersight_weights", "content_sha256"
_COMPILED, _WRAPPERS = "_orig_mod", ("module.", "_forward_module.")
Shape = Sequence[int]


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Name in the bare model → name as given, in the order given. ConfigError when two become one.

    A wrapper's word counts only where all names begin with it.
    """
    given = list(names)
    plain = [".".join(part for part in name.split(".") if part != _COMPILED) for name in given]
    while plain and (wrapper := next((one for one in _WRAPPERS if all(name.startswith(one) for name in plain)), None)):
        plain = [name.removeprefix(wrapper) for name in plain]
    found = dict(zip(plain, given, strict=True))
    if len(found) < len(given):
        twice = next(name for name in plain if plain.count(name) > 1)
        raise ConfigError(
            f"weights: two tensors are both {twice!r} without the words of wrappers. Hint: store one of them."
        )
    return found


def save_weights(path: str | Path, state_dict: Mapping[str, torch.Tensor]) -> str:
    """Write the tensors of a model atomically; returns the file's sha256.

    Raises DataError when the disk refuses, TypeError for what is no dense tensor.
    """
    names = plain_names(state_dict)
    first: dict[tuple[object, ...], str] = {}
    tensors: dict[str, torch.Tensor] = {}
    shared: dict[str, str] = {}
    for plain, given in names.items():
        tensor = state_dict[given]
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{given}: a {type(tensor).__name__} is no weight. Hint: leave it out of the state dict.")
        kept = first.setdefault(_memory(tensor, plain), plain)
        if kept == plain:
            tensors[plain] = tensor
        else:
            shared[plain] = kept
    marks = {"format": "pt", _MARK: FORMAT, _SUM: content_digest(tensors)}
    return write_tensors(path, tensors, {**shared, **marks})[1]


def _memory(tensor: torch.Tensor, name: str) -> tuple[object, ...]:
    """The same for two tensors that are the same memory seen the same way."""
    if not tensor.numel():
        return (name,)
    return (tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride())


def load_weights(path: str | Path, model: nn.Module) -> None:
    """Put the weights of a file into a model, in the model's own dtypes; all of them or, with an error, none.

    Reads files of others too (any safetensors of the same names). DataError when the file is cut, altered, of another
    format version, or of another architecture (nothing of a foreign size is read then).
    """
    path = Path(path)
    head = read_head(path)
    version = head.metadata.get(_MARK, FORMAT)
    if version != FORMAT:
        raise DataError(
            f"{path}: weights of format {version}, this version reads {FORMAT}. Hint: use the version that wrote it."
        )
    refuse_other_architecture(path, _all_shapes(head), model)
    tensors = read_tensors(path)
    told = head.metadata.get(_SUM)
    if told is not None and content_digest(tensors) != told:
        raise DataError(
            f"{path}: its weights were altered after they were written (their sum differs). Hint: copy it again."
        )
    put_weights(path, {**tensors, **{name: tensors[kept] for name, kept in _shared(head).items()}}, model)


def _shared(head: Head) -> dict[str, str]:
    return {name: kept for name, kept in head.metadata.items() if name not in head.shapes and kept in head.shapes}


def _all_shapes(head: Head) -> dict[str, Shape]:
    return {**head.shapes, **{name: head.shapes[kept] for name, kept in _shared(head).items()}}


def refuse_other_architecture(path: Path, shapes: Mapping[str, Shape], model: nn.Module) -> None:
    """DataError with the first parameter (or buffer) that a file lacks, has too many, or has in another shape.

    shapes: of the file's tensors.
    """
    expected = _tensors_of(model)
    theirs = {plain: tuple(shapes[given]) for plain, given in plain_names(shapes).items()}
    troubles = []
    for name, tensor in expected.items():
        if name not in theirs:
            troubles.append(f"{name} {_text(tensor.shape)} of the model is missing in the file")
        elif theirs[name] != tuple(tensor.shape):
            troubles.append(f"{name} is {_text(theirs[name])} in the file and {_text(tensor.shape)} in the model")
    troubles += [
        f"{name} {_text(shape)} of the file is not in the model" for name, shape in theirs.items() if name not in expected
    ]
    if troubles:
        more = f" ({len(troubles)} differences in all)" if len(troubles) > 1 else ""
        raise DataError(
            f"{path}: of another architecture: {troubles[0]}{more}. "
            "Hint: build the model with the settings that the file was made with."
        )


def put_weights(path: Path, values: Mapping[str, Any], model: nn.Module) -> None:
    """Copy tensors (CPU, same names and shapes as the model's) into a model, and what its modules keep beside tensors.

    path: named in errors. DataError, before anything is copied, when a kind of number does not fit.
    """
    expected = _tensors_of(model)
    given = {plain: values[name] for plain, name in plain_names(values).items()}
    first: dict[tuple[object, ...], str] = {}
    for name, tensor in expected.items():
        if _kind(tensor) != _kind(given[name]):
            kinds = f"{given[name].dtype} in the file and {tensor.dtype} in the model".replace("torch.", "")
            raise DataError(f"{path}: of another architecture: {name} is {kinds}.")
        kept = first.setdefault(_memory(tensor, name), name)
        if given[kept] is not given[name] and not _same_bits(given[kept], given[name]):
            raise DataError(
                f"{path}: {kept} and {name} are one tensor in the model (tied) and differ in the file. "
                "Hint: build the model without tying them."
            )
    names = plain_names(model.state_dict())
    model.load_state_dict({names[plain]: value for plain, value in given.items() if plain in names}, strict=False)


def _tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and kept buffers of a model by their plain names; they share the model's memory."""
    state = {name: one for name, one in model.state_dict().items() if isinstance(one, torch.Tensor)}
    return {plain: state[given] for plain, given in plain_names(state).items()}


def _kind(tensor: torch.Tensor) -> str:
    return "complex" if tensor.is_complex() else "float" if tensor.is_floating_point() else "whole"


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))


def _text(shape: Shape) -> str:
    return str(list(shape))
