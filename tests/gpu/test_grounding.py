"""Temporal grounding on a GPU: losses and gradients of a CPU, bf16 that learns, memory linear in T, one wait per step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lib.config.train_grounding import GroundingSettings
from lib.data.clip_batches import collate, items
from lib.models import build_network
from lib.tasks.grounding_loss import GroundingLoss
from lib.training.callbacks import Callback
from lib.training.trainer import Trainer
from tests.gpu import wide
from tests.gpu.test_syncs import FIRST, LAST, reading_line, waits_of
from tests.lib.tasks.clips import OBJECT_WIDTH, WIDTH, clip

MODELS = ("mvp", "ogsf", "groundnlq")


def settings_of(model: str, **more: Any) -> GroundingSettings:
    return GroundingSettings.model_validate({"preset": "tiny", "model": model, "dropout": 0.0, **more})


def network(settings: GroundingSettings) -> nn.Module:
    torch.manual_seed(0)
    return build_network(
        settings.model, **settings.network(video_dim=WIDTH, text_dim=WIDTH, object_dim=OBJECT_WIDTH)
    ).eval()


def batches(count: int, *, clips: int = 4) -> list[dict[str, torch.Tensor]]:
    """Tensors of batches, with what a step does not read left out."""
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        samples = [clip(number * clips + one, "train", steps=20 + one, objects=True) for one in range(clips)]
        batch = collate([items(sample, random) for sample in samples], multiple=4)
        made.append({name: value for name, value in batch.items() if isinstance(value, torch.Tensor)})
    return made


@pytest.mark.parametrize("model", MODELS)
def test_a_gpu_has_the_losses_and_gradients_of_a_cpu(model: str) -> None:
    settings, batch = settings_of(model), batches(1)[0]
    loss, told = GroundingLoss(settings), []
    for device in ("cpu", "cuda"):
        net = network(settings).to(device)
        there = {name: value.to(device) for name, value in batch.items()}
        sums, targets = loss(net(there), there)
        sums["loss"].backward()
        gradient = torch.cat([one.grad.flatten() for one in net.parameters() if one.grad is not None])
        told.append((sums["loss"].item() / float(targets), (gradient / float(targets)).double().cpu()))
    (wanted, by_hand), (found, gradient) = told
    assert found == pytest.approx(wanted, rel=1e-4)
    assert (gradient - by_hand).norm() < 2e-3 * by_hand.norm()


@pytest.mark.parametrize("model", MODELS)
def test_bf16_learns(model: str) -> None:
    settings = settings_of(model)
    fabric = wide.on_gpu("bf16")
    net = network(settings).train()
    seen = wide.Seen()
    trained = wide.trainer(
        batches(8) * 12, steps=96, model=net, loss=GroundingLoss(settings), fabric=fabric, callbacks=[seen],
        optimizer=torch.optim.AdamW(net.parameters(), lr=2e-3), evaluate_every=1000,
    )  # fmt: skip
    assert trained.train_loop().status == "finished"
    losses = [float(step.values["train/loss"]) for step in seen]
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:8])


def test_memory_grows_linearly_with_a_local_window(memory: None) -> None:
    settings = settings_of("groundnlq", window=9)
    net, loss = network(settings).cuda(), GroundingLoss(settings)
    peaks = []
    for steps in (4096, 8192):
        batch = {
            "video": torch.randn(1, steps, WIDTH, device="cuda"),
            "video_mask": torch.ones(1, steps, dtype=torch.bool, device="cuda"),
            "text": torch.randn(1, 8, WIDTH, device="cuda"),
            "text_mask": torch.ones(1, 8, dtype=torch.bool, device="cuda"),
            "segments": torch.tensor([[100.0, 180.0]], device="cuda"),
        }
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        loss(net(batch), batch)[0]["loss"].backward()
        peaks.append(torch.cuda.max_memory_allocated() - held)
    assert 1.6 < peaks[1] / peaks[0] < 2.4


@pytest.mark.parametrize("model", MODELS)
def test_one_wait_per_step(model: str, tmp_path: Path) -> None:
    settings = settings_of(model)

    def make(callbacks: list[Callback], **more: Any) -> Trainer:
        fabric = wide.on_gpu("bf16")
        given = [{name: one.pin_memory() for name, one in batch.items()} for batch in batches(6)]
        net = fabric.to_device(network(settings))
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
        return wide.trainer(
            given * 4, steps=20, model=net, loss=GroundingLoss(settings), optimizer=optimizer, fabric=fabric,
            evaluate_every=100, callbacks=callbacks, **more,
        )  # fmt: skip

    assert waits_of(make, tmp_path) == [reading_line()] * (LAST - FIRST)
