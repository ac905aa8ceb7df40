"""Files that RF-DETR wrote of its runs, both forms, whole and half-written. Reference: values written by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from lib.files import DataError
from lib.runs.rfdetr_metrics import best_of, read_run

HEADER = "epoch,step,train/loss,val/AP/crane hook,val/ema_mAP_50,val/ema_mAP_50_95,"
HEADER += "val/mAP_50_95,val/segm_mAP_50_95,test/F1\n"
WHOLE = HEADER + (
    "0,9,,0.1,0.30,0.20,0.11,0.15,\n"
    "0,9,5.5,,,,,,\n"
    "1,19,,0.2,0.50,0.40,0.21,0.35,\n"
    "1,19,4.5,,,,,,\n"
    "1,19,,0.3,0.55,0.45,0.22,0.36,\n"  # made again after a kill
    "1,19,4.25,,,,,,\n"
    "2,29,,,,,,,0.9\n"  # the test after the last epoch
)


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder


def test_the_last_value_of_an_epoch_counts_and_averaged_weights_come_first(tmp_path: Path) -> None:
    first, second = read_run(written(tmp_path, "metrics.csv", WHOLE))
    assert first == {
        "epoch": 1, "source": 1.0, "train/loss": 5.5, "val/AP/crane hook": 0.1, "val/box_AP": 0.2, "val/box_AP50": 0.3,
        "val/mask_AP": 0.15,
    }  # fmt: skip
    assert (second["train/loss"], second["val/box_AP"], second["val/mask_AP"]) == (4.25, 0.45, 0.36)


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_half_a_line_at_the_end_is_left_out(tmp_path: Path, cut: int) -> None:
    rows = read_run(written(tmp_path, "metrics.csv", WHOLE[:-cut]))
    assert [row["epoch"] for row in rows] == [1, 2] and rows[0]["val/box_AP"] == 0.2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no column `epoch`"),
        (HEADER[:20], "names no column `epoch`"),
        (HEADER, "no whole epoch"),
        (HEADER + "0,9,,0", "no whole epoch"),
    ],
)
def test_a_run_without_an_epoch_says_so(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_run(written(tmp_path, "metrics.csv", text))


def test_log_txt_of_old_runs(tmp_path: Path) -> None:
    plain = {"epoch": 0, "train_loss": 6.0, "test_coco_eval_bbox": [0.1, 0.2] + [0.0] * 10}
    masks = {"test_coco_eval_masks": [0.05, 0.15] + [0.0] * 10}
    averaged = plain | masks | {"epoch": 1, "ema_test_coco_eval_bbox": [0.3, 0.4], "ema_test_coco_eval_masks": [0.25, 0.35]}
    lines = [json.dumps(plain | masks), json.dumps(averaged), json.dumps(averaged)[:30]]
    first, second = read_run(written(tmp_path, "log.txt", "\n".join(lines)))
    assert (first["source"], first["val/box_AP"], first["val/mask_AP50"], first["train/loss"]) == (0.0, 0.1, 0.15, 6.0)
    assert (second["source"], second["val/box_AP50"], second["val/mask_AP"]) == (1.0, 0.4, 0.25)
    with pytest.raises(DataError, match="line 1: no epoch of RF-DETR"):
        read_run(written(tmp_path, "log.txt", "what\n" + lines[0] + "\n"))


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither metrics\.csv nor log\.txt"):
        read_run(tmp_path)


def test_the_best_epoch_is_the_first_of_equal_ones_and_nan_is_none() -> None:
    rows = [{"epoch": 1, "s": math.nan}, {"epoch": 2, "s": 0.5}, {"epoch": 3, "s": 0.5}, {"epoch": 4}]
    assert best_of(rows, "s") == {"epoch": 2, "s": 0.5}
    assert best_of(rows[:1], "s") is None and best_of(rows, "other") is None
