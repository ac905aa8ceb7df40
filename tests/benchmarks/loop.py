"""What a training loop adds to an optimizer step: ours beside the bare loop, Accelerate, Hugging Face's and Lightning's.

A network so small that the loop itself shows; with a step of 50 ms all of them vanish. Where a GPU is there it runs on it,
and wall time counts, for the GPU waits for the loop; on a CPU it is CPU time.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from lib.devices import choose_device
from tests.benchmarks.loop_sides import SIDES
from tests.benchmarks.measure import Result, Spent, compared, interleaved, main, python

STEPS = {"tiny": 100, "small": 1500, "full": 4000}
REPEATS = {"tiny": 1, "small": 3, "full": 5}
GPU_STEPS = {"tiny": 100, "small": 1000, "full": 4000}


def measure(size: str) -> Result:
    on_gpu = choose_device("auto", 1) == "cuda"
    result = Result("What a training loop costs on a GPU" if on_gpu else "What a training loop costs")
    with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as folder:
        runs = _on_gpu(size, Path(folder)) if on_gpu else _on_cpu(size, Path(folder))
    what = f"{'wall time' if on_gpu else 'CPU'} per optimizer step"
    for side in runs:
        if side == "bare":
            continue
        target = ("<=", 1.35) if side == "ours" else None
        row = compared(f"{what}, {side} / bare loop", runs, "per_step", ours=side, peer="bare", unit="µs", target=target)
        result.rows.append(row)
    for peer in ("Accelerate", "HF Trainer", "Lightning Trainer"):
        if peer in runs:
            row = compared(
                f"{what}, ours / {peer}", runs, "per_step", ours="ours", peer=peer, unit="µs", target=("<=", 1.0)
            )
            result.rows.append(row)
    result.notes.append("Ours: guards, halving, stop request, history.csv every tenth step; EMA apart, in its own row.")
    if on_gpu:
        result.notes.append(_card())
    else:
        result.notes.append(
            "Fabric and Lightning leave a switch on by which torch opens the GPU driver's library at every step; on a CPU "
            "ours turns it off, which is most of the distance to Fabric."
        )
    result.notes.append("Lightning writes its CSV as often; HF keeps its log in memory; Accelerate and Fabric keep none.")
    return result


def _on_cpu(size: str, folder: Path) -> dict[str, list[Spent]]:
    """Every side in a process of its own."""
    figures = folder / "figures.json"

    def run(side: str) -> Spent:
        words = ["tests.benchmarks.loop_sides", side, str(STEPS[size]), figures]
        return python(*words, reads=figures)  # type: ignore[arg-type]

    return interleaved({side: lambda side=side: run(side) for side in SIDES}, REPEATS[size])


def _on_gpu(size: str, folder: Path) -> dict[str, list[Spent]]:
    """The sides whose libraries are here, in one process."""
    figures = folder / "figures.json"
    turns = 2 * REPEATS[size] - 1
    spent = python("tests.benchmarks.loop_sides", "all", str(GPU_STEPS[size]), figures, str(turns))
    told = json.loads(figures.read_text())
    return {side: [Spent(spent.wall, spent.cpu, more={"per_step": one}) for one in values] for side, values in told.items()}


def _card() -> str:
    import torch

    return f"{torch.cuda.get_device_name()}, torch {torch.__version__}."


if __name__ == "__main__":
    main(measure, "loop", record_as="loop_gpu" if choose_device("auto", 1) == "cuda" else "loop")
