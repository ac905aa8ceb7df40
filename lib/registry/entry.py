"""One training run as a registry tells it, whoever recorded it: our trainings, the registries and folders of older tools.

Not here: where entries come from (ours.py, older.py), the file (index.py). What is not known is null, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lib.config.base import ConfigError, canonical, nearest
from lib.config.train_rfdetr import DETECTORS, SEGMENTERS
from lib.status.states import COMPLETED, UNKNOWN

OURS, RFDETR, REGISTRY = "vipersight", "rfdetr", "registry"
"""Who recorded a run: this project, RF-DETR in the run's folder, a registry.json of another tool."""
SCORES = ("mask_mAP", "mask_mAP50", "box_mAP", "box_mAP50")
"""COCO's mAP at IoU 0.50:0.95 and at 0.50, of masks and of boxes, on val; 0–1, higher is better."""
_RATES = ("lr", "lr0")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """id: unique where it was recorded. size: of the model (nano …). batch: images of one optimizer step; micro_batch: of
    one forward pass. best: SCORES, epoch and source (ema or regular) of the weights that were kept. wall_s, peak_…: over
    all attempts. output: the run's folder. made: whether its results stand (of ours). other: what an older registry says
    besides.
    """

    id: str
    name: str
    description: str = ""
    origin: str = OURS
    kind: str = "model"
    task: str | None = None
    model: str | None = None
    size: str | None = None
    dataset: str | None = None
    dataset_hash: str | None = None
    arm: str | None = None
    seed: int | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    batch: int | None = None
    micro_batch: int | None = None
    status: str = UNKNOWN
    why: str = ""
    best: Mapping[str, Any] = field(default_factory=dict)
    jobs: tuple[str, ...] = ()
    restarts: int | None = None
    started: str | None = None
    finished: str | None = None
    wall_s: float | None = None
    peak_memory_mb: float | None = None
    peak_gpu_memory_mb: float | None = None
    study: str | None = None
    fingerprint: str | None = None
    made: bool = True
    git: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    output: str | None = None
    log: str | None = None
    other: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For JSON; numbers that are none are null."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Entry:
        """From `plain()`, of this version or a later one: keys that it does not know go into `other`."""
        known = {one.name for one in fields(cls)}
        told = {key: value for key, value in values.items() if key in known}
        strange = {key: value for key, value in values.items() if key not in known}
        told["jobs"] = tuple(told.get("jobs") or ())
        return cls(**told | {"other": dict(told.get("other") or {}) | strange})

    @property
    def completed(self) -> bool:
        """Whether its best score is its last word; of another tool's run whose end nobody recorded, it is taken as such."""
        return self.status == COMPLETED or (self.origin == RFDETR and self.status == UNKNOWN)

    @property
    def score(self) -> float | None:
        """What runs are ordered by: the mAP of masks, of a run without masks that of boxes."""
        masks = self.value("mask_mAP")
        return masks if masks is not None else self.value("box_mAP")

    @property
    def learning_rate(self) -> float | None:
        """The highest one, of all but the backbone."""
        nested = self.hyperparameters.get("optimizer")
        places = [self.hyperparameters, *([nested] if isinstance(nested, Mapping) else [])]
        found = [place[key] for place in places for key in _RATES if key in place]
        return number(found[0]) if found else None

    @property
    def schedule(self) -> str | None:
        """What its learning rate does after the warm-up."""
        told = self.hyperparameters.get("lr_scheduler", self.hyperparameters.get("schedule"))
        if isinstance(told, Mapping):
            told = told.get("kind")
        if told is None and "cosine" in self.hyperparameters:
            return "cosine" if self.hyperparameters["cosine"] else "linear"
        return str(told) if told else None

    @property
    def settings(self) -> str:
        """A text that two runs share when they differ in their seed alone; of one whose settings are unknown its own."""
        if not self.hyperparameters:
            return canonical({"id": self.id, "output": self.output})
        alike = {key: value for key, value in self.hyperparameters.items() if key not in ("seed", "output_dir", "run")}
        told = {"data": self.dataset_hash} | {key: getattr(self, key) for key in ("dataset", "arm", "model", "size")}
        told |= {"name": self.name if self.origin == OURS else None}  # two variants of ours are never one row
        return canonical(_plain(told | {"settings": alike}))

    def value(self, name: str) -> float | None:
        """One of SCORES, None where it is not known or no number."""
        return number(self.best.get(name))


def number(value: Any) -> float | None:
    """A finite number, None for anything else."""
    told = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if told else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rfdetr_size(config: str) -> tuple[str, str] | None:
    """(task, size) of an RF-DETR by the class of its configuration, None for another class."""
    for task, sizes in (("segmentation", SEGMENTERS), ("detection", DETECTORS)):
        for size, facts in sizes.items():
            if facts.config == config:
                return task, size
    return None


def chosen(
    entries: Iterable[Entry], ids: Iterable[str] = (), sizes: Iterable[str] = (), option: str = "--ids"
) -> list[Entry]:
    """The entries that are asked for, all where nothing is: by id, by name, or by a pattern of either; and by size.

    ConfigError for a word that finds none, with the nearest; option: where the words were typed.
    """
    known = list(entries)
    wanted = list(ids)
    for word in wanted:
        if not any(_is(one, word) for one in known):
            raise ConfigError(f"{option}: no run is called {word!r}. {nearest(word, _names(known, word))}")
    for word in sizes:
        if word not in {one.size for one in known}:
            raise ConfigError(
                f"--model-size: no run is of size {word!r}. {nearest(word, {one.size or '–' for one in known})}"
            )
    found = [one for one in known if not wanted or any(_is(one, word) for word in wanted)]
    return [one for one in found if not sizes or one.size in sizes]


def _is(entry: Entry, word: str) -> bool:
    return any(fnmatchcase(text, word) for text in (entry.id, entry.name))


def _names(entries: Iterable[Entry], word: str) -> set[str]:
    """What a person may have meant: ids where the word is like one, else names."""
    return {one.id if "/" in word else one.name for one in entries}
