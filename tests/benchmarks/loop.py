"""What a training loop adds to an optimizer step: ours beside the bare loop, Accelerate, Hugging Face's and Lightning's.

A network so small that the loop itself shows; with a step of 50 ms on a GPU all of them vanish.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.benchmarks.loop_sides import SIDES
from tests.benchmarks.measure import Result, Spent, compared, interleaved, main, python

STEPS = {"tiny": 100, "small": 1500, "full": 4000}
REPEATS = {"tiny": 1, "small": 3, "full": 5}


def measure(size: str) -> Result:
    result = Result("What a training loop costs")
    with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as folder:
        figures = Path(folder) / "figures.json"

        def run(side: str) -> Spent:
            words = ["tests.benchmarks.loop_sides", side, str(STEPS[size]), figures]
            return python(*words, reads=figures)  # type: ignore[arg-type]

        runs = interleaved({side: lambda side=side: run(side) for side in SIDES}, REPEATS[size])
    what = "CPU per optimizer step"
    for side in SIDES:
        if side == "bare":
            continue
        target = ("<=", 1.35) if side == "ours" else None
        row = compared(f"{what}, {side} / bare loop", runs, "per_step", ours=side, peer="bare", unit="µs", target=target)
        result.rows.append(row)
    for peer in ("Accelerate", "HF Trainer", "Lightning Trainer"):
        row = compared(f"{what}, ours / {peer}", runs, "per_step", ours="ours", peer=peer, unit="µs", target=("<=", 1.0))
        result.rows.append(row)
    result.notes.append("Ours: guards, halving, stop request, history.csv every tenth step; EMA apart, in its own row.")
    result.notes.append(
        "Fabric and Lightning leave a switch on by which torch opens the GPU driver's library at every step; on a CPU "
        "ours turns it off, which is most of the distance to Fabric."
    )
    result.notes.append("Lightning writes its CSV as often; HF keeps its log in memory; Accelerate and Fabric keep none.")
    return result


if __name__ == "__main__":
    main(measure, "loop")
