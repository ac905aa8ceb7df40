"""One side of rfdetr_video: `python -m tests.benchmarks.rfdetr_side ours|library CLIP WEIGHTS STRIDE OUT.npz FIGURES.json`.

Loading the model and a first pass are left out; the clock runs from the first frame to the last box. `forward` is the
network alone.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lib.config.predict import PredictSettings, Tta
from lib.data.video import probe
from lib.inference.predict import predict_videos
from lib.models import rfdetr as models

CONF = 0.01
SIDE = 384  # of nano's input, px
BLACK = np.zeros((720, 1280, 3), np.uint8)
THREADS = 2


class Clock:
    """Adds up the time of a network's forward passes, waiting for a GPU where there is one."""

    def __init__(self, net: torch.nn.Module) -> None:
        self.seconds = self._since = 0.0
        net.register_forward_pre_hook(lambda *_: self._start())
        net.register_forward_hook(lambda *_: self._stop())

    def _start(self) -> None:
        _wait()
        self._since = time.perf_counter()

    def _stop(self) -> None:
        _wait()
        self.seconds += time.perf_counter() - self._since


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ours(clip: Path, weights: Path, stride: int) -> tuple[Clock, Any]:
    """The predict stage's own function on the clip."""
    predictor = models.load(weights)
    facts = probe(clip)
    row = {"video": "clip", "original": clip.name, "split": "test", "path": str(clip), "kind": "video"}
    row |= {"stream": facts.stream, "fps": facts.fps, "frames": facts.frames, "width": facts.width}
    videos = pd.DataFrame([row | {"height": facts.height}])
    batch = 16 if torch.cuda.is_available() else 1
    settings = PredictSettings(conf=CONF, max_det=300, stride=stride, batch=batch)
    predictor.predict([BLACK] * batch, conf=CONF, iou=1.0, max_det=300, imgsz=SIDE)  # the first pass chooses kernels

    def work() -> np.ndarray:
        found, _ = predict_videos(videos, predictor, settings, Tta(), imgsz=SIDE, progress=False)
        place = found["class"].map({name: index for index, name in enumerate(predictor.names)})
        return np.column_stack([found[["frame", "x1", "y1", "x2", "y2", "score"]].to_numpy(dtype=float), place])

    return Clock(predictor.net), work


def library(clip: Path, weights: Path, stride: int) -> tuple[Clock, Any]:
    """`RFDETR.predict` on one frame after the other, as its README shows."""
    import cv2
    from rfdetr import RFDETR

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = RFDETR.from_checkpoint(weights, device=device)
    model.predict(BLACK, threshold=CONF)

    def work() -> np.ndarray:
        video, rows, number = cv2.VideoCapture(str(clip)), [], -1
        while (number := number + 1) >= 0 and video.grab():
            if number % stride:
                continue
            found = model.predict(cv2.cvtColor(video.retrieve()[1], cv2.COLOR_BGR2RGB), threshold=CONF)
            rows.append(np.column_stack([np.full(len(found), number), found.xyxy, found.confidence, found.class_id]))
        return np.concatenate(rows)

    return Clock(model.model.model), work


def main() -> None:
    side, clip, weights, stride, out, figures = sys.argv[1:]
    torch.set_num_threads(THREADS)
    models.quiet_rfdetr()
    warnings.simplefilter("ignore")
    clock, work = {"ours": ours, "library": library}[side](Path(clip), Path(weights), int(stride))
    torch.set_num_threads(THREADS)
    started = time.perf_counter()
    rows = work()
    wall = time.perf_counter() - started
    np.savez(out, rows=rows)
    Path(figures).write_text(json.dumps({"video": wall, "forward": clock.seconds, "outside": wall - clock.seconds}))


if __name__ == "__main__":
    main()
