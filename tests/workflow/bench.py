"""Made inputs and the programs run on them by hand: small COCO sets, clips, and a results folder for one dataset `d`."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from lib.config.jobs import Jobs
from lib.config.study import Study
from lib.data.video import write_video
from lib.files import write_json
from workflow_scripts import _program

TRACKER = {"kind": "bytetrack", "frame_rate": 10}
SITE: dict[str, Any] = {
    "study": "bad",
    "detectors": {"truth": {"kind": "truth"}, "blind": {"kind": "yolo", "weights": "w", "imgsz": 64, "conf": 1.0}},
    "weights": {"w": {"path": "w.pt"}},
    "trackers": {"bytetrack": TRACKER},
    "shardsets": {"s": {"splits": ["train"]}},
    "arms": {
        "all": {"shardset": "s", "background": "all"},
        "same": {"shardset": "s", "background": "all", "fractions": {"car": 1.0}},
        "half": {"shardset": "s", "background": "all", "fractions": {"car": 0.5}, "mode": "exclusive"},
        "boats": {"shardset": "s", "background": "all", "fractions": {"boat": 0.5}},
        "planes": {"shardset": "s", "background": "all", "fractions": {"plane": 0.5}},
    },
    "variants": {name: {"arm": name} for name in ("all", "same", "half")},
    "boards": {
        "tracks": {"kind": "tracks", "dataset": "d", "detectors": ["truth"], "trackers": ["bytetrack"]},
        "scores": {"dataset": "d", "variants": ["all", "same", "half"], "tta": ["none"]},
    },
}


@dataclass
class Bench:
    """A results folder with one dataset `d`, and the programs run on it by hand (in this process, for speed)."""

    results: Path
    study: Study

    def settings(self, stage: str, **names: Any) -> str:
        """The text that the rule of this stage would pass."""
        return str(getattr(Jobs(self.study), stage)(SimpleNamespace(dataset="d", **names)))

    def path(self, *parts: str) -> Path:
        return self.results.joinpath(*parts)

    def download(self) -> tuple[int, str]:
        words = ["--settings", self.settings("download"), "--dataset", "d", "--workers", "1"]
        return run("download", *words, "--output", self.path("videos", "d", "manifest.parquet"))

    def detect(self, detector: str, *words: Any) -> tuple[int, str]:
        output = self.path("detections", "d", detector, "chunk=0.parquet")
        words = ("--settings", self.settings("detect", detector=detector), *self.chunk(), *words)
        return run("detect", *words, "--output", output)

    def track(self, detector: str) -> tuple[int, str]:
        words = ["--settings", self.settings("track", detector=detector, tracker="bytetrack"), *self.chunk()]
        words += ["--detections", self.path("detections", "d", detector, "chunk=0.parquet")]
        return run("track", *words, "--output", self.path("tracks", "d", detector, "bytetrack", "chunk=0.parquet"))

    def evaluate_tracks(self, detector: str) -> tuple[int, str]:
        tracks = self.path("tracks", "d", detector, "bytetrack")
        words = ["--settings", self.settings("evaluate_tracks", detector=detector), *self.truth()]
        words += ["--tracks", tracks / "chunk=0.parquet", "--tracking-stats", tracks / "chunk=0.stats.parquet"]
        words += ["--detecting-stats", self.path("detections", "d", detector, "chunk=0.stats.parquet")]
        return run(
            "evaluate", "tracks", *words, "--output", self.path("metrics", "d", detector, "bytetrack", "tracks.json")
        )

    def subsample(self, arm: str, settings: str | None = None) -> tuple[int, str]:
        words = ["--settings", settings or self.settings("subsample", arm=arm), "--arm", arm, "--seed", 0]
        words += ["--index", self.path("shards", "d", "s", "index.parquet")]
        return run("subsample", "draw", *words, "--output", self.path("subsets", "d", arm, "seed=0.parquet"))

    def chunk(self) -> list[Any]:
        return ["--manifest", self.path("videos", "d", "manifest.parquet"), "--chunk", 0, "--chunks", 1]

    def truth(self) -> list[Any]:
        folder = self.path("videos", "d")
        files = {"manifest": "manifest.parquet", "classes": "classes.json"}
        files |= {"frames": "truth/frames.parquet", "boxes": "truth/boxes.parquet"}
        return [word for name, file in files.items() for word in (f"--{name}", folder / file)]


def run(name: str, *words: Any) -> tuple[int, str]:
    """Exit code of a program, and all that it printed."""
    program = importlib.import_module(f"workflow_scripts.{name}")
    before, sys.argv, text = sys.argv, [name, *map(str, words)], io.StringIO()
    try:
        with contextlib.redirect_stderr(text), contextlib.redirect_stdout(text):
            _program.run(program.main)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv = before
    return code, text.getvalue()


def coco(root: Path, *, boxes: bool = True, first_id: int = 0) -> dict[str, Any]:
    """Six pictures as a COCO source, three of them test; ids count from `first_id`. Class `boat` has no box."""
    for split, cars in (("train", 2), ("test", 1)):
        images, annotations = [], []
        for number in range(3):
            name = f"{split}{number}.png"
            picture = np.full((64, 96, 3), 40 + 20 * number + (0 if split == "train" else 9), np.uint8)
            root.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / name), picture)
            images.append({"id": first_id + number, "file_name": name, "width": 96, "height": 64})
            for place in range(cars if boxes else 0):
                box = {"bbox": [5 + 30 * place, 6 + number, 20, 30], "area": 600, "iscrowd": 0}
                marks = {"id": first_id + len(annotations), "image_id": first_id + number, "category_id": first_id + place}
                annotations.append(box | marks)
        categories = [{"id": first_id + place, "name": name} for place, name in enumerate(("car", "van", "boat"))]
        write_json(root / f"{split}.json", {"images": images, "annotations": annotations, "categories": categories})
    return {"format": "coco", "root": str(root), "annotations": {"train": "train.json", "test": "test.json"}}


def clip(path: Path, shade: int = 0) -> None:
    frames = (np.full((48, 64, 3), 40 + 5 * frame + shade, np.uint8) for frame in range(12))
    write_video(path, frames, 10.0, (64, 48))


def sound(path: Path) -> None:
    """An mp4 that holds only a tone."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        wave = np.sin(np.arange(16000) / 6).astype(np.float32)[None]
        for start in range(0, 15360, 1024):
            frame = av.AudioFrame.from_ndarray(wave[:, start : start + 1024].copy(), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
