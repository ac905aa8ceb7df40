"""What RF-DETR itself wrote of a run, as one row per epoch: metrics.csv (since 1.6) or log.txt (before). Not here: our own
history.csv (lib/history.py), which trainings of ours write.

metrics.csv has several rows per epoch, and, where a run was killed and went on, rows of an epoch that was made twice: the
last value that is there counts. A live or killed run may end in half a line, which is left out.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from lib.files import DataError

FILES = ("metrics.csv", "log.txt")
BOXES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR_1", "AR_10", "AR_100")
"""COCO's list of twelve, as far as it is read, as log.txt has it."""
CSV_SCORES = {"mAP_50_95": "box_AP", "mAP_50": "box_AP50", "segm_mAP_50_95": "mask_AP", "segm_mAP_50": "mask_AP50"}

Row = dict[str, float]


def read_run(folder: Path) -> list[Row]:
    """Epochs of a run: epoch (from 1), train/loss, val/box_AP, val/box_AP50, val/mask_AP, val/mask_AP50 and more.

    Scores are of the averaged weights where these were scored (`source` is 1 for them, else 0). DataError: neither file, or
    no whole epoch.
    """
    for name, read in zip(FILES, (_read_csv, _read_log), strict=True):
        if (folder / name).is_file():
            rows = read(folder / name)
            if not rows:
                raise DataError(f"{folder / name}: holds no whole epoch yet. Hint: was the run killed in its first one?")
            return rows
    raise DataError(f"{folder}: holds neither {' nor '.join(FILES)}. Hint: name the output folder of an RF-DETR run.")


def best_of(rows: list[Row], score: str) -> Row | None:
    """The first row with the highest score; None where none has it, or as a number."""
    known = [row for row in rows if math.isfinite(row.get(score, math.nan))]
    return max(known, key=lambda row: row[score]) if known else None


def _read_csv(path: Path) -> list[Row]:
    text = path.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1].splitlines()
    lines = list(csv.reader(whole))
    if not lines or "epoch" not in lines[0]:
        raise DataError(f"{path}: its first line names no column `epoch`. Hint: is it a metrics.csv of RF-DETR, and whole?")
    header, epochs = lines[0], {}
    for line in lines[1:]:
        values = _numbers(header, line)
        if values and "epoch" in values and not any(name.startswith("test/") for name in values):
            epochs.setdefault(int(values.pop("epoch")), {}).update(values)
    return [_from_csv(epoch, epochs[epoch]) for epoch in sorted(epochs)]


def _numbers(header: list[str], line: list[str]) -> Row | None:
    """The cells of a line that hold something; None for a line that was cut."""
    if len(line) != len(header):
        return None
    try:
        return {name: float(cell) for name, cell in zip(header, line, strict=True) if cell}
    except ValueError:
        return None


def _from_csv(epoch: int, values: Row) -> Row:
    row: Row = {"epoch": epoch + 1}
    row |= {name: value for name, value in values.items() if name.startswith(("train/", "val/AP"))}
    row["source"] = float(any(name.startswith("val/ema_") for name in values))
    for theirs, ours in CSV_SCORES.items():
        value = values.get(f"val/ema_{theirs}", values.get(f"val/{theirs}"))
        if value is not None:
            row[f"val/{ours}"] = value
    return row | {name: values[name] for name in ("val/mAR", "val/F1", "val/loss") if name in values}


def _read_log(path: Path) -> list[Row]:
    rows = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            rows.append(_from_log(entry))
        except (ValueError, KeyError, TypeError) as error:
            if number < len(lines):
                raise DataError(f"{path}, line {number}: no epoch of RF-DETR ({error}). Hint: was it edited?") from error
    return rows


def _from_log(entry: dict[str, Any]) -> Row:
    row: Row = {"epoch": int(entry["epoch"]) + 1, "train/loss": float(entry["train_loss"])}
    averaged = "ema_test_coco_eval_bbox" in entry
    row["source"] = float(averaged)
    for kind, theirs in (("box", "coco_eval_bbox"), ("mask", "coco_eval_masks")):
        scores = entry.get(f"{'ema_' if averaged else ''}test_{theirs}", ())
        row |= {f"val/{kind}_{name}": float(value) for name, value in zip(BOXES, scores, strict=False)}
    return row
