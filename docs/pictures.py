"""The pictures in README.md, made from the finished demo: `make pictures`. Not here: pictures of studies
(rules/report.smk).

python -m docs.pictures    needs a finished demo in results/ and graphviz

That of the trials is taken from the README's `tune` command, where that has run too; else it stays as it is.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from lib.data.video import read_frames
from lib.files import DataError, atomic, read_json
from workflow_scripts import _program

HERE = Path(__file__).resolve().parent / "pictures"
BOARD = Path("results/leaderboards/world/imbalance.png")
TRIALS = Path("results/tuning/demo/person-25/trials.png")
EXPORTS = Path("results/exports/world")
GAP = 8  # px between the two frames
CIRCLE = ("train", "weights")  # a detector trained in the same DAG: no circle between files, but one between rules
STYLE = (
    "rankdir=LR ranksep=0.35 "
    'node [shape=box style="rounded,filled" fillcolor="#eaf2f8" color="#0072b2" fontname="DejaVu Sans"]'
)
SURE = 0.3  # score from which a box is worth showing


def main() -> None:
    _program.parser(__doc__).parse_args()
    HERE.mkdir(exist_ok=True)
    rules()
    if not BOARD.is_file():
        raise DataError(f"{BOARD}: file not found. Hint: run `make demo` first.")
    shutil.copyfile(BOARD, HERE / "board.png")
    frames()
    if TRIALS.is_file():
        shutil.copyfile(TRIALS, HERE / "trials.png")
    for name in ("rules.png", "board.png", "frames.png", "trials.png"):
        print(HERE / name)


def rules() -> None:
    """The rule graph from left to right, without edges that others imply; training a detector within the DAG is dashed."""
    if shutil.which("dot") is None:
        raise DataError("graphviz is missing. Hint: apt-get install graphviz")
    words = [sys.executable, "-m", "snakemake", "--rulegraph", "--forceall", "--quiet", "all"]
    graph = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    nodes = dict(re.findall(r'(\d+)\[label = "(\w+)"', graph))
    edges = [(nodes[start], nodes[end]) for start, end in re.findall(r"(\d+) -> (\d+)", graph)]
    onward = [edge for edge in edges if edge != CIRCLE and "all" not in edge]
    lines = subprocess.run(["tred"], input=_digraph(onward), text=True, capture_output=True, check=True).stdout
    dashed = f"{CIRCLE[0]} -> {CIRCLE[1]} [style=dashed, constraint=false]" if CIRCLE in edges else ""
    drawing = lines.replace("{", f"{{ {STYLE}", 1).rstrip().removesuffix("}") + dashed + "}"
    with atomic(HERE / "rules.png") as temporary:
        subprocess.run(["dot", "-Tpng", "-Gdpi=96", "-o", str(temporary)], input=drawing, text=True, check=True)


def _digraph(edges: list[tuple[str, str]]) -> str:
    return "digraph {" + "; ".join(f"{start} -> {end}" for start, end in edges) + "}"


def frames() -> None:
    """The test frame with most kinds of objects: boxes of the model trained on all frames, beside the detector's tracks."""
    video, place = most_telling(EXPORTS / "person-100/seed=0/tta=none", EXPORTS / "site/bytetrack")
    found = picture(EXPORTS / f"person-100/seed=0/tta=none/detected_{video}.mp4", place)
    tracked = picture(EXPORTS / f"site/bytetrack/detected_{video}.mp4", place)  # the same stride: the same frames
    gap = np.full((found.shape[0], GAP, 3), 255, np.uint8)
    with atomic(HERE / "frames.png") as temporary:
        cv2.imwrite(str(temporary), np.hstack([found, gap, tracked])[:, :, ::-1])


def most_telling(found: Path, tracked: Path) -> tuple[str, int]:
    """(video, number of the frame in the drawn video): most classes in both drawings, fewest doubles of the other one."""
    best: tuple[int, int, int, str, int] | None = None
    for file in sorted(found.glob("*_detections.json")):
        video = file.name.removesuffix("_detections.json")
        if not all((folder / f"detected_{video}.mp4").is_file() for folder in (found, tracked)):
            continue
        boxes, tracks = classes_in_frames(file), classes_in_frames(tracked / file.name)
        for place, (one, other) in enumerate(zip(boxes, tracks, strict=True)):
            both = min(len(set(one)), len(set(other)))
            best = max(best or (0, 0, 0, "", 0), (both, -abs(len(one) - len(other)), len(one), video, place))
    if best is None:
        raise DataError(f"{found}: no annotated video. Hint: run `make demo` first.")
    return best[3:]


def classes_in_frames(file: Path) -> list[list[int]]:
    """Category of every box that is sure, per frame of an exported JSON."""
    told = read_json(file)
    frames: dict[int, list[int]] = {image["id"]: [] for image in told["images"]}
    for row in told["annotations"]:
        if row["score"] >= SURE:
            frames[row["image_id"]].append(row["category_id"])
    return list(frames.values())


def picture(file: Path, number: int) -> np.ndarray:
    """One frame of a video, (H, W, 3) uint8 RGB."""
    return next(image for index, _, image in read_frames(file, kind="video") if index == number)


if __name__ == "__main__":
    _program.run(main)
