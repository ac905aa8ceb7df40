"""Contrastive steps over more samples than fit at once: the gradients are those of one pass over all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from safetensors.torch import load_file
from torch import Tensor, nn

from lib.config.base import ConfigError
from lib.files import DataError
from lib.training.cached_step import cached_step
from lib.training.memory import PAIRS, Halving, OutOfMemory
from lib.training.randomness import numbers_from, same_numbers
from lib.training.trainer import Trainer, optimizer_step
from tests.conftest import PROJECT
from tests.lib.training import pairs, toy

WINDOW = pairs.batches()[:3]  # 5, 3 and 4 samples
CPU = torch.device("cpu")


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def together(window: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([batch[name] for batch in window]) for name in window[0]}


def direct(run: Trainer, window: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Gradients of the mean loss, in one backward pass; the model runs once per batch of the window, in their order."""
    run.module.zero_grad()
    outputs = [run.module(batch) for batch in window]
    features = {name: torch.cat([one[name] for one in outputs]) for name in outputs[0] if name != "scale"}
    parts, count = pairs.contrastive(features | {"scale": outputs[0]["scale"]})
    (parts["loss"] / count).backward()
    found = gradients(run.module)
    run.module.zero_grad()
    return found


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def after(run: Trainer, window: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    run.model.train()
    run.train_step(window)
    return gradients(run.module)


def test_a_window_is_the_joint_batch_in_one_pass() -> None:
    run = pairs.trainer(pairs.batches())
    expected = direct(run, [together(WINDOW)])
    assert len(expected) == 9 and expected["scale"].abs() > 1e-3
    assert apart(after(run, WINDOW), expected) < 1e-6
    even = [{name: value[4 * place : 4 * place + 4] for name, value in together(WINDOW).items()} for place in range(3)]
    assert apart(after(pairs.trainer(pairs.batches()), even), expected) < 1e-6


def test_plain_accumulation_is_not() -> None:
    """What this step is for: with fewer negatives the gradients are others."""
    run = pairs.trainer(pairs.batches(), step=optimizer_step)
    expected = direct(run, [together(WINDOW)])
    assert apart(after(run, WINDOW), expected) > 1e-2


def test_dropout_is_the_same_in_both_passes() -> None:
    """Against one graph over all micro-batches, whose dropout drew the same numbers; other numbers would be far off."""
    run = pairs.trainer(pairs.batches(), dropout=0.3)
    begin = numbers_from(CPU)
    with same_numbers(begin, CPU):
        expected = direct(run, WINDOW)
    with same_numbers(begin, CPU):
        torch.rand(1)
        others = direct(run, WINDOW)
    assert apart(expected, others) > 1e-2
    assert apart(after(run, WINDOW), expected) < 1e-6
    drawn = torch.rand(3)
    with same_numbers(begin, CPU):
        direct(run, WINDOW)
        assert torch.equal(torch.rand(3), drawn), "afterwards the generator stands where one pass leaves it"


def test_generators_of_python_and_numpy_go_on_too() -> None:
    import random

    begin = numbers_from(CPU)
    first = random.random(), np.random.random()
    with same_numbers(begin, CPU):
        assert (random.random(), np.random.random()) == first
    after_it = random.random()
    assert after_it != first[0]


def test_the_record_of_a_step_and_learning() -> None:
    run = pairs.trainer(pairs.batches(), clip_norm=1.0, total_steps=60)
    run.model.train()
    step = run.train_step(WINDOW)
    with torch.no_grad():
        parts, count = pairs.contrastive(pairs.trainer(pairs.batches()).module(together(WINDOW)))
    assert step.targets == count == 12 and step.updated and run.updates == 1
    assert step.values["train/loss"] == pytest.approx(float(parts["loss"]) / 12, rel=1e-5)
    assert float(step.values["train/rows"]) == pytest.approx(float(parts["rows"]) / 12, rel=1e-5)
    run.train_loop()
    assert run.train_step(WINDOW).values["train/loss"] < 0.5 * step.values["train/loss"]


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--compile"]])
def test_two_ranks_are_one_with_all_samples(tmp_path: Path, more: list[str]) -> None:
    """Every rank with other, uneven shares of the micro-batches; weights after 6 clipped steps."""
    out = tmp_path / "weights.safetensors"
    command = [sys.executable, "-m", "tests.lib.training.pairs", str(out), "--devices", "2", *more]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    alone = pairs.trainer(pairs.batches(), clip_norm=0.5)
    before = toy.weights(alone)
    alone.train_loop()
    assert apart(load_file(out), toy.weights(alone)) < 1e-6 and apart(before, toy.weights(alone)) > 1e-2


class Crowded(pairs.Towers):
    """On a device that holds two samples at once when it keeps activations."""

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if torch.is_grad_enabled() and len(batch["x"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().forward(batch)


def crowded(**more: Any) -> Trainer:
    torch.manual_seed(0)
    return pairs.trainer(pairs.batches(), model=Crowded(), **more)


def test_halving_leaves_the_gradients_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    run = crowded(halving=Halving())
    expected = direct(pairs.trainer(pairs.batches()), [together(WINDOW)])
    assert apart(after(run, WINDOW), expected) < 1e-6
    assert run.halving.halvings == 2 and "the effective batch stays the same" in capsys.readouterr().err


def test_a_plain_step_refuses_to_halve_pairs() -> None:
    run = crowded(step=optimizer_step, halving=Halving(allowed=False, why=PAIRS))
    with pytest.raises(OutOfMemory, match=r"not split: .*fewer negatives.*cached_step"):
        run.train_step(WINDOW)


def test_float16_is_scaled_once() -> None:
    """With a scale of 1 as with 1024: the surrogate is scaled, its gradients are unscaled before they are clipped."""
    found = []
    for scale in (1.0, 1024.0):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
        run = pairs.trainer(WINDOW, fabric=Fabric(accelerator="cpu", devices=1, plugins=[plugin]), clip_norm=0.1)
        run.model.train()
        step = run.train_step(WINDOW)
        assert step.updated and step.norm > 0.1
        found.append((step.norm, toy.weights(run)))
    whole = pairs.trainer(WINDOW, clip_norm=0.1)
    whole.model.train()
    norm = whole.train_step(WINDOW).norm
    assert found[0][0] == pytest.approx(norm, rel=1e-2) and found[1][0] == pytest.approx(norm, rel=1e-2)
    assert apart(found[0][1], found[1][1]) < 1e-4 and apart(found[1][1], toy.weights(whole)) < 1e-3


class Forgetful(pairs.Towers):
    """Draws from a generator that nobody can know of."""

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.own = getattr(self, "own", None) or torch.Generator().manual_seed(0)
        noisy = batch["x"] + torch.randn(batch["x"].shape, generator=self.own)
        return super().forward(batch | {"x": noisy})


def test_what_it_refuses() -> None:
    with pytest.raises(ConfigError, match=r"one differs between the two passes.*Hint: random numbers must come from"):
        pairs.trainer(WINDOW, model=Forgetful()).train_step(WINDOW)
    with pytest.raises(ConfigError, match="must be a mapping of tensors, got Tensor"):
        pairs.trainer(WINDOW, step=cached_step(pairs.contrastive, lambda trainer, batch: batch["x"])).train_step(WINDOW)
    with pytest.raises(ConfigError, match="features group: none is of floating point"):
        only = cached_step(pairs.contrastive, lambda trainer, batch: {"group": batch["group"]})
        pairs.trainer(WINDOW, step=only).train_step(WINDOW)
    nothing = cached_step(lambda features: ({"loss": features["one"].sum() * 0}, 0))
    with pytest.raises(DataError, match="not a single valid target"):
        pairs.trainer(WINDOW, step=nothing).train_step(WINDOW)


def test_a_loss_that_is_no_number_changes_nothing() -> None:
    def spoilt(features: dict[str, Tensor]) -> Any:
        return {"loss": pairs.contrastive(features)[0]["loss"] * float("nan")}, 12

    run = pairs.trainer(WINDOW, step=cached_step(spoilt))
    before = toy.weights(run)
    assert not run.train_step(WINDOW).updated and toy.equal(before, toy.weights(run)) and run.updates == 0
