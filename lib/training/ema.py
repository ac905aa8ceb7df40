"""An exponential moving average (EMA) of a model's weights, kept in fp32. Not here: when it is updated and scored
(trainer.py), and where it is written (checkpoint.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lib.files import DataError

_WRAPPERS = {"_FabricModule": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}
_COMPILED = "_orig_mod."  # torch.compile of an inner module puts this into its names
_AT_ONCE = 64  # parameters of low precision that are turned into fp32 together


class Ema:
    """average ← average + (1 - d) · (weight - average), with d = min(decay, (1 + n) / (warmup + n)), n updates made before.

    With warmup = 10 that is the ramp of TensorFlow's ExponentialMovingAverage(num_updates=n); 0 (or 1) = `decay` at once.
    Averaged is every trainable floating-point parameter, tied ones once, in fp32 (in its own precision where that is
    higher); one that is unfrozen later joins with its value of then. Frozen ones stay the model's own. Buffers that a
    state_dict holds (running statistics of norms) are copied at each update, as torch's AveragedModel does.

    The names are those of the bare model: wrapped by Fabric, DDP or torch.compile it is the same average.
    """

    def __init__(self, model: nn.Module, *, decay: float, warmup: int = 0) -> None:
        self.decay, self.warmup, self.updates = decay, warmup, 0
        self._inside = False
        self._average = {name: _start(one) for name, one in _parameters(model).items()}
        self._buffers = {name: one.detach().clone() for name, one in _buffers(model).items()}

    def current_decay(self) -> float:
        """d of the next update."""
        return min(self.decay, (1 + self.updates) / (self.warmup + self.updates)) if self.warmup > 1 else self.decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the model's weights in, once after every optimizer step."""
        if self._inside:
            raise RuntimeError("Ema.update inside `averaged`: the average would be taken in itself")
        weights = _parameters(model)
        self._join(weights)
        share = 1.0 - self.current_decay()
        averages: list[torch.Tensor] = []
        values: list[torch.Tensor] = []
        for name, weight in weights.items():
            average = self._average[name]
            if weight.dtype == average.dtype:
                averages.append(average)
                values.append(weight.detach())
        if averages:
            torch._foreach_lerp_(averages, values, share)
        low = [name for name, weight in weights.items() if weight.dtype != self._average[name].dtype]
        for first in range(0, len(low), _AT_ONCE):  # in parts: a whole copy in fp32 could cost gigabytes
            names = low[first : first + _AT_ONCE]
            averages = [self._average[name] for name in names]
            torch._foreach_lerp_(averages, [weights[name].detach().to(self._average[name].dtype) for name in names], share)
        buffers = _buffers(model)
        if buffers:
            torch._foreach_copy_([self._buffers[name] for name in buffers], list(buffers.values()))
        self.updates += 1

    def _join(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Parameters that were unfrozen since the last update begin here; a model that moved takes its average along."""
        for name, weight in weights.items():
            average = self._average.get(name)
            if average is None:
                self._average[name] = _start(weight)
            elif average.device != weight.device:
                self._average[name] = average.to(weight.device)

    @contextmanager
    def averaged(self, model: nn.Module) -> Iterator[nn.Module]:
        """Inside, `model` has the averaged weights; afterwards, also after an error, exactly its own again, bit for bit.

        Values are exchanged in place, so that what holds on to the tensors (DDP, compiled graphs) stays right. Takes the
        memory of one more copy of the averaged weights meanwhile.
        """
        if self._inside:
            raise RuntimeError("Ema.averaged inside `averaged`")
        weights = _parameters(model, trainable=False)
        buffers = _buffers(model)
        pairs = [(weights[name], average) for name, average in self._average.items()]
        pairs += [(buffers[name], kept) for name, kept in self._buffers.items()]
        own = [mine.detach().clone() for mine, _ in pairs]
        self._inside = True
        try:
            _put(pairs)
            yield model
        finally:
            _put([(mine, kept) for (mine, _), kept in zip(pairs, own, strict=True)])
            self._inside = False

    def state_dict(self) -> dict[str, Any]:
        """Updates made, averages and buffers by name: references, not copies, as torch's state_dicts are."""
        return {"updates": self.updates, "average": dict(self._average), "buffers": dict(self._buffers)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`. DataError when it is of another model. decay and warmup are those of the settings."""
        for held, given, what in (
            (self._average, state["average"], "parameter"),
            (self._buffers, state["buffers"], "buffer"),
        ):
            missing, unknown = sorted(set(held) - set(given)), sorted(set(given) - set(held))
            if missing or (unknown and what == "buffer"):
                name = (missing or unknown)[0]
                raise DataError(
                    f"the saved average {'lacks' if missing else 'has'} {what} {name!r}, the model "
                    f"{'has' if missing else 'lacks'} it: another model's state? Hint: start afresh (remove `state/`)."
                )
            wrong = next((name for name in held if held[name].shape != given[name].shape), None)
            if wrong is not None:
                raise DataError(
                    f"the saved average of {what} {wrong!r} has shape {tuple(given[wrong].shape)}, the model's has "
                    f"{tuple(held[wrong].shape)}: another model's state? Hint: start afresh (remove `state/`)."
                )
        device = next((one.device for one in self._average.values()), torch.device("cpu"))
        for name, value in state["average"].items():
            if name in self._average:
                self._average[name].copy_(value)
            else:  # unfrozen in the run that was stopped
                self._average[name] = value.detach().to(device, copy=True)
        for name, value in state["buffers"].items():
            self._buffers[name].copy_(value)
        self.updates = int(state["updates"])


def bare(model: nn.Module) -> nn.Module:
    """The model inside the wrappers of Fabric, DDP and torch.compile."""
    while (inner := _WRAPPERS.get(type(model).__name__)) is not None:
        model = getattr(model, inner)
    return model


def _start(weight: torch.Tensor) -> torch.Tensor:
    """A copy in fp32, or in the weight's own precision where that is higher."""
    return weight.detach().to(torch.promote_types(weight.dtype, torch.float32), copy=True)


def _parameters(model: nn.Module, *, trainable: bool = True) -> dict[str, torch.Tensor]:
    """Floating-point parameters by name, tied ones once. trainable: only those."""
    return {
        name.replace(_COMPILED, ""): one
        for name, one in bare(model).named_parameters()
        if one.is_floating_point() and (one.requires_grad or not trainable)
    }


def _buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    """Buffers that a state_dict holds, by name."""
    found = {}
    for place, module in bare(model).named_modules():
        for name, one in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                found[f"{place}.{name}".lstrip(".").replace(_COMPILED, "")] = one
    return found


@torch.no_grad()
def _put(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Copy each second tensor into the first, in the first one's precision."""
    if pairs:
        torch._foreach_copy_([into for into, _ in pairs], [value for _, value in pairs])
