"""A whole training from settings to weights, in processes that are really killed and asked to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lib.config.base import ConfigError
from lib.config.running import Running
from lib.config.train_loop import LoopSettings
from lib.training import run
from lib.training.preemption import PREEMPTED
from lib.training.stall import STALLED
from tests.conftest import PROJECT
from tests.lib.data import packed
from tests.lib.training import toy

SETTINGS: dict[str, Any] = {
    "budget": {"steps": 24, "evaluate_every_steps": 4},
    "batch": 4,
    "accumulate": 3,
    "precision": "fp32",
    "ema": {"decay": 0.9},
    "optimizer": {"lr": 3e-3},
}
RUNNING = Running.model_validate({"device": "cpu", "loggers": {"log_every": 1, "tensorboard": False}})


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed.write(tmp_path_factory.mktemp("shards"), 50)


def settings(**more: Any) -> LoopSettings:
    return LoopSettings.model_validate(SETTINGS | more)


def trained(manifest: Path, state: Path, parts: run.Parts | None = None, **more: Any) -> run.LoopResult:
    made = run.train(
        settings(**more), parts or toy.parts(manifest), state=state, fingerprint="toy", seed=0, name="toy", running=RUNNING
    )
    assert made is not None
    return made


@pytest.fixture(scope="module")
def whole(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> run.LoopResult:
    """A training that nothing interrupts."""
    return trained(manifest, tmp_path_factory.mktemp("whole") / "state")


def test_what_a_training_leaves(manifest: Path, whole: run.LoopResult) -> None:
    assert whole.status == "finished" and whole.steps == 24 and whole.epochs == 24 / 5 and whole.resumed_from == 0
    history = pd.read_csv(whole.history)
    scored = history[history["val/loss"].notna()]
    assert history["step"].max() == 24 and len(scored) == 6
    assert history["train/loss"].iloc[-3:].mean() < 0.5 * history["train/loss"].iloc[:3].mean()
    best = scored.loc[scored["val/loss"].idxmin()]
    assert whole.best["step"] == best["step"] and whole.best["val/loss"] == pytest.approx(best["val/loss"])
    model = toy.Temporal()
    model.load_state_dict(load_file(whole.weights))  # the average, and of the best step: it scores as was said
    model.eval()
    sums = [toy.squared(model(batch), batch) for batch in toy.loader(manifest, transform=toy.plain, shuffle=False)]
    loss = sum(float(part["loss"].detach()) for part, _ in sums) / sum(count for _, count in sums)
    assert loss == pytest.approx(whole.best["val/loss"], rel=1e-5)
    assert whole.facts["effective_batch"] == 12 and whole.facts["device"] == "cpu"


def start(manifest: Path, state: Path, *words: str, running: Running = RUNNING, **more: Any) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "tests.lib.training.toy",
        str(manifest),
        str(state),
        json.dumps(SETTINGS | more),
        *words,
    ]
    return subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", Running.VARIABLE: running.model_dump_json()},
    )  # fmt: skip


def steps_in(state: Path) -> int:
    """Steps that the history of a running training tells."""
    path = state / "history.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def wait_for(state: Path, steps: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while steps_in(state) < steps and process.poll() is None:
        assert time.monotonic() < until, "the training does not get on"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_killed_at_any_time_it_ends_with_the_same_weights(
    manifest: Path, whole: run.LoopResult, tmp_path: Path, workers: str
) -> None:
    """kill -9, wherever it is: mid-epoch, mid-accumulation, while a state is written."""
    state = tmp_path / "state"
    for steps in (3, 9, 16):
        process = start(manifest, state, "--slow", "0.03", "--workers", workers)
        wait_for(state, steps, process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.communicate()
    last = start(manifest, state, "--workers", workers)
    out, errors = last.communicate()
    assert last.returncode == 0, errors
    assert "finished after 24 steps" in out and int(out.rsplit("from ", 1)[1]) >= 12
    weights = load_file(state / "weights.safetensors")
    assert toy.equal(weights, load_file(whole.weights))
    mine, theirs = pd.read_csv(state / "history.csv"), pd.read_csv(whole.history)
    kept = [name for name in theirs if "second" not in name]
    pd.testing.assert_frame_equal(mine[kept], theirs[kept])


@pytest.mark.slow
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGUSR1, "0"), (signal.SIGTERM, "2")])
def test_asked_to_stop_it_saves_and_leaves_with_its_code(
    manifest: Path, whole: run.LoopResult, tmp_path: Path, number: signal.Signals, workers: str
) -> None:
    """The signal goes to all its processes, as a scheduler sends it."""
    state = tmp_path / "state"
    process = start(manifest, state, "--slow", "0.1", "--workers", workers)
    wait_for(state, 5, process)
    os.killpg(process.pid, number)
    _, errors = process.communicate()
    assert process.returncode == PREEMPTED and f"signal {number.name}; the state is saved" in errors, errors
    done = steps_in(state)
    going_on = start(manifest, state)
    out, errors = going_on.communicate()
    assert going_on.returncode == 0, errors
    resumed = int(out.rsplit("from ", 1)[1])
    assert resumed % 4 or resumed >= 5, "it went on from a regular state, not from where it was stopped"
    assert resumed <= done and toy.equal(load_file(state / "weights.safetensors"), load_file(whole.weights))


@pytest.mark.slow
def test_a_second_signal_leaves_at_once(manifest: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    process = start(manifest, state, "--slow", "20")  # the step that must end first takes a minute
    until = time.monotonic() + 120
    while not state.is_dir() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == PREEMPTED and "leaving at once, nothing is saved" in errors
    assert time.monotonic() - asked < 15


@pytest.mark.slow
def test_a_training_that_hangs_is_ended_and_says_where(manifest: Path, tmp_path: Path) -> None:
    """A step that takes an hour: it ends with its code and the stacks, and its states stand."""
    state = tmp_path / "state"
    running = RUNNING.model_copy(update={"stall_seconds": 15.0})
    process = start(manifest, state, "--slow", "3600", running=running)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == STALLED
    assert "running.stall_seconds = 15" in errors and "delayed" in errors, "the stack names what hangs"
    assert start(manifest, state).wait() == 0


def test_other_settings_start_afresh(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = {"budget": {"steps": 4, "evaluate_every_steps": 2}}
    first = trained(manifest, tmp_path / "state", **short)
    again = trained(manifest, tmp_path / "state", **short)
    assert first.resumed_from == 0 and again.resumed_from == 4
    other = run.train(
        settings(**short),
        toy.parts(manifest),
        state=tmp_path / "state",
        fingerprint="other",
        seed=0,
        name="toy",
        running=RUNNING,
    )
    assert other is not None and other.resumed_from == 0
    assert "ignoring" in capsys.readouterr().err


def test_a_diverged_training_leaves_finite_weights(manifest: Path, tmp_path: Path) -> None:
    made = trained(manifest, tmp_path / "state", optimizer={"name": "sgd", "lr": 10.0}, clip_norm=None, ema=None)
    assert made.status.startswith("diverged at step")
    assert all(torch.isfinite(value).all() for value in load_file(made.weights).values())


def test_a_metric_that_val_does_not_give_is_named(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'val/spred'.*did you mean 'val/spread'"):
        trained(manifest, tmp_path / "state", best={"val/spred": "max"})


def test_gradient_checkpointing_asks_the_model() -> None:
    with pytest.raises(ConfigError, match="gradient_checkpointing: Linear cannot do that"):
        run.switch_checkpointing_on(nn.Linear(1, 1))
