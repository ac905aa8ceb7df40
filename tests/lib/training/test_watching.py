"""Reference: rows that the test writes, seen through the program in a real pseudo-terminal, a pipe, and frame by frame."""

from __future__ import annotations

import io
import math
import os
import pty
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from lib.files import write_json
from lib.history import HistoryCsv
from lib.training.textplot import Curve, text_plot
from lib.training.watching import Watched
from tests.conftest import PROJECT

WATCH = [sys.executable, "-m", "workflow_scripts.watch"]


def rendered(watched: Watched, width: int = 100, height: int = 40) -> str:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(watched.frame(width, height))
    return console.file.getvalue()


def course(path: Path, steps: int, *, total: int = 200) -> HistoryCsv:
    """Rows every 10 steps at 5 steps/s, scores every 50."""
    history = HistoryCsv(path, total_steps=total)
    for step in range(10, steps + 1, 10):
        history.log(step, {"seconds": step / 5, "train/loss": 100 / step, "lr": 0.1})
        if step % 50 == 0:
            history.log(step, {"seconds": step / 5, "val/loss": 120 / step, "val/AP": step / 1000})
    return history


def test_a_frame_tells_step_speed_time_left_and_scores(tmp_path: Path) -> None:
    course(tmp_path / "state/history.csv", 120)
    watched = Watched(tmp_path)
    assert watched.refresh() and not watched.refresh()
    shown = rendered(watched)
    assert "step 120/200 (60%) · 5 steps/s · 16 s left · loss 0.8333 · last row" in shown
    assert re.search(r"val/AP +0\.1 +0\.1 +100", shown) and re.search(r"val/loss +1\.2 +1\.2 +100", shown)
    assert any(0x2800 < ord(letter) < 0x2900 for letter in shown)
    assert watched.status() is None


@pytest.mark.parametrize("given", ["state/history.csv", "state", "."])
def test_a_training_is_found_by_any_of_its_places_and_followed_to_its_end(tmp_path: Path, given: str) -> None:
    watched = Watched(tmp_path / given)
    assert not watched.refresh() and "waiting for" in watched.summary()
    course(tmp_path / "state/history.csv", 50)
    assert watched.refresh() and "step 50/200" in watched.summary()
    (tmp_path / "state/history.csv").rename(tmp_path / "history.csv")
    (tmp_path / "state/history.json").unlink()
    write_json(tmp_path / "model.json", {"status": "diverged at step 55"})
    assert watched.refresh() and watched.status() == "diverged at step 55"
    assert watched.summary().endswith("diverged at step 55")


def test_a_model_of_an_earlier_training_ends_nothing(tmp_path: Path) -> None:
    write_json(tmp_path / "model.json", {"status": "finished"})
    os.utime(tmp_path / "model.json", (time.time() - 100,) * 2)
    history = course(tmp_path / "state/history.csv", 50)
    watched = Watched(tmp_path)
    watched.refresh()
    assert watched.status() is None
    history.close("failed")
    watched.refresh()
    assert watched.status() == "failed"


def test_a_finished_training_that_was_copied_is_over_whatever_its_dates(tmp_path: Path) -> None:
    write_json(tmp_path / "model.json", {"status": "finished"})
    (tmp_path / "history.csv").write_text("epoch,iteration,seconds,train/box_loss\n1,10,2.0,3.5\n")
    os.utime(tmp_path / "model.json", (time.time() - 100,) * 2)
    watched = Watched(tmp_path)
    watched.refresh()
    assert watched.status() == "finished" and not watched.stalls()


def test_a_stall_is_told_after_ten_usual_intervals_or_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    course(path, 100)  # a row every 2 s: the least patience of a minute holds
    for age, stalls in ((50, False), (70, True)):
        os.utime(path, (time.time() - age,) * 2)
        watched = Watched(path)
        watched.refresh()
        assert watched.stalls() is stalls
    assert "no row for 1 min 10 s" in watched.summary()
    patient = Watched(path, stall=1000)
    patient.refresh()
    assert "last row 1 min 10 s ago" in patient.summary()
    slow = HistoryCsv(tmp_path / "slow.csv")
    for step in range(5):
        slow.log(step, {"seconds": step * 60.0})
    os.utime(tmp_path / "slow.csv", (time.time() - 500,) * 2)
    watched = Watched(tmp_path / "slow.csv")
    watched.refresh()
    assert not watched.stalls()


def test_what_is_no_number_is_told_and_other_engines_are_read(tmp_path: Path) -> None:
    history = course(tmp_path / "history.csv", 50)
    history.log(60, {"train/loss": math.nan})
    watched = Watched(tmp_path)
    watched.refresh()
    assert "1 value of train/loss is no number" in rendered(watched) and "loss nan" in rendered(watched)
    yolo = "epoch,iteration,seconds,train/box_loss,val/AP\n1,10,2.0,3.5,0.1\n2,20,4.0,2.5,\n"
    (tmp_path / "yolo.csv").write_text(yolo)
    watched = Watched(tmp_path / "yolo.csv", total=40)
    watched.refresh()
    assert "iteration 20/40 (50%) · 5 iterations/s · 4 s left · box_loss 2.5" in rendered(watched)
    (tmp_path / "bare.csv").write_text("step\n1\n2\n")
    watched = Watched(tmp_path / "bare.csv")
    watched.refresh()
    assert "step 2" in rendered(watched)


def test_the_best_is_what_the_training_calls_good(tmp_path: Path) -> None:
    """While it runs history.json says so, behind its end the settings in meta.json do; without either, the names."""
    course = {50: {"val/wer": 0.5, "val/AP": 0.5}, 100: {"val/wer": 0.25, "val/AP": 0.75}, 150: {"val/wer": 1, "val/AP": 0}}
    history = HistoryCsv(tmp_path / "state/history.csv", total_steps=150, best={"val/wer": "min"})
    for step, scores in course.items():
        history.log(step, {"train/loss": 1.0} | scores)

    def best(name: str) -> str:
        watched = Watched(tmp_path)
        watched.refresh()
        return re.search(rf"{name} +\S+ +(\S+ +\d+)", rendered(watched)).group(1)

    assert best("val/wer").split() == ["0.25", "100"] and best("val/AP").split() == ["0.75", "100"]
    (tmp_path / "state/history.json").unlink()
    assert best("val/wer").split() == ["1", "150"], "nobody says that lower is better"
    write_json(tmp_path / "meta.json", {"settings": {"training": {"best": {"val/wer": "min"}}}})
    assert best("val/wer").split() == ["0.25", "100"]


def test_a_narrow_terminal_breaks_the_headline_between_its_parts(tmp_path: Path) -> None:
    course(tmp_path / "a folder of a rather long name/state/history.csv", 120)
    watched = Watched(tmp_path / "a folder of a rather long name")
    watched.refresh()
    lines = rendered(watched, width=40, height=20).splitlines()
    assert lines[0].startswith("…") and lines[0].endswith("state/history.csv") and len(lines[0]) == 40
    assert lines[1].rstrip() == "step 120/200 (60%) · 5 steps/s" and lines[2].startswith("16 s left · loss 0.8333")
    assert len(lines) == 19 and all(len(line) <= 40 for line in lines)


def test_a_plot_shows_where_values_lie() -> None:
    falling = Curve([(step, 1.0 - step / 100) for step in range(101)], "cyan")
    lines = text_plot([falling], width=50, height=11).plain.split("\n")
    assert lines[0].startswith("        1│") and lines[9].startswith("        0│") and lines[10].endswith("100")
    inked = [[column for column, letter in enumerate(line[10:]) if letter != " "] for line in lines[:10]]
    assert all(inked) and inked[0][0] == 0 and inked[9][-1] == 39, "from the upper left to the lower right"
    assert [row[0] for row in inked] == sorted(row[0] for row in inked)
    assert max(map(len, lines)) <= 50
    for value in (-1.234e-05, -1.234e-105, 12345678.0, -0.00012344):
        wide = text_plot([Curve([(0, value), (9, 2 * value)], "cyan")], width=30, height=5).plain.split("\n")
        assert max(map(len, wide)) <= 30, "no number pushes the frame aside"
    assert text_plot([Curve([(1, math.nan)], "cyan")], width=40, height=5).plain == "no numbers yet"
    assert "⣀" in text_plot([Curve([(1, 2.0)], "cyan"), Curve([(1, 1.0), (9, 1.0)], "red")], width=40, height=5).plain


def test_the_program_starts_without_torch_and_prints_one_frame(tmp_path: Path) -> None:
    course(tmp_path / "state/history.csv", 120)
    code = (
        "import sys, runpy\nsys.argv = ['watch', sys.argv[1], '--once']\n"
        "runpy.run_module('workflow_scripts.watch', run_name='__main__')\n"
        "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "step 120/200" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"), [(["--every", "0"], "above 0"), (["--total", "-3"], "at least 1"), (["--stall", "x"], "above 0")]
)
def test_impossible_arguments_are_refused(tmp_path: Path, words: list[str], message: str) -> None:
    done = subprocess.run([*WATCH, str(tmp_path), *words], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2 and message in done.stderr


WRITER = """
import sys, time
from pathlib import Path
from lib.history import HistoryCsv
folder = Path(sys.argv[1])
time.sleep(1.0)
history = HistoryCsv(folder / "state/history.csv", total_steps=60)
for step in range(1, 61):
    history.log(step, {"train/loss": 1 / step})
    if step % 20 == 0:
        history.log(step, {"val/AP": step / 100})
    time.sleep(2.5 if step == 30 else 0.02)
history.close("finished")
(folder / "model.json").write_text('{"status": "finished"}')
"""


@contextmanager
def training(folder: Path) -> Iterator[None]:
    """Another process that writes rows, pauses in between, and finishes."""
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), str(folder)], cwd=PROJECT) as process:
        yield
        assert process.wait(timeout=60) == 0


@pytest.mark.slow
def test_on_a_terminal_it_follows_to_the_end(tmp_path: Path) -> None:
    main, side = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(main, 65536):
                seen.append(data)
        except OSError:  # the program has ended
            return

    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    words = [*WATCH, str(tmp_path), "--every", "0.1", "--stall", "1"]
    with training(tmp_path):
        watch = subprocess.Popen(words, cwd=PROJECT, stdin=side, stdout=side, stderr=side, env=environment)
        os.close(side)
        reader = threading.Thread(target=read)
        reader.start()
        assert watch.wait(timeout=60) == 0, "it ends by itself"
        reader.join()
    os.close(main)
    text = b"".join(seen).decode()
    assert "\x1b[" in text, "frames are drawn in place"
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "waiting for" in shown and "no row for 2 s" in shown and "steps/s" in shown and "left" in shown
    last = shown[shown.rindex("step 60/60 (100%)") :]
    assert "finished" in last and re.search(r"val/AP +0\.6 +0\.6 +60", last)


@pytest.mark.slow
def test_in_a_pipe_it_prints_lines_to_the_end(tmp_path: Path) -> None:
    with training(tmp_path):
        words = [*WATCH, str(tmp_path), "--every", "0.1", "--stall", "1"]
        done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0].startswith("waiting for") and "step 60/60 (100%)" in lines[-1] and lines[-1].endswith("finished")
    assert sum("no row for" in line for line in lines) == 1 and "\x1b" not in done.stdout
