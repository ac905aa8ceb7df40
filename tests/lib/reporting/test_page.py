"""Reference: an HTML parser, Python's CSV reader and the bytes of a second writing; names are chosen to break each form."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser
from pathlib import Path

import made
import pandas as pd
import pytest

from lib.config.report import ReportSettings
from lib.reporting.leaderboard import score_board
from lib.reporting.page import csv_text, html, markdown, write_board
from lib.reporting.ranking import Ranking

PAYLOADS = ["<script>alert(1)</script>", '=cmd|" /C calc"!A0', "a | b `c` *d*", "&lt;b&gt;"]


class Parts(HTMLParser):
    """Collects tags and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def payload_board(tmp_path: Path) -> Ranking:
    found = {name: list(range(10 + number)) for number, name in enumerate(PAYLOADS)}
    made.write_cell(tmp_path, "a", found, videos=20)
    made.write_cell(tmp_path, "prior", {name: [0] for name in PAYLOADS}, videos=20, kind="floor")
    return score_board("main", made.settings({"a": {}, "prior": {"kind": "floor"}}), tmp_path)


def test_html_shows_names_and_runs_nothing(payload_board: Ranking) -> None:
    page = html(payload_board)
    parts = Parts()
    parts.feed(page)
    assert not {"script", "b", "img", "link", "iframe"} & set(parts.tags)
    for name in PAYLOADS:
        assert f"AP50 {name}" in parts.texts  # after decoding, the very name
    assert "Content-Security-Policy" in page and "default-src 'none'" in page
    assert "http:" not in page and "https:" not in page and "src=" not in page.replace("default-src", "")


def test_markdown_keeps_its_columns_and_holds_no_markup(payload_board: Ranking) -> None:
    tables = [
        [line for line in part.splitlines() if line.startswith("|")] for part in markdown(payload_board).split("\n### ")
    ]
    assert [len(table) for table in tables] == [4, 2 + 2 * len(PAYLOADS)]
    for table in tables:
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    lines = tables[0]
    assert "<script" not in markdown(payload_board) and "\\*d\\*" in lines[0]
    assert "| **a** | **" in lines[2] and "prior (floor)" in lines[3]


def test_csv_guards_formulas_and_keeps_numbers(payload_board: Ranking) -> None:
    rows = pd.concat([payload_board.rows, pd.DataFrame([{"variant": "=cmd", "to_best": -0.25}])], ignore_index=True)
    rows = rows.astype(object).where(rows.notna(), None).rename(columns={"tta": "@tta"})
    odd = Ranking(**{**vars(payload_board), "rows": rows})
    table = list(csv.reader(io.StringIO(csv_text(odd))))
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for line in table for cell in line)
    last = dict(zip(table[0], table[-1], strict=True))
    assert last["variant"] == "'=cmd" and last["to_best"] == "-0.25" and "'@tta" in last
    assert [f"AP50: {name}" in table[0] for name in PAYLOADS] == [True] * 4


def test_figures_of_the_csv_are_the_boards(payload_board: Ranking) -> None:
    read = pd.read_csv(io.StringIO(csv_text(payload_board)))
    assert read["AP50"].tolist() == pytest.approx(payload_board.rows["AP50"].tolist(), abs=1e-6)
    assert read["to_best"].isna().tolist() == [True, False]


def test_writing_twice_gives_the_same_bytes(payload_board: Ranking, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_board(payload_board, tmp_path / folder / "main.csv", ReportSettings())
    for suffix in ("csv", "md", "html", "png"):
        first, second = ((tmp_path / folder / f"main.{suffix}").read_bytes() for folder in ("one", "two"))
        assert first == second and len(first) > 100
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["main.csv", "main.html", "main.md", "main.png"]


def test_a_board_of_waiting_rows_can_be_written(tmp_path: Path) -> None:
    found = score_board("main", made.settings({"a": {}, "b": {}}), tmp_path, partial=True)
    write_board(found, tmp_path / "out" / "main.csv", ReportSettings())
    assert "waiting: training" in (tmp_path / "out" / "main.md").read_text()
    assert 'class="unscored"' in (tmp_path / "out" / "main.html").read_text()
