"""Reference: what was logged, kept in the test; processes really killed, files really cut, a disk really full."""

from __future__ import annotations

import math
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.files import DataError, read_json
from lib.history import HistoryCsv, HistoryReader, history_frame, read_rows, side_file, step_column


def without_time(path: Path) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_rows(path)]


def test_rows_columns_that_grow_and_what_joins_a_row(tmp_path: Path) -> None:
    history = HistoryCsv(tmp_path / "history.csv", total_steps=30)
    history.log(10, {"train/loss": 0.5})
    history.log(10, {"val/AP": 0.25})
    history.log(20, {"train/loss": math.nan, "lr": 1e-5})
    history.log(30, {"train/loss": math.inf, "val/AP": 0.5})
    text = (tmp_path / "history.csv").read_text()
    assert text.splitlines()[0] == "step,seconds,train/loss,val/AP,lr"
    assert ",nan,,1e-05" in text
    rows = without_time(tmp_path / "history.csv")
    assert rows[0] == {"step": 10, "train/loss": 0.5, "val/AP": 0.25}
    assert rows[1].keys() == {"step", "train/loss", "lr"} and math.isnan(rows[1]["train/loss"])
    assert rows[2] == {"step": 30, "train/loss": math.inf, "val/AP": 0.5}


def test_numbers_come_back_exactly(tmp_path: Path) -> None:
    values = [float(one) for one in np.random.default_rng(0).normal(size=50) * 10.0 ** np.arange(-25, 25)]
    history = HistoryCsv(tmp_path / "history.csv")
    for step, value in enumerate(values):
        history.log(step, {"x": value})
    assert [row["x"] for row in read_rows(tmp_path / "history.csv")] == values
    assert pd.read_csv(tmp_path / "history.csv", float_precision="round_trip")["x"].tolist() == values


@pytest.mark.parametrize("tail", ["4,1.2,0.", "4", "4,1.2\n", "\0\0\0\0\n", "4,1.2,0.1,7,7\n", "4,1.2,x,\n"])
def test_what_a_kill_or_power_cut_left_is_taken_off(tmp_path: Path, tail: str) -> None:
    path = tmp_path / "history.csv"
    history = HistoryCsv(path)
    for step in (1, 2, 3):
        history.log(step, {"train/loss": 1 / step})
    whole = path.read_bytes()
    with open(path, "a") as file:
        file.write(tail)
    assert [row["step"] for row in read_rows(path)] == [1, 2, 3], "a reader leaves it out"
    again = HistoryCsv(path)
    assert path.read_bytes() == whole
    again.log(4, {"train/loss": 0.25})
    assert [row["train/loss"] for row in read_rows(path)] == [1, 0.5, 1 / 3, 0.25]


def test_half_a_header_is_an_empty_history(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("step,secon")
    assert read_rows(path) == []
    HistoryCsv(path).log(1, {"train/loss": 1.0})
    assert without_time(path) == [{"step": 1, "train/loss": 1.0}]


@pytest.mark.parametrize("keep", [0, 1, 4, 9])
def test_a_resume_drops_what_lies_beyond_its_step(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "history.csv"
    history = HistoryCsv(path)
    states = [history.state_dict()]
    for step in range(1, 10):
        history.log(step, {"train/loss": 1 / step} | ({"val/AP": step / 10} if step % 3 == 0 else {}))
        states.append(history.state_dict())
    expected = without_time(path)
    again = HistoryCsv(path)
    again.load_state_dict(states[keep])
    assert [row["step"] for row in read_rows(path)] == list(range(1, keep + 1))
    for step in range(keep + 1, 10):
        again.log(step, {"train/loss": 1 / step} | ({"val/AP": step / 10} if step % 3 == 0 else {}))
    assert without_time(path) == expected
    assert again.state_dict()["rows"] == 9


def test_seconds_go_on_over_attempts(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    HistoryCsv(path).log(1, {"seconds": 100.0})
    again = HistoryCsv(path)
    again.load_state_dict({"step": 1, "rows": 1, "seconds": 120.0})
    again.log(2, {})
    assert 120.0 <= read_rows(path)[1]["seconds"] < 180.0


def test_going_back_without_a_resume_drops_rows_and_a_fresh_start_all(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history = HistoryCsv(path)
    for step in (5, 10, 15):
        history.log(step, {"train/loss": step})
    history.log(8, {"train/loss": 8.5})  # rolled back to step 5
    assert [row["train/loss"] for row in read_rows(path)] == [5, 8.5]
    fresh = HistoryCsv(path)
    fresh.load_state_dict({})
    assert read_rows(path) == [] and fresh.state_dict()["rows"] == 0
    fresh.log(1, {"train/loss": 1})
    assert [row["step"] for row in read_rows(path)] == [1]


def test_a_removed_file_is_begun_anew_and_files_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history = HistoryCsv(path)
    history.log(1, {"train/loss": 1})
    path.unlink()
    history.log(2, {"train/loss": 2})
    assert without_time(path) == [{"step": 2, "train/loss": 2}]
    other = tmp_path / "other.csv"
    other.write_text("name,age\nx,3\n")
    with pytest.raises(DataError, match="not with the column `step`"):
        HistoryCsv(other)
    assert other.read_text() == "name,age\nx,3\n"
    with pytest.raises(ValueError, match="cannot head a column"):
        history.log(3, {"a\nb": 1.0})


def test_damage_inside_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("step,seconds,train/loss\n1,1,0.5\n2,oops,0.4\n3,3,0.3\n")
    with pytest.raises(DataError, match=r"history\.csv, line 3: not a row of 3 numbers"):
        read_rows(path)
    with pytest.raises(DataError, match="file not found"):
        read_rows(tmp_path / "none.csv")


def test_the_side_file_says_how_long_and_how_it_ended(tmp_path: Path) -> None:
    history = HistoryCsv(tmp_path / "history.csv", total_steps=500)
    assert read_json(side_file(history.path)) == {"total_steps": 500, "status": "running"}
    history.close("diverged at step 3")
    assert read_json(tmp_path / "history.json")["status"] == "diverged at step 3"


def test_missing_cells_and_nan_differ_in_a_frame(tmp_path: Path) -> None:
    history = HistoryCsv(tmp_path / "history.csv")
    history.log(1, {"train/loss": math.nan})
    history.log(2, {"val/AP": 0.5})
    frame = history_frame(tmp_path / "history.csv")
    assert math.isnan(frame["train/loss"][0]) and frame["train/loss"][1] is None and frame["val/AP"][0] is None
    (tmp_path / "yolo.csv").write_text("epoch,iteration,seconds,train/box_loss\n1,10,2.5,0.5\n")
    assert step_column(history_frame(tmp_path / "yolo.csv").columns) == "iteration"


WRITER = """
import sys
from pathlib import Path
from lib.history import HistoryCsv
history = HistoryCsv(Path(sys.argv[1]))
step = history.state_dict()["step"]
print("ready", flush=True)
if step > 0:
    history.log(step, {"val/AP": step * 3} if step % 5 == 0 else {})  # perhaps killed before
while True:
    step = max(step, 0) + 1
    history.log(step, {"train/loss": 1 / step, f"extra/{step // 40}": step})
    if step % 5 == 0:
        history.log(step, {"val/AP": step * 3})
"""


@pytest.mark.slow
def test_rows_survive_processes_killed_at_any_moment(tmp_path: Path) -> None:
    """Each writer goes on where the last one was killed; columns grow and rows are joined all the time."""
    path = tmp_path / "history.csv"
    drawn = random.Random(3)
    most = 0
    for _ in range(25):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(drawn.uniform(0.0, 0.03))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        rows = without_time(path) if path.exists() else []
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1)), "no row lost, none twice"
        assert len(rows) >= most
        most = len(rows)
        for row in rows[:-1]:
            step = row["step"]
            expected = {"step": step, "train/loss": 1 / step, f"extra/{int(step) // 40}": step}
            assert row == expected | ({"val/AP": step * 3} if step % 5 == 0 else {})
    assert most > 100


def test_a_reader_keeps_up_with_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history = HistoryCsv(path)
    reader = HistoryReader(path)
    with pytest.raises(FileNotFoundError):
        reader.refresh()
    over = threading.Event()

    def write() -> None:
        for step in range(1, 601):
            history.log(step, {"train/loss": 1 / step} | ({f"val/{step // 150}": step} if step % 50 == 0 else {}))
            if step % 50 == 0:
                history.log(step, {"val/late": step})
                time.sleep(0.005)  # the reader's turn, on a busy machine too
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while not over.is_set():
        if path.exists():
            reader.refresh()
            seen.append(len(reader.rows))
            assert [row["step"] for row in reader.rows] == list(range(1, len(reader.rows) + 1))
    writer.join()
    reader.refresh()
    assert reader.rows == read_rows(path) and len(reader.rows) == 600
    # the last row may be away for a moment while the writer lengthens it
    assert all(after >= before - 1 for before, after in pairwise(seen)) and len(set(seen)) > 3
    assert reader.refresh() is False


def test_a_reader_sees_rows_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history = HistoryCsv(path)
    for step in range(1, 6):
        history.log(step, {"train/loss": step})
    reader = HistoryReader(path)
    reader.refresh()
    history.load_state_dict({"step": 2, "seconds": 7000.0})
    for step in range(3, 12):
        history.log(step, {"train/loss": step * 10})
    reader.refresh()
    assert [row["train/loss"] for row in reader.rows] == [1, 2, *(10 * step for step in range(3, 12))]


def test_a_full_disk_costs_no_row_that_was_there(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small tmpfs")
    try:
        history = HistoryCsv(disk / "history.csv")
        (disk / "big").write_bytes(b"x" * 40_000)
        step = 0
        with pytest.raises(DataError, match="the disk is full"):
            for step in range(1, 2_000):
                history.log(step, {"train/loss": 1 / step})
        assert step > 100
        assert [row["step"] for row in read_rows(disk / "history.csv")] == list(range(1, step))
        (disk / "big").unlink()
        history.log(step, {"train/loss": 1 / step})
        again = HistoryCsv(disk / "history.csv")
        assert again.state_dict()["rows"] == step
        assert [row["train/loss"] for row in read_rows(disk / "history.csv")] == [1 / one for one in range(1, step + 1)]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
