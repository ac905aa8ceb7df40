"""Writing while the training goes on: copies of tensors in memory that is used again, and one thread that writes them.

Not here: what is written (checkpoint.py).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping

import torch


class Copies:
    """Copies of tensors on the CPU; the next ones of the same name, shape and dtype go into the same memory.

    Takes as much CPU memory as the tensors. Pinned for tensors of a GPU, whose copies then run at the bus's full speed;
    torch rounds the size of each up to a power of two, so that takes up to twice as much.
    """

    def __init__(self) -> None:
        self._kept: dict[str, torch.Tensor] = {}

    def take(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Copy all (any device and strides) to contiguous tensors; done when this returns.

        The copies of the call before are overwritten.
        """
        with torch.inference_mode(False), torch.no_grad():  # memory made in inference mode could not be used again outside
            self._kept = {name: self._room(name, tensor) for name, tensor in tensors.items()}
            gpus = set()
            for name, tensor in tensors.items():
                self._kept[name].copy_(tensor, non_blocking=tensor.is_cuda)
                if tensor.is_cuda:
                    gpus.add(tensor.device)
            for gpu in gpus:
                torch.cuda.synchronize(gpu)
        return dict(self._kept)

    def _room(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        old = self._kept.get(name)
        if old is not None and old.shape == tensor.shape and old.dtype == tensor.dtype:
            return old
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=tensor.is_cuda)

    def drop(self) -> None:
        """Give the memory back."""
        self._kept = {}


class WriteBehind:
    """One piece of work at a time in a thread of its own. What it fails with is raised by the next call here, once.

    The thread is no daemon: a program that ends while it writes ends when it has written. A failure is told on stderr at
    once too, for the case that no call follows.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin work in the thread; waits for the work before and raises what that failed with."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(work,), name="checkpoint", daemon=False)
        self._thread.start()

    def wait(self) -> None:
        """Until nothing is being written; raises what the last work failed with."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:  # whatever it is, the training's own thread must hear of it
            self._failure = failure
            print(f"error: a checkpoint could not be written: {failure}", file=sys.stderr, flush=True)
