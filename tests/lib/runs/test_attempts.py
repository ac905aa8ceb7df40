"""Attempts kept and summed, causes that a retry cannot heal, and what Slurm says of an ended job."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.config.base import ConfigError
from lib.files import DataError, read_json, write_json
from lib.runs import attempts, slurm


def test_attempts_are_kept_and_summed_per_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), attempts.attempt(tmp_path, "same"):
        raise RuntimeError("node lost")
    with attempts.attempt(tmp_path, "same") as attempt:
        attempt.keep(steps=7)
    with attempts.attempt(tmp_path, "other settings"):
        pass
    first, second = (read_json(tmp_path / "attempts" / f"{n}.json") for n in (1, 2))
    assert (first["cause"], first["error"]) == ("error", "node lost")
    assert (second["cause"], second["steps"]) == ("finished", 7)
    write_json(tmp_path / "attempts" / "1.json", first | {"peak_memory_mb": 7e6, "peak_gpu_memory_mb": 300.0})
    cost = attempts.attempts_so_far(tmp_path, "same")
    assert (cost["attempts"], cost["peak_memory_mb"], cost["peak_gpu_memory_mb"]) == (2, 7e6, 300.0)
    assert second["peak_gpu_memory_mb"] == 0.0 < second["peak_memory_mb"]
    assert attempts.attempts_so_far(tmp_path, "other settings")["attempts"] == 1


def test_rounds_that_are_made_again_are_counted(tmp_path: Path) -> None:
    """Two rounds in four attempts: killed within the first, asked to leave after it and within the second; then done."""
    for facts, cause in (
        ({"round": 1}, attempts.KILLED),
        ({"round": 1, "epoch": 1, "lost_iterations": 0}, "preempted"),
        ({"round": 2, "lost_iterations": 4}, "preempted"),
        ({"round": 2, "epoch": 2}, "finished"),
    ):
        number = len(attempts.records(tmp_path)) + 1
        record = {"attempt": number, "fingerprint": "f", "cause": cause, "seconds": 1.0} | facts
        write_json(tmp_path / "attempts" / f"{number}.json", record)
    wanted = {"attempts": 4, "seconds": 4.0, "rounds_again": 2, "iterations_again": 4}
    assert attempts.attempts_so_far(tmp_path, "f").items() >= wanted.items()
    assert "rounds_again" not in attempts.attempts_so_far(tmp_path, "others")


@pytest.mark.parametrize(("error", "again"), [(ConfigError("x"), False), (DataError("x"), False), (OSError("x"), True)])
def test_a_retry_of_the_same_run_ends_at_once_after_a_cause_that_repeats(
    tmp_path: Path, error: Exception, again: bool
) -> None:
    with pytest.raises(type(error)), attempts.attempt(tmp_path, "f"):
        raise error
    if again:
        with attempts.attempt(tmp_path, "f", number_in_run=2):
            pass
    else:
        with pytest.raises(attempts.EarlierAttemptFinal), attempts.attempt(tmp_path, "f", number_in_run=2):
            pass
    with attempts.attempt(tmp_path, "f", number_in_run=1):
        pass  # a new run always tries again


def ended(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Slurm knows job 7, and how it ended."""
    monkeypatch.setattr(slurm, "installed", lambda: True)
    monkeypatch.setattr(slurm, "jobs", lambda ids, **_: {"7": slurm.Job(id="7", state=state)} if "7" in ids else {})


def test_what_a_person_cancelled_is_not_tried_again_in_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "attempts/1.json", {"attempt": 1, "cause": "preempted", "job": "7", "fingerprint": "f"})
    ended(monkeypatch, "CANCELLED")
    cancelled = pytest.raises(attempts.EarlierAttemptFinal, match="somebody cancelled job 7")
    with cancelled, attempts.attempt(tmp_path, "f", number_in_run=2):
        pass
    with attempts.attempt(tmp_path, "f", number_in_run=1):
        pass  # typed again
    write_json(tmp_path / "attempts/3.json", {"attempt": 3, "cause": "preempted", "job": "7", "fingerprint": "f"})
    ended(monkeypatch, "TIMEOUT")
    with attempts.attempt(tmp_path, "f", number_in_run=2):
        pass


@pytest.mark.parametrize(
    ("cause", "state", "factor"),
    [
        ("memory", "FAILED", 1.5),
        ("running", "FAILED", 1.5),  # killed without a word; without cgroups that is all that Slurm says
        ("running", "OUT_OF_MEMORY", 1.5),
        ("running", "NODE_FAIL", 1.0),
        ("preempted", "FAILED", 1.0),
        ("finished", "COMPLETED", 1.0),
    ],
)
def test_who_lacked_memory_gets_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str, state: str, factor: float
) -> None:
    ended(monkeypatch, state)
    for number, of_it in ((1, "memory"), (2, cause)):
        write_json(tmp_path / f"attempts/{number}.json", {"attempt": number, "cause": of_it, "job": "7"})
    assert attempts.memory_factor(tmp_path, 1) == 1.0, "a new run begins with what the size says"
    assert attempts.memory_factor(tmp_path, 2) == factor, "tries of earlier runs do not count"
    assert attempts.memory_factor(tmp_path, 3) == factor + 0.5
