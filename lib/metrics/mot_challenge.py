"""MOTChallenge's scores as TrackEval defines them: its preprocessing and all its numbers, over sequences in memory.

Not here: reading files (lib/scoring), tracks of the pipeline's own tables (tracking.py). TrackEval's own dataset class
does the preprocessing (MOT16, MOT17, MOT20: boxes matched to a distractor are removed, other classes and flag 0 are not
asked for; MOT15: flag 0 only) and its metric classes the rest, so the numbers are the reference's own.

HOTA, DetA, AssA, DetRe, DetPr, AssRe, AssPr, LocA, OWTA (means over 19 localisation thresholds), MOTP, IDF1 and the
rates range 0–1, MOTA, MODA, sMOTA, MOTAL −∞–1; higher is better. IDSW, Frag, CLR_FN, CLR_FP, ML are counts, lower is
better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from trackeval.datasets import MotChallenge2DBox
from trackeval.metrics import CLEAR, HOTA, Count, Identity

Benchmark = Literal["MOT15", "MOT16", "MOT17", "MOT20"]
BENCHMARKS: tuple[Benchmark, ...] = ("MOT15", "MOT16", "MOT17", "MOT20")
CLASSES = {
    1: "pedestrian", 2: "person on vehicle", 3: "car", 4: "bicycle", 5: "motorbike", 6: "non-motorised vehicle",
    7: "static person", 8: "distractor", 9: "occluder", 10: "occluder on the ground", 11: "occluder full", 12: "reflection",
    13: "crowd",
}  # fmt: skip
"""Classes of MOT16, MOT17 and MOT20 truth. MOT15 has none (-1)."""

Numbers = dict[str, float | int]


@dataclass(frozen=True)
class Rows:
    """Boxes of one file: frame (N,) int64 from 1, track (N,) int64, box (N, 4) float64 x, y, width, height in px, kind (N,)
    int64 class, flag (N,) float64: truth's “considered” (0 = not), or a prediction's confidence."""

    frame: np.ndarray
    track: np.ndarray
    box: np.ndarray
    kind: np.ndarray
    flag: np.ndarray


@dataclass(frozen=True)
class Sequence:
    """One sequence: truth, predictions and its length in frames."""

    truth: Rows
    predictions: Rows
    frames: int


class _InMemory(MotChallenge2DBox):
    """TrackEval's dataset without its files and folders: only its preprocessing is used."""

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark = benchmark
        self.do_preproc = True
        names = {number: name.replace(" ", "_") for number, name in CLASSES.items()} | {6: "non_mot_vehicle"}
        self.class_name_to_class_id = {name: number for number, name in names.items()}
        self.valid_class_numbers = list(CLASSES)


def mot_numbers(sequences: Mapping[str, Sequence], benchmark: Benchmark) -> tuple[dict[str, Numbers], Numbers]:
    """All of TrackEval's numbers per sequence, and combined over them (TrackEval's COMBINED_SEQ).

    Frames must lie in 1 … frames, an id must occur once a frame, true classes must be CLASSES (MOT15: any), predicted
    ones at most 1: the reader checks that.
    """
    threshold = {"THRESHOLD": 0.5, "PRINT_CONFIG": False}
    metrics = {"HOTA": HOTA(), "CLEAR": CLEAR(dict(threshold)), "Identity": Identity(dict(threshold)), "Count": Count()}
    dataset = _InMemory(benchmark)
    found: dict[str, dict[str, Any]] = {}
    for name, sequence in sequences.items():
        data = dataset.get_preprocessed_seq_data(_raw(name, sequence, dataset), "pedestrian")
        found[name] = {key: metric.eval_sequence(data) for key, metric in metrics.items()}
    together = {
        key: metric.combine_sequences({name: one[key] for name, one in found.items()}) for key, metric in metrics.items()
    }
    return {name: _plain(metrics, one) for name, one in found.items()}, _plain(metrics, together)


def _raw(name: str, sequence: Sequence, dataset: _InMemory) -> dict[str, Any]:
    """The sequence as TrackEval's `get_raw_seq_data` gives it: one list entry a frame."""
    truth, found, frames = sequence.truth, sequence.predictions, sequence.frames
    raw: dict[str, Any] = {"seq": name, "num_timesteps": frames}
    raw["gt_ids"], raw["tracker_ids"] = (_split(rows, _from_zero(rows.track), frames) for rows in (truth, found))
    raw["gt_dets"], raw["tracker_dets"] = (_split(rows, rows.box, frames) for rows in (truth, found))
    raw["gt_classes"], raw["tracker_classes"] = (_split(rows, rows.kind, frames) for rows in (truth, found))
    raw["gt_extras"] = [{"zero_marked": flags} for flags in _split(truth, truth.flag.astype(np.int64), frames)]
    raw["tracker_confidences"] = _split(found, found.flag, frames)
    pairs = zip(raw["gt_dets"], raw["tracker_dets"], strict=True)
    raw["similarity_scores"] = [dataset._calculate_similarities(true, given) for true, given in pairs]
    return raw


def _split(rows: Rows, values: np.ndarray, frames: int) -> list[np.ndarray]:
    """Values by frame, in the file's order within a frame."""
    order = np.argsort(rows.frame, kind="stable")
    return np.split(values[order], np.searchsorted(rows.frame[order], np.arange(2, frames + 1)))


def _from_zero(ids: np.ndarray) -> np.ndarray:
    """Ids renumbered in order: TrackEval makes a table as long as the largest id."""
    return np.unique(ids, return_inverse=True)[1].reshape(ids.shape)


def _plain(metrics: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> Numbers:
    """TrackEval's fields under TrackEval's names: means over thresholds where it has lists, counts as integers."""
    hota = metrics["HOTA"]
    numbers: Numbers = {name: float(np.mean(results["HOTA"][name])) for name in hota.float_array_fields + hota.float_fields}
    for key in ("CLEAR", "Identity", "Count"):
        for name in metrics[key].fields:
            value = results[key][name]
            numbers[name] = int(value) if name in metrics[key].integer_fields else float(value)
    return numbers
