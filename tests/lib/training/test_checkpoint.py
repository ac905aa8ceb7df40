"""The states of a training in their folder: which are kept, which is loaded. Reference: the values given to `save`.

Damage, kills and full disks are in tests/faults/test_checkpoints.py.
"""

from __future__ import annotations

import json
import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lib.config.base import ConfigError
from lib.files import sha256_file
from lib.training.checkpoint import CheckpointStore, load_into


def state(step: int) -> dict[str, Any]:
    return {"model": {"w": torch.full((3, 2), float(step))}, "step": step, "rng": torch.get_rng_state()}


def store(folder: Path, fingerprint: str = "f", **options: Any) -> CheckpointStore:
    return CheckpointStore(folder, fingerprint=fingerprint, **options)


def filled(folder: Path, scores: list[float | None], **options: Any) -> CheckpointStore:
    """States of steps 10, 20, … with these scores `m`."""
    opened = store(folder, **options)
    for number, score in enumerate(scores, start=1):
        opened.save(state(10 * number), step=10 * number, scores=None if score is None else {"m": score})
    opened.wait()
    return opened


def pairs(folder: Path) -> list[int]:
    """Steps of the files, each of which must have its record and nothing else be there."""
    names = sorted(path.name for path in folder.iterdir())
    data = [name for name in names if name.endswith(".safetensors")]
    assert sorted([*data, *(name.replace(".safetensors", ".json") for name in data)]) == names
    return [int(name.split("step=")[1].split("-")[0]) for name in data]


@pytest.mark.parametrize("write_behind", [True, False])
def test_the_newest_state_is_loaded_by_the_next_process(tmp_path: Path, write_behind: bool, capfd: Any) -> None:
    with store(tmp_path / "new/state", write_behind=write_behind) as first:
        assert first.load() is None and first.steps() == []
        first.save(state(1), step=1)
        first.save(state(2), step=2)
    again = store(tmp_path / "new/state")
    found = again.load()
    assert found is not None and found["step"] == 2 and found["model"]["w"].tolist() == [[2, 2]] * 3
    assert torch.equal(found["rng"], torch.get_rng_state()) and again.steps() == [1, 2]
    assert capfd.readouterr().err == "", "nothing to be told"


def test_a_store_loads_what_it_is_just_writing(tmp_path: Path) -> None:
    with store(tmp_path) as opened:
        opened.save({"w": torch.ones(3_000_000), "step": 1}, step=1)
        found = opened.load()
        assert found is not None and found["step"] == 1 and opened.steps() == [1]


@pytest.mark.parametrize("write_behind", [True, False])
def test_a_state_is_the_one_of_the_call(tmp_path: Path, write_behind: bool) -> None:
    model, rows = {"w": torch.zeros(2_000_000)}, [1, 2]
    with store(tmp_path, write_behind=write_behind) as opened:
        opened.save({"model": model, "rows": rows}, step=1)
        for _ in range(50):
            model["w"] += 1
        rows.append(3)
        model["new"] = torch.ones(1)
        found = opened.load()
    assert found is not None and found["rows"] == [1, 2] and list(found["model"]) == ["w"]
    assert not found["model"]["w"].any()


def test_the_last_k_are_kept(tmp_path: Path) -> None:
    with filled(tmp_path, [None] * 5, keep_last=3) as opened:
        assert opened.steps() == [30, 40, 50] == pairs(tmp_path)


@pytest.mark.parametrize(
    ("way", "scores", "best"),
    [
        ("max", [1.0, 5.0, 2.0, 3.0], 20),
        ("min", [3.0, 5.0, 2.0, 9.0, 9.0], 30),
        ("max", [2.0, 2.0, 2.0, 1.0], 10),  # ties keep the older
        ("min", [0.0, -0.0, 0.0, 1.0], 10),
        ("max", [math.nan, 1.0, math.nan, 0.0], 20),  # NaN is never best
        ("min", [math.nan, math.inf, 7.0, 8.0], 30),
        ("max", [None, 1.0, None, None], 20),  # a state without a score
    ],
)
def test_the_best_is_kept_beside_the_last(tmp_path: Path, way: Any, scores: list[float | None], best: int) -> None:
    last = 10 * len(scores)
    with filled(tmp_path, scores, keep_last=1, best={"m": way}) as opened:
        assert opened.steps() == sorted({best, last}) == pairs(tmp_path)
        assert opened.load_best("m")["step"] == best
        assert opened.best_step("m") == (best, scores[best // 10 - 1])
    again = store(tmp_path, keep_last=1, best={"m": way})
    assert again.load_best("m")["step"] == best and (again.load() or {})["step"] == last


def test_the_best_by_several_metrics_is_a_running_choice(tmp_path: Path) -> None:
    """Reference: the best of all that were ever saved, chosen anew after each save, across restarts."""
    draw = random.Random(0)
    rows: list[dict[str, float]] = []
    best = {"loss": "min", "recall": "max"}
    for step in range(1, 31):
        rows.append({"loss": draw.choice([1, 2, 3, math.nan]), "recall": draw.choice([0.1, 0.2, math.nan]), "other": 5})
        with store(tmp_path, keep_last=2, best=best) as opened:
            opened.save(state(step), step=step, scores=rows[-1])
            opened.wait()
        expected = {step, max(step - 1, 1)}
        for metric, sign in (("loss", -1), ("recall", 1)):
            known = [number for number, row in enumerate(rows) if not math.isnan(row[metric])]
            if known:
                number = max(known, key=lambda one: (sign * rows[one][metric], -one))
                expected.add(number + 1)
                assert store(tmp_path, best=best).load_best(metric)["step"] == number + 1
        assert set(pairs(tmp_path)) == expected


def test_the_old_go_only_after_the_new_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, [None], keep_last=1).close()
    removed: list[list[int]] = []
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        if path.parent == tmp_path and path.suffix == ".json" and not path.name.startswith("."):
            removed.append([json.loads(one.read_text())["step"] for one in sorted(tmp_path.glob("[0-9]*.json"))])
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    with store(tmp_path, keep_last=1) as opened:
        opened.save(state(20), step=20)
    assert removed == [[10, 20]] and pairs(tmp_path) == [20]


def test_a_step_can_be_saved_twice_and_time_may_go_back(tmp_path: Path) -> None:
    """A training that was rolled back goes on from what it saved last, not from the highest step."""
    with store(tmp_path, keep_last=2) as opened:
        for step in (100, 200, 100, 150):
            opened.save(state(step), step=step)
        opened.wait()
        assert (opened.load() or {})["step"] == 150 and opened.steps() == [100, 150]
        opened.save(state(150) | {"again": True}, step=150)
        assert (opened.load() or {})["again"] and opened.steps() == [150]


def test_the_record_says_what_the_state_is(tmp_path: Path) -> None:
    filled(tmp_path, [0.5]).close()
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    data = path.with_suffix(".safetensors")
    assert record["sha256"] == sha256_file(data) and record["size"] == data.stat().st_size
    assert (record["format"], record["step"], record["fingerprint"], record["scores"]) == (1, 10, "f", {"m": 0.5})
    assert record["architecture"] == {"w": [3, 2]}


def test_states_of_two_trainings_live_in_one_folder(tmp_path: Path, capfd: Any) -> None:
    filled(tmp_path, [None, None], fingerprint="one").close()
    other = store(tmp_path, "two")
    assert other.load() is None and other.steps() == []
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert "ignoring 2 state(s) of other settings" in told and "is one, this training's two" in told
    with other:
        other.save(state(7), step=7)
    assert (store(tmp_path, "one").load() or {})["step"] == 20
    assert (store(tmp_path, "two").load() or {})["step"] == 7


def test_steps_and_scores_of_numpy_and_torch(tmp_path: Path) -> None:
    with store(tmp_path, best={"m": "min"}) as opened:
        opened.save(state(5), step=np.int64(5), scores={"m": torch.tensor(0.25), "n": np.float32(0.5)})
        opened.wait()
        assert opened.best_step("m") == (5, 0.25) and opened.steps() == [5]


def test_others_may_read_meanwhile(tmp_path: Path) -> None:
    with filled(tmp_path, [None]) as opened:
        (tmp_path / ".writing-abc.safetensors").write_text("of a live writer")
        reader = store(tmp_path, readonly=True)
        assert (reader.load() or {})["step"] == 10
        with pytest.raises(ConfigError, match="opened to read only"):
            reader.save(state(1), step=1)
        assert (tmp_path / ".writing-abc.safetensors").exists()
        assert opened.steps() == [10]
    assert store(tmp_path / "none", readonly=True).load() is None and not (tmp_path / "none").exists()


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes.json", "model.safetensors", "readme.txt", "1-step=3-abc.json"):
        (tmp_path / name).write_text("{}")
    os.mkdir(tmp_path / ".writing-folder")
    filled(tmp_path, [None] * 3, keep_last=1).close()
    assert {"notes.json", "model.safetensors", "readme.txt", "1-step=3-abc.json"} < set(os.listdir(tmp_path))


def test_memory_of_the_copies_is_used_again(tmp_path: Path) -> None:
    with store(tmp_path) as opened:
        places = []
        for step in range(3):
            opened.save({"w": torch.full((1000,), float(step))}, step=step)
            assert opened._copies is not None
            places.append({name: one.data_ptr() for name, one in opened._copies._kept.items()})
        assert places[0] == places[1] == places[2]
    assert opened._copies._kept == {}


def test_load_into(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    wrapped = {f"_orig_mod.{name}": tensor for name, tensor in model.state_dict().items()}
    with store(tmp_path) as opened:
        opened.save({"model": wrapped, "step": 5}, step=5)
    (record,) = tmp_path.glob("*.json")
    for path in (record, record.with_suffix(".safetensors")):
        other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        assert load_into(other, path)["step"] == 5
        assert all(torch.equal(one, other.state_dict()[name]) for name, one in model.state_dict().items())


def test_load_into_hands_on_what_modules_keep_beside_tensors(tmp_path: Path) -> None:
    from tests.lib.models.test_weights import Extra

    with store(tmp_path) as opened:
        opened.save({"model": Extra(2, 2).state_dict()}, step=5)
    other = Extra(2, 2)
    load_into(other, next(tmp_path.glob("*.json")))
    assert other.scale == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep_last": 0}, "keep_last: 0 must be at least 1"),
        ({"best": {"loss": "mim"}}, "best.loss: 'mim' must be 'min' or 'max'. Hint: did you mean 'min'?"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as told:
        store(tmp_path, **options)
    assert says in str(told.value)


def test_what_cannot_be_stored_fails_at_the_call(tmp_path: Path) -> None:
    with filled(tmp_path, [None]) as opened:
        with pytest.raises(TypeError, match=r"state\['loader'\]: a PosixPath cannot"):
            opened.save({"loader": Path("x")}, step=20)
        assert opened.steps() == [10]
