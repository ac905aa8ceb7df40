"""What there is to find in the planted features of config/studies/tacos.yaml: recall of who knows the projection.

It looks where a step resembles the query's own signal more than half as much as the clip's best steps do, and takes the
stretch with the largest sum. It learns nothing, knows no length, and takes no account of other queries, so a model may pass
it; a model that is far below it has not learned the projection. With `make bench-long` on the test split of TACoS
(VIPERSIGHT_MIRROR), else on made annotations. Beside it, what any answer can reach that knows the words alone: two windows
of a clip that are asked for in the same words are one question.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from lib.config.feature_planted import PlantedFeatures
from lib.config.study import load_study
from lib.data.time_grid import TimeGrid
from lib.metrics.temporal import temporal_iou
from lib.perception.planted import Signals, plant
from lib.provenance import PROJECT
from tests.benchmarks.measure import Result, Row, main

CLIPS = {"tiny": 4, "small": 12}
THRESHOLDS = (0.3, 0.5, 0.7)
BEST = 2
"""The best steps are so many: one could be noise."""


def tacos() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Manifest and queries of the published test split."""
    told = json.loads(next(Path(os.environ["VIPERSIGHT_MIRROR"]).rglob("tacos/test.json")).read_text())
    videos, queries = [], []
    for video, said in told.items():
        videos.append((video, video, "test", said["fps"], said["num_frames"] / said["fps"]))
        for number, (text, frames) in enumerate(zip(said["sentences"], said["timestamps"], strict=True)):
            queries.append((video, f"{video}/{number}", text, *(frame / said["fps"] for frame in frames)))
    return _tables(videos, queries)


def made(clips: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clips of ten minutes with twelve queries of words of their own."""
    random = np.random.default_rng(0)
    videos = [(f"v{number}", f"v{number}", "test", 25.0, 600.0) for number in range(clips)]
    queries = []
    for number in range(12 * clips):
        start = random.uniform(0, 500)
        words = " ".join(f"w{word}" for word in random.integers(0, 300, 5))
        queries.append((f"v{number // 12}", str(number), words, start, start + random.uniform(12, 90)))
    return _tables(videos, queries)


def _tables(videos: list[tuple], queries: list[tuple]) -> tuple[pd.DataFrame, pd.DataFrame]:
    manifest = pd.DataFrame(videos, columns=["video", "original", "split", "fps", "duration_s"])
    asked = pd.DataFrame(queries, columns=["video", "query", "text", "start_s", "end_s"])
    return manifest, asked.assign(
        end_s=np.minimum(asked["end_s"], asked["video"].map(manifest.set_index("video")["duration_s"]))
    )


def stretch(likeness: np.ndarray) -> tuple[int, int]:
    """First step and the one after the last of the stretch with the largest sum over half of the best; (T,) → steps."""
    above = likeness - (np.partition(likeness, -BEST)[-BEST] + np.median(likeness)) / 2
    sums = np.concatenate([[0.0], above.cumsum()])
    lowest = np.minimum.accumulate(sums[:-1])
    end = int((sums[1:] - lowest).argmax()) + 1
    return int(sums[:end].argmin()), end


def decoded(manifest: pd.DataFrame, queries: pd.DataFrame, settings: PlantedFeatures) -> np.ndarray:
    """(Q,) IoU of each query's stretch with its window."""
    features = plant(manifest, queries, manifest, settings).tensors
    signals, lengths = Signals(queries["text"], settings), manifest.set_index("video")["duration_s"]
    found = []
    for one in queries.itertuples(index=False):
        grid = TimeGrid(settings.stride, settings.window, settings.fps or 1.0, float(lengths[one.video]))
        first, after = stretch(features[one.video] @ signals.of(one.text))
        half = settings.window / (settings.fps or 1.0) / 2
        window = np.array([[float(grid.seconds(first)) - half, float(grid.seconds(after - 1)) + half]])
        found.append(float(temporal_iou(window, np.array([[one.start_s, one.end_s]]))[0]))
    return np.array(found)


def same_words(queries: pd.DataFrame, threshold: float) -> float:
    """Most queries that one window per clip and text can hit."""
    hits = 0
    for _, one in queries.groupby(["video", "text"]):
        windows = one[["start_s", "end_s"]].to_numpy()
        hits += int((temporal_iou(windows[:, None], windows[None]) > threshold).sum(0).max())
    return hits / len(queries)


def measure(size: str) -> Result:
    result = Result("What is there to find in planted features")
    study = load_study([PROJECT / "config/studies/tacos.yaml"])
    settings = study.featuresets["planted"]
    assert isinstance(settings, PlantedFeatures)
    full = size == "full" and "VIPERSIGHT_MIRROR" in os.environ
    manifest, queries = tacos() if full else made(CLIPS["small" if size == "full" else size])
    overlaps = decoded(manifest, queries, settings)
    nothing = decoded(manifest, queries, settings.model_copy(update={"shuffle": True}))
    for threshold in THRESHOLDS:
        for what, rate in (
            ("who knows the projection", float((overlaps > threshold).mean())),
            ("… where answers lie elsewhere", float((nothing > threshold).mean())),
            ("any one window per clip and words", same_words(queries, threshold)),
        ):
            result.rows.append(Row(f"R1@{threshold}: {what}", rate, unit="0-1"))
    result.facts["the projection finds what is planted, and nothing else"] = overlaps.mean() > 2 * nothing.mean()
    result.notes.append(
        f"{len(queries)} queries, {'test split of TACoS' if full else 'made annotations'}; 0-1, higher is better."
    )
    return result


if __name__ == "__main__":
    main(measure, "planted")
