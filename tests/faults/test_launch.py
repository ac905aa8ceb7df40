"""Drivers that are launched: they outlive their terminal, are found, are stopped gently, and are alone in a folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lib.files import DataError
from lib.runs import launching, running
from tests.faults.test_driver import TARGET, Folder, dead, recorded, until

LAUNCH = "workflow_scripts.launch"


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    made = Folder(tmp_path / "work")
    yield made
    made.end()


@pytest.mark.slow
def test_a_launched_run_outlives_the_session_that_launched_it(folder: Folder) -> None:
    words = [sys.executable, "-m", LAUNCH, "--", *folder.words]
    script = f"cd {folder.path}; {' '.join(words)}; echo returned; sleep 300"
    environment = folder.environment()
    shell = subprocess.Popen(
        ["env", "--default-signal=HUP", "bash", "-c", script],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    lines = [shell.stdout.readline() for _ in range(3)]
    found = re.fullmatch(r"run (\w+) has begun \(host .*, pid (\d+), .*\)\n", lines[0])
    assert found and lines[1].startswith("log: ") and lines[2] == "returned\n", lines
    assert not (folder.path / TARGET).exists(), "it returned while the run was at work"
    os.killpg(shell.pid, signal.SIGHUP)
    shell.wait()
    (run,) = folder.runs()
    assert (run.token, str(run.pid), running.state(run)) == (*found.groups(), "alive")
    os.kill(run.pid, signal.SIGHUP)
    log = Path(lines[1].split()[1])
    assert Path(run.log) == log
    until(lambda: folder.runs() == [], 240)
    assert (folder.path / TARGET).exists() and "all that was asked for is made" in log.read_text()


@pytest.mark.slow
def test_a_living_run_is_listed_guarded_and_stopped(folder: Folder) -> None:
    code, text = folder.run(LAUNCH, "--", *folder.words)
    assert code == 0, text
    folder.until_writing()
    (run,) = folder.runs()
    for program in (LAUNCH, "--", *folder.words), (LAUNCH, "--", "-n"):
        code, text = folder.run(*program)
        assert code == 2 and f"alive, a run (host {run.host}, pid {run.pid}" in text and "nothing was started" in text
    code, text = folder.run(LAUNCH, "--list")
    assert code == 0 and f"{run.token}  alive" in text and run.log in text
    begun = time.monotonic()
    code, text = folder.run(LAUNCH, "--stop")
    assert code == 0 and f"run {run.token} has ended\n" in text, text + Path(run.log).read_text()
    assert time.monotonic() - begun < 60
    assert folder.runs() == [] and running.writers(run) == [] and not (folder.path / TARGET).exists()
    assert not list((folder.path / ".snakemake/locks").glob("*.lock"))
    code, text = folder.run(LAUNCH, "--", *folder.words)
    assert code == 0, text
    until(lambda: folder.runs() == [], 240)
    assert (folder.path / TARGET).exists()


@pytest.mark.slow
def test_a_run_that_cannot_begin_is_told_with_the_end_of_its_log(folder: Folder) -> None:
    code, text = folder.run(LAUNCH, "--", *folder.words[:-1], "results/nothing.txt")
    assert code == 1 and "results/nothing.txt" in text and "did not begin" in text, text
    code, text = folder.run("snakemake", *folder.words)
    code, text = folder.run(LAUNCH, "--", *folder.words)
    assert code == 0 and "Nothing to be done" in text and "ended at once" in text, text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "alive, a run .*--stop t"),
        ({"host": "node7"}, "elsewhere, a run .*--owner-is-gone"),
        ({"pid": None}, "gone, a run .*make resume"),
    ],
)
def test_a_folder_that_is_taken_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    recorded(tmp_path, **(changes if "pid" not in changes else {"pid": dead().pid}))
    with pytest.raises(DataError, match=says):
        launching.refuse_taken(tmp_path)


def test_two_launches_exclude_each_other(tmp_path: Path) -> None:
    with running.alone(tmp_path, "launch"), pytest.raises(DataError, match="another `launch` is at work"):
        running.alone(tmp_path, "launch").__enter__()


def test_a_driver_of_another_host_is_not_reached(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ssh node7 kill -INT 12"):
        launching.ask_to_stop(recorded(tmp_path, host="node7", pid=12))
