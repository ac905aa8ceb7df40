"""Packing samples into tars and reading them back decoded: ours, plain tarfile, raw files, and webdataset itself.

Samples are small JPEGs with their labels. Writing: `write_tar` (with its checksums and offset index) against tarfile and
webdataset's TarWriter, the same members. Reading in order and decoding with OpenCV: `ShardReader` (every sample's checksum
compared) against raw files in a folder and webdataset's reader.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import webdataset

from lib.config.shard import Shardset
from lib.data.reader import ShardReader
from lib.data.samples import Sample
from lib.data.shards import write_shards, write_tar
from tests.benchmarks.measure import Result, compared, in_process, interleaved, main

SAMPLES = {"tiny": 100, "small": 2000, "full": 8000}
REPEATS = {"tiny": 1, "small": 5, "full": 7}
SHAPE = (240, 320)
UNLIKE = 64
"""So many different pictures are made; the samples take them in turns."""


@dataclass
class Made:
    """The same samples as objects, as raw files, and as shards of ours."""

    folder: Path
    samples: list[Sample]
    files: list[Path]
    manifest: Path


def make(folder: Path, count: int) -> Made:
    """Raw JPEGs and a shardset packed from them."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (UNLIKE, 30, 40, 3), dtype=np.uint8)
    jpegs = [
        cv2.imencode(".jpg", cv2.resize(one, SHAPE[::-1], interpolation=cv2.INTER_CUBIC))[1].tobytes() for one in small
    ]
    raw = folder / "raw"
    raw.mkdir()
    rows = []
    for number in range(count):
        path = raw / f"img-{number:06d}.jpg"
        path.write_bytes(jpegs[number % UNLIKE])
        rows.append({"video": path.stem, "original": path.name, "split": "train", "path": str(path), "kind": "image"})
    manifest = pd.DataFrame(rows).assign(
        sha256="", stream=-1, fps=np.nan, frames=1, width=SHAPE[1], height=SHAPE[0], duration_s=0.0
    )
    frames = pd.DataFrame({"video": manifest["video"], "frame": 0, "time_s": 0.0})
    box = {"class": "thing", "x1": 10.0, "y1": 10.0, "x2": 90.0, "y2": 120.0, "track": -1, "ignore": False, "mask": ""}
    settings = Shardset.model_validate({"splits": ["train"]})
    out = folder / "shards"
    described = write_shards(manifest, frames, frames.assign(**box), None, ["thing"], settings, out)
    (out / "manifest.json").write_text(json.dumps(described))
    with ShardReader(out / "manifest.json") as reader:
        samples = list(reader.iterate())
    return Made(folder, samples, [raw / f"{sample.key.rsplit('-', 1)[0]}.jpg" for sample in samples], out / "manifest.json")


def members(sample: Sample) -> list[tuple[str, bytes]]:
    return [(f"{sample.key}.jpg", sample.jpg), (f"{sample.key}.json", json.dumps(sample.data, sort_keys=True).encode())]


def write_plain(made: Made) -> None:
    with tarfile.open(made.folder / "plain.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for sample in made.samples:
            for name, content in members(sample):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def write_webdataset(made: Made) -> None:
    with webdataset.TarWriter(str(made.folder / "webdataset.tar"), mtime=0) as tar:
        for sample in made.samples:
            tar.write({"__key__": sample.key, "jpg": sample.jpg, "json": sample.data})


def read_ours(made: Made) -> Iterator[bytes]:
    with ShardReader(made.manifest) as reader:
        for sample in reader.iterate():
            yield sample.jpg


def read_raw(made: Made) -> Iterator[bytes]:
    for path in made.files:
        yield path.read_bytes()


def read_webdataset(made: Made) -> Iterator[bytes]:
    tars = sorted(str(path) for path in made.manifest.parent.rglob("*.tar"))
    for sample in webdataset.WebDataset(tars, shardshuffle=False, empty_check=False):
        yield sample["jpg"]


WRITERS: dict[str, Callable[[Made], object]] = {
    "ours": lambda made: write_tar(made.folder / "ours.tar", made.samples),
    "tarfile": write_plain,
    "webdataset": write_webdataset,
}
READERS = {"ours": read_ours, "raw files": read_raw, "webdataset": read_webdataset}


def decoded(contents: Iterator[bytes]) -> list[int]:
    """One number per picture: the sum of its pixels."""
    return [int(cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR).sum()) for one in contents]


def names(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def measure(size: str) -> Result:
    count, repeats = SAMPLES[size], REPEATS[size]
    result = Result(f"Shards of {count:,} samples")
    with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as name:
        made = make(Path(name), count)
        writing = interleaved({one: lambda one=one: in_process(lambda: WRITERS[one](made)) for one in WRITERS}, repeats)
        found: dict[str, list[int]] = {}

        def read(one: str) -> None:
            found[one] = decoded(READERS[one](made))

        reading = interleaved({one: lambda one=one: in_process(lambda: read(one)) for one in READERS}, repeats)
        packed = [names(made.folder / tar) for tar in ("ours.tar", "plain.tar")]
    asked = [("write", writing, "tarfile", (">=", 1.0)), ("write", writing, "webdataset", None)]
    asked += [("read and decode", reading, "raw files", (">=", 0.9)), ("read and decode", reading, "webdataset", None)]
    for what, runs, peer, target in asked:
        options = {"ours": "ours", "peer": peer, "unit": "samples/s", "rate": count}
        result.rows.append(compared(f"{what}, beside {peer}", runs, "wall", target=target, **options))
        result.rows.append(compared(f"{what}, beside {peer}, per CPU second", runs, "cpu", **options))
    result.facts["names of members equal tarfile's"] = packed[0] == packed[1]
    result.facts["all readers give the same pictures in the same order"] = len({tuple(one) for one in found.values()}) == 1
    result.notes.append("Ratios of rates: more is better. webdataset is asked for bytes, as our reader gives them.")
    return result


if __name__ == "__main__":
    main(measure, "shards")
