"""One sample of a shardset of clips: features of a clip, its queries and theirs; and reading them. Not here: packing
(clip_shards.py), batches (clip_batches.py).

Members of a sample: `{key}.json` {video, split, grid {stride, window, fps, duration_s}, queries [{query, text, template,
evidence, windows [[start_s, end_s]]}], text_offsets}, `{key}.video.npy` [T, Dv], `{key}.text.npy` [sum of L, Dt], and
where the shardset has objects `{key}.objects.npy` [T, K, F] and `{key}.objects_mask.npy` [T, K]. The words of query n are
the rows text_offsets[n] to text_offsets[n + 1] of the text. Where the shardset has paraphrases, `{key}.text1.npy` …
hold the queries in other words, and paraphrase_offsets lists the offsets of each. `windows` is empty for a query that is
not annotated.

T steps, D widths, L tokens of a query, K objects of a step, F width of an object.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from lib.config.base import ConfigError
from lib.data.reader import TarReader
from lib.data.tar_index import AGAIN
from lib.data.time_grid import TimeGrid
from lib.files import DataError


@dataclass(frozen=True)
class ClipSample:
    """A clip. queries: in the order of texts, each {query, text, template, evidence, windows: list of (start_s, end_s)}.

    features: float32 [T, Dv]; texts: float32 [L, Dt] each; objects: float32 [T, K, F] and objects_mask: bool [T, K], True =
    an object, or None for both; paraphrases: the texts in other words, as often as the shardset has them. Arrays may be
    views of what was read: copy before writing.
    """

    key: str
    video: str
    split: str
    grid: TimeGrid
    queries: list[dict[str, Any]]
    features: np.ndarray
    texts: list[np.ndarray]
    objects: np.ndarray | None
    objects_mask: np.ndarray | None
    paraphrases: list[list[np.ndarray]] = field(default_factory=list)

    def worded(self, paraphrase: int) -> ClipSample:
        """The clip with its queries in the words of a paraphrase, from 1 on; 0 = as they were asked.

        ConfigError: the clip has fewer.
        """
        if paraphrase == 0:
            return self
        if paraphrase > len(self.paraphrases):
            raise ConfigError(
                f"tta views: paraphrase {paraphrase} of clip {self.video!r}: its shardset has {len(self.paraphrases)}. "
                "Hint: add a featureset to `paraphrases` of the shardset."
            )
        return replace(self, texts=self.paraphrases[paraphrase - 1])


class ClipReader(TarReader[ClipSample]):
    """Samples of clips by key. widths: {video: Dv, text: Dt, objects: (K, F) or None}."""

    kind = "clips"

    @property
    def widths(self) -> dict[str, Any]:
        stated = self.manifest["widths"]
        return stated | {"objects": tuple(stated["objects"]) if stated["objects"] else None}

    @property
    def without_queries(self) -> list[str]:
        """Videos of the packed splits about which nobody asks, which are no samples therefore."""
        return list(self.manifest["left_out"]["clips_without_queries"])

    def made(self, row: int, contents: dict[str, memoryview]) -> ClipSample:
        """A clip. DataError where its members do not belong together."""
        said = self.parsed(row, contents["json"])
        arrays = {name: array_of(contents[name]) for name in contents if name != "json"}
        video, objects, mask = arrays["video"], arrays.get("objects"), arrays.get("objects_mask")
        offsets = [said["text_offsets"], *said.get("paraphrase_offsets", ())]
        texts = [arrays[name] for name in self.layout.members if name.startswith("text")]
        fits = [(len(said["queries"]) + 1, len(text)) for text in texts] == [(len(one), one[-1]) for one in offsets]
        if not fits or (mask is not None and (objects.shape[:2] != mask.shape or len(mask) != len(video))):
            raise DataError(f"{self.folder}: the parts of sample {self.key(row)!r} do not fit. {AGAIN}")
        grid = said["grid"]
        words = [
            [_plain(text[start:end]) for start, end in pairwise(ends)] for text, ends in zip(texts, offsets, strict=True)
        ]
        return ClipSample(
            key=self.key(row),
            video=said["video"],
            split=said["split"],
            grid=TimeGrid(grid["stride"], grid["window"], grid["fps"], grid["duration_s"]),
            queries=[one | {"windows": [(start, end) for start, end in one["windows"]]} for one in said["queries"]],
            features=_plain(video),
            texts=words[0],
            objects=None if objects is None else _plain(objects),
            objects_mask=mask,
            paraphrases=words[1:],
        )


def _plain(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32, copy=False)


def npy(values: np.ndarray) -> bytes:
    """The bytes of a .npy file; the same for the same array."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(values), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def array_of(content: memoryview) -> np.ndarray:
    """The array of a .npy file, a read-only view of its bytes."""
    head = io.BytesIO(content[:4096])
    np.lib.format.read_magic(head)
    shape, _, dtype = np.lib.format.read_array_header_1_0(head)
    return np.frombuffer(content, dtype, offset=head.tell()).reshape(shape)


def part(sample: ClipSample, steps: slice) -> ClipSample:
    """Some steps of a clip, with the grid that gives them the seconds they had; queries stay. steps: from 0 on, forwards.

    slice(p, None, s) is the p-th phase of every s-th step, slice(a, b) a window of a long clip. DataError: it holds none.
    """
    first, _, every = steps.indices(len(sample.features))
    features = sample.features[steps]
    if not len(features) or every < 1:
        raise DataError(f"clip {sample.video!r}: {steps} holds none of its {len(sample.features)} steps, in order.")
    return replace(
        sample,
        grid=sample.grid.part(first, every),
        features=features,
        objects=None if sample.objects is None else sample.objects[steps],
        objects_mask=None if sample.objects_mask is None else sample.objects_mask[steps],
    )


def phases(sample: ClipSample, every: int) -> Iterator[ClipSample]:
    """The views of a clip at every `every`-th step, one from each of its first steps on: test-time augmentation."""
    for first in range(min(every, len(sample.features))):
        yield part(sample, slice(first, None, every))
