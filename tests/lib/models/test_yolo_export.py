"""The written ONNX file against the torch model on the same frames, and its card against the results it was made from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from lib.config.base import ConfigError
from lib.files import DataError, read_json, sha256_file, write_json
from lib.models import load_predictor, yolo, yolo_export
from lib.reporting.model_card import model_card
from tests.conftest import PROJECT

META = {
    "stage": "train",
    "identity": "1" * 64,
    "inputs": {"subset": "2" * 64, "shards": "3" * 64},
    "rebuild": "snakemake -- results/train/site/full/seed=4/model.weights",
    "code": {"commit": "abc", "dirty": False},
    "packages": {"torch": "9"},
    "hardware": {"cpus": 2, "machine": "x86_64"},
    "settings": {"training": {"lr0": 0.004}},
    "finished": "2026-01-01",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one training, its arm, its scores and a floor."""
    results = tmp_path_factory.mktemp("work") / "results"
    folder = results / "train/site/full/seed=4"
    folder.mkdir(parents=True)
    net = yolo.build("yolo11n", ["a", "b|<b>"], seed=0)
    yolo.save_model(net, folder / "model.weights", {"task": "detect", "imgsz": 64})
    card = {"format": "ultralytics", "class_names": ["a", "b|<b>"], "input_size": 64, "status": "finished"}
    card |= {"model": "yolo11n", "parameters": 5, "seconds": 7.0, "attempts": 1, "peak_memory_mb": 9.0}
    card |= {"peak_gpu_memory_mb": 2048.0}
    write_json(folder / "model.json", card | {"sha256": sha256_file(folder / "model.weights")})
    write_json(folder / "meta.json", META)
    write_json(results / "subsets/site/half/seed=4.meta.json", {"identity": "2" * 64})
    counts = {"a": {"frames": 31, "instances": 62, "fraction": 0.5}}
    write_json(results / "subsets/site/half/seed=4.counts.json", {"classes": counts})
    write_json(results / "train/site/prior/seed=4/model.json", {"format": "floor"})
    for variant, score in (("full", 0.625), ("prior", 0.0625)):
        scores = {"metrics": {"AP": score}, "per_class": {"a": {"AP": None}}, "counts": {"n_videos": 12}}
        write_json(results / f"metrics/site/{variant}/seed=4/tta=none.json", scores)
    (results / "run_config.yaml").write_text(yaml.safe_dump({"datasets": {"site": {"licence": "CC0"}}}))
    return folder


def test_the_file_says_what_the_model_says(trained: Path, tmp_path: Path) -> None:
    difference = yolo_export.to_onnx(trained / "model.weights", tmp_path / "m.onnx", imgsz=64)
    assert 0 < difference < yolo_export.TOLERANCE
    frames = [np.random.default_rng(1).integers(0, 255, (40, 64, 3), dtype=np.uint8)] * 2
    call = {"conf": 0.0, "iou": 0.7, "max_det": 20, "imgsz": 96}  # another size than stated, two at a time
    mine = load_predictor(tmp_path / "m.onnx", {"format": "onnx"}).predict(frames, **call)
    theirs = load_predictor(trained / "model.weights", {"format": "ultralytics"}).predict(frames, **call)
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(np.sort(one[:, 4]), np.sort(other[:, 4]), atol=1e-4)


def test_a_network_that_differs_is_not_kept(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yolo_export, "TOLERANCE", 0.0)
    with pytest.raises(DataError, match="differs by"):
        yolo_export.to_onnx(trained / "model.weights", tmp_path / "m.onnx", imgsz=64)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r"multiple of 32\. Hint: 96"):
        yolo_export.to_onnx(trained / "model.weights", tmp_path / "m.onnx", imgsz=100)


def test_the_card_holds_what_the_results_hold(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "full.onnx").write_bytes(b"x")
    card = read_json(trained / "model.json")
    text = model_card(trained / "model.weights", card, tmp_path / "full.onnx", difference=0.001)
    for row in (
        "# full on site",
        "| a | 31 | 62 | 50% |",
        "| site (12 test videos) | none | 0.625 | n/a | n/a | n/a | n/a |",
        "| floor: prior | none | 0.062 | n/a | n/a | n/a | n/a |",
        "| rebuild | `snakemake -- results/train/site/full/seed=4/model.weights` |",
        "| cost | 7 s in 1 attempt(s), 9 MiB and 2048 MiB of GPU memory, 2 × x86_64 CPU |",
        "Licence of the data: CC0",
        "lr0: 0.004",
        "b\\|&lt;b>",
    ):
        assert row in text
    assert yaml.safe_load(text.split("---")[1])["license"] == "agpl-3.0"
    bare = model_card(tmp_path / "other.pt", card, tmp_path / "full.onnx", difference=None)
    assert "without its lineage" in bare and "Scores" not in bare


@pytest.mark.slow
def test_the_program_writes_the_same_file_whatever_the_hashes(trained: Path, tmp_path: Path) -> None:
    for seed in ("1", "2"):
        words = ["--model", str(trained / "model.json"), "--to", "onnx", "--out", str(tmp_path / seed)]
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(PROJECT)}
        subprocess.run([sys.executable, "-m", "workflow_scripts.convert", *words], check=True, env=environment)
    assert sha256_file(tmp_path / "1/full.onnx") == sha256_file(tmp_path / "2/full.onnx")
    assert (tmp_path / "1/README.md").is_file()
