"""A training on a GPU that is interrupted goes on bit for bit, with the numbers that the GPU would have drawn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lib.training.callbacks import Averaging
from lib.training.checkpoint import CheckpointStore
from lib.training.ema import Ema
from lib.training.evaluator import Evaluator
from lib.training.preemption import PREEMPTED
from lib.training.randomness import random_state, restore_random_state
from lib.training.trainer import Trainer
from tests.conftest import PROJECT
from tests.gpu import wide
from tests.lib.training import toy


class Interrupted(Exception):
    """A kill."""


def training(manifest: Path, state: Path, precision: str, *, workers: int = 2, **more: Any) -> Trainer:
    """24 steps of three micro-batches, with dropout drawn on the GPU; a state every fourth step."""
    torch.manual_seed(0)
    fabric = wide.on_gpu(precision)
    model = fabric.to_device(toy.Temporal(0.3))
    return toy.trainer(
        manifest, steps=24, accumulate=3, workers=workers, fabric=fabric, clip_norm=0.5, save_every=4,
        store=CheckpointStore(state, fingerprint="toy"), callbacks=[Averaging(Ema(model, decay=0.9))],
        model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3), **more,
    )  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_interrupted_in_the_midst_of_a_window(manifest: Path, tmp_path: Path, deterministic: None, precision: str) -> None:
    whole = training(manifest, tmp_path / "whole", precision)
    whole.train_loop()
    killed, passes = training(manifest, tmp_path / "state", precision), 0

    def loss(outputs: Any, batch: Any) -> Any:
        nonlocal passes
        passes += 1
        if passes == 47:  # in the second micro-batch of step 18; a state was kept after step 16
            raise Interrupted
        return toy.squared(outputs, batch)

    killed.loss = loss
    with pytest.raises(Interrupted):
        killed.train_loop()
    killed.store.wait()
    torch.rand(7, device="cuda")  # the generator stands elsewhere
    resumed = training(manifest, tmp_path / "state", precision)
    resumed.train_loop()
    assert resumed.resumed_from == 16
    assert toy.equal(toy.weights(resumed), toy.weights(whole)) and resumed.updates == whole.updates
    averages = [run.callbacks[0].ema.state_dict()["average"] for run in (resumed, whole)]
    assert toy.equal(*averages)


def program(manifest: Path, state: Path, *, slow: float = 0.0) -> subprocess.Popen[str]:
    """The toy training in a process of its own, on the GPU, with deterministic kernels."""
    settings = {
        "budget": {"steps": 24, "evaluate_every_steps": 4}, "batch": 4, "accumulate": 3, "precision": "bf16",
        "ema": {"decay": 0.9},
    }  # fmt: skip
    code = "import torch; torch.use_deterministic_algorithms(True)\nfrom tests.lib.training import toy\n"
    code += "from workflow_scripts import _program\n_program.run(toy.main)"
    words = [str(manifest), str(state), json.dumps(settings), "--workers", "2", "--slow", str(slow)]
    running = {"device": "cuda", "loggers": {"tensorboard": False}}
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path]), "VIPERSIGHT_RUNNING": json.dumps(running),
    }  # fmt: skip
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([sys.executable, "-c", code, *words], env=environment, text=True, **pipes)


def after_first_state(process: subprocess.Popen[str], state: Path) -> None:
    """Waits until a state stands and the training is behind it."""
    end = time.monotonic() + 60
    while not list(state.glob("*-step=*.json")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)


def test_killed_and_preempted_processes_go_on(manifest: Path, tmp_path: Path) -> None:
    whole, state = program(manifest, tmp_path / "whole"), tmp_path / "state"
    killed = program(manifest, state, slow=0.1)
    after_first_state(killed, state)
    killed.kill()
    killed.communicate()
    asked = program(manifest, state, slow=0.1)
    time.sleep(1)
    while asked.poll() is None and "goes on from" not in asked.stdout.readline():
        pass
    asked.terminate()
    words = asked.communicate()[0]
    assert asked.returncode == PREEMPTED, words
    last = program(manifest, state)
    told = last.communicate()[0]
    assert last.returncode == 0 and "finished after 24 steps, from " in told, told
    assert "from 0" not in told and whole.wait() == 0, whole.communicate()
    weights = [load_file(folder / "weights.safetensors") for folder in (tmp_path / "whole", state)]
    assert toy.equal(*weights)


def test_the_numbers_of_the_gpu_go_on() -> None:
    torch.rand(5, device="cuda")
    state = random_state()
    wanted = torch.rand(5, device="cuda")
    assert len(state["cuda"]) == 1
    restore_random_state(state)
    assert torch.equal(torch.rand(5, device="cuda"), wanted)


def test_an_evaluation_changes_nothing(manifest: Path, tmp_path: Path, deterministic: None) -> None:
    """It runs under inference_mode, on the GPU; what follows is as if there had been none."""
    kinds = set()

    def decode(outputs: torch.Tensor, batch: dict[str, Any]) -> dict[str, float]:
        kinds.add((outputs.is_inference(), outputs.is_cuda, outputs.dtype))
        return dict(zip(batch["keys"], outputs.mean(1).tolist(), strict=True))

    ended = []
    for every in (2, 24):
        evaluator = Evaluator(
            loader=toy.loader(manifest, transform=toy.plain, shuffle=False, workers=1),
            decode=decode,
            score=lambda found: {"val/mean": sum(found.values()) / len(found)},
        )
        run = training(manifest, tmp_path / str(every), "bf16", evaluator=evaluator, evaluate_every=every)
        run.train_loop()
        ended.append(toy.weights(run))
    assert kinds == {(True, True, torch.float32)} and toy.equal(*ended)
