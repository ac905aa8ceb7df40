"""Which device is chosen, ranks that are too many, NCCL with one rank, torch.compile, an optimizer with state in 8 bits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lib.config.base import ConfigError
from lib.config.train_optim import OptimizerSettings
from lib.devices import choose_device
from lib.training import processes
from lib.training.checkpoint import CheckpointStore
from lib.training.contracts import as_float32
from lib.training.optim import make_optimizer
from lib.training.ranks import from_all_ranks
from lib.training.trainer import Trainer
from tests.gpu import wide
from tests.lib.training import pairs, toy


def test_a_gpu_is_chosen_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIPERSIGHT_DEVICE", raising=False)
    monkeypatch.delenv("SLURM_GPUS_ON_NODE", raising=False)
    assert choose_device("auto", 1) == "cuda" and choose_device("cpu", 1) == "cpu"
    monkeypatch.setenv("VIPERSIGHT_DEVICE", "cpu")
    assert choose_device("cuda", 1) == "cpu"
    monkeypatch.setenv("VIPERSIGHT_DEVICE", "cuda:0")
    assert choose_device("cpu", 1) == "cuda"


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_two_ranks_on_one_gpu_are_refused(device: str) -> None:
    """NCCL takes one rank per GPU."""
    seen = torch.cuda.device_count()
    with pytest.raises(ConfigError, match=rf"asked for {seen + 1} GPUs and sees {seen}.*a GPU of its own"):
        processes.start(device=device, devices=seen + 1, precision="fp32")


@pytest.fixture
def alone() -> Iterator[Fabric]:
    """One rank that exchanges with itself by NCCL all that several would."""
    variables = dict(os.environ)
    fabric = Fabric(accelerator="cuda", devices=1, strategy="ddp")
    fabric.launch()
    yield fabric
    torch.distributed.destroy_process_group()
    os.environ.clear()
    os.environ.update(variables)


def test_nccl_with_one_rank(alone: Fabric, tmp_path: Path) -> None:
    assert torch.distributed.get_backend() == "nccl"
    assert from_all_ranks(alone, {"a": 1}) == [{"a": 1}]
    ended = []
    for fabric in (alone, wide.on_gpu()):
        store = CheckpointStore(tmp_path / str(len(ended)), fingerprint="f")
        for steps in (4, 8):  # the second one goes on from the first one's state
            run = wide.trainer(
                wide.batches(6, 16), steps=8, fabric=fabric, accumulate=3, clip_norm=0.5, store=store, save_every=4
            )
            run.total_steps = steps
            run.train_loop()
        assert isinstance(run.model, DistributedDataParallel) == (fabric is alone) and run.resumed_from == 4
        ended.append(toy.weights(run))
    for name, value in ended[0].items():
        assert torch.allclose(value, ended[1][name], rtol=1e-5, atol=1e-7), name


def test_a_cached_step_by_nccl(alone: Fabric) -> None:
    ended = []
    for fabric in (alone, wide.on_gpu()):
        run = pairs.trainer(pairs.batches(), fabric=fabric, clip_norm=0.5)
        run.train_loop()
        ended.append(toy.weights(run))
    for name, value in ended[0].items():
        assert torch.allclose(value, ended[1][name], rtol=1e-4, atol=1e-6), name


def test_a_compiled_training_is_the_same() -> None:
    """Also with a last batch of another size."""
    given = wide.batches(3, 16)
    given[2] = {name: value[:5] for name, value in given[2].items()}
    losses = []
    for compiled in (False, True):
        seen = wide.Seen()
        wide.trainer(given, steps=9, precision="bf16", compile_model=compiled, callbacks=[seen]).train_loop()
        losses.append([step.values["train/loss"] for step in seen])
    assert losses[1] == pytest.approx(losses[0], rel=2e-2) and losses[0][-1] < losses[0][0]


class Matrices(nn.Module):
    """(b, 64) → (b), with weights large enough for a state in 8 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(wide.WIDTH, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 1)
        )

    def forward(self, batch: dict[str, Any]) -> torch.Tensor:
        return self.layers(batch["x"]).squeeze(-1)


def optimized(name: str, store: CheckpointStore | None, steps: int) -> Trainer:
    torch.manual_seed(0)
    model = Matrices().cuda()
    optimizer = make_optimizer(model, OptimizerSettings(name=name, lr=1e-3))
    return wide.trainer(
        wide.batches(3, 16), steps=steps, model=model, optimizer=optimizer, precision="bf16", store=store, save_every=6
    )


def test_adamw_in_8_bits_learns_and_goes_on(tmp_path: Path, deterministic: None) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (it is no part of the lock)")
    seen = wide.Seen()
    whole = optimized("adamw8bit", None, 24)
    whole.callbacks = (seen,)
    whole.train_loop()
    assert seen.steps[-1].values["train/loss"] < 0.7 * seen.steps[0].values["train/loss"]
    begun = optimized("adamw8bit", CheckpointStore(tmp_path, fingerprint="f"), 12)
    begun.train_loop()
    resumed = optimized("adamw8bit", CheckpointStore(tmp_path, fingerprint="f"), 24)
    resumed.train_loop()
    assert resumed.resumed_from == 12 and toy.equal(toy.weights(resumed), toy.weights(whole))
    plain = optimized("adamw", None, 2)
    plain.train_loop()
    assert _bytes(resumed) < 0.4 * _bytes(plain)


def _bytes(run: Trainer) -> int:
    """What the optimizer keeps of the largest matrix."""
    states = run.optimizer.optimizer.state
    state = states[run.module.layers[2].weight]
    values = [one for name, one in state.items() if name not in ("qmap1", "qmap2", "step")]  # maps are shared by all
    return sum(one.numel() * one.element_size() for one in values)


def test_outputs_of_half_precision_become_float32() -> None:
    made = as_float32({"a": torch.ones(2, device="cuda", dtype=torch.float16)})
    assert made["a"].dtype == torch.float32 and made["a"].is_cuda
