"""`score detection`: COCO truth and COCO results become the twelve official numbers. Not here: the file checks
(coco_files).

pycocotools' own rules are kept, so that the numbers are the published ones: true areas are those stated (`area`), the area
of a predicted box is width × height, that of a predicted mask its pixels (unless the entry also holds a box, whose area
pycocotools then takes).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "boxes and masks: COCO instances and COCO results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The task's own arguments."""
    parser.add_argument("--format", choices=["coco"], default="coco", help="format of both files")
    parser.add_argument(
        "--truth", type=Path, required=True, metavar="JSON", help="instances: images, categories, annotations"
    )
    parser.add_argument("--predictions", type=Path, required=True, metavar="JSON", help="results: a list of detections")
    parser.add_argument("--masks", action="store_true", help="score the masks too (`segm`)")


def score(given: argparse.Namespace) -> dict[str, Any]:
    """The twelve numbers of boxes (`bbox`) and, with --masks, of masks (`segm`), overall and per class. Raises
    DataError.
    """
    from lib.metrics.coco_summary import coco_numbers
    from lib.scoring.coco_files import read_results, read_truth

    truth = read_truth(given.truth, masks=given.masks)
    results = read_results(given.predictions, truth, masks=given.masks)
    names = _class_names(truth.dataset["categories"])
    counts = _counts(truth.dataset, results.entries)
    values: dict[str, Any] = {"task": "detection", "format": "coco"}
    for kind in ("bbox", "segm") if given.masks else ("bbox",):
        overall, per_class = coco_numbers(truth.dataset, results.entries, kind=kind)
        values[kind] = {"overall": overall, "per_class": {names[one]: per_class[one] | counts[one] for one in names}}
    values["images"] = len(truth.dataset["images"])
    values["truth"] = sum(one["truth"] for one in counts.values())
    values["crowds"] = sum(one["crowds"] for one in counts.values())
    values["predictions"] = len(results.entries)
    values["warnings"] = [*truth.warnings, *results.warnings, *_empty(values)]
    return values


def _class_names(categories: list[dict[str, Any]]) -> dict[int, str]:
    """Category id -> name, with the id added where two categories have one name."""
    names = [category["name"] for category in categories]
    return {
        one["id"]: one["name"] if names.count(one["name"]) == 1 else f"{one['name']} (id {one['id']})" for one in categories
    }


def _counts(dataset: dict[str, Any], results: list[dict[str, Any]]) -> dict[int, dict[str, int]]:
    counts = {one["id"]: {"truth": 0, "crowds": 0, "predictions": 0} for one in dataset["categories"]}
    for annotation in dataset["annotations"]:
        counts[annotation["category_id"]]["crowds" if annotation["iscrowd"] else "truth"] += 1
    for entry in results:
        counts[entry["category_id"]]["predictions"] += 1
    return counts


def _empty(values: dict[str, Any]) -> list[str]:
    if not values["truth"]:
        return ["no true object that counts: every number is null"]
    return [] if values["predictions"] else ["no prediction: every number is 0"]
