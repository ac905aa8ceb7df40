"""Drivers that are killed while their jobs live on: never two writers, one command goes on, a living run is left alone.

Reference: the files of an untouched run, and the processes that this host shows.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from lib.files import DataError, write_json
from lib.runs import running
from lib.tables import MANIFEST, read_table
from tests.conftest import PROJECT
from tests.faults.counts import Tally
from tests.workflow.conftest import TINY
from workflow_scripts import resume

KIND = "killed drivers"
TARGET = "results/videos/site/manifest.parquet"


class Folder:
    """A working directory with a study whose download takes some seconds."""

    def __init__(self, path: Path, videos: int = 40) -> None:
        self.path = path
        path.mkdir()
        source = TINY["datasets"]["site"]["source"] | {"seconds": [3.0, 4.0], "videos": {"train": videos, "test": 2}}
        study = {"study": "tiny", "datasets": {"site": {"source": source}}}
        (path / "study.yaml").write_text(yaml.safe_dump(study))
        self.words = ["-c2", "--snakefile", str(PROJECT / "Snakefile"), "--configfile", "study.yaml", "--", TARGET]
        self.started: list[subprocess.Popen[str]] = []

    def start(self, program: list[str] | None = None) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", *(program or ["snakemake", *self.words])]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        run = subprocess.Popen(words, cwd=self.path, env=self.environment(), start_new_session=True, **pipes)
        self.started.append(run)
        return run

    def environment(self) -> dict[str, str]:
        return running.driver_environment() | {"PYTHONPATH": str(PROJECT)}

    def end(self) -> None:
        """End what the test left."""
        for run in self.runs():
            if running.state(run) == "alive":
                os.kill(run.pid, signal.SIGKILL)
        for process in self.writing():
            process.kill()
        for run in self.started:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()

    def run(self, *program: str, timeout: float = 240) -> tuple[int, str]:
        run = self.start(list(program))
        text, _ = run.communicate(timeout=timeout)
        return run.returncode, text

    def runs(self) -> list[running.Run]:
        return running.runs(self.path / running.RUNS)

    def writing(self) -> list[psutil.Process]:
        return [process for run in self.runs() for process in running.writers(run)]

    def until_writing(self, seconds: float = 90) -> None:
        until(lambda: any(self.path.glob("results/videos/site/raw/videos/*.mp4")), seconds)

    def content(self) -> list[str]:
        return sorted(read_table(self.path / TARGET, MANIFEST)["sha256"])


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    made = Folder(tmp_path / "work")
    yield made
    made.end()


def until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "what the test waits for did not come"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    made = Folder(tmp_path_factory.mktemp("untouched") / "work")
    code, text = made.run("snakemake", *made.words)
    assert code == 0, text
    assert made.runs() == [], "a run that ends leaves no record"
    return made.content()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["end", "wait"])
def test_a_killed_driver_whose_jobs_live_on_is_resumed_without_two_writers(
    folder: Folder, untouched: list[str], tally: Tally, way: str
) -> None:
    driver = folder.start()
    folder.until_writing()
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    orphans = held(folder)
    assert orphans, "the job lives on"

    code, text = folder.run("snakemake", "--unlock", *folder.words)
    assert code == 0 and "make resume" in text, "a plain run is told what to do"
    code, text = folder.run("snakemake", *folder.words)
    is_refused = (
        code != 0 and "still write here" in text and "make resume" in text and all(one.is_running() for one in orphans)
    )
    tally.count(KIND, "refused" if is_refused else "wrong")
    assert is_refused, text
    for one in orphans:
        one.resume()

    resumed = folder.start(["workflow_scripts.resume", *(["--wait"] if way == "wait" else [])])
    most = 0
    while resumed.poll() is None:
        downloads = _downloads(folder.path)
        most = max(most, sum(parent not in downloads for parent in downloads.values()))
        time.sleep(0.1)
    text = resumed.communicate()[0]
    assert resumed.returncode == 0, text
    tally.right(KIND, most == 1 and folder.content() == untouched and folder.runs() == [], f"{most} writers\n{text}")
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in orphans)


def held(folder: Folder) -> list[psutil.Process]:
    """What writes, stopped: however slow this machine is, it does not finish before the test has asked all it asks."""
    for process in folder.writing():
        try:
            process.suspend()
        except psutil.NoSuchProcess:  # a worker that had just finished
            continue
    return folder.writing()


def _downloads(folder: Path) -> dict[int, int]:
    """Download programs (not their shells) that write in this folder, with the parent of each."""
    found = {}
    for process in psutil.process_iter():
        try:  # any of them may end between two questions
            words = process.cmdline()
            if words[1:3] == ["-m", "workflow_scripts.download"] and process.cwd() == str(folder):
                found[process.pid] = process.ppid()
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_a_killed_process_group_is_resumed_with_one_command(folder: Folder, untouched: list[str], tally: Tally) -> None:
    driver = folder.start()
    folder.until_writing()
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    (folder.path / "results/videos/site/.writing-abc.parquet").write_bytes(b"half")
    code, text = folder.run("workflow_scripts.resume")
    assert code == 0, text
    tally.right(KIND, folder.content() == untouched and not list(folder.path.rglob(".writing-*")), text)
    code, text = folder.run("workflow_scripts.resume")
    assert (code, "nothing to resume" in text) == (0, True)


@pytest.mark.slow
def test_a_living_run_is_left_alone(folder: Folder, untouched: list[str], tally: Tally) -> None:
    driver = folder.start()
    folder.until_writing()
    code, text = folder.run("workflow_scripts.resume")
    is_refused = code == 2 and f"a run is active (host {socket.gethostname()}, pid {driver.pid}" in text
    tally.count(KIND, "refused" if is_refused else "wrong")
    assert is_refused, text
    code, text = folder.run("snakemake", *folder.words)
    is_refused = (
        code != 0 and f"another run is active in this folder (host {socket.gethostname()}, pid {driver.pid}" in text
    )
    tally.count(KIND, "refused" if is_refused else "wrong")
    assert is_refused, text
    text = driver.communicate(timeout=240)[0]
    tally.right(KIND, driver.returncode == 0 and folder.content() == untouched, text)


@pytest.mark.slow
def test_read_only_results_are_refused_before_any_job_and_can_be_planned(folder: Folder, tally: Tally) -> None:
    results = folder.path / "results"
    results.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(results)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root and the right to mount")
    try:
        code, text = folder.run("snakemake", "-n", *folder.words)
        tally.right("read-only", code == 0 and "download" in text, text)
        code, text = folder.run("snakemake", *folder.words)
        refused = code != 0 and "cannot be written (Read-only file system)" in text and "Getting dataset" not in text
        tally.count("read-only", "refused" if refused else "lost")
        assert refused, text
    finally:
        subprocess.run(["umount", "-l", str(results)], check=True)


# Without a run


def recorded(tmp_path: Path, **changes: Any) -> running.Run:
    me = psutil.Process()
    facts = {"token": "t", "host": socket.gethostname(), "pid": me.pid, "started": me.create_time(), "began": "2026-01-01"}
    run = running.Run(**facts | {"words": ["-n"], "folder": str(tmp_path), "executor": "local"} | changes)
    write_json(tmp_path / running.RUNS / f"{run.token}.json", asdict(run))
    return run


def check(tmp_path: Path, **flags: bool) -> None:
    given = {"owner_is_gone": False, "jobs_are_gone": False} | flags
    resume.refuse_living(running.runs(tmp_path / running.RUNS), tmp_path, **given)


def dead() -> subprocess.Popen[bytes]:
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended


@pytest.mark.parametrize(
    ("changes", "says", "flag"),
    [
        ({}, "a run is active", None),
        ({"host": "node7", "pid": 12}, "belongs to another host (host node7, pid 12", "owner_is_gone"),
        ({"started": 1.0, "executor": "slurm"}, "used the executor 'slurm'", "jobs_are_gone"),
    ],
)
def test_an_owner_that_may_be_alive_is_not_overruled(
    tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch, changes: Any, says: str, flag: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no Slurm answers
    recorded(tmp_path, **changes)
    tally.refused(KIND, lambda: check(tmp_path), says)
    if flag:
        check(tmp_path, **{flag: True})
    else:
        tally.refused(KIND, lambda: check(tmp_path, owner_is_gone=True, jobs_are_gone=True), says)


def test_a_number_that_another_process_took_is_not_the_owner(tmp_path: Path, tally: Tally) -> None:
    tally.right(KIND, running.state(recorded(tmp_path, started=psutil.Process().create_time() - 60)) == "gone")
    tally.right(KIND, running.state(recorded(tmp_path, pid=dead().pid)) == "gone")


def test_a_zombie_is_gone(tmp_path: Path, tally: Tally) -> None:
    child = subprocess.Popen(["sleep", "0"])
    started = psutil.Process(child.pid).create_time()
    end = time.monotonic() + 5
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.02)
    tally.right(KIND, running.state(recorded(tmp_path, pid=child.pid, started=started)) == "gone")
    child.wait()


@pytest.mark.parametrize("command", [["sleep", "60"], ["bash", "-c", "trap '' TERM; sleep 60 & wait; sleep 60"]])
def test_orphans_are_asked_and_then_killed(tmp_path: Path, tally: Tally, command: list[str]) -> None:
    run = recorded(tmp_path, token="orphans", pid=dead().pid)
    child = subprocess.Popen(command, env=os.environ | {running.TOKEN: "orphans"})
    end = time.monotonic() + 5
    while not running.writers(run) and time.monotonic() < end:
        time.sleep(0.02)
    assert child.pid in {process.pid for process in running.writers(run)}
    resume.settle(run, wait=False, grace_s=0.5)
    tally.right(KIND, child.wait(timeout=5) != 0 and running.writers(run) == [])


def test_orphans_may_finish(tmp_path: Path, tally: Tally) -> None:
    run = recorded(tmp_path, token="patient", pid=dead().pid)
    child = subprocess.Popen(["sleep", "1"], env=os.environ | {running.TOKEN: "patient"})
    time.sleep(0.2)
    resume.settle(run, wait=True, grace_s=0)
    tally.right(KIND, child.wait(timeout=5) == 0)


def test_two_resumes_exclude_each_other(tmp_path: Path, tally: Tally) -> None:
    with running.alone(tmp_path, "resume"):
        tally.refused(KIND, lambda: running.alone(tmp_path, "resume").__enter__(), "another `resume` is at work here")
    with running.alone(tmp_path, "resume"):
        pass


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"token": 1}'])
def test_a_damaged_record_is_named(tmp_path: Path, tally: Tally, content: str) -> None:
    (tmp_path / running.RUNS).mkdir(parents=True)
    (tmp_path / running.RUNS / "x.json").write_text(content)
    tally.refused(KIND, lambda: running.runs(tmp_path / running.RUNS), "x.json")


def test_a_plain_run_is_refused_while_orphans_write(tmp_path: Path, monkeypatch, tally: Tally) -> None:
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path, token="left", pid=dead().pid)
    child = subprocess.Popen(["sleep", "60"], env=os.environ | {running.TOKEN: "left"})
    time.sleep(0.2)
    try:
        tally.refused(KIND, running.refuse_orphans, "still write here", "make resume")
    finally:
        child.kill()
        child.wait()
    running.refuse_orphans()
    assert running.runs() == [], "nothing is left of it"


def test_words_name_the_directory() -> None:
    find: Callable[[list[str]], Path | None] = running.directory_of
    assert find(["-c2", "--directory", "x"]) == find(["-d", "x"]) == find(["--directory=x", "--", "y"]) == Path("x")
    assert find(["-c2"]) is None
    with pytest.raises(DataError, match="must name it"):
        resume._place(["-c2"], Path("x"), "/")
