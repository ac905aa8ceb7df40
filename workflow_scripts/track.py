"""Give the boxes of one chunk of videos identities; every video starts its own tracker.

python -m workflow_scripts.track --settings JSON --manifest results/videos/D/manifest.parquet --chunk 0 --chunks 2 \
    --detections results/detections/D/DETECTOR/chunk=0.parquet --output results/tracks/D/DETECTOR/TRACKER/chunk=0.parquet
"""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from lib import provenance
from lib.config.track import Tracker
from lib.data.chunks import chunk_of
from lib.perception.detectors import labelled_frames
from lib.perception.trackers import track_chunk
from lib.tables import read_table, write_table
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    _program.add_settings(arguments)
    arguments.add_argument("--manifest", type=Path, required=True)
    arguments.add_argument("--chunk", type=int, required=True)
    arguments.add_argument("--chunks", type=int, required=True)
    arguments.add_argument("--detections", type=Path, required=True)
    arguments.add_argument(
        "--frames", type=Path, nargs="?", help="frames.parquet, where only labelled frames were looked at"
    )
    arguments.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()

    tracker = TypeAdapter(Tracker).validate_python(given.settings["tracker"])
    videos = chunk_of(read_table(given.manifest, "manifest"), given.chunk, given.chunks)
    detections = read_table(given.detections, "detections")
    stride, inputs = given.settings["stride"], {"manifest": given.manifest, "detections": given.detections}
    looked_at = None
    if given.frames:
        looked_at = labelled_frames(read_table(given.frames, "frames"), stride=stride)
    tracks, stats = track_chunk(
        videos, detections, tracker, stride=stride, looked_at=looked_at, clip=given.settings.get("clip", True)
    )
    stats_path = given.output.with_suffix(".stats.parquet")
    write_table(given.output, tracks, "tracks")
    write_table(stats_path, stats, "track_stats")
    provenance.record([given.output, stats_path], stage="track", settings=given.settings, inputs=inputs)


if __name__ == "__main__":
    _program.run(main)
