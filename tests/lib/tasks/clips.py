"""Small clips with planted answers for tests of the task grounding, and shards of them.

Letters: T steps, L words, K objects, D widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.config.shard import ClipShardset
from lib.data.clip_samples import ClipSample
from lib.data.clip_shards import write_clip_shards
from lib.data.features import Features, write_features
from lib.data.time_grid import TimeGrid
from lib.tasks.grounding_batches import queries_table

WORDS, WIDTH, OBJECT_WIDTH = 6, 12, 7


def clip(
    number: int, split: str, *, steps: int = 24, queries: int = 3, objects: bool = False, annotated: bool = True,
    signal: str = "video",
) -> ClipSample:  # fmt: skip
    """A clip of noise in which step t of an answer shows the direction of its query's word.

    signal: where: in the video's features, or in an object's (then the video shows nothing).
    """
    random = np.random.default_rng([number, steps])
    directions = np.random.default_rng(0).normal(size=(WORDS, WIDTH)).astype(np.float32)
    grid = TimeGrid(stride=4.0, window=8.0, fps=10.0, duration=(4.0 * (steps - 1) + 8.0) / 10.0)
    features = random.normal(0, 0.3, (steps, WIDTH)).astype(np.float32)
    tokens = random.normal(0, 0.3, (steps, 2, OBJECT_WIDTH)).astype(np.float32)
    asked, texts = [], []
    chosen = random.permutation(WORDS)[:queries]
    for place, word in enumerate(chosen):
        length = int(random.integers(3, 9))
        start = int(random.integers(0, steps - length))
        if signal == "video":
            features[start : start + length] += directions[word]
        else:
            tokens[start : start + length, 0] += directions[word, :OBJECT_WIDTH]
        window = tuple(grid.seconds([start, start + length - 1]).tolist())
        asked.append({
            "query": f"c{number}_{place}", "text": f"word {word}", "template": f"t{word % 2}", "evidence": signal,
            "windows": [window] if annotated else [],
        })  # fmt: skip
        texts.append(np.stack([directions[word], 0.1 * directions[word]]))
    return ClipSample(
        key=f"clip-{number:04d}", video=f"clip-{number:04d}", split=split, grid=grid, queries=asked, features=features,
        texts=texts, objects=tokens if objects else None,
        objects_mask=np.ones((steps, 2), bool) if objects else None,
    )  # fmt: skip


def pack(samples: Sequence[ClipSample], folder: Path) -> Path:
    """The shardset of clips, made of feature files as the stages embed and shard make it; its manifest.json."""
    others = [f"paraphrase{number}" for number in range(1, len(samples[0].paraphrases) + 1)]
    made: dict[str, Features] = {role: Features() for role in ("clips", "text", "objects", *others)}
    for sample in samples:
        grid = {"stride": sample.grid.stride, "window": sample.grid.window, "fps": sample.grid.fps}
        made["clips"].add(sample.video, sample.video, sample.features, **grid)
        if sample.objects is not None:
            made["objects"].add(sample.video, sample.video, sample.objects, mask=sample.objects_mask, **grid)
        for role, texts in zip(["text", *others], [sample.texts, *sample.paraphrases], strict=True):
            for query, text in zip(sample.queries, texts, strict=True):
                made[role].add(query["query"], sample.video, text)
    made = {role: one for role, one in made.items() if one.rows}
    files = {role: [write_features(folder / f"{role}.safetensors", one, "float32")[0]] for role, one in made.items()}
    files["text"] += [files.pop(role)[0] for role in others]
    splits = list(dict.fromkeys(sample.split for sample in samples))
    settings = ClipShardset(kind="clips", splits=splits, paraphrases=others, **{role: role for role in files})
    write_clip_shards(videos(samples), queries_table(samples), files, settings, folder / "shards")
    return folder / "shards" / "manifest.json"


def videos(samples: Sequence[ClipSample]) -> pd.DataFrame:
    """What is needed of the MANIFEST table."""
    rows = [(sample.video, sample.split, sample.grid.duration) for sample in samples]
    return pd.DataFrame(rows, columns=["video", "split", "duration_s"])
