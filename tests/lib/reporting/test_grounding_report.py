"""Pictures of grounding from tables: rows by their names, diverged ones left out, queries of the tested splits only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lib.config.report import ReportSettings
from lib.files import DataError
from lib.reporting.grounding_report import draw_lengths, draw_windows, of_splits
from lib.tables import empty
from tests.lib.reporting.test_grounding_figures import made, words

__all__ = ["words"]
REPORT = {"report": ReportSettings(dpi=60).model_dump(), "draws": 100, "seed": 0, "level": 0.95}


def row(name: str, kind: str = "model", seeds: int = 1) -> dict[str, Any]:
    return {"name": name, "variant": name, "kind": kind, "seeds": list(range(seeds))}


def test_a_board_by_length(tmp_path: Path, words: list[str]) -> None:
    truth, good = made(0.8)
    _, bad = made(0.1)
    settings = REPORT | {"rows": [row("mvp", seeds=2), row("lost"), row("ordinal", "floor")]}
    draw_lengths(settings, truth, [good, good, empty("windows"), bad], tmp_path / "lengths.png", title="Moments")
    assert (tmp_path / "lengths.png").stat().st_size > 5000
    assert {"Moments", "mvp", "ordinal"} <= set(words) and "lost" not in words
    with pytest.raises(DataError, match="1 tables of predictions for 4 seeds"):
        draw_lengths(settings, truth, [good], tmp_path / "no.png", title="")
    with pytest.raises(DataError, match="no row of the board has a window"):
        draw_lengths(REPORT | {"rows": [row("lost")]}, truth, [empty("windows")], tmp_path / "no.png", title="")


def test_windows_of_one_row(tmp_path: Path, words: list[str]) -> None:
    truth, found = made(0.5)
    manifest = pd.DataFrame({"video": sorted(truth["video"].unique()), "split": "test", "duration_s": 130.0})
    manifest.loc[0, "split"] = "val"
    asked = of_splits(truth, manifest, ["test"])
    assert set(asked["video"]) == set(manifest["video"][1:])
    draw_windows(REPORT, asked, manifest, found, tmp_path / "windows.png", title="mvp: predicted and true windows")
    assert "mvp: predicted and true windows" in words and sum(text.startswith("“Where is") for text in words) == 6
