"""One trainer per folder: claims, takeovers, kills at any place, clocks, Slurm's word.

References: a `flock`, which the kernel drops at a process' end, tells whether there ever were two owners at the same time.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from lib.runs import ownership, running, slurm
from lib.runs.ownership import BUSY, Busy, Owner, claim, current, living, me, own
from tests.conftest import PROJECT


def lies(folder: Path, owner: Owner, number: int = 1, *, age_s: float = 0.0) -> None:
    """A claim as another process left it, its last beat so long ago."""
    path = folder / ownership.PLACE / f"{number}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(owner)))
    os.utime(path, (time.time() - age_s,) * 2)


def elsewhere(**changes: Any) -> Owner:
    return replace(me("f"), host="node7", **changes)


def slurm_says(monkeypatch: pytest.MonkeyPatch, states: dict[str, str] | None) -> None:
    monkeypatch.setattr(slurm, "installed", lambda: True)
    known = None if states is None else {number: slurm.Job(id=number, state=state) for number, state in states.items()}
    monkeypatch.setattr(slurm, "jobs", lambda ids: known)


def test_a_claim_says_who_trains_and_goes_with_the_training(tmp_path: Path) -> None:
    with own(tmp_path, "f" * 64) as held:
        held.keep(attempt=3)
        found = json.loads((tmp_path / "owner.json").read_text())
        assert (found["pid"], found["attempt"], found["fingerprint"]) == (os.getpid(), 3, "f" * 64)
        assert {"host", "started", "job", "token", "beat", "since"} <= found.keys()
        says = f"is being trained already .*pid {os.getpid()}.*nothing was touched.*`kill {os.getpid()}`"
        with pytest.raises(Busy, match=says):
            claim(tmp_path, me())
    assert not (tmp_path / "owner.json").is_symlink()
    with own(tmp_path, "f"):
        assert current(tmp_path).number == 2
    assert sorted(path.name for path in (tmp_path / ownership.PLACE).iterdir()) == ["2.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_claim_is_released_when_the_training_fails(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), own(tmp_path, "f"):
        raise error
    with own(tmp_path, "f"):
        pass


def test_a_killed_owner_of_this_host_is_gone_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    lies(tmp_path, replace(me(), pid=ended.pid))
    with own(tmp_path, "f"):
        assert f"former trainer is gone (host {me().host}, pid {ended.pid}" in capsys.readouterr().err
    lies(tmp_path, replace(me(), started=me().started - 60), number=7)
    with own(tmp_path, "f"):
        assert current(tmp_path).number == 8, "a reused number is another process"


@pytest.mark.parametrize(
    ("owner", "age_s", "states", "alive"),
    [
        ({}, 0, {}, True),
        ({}, 200, {}, False),
        ({"job": "5"}, 200, {"5": "RUNNING"}, True),
        ({"job": "5"}, 200, {"5": "SUSPENDED"}, True),
        ({"job": "5"}, 0, {"5": "CANCELLED"}, False),
        ({"job": "5"}, 0, {"5": "NODE_FAIL"}, False),
        ({"job": "5"}, 0, {}, True),  # another user's job is not known, either
        ({"job": "5"}, 200, {}, False),
        ({"job": "5"}, 0, None, True),
        ({"job": "5"}, 200, None, False),
        ({"job": "5", "released": True}, 0, {"5": "RUNNING"}, False),
    ],
)
def test_an_owner_on_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, age_s: float, states: Any, alive: bool
) -> None:
    slurm_says(monkeypatch, states)
    lies(tmp_path, elsewhere(**owner), age_s=age_s)
    assert bool(living(current(tmp_path), me())) == alive
    if alive:
        with pytest.raises(Busy, match=r"host node7.*scancel 5" if owner else r"host node7.*`kill \d+` on node7"):
            claim(tmp_path, me())
    else:
        claim(tmp_path, me()).release()


def test_a_requeued_job_is_its_own_successor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm_says(monkeypatch, {"5": "RUNNING"})
    lies(tmp_path, elsewhere(job="5", restart=0))
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    assert not living(current(tmp_path), me()), "a job of one node is nowhere else"
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    monkeypatch.setattr(slurm, "restarts", lambda job: 0)
    assert living(current(tmp_path), me()), "another node of this same job"
    monkeypatch.setattr(slurm, "restarts", lambda job: 1)
    assert not living(current(tmp_path), me())
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert living(current(tmp_path), me())


def test_the_same_number_in_another_container_is_another_process(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    lies(tmp_path, replace(me(), pid=ended.pid, space="pid:[1]"))
    assert living(current(tmp_path), me()), "its process cannot be seen from here; its beat is fresh"
    lies(tmp_path, replace(me(), pid=ended.pid, space="pid:[1]"), age_s=200)
    assert not living(current(tmp_path), me())


def test_the_clock_is_that_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lies(tmp_path, elsewhere())
    monkeypatch.setattr(time, "time", lambda: 9e9)
    assert living(current(tmp_path), me())


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '{"id": 1}'])
def test_a_damaged_claim_blocks_for_two_minutes_only(tmp_path: Path, content: str) -> None:
    lies(tmp_path, me())
    path = tmp_path / ownership.PLACE / "1.json"
    path.write_text(content)
    with pytest.raises(Busy, match=r"1\.json: a claim that is being written, or damaged"):
        claim(tmp_path, me())
    os.utime(path, (time.time() - 200,) * 2)
    assert claim(tmp_path, me()).number == 2


def test_where_there_are_no_hard_links_a_new_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*paths: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with own(tmp_path, "f"), pytest.raises(Busy):
        claim(tmp_path, me())
    with own(tmp_path, "f"):
        assert current(tmp_path).owner.id


def test_beats_are_told_and_outlast_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    held = claim(tmp_path, replace(me(), beat="before"))
    path = tmp_path / ownership.PLACE / "1.json"
    held.watch(every_s=0.05)
    until(lambda: json.loads(path.read_text())["beat"] != "before")
    monkeypatch.setattr(ownership, "written", lambda *given: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    os.utime(path, (1, 1))
    until(lambda: path.stat().st_mtime > 1)
    assert "No space left" in capsys.readouterr().err
    monkeypatch.undo()
    held.release()


def until(true: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not come"
        time.sleep(0.02)


PROGRAM = """
import subprocess, sys, time
from pathlib import Path
from lib.runs import ownership
held = ownership.claim(Path(sys.argv[1]), ownership.me())
held.watch(every_s=0.1)
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_who_was_taken_over_ends_with_all_that_it_started(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT)
    child = int(process.stdout.readline())
    lies(tmp_path, elsewhere(), number=2)
    assert process.wait(timeout=20) == BUSY
    assert "was taken over (host node7" in process.stderr.read()
    until(lambda: not running.lives(child, 0.0) and not Path(f"/proc/{child}/cmdline").exists())
    assert current(tmp_path).owner.host == "node7"


CLAIMANT = """
import fcntl, os, random, sys, time
from pathlib import Path
from lib.runs import ownership
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
sys.stdin.readline()
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    try:
        held = ownership.claim(folder, ownership.me())
    except ownership.Busy:
        time.sleep(chance.random() * 0.01)
        continue
    with open(folder / "witness", "a") as witness:
        try:
            fcntl.flock(witness, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("two owners", flush=True)
            sys.exit(1)
        time.sleep(chance.random() * 0.005)
    print("won", flush=True)
    held.release()
"""


def claimants(folder: Path, count: int, seconds: float) -> list[subprocess.Popen[str]]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": PROJECT}
    return [
        subprocess.Popen([sys.executable, "-c", CLAIMANT, str(folder), str(seed), str(seconds)], **pipes)
        for seed in range(count)
    ]


def go(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(3))
def test_of_fifty_that_see_a_dead_owner_one_wins(tmp_path: Path, round_: int) -> None:
    """Every process claims once, as if for good: it neither releases nor ends before all have tried."""
    script = CLAIMANT.replace("held.release()", "sys.stdin.readline(); break").replace("continue", "break")
    ended = subprocess.Popen(["true"])
    ended.wait()
    lies(tmp_path, replace(me(), pid=ended.pid), number=4)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": PROJECT}
    words = [sys.executable, "-c", script, str(tmp_path)]
    processes = [subprocess.Popen([*words, str(seed), "30"], **pipes) for seed in range(50)]
    go(processes)
    losers_end = time.monotonic() + 60
    while sum(one.poll() is not None for one in processes) < 49 and time.monotonic() < losers_end:
        time.sleep(0.05)
    told = [one.communicate("done\n")[0] for one in processes]
    assert sorted(told) == [""] * 49 + ["won\n"]
    assert current(tmp_path).number == 5


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(3))
def test_kills_at_any_place_leave_no_second_owner_and_no_stuck_lock(tmp_path: Path, round_: int) -> None:
    chance = random.Random(round_)
    processes = claimants(tmp_path, 50, seconds=6.0)
    go(processes)
    time.sleep(1.0)
    victims = chance.sample(processes, 40)
    for victim in victims:
        time.sleep(chance.random() * 0.2)
        victim.send_signal(signal.SIGKILL)
    told = [one.communicate()[0].split("\n") for one in processes]
    assert not any("two owners" in lines for lines in told)
    assert sum(lines.count("won") for lines in told) > 20
    with own(tmp_path, "f"):  # whatever the dead left, the next one gets it
        pass


KILLED = """
import os, signal, sys
from pathlib import Path
from lib.runs import ownership
left = int(sys.argv[2])

def count(event, given):
    global left
    if event in ("open", "os.link", "os.rename", "os.remove", "os.symlink", "os.listdir", "os.mkdir"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

owner = ownership.me()
sys.addaudithook(count)
held = ownership.claim(Path(sys.argv[1]), owner)
held.beat()
held.release()
"""


@pytest.mark.slow
def test_a_kill_before_any_file_operation_leaves_a_lock_that_the_next_one_gets(tmp_path: Path) -> None:
    """Every operation of a claim after a dead owner, a beat and a release in turn."""
    killed = 0
    for place in range(1, 200):
        folder = tmp_path / str(place)
        lies(folder, replace(me(), started=1.0))
        done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(place)], cwd=PROJECT, check=False)
        with own(folder, "f") as held:
            assert held.is_ours() and json.loads((folder / "owner.json").read_text())["id"] == held.owner.id
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        killed += 1
    assert killed > 20 and done.returncode == 0
