"""Challenge submissions: from a windows table and unannotated queries to the official form; every fault names its query."""

from __future__ import annotations

import json
import sys
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lib.files import DataError, read_json
from lib.inference.submission import package, problems
from lib.scoring.ego4d_nlq_files import read_truth
from lib.scoring.grounding_files import Truth
from lib.tables import WINDOWS, empty, write_table
from workflow_scripts import _program
from workflow_scripts import submission as program

COLUMNS = ["video", "query", "rank", "start_s", "end_s", "score"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two clips of 480 s; the second query of the first annotation has no text, so that none is asked."""
    clips = [
        {"clip_uid": clip, "video_start_sec": 100.0, "video_end_sec": 580.0, "annotations": [
            {"annotation_uid": f"{clip}-ann", "language_queries": [{"query": text} for text in texts]}]}
        for clip, texts in (("clip-1", ["Where is it?", None, "Who came?"]), ("clip-2", ["What?"]))
    ]  # fmt: skip
    path = tmp_path / "nlq_test_unannotated.json"
    path.write_text(json.dumps({"videos": [{"video_uid": "v", "split": "test", "clips": clips}]}))
    return path


@pytest.fixture
def queries(file: Path) -> Truth:
    return read_truth(file)


def rows(**changed: list) -> pd.DataFrame:
    """Seven windows of one query, best first, and one of each other; `changed` replaces the first row of a query."""
    found = [["clip-1", "clip-1-ann_0", rank, 10.0 * rank, 10.0 * rank + 5, 0.9 - rank / 10] for rank in range(7)]
    found += [["clip-1", "clip-1-ann_2", 0, 1.0, 480.0, 0.5], ["clip-2", "clip-2-ann_0", 0, 0.0, 4.5, 0.5]]
    table = pd.DataFrame(found, columns=COLUMNS)
    for column, (row, value) in changed.items():
        table.loc[row, column] = value
    return table


def test_the_official_form(queries: Truth) -> None:
    made = package(rows().sample(frac=1.0, random_state=1), queries)
    assert (made["version"], made["challenge"]) == ("1.0", "ego4d_nlq_challenge")
    first, second, third = made["results"]
    windows = [[0.0, 5.0], [10.0, 15.0], [20.0, 25.0], [30.0, 35.0], [40.0, 45.0]]
    assert first == {"clip_uid": "clip-1", "annotation_uid": "clip-1-ann", "query_idx": 0, "predicted_times": windows}
    assert second["query_idx"] == 2 and second["predicted_times"] == [[1.0, 480.0]] and third["clip_uid"] == "clip-2"
    assert problems(made, queries) == [] and json.loads(json.dumps(made)) == made
    scores = package(rows(), queries, scores=True)
    assert scores["results"][1]["predicted_times"] == [[1.0, 480.0, 0.5]] and problems(scores, queries) == []
    cut = package(rows(end_s=(7, 480.0004)), queries)
    assert cut["results"][1]["predicted_times"] == [[1.0, 480.0]], "rounding at the clip's end"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (rows().iloc[:8], "query 'clip-2-ann_0' of clip 'clip-2' has no window"),
        (rows(end_s=(7, 480.5)), "query 'clip-1-ann_2' of clip 'clip-1': window 0 is 1.0 to 480.5 s, must be"),
        (rows(start_s=(7, -1.0)), "window 0 is -1.0 to 480.0 s"),
        (rows(end_s=(7, 1.0)), "window 0 is 1.0 to 1.0 s"),
        (rows(start_s=(7, float("nan"))), r"query 'clip-1-ann_2' .*must be \[start, end\]"),
        (rows(score=(0, 0.1)), "query 'clip-1-ann_0' of clip 'clip-1': its scores rise with the rank"),
        (rows(query=(7, "clip-1-ann_1")), "query 'clip-1-ann_1' of clip 'clip-1' is predicted and not asked"),
        (rows(video=(8, "clip-9")), "query 'clip-2-ann_0' of clip 'clip-9' is predicted and not asked"),
        (rows().drop(columns="rank"), "no column 'rank'"),
    ],
)
def test_predictions_that_cannot_be_submitted_name_the_query(table: pd.DataFrame, says: str, queries: Truth) -> None:
    with pytest.raises(DataError, match=f"{says}.*Hint: "):
        package(table, queries)


def broken(queries: Truth, number: int, **values: Any) -> dict[str, Any]:
    made = package(rows(), queries)
    made["results"][number] |= values
    return made


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "too many": ({"predicted_times": [[0, 1]] * 6}, "has 6 windows, must have 1 to 5"),
    "none": ({"predicted_times": []}, "has 0 windows"),
    "no list": ({"predicted_times": 3}, "has 3 windows"),
    "infinite": ({"predicted_times": [[0, float("inf")]]}, "finite numbers"),
    "text": ({"predicted_times": [["0", "1"]]}, "must be [start, end]"),
    "beyond": ({"predicted_times": [[0, 480.1]]}, "must be 0 ≤ start < end ≤ 480.0 s"),
    "unsorted": ({"predicted_times": [[0, 1, 0.1], [0, 2, 0.5]]}, "must be in falling order"),
    "some scores": ({"predicted_times": [[0, 1, 0.1], [0, 2]]}, "one per window or none"),
    "not asked": ({"query_idx": 1}, "is not asked"),
    "text index": ({"query_idx": "0"}, "query_idx is '0', must be a whole number"),
    "twice": ({"query_idx": 2}, "has an entry already"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_every_fault_of_a_submission_is_named(case: str, queries: Truth) -> None:
    values, says = FAULTS[case]
    found = problems(broken(queries, 0, **values), queries)
    assert any(says in text and "clip-1" in text for text in found)
    gone = [text for text in found if "query clip-1-ann_0 of clip clip-1: no entry" in text]
    assert len(gone) == (case in ("not asked", "twice"))


def test_a_submission_of_another_form() -> None:
    assert problems([], {}) == ["the submission is no object with version, challenge and a list of results"]
    assert problems({"results": [3]}, {})[:3] == [
        "version is None, must be '1.0'",
        "challenge is None, must be 'ego4d_nlq_challenge'",
        "results[0]: no clip_uid, annotation_uid, query_idx or predicted_times ('int' object is not subscriptable)",
    ]


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["submission", *(str(word) for word in words)])
    try:
        _program.run(program.main)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_the_program(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table, made = tmp_path / "tta=none.parquet", tmp_path / "submission.json"
    write_table(table, rows(), WINDOWS)
    words = ["package", "--queries", file, "--predictions", table, "--output", made]
    assert call(monkeypatch, *words) == 0 and "3 queries answered" in capsys.readouterr().err
    check = ["check", "--queries", file, "--submission", made]
    assert call(monkeypatch, *check) == 0 and capsys.readouterr().out == ""
    values = json.loads(made.read_text())
    made.write_text(json.dumps(values | {"results": values["results"][:1]}))
    assert call(monkeypatch, *check) == _program.WRONG_INPUT
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2 and "query clip-2-ann_0 of clip clip-2: no entry" in shown.out
    made.unlink()
    write_table(table, rows().iloc[:8], WINDOWS)
    assert call(monkeypatch, *words) == _program.WRONG_INPUT and not made.exists()


def test_the_rule_packages_the_tables_of_the_dag(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips have ids of their own there; a submission names them as Ego4D does, and is what the annotation file gives."""
    ids = {"clip-1": "clip-1-x", "clip-2": "clip-2-x"}
    manifest = empty("manifest").reindex(range(2)).assign(
        video=list(ids.values()), original=list(ids), split="test", path="", kind="none", sha256="", stream=0, fps=30.0,
        frames=14400, width=0, height=0, duration_s=480.0,
    )  # fmt: skip
    texts = [
        ("clip-1", "clip-1-ann_0", "Where is it?"),
        ("clip-1", "clip-1-ann_2", "Who?"),
        ("clip-2", "clip-2-ann_0", "What?"),
    ]
    asked = pd.DataFrame(texts, columns=["video", "query", "text"]).assign(template="", evidence="", start_s=nan, end_s=nan)
    tables = {"manifest": manifest, "queries": asked, WINDOWS: rows()}
    for kind, table in tables.items():
        write_table(tmp_path / f"{kind}.parquet", table.assign(video=table["video"].replace(ids)), kind)
    words = ["package", "--settings", '{"splits": ["test"]}', "--manifest", str(tmp_path / "manifest.parquet")]
    words += ["--truth", str(tmp_path / "queries.parquet"), "--predictions", str(tmp_path / "windows.parquet")]
    monkeypatch.setattr(sys, "argv", ["submission", *words, "--output", str(tmp_path / "tta=none.json")])
    program.main()
    assert read_json(tmp_path / "tta=none.json") == package(rows(), read_truth(file))
    assert read_json(tmp_path / "tta=none.meta.json")["stage"] == "submission"
