"""Reference: a slope worked out by hand, boards with known frames, and the drawn figure's own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import made
import matplotlib.image
import pytest

from lib.config.report import ReportSettings
from lib.reporting.frames_figure import frames_figure, kind_of, slope
from lib.reporting.leaderboard import score_board
from lib.reporting.page import write_board
from lib.reporting.ranking import Ranking
from lib.reporting.sections import arms, per_class, ratio

VIDEOS = 40


def study(results: Path) -> dict[str, Any]:
    """Two models on 25, 50 and 100 frames with persons, a control, and one with repeated images; two seeds each."""
    shares = {"p25": 14, "p50": 22, "p100": 30}
    variants: dict[str, dict[str, Any]] = {}
    for seed in (0, 1):
        for arm in shares:
            made.write_counts(results, arm, {"person": int(arm[1:]), "hook": 80}, seed=seed)
        made.write_counts(results, "control", {"person": 70, "hook": 55}, seed=seed, control=True)
        for model, lead in (("yolo11n", 0), ("rfdetr-nano", 5)):
            rows = {f"{model}-{arm}": (arm, hits, {}) for arm, hits in shares.items()}
            rows[f"{model}-control"] = ("control", 27, {})
            rows[f"{model}-repeat"] = ("p25", 18, {"sampling": {"kind": "repeat_factor"}})
            for name, (arm, hits, more) in rows.items():
                found = {"person": list(range(hits + lead + seed)), "hook": list(range(33 - seed))}
                made.write_cell(results, name, found, videos=VIDEOS, seed=seed)
                made.write_card(results, name, seed=seed, model=model, **more)
                variants[name] = {"arm": arm, "seeds": [0, 1]}
    made.write_cell(results, "prior", {"person": [0], "hook": [0]}, videos=VIDEOS, kind="floor")
    return made.settings(variants | {"prior": {"kind": "floor"}})


@pytest.fixture
def board(tmp_path: Path) -> Ranking:
    return score_board("main", study(tmp_path), tmp_path)


def test_a_slope_by_hand() -> None:
    per_doubling, at_one = slope([10, 20, 80], [0.3, 0.4, 0.6])
    assert (per_doubling, at_one) == pytest.approx((0.1, 0.3 - 0.1 * 3.321928), abs=1e-6)
    assert slope([10, 10], [0.1, 0.2]) is None, "one number of frames has no slope"
    assert slope([10, 20], [0.5, 0.5]) == pytest.approx((0.0, 0.5))


def test_rows_are_told_apart_by_what_their_arm_asked_for(board: Ranking) -> None:
    kinds = {row["variant"]: kind_of(row) for row in board.rows.to_dict("records")}
    assert kinds["yolo11n-p25"] == "share" and kinds["yolo11n-control"] == "control"
    assert kinds["rfdetr-nano-repeat"] == "sampling"


def test_the_picture_has_a_panel_per_class_whose_frames_differ(
    board: Ranking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = made.captured(monkeypatch)
    assert frames_figure(board, tmp_path / "frames.png", ReportSettings())
    axes = figures[0].axes
    assert [ax.get_title(loc="left") for ax in axes] == ["person"], "of hooks only the controls hold fewer"
    said = [text.get_text() for text in axes[0].texts]
    assert len(said) == 2 and all(text.startswith("+") and text.endswith(" per doubling") for text in said)
    person = board.rows.set_index("variant").loc["yolo11n-p25"]
    dots = [line.get_xydata()[0] for line in axes[0].get_lines() if line.get_marker() == "o"]
    assert any(x == pytest.approx(25, rel=0.05) and y == pytest.approx(person["AP50: person"]) for x, y in dots)
    words = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert words[:2] == ["rfdetr-nano", "yolo11n"] and "control of the same size" in words
    assert (matplotlib.image.imread(tmp_path / "frames.png")[..., :3].min(axis=2) < 0.99).mean() > 0.02


def test_no_picture_where_all_rows_have_the_same_frames(tmp_path: Path) -> None:
    made.write_counts(tmp_path, "p100", {"person": 100})
    for name in ("a", "b"):
        made.write_cell(tmp_path, name, {"person": list(range(20))}, videos=VIDEOS)
    found = score_board("main", made.settings({"a": {"arm": "p100"}, "b": {"arm": "p100"}}), tmp_path)
    assert not frames_figure(found, tmp_path / "frames.png", ReportSettings())
    assert not (tmp_path / "frames.png").exists()


def test_the_page_holds_the_picture_and_the_sections(board: Ranking, tmp_path: Path) -> None:
    write_board(board, tmp_path / "main.csv", ReportSettings(dpi=60))
    page, text = (tmp_path / "main.html").read_text(), (tmp_path / "main.md").read_text()
    assert 'src="data:image/png;base64,' in page and "img-src data:" in page
    assert "](main.frames.png)" in text and (tmp_path / "main.frames.png").is_file()
    assert "### Per class, with 95 % intervals" in text and "### Training frames and instances" in text


def test_sections_say_every_class_with_intervals_and_every_arm(board: Ranking) -> None:
    row = board.rows.set_index("variant").loc["yolo11n-p25"]
    cells = next(one for one in per_class(board).rows if one[:2] == ["yolo11n-p25", "person"])
    assert cells[2] == f"{row['AP50: person']:.3f} ({row['AP50_low: person']:.3f} to {row['AP50_high: person']:.3f})"
    assert all(" to " in cell for cell in cells[2:]) and len(per_class(board).columns) == 7
    found = {one[0]: one[1:] for one in arms(board).rows}
    assert arms(board).columns[2:8] == [
        f"{c}: {t}" for c in ("person", "hook") for t in ("asked for", "frames", "instances")
    ]
    assert found["yolo11n-p25"] == ["105", "25", "25", "50", "80", "80", "160", "1 : 3.2"]
    assert found["yolo11n-control"] == ["125", "", "70", "140", "", "55", "110", "1.3 : 1"]
    assert "prior" not in found


@pytest.mark.parametrize(("frames", "text"), [([25, 100], "1 : 4"), ([0, 30, 60], "0 : 1 : 2"), ([None, 0], "")])
def test_ratios(frames: list[float | None], text: str) -> None:
    assert ratio(frames) == text
