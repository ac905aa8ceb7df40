"""Paraphrases: what shardsets of clips, trainings and test-time views must agree on.

Not here: the words themselves (embed_wording.py), what else shardsets of clips must agree on (clip_references.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.config.base import ConfigError
from lib.config.tasks import TASKS

if TYPE_CHECKING:
    from lib.config.study import Study

_BLIND = ("prior", "chance")
"""Floors that look at no sample."""


def check(study: Study) -> None:
    """Raise ConfigError for the first disagreement. Names are known to exist."""
    for name, one in study.shardsets.items():
        for other in getattr(one, "paraphrases", ()):
            _check_widths(f"shardsets.{name}.paraphrases", study, one.text, other)
    for name, variant in study.variants.items():
        if variant.kind == "model" and TASKS[variant.task].samples == "clips":
            _check_training(study, name)
    for board in study.boards.values():
        for variant in board.variants or ():
            for tta in board.tta or ():
                check_views(study, variant, tta)


def check_views(study: Study, variant: str, tta: str) -> None:
    """Raise ConfigError for a view with a paraphrase that the samples of a variant, or of a member of it, do not have."""
    entry = study.variants[variant]
    for member in entry.members or ():
        check_views(study, member, tta)
    if entry.arm is None or entry.floor in _BLIND:
        return
    shardset, count = _paraphrases(study, variant)
    for number, view in enumerate(study.tta[tta].views):
        if view.paraphrase > count:
            raise ConfigError(
                f"tta.{tta}: view {number} has paraphrase {view.paraphrase}, but shardset {shardset!r} of variant "
                f"{variant!r} has {count}. Hint: add a featureset in other words to shardsets.{shardset}.paraphrases."
            )


def _check_training(study: Study, variant: str) -> None:
    shardset, count = _paraphrases(study, variant)
    if not count and getattr(study.training_of(variant), "paraphrases", False):
        raise ConfigError(
            f"variants.{variant}.training.paraphrases: true, but shardset {shardset!r} has none to draw among. "
            f"Hint: name featuresets in other words in shardsets.{shardset}.paraphrases."
        )


def _paraphrases(study: Study, variant: str) -> tuple[str, int]:
    """The shardset of a variant's arm, and how many paraphrases it has."""
    shardset = study.arms[study.variants[variant].arm].shardset
    return shardset, len(getattr(study.shardsets[shardset], "paraphrases", ()))


def _check_widths(place: str, study: Study, text: str, other: str) -> None:
    """Widths where both are stated; that of a network may be known to the job only."""
    wanted, width = (getattr(study.featuresets[name], "width", None) for name in (text, other))
    if None not in (wanted, width) and wanted != width:
        raise ConfigError(
            f"{place}: featureset {other!r} is {width} wide, {text!r} is {wanted}. Hint: the same encoder for both, in "
            "other words (`rewrite`, `phrases`)."
        )
