"""The contact sheet of the synthetic world: what is on it, and that nothing overlaps or is cut. Reference: matplotlib's own
measure of every text on the page."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from lib.config.base import ConfigError
from lib.config.study import load_study
from lib.config.world import WorldSource
from lib.reporting import style, world_sheet
from lib.reporting.world_rows import write_sheets
from lib.reporting.world_sheet import Bar, Box, Row
from tests.conftest import PROJECT
from workflow_scripts import _program, describe

TINY = WorldSource.model_validate({"format": "world", "videos": {"train": 1, "test": 3}, "size": (160, 96), "fps": 5.0})


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn while the test runs."""
    kept: list[Figure] = []
    whole = style.figure

    def keeping(*values: object, **knobs: object) -> object:
        made = whole(*values, **knobs)

        class Kept:
            def __enter__(self) -> Figure:
                kept.append(made.__enter__())
                return kept[-1]

            def __exit__(self, *error: object) -> object:
                return made.__exit__(*error)

        return Kept()

    monkeypatch.setattr(world_sheet.style, "figure", keeping)
    return kept


def texts(page: Figure) -> list[tuple[str, Bbox]]:
    """Every text on the page with what it covers, in px."""
    renderer = page.canvas.get_renderer()
    found = [one for one in page.findobj(Text) if one.get_visible() and one.get_text().strip()]
    ticks = {id(one) for axes in page.axes for one in axes.get_yticklabels()}
    return [(one.get_text(), one.get_window_extent(renderer)) for one in found if id(one) not in ticks]


def overlaps(page: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that share more than a trace (2 px in both directions)."""
    found = []
    for (one, a), (other, b) in combinations(texts(page), 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        if wide > 2 and high > 4:
            found.append((one, other))
    return found


def test_a_page_per_split_with_all_that_happens(tmp_path: Path, pages: list[Figure]) -> None:
    paths = list(write_sheets(TINY, "tiny", ["train", "test"], 2, tmp_path))
    assert paths == [tmp_path / "tiny-train.png", tmp_path / "tiny-test.png"]
    for path, page, count in zip(paths, pages, (1, 2), strict=True):
        with Image.open(path) as picture:
            assert picture.size[0] == 1870 and np.asarray(picture.convert("L")).mean() > 150  # light
        words = [text for text, _ in texts(page)]
        assert sum(word.startswith("site-") for word in words) == count
        for needed in ("captions", "sound", "time (s)", "Q1"):
            assert words.count(needed) == count, needed
        assert any("\N{RIGHTWARDS ARROW}" in word for word in words)
        assert not overlaps(page)
        edge = page.bbox
        for word, extent in texts(page):
            assert edge.x0 <= extent.x0 and extent.x1 <= edge.x1 and edge.y0 <= extent.y0 and extent.y1 <= edge.y1, word


@pytest.mark.slow
def test_nothing_overlaps_in_the_default_world(tmp_path: Path, pages: list[Figure]) -> None:
    list(write_sheets(WorldSource(format="world"), "world", ["test"], 8, tmp_path))
    assert not overlaps(pages[0])


def test_crowded_and_empty_rows(tmp_path: Path, pages: list[Figure]) -> None:
    """Twenty bars at the same time, labels longer than their bars at both ends, boxes on top of each other, no sound."""
    grey = np.full((90, 160, 3), 120, np.uint8)
    bars = [Bar("one thing", f"does thing number {n}", "person", 1.0, 1.2) for n in range(20)]
    bars += [Bar("another", "a long label at the very end of the video", "vehicle", 3.8, 4.0)]
    boxes = [Box("person", f"worker {n}", 70 + n, 30, 90 + n, 60) for n in range(4)]
    crowded = Row(
        "crowded", [grey] * 6, list(range(6)), [boxes] * 6, 4.0, bars, [("captions", ["word " * 90])], grey[0, :0, 0], 1
    )
    empty = Row("empty", [grey], [0.0], [[]], 4.0, [], [], np.zeros(0, np.float32), 1)
    world_sheet.draw(tmp_path / "page.png", "title", "note", [crowded, empty])
    assert (tmp_path / "page.png").is_file() and not overlaps(pages[0])


def test_by_hand_and_without_results(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "workflow_scripts.describe",
        "--world",
        "--split",
        "val",
        "--videos",
        "1",
        "--out",
        "out",
    ]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [*command, "--configfile", str(PROJECT / "config" / "config.yaml")],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["out/world-val.png"], "")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_wrong_names_are_refused(tmp_path: Path) -> None:
    study = load_study([])
    with pytest.raises(ConfigError, match=r"'vall' is not a split of 'world'.*'val'"):
        describe.draw_world(study, None, ["vall"], 1, tmp_path)
    with pytest.raises(ConfigError, match="'bccd' is not a synthetic world; its worlds: world"):
        describe.draw_world(study, "bccd", None, 1, tmp_path)
    with pytest.raises(ConfigError, match="the study has no synthetic world"):
        describe.draw_world(study.model_copy(update={"datasets": {}}), None, None, 1, tmp_path)
    for text in ("0", "-1", "two", "1.5"):
        with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
            _program.positive(text)
    assert not list(tmp_path.iterdir())
