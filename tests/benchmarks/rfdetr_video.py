"""RF-DETR nano over a video: our predict stage against `RFDETR.predict` on one frame after the other.

The clip (720p, H.264) and the model (nano at its own 384 px, two classes, the seed's weights) are made here. Both sides are
processes of their own with the same number of threads; loading the model and a first pass are left out. `outside` is the
time from the first frame to the last box less that of the network's forward passes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import KDTree

from lib.config.train_rfdetr import RfdetrSettings
from lib.data.video import write_video
from lib.models import rfdetr as models
from tests.benchmarks.decode import SHAPE, pictures
from tests.benchmarks.measure import Result, Spent, compared, interleaved, main, python

FRAMES = {"tiny": 4, "small": 60, "full": 240}
GPU_FRAMES = 600
"""A card is through 60 frames in a second."""
STRIDE = {"tiny": 2, "small": 2, "full": 2}
REPEATS = {"tiny": 1, "small": 3, "full": 5}
NAMES = ["person", "crane hook"]


def measure(size: str) -> Result:
    result, frames = Result("RF-DETR over a video, against RFDETR.predict in a loop"), FRAMES[size]
    if torch.cuda.is_available():
        frames, result.notes = GPU_FRAMES, [f"{torch.cuda.get_device_name()}, torch {torch.__version__}."]
    with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as name:
        folder = Path(name)
        write_video(folder / "clip.mp4", pictures(frames), 30.0, SHAPE[::-1])
        settings = RfdetrSettings(model="nano").resolved()
        net, config = models.build(settings, NAMES, seed=0)
        library = models.library_name(settings)
        models.save_model(net.state_dict(), folder / "nano.pth", config=config, name=library, names=NAMES, epoch=0)
        runs = interleaved({one: lambda one=one: run(one, folder, size) for one in ("ours", "library")}, REPEATS[size])
        looked = -(-frames // STRIDE[size])
        wall = 0.6 if torch.cuda.is_available() else 1.0
        sides = {"ours": "ours", "peer": "library"}
        result.rows.append(compared("first frame to last box", runs, "video", target=("<=", wall), **sides))
        result.rows.append(compared("of it outside of the forward passes", runs, "outside", target=("<=", 0.5), **sides))
        result.rows.append(compared("of it in the forward passes", runs, "forward", **sides))
        result.rows.append(compared("CPU, loading included", runs, "cpu", **sides))
        rate = compared("frames looked at", runs, "video", ours="ours", peer="library", unit="frames/s", rate=looked)
        result.rows.append(rate)
        result.facts |= agreement(*(known(np.load(folder / f"{one}.npz")["rows"]) for one in ("ours", "library")))
    result.notes.append("One frame per forward pass on both sides on a CPU; on a GPU ours takes batches of 16.")
    return result


def run(side: str, folder: Path, size: str) -> Spent:
    figures = folder / f"{side}.json"
    words = [side, folder / "clip.mp4", folder / "nano.pth", str(STRIDE[size]), folder / f"{side}.npz", figures]
    return python("tests.benchmarks.rfdetr_side", *words, reads=figures)


def known(rows: np.ndarray) -> np.ndarray:
    """Rows (N, 7) of a class that has a name, cut at the picture's edges as ours are: frame, box, score, class."""
    rows = rows[rows[:, 6] < len(NAMES)].copy()
    rows[:, [1, 3]] = rows[:, [1, 3]].clip(0, SHAPE[1])
    rows[:, [2, 4]] = rows[:, [2, 4]].clip(0, SHAPE[0])
    return rows[(rows[:, 3] > rows[:, 1]) & (rows[:, 4] > rows[:, 2])]


def agreement(ours: np.ndarray, library: np.ndarray) -> dict[str, object]:
    """How many boxes of one side the other has too: same frame and class, sides within half a pixel, scores within 0.001.

    Not quite all: each frame's list ends at its 300th score, where rounding decides which of two equals is in.
    """
    both = [found(one, other) for one, other in ((ours, library), (library, ours))]
    return {
        "boxes": {"ours": len(ours), "library": len(library)},
        "share of boxes that the other side has too": {"ours": round(both[0], 5), "library": round(both[1], 5)},
        "the same boxes": min(both) >= 0.999,
    }


def found(some: np.ndarray, others: np.ndarray) -> float:
    """Share of rows that are among the others."""
    close = np.array([1.0, 0.5, 0.5, 0.5, 0.5, 0.001, 1.0])  # frame and class are whole numbers: below 1 apart is equal
    tree = KDTree(others / close)
    distance, _ = tree.query(some / close, p=np.inf, distance_upper_bound=1.0)
    return float(np.isfinite(distance).mean())


if __name__ == "__main__":
    main(measure, "rfdetr_video")
