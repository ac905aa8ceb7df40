"""The course of a run, epoch by epoch, in one form: from our history.csv, or from what RF-DETR itself wrote. Read-only.

A row holds epoch (from 1), loss, mask_mAP, mask_mAP50, box_mAP, box_mAP50; what was not recorded is absent, NaN is what the
run recorded as no number. Not here: the files themselves (lib/history.py, lib/runs/rfdetr_metrics.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from lib.files import DataError
from lib.history import read_rows
from lib.registry.entry import OURS, SCORES, Entry
from lib.runs.rfdetr_metrics import read_run

Row = dict[str, float]
NAMES = {
    "detection": {"val/AP": "box_mAP", "val/AP50": "box_mAP50"},
    "segmentation": {"val/AP": "mask_mAP", "val/AP50": "mask_mAP50", "val/box_AP": "box_mAP", "val/box_AP50": "box_mAP50"},
}
"""Task → column of our history → what it is."""
RFDETR_NAMES = {
    "val/mask_AP": "mask_mAP",
    "val/mask_AP50": "mask_mAP50",
    "val/box_AP": "box_mAP",
    "val/box_AP50": "box_mAP50",
}
_PARTS = ("train/box_loss", "train/cls_loss", "train/dfl_loss")


def epochs_of(entry: Entry) -> list[Row]:
    """The course of a run: of a finished one of ours history.csv, else what the engine itself wrote so far.

    DataError: nothing, or nothing whole.
    """
    if entry.output is None:
        raise DataError(f"{entry.id}: nobody recorded its folder.")
    folder = Path(entry.output)
    if entry.origin != OURS:
        return from_rfdetr(folder)
    if entry.made:
        return from_history(folder / "history.csv", entry.task)
    return from_rfdetr(folder / "state")


def from_rfdetr(folder: Path) -> list[Row]:
    """From metrics.csv or log.txt."""
    rows = []
    for told in read_run(folder):
        row = {"epoch": told["epoch"], "source": told["source"]}
        row |= {ours: told[name] for name, ours in RFDETR_NAMES.items() if name in told}
        rows.append(row | ({"loss": told["train/loss"]} if "train/loss" in told else {}))
    return rows


def from_history(path: Path, task: str | None) -> list[Row]:
    """From our history.csv; a training without one column for its whole loss (YOLO's) has the sum of its parts."""
    names = NAMES.get(task or "", {})
    rows = []
    for told in read_rows(path):
        row = {"epoch": told["epoch"]} | {ours: told[name] for name, ours in names.items() if name in told}
        loss = _loss(told)
        rows.append(row | ({} if loss is None else {"loss": loss}))
    if not rows:
        raise DataError(f"{path}: holds no row. Hint: did the training end in its first epoch?")
    return rows


def _loss(values: Mapping[str, float]) -> float | None:
    if "train/loss" in values:
        return values["train/loss"]
    parts = [values[name] for name in _PARTS if name in values]
    return sum(parts) if parts else None


def best_of(rows: Iterable[Row]) -> dict[str, float | str]:
    """Scores and epoch of the first row with the highest mAP of masks, or of boxes where there are none; {} = no score."""
    listed = list(rows)
    for name in ("mask_mAP", "box_mAP"):
        known = [row for row in listed if math.isfinite(row.get(name, math.nan))]
        if known:
            best = max(known, key=lambda row: row[name])
            told = {key: best[key] for key in (*SCORES, "epoch") if key in best and math.isfinite(best[key])}
            return told | ({"source": "ema" if best["source"] else "regular"} if "source" in best else {})
    return {}


def strange_epochs(rows: Iterable[Row]) -> list[int]:
    """Epochs in which a loss or a score is no number."""
    return [int(row["epoch"]) for row in rows if any(not math.isfinite(value) for value in row.values())]
