"""Reference: pycocotools' COCO, loadRes and COCOeval on the same files, all twelve numbers and each class, on hard
generated sets and on a real sample of COCO with masks; and the evaluation time against it."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lib.metrics.coco_summary import NUMBERS
from lib.scoring import detection


def reference(truth: Path, results: Path, kind: str, category: int | None = None) -> np.ndarray:
    """pycocotools' `stats` (12 numbers, -1 = none)."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(COCO(str(truth)), COCO(str(truth)).loadRes(str(results)), kind)
        if category is not None:
            evaluator.params.catIds = [category]
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats


def ours(truth: Path, results: Path, *, masks: bool = False) -> dict[str, Any]:
    return detection.score(argparse.Namespace(truth=truth, predictions=results, masks=masks))


def as_stats(numbers: dict[str, float | None]) -> np.ndarray:
    return np.array([-1.0 if numbers[name] is None else numbers[name] for name in NUMBERS])


def assert_equal(truth: Path, results: Path, *, masks: bool) -> dict[str, Any]:
    scores = ours(truth, results, masks=masks)
    categories = json.loads(truth.read_text())["categories"]
    for kind in ("bbox", "segm") if masks else ("bbox",):
        np.testing.assert_allclose(as_stats(scores[kind]["overall"]), reference(truth, results, kind), rtol=0, atol=1e-9)
        for one in categories:
            expected = reference(truth, results, kind, one["id"])
            np.testing.assert_allclose(as_stats(scores[kind]["per_class"][one["name"]]), expected, rtol=0, atol=1e-9)
    return scores


def hard_set(seed: int, folder: Path, *, images: int = 12) -> tuple[Path, Path]:
    """Crowds, equal scores, over 100 detections an image, areas on the size limits, boxes without area, classes without
    truth or with crowds alone, images without truth or detections, scattered ids, areas that are not width × height."""
    rng = np.random.default_rng(seed)
    image_ids = rng.choice(10**6, images, replace=False).tolist()
    image_ids[2] = 0
    category_ids = [0, 3, 900, 41, 12]  # 41 has no truth, 12 has crowds alone
    annotations, results = [], []
    for place, image in enumerate(image_ids):
        for _ in range(0 if place == 0 else int(rng.integers(1, 25))):
            side = float(rng.choice([8, 32, 33, 96, 97, 200]))
            box = [
                *rng.uniform(-5, 400, 2).round(1).tolist(),
                side,
                side if rng.random() < 0.5 else float(rng.integers(0, 120)),
            ]
            category = int(rng.choice([0, 3, 900, 12]))
            crowd = int(category == 12 or rng.random() < 0.1)
            area = box[2] * box[3] if rng.random() < 0.5 else float(rng.choice([32.0**2, 96.0**2, 5000.0]))
            one = {"id": 10 * len(annotations) + 5, "image_id": image, "category_id": category, "bbox": box, "area": area}
            annotations.append(one | {"iscrowd": crowd})
            if place == 1:
                continue
            for _ in range(int(rng.integers(0, 20))):
                near = np.array(box) + rng.normal(0, 4, 4)
                near[2:] = np.maximum(near[2:], 0)
                score = round(float(rng.random()), 1)
                label = category if rng.random() < 0.8 else int(rng.choice(category_ids))
                results.append({"image_id": image, "category_id": label, "bbox": near.tolist(), "score": score})
    rng.shuffle(results)
    listed = [{"id": one, "name": f"class {one}"} for one in category_ids]
    pictures = [{"id": one, "width": 640, "height": 480} for one in image_ids]
    truth, found = folder / "instances.json", folder / "results.json"
    truth.write_text(json.dumps({"images": pictures, "categories": listed, "annotations": annotations}))
    found.write_text(json.dumps(results))
    return truth, found


@pytest.mark.parametrize("seed", range(4))
def test_hard_boxes_equal_pycocotools(seed: int, tmp_path: Path) -> None:
    truth, results = hard_set(seed, tmp_path)
    scores = assert_equal(truth, results, masks=False)
    assert 0.05 < scores["bbox"]["overall"]["AP"] < 0.95
    assert scores["bbox"]["per_class"]["class 41"]["AP"] is None and scores["bbox"]["per_class"]["class 12"]["truth"] == 0
    per_image = [entry["image_id"] for entry in json.loads(results.read_text())]
    assert max(per_image.count(one) for one in set(per_image)) > 100


@pytest.mark.parametrize("boxes_too", [False, True])
def test_hard_masks_equal_pycocotools(boxes_too: bool, tmp_path: Path) -> None:
    """Polygons, packed and plain RLE in the truth; results with masks alone (their pixels are the area) and with boxes
    too.
    """
    rng = np.random.default_rng(5)
    size, annotations, results = (120, 160), [], []
    for image in (1, 2, 3):
        for number in range(6):
            x, y, w, h = (float(value) for value in rng.integers(5, 60, 4))
            corners = [x, y, x + w, y, x + w, y + h, x, y + h / 2]
            packed = mask.merge(mask.frPyObjects([corners], *size))
            pixels = mask.decode(packed)
            runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], pixels.T.ravel(), [2]]))))
            plain = {"size": list(size), "counts": ([0] if pixels[0, 0] else []) + runs.tolist()}
            text = {"size": list(size), "counts": packed["counts"].decode()}
            one = {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": 1 + number % 2,
                "iscrowd": int(number == 5),
            }
            one |= {"segmentation": ([corners], text, plain)[number % 3], "area": float(pixels.sum())}
            annotations.append(one | {"bbox": mask.toBbox(packed).tolist()})
            for shift in rng.integers(-9, 10, int(rng.integers(0, 4))):
                moved = mask.encode(np.asfortranarray(np.roll(pixels, shift, axis=1)))
                entry = {"image_id": image, "category_id": 1 + int(rng.random() < 0.5), "score": round(rng.random(), 2)}
                entry["segmentation"] = {"size": list(size), "counts": moved["counts"].decode()}
                results.append(entry | ({"bbox": [x + float(shift), y, w, h]} if boxes_too else {}))
    pictures = [{"id": one, "width": size[1], "height": size[0]} for one in (1, 2, 3)]
    listed = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    (tmp_path / "t.json").write_text(json.dumps({"images": pictures, "categories": listed, "annotations": annotations}))
    (tmp_path / "p.json").write_text(json.dumps(results))
    scores = assert_equal(tmp_path / "t.json", tmp_path / "p.json", masks=True)
    assert any("box's area" in text for text in scores["warnings"]) == boxes_too


@pytest.mark.mirror
def test_a_real_sample_equals_pycocotools(tmp_path: Path) -> None:
    mirror = os.environ.get("VIPERSIGHT_MIRROR")
    truth = Path(mirror or "") / "det" / "coco-mini" / "annotations" / "instances_val2017.json"
    if not mirror or not truth.is_file():
        pytest.skip("needs VIPERSIGHT_MIRROR, a folder that holds det/coco-mini")
    rng = np.random.default_rng(0)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
    results = []
    for annotation in coco.dataset["annotations"]:
        for shift in rng.integers(-8, 9, int(rng.integers(0, 4))):
            moved = mask.encode(np.asfortranarray(np.roll(coco.annToMask(annotation), shift, axis=1)))
            entry = {"image_id": annotation["image_id"], "category_id": annotation["category_id"]}
            entry["segmentation"] = {"size": moved["size"], "counts": moved["counts"].decode()}
            results.append(entry | {"score": round(float(rng.random()), 2)})
    (tmp_path / "p.json").write_text(json.dumps(results))
    scores = ours(truth, tmp_path / "p.json", masks=True)
    for kind in ("bbox", "segm"):
        np.testing.assert_allclose(
            as_stats(scores[kind]["overall"]), reference(truth, tmp_path / "p.json", kind), atol=1e-9
        )
        assert 0.2 < scores[kind]["overall"]["AP"] < 0.9


def test_without_predictions_or_truth(tmp_path: Path) -> None:
    truth, results = hard_set(0, tmp_path, images=3)
    results.write_text("[]")
    scores = ours(truth, results)
    assert scores["bbox"]["overall"]["AP"] == 0.0 and scores["warnings"] == ["no prediction: every number is 0"]
    values = json.loads(truth.read_text())
    truth.write_text(json.dumps(values | {"annotations": []}))
    scores = ours(truth, results)
    assert set(scores["bbox"]["overall"].values()) == {None} and "no true object" in scores["warnings"][0]


def test_an_annotation_with_id_0_is_found_like_the_others(tmp_path: Path) -> None:
    """pycocotools writes 0 for “not matched” and counts its match as a miss; the numbers here are those of ids from 1."""
    box = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 50]}
    picture = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "a"}]}
    zero = picture | {"annotations": [box | {"id": 0, "area": 2500, "iscrowd": 0}]}
    (tmp_path / "t.json").write_text(json.dumps(zero))
    (tmp_path / "p.json").write_text(json.dumps([box | {"score": 0.9}]))
    scores = ours(tmp_path / "t.json", tmp_path / "p.json")
    assert scores["bbox"]["overall"]["AP"] == pytest.approx(1.0) and "id 0" in scores["warnings"][0]


@pytest.mark.slow
def test_large_sets_are_scored_like_by_pycocotools(tmp_path: Path) -> None:
    """Over 10,000 detections on 200 images; how much faster is told by tests/benchmarks/coco_scores.py."""
    truth, results = hard_set(3, tmp_path, images=200)
    scores = ours(truth, results)
    np.testing.assert_allclose(as_stats(scores["bbox"]["overall"]), reference(truth, results, "bbox"), atol=1e-9)
    assert scores["predictions"] > 10_000
