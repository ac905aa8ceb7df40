"""Feature shards to batches, beside reading .npy files one by one: the same batches, by rate and CPU seconds.

Clips of 60 to 600 steps, 256 numbers a step, 1 to 20 queries each, in a shuffled order. Ours: `ClipReader` (checksum of
every member compared), `items`, `collate`. Peer: what one would write first, a folder with a .npy file per clip, one per
query and a JSON per clip, opened one by one and padded by the same `collate`. Both are also read without collating.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lib.config.shard import ClipShardset
from lib.data.clip_batches import collate, items
from lib.data.clip_samples import ClipReader, ClipSample
from lib.data.clip_shards import write_clip_shards
from lib.data.features import Features, write_features
from lib.data.time_grid import TimeGrid
from tests.benchmarks.measure import Result, compared, in_process, interleaved, main

CLIPS = {"tiny": 6, "small": 200, "full": 1000}
REPEATS = {"tiny": 1, "small": 5, "full": 7}
WIDTH, WORDS, FPS, BATCH = 256, 128, 2.0, 4


@dataclass
class Made:
    """The same clips as a shardset and as files; keys: in the order in which they are read."""

    folder: Path
    manifest: Path
    keys: list[str]


def make(folder: Path, count: int) -> Made:
    """Features of `count` clips, packed and as .npy files."""
    rng = np.random.default_rng(0)
    steps = rng.integers(60, 600, count)
    names = [f"clip-{number:05d}" for number in range(count)]
    columns = {"video": names, "original": names, "split": "train", "duration_s": steps / FPS}
    clips, texts, rows = Features(), Features(), []
    for name, length in zip(names, steps.tolist(), strict=True):
        values = rng.standard_normal((length, WIDTH), dtype=np.float32)
        clips.add(name, name, values, stride=1.0, window=1.0, fps=FPS)
        for number in range(int(rng.integers(1, 21))):
            words = rng.standard_normal((int(rng.integers(3, 14)), WORDS), dtype=np.float32)
            start = float(rng.uniform(0, length / FPS - 2))
            texts.add(f"{name}_{number}", name, words)
            rows.append((name, f"{name}_{number}", "what happens", "", "", start, start + 1.5))
    queries = pd.DataFrame(rows, columns=["video", "query", "text", "template", "evidence", "start_s", "end_s"])
    files = {
        role: [write_features(folder / f"{role}/chunk=0.safetensors", found, None)[0]]
        for role, found in (("clips", clips), ("text", texts))
    }
    settings = ClipShardset(kind="clips", splits=["train"], clips="c", text="t")
    write_clip_shards(pd.DataFrame(columns), queries, files, settings, folder / "shards")
    _as_files(folder / "files", clips, texts, queries)
    keys = [names[place] for place in rng.permutation(count)]
    return Made(folder, folder / "shards" / "manifest.json", keys)


def _as_files(folder: Path, clips: Features, texts: Features, queries: pd.DataFrame) -> None:
    folder.mkdir()
    for name, values in (clips.tensors | texts.tensors).items():
        np.save(folder / f"{name}.npy", values)
    for video, rows in queries.groupby("video"):
        asked = [{"query": row.query, "windows": [[row.start_s, row.end_s]]} for row in rows.itertuples(index=False)]
        facts = {"duration_s": len(clips.tensors[video]) / FPS, "queries": asked}
        (folder / f"{video}.json").write_text(json.dumps(facts))


def from_shards(made: Made) -> Iterator[ClipSample]:
    with ClipReader(made.manifest) as reader:
        yield from reader.iterate(made.keys)


def from_files(made: Made) -> Iterator[ClipSample]:
    folder = made.folder / "files"
    for key in made.keys:
        said = json.loads((folder / f"{key}.json").read_text())
        grid, queries = TimeGrid(1.0, 1.0, FPS, said["duration_s"]), said["queries"]
        texts = [np.load(folder / f"{one['query']}.npy") for one in queries]
        yield ClipSample(key, key, "train", grid, queries, np.load(folder / f"{key}.npy"), texts, None, None)


def batches(samples: Iterator[ClipSample]) -> Iterator[dict[str, Any]]:
    waiting: list[Any] = []
    for sample in samples:
        waiting.append(items(sample))
        if len(waiting) == BATCH:
            yield collate(waiting)
            waiting = []
    if waiting:
        yield collate(waiting)


def _count(found: Iterator[Any]) -> Callable[[], int]:
    return lambda: sum(1 for _ in found)


def same(ours: Sequence[dict[str, Any]], peers: Sequence[dict[str, Any]]) -> bool:
    """Whether both sides gave the same batches, bit for bit."""
    tensors = ("video", "video_mask", "text", "text_mask", "segments", "steps")
    return all(
        one["queries"] == other["queries"] and all(torch.equal(one[name], other[name]) for name in tensors)
        for one, other in zip(ours, peers, strict=True)
    )


def measure(size: str) -> Result:
    count = CLIPS[size]
    result = Result(f"Batches of {count:,} clips from feature shards")
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder), count)
        sources = {"shards": from_shards, "files": from_files}
        result.facts["the same batches, bit for bit"] = same(
            list(batches(from_shards(made))), list(batches(from_files(made)))
        )
        for what, use in (("read", iter), ("read and collated", batches)):
            sides = {
                name: (lambda source=source, use=use: in_process(_count(use(source(made)))))
                for name, source in sources.items()
            }
            runs = interleaved(sides, REPEATS[size])
            both: dict[str, Any] = {"ours": "shards", "peer": "files", "rate": float(count), "unit": "clips/s"}
            target = (">=", 1.0) if size != "tiny" else None
            result.rows.append(compared(f"{what}: wall", runs, "wall", target=target, **both))
            result.rows.append(compared(f"{what}, per CPU second", runs, "cpu", **both))
    result.notes.append("Ratios of rates: more is better. The files lie in the page cache on both sides.")
    return result


if __name__ == "__main__":
    main(measure, "feature_shards")
