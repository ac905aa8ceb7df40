"""Detect and track a clip: our two programs against ultralytics' `YOLO.track`, same clip, ONNX file and parameters.

Needs VIPERSIGHT_MIRROR. Ours is `workflow_scripts.detect` and then `workflow_scripts.track`, whole processes with their
start, tables and meta.json, as a job of the DAG runs them; the peer is one process that keeps its boxes as a plain array.
CPU seconds outside of the session: all CPU seconds of the processes less those of the ONNX session itself (counted.py).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from lib.data.video import probe
from lib.files import write_json, write_text
from lib.metrics.tracking import evaluate
from lib.tables import read_table, write_table
from tests.benchmarks.measure import Result, Spent, compared, interleaved, main, python

CLIPS = {
    "street": "intel-person-bicycle-car/person-bicycle-car-detection.gif",
    "cars": "intel-car-detection/car-detection.mp4",
    "dog": "sam2-dog/01_dog.mp4",
}
DETECTORS = {
    "yolo11n-320": ("yolo11n-int8-onnx-320/yolo11n_int8.onnx", 320),
    "yolov8n-640": ("yolov8n-int8-onnx/yolov8n_int8.onnx", 640),
}
CASES: dict[str, list[tuple[str, str]]] = {
    "tiny": [("yolo11n-320", "street")],
    "small": [("yolo11n-320", "cars"), ("yolov8n-640", "street")],
    "full": [("yolo11n-320", "cars"), ("yolo11n-320", "dog"), ("yolov8n-640", "dog")],
}
REPEATS = {"tiny": 1, "small": 2, "full": 3}
CONF, IOU = 0.1, 0.7
SHORT = 200
"""Frames; on shorter clips both sides do little but start, and the target for CPU seconds says nothing."""
SAME = 0.95
"""IoU from which two boxes are the same box."""
BYTETRACK = {"track_high_thresh": 0.25, "track_low_thresh": 0.1, "new_track_thresh": 0.25, "track_buffer": 30}
BYTETRACK |= {"match_thresh": 0.8, "fuse_score": True, "tracker_type": "bytetrack"}
TRACKER = {"kind": "bytetrack", "track_thresh": 0.25, "min_conf": 0.1, "match_thresh": 0.8, "track_buffer": 30}
"""The same parameters by boxmot's names; a new track starts from track_thresh, scores are always fused."""


def measure(size: str) -> Result:
    mirror = os.environ.get("VIPERSIGHT_MIRROR")
    if not mirror:
        sys.exit("VIPERSIGHT_MIRROR is not set: the clips and weights are not at hand.")
    result = Result("Detect and track, against YOLO.track")
    for detector, clip in CASES[size]:
        with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as folder:
            case = Case(Path(mirror), Path(folder), detector, clip)
            runs = interleaved({"ours": case.ours, "YOLO.track": case.peer}, REPEATS[size])
            case.report(result, runs)
    result.notes.append(f"Clips under {SHORT} frames are mostly start; the target for CPU seconds is for longer ones.")
    result.notes.append("Ours: detect and track as two processes one after the other; memory is the larger of both.")
    result.notes.append(
        "Both sides decode with FFmpeg and suppress by the same rule; Kalman filter and lost tracks are each library's own."
    )
    return result


class Case:
    """One detector on one clip."""

    def __init__(self, mirror: Path, folder: Path, detector: str, clip: str) -> None:
        self.folder, self.detector, self.clip = folder, detector, clip
        weights, self.imgsz = DETECTORS[detector]
        self.weights, self.media = mirror / "weights" / weights, mirror / "video" / CLIPS[clip]
        facts = probe(self.media)
        self.frames = facts.frames
        row = {"video": clip, "original": self.media.name, "split": "test", "path": str(self.media), "kind": "video"}
        row |= {"sha256": "", "stream": facts.stream, "fps": facts.fps, "frames": facts.frames, "width": facts.width}
        write_table(
            folder / "manifest.parquet", pd.DataFrame([row | {"height": facts.height, "duration_s": 1.0}]), "manifest"
        )
        write_json(folder / "weights.json", {"format": "onnx", "file": "model.onnx"})
        (folder / "model.onnx").symlink_to(self.weights)
        write_text(folder / "bytetrack.yaml", json.dumps(BYTETRACK))

    def ours(self) -> Spent:
        detector = {"kind": "yolo", "weights": "w", "imgsz": self.imgsz, "conf": CONF, "iou": IOU, "max_det": 300}
        common = ["--manifest", "manifest.parquet", "--chunk", "0", "--chunks", "1"]
        detect = ["--settings", json.dumps({"recipe": 1, "detector": detector}), "--weights", "weights.json"]
        track = ["--settings", json.dumps({"recipe": 1, "tracker": TRACKER, "stride": 1}), "--detections", "boxes.parquet"]
        first = self._run("workflow_scripts.detect", *common, *detect, "--output", "boxes.parquet")
        return first + self._run("workflow_scripts.track", *common, *track, "--output", "tracks.parquet", session=False)

    def peer(self) -> Spent:
        words = [self.weights, self.media, str(self.imgsz), str(CONF), str(IOU), "bytetrack.yaml", "peer.npy"]
        return self._run("tests.benchmarks.yolo_track", *words)

    def _run(self, module: str, *words: str | Path, session: bool = True) -> Spent:
        """session: it runs the model, whose own seconds are then counted."""
        figures = self.folder / "figures.json"
        env = {"YOLO_CONFIG_DIR": str(self.folder), "VIPERSIGHT_DEVICE": "cpu"}
        if not session:
            spent = python(module, *words, folder=self.folder, env=env)
            return Spent(spent.wall, spent.cpu, spent.memory, {"outside": spent.cpu})
        spent = python("tests.benchmarks.counted", figures, module, *words, folder=self.folder, env=env, reads=figures)
        return Spent(spent.wall, spent.cpu, spent.memory, {"outside": spent.cpu - spent.more["session"]})

    def report(self, result: Result, runs: dict[str, list[Spent]]) -> None:
        name = f"{self.detector} on {self.clip} ({self.frames} frames)"
        names = {"ours": "ours", "peer": "YOLO.track"}
        half = ("<=", 0.5) if self.frames >= SHORT else None
        why = "Decoding is the same work on both sides; most of the rest of ours is starting two programs and a child."
        rows = [("wall", "wall", "s", ("<=", 1.0)), ("peak memory", "memory", "MiB", ("<=", 1.0))]
        for what, figure, unit, target in [*rows, ("CPU outside of the session", "outside", "s", half)]:
            result.rows.append(compared(f"{name}: {what}", runs, figure, unit=unit, target=target, reason=why, **names))
        result.rows.append(compared(f"{name}: CPU in all", runs, "cpu", **names))
        mine, theirs = read_table(self.folder / "tracks.parquet", "tracks"), self._theirs()
        result.facts[f"{name}: boxes matched"] = round(same_boxes(mine, theirs), 4)
        result.facts[f"{name}: IDF1 between both"] = round(idf1(mine, theirs, self.frames), 4)
        result.facts[f"{name}: boxes"] = [len(mine), len(theirs)]

    def _theirs(self) -> pd.DataFrame:
        """The peer's rows with TRACKS' columns (class as its index)."""
        rows = np.load(self.folder / "peer.npy")
        table = pd.DataFrame(rows, columns=["frame", "x1", "y1", "x2", "y2", "track", "score", "class"])
        return table.astype({"frame": int, "track": int}).assign(video=self.clip)


def same_boxes(mine: pd.DataFrame, theirs: pd.DataFrame) -> float:
    """Share of the boxes of both sides that have a box of the other side at IoU ≥ SAME, one to one in every frame, 0..1."""
    other = dict(iter(theirs.groupby("frame")))
    matched = sum(_matched(part, other[frame]) for frame, part in mine.groupby("frame") if frame in other)
    total = len(mine) + len(theirs)
    return 2 * matched / total if total else 1.0


def _matched(mine: pd.DataFrame, theirs: pd.DataFrame) -> int:
    columns = ["x1", "y1", "x2", "y2"]
    a, b = mine[columns].to_numpy()[:, None], theirs[columns].to_numpy()[None]
    inner = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (a, b)]
    overlap = inner / (areas[0] + areas[1] - inner)
    rows, places = linear_sum_assignment(-(overlap >= SAME).astype(float))
    return int((overlap[rows, places] >= SAME).sum())


def idf1(mine: pd.DataFrame, theirs: pd.DataFrame, frames: int) -> float:
    """IDF1 of our tracks with the peer's taken for the truth, classes left aside (both trackers do), 0..1."""
    looked = pd.DataFrame({"video": theirs["video"].iloc[0] if len(theirs) else "", "frame": np.arange(frames)})
    scores = evaluate(theirs.assign(**{"class": "object"}), mine.assign(**{"class": "object"}), looked, ["object"])
    return float(scores["overall"]["IDF1"] or 0.0)


if __name__ == "__main__":
    main(measure, "follow")
