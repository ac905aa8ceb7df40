"""Out of memory on one of several ranks, in real processes: all leave, start again, and train what one rank with memory
does. And what the ranks agree on by a file."""

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

from lib.files import read_json
from lib.runs import attempts
from lib.training import shortage
from lib.training.evaluator import Evaluator
from lib.training.memory import Halving, OutOfMemory
from lib.training.preemption import PREEMPTED
from lib.training.processes import end_started
from lib.training.shortage import FILE, Shortage, StartAgain
from lib.training.state import restore, state_of
from tests.conftest import PROJECT
from tests.lib.data import packed
from tests.lib.training import toy
from tests.lib.training.test_run import RUNNING

SETTINGS: dict[str, Any] = {
    "budget": {"steps": 12, "evaluate_every_steps": 2},
    "batch": 4,
    "devices": 2,
    "precision": "fp32",
    "optimizer": {"lr": 3e-3},
    "best": {"val/loss": "min"},
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed.write(tmp_path_factory.mktemp("shards"), 50)


def train(manifest: Path, state: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """The toy training in its processes, without dropout."""
    text = json.dumps(SETTINGS | more)
    command = [sys.executable, "-m", "tests.lib.training.toy", str(manifest), str(state), text, *words]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "MASTER_"))}
    environment = kept | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", RUNNING.VARIABLE: RUNNING.model_dump_json()}
    always = ["--dropout", "0", "--tail", "drop"]
    return subprocess.run(
        [*command, *always], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300
    )  # ranks that wait for each other do so for half an hour


def weights(state: Path) -> dict[str, torch.Tensor]:
    return load_file(state / "weights.safetensors")


@pytest.fixture(scope="module")
def alone(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """One rank with the joint batch, and memory for it."""
    state = tmp_path_factory.mktemp("alone") / "state"
    done = train(manifest, state, batch=8, devices=1)
    assert done.returncode == 0, done.stderr
    return weights(state)


@pytest.mark.slow
def test_all_ranks_leave_and_the_retry_goes_on_smaller(
    manifest: Path, alone: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Room for one sample of a batch of 4: halved twice, each time from the last saved state."""
    state, seen, rank = tmp_path / "state", [], "1"
    for _ in range(4):
        done = train(manifest, state, "--short", rank, "1")
        seen.append(done.returncode)
        if done.returncode == 0:
            break
        assert read_json(state / FILE)["halvings"] == len(seen) and f"rank {rank} ran out of memory" in done.stderr
        assert read_json(state.with_suffix(".told"))["cause"] == "memory"
        assert "Traceback" not in done.stderr
    assert seen == [PREEMPTED, PREEMPTED, 0], done.stderr
    assert "halvings 2, micro-batches of 1" in done.stdout and "finished after 12 steps, from 6" in done.stdout
    for name, value in alone.items():
        assert torch.allclose(weights(state)[name], value, rtol=0, atol=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--short", "0", "0"], "micro-batches have one sample already"),
        (["--short", "0", "3", "--whole"], "samples of one batch are compared with each other"),
    ],
)
def test_what_smaller_micro_batches_cannot_heal_ends_the_run(
    manifest: Path, tmp_path: Path, words: list[str], why: str
) -> None:
    state = tmp_path / "state"
    for _ in range(4):
        done = train(manifest, state, *words)
        if done.returncode != PREEMPTED:
            break
    assert done.returncode not in (0, PREEMPTED) and f"not split: {why}" in done.stderr
    assert (state / FILE).exists() == ("--whole" not in words)


class Alone:
    """A rank without others."""

    global_rank, world_size = 0, 1

    class strategy:
        launcher = None

    def broadcast(self, value: Any) -> Any:
        return value


class Training:
    def __init__(self, halvings: int) -> None:
        self.halving = Halving()
        self.halving.halvings = halvings


@pytest.mark.parametrize(("state", "record", "used"), [(0, 2, 2), (3, 2, 3), (1, None, 1)])
def test_of_state_and_record_the_larger_counts(tmp_path: Path, state: int, record: int | None, used: int) -> None:
    given = Shortage(tmp_path, fingerprint="a", fabric=Alone())
    if record is not None:
        assert isinstance(given.record(record, RuntimeError("full")), StartAgain)
    training, mine = Training(state), Shortage(tmp_path, fingerprint="a", fabric=Alone())
    mine.on_start(training)
    assert training.halving.halvings == used and mine.told() == ""
    given.record(used + 1, RuntimeError("full"))
    assert "halved" in mine.told() or mine.path.exists()
    mine.on_stop(training, "finished")


def test_a_record_is_never_lowered_and_another_trainings_counts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, other = (Shortage(tmp_path, fingerprint=name, fabric=Alone()) for name in ("first", "other"))
    first.record(3, RuntimeError("full"))
    first.record(1, RuntimeError("full"))
    assert first.recorded() == 3 and other.recorded() == 0 and other.told() == ""
    first.path.write_text("{ half")
    assert first.recorded() == 0 and "left out of account" in capsys.readouterr().err


def test_a_rank_that_waits_leaves_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    told: dict[str, Any] = {}
    monkeypatch.setattr(shortage.os, "_exit", codes.append)
    mine = Shortage(tmp_path, fingerprint="a", fabric=Alone(), tell=told.update)
    mine.on_start(Training(0))
    Shortage(tmp_path, fingerprint="a", fabric=Alone()).record(1, RuntimeError("full"))
    until = time.monotonic() + 10
    while not codes and time.monotonic() < until:
        time.sleep(0.02)
    mine.on_stop(None, "stopped")
    assert codes[:1] == [PREEMPTED] and told["cause"] == "memory" and "halved 1 time" in told["error"]


def test_the_cause_of_an_attempt_is_memory() -> None:
    assert attempts.cause_of(StartAgain("full")) == "memory"


def test_only_processes_that_were_started_here_are_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    launcher = type("Launcher", (), {"procs": [process]})()
    fabric = type("Fabric", (), {"strategy": type("Strategy", (), {"launcher": launcher})()})()
    end_started(fabric)
    assert process.returncode is not None and launcher.procs == []
    end_started(Alone())


def test_restoring_keeps_the_smaller_micro_batches(manifest: Path) -> None:
    run = toy.trainer(manifest, steps=2, halving=Halving())
    state = state_of(run)
    run.halving.halvings = 2
    restore(run, state)
    assert run.halving.halvings == 2
    restore(run, state | {"halvings": 3})
    assert run.halving.halvings == 3


def test_out_of_memory_in_an_evaluation_names_what_to_change(manifest: Path) -> None:
    def full(outputs: Any, batch: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    evaluator = Evaluator(loader=toy.loader(manifest, shuffle=False), decode=full, score=dict)
    with pytest.raises(OutOfMemory, match=r"on val after step 2, in batches of 4 \(CUDA.*Hint: a smaller `batch`"):
        toy.trainer(manifest, steps=2, evaluator=evaluator, halving=Halving()).train_loop()
