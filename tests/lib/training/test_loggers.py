"""Reference: what was logged; read back by TensorBoard's and W&B's own readers, and from a real pseudo-terminal."""

from __future__ import annotations

import io
import math
import os
import pty
import re
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lib.config.base import ConfigError
from lib.config.running import LoggerSettings, WandbSettings
from lib.files import DataError, read_json
from lib.history import read_rows
from lib.training.console import duration
from lib.training.loggers import ConsoleLogger, HistoryCsv, Loggers, TensorBoardLogger, WandbLogger, make_loggers

CANARY = "c0ffee" * 6 + "0bad"  # 40 hexadecimal digits, like a key of W&B


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """What TensorBoard itself shows of a value."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return [(one.step, one.value) for one in found.Scalars(name)]


def test_tensorboard_shows_what_was_logged_and_hides_what_a_resume_takes_back(tmp_path: Path) -> None:
    first = TensorBoardLogger(tmp_path)
    state: dict[str, Any] = {}
    for step in range(1, 9):
        first.log(step, {"train/loss": 1 / step, "val/AP": math.nan})
        if step == 5:
            state = first.state_dict()
            assert [at for at, _ in scalars(tmp_path, "train/loss")] == [1, 2, 3, 4, 5], "a kill would leave all of it"
    first._writer.flush()  # and then killed: never closed
    second = TensorBoardLogger(tmp_path)
    second.load_state_dict(state)
    for step in range(6, 11):
        second.log(step, {"train/loss": 100.0 + step})
    second.close("finished")
    expected = [1 / step if step <= 5 else 100.0 + step for step in range(1, 11)]
    shown = scalars(tmp_path, "train/loss")
    assert [step for step, _ in shown] == list(range(1, 11))
    assert [value for _, value in shown] == pytest.approx(expected, rel=1e-6)
    assert math.isnan(scalars(tmp_path, "val/AP")[0][1])


def test_tensorboard_of_a_fresh_start_hides_the_old_training(tmp_path: Path) -> None:
    first = TensorBoardLogger(tmp_path)
    first.log(3, {"train/loss": 1.0})
    first.close("failed")
    second = TensorBoardLogger(tmp_path)
    second.load_state_dict({})
    second.log(5, {"train/loss": 2.0})
    second.close("finished")
    assert scalars(tmp_path, "train/loss") == [(5, 2.0)]


def records(data: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: a LevelDB log behind seven bytes (blocks of 32 KiB, chunks of crc, length, kind)."""
    place, whole = 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""


def offline_runs(folder: Path) -> list[tuple[str, list[dict[str, str]], dict[str, str]]]:
    """Of each offline run: its id, its rows and its summary, from the files that `wandb sync` would send."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        run, rows, summary = "", [], {}
        for data in records(path.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            run = record.run.run_id or run
            if record.HasField("history"):
                items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
                rows.append({key: value for key, value in items.items() if not key.startswith("_")})
            summary |= {item.key or "/".join(item.nested_key): item.value_json for item in record.summary.update}
        found.append((run, rows, summary))
    return found


@pytest.mark.slow
def test_wandb_offline_keeps_its_run_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", CANARY)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings = WandbSettings(project="site", mode="offline", tags=["tiny"])
    first = WandbLogger(tmp_path / "run", settings, name="a", config={"lr": 0.1})
    first.load_state_dict({})
    for step in (1, 2, 3):
        first.log(step, {"train/loss": 1 / step, "val/AP": math.nan})
    state = first.state_dict()
    first.close("failed")
    time.sleep(1.1)  # the client names its folders by the second
    second = WandbLogger(tmp_path / "run", settings, name="a")
    second.load_state_dict(state)
    second.log(3, {"train/loss": 0.25})  # below the client's own counter, and still kept
    second.close("finished")
    runs, until = offline_runs(tmp_path / "run"), time.monotonic() + 60
    while not all("status" in summary for _, _, summary in runs) and time.monotonic() < until:
        time.sleep(0.1)  # another process of the client writes them, which may be behind
        runs = offline_runs(tmp_path / "run")
    assert [run for run, _, _ in runs] == [state["id"]] * 2, "one run, two attempts"
    assert [(row["step"], float(row["train/loss"])) for row in runs[0][1]] == [
        ("1", 1.0),
        ("2", 0.5),
        ("3", pytest.approx(1 / 3)),
    ]
    assert "NaN" in runs[0][1][0]["val/AP"]
    assert [(row["step"], float(row["train/loss"])) for row in runs[1][1]] == [("3", 0.25)]
    assert [summary["status"] for _, _, summary in runs] == ['"failed"', '"finished"']
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if CANARY.encode() in path.read_bytes()], "the key is in no file"
    assert [path for path in files if b"train/loss" in path.read_bytes()], "the files are plain enough to be searched"
    assert CANARY not in repr(state) and CANARY not in repr(vars(second))


@pytest.mark.slow
def test_wandb_without_a_key_says_what_to_do(tmp_path: Path) -> None:
    code = (
        "import pathlib\nfrom lib.config.running import WandbSettings\nfrom lib.training.loggers import WandbLogger\n"
        "WandbLogger(pathlib.Path('run'), WandbSettings(project='site'), name='a').load_state_dict({})"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    assert "ConfigError: loggers.wandb: the run cannot start" in done.stderr and "mode: offline" in done.stderr


def test_console_without_a_terminal_writes_lines_now_and_then_and_scores_always() -> None:
    stream, log = io.StringIO(), io.StringIO()
    console = ConsoleLogger(total_steps=100, name="a", samples_per_step=32, stream=stream, log=log, every=3600)
    for step in range(1, 100):
        console.log(step, {"train/loss": 1 / step, "lr": 0.1} | ({"val/AP": math.nan} if step == 50 else {}))
    console.close("stopped at step 99")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3, "the first, the one with scores, the end"
    assert re.match(r"a: step 1/100 · loss 1 · lr 0\.1 · .* steps/s \(.* samples/s\) · .* left$", lines[0])
    assert lines[1].endswith("val/AP nan") and lines[2] == "a: stopped at step 99 · step 99/100"
    assert log.getvalue() == stream.getvalue()
    often = io.StringIO()
    console = ConsoleLogger(total_steps=100, stream=often, every=0)
    for step in range(1, 11):
        console.log(step, {"train/loss": math.nan})
    assert often.getvalue().count("loss nan") == 10


def test_console_on_a_terminal_shows_a_bar_and_logs_lines() -> None:
    main, side = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(main, 65536):
                seen.append(data)
        except OSError:  # the other side was closed
            return

    reader = threading.Thread(target=read)
    reader.start()
    log = io.StringIO()
    with os.fdopen(side, "w") as terminal:
        console = ConsoleLogger(total_steps=20, name="a", stream=terminal, log=log, every=3600)
        console.load_state_dict({"step": 10})
        for step in range(11, 21):
            console.log(step, {"train/loss": 1 / step} | ({"val/AP": 0.75} if step == 15 else {}))
        console.close("finished")
    reader.join()
    os.close(main)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(seen).decode())
    assert "━" in shown and "20/20" in shown and "loss 0.05" in shown and "val/AP 0.75" in shown
    assert log.getvalue().startswith("a: goes on from step 10/20\n")
    assert log.getvalue().count("\n") == 5 and "val/AP 0.75" in log.getvalue()


@pytest.mark.parametrize(
    ("seconds", "said"), [(41.6, "42 s"), (185, "3 min 05 s"), (7620, "2 h 07 min"), (273_600, "3 d 4 h")]
)
def test_durations_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


class Broken:
    """A logger that fails where it is told to."""

    def __init__(self, *where: str, error: Exception | None = None) -> None:
        self.where, self.error, self.calls = where, error or OSError("service is gone"), []

    def _do(self, what: str) -> None:
        self.calls.append(what)
        if what in self.where:
            raise self.error

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._do("log")

    def state_dict(self) -> dict[str, Any]:
        return {"calls": len(self.calls)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._do("load")

    def close(self, status: str) -> None:
        self._do("close")


def test_a_service_that_fails_is_left_out_and_a_wrong_setting_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, refused = Broken("log", "close"), Broken("log", error=ConfigError("no key"))
    loggers = Loggers({"history": HistoryCsv(tmp_path / "history.csv"), "cloud": broken, "fine": Broken()})
    for step in (1, 2):
        loggers.log(step, {"train/loss": 1.0})
    assert broken.calls == ["log"] and set(loggers.state_dict()) == {"history", "fine"}
    assert "logger cloud failed at step 1" in capsys.readouterr().err
    loggers.close("finished")
    assert len(read_rows(tmp_path / "history.csv")) == 2
    with pytest.raises(ConfigError, match="no key"):
        Loggers({"cloud": refused}).log(1, {})


def test_all_are_closed_and_a_lost_history_is_told(tmp_path: Path) -> None:
    history, other = HistoryCsv(tmp_path / "run" / "history.csv"), Broken()
    (tmp_path / "run" / "history.json").unlink()
    (tmp_path / "run").rmdir()
    (tmp_path / "run").write_text("no folder any more")
    loggers = Loggers({"history": history, "other": other})
    with pytest.raises((DataError, OSError)):
        loggers.close("finished")
    assert other.calls == ["close"]


def test_all_resume_together(tmp_path: Path) -> None:
    def made() -> Loggers:
        settings = LoggerSettings()
        history = tmp_path / "state/history.csv"
        return make_loggers(settings, history=history, folder=tmp_path, name="a", total_steps=9)

    first = made()
    first.load_state_dict({})
    first.log(1, {"train/loss": 1.0})
    state = first.state_dict()
    first.log(2, {"train/loss": 0.5})
    first.close("failed")
    second = made()
    second.load_state_dict(state)
    second.log(2, {"train/loss": 0.25})
    second.close("finished")
    assert [row["train/loss"] for row in read_rows(tmp_path / "state/history.csv")] == [1.0, 0.25]
    assert scalars(tmp_path / "tensorboard", "train/loss") == [(1, 1.0), (2, 0.25)]
    assert read_json(tmp_path / "state/history.json") == {"total_steps": 9, "status": "finished"}


def test_what_reads_histories_starts_without_torch() -> None:
    code = "import sys, lib.history, lib.training.console, lib.training.loggers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
