"""Reference: the causes that a person gave real ends of logs (failure_texts.txt)."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.reporting.triage import ADVICE, TAIL_BYTES, classify, tail_of

TEXTS = Path(__file__).with_name("failure_texts.txt")
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB."
PREEMPTED = "slurmstepd-n1: error: *** JOB 4 ON n1 CANCELLED AT 2026-11-26T05:28:05 DUE TO PREEMPTION ***"


def labelled() -> list[tuple[str, str]]:
    """(cause, text) of every snippet."""
    parts = TEXTS.read_text(encoding="utf-8").split("\n=== ")[1:]
    named = [(head, text) for head, _, text in (part.partition("\n") for part in parts)]
    return [one for one in named if one[0] != "LATER"]


def test_there_are_enough_of_every_cause() -> None:
    causes = [cause for cause, _ in labelled()]
    assert len(causes) >= 80 and set(causes) == set(ADVICE) - {"killed"}
    assert all(causes.count(cause) >= 3 for cause in set(causes))


@pytest.mark.parametrize(("cause", "text"), labelled())
def test_the_cause_of_a_log(cause: str, text: str) -> None:
    verdict = classify(log=text)
    assert verdict.cause == cause, verdict.line
    assert verdict.line and "\n" not in verdict.line and len(verdict.line) <= 200
    assert verdict.line.rstrip("…") in text or verdict.line == "its log is empty"


def test_colours_progress_bars_and_places_in_code_are_no_obstacle() -> None:
    text = "\x1b[31mslurmstepd: error: Detected 1 oom_kill event in StepId=9.0.\x1b[0m\nsrun: Terminated"
    assert classify(log=text).cause == "host memory"
    hangs = "error: nothing has finished for 61 s (running.stall_seconds = 60): the training hangs and is ended"
    text = f'step 10/400\rstep 20/400\r{hangs}\nThread 0x00007f12:\n  File "a.py", line 7 in CUDA out of memory'
    assert classify(log=text).line == hangs


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        # Slurm's own end of a job, whatever the program said while it was ended
        ({"told": "running", "slurm": "OUT_OF_MEMORY"}, "host memory"),
        ({"told": "killed", "slurm": "TIMEOUT"}, "time limit"),
        ({"told": "preempted", "slurm": "TIMEOUT", "error": "stopped at step 3 of 9: signal SIGTERM"}, "time limit"),
        ({"told": "preempted", "slurm": "PREEMPTED"}, "preempted"),
        ({"told": "killed", "slurm": "NODE_FAIL"}, "node"),
        ({"told": "running", "slurm": "CANCELLED"}, "cancelled"),
        ({"told": "running", "slurm": "CANCELLED", "log": PREEMPTED}, "preempted"),
        ({"told": "error", "slurm": "FAILED", "log": OOM}, "GPU memory"),
        # what a program said itself, made finer by its text
        ({"told": "config", "slurm": "TIMEOUT", "error": "training: unknown key 'x'"}, "config"),
        ({"told": "data", "error": "a.parquet: the disk is full: need 3 MB, have 0 bytes free."}, "disk"),
        ({"told": "data", "error": "https://x.org/a: ConnectError (5 tries)"}, "network"),
        ({"told": "data", "error": "a.zip serves a web page, not the file."}, "licence"),
        ({"told": "data", "error": "a.mp4: something odd"}, "data"),
        ({"told": "data", "error": "a.mp4: something odd", "log": OOM}, "data"),
        ({"told": "memory", "error": "CUDA out of memory. Tried to allocate 1 GiB"}, "GPU memory"),
        ({"told": "memory", "error": "a worker was killed, mostly for want of memory"}, "host memory"),
        ({"told": "preempted", "error": "stopped at step 9 of 10: the time budget is used up; x"}, "time limit"),
        ({"told": "cancelled"}, "cancelled"),
        ({"told": "cancelled", "log": "stopped: stopped at step 9 of 99: signal SIGTERM; the state is saved"}, "cancelled"),
        ({"told": "error", "error": "CUDA out of memory. Tried to allocate 1 GiB"}, "GPU memory"),
        ({"told": "error", "error": "list index out of range"}, "unknown"),
        # nothing at all
        ({"told": "running"}, "killed"),
        ({"told": "killed", "log": "step 10/400"}, "killed"),
        ({"told": "killed", "log": "bash: line 1: 22969 Killed                  python -m x"}, "host memory"),
        ({"slurm": "FAILED"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_records_slurm_and_logs_together(given: dict[str, str], cause: str) -> None:
    assert classify(**given).cause == cause


def test_only_the_end_of_a_huge_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "huge.log"
    with open(log, "wb") as file:
        file.write(f"{OOM}\n".encode())
        file.truncate(5 << 30)  # a hole: no room on the disk
        file.seek(0, 2)
        file.write(b"\nOSError: [Errno 28] No space left on device\n")
    text = tail_of(log)
    assert len(text) <= TAIL_BYTES and classify(log=text).cause == "disk"


def test_a_log_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    assert tail_of(tmp_path / "none.log") == "" == tail_of(tmp_path)
    (tmp_path / "odd.log").write_bytes(b"\xff\xfe\x00Killed\n\xe2\x80")
    assert "Killed" in tail_of(tmp_path / "odd.log")


def test_every_cause_says_what_to_do_and_whether_again() -> None:
    assert all(advice for _, advice in ADVICE.values())
    again = {cause for cause, (retry, _) in ADVICE.items() if retry}
    assert again == {"time limit", "node", "network", "stall", "cancelled", "preempted", "killed"}
