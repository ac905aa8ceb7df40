"""When the device's memory does not suffice: smaller micro-batches, more of them, the same optimizer step.

Because losses are sums over targets (trainer.LossSums), a step over the pieces of a batch is the step over the batch, but
for what a model computes across the samples of a batch: batch norm, and losses that compare samples with each other, which
must refuse it unless the step compares the features of its whole window (cached_step.py). Not here: the loop (trainer.py),
and how several ranks agree (shortage.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from lib.config.base import ConfigError, VipersightError

PAIRS = (
    "samples of one batch are compared with each other, and smaller pieces would have fewer negatives (a step that keeps "
    "them: lib/training/cached_step.py)"
)
"""Why losses that compare samples must not be halved (`Halving.why`), unless the step is a cached_step."""
_IN_OTHER_WORDS = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


class OutOfMemory(VipersightError, MemoryError):
    """The device's memory does not suffice, and smaller micro-batches are no way out."""


class Halving:
    """Splits micro-batches in halves, as often as memory has run out.

    split: makes two of a batch. allowed: False where samples of one batch are compared (contrastive losses), with `why`, as
    long as the step is not a cached_step, whose pieces are compared with all others.
    halvings: how often so far; goes into checkpoints and the model's card. always: halvings that the site asks for beside
    those (running.cudnn: false), which a site that asks for none does not take over.
    """

    def __init__(
        self, *, split: Callable[[Any], tuple[Any, Any]] | None = None, allowed: bool = True, why: str = ""
    ) -> None:
        self.split, self.allowed, self.why, self.halvings = split or halves, allowed, why, 0
        self.always = 0

    def pieces(self, window: Sequence[Any]) -> Sequence[Any]:
        """The window's micro-batches, each split `halvings` + `always` times where it still has more than one sample."""
        for _ in range(self.halvings + self.always):
            window = [piece for batch in window for piece in (self.split(batch) if size_of(batch) > 1 else (batch,))]
        return window

    def without_cudnn(self, batch: int) -> None:
        """Half of every micro-batch of `batch` samples from the start. ConfigError where they must not be split."""
        if batch < 2:
            return
        if not self.allowed:
            raise ConfigError(
                f"running.cudnn: false halves micro-batches, and these of {batch} are not split: {self.why or PAIRS}. "
                "Hint: train where cuDNN works."
            )
        self.always = 1

    def largest(self, batch: int) -> int:
        """Samples of the largest piece of a micro-batch of `batch` samples."""
        return max(1, -(-batch // 2 ** (self.halvings + self.always)))

    def halve(self, window: Sequence[Any], error: Exception, *, retriable: bool) -> None:
        """Split once more. OutOfMemory where that is not allowed, would change nothing, or the step cannot be repeated."""
        largest = max(size_of(batch) for batch in self.pieces(window))
        if not self.allowed or not retriable or largest < 2:
            reasons = [] if self.allowed else [self.why or PAIRS]
            reasons += [] if retriable else ["a step of several ranks, or with an update behind it, cannot be repeated"]
            reasons += ["micro-batches have one sample already"] if largest < 2 else []
            raise OutOfMemory(
                f"the device's memory does not suffice for micro-batches of {largest} ({error}), and they are not split: "
                f"{'; '.join(reasons)}. Hint: a smaller `batch` with a larger `accumulate`, or gradient_checkpointing."
            ) from error
        self.halvings += 1
        print(
            f"warning: out of memory with micro-batches of {largest}: from now on {(largest + 1) // 2}, twice as many per "
            "optimizer step; the effective batch stays the same",
            file=sys.stderr,
        )


def without_cudnn(batch: int, micro: int) -> str:
    """The line of a training that begins without cuDNN. batch, micro: samples of a micro-batch and of its largest piece."""
    smaller = f"micro-batches of {micro} instead of {batch}, twice as many per optimizer step" if micro < batch else ""
    whole = "micro-batches of 1 cannot be halved"
    return f"note: running.cudnn is false: cuDNN is off; {smaller or whole}; the effective batch stays the same"


def ran_out(error: BaseException) -> bool:
    """Whether an error says that the device's memory does not suffice; CUDA's libraries say it in words of their own."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _IN_OTHER_WORDS)


def make_room() -> None:
    """Give back what torch keeps of a GPU for later tensors: pieces of the old sizes, which smaller ones would cut up."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@contextmanager
def enough_for(batch: Any, step: int) -> Iterator[None]:
    """Around a batch of an evaluation: OutOfMemory that says what to change, where torch's own error says a size only."""
    try:
        yield
    except RuntimeError as error:
        if not ran_out(error):
            raise
        raise OutOfMemory(
            f"the device's memory does not suffice for the evaluation on val after step {step}, in batches of "
            f"{size_of(batch)} ({error}); they are not split. Hint: a smaller `batch`, with a larger `accumulate` for the "
            "same step, where val is scored in batches of that size; or without `ema`, which takes one more copy of the "
            "weights meanwhile."
        ) from error


def size_of(batch: Any) -> int:
    """Number of samples: the length of the batch's first tensor or list."""
    if isinstance(batch, Mapping):
        return next(len(value) for value in batch.values() if hasattr(value, "__len__") and not isinstance(value, str))
    return len(batch[0]) if isinstance(batch, tuple) else len(batch)


def halves(batch: Any) -> tuple[Any, Any]:
    """Both halves of a tensor, a list, or a mapping or tuple of such with one length; other values go to both."""
    middle, size = (size_of(batch) + 1) // 2, size_of(batch)

    def cut(value: Any, start: int, end: int) -> Any:
        if isinstance(value, str) or not hasattr(value, "__len__") or len(value) != size:
            return value
        return value[start:end]

    def part(start: int, end: int) -> Any:
        if isinstance(batch, Mapping):
            return {key: cut(value, start, end) for key, value in batch.items()}
        if isinstance(batch, tuple):
            return tuple(cut(value, start, end) for value in batch)
        return batch[start:end]

    return part(0, middle), part(middle, size)
