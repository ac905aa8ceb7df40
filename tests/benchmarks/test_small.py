"""Every benchmark program at its smallest size: it runs, and what both sides compute agrees. Never how long it takes."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml

from tests.benchmarks.__main__ import PROGRAMS
from tests.benchmarks.measure import Result, Row, Spent, compared, interleaved, table
from tests.conftest import PROJECT


def run(name: str) -> Result:
    result = importlib.import_module(f"tests.benchmarks.{name}").measure("tiny")
    assert result.title in table(result)
    assert all(f"| {row.what} |" in table(result) for row in result.rows)
    return result


def test_every_program_is_known_to_make_bench() -> None:
    found = {path.stem for path in Path(__file__).parent.glob("*.py") if "def measure(size" in path.read_text()}
    assert found == {*PROGRAMS, "test_small"}


def test_every_profile_schedules_greedily() -> None:
    """Snakemake's other scheduler costs nine times as much with ten thousand jobs."""
    profiles = sorted((PROJECT / "profiles").glob("*/config.yaml"))
    assert profiles
    assert [path for path in profiles if yaml.safe_load(path.read_text()).get("scheduler") != "greedy"] == []


def test_medians_of_sides_in_turns() -> None:
    """Reference: numbers worked out by hand."""
    order: list[str] = []
    seconds = iter([5.0, 2.0, 1.0, 3.0, 4.0, 9.0])

    def side(name: str) -> Spent:
        order.append(name)
        return Spent(next(seconds), 0.0)

    runs = interleaved({"a": lambda: side("a"), "b": lambda: side("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    row = compared("x", runs, "wall", ours="a", peer="b", target=("<=", 2.0))  # a: 5 3 4, b: 2 1 9
    assert (row.ours, row.peer, row.ratio, row.met) == (4.0, 2.0, 2.0, True)
    assert compared("x", runs, "wall", ours="b", rate=18.0).ours == 9.0
    missed = Result("t", [Row("slow thing", 3.0, 1.0, target=("<=", 2.0), reason="It is.")])
    assert "**no**" in table(missed) and "Not met: slow thing. It is." in table(missed)


@pytest.mark.slow
def test_engine_parts() -> None:
    facts = run("engine_parts").facts
    assert facts["rows on disk"] == 150
    assert facts["same rates to 1e-12"] is True
    assert [value for name, value in facts.items() if name.startswith("same average")] == [True, True]


@pytest.mark.slow
def test_plan() -> None:
    facts = run("plan").facts
    assert facts["heavy modules loaded"] == []
    assert facts["jobs"] > 300


@pytest.mark.slow
def test_startup() -> None:
    assert not any(run("startup").facts["heavy libraries loaded"].values())


@pytest.mark.slow
def test_subsample() -> None:
    facts = run("subsample").facts
    assert [value for name, value in facts.items() if "part of it" in name] == [True] * 3
    for name, reached in facts.items():
        if "reached" in name:
            assert reached["person"] >= 0.24 and reached["hook"] >= 0.49


@pytest.mark.slow
def test_shards() -> None:
    facts = run("shards").facts
    assert len(facts) == 2 and all(facts.values())


def test_feature_shards() -> None:
    result = run("feature_shards")
    assert result.facts == {"the same batches, bit for bit": True} and all(row.ours > 0 for row in result.rows)


@pytest.mark.slow
def test_planted() -> None:
    result = run("planted")
    assert all(result.facts.values())
    known = {row.what: row.ours for row in result.rows}
    assert known["R1@0.5: who knows the projection"] > 0.9 > 0.3 > known["R1@0.5: … where answers lie elsewhere"]


def test_decode() -> None:
    facts = run("decode").facts
    assert facts["every 3. frame: frames"] == {"ours": 8, "opencv": 8, "opencv-grab": 8, "pyav": 8}
    assert facts["every 3. frame: largest mean difference of pixels, of 255"] < 1


@pytest.mark.slow
def test_coco_scores() -> None:
    facts = run("coco_scores").facts
    assert len(facts) == 2 and max(facts.values()) < 1e-6


def test_temporal() -> None:
    facts = run("temporal").facts
    assert facts["the same windows are kept"] is True and facts["largest difference of a kept score"] < 1e-12
    assert facts["largest difference of a recall"] < 1e-12


@pytest.mark.slow
@pytest.mark.mirror
def test_follow(mirror: Path) -> None:
    facts = run("follow").facts
    matched = [value for name, value in facts.items() if name.endswith("boxes matched")]
    agree = [value for name, value in facts.items() if name.endswith("IDF1 between both")]
    assert matched and min(matched) >= 0.99 and min(agree) >= 0.95
    assert all(min(value) > 10 for name, value in facts.items() if name.endswith(": boxes"))


@pytest.mark.slow
def test_checkpoint() -> None:
    result = run("checkpoint")
    assert result.facts["what is loaded is what was saved, bit for bit"] is True
    kills = {row.what: row.ours for row in result.rows if "kills" in row.what}
    assert len(kills) >= 4 and set(kills.values()) == {0}


@pytest.mark.slow
def test_add_variant() -> None:
    (row,) = run("add_variant").rows
    assert 3 <= row.ours < row.peer / 2


@pytest.mark.slow
def test_loop() -> None:
    """Reference: the peers' own trainings; that they run at all is what is asked here."""
    rows = {row.what: row for row in run("loop").rows}
    assert len(rows) == 9 and all(row.ours > 0 for row in rows.values())


@pytest.mark.slow
def test_price() -> None:
    """Everything is priced from the fourth study on, and nothing before records are there. How well is not asked here."""
    result = run("price")
    first, second, third = result.facts["jobs unknown before the first, second, third study"]
    assert first == result.facts["jobs known of each"] >= 6 and first >= second >= third
    rows = {row.what: row.ours for row in result.rows}
    assert rows["upper end of the interval / lower end, median over jobs"] > 1.1
    assert rows["error of the disk"] < 1.0


@pytest.mark.slow
def test_rfdetr_video() -> None:
    facts = run("rfdetr_video").facts
    assert facts["the same boxes"] is True and facts["boxes"]["ours"] > 10


@pytest.mark.slow
def test_rfdetr_train() -> None:
    result = run("rfdetr_train")
    assert result.facts["all losses are finite"] is True and all(row.ours > 0 for row in result.rows)


@pytest.mark.slow
def test_grounding_step() -> None:
    result = run("grounding_step")
    assert result.facts["the loss is finite"] is True
    assert result.facts["window against band, largest difference below 1e-12"] is True
    assert result.facts["candidates per query"] >= 1
    assert all(row.ours > 0 for row in result.rows if row.unit in ("MiB", "queries/s", "times"))
