"""Packing features of clips and their queries into the tars of a shardset. Not here: what a sample holds (clip_samples.py),
how tars and index are written (tar_writer.py), computing features (lib/perception).

What is packed is decided from manifest, queries and the indices of the features, before any feature is read; then a clip is
read, checked and written after the other, so that memory holds one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.config.base import ConfigError, identity, nearest
from lib.config.shard import ClipShardset
from lib.data.clip_samples import npy
from lib.data.features import read_features, read_index, read_rows
from lib.data.progress import track
from lib.data.tar_index import clip_layout
from lib.data.tar_writer import JSON, Packed, write_shardset
from lib.data.time_grid import TimeGrid
from lib.files import DataError

ROLES = ("clips", "text", "objects")
_LISTED = 10
_ABOUT = ("query", "text", "template", "evidence")


@dataclass(frozen=True)
class Clip:
    """One clip to be packed: where its features lie, by role a row of the features' index (None: it has no objects).

    texts: rows of the queries, as they were asked, then of each paraphrase.
    """

    video: str
    split: str
    duration_s: float
    queries: list[dict[str, Any]]
    rows: Mapping[str, Any]
    texts: list[list[Any]]

    @property
    def grid(self) -> TimeGrid:
        row = self.rows["clips"]
        return TimeGrid(float(row.stride), float(row.window), float(row.fps), self.duration_s)


@dataclass
class LeftOut:
    """Names of what is not packed, or packed without objects."""

    clips_without_features: list[str] = field(default_factory=list)
    clips_without_queries: list[str] = field(default_factory=list)
    clips_without_objects: list[str] = field(default_factory=list)
    queries_without_features: list[str] = field(default_factory=list)


def write_clip_shards(
    manifest: pd.DataFrame, queries: pd.DataFrame, features: Mapping[str, Sequence[Path]], settings: ClipShardset, out: Path
) -> dict[str, Any]:
    """Pack the clips of settings.splits into `out` and return what manifest.json holds.

    manifest, queries: tables as lib/tables.py describes them. features: by role (clips, text, objects) the safetensors
    files of all chunks; behind those of `text` come those of each paraphrase. ConfigError: a split that the dataset lacks.
    DataError: a clip or query without features (unless they may be missing), features of different widths, of another
    grid than the objects', longer than max_steps, or not finite.
    """
    left_out = LeftOut()
    known = {role: _by_unit(features.get(role, ())) for role in ("clips", "objects")}
    words = [_by_unit(files) for files in _by_featureset(features["text"], settings.featuresets("text"))]
    clips = {split: _chosen(split, manifest, queries, known, words, settings, left_out) for split in settings.splits}
    _refuse_missing(left_out, words, settings)
    for split, found in clips.items():
        if not found:
            raise DataError(f"split {split!r}: no clip with features and queries is left. Hint: leave it out of `splits`.")
    shapes = _shapes([clip for found in clips.values() for clip in found], settings)
    return write_shardset(
        out,
        {split: _packed_split(split, found, shapes, settings) for split, found in clips.items()},
        clip_layout(objects=settings.objects is not None, paraphrases=len(settings.paraphrases)),
        settings.samples_per_shard,
        lambda: {"kind": "clips", "widths": shapes, "left_out": vars(left_out), "settings": identity(settings)},
    )


def _by_unit(files: Iterable[Path]) -> dict[str, Any]:
    return {row.unit: row for row in read_index(files).itertuples(index=False)}


def _by_featureset(files: Sequence[Path], names: Sequence[str]) -> list[Sequence[Path]]:
    """The files of each featureset: they follow each other, all with the same chunks."""
    chunks, rest = divmod(len(files), len(names))
    if rest:
        raise DataError(f"{len(files)} files are not the chunks of {', '.join(names)}. Hint: all chunks of each, in order.")
    return [files[chunks * number : chunks * (number + 1)] for number in range(len(names))]


def _chosen(
    split: str,
    manifest: pd.DataFrame,
    queries: pd.DataFrame,
    known: Mapping[str, Mapping[str, Any]],
    words: Sequence[Mapping[str, Any]],
    settings: ClipShardset,
    left_out: LeftOut,
) -> list[Clip]:
    """The clips of a split in the order of the manifest; what they lack is told to left_out."""
    if split not in set(manifest["split"]):
        raise ConfigError(f"splits: the dataset has no split {split!r}. {nearest(split, set(manifest['split']))}")
    by_video = dict(list(queries.groupby("video", sort=False)))
    found = []
    for row in manifest[manifest["split"] == split].itertuples(index=False):
        asked = asked_of(by_video[row.video]) if row.video in by_video else []
        if not asked:
            left_out.clips_without_queries.append(row.video)
            continue
        if row.video not in known["clips"]:
            left_out.clips_without_features.append(row.video)
            continue
        there = [all(one["query"] in rows for rows in words) for one in asked]
        left_out.queries_without_features += [one["query"] for one, has in zip(asked, there, strict=True) if not has]
        asked = [one for one, has in zip(asked, there, strict=True) if has]
        if settings.objects is not None and row.video not in known["objects"]:
            left_out.clips_without_objects.append(row.video)
        rows = {role: known[role].get(row.video) for role in ("clips", "objects")}
        if asked:
            texts = [[wording[one["query"]] for one in asked] for wording in words]
            found.append(_checked(Clip(row.video, split, float(row.duration_s), asked, rows, texts), settings))
    return found


def asked_of(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The queries of a clip (QUERIES rows) in their order, each once, with the list of its windows (start_s, end_s)."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows.itertuples(index=False):
        one = found.setdefault(row.query, {key: getattr(row, key) for key in _ABOUT} | {"windows": []})
        if not np.isnan(row.start_s):
            one["windows"].append([float(row.start_s), float(row.end_s)])
    return list(found.values())


def _checked(clip: Clip, settings: ClipShardset) -> Clip:
    """Refuse a clip that is too long, or whose objects lie on another grid; both are in the indices."""
    row, other = clip.rows["clips"], clip.rows["objects"]
    if row.steps > settings.max_steps:
        raise DataError(
            f"{row.file}: clip {clip.video!r} has {row.steps} steps, more than max_steps {settings.max_steps}. "
            "Hint: features with a larger stride, or raise max_steps."
        )
    for key in ("steps", "stride", "window", "fps"):
        if other is not None and getattr(row, key) != getattr(other, key):
            raise DataError(
                f"clip {clip.video!r}: {key} is {getattr(row, key):g} in {row.file}, but {getattr(other, key):g} in "
                f"{other.file}. Hint: features of clips and of objects need the same stride, window and fps."
            )
    return clip


def _refuse_missing(left_out: LeftOut, words: Sequence[Mapping[str, Any]], settings: ClipShardset) -> None:
    lacking = [("clips", settings.clips, left_out.clips_without_features)]
    for featureset, rows in zip(settings.featuresets("text"), words, strict=True):
        lacking.append(("queries", featureset, [one for one in left_out.queries_without_features if one not in rows]))
    for what, featureset, names in lacking:
        if names and settings.missing == "error":
            more = f" … and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            raise DataError(
                f"{len(names)} {what} have no features in featureset {featureset!r}: "
                f"{', '.join(names[:_LISTED])}{more}. Hint: do its `splits` hold them? `missing: drop` leaves them out and "
                "lists them in manifest.json."
            )


def _shapes(clips: Sequence[Clip], settings: ClipShardset) -> dict[str, Any]:
    """Widths of video and text, (K, F) of objects; DataError names two units that differ."""
    rows = {"video": [one.rows["clips"] for one in clips], "text": [row for one in clips for row in one.texts[0]]}
    bearing = [one.rows["objects"] for one in clips if one.rows["objects"] is not None]
    shapes: dict[str, Any] = {role: _width(found) for role, found in rows.items()} | {"objects": None}
    for number, name in enumerate(settings.paraphrases, start=1):
        width = _width([row for one in clips for row in one.texts[number]])
        if width != shapes["text"]:
            raise DataError(
                f"paraphrases: featureset {name!r} is {width} wide, {settings.text!r} is {shapes['text']}. Hint: the same "
                "encoder for both, in other words (`rewrite`, `phrases`)."
            )
    if settings.objects is not None:
        if not bearing:
            raise DataError(f"no clip has features in featureset {settings.objects!r}. Hint: leave `objects` out.")
        _, values, _ = next(read_features(Path(bearing[0].file), [bearing[0].unit]))
        shapes["objects"] = [values.shape[1] if values.ndim == 3 else 0, _width(bearing)]
    return shapes


def _width(rows: Sequence[Any]) -> int:
    for row in rows:
        if row.width != rows[0].width:
            raise DataError(
                f"{row.file}: {row.unit!r} has width {row.width}, but {rows[0].unit!r} in {rows[0].file} has "
                f"{rows[0].width}. Hint: one featureset has one width; were some of its chunks made with other settings?"
            )
    return int(rows[0].width)


def _packed_split(split: str, clips: Sequence[Clip], shapes: Mapping[str, Any], settings: ClipShardset) -> Iterator[Packed]:
    """The samples of one split, read as they are asked for."""
    for clip in track(clips, total=len(clips), label=f"packing {split}"):
        yield _packed(clip, shapes, settings)


def _packed(clip: Clip, shapes: Mapping[str, Any], settings: ClipShardset) -> Packed:
    row, grid = clip.rows["clips"], clip.grid
    (video, _), *_rest = read_rows([row], (row.steps, shapes["video"]), settings.dtype)
    words = [[values for values, _ in read_rows(rows, (None, shapes["text"]), settings.dtype)] for rows in clip.texts]
    said = {"video": clip.video, "split": clip.split, "queries": clip.queries}
    said["grid"] = {"stride": grid.stride, "window": grid.window, "fps": grid.fps, "duration_s": grid.duration}
    said["text_offsets"], *others = [[0, *np.cumsum([len(one) for one in texts]).tolist()] for texts in words]
    said |= {"paraphrase_offsets": others} if others else {}
    members = {"json": JSON.encode(said).encode(), "video": npy(video)}
    members |= {f"text{number or ''}": npy(np.concatenate(texts)) for number, texts in enumerate(words)}
    if shapes["objects"] is not None:
        wanted = (row.steps, *shapes["objects"])
        tokens, mask = np.zeros(wanted, settings.dtype), np.zeros(wanted[:2], bool)
        if clip.rows["objects"] is not None:
            ((tokens, mask),) = read_rows([clip.rows["objects"]], wanted, settings.dtype)
        members |= {"objects": npy(tokens), "objects_mask": npy(mask)}
    facts = {"video": clip.video, "frame": 0, "duration_s": clip.duration_s, "steps": int(row.steps)}
    return Packed(clip.video, members, facts | _counted(clip.queries))


def _counted(queries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    templates = [one["template"] for one in queries]
    names = sorted(set(templates))
    annotated = sum(bool(one["windows"]) for one in queries)
    numbers = {"queries": len(queries), "annotated": annotated}
    return numbers | {"templates": names, "template_queries": [templates.count(name) for name in names]}
