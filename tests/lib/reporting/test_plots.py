"""Reference: sizes and bytes of the written pictures, and what the drawn figure says through its own text boxes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import made
import matplotlib.image
import pandas as pd
import pytest

from lib.config.report import ReportSettings
from lib.reporting import plots, style
from lib.reporting.leaderboard import score_board


def ink(path: Path) -> float:
    """Share of pixels that are not white."""
    return float((matplotlib.image.imread(path)[..., :3].min(axis=2) < 0.99).mean())


def test_labels_of_a_long_board_do_not_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"person-25--lr-5e-{number}--optimizer-adamw--imgsz-640-and-more" for number in range(12)]
    for number, name in enumerate(names):
        made.write_cell(tmp_path, name, {"person": list(range(12 - number))}, videos=12)
    found = score_board("main", made.settings({name: {} for name in names}), tmp_path)
    figures = made.captured(monkeypatch)
    plots.board_figure(found, tmp_path / "board.png", ReportSettings(dpi=80))
    labels = figures[0].axes[0].get_yticklabels()
    boxes = [label.get_window_extent() for label in labels]
    assert [label.get_text().replace("\n", "") for label in labels] == names  # best first, nothing cut
    for upper, lower in pairwise(boxes):
        assert upper.y0 >= lower.y1
    assert min(box.x0 for box in boxes) >= 0


def test_class_panels_are_as_many_as_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write_cell(tmp_path, "a", {name: [0, 1] for name in "abcdef"}, videos=12)
    found = score_board("main", made.settings({"a": {}}), tmp_path)
    figures = made.captured(monkeypatch)
    for panels in (0, 2, 12):
        plots.board_figure(found, tmp_path / "board.png", ReportSettings(dpi=60, class_panels=panels))
    assert [len(figure.axes) for figure in figures] == [1, 3, 7]


def test_arms_are_drawn_with_controls_and_absent_classes(tmp_path: Path) -> None:
    made.write_counts(tmp_path, "p25", {"person": 25, "crane hook": 100})
    counts = pd.read_json(tmp_path / "subsets/world/p25/seed=0.counts.json", typ="series").to_dict()
    control = {"arm": "same-size", "classes": {"person": {"frames": 40, "achieved_fraction": 0.4, "pool_frames": 100}}}
    plots.counts_figure([counts, control], tmp_path / "counts.png", ReportSettings(dpi=60))
    assert ink(tmp_path / "counts.png") > 0.02


def test_long_names_are_wrapped_and_kept_whole() -> None:
    assert style.wrapped("short", 10) == "short"
    assert style.wrapped("one two three", 7) == "one two\nthree"
    assert style.wrapped("a" * 25, 10).replace("\n", "") == "a" * 25


def test_arms_over_clips_are_drawn_by_clips_queries_and_templates(tmp_path):
    """Reference: shares worked out by hand; without classes there was no panel, and no picture."""
    counted = {"arm": "half", "classes": {}, "background": {"pool": 8, "requested": 4, "achieved": 4}}
    counted |= {"clips": 4, "pool_clips": 8, "queries": 9, "pool_queries": 12}
    counted["templates"] = {"": {"queries": 1, "pool_queries": 2}, "put X": {"queries": 8, "pool_queries": 10}}
    shares = plots.clip_shares(counted)
    assert list(shares) == ["clips", "queries", "put X"] and shares["clips"]["fraction"] == 0.5
    assert [one["achieved_fraction"] for one in shares.values()] == [0.5, 0.75, 0.8]
    plots.counts_figure([counted], tmp_path / "arms.png", ReportSettings())
    assert (tmp_path / "arms.png").stat().st_size > 5000
