"""Find boxes in every video of one chunk: by a YOLO model, from the truth, or from the source's own detections.

python -m workflow_scripts.detect --settings JSON --manifest results/videos/D/manifest.parquet --chunk 0 --chunks 2 \
    --weights results/weights/W/weights.json --output results/detections/D/DETECTOR/chunk=0.parquet
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter

from lib import provenance
from lib.config.base import ConfigError
from lib.config.detect import Detector, ModelDetector
from lib.data.chunks import chunk_of
from lib.files import read_json
from lib.perception.detectors import detect_chunk, given_detections, truth_detections
from lib.tables import read_table, write_table
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    _program.add_settings(arguments)
    arguments.add_argument("--manifest", type=Path, required=True)
    arguments.add_argument("--chunk", type=int, required=True)
    arguments.add_argument("--chunks", type=int, required=True)
    arguments.add_argument("--weights", type=Path, nargs="?", help="card of the detector's weights (kind yolo)")
    arguments.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()

    detector = TypeAdapter(Detector).validate_python(given.settings["detector"])
    videos = chunk_of(read_table(given.manifest, "manifest"), given.chunk, given.chunks)
    truth = given.manifest.parent / "truth"
    inputs = {"manifest": given.manifest}
    seen: list[str] = []
    if isinstance(detector, ModelDetector):
        detections, stats, seen = with_model(detector, videos, given.weights)
        inputs["weights"] = given.weights
    elif detector.kind == "truth":
        boxes, frames = (read_table(truth / f"{name}.parquet", name) for name in ("boxes", "frames"))
        detections, stats = truth_detections(boxes, frames, videos, stride=detector.stride)
    else:
        given_boxes = read_table(truth / "detections.parquet", "detections")
        if given_boxes.empty:
            raise ConfigError(
                "kind: given needs a source that ships detections (such as det/det.txt of MOT), and this one ships none. "
                "Hint: use kind: yolo or kind: truth."
            )
        detections, stats = given_detections(given_boxes, videos, stride=detector.stride)
    if detections.empty:
        print(f"warning: no detection in any of the {len(videos)} videos of this chunk", file=sys.stderr)
    if seen:
        print(f"warning: the detector was trained on {len(seen)} of these videos: {', '.join(seen[:5])} …", file=sys.stderr)
    stats["seen_in_training"] = stats["video"].isin(seen)
    stats_path = given.output.with_suffix(".stats.parquet")
    write_table(given.output, detections, "detections")
    write_table(stats_path, stats, "detect_stats")
    provenance.record([given.output, stats_path], stage="detect", settings=given.settings, inputs=inputs)


def with_model(
    detector: ModelDetector, videos: pd.DataFrame, card_path: Path
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Run the detector's weights; also names the videos of this chunk that a variant of this DAG was trained on."""
    from lib.models import load_predictor

    card = read_json(card_path)
    if detector.splits is not None:
        videos = videos[videos["split"].isin(detector.splits)].reset_index(drop=True)
    if (card["format"] == "rfdetr") != (detector.kind == "rfdetr"):
        wanted = "rfdetr" if card["format"] == "rfdetr" else "yolo"
        raise ConfigError(
            f"detectors: kind {detector.kind}, but the weights {detector.weights!r} are of another. Hint: kind: {wanted}"
        )
    if not detector.imgsz:
        detector = detector.model_copy(update={"imgsz": card["input_size"]})
    predictor = load_predictor(card_path.parent / card["file"], card)
    detections, stats = detect_chunk(videos, predictor, detector)
    trained_on = set(card.get("train_videos", ()))
    return detections, stats, sorted(trained_on & set(videos["video"]))


if __name__ == "__main__":
    _program.run(main)
