"""The board of trackers: one row per (detector, tracker), with HOTA where true tracks exist. Not here: boards of variants.

Detectors may look at different videos (their `splits`): scores are then made on the videos that all rows have, counts and
speeds on each row's own. The floor of a row is its own detector's boxes with a tracker that follows nothing: rows of
another detector have other boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.config.evaluate import EvaluateSettings
from lib.config.leaderboard import Board
from lib.files import DataError, read_json
from lib.metrics.statistics import Estimate, bootstrap_weights, seeds_and_videos_interval
from lib.reporting.cells import FINISHED, read_units
from lib.reporting.ranking import (
    TRACK_METRICS,
    Ranking,
    above_floor,
    difference_columns,
    differences,
    interval_note,
    order,
    ranks,
    tie_note,
    verdicts,
)

SCORES = ("HOTA", "DetA", "AssA", "MOTA", "IDF1")
COUNTS = ("videos", "frames", "detections", "tracks", "mean_track_length_frames", "mean_track_length_s")
UNIT_COLUMNS = ("video", "HOTA_TP", "CLR_TP", "CLR_FN", "IDSW")


@dataclass(kw_only=True)
class _Row:
    """One row while the board is made; kind: tracker or floor; scores None = absent, units None = no true tracks."""

    detector: str
    tracker: str
    kind: str
    scores: dict[str, Any] | None
    units: pd.DataFrame | None
    estimate: Estimate | None = None


def track_board(name: str, settings: dict[str, Any], results: Path, *, partial: bool = False) -> Ranking:
    """Make a board of detectors × trackers from what stands below the results folder.

    settings: `board`, `trackers` (name -> kind) and `evaluate` as lib/config/jobs.py gives them. Where no true tracks exist
    there is no rank, and rows stand in the order of the board's lists. With `partial`, absent rows say so. Raises DataError
    for absent or damaged files, and when rows with true tracks share no video.
    """
    board, evaluate = Board.model_validate(settings["board"]), EvaluateSettings.model_validate(settings["evaluate"])
    folder = results / "metrics" / board.dataset
    pairs = [(detector, tracker) for detector in board.detectors or () for tracker in board.trackers or ()]
    kinds = {tracker: facts["kind"] for tracker, facts in settings["trackers"].items()}
    rows = [_read(folder, detector, tracker, kinds[tracker], partial) for detector, tracker in pairs]
    notes = _share_videos([row for row in rows if row.units is not None])
    for row in rows:
        if row.units is not None:
            row.estimate = _estimate(row.units, board.metric, evaluate)
    rows = [rows[number] for number in order([row.estimate for row in rows])]
    return _ranking(name, board, evaluate, rows, notes)


def _read(folder: Path, detector: str, tracker: str, kind: str, partial: bool) -> _Row:
    path = folder / detector / tracker / "tracks.json"
    row = _Row(detector=detector, tracker=tracker, kind=kind, scores=None, units=None)
    if partial and not path.is_file():
        return row
    row.scores = read_json(path)
    if row.scores.get("overall") and row.scores["overall"].get("HOTA") is not None:
        units = read_units(path.with_suffix(".units.parquet"), UNIT_COLUMNS)
        row.units = units[units["HOTA_TP"].notna()].sort_values("video")  # the others have no labelled frame
    return row


def _share_videos(rows: Sequence[_Row]) -> list[str]:
    """Keep the videos that all rows have; the notes say what was left out and whether the frames differ."""
    if not rows:
        return []
    common = set.intersection(*(set(row.units["video"]) for row in rows))
    if not common:
        raise DataError("the rows of this board share no video with true tracks. Hint: give the detectors common `splits`.")
    most = max(len(row.units) for row in rows)
    for row in rows:
        row.units = row.units[row.units["video"].isin(common)].reset_index(drop=True)
    notes = []
    if most > len(common):
        notes.append(f"Scores are on the {len(common)} videos that all rows have; counts and frames/s on each row's own.")
    if len({int((row.units["CLR_TP"] + row.units["CLR_FN"]).sum()) for row in rows}) > 1:
        notes.append("The rows were scored on different frames (the detectors' strides differ): compare them with care.")
    return notes


def _score(units: pd.DataFrame, weights: np.ndarray, metric: str) -> np.ndarray:
    from lib.metrics.tracking import score_from_units  # here: boards without true tracks do not need its evaluator

    return score_from_units(units, weights=weights, metric=metric)


def _estimate(units: pd.DataFrame, metric: str, evaluate: EvaluateSettings) -> Estimate:
    weights = bootstrap_weights(len(units), evaluate.draws, evaluate.seed)

    def score(table: pd.DataFrame, draws: np.ndarray) -> np.ndarray:
        return _score(table, draws, metric)

    return seeds_and_videos_interval([units], score, weights=weights, row="tracks", level=evaluate.level)


def _ranking(name: str, board: Board, evaluate: EvaluateSettings, rows: list[_Row], notes: list[str]) -> Ranking:
    estimates = [row.estimate for row in rows]
    best = 0 if estimates[0] is not None else None
    to_best = differences(estimates, best, evaluate.level)
    standing = verdicts(estimates, best, evaluate.level)
    values = [None if one is None else one.value for one in estimates]
    places, floors = ranks(values), _floors(rows)
    own_floor = [floors.get(row.detector) for row in rows]
    # other floors are not compared with the best one of their detector: they would only make the correction harsher
    pupils = [
        None if row.kind == "floor" and floors.get(row.detector) != number else row.estimate
        for number, row in enumerate(rows)
    ]
    to_floor = differences(pupils, own_floor, evaluate.level)
    clear = verdicts(pupils, own_floor, evaluate.level)
    # by name: which class is most frequent depends on the row
    classes = sorted({name for row in rows if row.scores for name in row.scores["counts"]["per_class"]})
    table = []
    for number, row in enumerate(rows):
        table.append(
            {"rank": places[number], "detector": row.detector, "tracker": row.tracker, "kind": row.kind}
            | {"status": "waiting: tracks or their scores" if row.scores is None else FINISHED}
            | _score_columns(row, board.metric)
            | {"standing": "best" if number == best else standing[number]}
            | difference_columns("to_best", to_best[number])
            | difference_columns("to_floor", to_floor[number])
            | {"above_floor": above_floor(clear[number])}
            | _count_columns(row.scores or {}, classes)
        )
    return Ranking(
        name=name,
        title=board.title,
        dataset=board.dataset,
        kind="tracks",
        metric=board.metric,
        level=evaluate.level,
        rows=pd.DataFrame(table, dtype=object),
        classes=classes,
        notes=_notes(board, evaluate, rows, standing, clear) + notes,
        floor=max((values[number] for number in floors.values()), default=None),
    )


def _floors(rows: Sequence[_Row]) -> dict[str, int]:
    """Detector -> number of its best floor row with a score; rows stand best first."""
    floors: dict[str, int] = {}
    for number, row in enumerate(rows):
        if row.kind == "floor" and row.estimate is not None and row.estimate.value is not None:
            floors.setdefault(row.detector, number)
    return floors


def _floor_note(rows: Sequence[_Row], *, compared: bool) -> list[str]:
    """What a floor is here, and which detectors have none; compared: rows have verdicts against their floors."""
    floors = _floors(rows)
    bare = list(dict.fromkeys(row.detector for row in rows if row.estimate is not None and row.detector not in floors))
    notes = []
    if floors:
        names = " or ".join(dict.fromkeys(rows[number].tracker for number in floors.values()))
        verdict = " “above floor: yes”: clearly better than it, by the same rule." if compared else ""
        notes.append(f"Floor: {names}, the same detector's boxes, none of them followed.{verdict}")
    if bare:
        whose = f" for {', '.join(bare)}" if floors else ""
        notes.append(
            f"This board has no floor with a score{whose}: nothing here says what boxes alone score when none is followed."
        )
    return notes


def _score_columns(row: _Row, metric: str) -> dict[str, Any]:
    estimate, units = row.estimate, row.units
    once = None if units is None else np.ones(len(units))
    others = {key: None if units is None else float(_score(units, once, key)) for key in SCORES if key != metric}
    return {
        metric: estimate.value if estimate else None,
        f"{metric}_low": estimate.low if estimate else None,
        f"{metric}_high": estimate.high if estimate else None,
        **others,
        "IDSW": None if units is None else int(units["IDSW"].sum()),
    }


def _count_columns(scores: dict[str, Any], classes: list[str]) -> dict[str, Any]:
    counts, speed = (scores.get(key) or {} for key in ("counts", "frames_per_second"))
    per_class = counts.get("per_class", {})
    return {
        **{key: counts.get(key) for key in COUNTS},
        **{f"tracks: {name}": per_class.get(name, {}).get("tracks", 0 if counts else None) for name in classes},
        **{f"track_length_s: {name}": per_class.get(name, {}).get("mean_track_length_s") for name in classes},
        "frames_per_s_detect": speed.get("detect"),
        "frames_per_s_track": speed.get("track"),
    }


def _notes(
    board: Board,
    evaluate: EvaluateSettings,
    rows: Sequence[_Row],
    standing: Sequence[str | None],
    clear: Sequence[str | None],
) -> list[str]:
    estimates = [row.estimate for row in rows]
    if any(estimate is not None for estimate in estimates):
        notes = [f"{board.metric}: {TRACK_METRICS[board.metric]}. IDSW: identity switches, lower is better."]
        notes += interval_note(estimates, level=evaluate.level, draws=evaluate.draws, trained=False)
        notes += tie_note(standing, level=evaluate.level) + _floor_note(rows, compared=any(clear))
    else:
        notes = [
            f"No true tracks here, so {board.metric} is not known and rows are not ranked. More or longer tracks are not "
            "better in themselves."
        ]
        floors = dict.fromkeys(row.tracker for row in rows if row.kind == "floor")
        notes += [f"{tracker} (floor): every box is a track of its own, the most that there can be." for tracker in floors]
    notes.append("Track length: frames with a box, and seconds from first to last; means over tracks.")
    notes.append("Frames/s: of the detector's model alone and of the tracker alone, on the machine that ran them.")
    for row in rows:
        notes += [f"{row.detector} + {row.tracker}: {text}." for text in (row.scores or {}).get("warnings", ())]
    return list(dict.fromkeys(notes))
