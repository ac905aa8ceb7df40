"""Reference: the rows that were told, as TensorBoard itself shows them. Kills of real trainings: test_yolo, test_rfdetr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lib.config.running import LoggerSettings
from lib.training.preemption import Preempted
from lib.training.round_loggers import FILE, RoundLoggers

ROWS = [
    {"epoch": n, "iteration": 10 * n, "train/loss": 1.0 / n, "val/AP": 0.1 * n, "seconds": 2.0 * n} for n in (1, 2, 3, 4)
]


def loggers(folder: Path) -> RoundLoggers:
    return RoundLoggers(LoggerSettings(), state=folder / "state", name="site/a/seed=0", config={"lr": 0.1})


def shown(folder: Path, name: str) -> list[tuple[int, float]]:
    """What TensorBoard itself shows of a value."""
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return [(one.step, round(one.value, 4)) for one in found.Scalars(name)]


def test_a_resume_goes_on_after_the_last_row_that_the_state_holds(tmp_path: Path) -> None:
    with pytest.raises(Preempted), loggers(tmp_path) as first:
        first.begin([])
        for row in ROWS[:3]:
            first.tell(row)
        raise Preempted("the third round was told, but its state was not kept")
    second = loggers(tmp_path)
    second.begin(ROWS[:2])
    second.tell(ROWS[2] | {"val/AP": 0.9})
    second.tell(ROWS[3])
    second.close("finished")
    second.close("finished")
    assert shown(tmp_path, "val/AP") == [(10, 0.1), (20, 0.2), (30, 0.9), (40, 0.4)]
    assert json.loads((tmp_path / "state" / FILE).read_text())["tensorboard"] == {"step": 40}


@pytest.mark.parametrize("kept", [None, "half a fi", "[]", '{"tensorboard": 5}'])
def test_without_what_was_kept_the_loggers_begin_anew(
    tmp_path: Path, kept: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    first = loggers(tmp_path)
    first.begin([])
    first.tell(ROWS[0])
    first.close("failed")
    path = tmp_path / "state" / FILE
    path.unlink() if kept is None else path.write_text(kept)
    second = loggers(tmp_path)
    second.begin(ROWS[:1])
    second.tell(ROWS[1])
    second.close("finished")
    assert shown(tmp_path, "val/AP") == [(10, 0.1), (20, 0.2)]
    assert ("loggers begin anew" in capsys.readouterr().err) == (kept is not None)


def test_a_row_that_a_kill_kept_from_being_told_is_told_by_the_next_attempt(tmp_path: Path) -> None:
    first = loggers(tmp_path)
    first.begin([])
    first.tell(ROWS[0])  # killed between the state of the second round and its telling
    second = loggers(tmp_path)
    second.begin(ROWS[:2])
    second.tell(ROWS[2])
    second.close("finished")
    assert shown(tmp_path, "val/AP") == [(10, 0.1), (20, 0.2), (30, 0.3)]


def test_another_training_drops_the_old_curves_and_an_untold_one_leaves_nothing(tmp_path: Path) -> None:
    for rows in (ROWS, ROWS[:1]):
        one = loggers(tmp_path)
        one.begin([])
        for row in rows:
            one.tell(row)
        one.close("finished")
    assert shown(tmp_path, "train/loss") == [(10, 1.0)]
    quiet = RoundLoggers(LoggerSettings(tensorboard=False), state=tmp_path / "b/state", name="b", config={})
    quiet.begin([])
    quiet.tell(ROWS[0])
    quiet.close("finished")
    loggers(tmp_path / "c").tell(ROWS[0])  # a training that was finished already is not begun
    assert not (tmp_path / "b/tensorboard").exists() and not (tmp_path / "c").exists()
