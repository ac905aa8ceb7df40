"""Reference: folders written here; what changes while it is looked at."""

from __future__ import annotations

import json
import math
import socket
from pathlib import Path
from typing import Any

import pytest

from lib.config.base import ConfigError
from lib.status import overview as module
from lib.status.cells import Cell
from lib.status.looking import Cluster, Records, read_records
from lib.status.overview import Looker, Row, best_per_size, chosen
from lib.status.progress import Progress
from lib.status.states import State
from lib.status.table import far, score


def cell(variant: str = "full", **more: Any) -> Cell:
    facts = {"dataset": "site", "seed": 0, "task": "detection", "kind": "model", "size": "tiny", "metric": "AP"}
    return Cell(variant=variant, **facts | more)


def attempt(root: Path, cause: str, **facts: Any) -> None:
    path = root / cell().folder / "attempts/1.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"attempt": 1, "cause": cause, "host": socket.gethostname(), "pid": 2**22 - 1, "fingerprint": "a"}
    path.write_text(json.dumps(told | {"start": "2026-11-26T05:00:00+00:00"} | facts))


def model(root: Path, **facts: Any) -> None:
    (root / cell().folder / "model.json").write_text(json.dumps({"status": "finished", "fingerprint": "a"} | facts))


def state(root: Path, **more: Any) -> str:
    return Looker("s", [cell(inputs=("results/subsets/x",))], root, **more).look().rows[0].state.name


def nobody(*_: Any, **__: Any) -> Cluster:
    return Cluster()


def test_one_that_ends_while_slurm_is_asked_is_not_called_odd(tmp_path: Path) -> None:
    attempt(tmp_path, "running", job="7")

    def ask(numbers: set[str], folder: Path, **_: Any) -> Cluster:
        assert numbers == {"7"}
        attempt(tmp_path, "finished", job="7")
        model(tmp_path)
        return Cluster(kind="answers")

    assert state(tmp_path, ask=ask) == "completed"


def test_one_that_ends_while_its_process_is_looked_for_was_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(tmp_path, "running")
    assert state(tmp_path, ask=nobody) == "failed", "nobody has that number"
    reads = 0

    def read(folder: Path) -> Records:
        nonlocal reads
        reads += 1
        found = read_records(folder)
        if reads == 2:  # the first was for the numbers of jobs
            attempt(tmp_path, "finished")
            model(tmp_path)
        return found

    monkeypatch.setattr(module, "read_records", read)
    assert state(tmp_path, ask=nobody) == "completed"


def test_json_holds_no_number_that_is_none(tmp_path: Path) -> None:
    attempt(tmp_path, "finished")
    model(tmp_path, best={"AP": math.nan}, iterations=3)
    told = Looker("s", [cell()], tmp_path, ask=nobody).look().plain()
    json.dumps(told, allow_nan=False)
    assert told["cells"][0]["best"] is None and told["drivers"] == []


def test_damaged_records_of_runs_are_told(tmp_path: Path) -> None:
    (tmp_path / "results/.runs").mkdir(parents=True)
    (tmp_path / "results/.runs/a.json").write_text("{")
    (line,) = Looker("s", [cell()], tmp_path, ask=nobody).look().drivers
    assert "cannot be read" in line


def row(size: str, best: float | None, name: str = "completed", **more: Any) -> Row:
    return Row(cell=cell(size=size, **more), state=State(name), progress=Progress(best=best), records=Records())


def test_the_best_of_each_size_by_its_own_metric() -> None:
    rows = [row("tiny", 0.2), row("tiny", 0.4), row("small", 0.1), row("tiny", 0.9, "running"), row("tiny", None)]
    rows += [row("tiny", 3.0, metric="val/loss", mode="min"), row("tiny", 2.0, metric="val/loss", mode="min")]
    rows += [row("large", math.nan), row("large", 0.5, "diverged"), row("large", 0.5, metric=None)]
    found = [(one.cell.size, one.cell.metric, one.progress.best, number) for one, number in best_per_size(rows)]
    assert found == [("tiny", "AP", 0.4, 2), ("small", "AP", 0.1, 1), ("tiny", "val/loss", 2.0, 2)]


def test_filters() -> None:
    rows = [row("tiny", 0.2), row("small", 0.1, "failed")]
    cells = [one.cell for one in rows]
    assert [one.cell.size for one in rows if chosen(["failed"], [], [], cells)(one)] == ["small"]
    assert [one.cell.size for one in rows if chosen([], ["tiny", "small"], ["detection"], cells)(one)] == ["tiny", "small"]
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        chosen([], ["smal"], [], cells)


def test_words_for_a_table() -> None:
    assert far(Progress(done=120, total=400)) == "step 120/400 (30%)" and far(Progress()) == ""
    assert far(Progress(done=3, total=3, unit="epoch")) == "epoch 3"
    assert score(row("tiny", 0.51234, metric="val/R@1")) == "R@1 0.5123" and score(row("tiny", None)) == ""
