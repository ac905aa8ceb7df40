"""A training step of GroundNLQ by component, and what its attention costs beside attention to all steps.

Time and memory of text, stem, branch, heads, loss and backward pass at T = 2560 steps of 2304 features; memory of one
attention, forward and backward, at growing T with a window of 9 steps, beside two peers: the formula over all pairs of
steps, and torch's fused scaled_dot_product_attention over all steps. Inference with candidates in queries/s. On a GPU where
there is one: memory is then that of torch's tensors, on a CPU the growth of a process of its own.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import torch

from lib.config.train_grounding import GroundingSettings
from lib.models import build_network
from lib.models.attention import attend, attend_locally
from lib.tasks.grounding_loss import GroundingLoss
from tests.benchmarks import grounding_side as side
from tests.benchmarks.measure import Result, Row, Spent, compared, interleaved, main, python

ON_GPU = side.DEVICE.type == "cuda"
MODEL: dict[str, dict[str, object]] = {"tiny": {"hidden": 16, "heads": 2, "layers": 1, "text_layers": 1}}
WIDTHS = {"tiny": (24, 16), "small": (2304, 512), "full": (2304, 512)}
STEPS = {"tiny": 192, "small": 2560, "full": 2560}
QUERIES = {"tiny": 2, "small": 1, "full": 2}
LENGTHS = {"tiny": (128, 256), "small": (640, 1280, 2560), "full": (640, 1280, 2560, 5120)}
REPEATS = {"tiny": 1, "small": 3, "full": 5}
WORDS = 12


def step_by_part(result: Result, size: str) -> None:
    """Seconds and kept MiB of every part, and queries/s."""
    settings = GroundingSettings.model_validate({"preset": "groundnlq", **MODEL.get(size, {})})
    video_dim, text_dim = WIDTHS[size]
    torch.manual_seed(0)
    model = build_network("groundnlq", **settings.network(video_dim=video_dim, text_dim=text_dim)).to(side.DEVICE)
    loss = GroundingLoss(settings)
    shape = {"words": WORDS, "video_dim": video_dim, "text_dim": text_dim}
    batch = side.make_batch(QUERIES[size], STEPS[size], **shape)
    result.facts["the loss is finite"] = math.isfinite(side.training_step(model, loss, batch, lambda part: None))
    kept = side.kept_by_part(model, loss, batch)
    if ON_GPU:
        side.forget_peak()

    def step() -> Spent:
        told = side.timed_step(model, loss, batch)
        return Spent(sum(told.values()), 0.0, more=told)

    def inference() -> Spent:
        began = side.now()
        result.facts["candidates per query"] = side.answered(model, batch) // QUERIES[size]
        return Spent(side.now() - began, 0.0)

    runs = interleaved({"step": step}, REPEATS[size])
    what = f"training step, {QUERIES[size]} x {STEPS[size]} steps"
    result.rows.append(compared(what, runs, "wall", ours="step"))
    result.rows += [compared(f"… {part}", runs, part, ours="step") for part in side.PARTS]
    result.rows += [Row(f"kept for the backward pass: {part}", kept[part], unit="MiB") for part in side.PARTS[:-1]]
    if ON_GPU:
        result.rows.append(Row("peak of a training step", side.peak_mib(), unit="MiB"))
    runs = interleaved({"inference": inference}, REPEATS[size])
    rate = float(QUERIES[size])
    result.rows.append(compared("inference", runs, "wall", ours="inference", unit="queries/s", rate=rate))
    parameters = sum(one.numel() for one in model.parameters())
    result.notes.append(f"{parameters / 1e6:.1f} M weights, float32, {WORDS} words; without the optimizer.")


def attention_by_length(result: Result, size: str, folder: Path) -> None:
    """Memory of one attention at every length; what doubles with T is linear in it."""
    figures = folder / "figures.json"

    def run(kind: str, steps: int) -> Spent:
        if ON_GPU:
            told = side.one_attention(kind, steps)
            return Spent(told["seconds"], 0.0, more=told)
        return python("tests.benchmarks.grounding_side", kind, str(steps), figures, reads=figures)

    grown: dict[str, list[float]] = {kind: [] for kind in side.KINDS}
    last = LENGTHS[size][-1]
    for steps in LENGTHS[size]:
        runs = interleaved({kind: lambda kind=kind, steps=steps: run(kind, steps) for kind in side.KINDS}, REPEATS[size])
        for kind, spent in runs.items():
            grown[kind].append(sorted(one.get("mib") for one in spent)[len(spent) // 2])
        for figure, unit in (("mib", "MiB"), ("seconds", "s")):
            for peer, name in (("full", "all pairs"), ("fused", "fused over all steps")):
                what = f"attention at T = {steps}, window of {side.WINDOW} / {name}"
                target = ("<=", 0.5) if steps == last and (figure, peer) == ("mib", "full") else None
                result.rows.append(compared(what, runs, figure, ours="window", peer=peer, unit=unit, target=target))
    for kind, memory in grown.items():
        times = memory[-1] / memory[-2] if memory[-2] else 0.0
        target = ("<=", 2.5) if kind == "window" else None
        result.rows.append(Row(f"memory at T = {last} / at half of it, {kind}", times, unit="times", target=target))


def agreement() -> float:
    """Largest difference of the window's result and full attention under a band, in float64."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 300, 8, dtype=torch.float64) for _ in range(3))
    valid, place = torch.arange(300)[None] < 281, torch.arange(300)
    band = ((place[:, None] - place).abs() <= side.WINDOW // 2) & valid[:, None, None, :]
    local = attend_locally(query, key, value, valid, window=side.WINDOW)
    return float((local - attend(query, key, value, band, fused=False))[:, :, :281].abs().max())


def measure(size: str) -> Result:
    result = Result(f"GroundNLQ: a training step by component{', on a GPU' if ON_GPU else ''}")
    step_by_part(result, size)
    with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as folder:
        attention_by_length(result, size, Path(folder))
    result.facts["window against band, largest difference below 1e-12"] = agreement() < 1e-12
    device = torch.cuda.get_device_name() if ON_GPU else f"a CPU, {torch.get_num_threads()} threads"
    result.notes.append(f"On {device}, torch {torch.__version__}; attention of width {side.WIDTH} with {side.HEADS} heads.")
    return result


if __name__ == "__main__":
    main(measure, "grounding_step", record_as="grounding_step_gpu" if ON_GPU else "grounding_step")
