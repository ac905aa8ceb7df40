"""States of a training under damage, kills and full disks: an older state or a clear refusal, never a wrong state.

Reference: the values that were saved. Failing single writes of the same store are in test_disk.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lib.config.base import ConfigError, canonical
from lib.files import free_bytes, sha256_text
from lib.models.weights import load_weights
from lib.tensor_files import read_tensors
from lib.training.checkpoint import CheckpointStore, load_into
from lib.training.state_file import read_state
from tests.conftest import PROJECT
from tests.faults.counts import Tally

KIND = "states of a training"


def filled(folder: Path, steps: int = 3, fingerprint: str = "mine") -> Path:
    """A folder with the states of steps 1, 2, …; score m is the step's number."""
    with CheckpointStore(folder, fingerprint=fingerprint, keep_last=9) as store:
        for step in range(1, steps + 1):
            model = {"w": torch.full((50, 20), float(step)), "b": torch.zeros(4)}
            store.save({"model": model, "step": step}, step=step, scores={"m": step})
    return folder


def opened(folder: Path, fingerprint: str = "mine") -> CheckpointStore:
    return CheckpointStore(folder, fingerprint=fingerprint, keep_last=2, best={"m": "max", "recall": "max"})


def data(folder: Path, step: int) -> Path:
    return next(folder.glob(f"*-step={step}-*.safetensors"))


def record(folder: Path, step: int) -> Path:
    return data(folder, step).with_suffix(".json")


def flipped(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


def altered(path: Path, **values: Any) -> None:
    """A record with other values and a sum that fits them: another program's, or a clever one's."""
    found = json.loads(path.read_text()) | values
    found.pop("check")
    path.write_text(json.dumps(found | {"check": sha256_text(canonical(found))}))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut": (
        lambda folder: os.truncate(data(folder, 3), 900),
        "step=3-{}.safetensors: the state of step 3 is cut: 900 bytes of",
    ),
    "empty": (lambda folder: os.truncate(data(folder, 3), 0), "is cut: 0 bytes"),
    "longer": (lambda folder: data(folder, 3).write_bytes(data(folder, 3).read_bytes() + b"x"), "is cut"),
    "flipped bit": (lambda folder: flipped(data(folder, 3), -5), "was altered after it was written (its sha256 differs)"),
    "flipped bit of its head": (lambda folder: flipped(data(folder, 3), 20), "was altered after it was written"),
    "gone": (lambda folder: data(folder, 3).unlink(), "the state of step 3 is missing, only its record is left"),
    "record cut": (
        lambda folder: os.truncate(record(folder, 3), 30),
        "step=3-{}.json: the record of this state is damaged",
    ),
    "record empty": (lambda folder: os.truncate(record(folder, 3), 0), "the record of this state is damaged"),
    "record is no mapping": (lambda folder: record(folder, 3).write_text("[1]"), "it states no format"),
    "record altered": (
        lambda folder: record(folder, 3).write_text(record(folder, 3).read_text().replace('"step": 3', '"step": 8')),
        "the record of this state was altered",
    ),
    "record without a size": (
        lambda folder: altered(record(folder, 3), scores=None),
        "the record of this state is damaged",
    ),
    "old format": (
        lambda folder: altered(record(folder, 3), format=0),
        "a state of format 0, this version reads 1. Hint: ",
    ),
    "record of another state": (
        lambda folder: record(folder, 3).write_bytes(record(folder, 2).read_bytes()),
        "was altered after it was written",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_newest_state_is_passed_over_loudly(name: str, tmp_path: Path, capfd: Any, tally: Tally) -> None:
    damage, says = DAMAGE[name]
    damage(filled(tmp_path))
    store = opened(tmp_path)
    state = store.load()
    told = capfd.readouterr().err
    right = state is not None and state["step"] == 2 and set(state["model"]["w"].flatten().tolist()) == {2.0}
    tally.right(KIND, right and "WARNING" in told, f"{state} {told}")
    file = f"{tmp_path}/000003-step=3-"
    assert file in told and all(part in told for part in says.split("{}")), told
    assert "WARNING" in told and "going on from an older state, of step 2: 000002-step=2-" in told
    with store:
        store.save({"step": 3}, step=3)
        store.wait()
        assert (store.load() or {})["step"] == 3
    assert capfd.readouterr().err == "", "told once"
    old_kept = name == "old format"
    assert record(tmp_path, 2).exists()
    assert any("000003-" in path.name for path in tmp_path.iterdir()) == old_kept, "the damaged one went with the new one"


@pytest.mark.parametrize("name", ["cut", "flipped bit", "gone", "record cut"])
def test_a_damaged_best_state_is_replaced_by_the_next_best(name: str, tmp_path: Path, capfd: Any, tally: Tally) -> None:
    DAMAGE[name][0](filled(tmp_path))
    store = opened(tmp_path)
    tally.right(KIND, store.load_best("m")["step"] == 2)
    if name != "record cut":  # there the score itself is lost; `load` tells of it
        assert "taking the next best state, of step 2, m 2" in capfd.readouterr().err
    assert store.best_step("m") == (2, 2.0)


def test_when_all_are_damaged_the_training_starts_afresh_and_says_so(tmp_path: Path, capfd: Any, tally: Tally) -> None:
    filled(tmp_path)
    for path in tmp_path.glob("*.safetensors"):
        os.truncate(path, 10)
    store = opened(tmp_path)
    tally.right(KIND, store.load() is None)
    told = capfd.readouterr().err
    assert told.count("is cut") == 3 and "no good state is left; the training starts afresh" in told
    tally.refused(KIND, lambda: store.load_best("m"), str(tmp_path), "there is no good state of this training")


def test_data_without_a_record_were_never_committed(tmp_path: Path, capfd: Any, tally: Tally) -> None:
    lost = record(filled(tmp_path), 3)
    lost.unlink()
    orphan = lost.with_suffix(".safetensors")
    tally.refused(
        KIND, lambda: load_into(Net(), orphan), f"{lost}: no such record, so the state was never committed", "step=2-"
    )
    (tmp_path / ".writing-abc.safetensors").write_bytes(b"half")
    (tmp_path / ".writing-def.json").write_bytes(b"{")
    store = opened(tmp_path)
    told = capfd.readouterr().err
    tally.right(KIND, (store.load() or {})["step"] == 2 and not orphan.exists())
    assert not list(tmp_path.glob(".writing-*"))
    assert told.count("removed, its writer was stopped before it was whole") == 3 and orphan.name in told


def test_the_folder_of_another_variant(tmp_path: Path, capfd: Any, tally: Tally) -> None:
    filled(tmp_path, fingerprint="theirs")
    store = opened(tmp_path)
    tally.right(KIND, store.load() is None)
    assert "ignoring 3 state(s) of other settings, up to step 3: their fingerprint is theirs" in capfd.readouterr().err
    tally.refused(KIND, lambda: store.load_best("m"), "no good state of fingerprint mine", "the folder of another variant?")
    assert len(list(tmp_path.iterdir())) == 6, "theirs still"


def test_scores_that_were_never_given(tmp_path: Path, tally: Tally) -> None:
    store = opened(filled(tmp_path))
    tally.refused(KIND, lambda: store.load_best("recall"), "no state here has a score 'recall'. Hint: Known: m.")
    with CheckpointStore(tmp_path, fingerprint="mine", best={"val/recal": "max"}) as other:
        other.save({}, step=4, scores={"val/recall": 0.5})
        tally.refused(KIND, lambda: other.load_best("val/recal"), "Hint: did you mean 'val/recall'?")
    with pytest.raises(ConfigError) as told:
        store.load_best("reacll")
    assert "'reacll' is no metric that the best state is kept by. Hint: did you mean 'recall'?" in str(told.value)


class Net(nn.Module):
    """What `filled` saves as its model, in other shapes if asked."""

    def __init__(self, rows: int = 50, *, more: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(rows, 20))
        if bias:
            self.b = nn.Parameter(torch.zeros(4))
        if more:
            self.extra = nn.Parameter(torch.zeros(2))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Net(49), "w is [50, 20] in the file and [49, 20] in the model"),
        (Net(more=True), "extra [2] of the model is missing in the file"),
        (Net(bias=False), "b [4] of the file is not in the model"),
    ],
)
def test_a_state_of_another_architecture_is_refused(tmp_path: Path, tally: Tally, model: nn.Module, says: str) -> None:
    path = data(filled(tmp_path), 3)
    tally.refused(KIND, lambda: load_into(model, path), str(path), "of another architecture", says)
    assert not any(bool(one.any()) for one in model.parameters())


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_state_is_refused_when_it_is_named(name: str, tmp_path: Path, tally: Tally) -> None:
    damage, says = DAMAGE[name]
    path, model = data(filled(tmp_path), 3), Net()
    damage(tmp_path)
    tally.refused(KIND, lambda: load_into(model, path), str(path.with_suffix("")), *says.split("{}")[1:])
    assert not model.w.any()


def test_what_is_no_state_is_refused_when_it_is_named(tmp_path: Path, tally: Tally) -> None:
    with CheckpointStore(tmp_path, fingerprint="mine") as store:
        store.save({"step": 1}, step=1)
    tally.refused(KIND, lambda: load_into(Net(), data(tmp_path, 1)), "holds no `model`")
    tally.refused(KIND, lambda: load_into(Net(), tmp_path), "is a folder, expected a state", "000001-step=1-")
    tally.refused(KIND, lambda: load_into(Net(), tmp_path / "none.safetensors"), "none.json: no such record")


def test_files_that_lie_are_refused(tmp_path: Path, tally: Tally) -> None:
    """Of the same kinds as test_gadgets.py tries on the library; here by our own readers, and without their memory."""
    body = bytes(16)
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    lies: list[tuple[Any, int | None]] = [
        ({"w": entry | {"data_offsets": [0, 1 << 40]}}, None),
        ({"w": entry | {"shape": [1 << 40]}}, None),
        ({"w": entry | {"data_offsets": [-4, 12]}}, None),
        ({"w": entry, "v": entry}, None),
        ({"w": entry | {"dtype": "F1"}}, None),
        ({"w": entry, "__metadata__": {"a": 1}}, None),
        ({"w": entry}, 1 << 60),
        ({"w": entry}, 3),
        ([], None),
    ]
    path = tmp_path / "m.safetensors"
    for head, length in lies:
        text = json.dumps(head).encode()
        path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + body)
        for read in (read_tensors, read_state, lambda place: load_weights(place, Net())):
            tally.refused("safetensors", lambda read=read: read(path), str(path))


def test_a_large_foreign_file_is_refused_before_it_is_read(tmp_path: Path, tally: Tally) -> None:
    """A file of 1 TB (with a hole) that takes no room: the model's shapes are compared with the head first."""
    path, size = tmp_path / "m.safetensors", 1 << 40
    head = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    try:
        os.truncate(path, 8 + len(head) + size)
    except OSError:
        pytest.skip("this file system holds no files of 1 TB with holes")
    tally.refused("safetensors", lambda: load_weights(path, Net()), f"w is [{size}] in the file and [50, 20] in the model")


# Disks


def big(step: int) -> dict[str, Any]:
    return {"model": {"w": torch.full((1_000_000,), float(step))}, "step": step}


@pytest.mark.parametrize("write_behind", [True, False])
def test_a_full_disk_leaves_the_old_state_and_fails_the_run(small_disk: Path, write_behind: bool, tally: Tally) -> None:
    folder = small_disk / f"state-{write_behind}"
    options: dict[str, Any] = {"fingerprint": "f", "keep_last": 1, "write_behind": write_behind}
    with CheckpointStore(folder, **options) as store:
        store.save(big(1), step=1)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(max(0, (free_bytes(small_disk) or 0) - 2_000_000)))
    try:
        store = CheckpointStore(folder, **options)
        if write_behind:
            store.save(big(2), step=2)
        said = (f"{folder}/000002-step=", "the disk is full: need 4.0 MB, have ", "The file was not changed", "Hint:")
        tally.refused("full disk", lambda: store.save(big(3), step=3), *said)
        assert len(list(folder.iterdir())) == 2, "nothing half-written is left"
        assert (store.load() or {})["step"] == 1
    finally:
        ballast.unlink()
    store.save(big(4), step=4)
    store.close()
    again = CheckpointStore(folder, **options)
    tally.right("full disk", (again.load() or {})["step"] == 4 and again.steps() == [4])


def test_a_failed_write_behind_fails_close_too(small_disk: Path, tally: Tally) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(max(0, (free_bytes(small_disk) or 0) - 1_000_000)))

    def run() -> None:
        with CheckpointStore(small_disk / "closing", fingerprint="f") as store:
            store.save(big(1), step=1)

    try:
        tally.refused("full disk", run, "closing/000001-step=1-", "the disk is full")
    finally:
        ballast.unlink()


@pytest.fixture
def fixed_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with one state of a training, read-only now."""
    place = tmp_path / "fixed"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root and the right to mount")
    try:
        filled(place / "state")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_read_only_folder_is_read_and_refuses_a_save(fixed_disk: Path, tally: Tally) -> None:
    store = opened(fixed_disk / "state")
    tally.right("read-only", (store.load() or {})["step"] == 3)
    store.save({}, step=4)
    tally.refused("read-only", store.close, "step=4-", "cannot be written (Read-only file system)")
    assert (store.load() or {})["step"] == 3
    tally.refused("read-only", lambda: opened(fixed_disk / "new/state"), "cannot be written (Read-only file system)")


# Kills


def killed(folder: Path, scratch: Path, kills: int = 20) -> dict[str, int]:
    """Counts of tests.faults.killed_saves, run in a process of its own."""
    words = [
        sys.executable,
        "-m",
        "tests.faults.killed_saves",
        "ours",
        str(folder),
        "--kills",
        str(kills),
        "--megabytes",
        "8",
    ]
    environment = os.environ | {"TMPDIR": str(scratch), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(words, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def count_kills(counts: dict[str, int], tally: Tally) -> None:
    bad = counts["unreadable"] + counts["lost"] + counts["strays"]
    tally.count("kill -9 while saving", "right", counts["kills"] - bad)
    tally.count("kill -9 while saving", "lost", bad)
    assert (counts["unreadable"], counts["lost"], counts["strays"]) == (0, 0, 0)
    assert counts["kills"] == 20 and counts["half-done"] >= 5, "kills hit savers at work"


@pytest.mark.slow
def test_kills_on_one_file_system(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "tmp").mkdir()
    count_kills(killed(tmp_path / "state", tmp_path / "tmp"), tally)


@pytest.mark.slow
def test_kills_across_two_file_systems(tmp_path: Path, small_disk: Path, tally: Tally) -> None:
    assert tmp_path.stat().st_dev != small_disk.stat().st_dev
    for path in small_disk.iterdir():
        assert path.is_dir(), "other tests left no files"
    count_kills(killed(tmp_path / "state", small_disk), tally)
