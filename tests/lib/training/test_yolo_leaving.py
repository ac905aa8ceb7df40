"""YOLO trainings that are asked to leave, by real signals and by a budget. Reference: one that nothing interrupts."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
from shapes import NAMES, draw
from test_yolo import SHORT, equal, weights

from lib.config.train import TrainingSettings
from lib.training import yolo
from lib.training.preemption import BUDGET_USED, PREEMPTED, Preempted, StopRequest
from lib.training.yolo_trainer import Trainer
from tests.conftest import PROJECT
from workflow_scripts import _program

pytestmark = pytest.mark.slow

ROUNDS, EACH = 3, 10


def with_readers(trainer: Trainer, *words: Any, before: Any = Trainer.get_dataloader, **more: Any) -> Any:
    """Processes that read images, which ultralytics starts only beside a GPU."""
    trainer.args.workers = 2
    return before(trainer, *words, **more)


def train(folder: Path, *, readers: bool = False, asked: StopRequest | None = None) -> tuple[yolo.TrainResult, list[Any]]:
    """A training in folder/state; what it leaves, and what it told (also in folder/told, line by line)."""
    folder.mkdir(exist_ok=True)
    told = []

    def tell(facts: dict[str, Any]) -> None:
        told.append(facts)
        with open(folder / "told", "a") as file:
            file.write(json.dumps(facts) + "\n")

    budget = {"iterations": ROUNDS * EACH, "evaluations": ROUNDS}
    given: dict[str, Any] = {"state": folder / "state", "seed": 0, "threads": 1, "fingerprint": "f"}
    with patch.object(Trainer, "get_dataloader", with_readers) if readers else nullcontext():
        result = yolo.train(
            TrainingSettings.model_validate(SHORT | {"budget": budget}),
            names=NAMES,
            train_images=draw(folder / "train", 12, seed=0),
            val_images=draw(folder / "val", 6, seed=1),
            on_log=tell,
            asked=asked,
            **given,
        )
    return result, told


def main() -> None:
    """What a test starts as a process of its own: folder, whether processes read images."""
    with StopRequest() as asked:
        train(Path(sys.argv[1]), readers=sys.argv[2] == "True", asked=asked)


class Asked(StopRequest):
    """A request that says what a test wants it to say."""

    def __init__(self, reason: str = "", left_s: float = math.inf) -> None:
        super().__init__()
        self.given, self.left = reason, left_s

    @property
    def reason(self) -> str:
        return self.given

    @property
    def left_s(self) -> float:
        return self.left


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> yolo.TrainResult:
    return train(tmp_path_factory.mktemp("whole"))[0]


def same(one: yolo.TrainResult, other: yolo.TrainResult) -> bool:
    pd.testing.assert_frame_equal(one.history.drop(columns="seconds"), other.history.drop(columns="seconds"))
    return equal(weights(one), weights(other))


def wait_for(path: Path, word: str, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while process.poll() is None and not (path.exists() and word in path.read_text()):
        assert time.monotonic() < until, "the training does not get on"
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "readers"), [(signal.SIGUSR1, False), (signal.SIGTERM, False), (signal.SIGTERM, True)])
def test_a_signal_to_all_its_processes_costs_a_round_at_most(
    tmp_path: Path, whole: yolo.TrainResult, number: signal.Signals, readers: bool
) -> None:
    """As a scheduler sends it; processes that read images die of it."""
    words = [sys.executable, __file__, str(tmp_path / "left"), str(readers)]
    path = os.pathsep.join([str(PROJECT), str(Path(__file__).parent)])
    process = subprocess.Popen(
        words, cwd=PROJECT, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    told = tmp_path / "left" / "told"
    wait_for(told, '"round": 2', process)
    time.sleep(0.3)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == PREEMPTED, errors[-3000:]
    left = json.loads(told.read_text().splitlines()[-1])
    assert 0 <= left["lost_iterations"] <= EACH and f"signal {number.name}; the state after round" in errors
    assert (f"{left['lost_iterations']} iterations (" in errors) == (left["lost_iterations"] > 0)
    result, _ = train(tmp_path / "left", readers=readers)
    assert 1 <= result.resumed_from < ROUNDS and result.iterations == ROUNDS * EACH
    assert same(result, train(tmp_path / "whole", readers=True)[0] if readers else whole)


def test_it_leaves_before_a_round_that_cannot_fit(tmp_path: Path, whole: yolo.TrainResult) -> None:
    attempts = 0
    while True:
        attempts += 1
        try:
            result, told = train(tmp_path, asked=Asked(left_s=0.01))
            break
        except Preempted as stopped:
            assert f"{BUDGET_USED}: a round takes" in str(stopped) and "0 s are left" in str(stopped)
            assert f"the state after round {attempts} of {ROUNDS} is saved, nothing is lost" in str(stopped)
            assert "Hint" not in str(stopped), "this attempt has finished a round"
    assert attempts == ROUNDS and {"round": ROUNDS} in told and same(result, whole)


def test_a_budget_that_is_too_short_for_a_round_says_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(Preempted, match=r"stopped at iteration 0 of 30: .*nothing is saved yet.*Hint: .*longer runtime"):
        train(tmp_path, asked=Asked(BUDGET_USED))
    with pytest.raises(Preempted, match=r"signal SIGTERM; nothing is saved yet, nothing is lost$"):
        train(tmp_path, asked=Asked("signal SIGTERM"))


if __name__ == "__main__":
    _program.run(main)
