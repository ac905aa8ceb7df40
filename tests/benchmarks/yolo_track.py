"""The peer of follow.py: ultralytics' own `YOLO.track` over a clip, its boxes kept as plain numbers. Not a benchmark.

python -m tests.benchmarks.yolo_track WEIGHTS.onnx CLIP IMGSZ CONF IOU TRACKER.yaml BOXES.npy
"""

from __future__ import annotations

import os
import sys

os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}

import numpy as np
from ultralytics import YOLO


def main() -> None:
    weights, clip, imgsz, conf, iou, tracker, output = sys.argv[1:]
    limits = {"imgsz": int(imgsz), "conf": float(conf), "iou": float(iou), "max_det": 300}
    found = []
    model = YOLO(weights, task="detect")
    for frame, result in enumerate(model.track(clip, stream=True, tracker=tracker, verbose=False, **limits)):
        boxes = result.boxes
        if boxes.id is not None:
            rows = np.column_stack([boxes.xyxy, boxes.id, boxes.conf, boxes.cls])
            found.append(np.column_stack([np.full(len(rows), frame), rows]))
    np.save(output, np.concatenate(found) if found else np.zeros((0, 8)))


if __name__ == "__main__":
    main()
