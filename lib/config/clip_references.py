"""What a shardset of clips, its featuresets, arms and variants must agree on, as far as settings know it.

Not here: unknown names (references.py), queries in other words (paraphrase_references.py), the features themselves
(lib/data/clip_shards.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lib.config.base import ConfigError
from lib.config.embed import about
from lib.config.shard import ClipShardset
from lib.config.subsample import Arm
from lib.config.tasks import TASKS

if TYPE_CHECKING:
    from lib.config.study import Study

_KINDS = {
    "clips": "light_clips, model_clips, files, planted",
    "text": "light_text, model_text, files with of: text",
    "objects": "objects, planted with where: objects",
}
_OF_FRAMES = {"fractions": {}, "mode": "union", "unit": "frame"}


def feature_roles(study: Study) -> Iterator[tuple[str, str, str]]:
    """(shardset, its setting, featureset) of all shardsets of clips."""
    for name, one in study.shardsets.items():
        for role in _KINDS if isinstance(one, ClipShardset) else ():
            first, *others = one.featuresets(role) or [None]
            yield from [(name, role, first)] if first else []
            yield from ((name, "paraphrases", other) for other in others)


def check(study: Study) -> None:
    """Raise ConfigError for the first disagreement. Names are known to exist."""
    for name, role, chosen in feature_roles(study):
        _check_featureset(f"shardsets.{name}", study.shardsets[name], role, chosen, study.featuresets[chosen])
    for name, one in study.shardsets.items():
        if isinstance(one, ClipShardset) and one.objects:
            _check_grids(f"shardsets.{name}", study.featuresets[one.clips], study.featuresets[one.objects])
    for name, arm in study.arms.items():
        if isinstance(study.shardsets[arm.shardset], ClipShardset):
            _check_arm(f"arms.{name}", arm)
    for name, variant in study.variants.items():
        if variant.arm:
            shardset, wanted = study.arms[variant.arm].shardset, TASKS[variant.task].samples
            if study.shardsets[shardset].kind != wanted:
                raise ConfigError(
                    f"variants.{name}.arm: task {variant.task} learns from {wanted}, but shardset {shardset!r} of arm "
                    f"{variant.arm!r} holds {study.shardsets[shardset].kind}. Hint: an arm on a shardset of kind {wanted}."
                )
            if variant.kind == "model" and wanted == "clips":
                _check_objects(f"variants.{name}.training", study.training_of(name), shardset, study.shardsets[shardset])


def _check_featureset(place: str, shardset: Any, role: str, name: str, featureset: Any) -> None:
    wanted = "text" if role == "paraphrases" else role
    if about(featureset) != wanted:
        raise ConfigError(
            f"{place}.{role}: featureset {name!r} of kind {featureset.kind} is about {about(featureset)}. "
            f"Hint: one of kind {_KINDS[wanted]}."
        )
    lacking = [split for split in shardset.splits if featureset.splits is not None and split not in featureset.splits]
    if lacking:
        raise ConfigError(
            f"{place}.{role}: featureset {name!r} has no features of split {lacking[0]!r}, which is packed. "
            f"Hint: add it to featuresets.{name}.splits, or leave it out of {place}.splits."
        )


def _check_grids(place: str, clips: Any, objects: Any) -> None:
    """Stride and window where both state them; rates of clips are known to the job only."""
    for key in ("stride", "window"):
        if getattr(clips, key) != getattr(objects, key):
            raise ConfigError(
                f"{place}: {key} is {getattr(clips, key):g} in the features of clips, {getattr(objects, key):g} in those "
                "of objects. Hint: a step must be the same in both."
            )


def _check_objects(place: str, training: Any, name: str, shardset: ClipShardset) -> None:
    """What tells how objects are learned from needs some (`objects: true` does not: it says, where there are any)."""
    for key in ("gate_mode", "object_dropout") if shardset.objects is None else ():
        value = getattr(training, key, None)
        if value not in (None, type(training).model_fields[key].default):
            raise ConfigError(
                f"{place}.{key}: {value} has an effect only with objects, and shardset {name!r} has none. "
                f"Hint: name a featureset of objects in shardsets.{name}.objects, or leave it out."
            )


def _check_arm(place: str, arm: Arm) -> None:
    for key, default in _OF_FRAMES.items():
        if getattr(arm, key) != default:
            raise ConfigError(
                f"{place}.{key}: a clip has no class and is no frame, so `{key}` has no meaning on a shardset of clips. "
                "Hint: `background: all` takes every clip, `background: {fraction: 0.25}` a quarter of them."
            )
    if arm.background == "none" or getattr(arm.background, "ratio", None) is not None:
        raise ConfigError(
            f"{place}.background: clips count as background, of which this takes none. "
            "Hint: `all`, or `{fraction: 0.25}` for a quarter of the clips."
        )
