"""Reference: bytes of the written pictures, and the lines and labels of the drawn figures against the table."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.config.report import ReportSettings
from lib.files import DataError
from lib.history import HistoryCsv, history_frame
from lib.reporting import curves

HISTORY = pd.DataFrame(
    {"epoch": [1, 2, 3], "iteration": [10, 20, 30], "train/box_loss": [3.0, 2.0, np.nan], "val/AP": [0.1, np.nan, 0.3]}
)


def ink(path: Path) -> float:
    """Share of pixels that are not white."""
    return float((matplotlib.image.imread(path)[..., :3].min(axis=2) < 0.99).mean())


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved in this test."""
    kept: list[Figure] = []
    saved = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (kept.append(self), saved(self, *a, **k))[1])
    return kept


def line(ax: Axes, label: str) -> tuple[list[float], list[float]]:
    (found,) = [one for one in ax.get_lines() if one.get_label() == label]
    return list(found.get_xdata()), list(found.get_ydata())


@pytest.mark.parametrize("picture", [curves.curves_figure, curves.components_figure])
@pytest.mark.parametrize("history", [HISTORY, HISTORY.iloc[:1], HISTORY.iloc[:0], HISTORY[["epoch", "iteration"]]])
def test_histories_of_any_length_are_drawn_the_same_twice(tmp_path: Path, picture: object, history: pd.DataFrame) -> None:
    for name in ("one.png", "two.png"):
        picture(history, tmp_path / name, ReportSettings(dpi=60))
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert ink(tmp_path / "one.png") > 0.01


def test_dpi_sets_the_size(tmp_path: Path) -> None:
    for dpi in (50, 100):
        curves.curves_figure(HISTORY, tmp_path / f"{dpi}.png", ReportSettings(dpi=dpi))
    small, large = (matplotlib.image.imread(tmp_path / f"{dpi}.png").shape for dpi in (50, 100))
    assert (large[0], large[1]) == (2 * small[0], 2 * small[1])


def course(path: Path, *, steps: int = 60, diverges: int = 0) -> Path:
    """A history of our own loop: a whole loss of two parts every 10 steps, scores every 25."""
    history = HistoryCsv(path)
    for step in range(1, steps + 1):
        nan = math.nan if diverges and step >= diverges else 0.0
        if step % 10 == 0:
            parts = {"train/loss_cls": 1 / step + nan, "train/loss_box": 20 / step + nan}
            history.log(step, {"train/loss": sum(parts.values()), **parts, "lr": 0.1})
        if step % 25 == 0:
            history.log(step, {"val/loss": 1.5, "val/loss_cls": 0.5, "val/AP": step / 100})
    return path


def test_rows_of_evaluations_leave_no_gap_and_parts_have_their_own_picture(tmp_path: Path, drawn: list[Figure]) -> None:
    history = history_frame(course(tmp_path / "history.csv"))
    curves.curves_figure(
        history, tmp_path / "training_curves.png", ReportSettings(dpi=60), best={"step": 50, "val/AP": 0.5}
    )
    left, right = drawn[0].axes
    steps, values = line(left, "loss")
    assert steps == [10, 20, 30, 40, 50, 60] and values == pytest.approx([21 / step for step in steps])
    assert line(left, "loss (validation)")[0] == [25, 50] and line(right, "AP") == ([25, 50], [0.25, 0.5])
    assert left.get_xlabel() == "step"
    assert line(left, "weights kept")[0] == line(right, "weights kept")[0] == [50, 50]
    assert not [one for one in left.get_lines() if "loss_" in str(one.get_label())]
    curves.components_figure(history, tmp_path / "loss_components.png", ReportSettings(dpi=60))
    panels = drawn[1].axes
    assert [ax.get_title(loc="left") or ax.get_title() for ax in panels] == ["loss", "loss_cls", "loss_box"]
    assert line(panels[1], "loss_cls (validation)") == ([25, 50], [0.5, 0.5])
    assert line(panels[2], "loss_box")[1] == pytest.approx([20 / step for step in range(10, 61, 10)])


def test_what_both_sides_have_is_a_part_of_the_loss_and_scores_look_different(tmp_path: Path, drawn: list[Figure]) -> None:
    values = {"train/loss": 2.0, "train/bounds": 1.0, "val/loss": 1.5, "val/bounds": 0.5}
    values |= {f"val/R{k}": k / 20 for k in range(9)}
    history = pd.DataFrame({"step": [1, 2]} | {name: [value, value] for name, value in values.items()})
    curves.curves_figure(history, tmp_path / "curves.png", ReportSettings(dpi=60))
    left, right = drawn[0].axes
    assert [one.get_label() for one in left.get_lines()] == ["loss", "loss (validation)"]
    assert [one.get_label() for one in right.get_lines()] == [f"R{k}" for k in range(9)]
    assert len({(one.get_color(), one.get_linestyle()) for one in right.get_lines()}) == 9
    curves.components_figure(history, tmp_path / "components.png", ReportSettings(dpi=60))
    assert [ax.get_title(loc="left") for ax in drawn[1].axes] == ["loss", "bounds"]


def test_what_is_no_number_is_crossed_out(tmp_path: Path, drawn: list[Figure]) -> None:
    history = history_frame(course(tmp_path / "history.csv", diverges=40))
    curves.curves_figure(history, tmp_path / "training_curves.png", ReportSettings(dpi=60))
    left, right = drawn[0].axes
    assert line(left, "not a number")[0] == [40, 50, 60]
    assert np.isnan(line(left, "loss")[1]).tolist() == [False] * 3 + [True] * 3
    assert "not a number" not in right.get_legend_handles_labels()[1]


def test_many_values_are_drawn_with_their_running_median(tmp_path: Path, drawn: list[Figure]) -> None:
    noise = np.random.default_rng(0).normal(size=3000) * 0.3
    history = pd.DataFrame({"step": np.arange(3000), "train/loss": 1 + noise})
    curves.curves_figure(history, tmp_path / "training_curves.png", ReportSettings(dpi=60))
    left = drawn[0].axes[0]
    pale, middle = left.get_lines()
    assert list(pale.get_ydata()) == list(history["train/loss"]), "nothing is hidden"
    assert np.std(middle.get_ydata()) < 0.25 * np.std(pale.get_ydata()) and abs(np.mean(middle.get_ydata()) - 1) < 0.02


@pytest.mark.parametrize(
    ("scores", "low", "high"), [([0.5, 0.75], 0, 0.7875), ([-0.5, 0.5], -0.55, 0.55), ([0.0], 0, 0.05)]
)
def test_no_score_lies_on_the_frame_or_outside(
    tmp_path: Path, drawn: list[Figure], scores, low: float, high: float
) -> None:
    history = pd.DataFrame({"step": range(len(scores)), "val/R2": scores})
    curves.curves_figure(history, tmp_path / "training_curves.png", ReportSettings(dpi=60))
    assert drawn[0].axes[1].get_ylim() == pytest.approx((low, high))


def test_a_missing_history_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="file not found"):
        history_frame(tmp_path / "history.csv")
