"""Reference: records written here as trainings and their owners write them, real processes, recorded answers of Slurm."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from lib.history import HistoryCsv
from lib.status.cells import Cell, by_comment
from lib.status.looking import Cluster, Records, ask_slurm, look, moment, process_of, quiet_for, read_records, run_ids
from lib.status.progress import history_reader, progress_of
from lib.status.states import state_of
from tests.lib.slurm_answers import LATER_RUN, NO_ACCOUNTING, NO_CONTROLLER, RUN, SACCT, SQUEUE, asked, put

CELL = Cell(
    dataset="site", variant="full", seed=0, task="detection", kind="model", size="tiny", metric="AP", total=40,
    inputs=("results/subsets/site/all/seed=0.parquet",),
)  # fmt: skip
HERE = socket.gethostname()


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


class Folder:
    """A training's folder below a working directory."""

    def __init__(self, root: Path) -> None:
        self.root, self.place = root, root / CELL.folder

    def write(self, name: str, values: Any, age_s: float = 0.0) -> None:
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(values if isinstance(values, str) else json.dumps(values))
        then = time.time() - age_s
        os.utime(path, (then, then))

    def attempt(self, number: int = 1, **facts: Any) -> None:
        begun = {"attempt": number, "cause": "running", "fingerprint": "a", "host": "gpu1", "pid": 17, "job": None}
        begun |= {"start": iso(time.time() - 9000), "end": iso(time.time() - 8000), "seconds": 1000.0}
        self.write(f"attempts/{number}.json", begun | facts, age_s=8000)

    def owner(self, age_s: float = 4.0, **facts: Any) -> None:
        told = {"host": "gpu1", "pid": 17, "started": 1.0, "job": None, "token": "t", "attempt": 1, "fingerprint": "a"}
        self.write("owner.json", told | {"beat": iso(time.time() - age_s)} | facts, age_s=age_s)

    def state(self, cluster: Cluster | None = None, now: float | None = None) -> tuple[str, str]:
        found = state_of(look(CELL, read_records(self.place), cluster or Cluster(), self.root, now))
        return found.name, found.why


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_nothing_is_there(folder: Folder) -> None:
    assert folder.state()[0] == "waiting"


def test_an_owner_on_another_host_by_its_heartbeat(folder: Folder) -> None:
    folder.attempt()
    folder.owner(age_s=9)
    assert folder.state()[0] == "running"
    folder.owner(age_s=600)
    name, why = folder.state()
    assert name == "unknown" and "gpu1" in why and "10 min" in why


def test_the_owner_s_attempt_counts_before_its_record_is_there(folder: Folder) -> None:
    folder.attempt(1, cause="error", error="RuntimeError: x")
    assert folder.state()[0] == "failed"
    folder.owner(attempt=2)
    assert folder.state()[0] == "running"


def test_an_owner_that_an_earlier_attempt_left_does_not_count(folder: Folder) -> None:
    folder.attempt(2, cause="data", error="a.mp4: is cut")
    folder.owner(attempt=1, age_s=5)
    assert folder.state() == ("failed", "a.mp4: is cut")


def test_an_owner_that_has_no_attempt_yet_begins_the_next(folder: Folder) -> None:
    folder.attempt(1, cause="preempted")
    folder.owner(attempt=None, since=iso(time.time()))
    assert folder.state()[0] == "running"
    folder.owner(attempt=None, released=True)
    assert folder.state()[0] == "stopped"


def test_the_same_number_in_a_container_is_another_process(folder: Folder, sleeper: subprocess.Popen[bytes]) -> None:
    folder.attempt(host=HERE, pid=1)
    folder.owner(host=HERE, pid=1, started=1.0, space="pid:[1]")
    assert process_of(read_records(folder.place)) == "elsewhere" and folder.state()[0] == "running"
    folder.owner(host=HERE, pid=1, started=1.0, space=os.readlink("/proc/self/ns/pid"))
    assert folder.state()[0] == "failed"


def test_without_owner_the_history_s_time_is_the_sign_of_life(folder: Folder) -> None:
    folder.attempt()
    folder.write("state/history.csv", "step,seconds\n1,2\n", age_s=600)
    assert folder.state()[0] == "running", "without a heartbeat 30 min are no silence"
    folder.write("state/history.csv", "step,seconds\n1,2\n", age_s=4000)
    assert folder.state()[0] == "unknown"


def test_a_heartbeat_in_the_future_is_none_but_the_file_s_own_time_counts(folder: Folder) -> None:
    folder.attempt()
    folder.owner(age_s=5, beat=iso(time.time() + 900))
    assert folder.state()[0] == "running"
    folder.owner(age_s=700, beat=iso(time.time() + 900))
    assert folder.state()[0] == "unknown", "a clock that is ahead must not keep the dead alive"
    folder.owner(age_s=5)
    assert folder.state(now=time.time() - 86_400)[0] == "unknown", "this host's clock is a day behind"
    quiet, skew = quiet_for(read_records(folder.place), time.time() - 86_400)
    assert quiet is None and "gpu1 is 8639" in skew


def test_a_heartbeat_of_a_clock_that_is_behind(folder: Folder) -> None:
    folder.attempt()
    folder.owner(age_s=3, beat=iso(time.time() - 900))
    assert folder.state()[0] == "running", "the file server's time is newer"


def test_a_process_of_this_host(folder: Folder, sleeper: subprocess.Popen[bytes]) -> None:
    folder.attempt(host=HERE, pid=sleeper.pid, start=iso(time.time()))
    folder.owner(host=HERE, pid=sleeper.pid, started=psutil.Process(sleeper.pid).create_time())
    assert process_of(read_records(folder.place)) == "alive" and folder.state()[0] == "running"
    folder.owner(host=HERE, pid=sleeper.pid, started=psutil.Process(sleeper.pid).create_time() - 500)
    assert folder.state()[0] == "failed", "the number is another process's by now"
    folder.owner(host=HERE, pid=sleeper.pid, started=psutil.Process(sleeper.pid).create_time())
    sleeper.kill()
    time.sleep(0.2)  # a zombie: nobody has waited for it
    assert folder.state() == ("failed", "its process ended without a word")


def test_a_process_without_owner_is_told_by_the_attempt_s_begin(folder: Folder, sleeper: subprocess.Popen[bytes]) -> None:
    folder.attempt(host=HERE, pid=sleeper.pid, start=iso(time.time()))
    assert process_of(read_records(folder.place)) == "alive"
    folder.attempt(host=HERE, pid=sleeper.pid, start=iso(time.time() - 900))
    assert process_of(read_records(folder.place)) == "gone", "it began long after the attempt: its number was used again"
    assert process_of(Records()) == "untold"


@pytest.mark.parametrize(
    "odd",
    ["", "{", "[]", "null", '{"pid": "x", "host": 3, "beat": 5, "attempt": null}', '{"beat": "yesterday"}', "\x00\xff"],
)
def test_damaged_records_are_not_known_and_nothing_raises(folder: Folder, odd: str) -> None:
    folder.write("owner.json", odd)
    folder.write("model.json", odd)
    folder.write("attempts/1.json", odd)
    folder.write("attempts/notes.json", odd)
    folder.write("state/history.csv", odd)
    folder.write("state/history.json", odd)
    assert folder.state()[0] in ("failed", "completed", "unknown", "waiting", "running")
    records = read_records(folder.place)
    progress_of(CELL, records, history_reader(CELL, folder.root), running=True)


def test_a_record_that_cannot_be_read_is_no_success(folder: Folder) -> None:
    folder.attempt(1, cause="finished")
    folder.write("attempts/2.json", "{")
    folder.write("model.json", {"status": "finished", "fingerprint": "a"})
    assert folder.state()[0] == "failed"


def test_a_model_is_older_than_a_new_attempt(folder: Folder) -> None:
    folder.attempt(1, cause="finished")
    folder.write("model.json", {"status": "finished", "fingerprint": "a", "best": {"AP": 0.5}})
    assert folder.state()[0] == "completed"
    folder.attempt(2)
    folder.owner(attempt=2)
    assert folder.state()[0] == "running"


# Slurm


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm's programs as recorded; and this folder's two runs, as Snakemake logs their names."""
    place = tmp_path / "bin"
    put(place, "squeue", says=SQUEUE)
    put(place, "sacct", says=SACCT)
    monkeypatch.setenv("PATH", f"{place}:/bin")
    logs = tmp_path / ".snakemake/log"
    logs.mkdir(parents=True)
    for number, run in enumerate((RUN, LATER_RUN)):
        (logs / f"2026-11-26T0{number}.snakemake.log").write_text(f"Building DAG of jobs...\nSLURM run ID: {run}\n")
    return place


def cluster(folder: Folder, **more: Any) -> Cluster:
    records = read_records(folder.place)
    return ask_slurm({records.job} if records.job else set(), folder.root, **more)


def test_the_runs_of_a_folder(folder: Folder, path: Path) -> None:
    assert run_ids(folder.root) == (RUN, LATER_RUN)


def test_slurm_is_not_asked_where_nothing_was_submitted(tmp_path: Path, path: Path) -> None:
    assert ask_slurm([], tmp_path / "elsewhere").kind == "none" and not asked(path, "squeue")
    assert ask_slurm(["7"], tmp_path / "elsewhere").kind == "answers" and asked(path, "squeue")


def test_a_pending_job_is_found_by_its_comment_and_its_run(folder: Folder, path: Path) -> None:
    found = ask_slurm([], folder.root)
    assert found.kind == "answers"
    assert getattr(found.queued("rule_train_wildcards_site_chance_0", None), "state", None) == "PENDING"
    assert found.queued("rule_train_wildcards_site_less_1", None) is None, "it ended in an earlier run"
    stranger = Cluster(kind="answers", listed=found.listed, runs=("another",))
    assert stranger.queued("rule_train_wildcards_site_chance_0", None) is None, "the same names in another folder's run"
    assert Cluster(kind="answers", listed=found.listed).queued("rule_train_wildcards_site_chance_0", None) is None


def test_comments_that_two_trainings_share_tell_of_neither() -> None:
    def cell(dataset: str, variant: str) -> Cell:
        return Cell(dataset=dataset, variant=variant, seed=0, task="detection", kind="model", size="tiny")

    cells = [cell("a_b", "c"), cell("a", "b_c"), cell("a", "d")]
    assert by_comment(cells) == {"rule_train_wildcards_a_d_0": cells[2]}


@pytest.mark.parametrize(
    ("number", "state"),
    [("10", "stopped"), ("4", "unknown"), ("21", "failed"), ("22", "failed"), ("999", "unknown"), ("23", "unknown")],
)
def test_the_job_of_an_attempt(folder: Folder, path: Path, number: str, state: str) -> None:
    """10 hit its limit; 4 is another training's, so that its number was used again; sacct knows 21 to 23."""
    folder.attempt(job=number)
    folder.owner(job=number, age_s=900)
    assert folder.state(cluster(folder))[0] == state


def test_a_running_job_stalls_without_heartbeat(folder: Folder, path: Path) -> None:
    put(path, "squeue", says=f"41|RUNNING|gpu1|3:00:00|8:00:00|None|{RUN}|{CELL.comment}\n")
    folder.attempt(job="41")
    folder.owner(job="41", age_s=20)
    assert folder.state(cluster(folder))[0] == "running"
    folder.owner(job="41", age_s=900)
    assert folder.state(cluster(folder))[0] == "stalled"


def test_slurm_that_does_not_answer(folder: Folder, path: Path) -> None:
    put(path, "squeue", complains=NO_CONTROLLER, code=1)
    put(path, "sacct", complains=NO_ACCOUNTING, code=1)
    folder.attempt(job="41")
    folder.owner(job="41", age_s=20)
    assert cluster(folder).kind == "silent" and folder.state(cluster(folder))[0] == "running"
    folder.owner(job="41", age_s=900)
    name, why = folder.state(cluster(folder))
    assert name == "unknown" and "does not answer" in why
    put(path, "sacct", says="41|TIMEOUT|gpu1|3600|60|x\n")
    assert folder.state(cluster(folder))[0] == "stopped", "the accounting has a server of its own"


def test_slurm_that_hangs_costs_its_time_limit(folder: Folder, path: Path) -> None:
    put(path, "squeue", sleep_s=30)
    put(path, "sacct", sleep_s=30)
    begun = time.monotonic()
    assert ask_slurm(["41"], folder.root, timeout_s=0.3).kind == "silent"
    assert time.monotonic() - begun < 5


# Progress


def test_progress_of_a_history_that_is_written(folder: Folder) -> None:
    folder.attempt(start=iso(time.time() - 30), seconds=20.0)
    history = folder.place / "state/history.csv"
    history.parent.mkdir(parents=True)
    writer = HistoryCsv(history, total_steps=40)
    for step in (2, 4, 6):
        writer.log(step, {"train/loss": 1 / step, "lr": 0.1})
        writer.log(step, {"AP": step / 10})
    with open(history, "a") as file:
        file.write("8,3.0,0.")  # killed in the middle of a line
    reader = history_reader(CELL, folder.root)
    found = progress_of(CELL, read_records(folder.place), reader, running=True)
    assert (found.done, found.total, found.unit) == (6, 40, "step")
    assert found.loss == pytest.approx(1 / 6) and found.best == 0.6
    assert 29 < (found.elapsed_s or 0) < 35


def test_progress_of_an_engine_that_keeps_its_history_to_the_end(folder: Folder) -> None:
    folder.attempt(steps=20, epoch=2, val_AP=0.31)
    found = progress_of(CELL, read_records(folder.place), history_reader(CELL, folder.root), running=False)
    assert (found.done, found.total, found.best, found.elapsed_s) == (20, 40, 0.31, 1000.0)


def test_progress_of_a_result_is_the_weights_that_were_kept(folder: Folder) -> None:
    folder.attempt(cause="finished")
    folder.write("model.json", {"status": "finished", "iterations": 40, "best": {"AP": 0.5, "AP50": 0.9}, "seconds": 12.0})
    reader = history_reader(CELL, folder.root)
    found = progress_of(CELL, read_records(folder.place), reader, running=False, result=True)
    assert (found.done, found.best, found.elapsed_s) == (40, 0.5, 12.0)
    folder.attempt(2, cause="error", steps=3)
    found = progress_of(CELL, read_records(folder.place), reader, running=False)
    assert (found.done, found.best) == (3, None), "an older model tells nothing of a newer attempt"


def test_moments() -> None:
    assert moment("2026-11-26T05:00:00+00:00") == moment("2026-11-26T05:00:00") == moment("2026-11-26T07:00:00+02:00")
    assert moment("x") is None and moment(None) is None and moment(5) is None
