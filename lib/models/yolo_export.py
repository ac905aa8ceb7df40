"""A YOLO detector as an ONNX file, by ultralytics' own exporter, and the proof that both say the same. Not here: running
ONNX files (yolo_onnx.py), the card that goes with the file (lib/reporting/model_card.py)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from lib.config.base import ConfigError
from lib.files import DataError, atomic
from lib.models.yolo import YoloPredictor, checkpoint_model, quiet_ultralytics
from lib.models.yolo_onnx import OnnxPredictor

TOLERANCE = 1e-2
"""Largest difference between the two networks' outputs that counts as rounding: boxes in px, scores in 0..1."""
_PROBES = 4  # frames that both networks look at


def to_onnx(checkpoint: Path, output: Path, *, imgsz: int, fixed: bool = False, opset: int | None = None) -> float:
    """Write the detector in `checkpoint` as an ONNX file and return how far the two networks' outputs lie apart.

    imgsz: input size, px, a multiple of 32; the default of the file. fixed: one frame of just that size at a time (some
    runtimes want it); else any number and size. opset: None = the highest that runtimes know well. No date is stored, so
    that the same model gives the same file. The file is kept only when the difference is below TOLERANCE.

    Raises ConfigError for a size that is no multiple of 32, DataError when the networks differ.
    """
    if imgsz % 32:
        raise ConfigError(f"--imgsz {imgsz}: must be a multiple of 32. Hint: {max(32, round(imgsz / 32) * 32)} is near.")
    quiet_ultralytics()
    from ultralytics.engine.exporter import Exporter

    net = checkpoint_model(checkpoint)
    with tempfile.TemporaryDirectory(prefix="vipersight-") as folder:
        net.args = {"data": None} | net.args  # the exporter asks for the dataset's name, which our files do not hold
        net.task, net.pt_path = "detect", str(Path(folder) / "model.pt")  # the exporter names its file after it
        wishes = {"format": "onnx", "imgsz": imgsz, "dynamic": not fixed, "batch": 1, "simplify": True, "device": "cpu"}
        made = Exporter(overrides=wishes | ({"opset": opset} if opset else {}))(model=net)
        _reproducible(Path(made))
        difference = largest_difference(checkpoint, Path(made), imgsz)
        if not difference <= TOLERANCE:
            raise DataError(
                f"{checkpoint}: the ONNX network's output differs by {difference:.3g} (at most {TOLERANCE:g} is rounding). "
                "Hint: another --opset; the file was not kept."
            )
        with atomic(output) as temporary:
            shutil.copyfile(made, temporary)
    return difference


def _reproducible(path: Path) -> None:
    """Take out what differs from run to run: the date, and inferred shapes in the order of Python's hashes."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    kept = [entry for entry in model.metadata_props if entry.key != "date"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    del model.graph.value_info[:]
    onnx.save(model, str(path))


def largest_difference(checkpoint: Path, onnx_file: Path, imgsz: int) -> float:
    """Largest absolute difference of raw outputs (boxes in px, scores) over seeded frames of noise and of flat colour."""
    first, second = YoloPredictor(checkpoint_model(checkpoint)), OnnxPredictor(onnx_file)
    rng = np.random.default_rng(0)
    worst = 0.0
    for number in range(_PROBES):
        spread = (0, 20, 80, 255)[number]
        frame = np.clip(128 + rng.normal(0, spread, (imgsz, imgsz, 3)), 0, 255).astype(np.uint8)
        worst = max(worst, float(np.abs(first.raw([frame], imgsz) - second.raw([frame], imgsz)).max()))
    return worst
