"""The picture of a tuning: what is drawn for which trial. Reference: the artists on the axes, and the bytes of the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lib.config.search import read_space
from lib.reporting import tuning

SPACE = read_space(
    {
        "training.lr0": {"low": 1e-4, "high": 1e-1, "log": True},
        "training.optimizer": {"choices": ["SGD", None, "AdamW"]},
        "training.warmup": {"low": 0, "high": 20, "kind": "int"},
    },
    "space",
)
STATES = ["stopped early", "finished", "diverged", "failed", "finished", "running"]
ROWS: list[dict[str, Any]] = [
    {
        "trial": number,
        "state": state,
        "AP50": {"failed": None, "running": None, "diverged": None}.get(state, 0.3 + 0.1 * number),
        "training.lr0": 10.0 ** -(1 + number % 3),
        "training.optimizer": ["SGD", None, "AdamW"][number % 3],
        "training.warmup": 4 * number,
    }
    for number, state in enumerate(STATES)
]


def draw(path: Path, rows: list[dict[str, Any]], best: int | None, mode: str = "max") -> None:
    tuning.tuning_figure(rows, "AP50", "AP50 on val", SPACE, path, mode=mode, title="Trials of a (on b)", best=best, dpi=80)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, kept when they are written."""
    kept: list[Figure] = []
    real = tuning.figure

    @contextmanager
    def keeping(*given: Any, **named: Any) -> Iterator[Figure]:
        with real(*given, **named) as figure:
            kept.append(figure)
            yield figure

    monkeypatch.setattr(tuning, "figure", keeping)
    return kept


def test_every_state_is_drawn_once_in_every_panel(tmp_path: Path, drawn: list[Figure]) -> None:
    draw(tmp_path / "a.png", ROWS, 4)
    axes = drawn[0].axes
    assert [ax.get_xlabel() for ax in axes] == ["trial", *SPACE]
    for ax in axes:
        dots = [line for line in ax.lines if line.get_linestyle() == "None"]
        assert [len(line.get_xdata()) for line in dots] == [2, 1, 1, 1, 1], "finished, stopped, diverged, failed, best"
        assert list(dots[0].get_ydata()) == pytest.approx([0.4, 0.7])
        feet = [line for line in dots if line.get_transform() == ax.get_xaxis_transform()]
        assert [line.get_marker() for line in feet] == ["x", "|"], "diverged and failed ones have no score"
    (step,) = [line for line in axes[0].lines if line.get_linestyle() != "None"]
    assert list(step.get_ydata()) == pytest.approx([0.4, 0.4, 0.4, 0.7]), "the best so far begins with the first whole one"
    assert axes[1].get_xscale() == "log"
    for ax, place in ((axes[1], "training.lr0"), (axes[3], "training.warmup")):
        low, high = ax.get_xlim()
        assert low < SPACE[place].low and high > SPACE[place].high, "the whole range is shown"
    assert [text.get_text() for text in axes[2].get_xticklabels()] == ["SGD", "null", "AdamW"]
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend == ["finished", "stopped early", "diverged", "failed", "best", "best so far"]


def test_the_lower_is_better_where_it_is(tmp_path: Path, drawn: list[Figure]) -> None:
    draw(tmp_path / "a.png", ROWS, 1, "min")
    (step,) = [line for line in drawn[0].axes[0].lines if line.get_linestyle() != "None"]
    assert list(step.get_ydata()) == pytest.approx([0.4, 0.4, 0.4, 0.4])


def test_the_same_trials_are_the_same_bytes_and_none_are_an_empty_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, ROWS, 4)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    draw(tmp_path / "none.png", [], None)
    draw(tmp_path / "running.png", ROWS[-1:], None)
    assert all(np.asarray(Image.open(tmp_path / name)).shape[0] > 100 for name in ("none.png", "running.png"))
