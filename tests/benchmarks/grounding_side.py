"""What grounding_step.py measures: one attention at one length, and one training step by component. Not a benchmark.

python -m tests.benchmarks.grounding_side KIND STEPS FIGURES.json      peak MiB and seconds of one attention, on a CPU

KIND: window (ours), full (softmax of all pairs of steps, as a formula), fused (the same by torch's own kernel).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib.devices import choose_device
from lib.models.attention import Attention
from lib.models.candidates import candidates
from lib.models.groundnlq import GroundNLQ

DEVICE = torch.device(choose_device("auto", 1))
WIDTH, HEADS, WINDOW = 384, 4, 9
KINDS: dict[str, dict[str, Any]] = {"window": {"window": WINDOW}, "full": {"fused": False}, "fused": {"fused": True}}
PARTS = ("text", "stem", "branch", "heads", "loss", "backward")
MIB = 2.0**20


def now() -> float:
    """Seconds, when the device has done what it was given."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def forget_peak() -> None:
    """From now on the peak is counted anew."""
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """Of this process on a CPU, of torch's tensors on a GPU. Not getrusage's: a process takes that over from its parent."""
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated() / MIB
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def one_attention(kind: str, steps: int) -> dict[str, float]:
    """Forward and backward pass over one sequence; on a CPU once in a process."""
    torch.manual_seed(0)
    layer = Attention(WIDTH, HEADS, **KINDS[kind]).to(DEVICE)
    small, x = (torch.randn(1, many, WIDTH, device=DEVICE, requires_grad=True) for many in (32, steps))
    layer(small, small, small).sum().backward()  # what the first call takes for itself
    forget_peak()
    before, began = peak_mib(), now()
    layer(x, x, x).sum().backward()
    return {"seconds": now() - began, "mib": peak_mib() - before}


def make_batch(queries: int, steps: int, *, words: int, video_dim: int, text_dim: int) -> dict[str, Tensor]:
    """Random features; answers of all lengths."""
    draw = torch.Generator().manual_seed(0)
    length = torch.logspace(0, 2, queries).clamp(max=steps / 2)
    start = torch.rand(queries, generator=draw) * (steps - length)
    found = {
        "video": torch.randn(queries, steps, video_dim, generator=draw),
        "video_mask": torch.ones(queries, steps, dtype=torch.bool),
        "text": torch.randn(queries, words, text_dim, generator=draw),
        "text_mask": torch.ones(queries, words, dtype=torch.bool),
        "segments": torch.stack([start, start + length], 1),
    }
    return {name: one.to(DEVICE) for name, one in found.items()}


def training_step(
    model: GroundNLQ, loss: Callable[..., Any], batch: dict[str, Tensor], tick: Callable[[str], None]
) -> float:
    """One step without the optimizer; `tick` is told the name of each part when it has ended. The mean loss."""
    model.train()
    mask, text_mask = batch["video_mask"], batch["text_mask"]
    text = model.encode_text(batch["text"], text_mask)
    tick("text")
    video = model.stem(batch["video"], mask, text, text_mask)
    tick("stem")
    levels = model.branch(video, mask)
    tick("branch")
    told = model.heads(levels, mask)
    tick("heads")
    sums, targets = loss(told[0] | {"multiscale": told[1:]}, batch)
    mean = sums["loss"] / targets
    tick("loss")
    mean.backward()
    tick("backward")
    model.zero_grad()
    return float(mean.detach())


def timed_step(model: GroundNLQ, loss: Callable[..., Any], batch: dict[str, Tensor]) -> dict[str, float]:
    """Seconds of every part."""
    ended = [("", now())]
    training_step(model, loss, batch, lambda part: ended.append((part, now())))
    return {part: at - ended[number][1] for number, (part, at) in enumerate(ended[1:])}


def kept_by_part(model: GroundNLQ, loss: Callable[..., Any], batch: dict[str, Tensor]) -> dict[str, float]:
    """MiB that each part's forward pass keeps for the backward pass; each memory counts once, for who made it."""
    seen = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *batch.values())}
    held: list[Tensor] = []
    found = dict.fromkeys(PARTS, 0.0)
    new = 0.0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal new
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in seen:
            seen.add(memory.data_ptr())
            held.append(tensor)  # so that its place is not given to another one
            new += memory.nbytes() / MIB
        return tensor

    def tick(part: str) -> None:
        nonlocal new
        found[part], new = new, 0.0

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        training_step(model, loss, batch, tick)
    return found


@torch.no_grad()
def answered(model: GroundNLQ, batch: dict[str, Tensor]) -> int:
    """Inference with candidates; how many there are."""
    return sum(len(scores) for _, scores in candidates(model.eval()(batch), batch["video_mask"]))


if __name__ == "__main__":
    kind, steps, figures = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    figures.write_text(json.dumps(one_attention(kind, steps)))
