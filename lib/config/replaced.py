"""How many finished results a change of settings would replace: told before a run, from the meta.json files on disk.

A result is replaced when its own settings differ from those that it was made with, when it would be made from other files,
or when something that it was made from is replaced (by the identities that meta.json records). Boards, summaries and
pictures have no meta.json and are not counted. Not here: what Snakemake reruns; it decides that by itself, and `--dry-run`
lists it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lib.config.base import ConfigError
from lib.config.inputs import Inputs
from lib.config.jobs import Jobs
from lib.config.study import Study
from lib.files import DataError, read_json
from lib.provenance import meta_path

_WORDS = {
    "videos": ("data set", "data sets"),
    "weights": ("weights file", "weights files"),
    "detections": ("chunk of detections", "chunks of detections"),
    "tracks": ("chunk of tracks", "chunks of tracks"),
    "features": ("chunk of features", "chunks of features"),
    "shards": ("shard set", "shard sets"),
    "subsets": ("subset", "subsets"),
    "train": ("training", "trainings"),
    "predictions": ("prediction", "predictions"),
    "exports": ("export", "exports"),
    "metrics": ("score", "scores"),
}
"""First folder below results/, in the order of the stages → what one and several of its results are called."""

_SHAPES = {
    "videos": [("{dataset}", "download")],
    "weights": [("{weights}", "fetch_weights")],
    "detections": [("{dataset}/{detector}/chunk={chunk}", "detect")],
    "tracks": [("{dataset}/{detector}/{tracker}/chunk={chunk}", "track")],
    "features": [("{dataset}/{featureset}/chunk={chunk}", "embed")],
    "shards": [("{dataset}/{shardset}", "shard")],
    "subsets": [("{dataset}/{arm}/seed={seed}", "subsample")],
    "train": [("{dataset}/{variant}/seed={seed}", "train")],
    "predictions": [("{dataset}/{variant}/seed={seed}/tta={tta}", "predict")],
    "exports": [
        ("{dataset}/{variant}/seed={seed}/tta={tta}", "export_predictions"),
        ("{dataset}/{detector}/{tracker}", "export_tracks"),
    ],
    "metrics": [
        ("{dataset}/{variant}/seed={seed}/tta={tta}", "evaluate"),
        ("{dataset}/{detector}/{tracker}", "evaluate_tracks"),
    ],
}
"""Where the results of a stage lie below its folder → the method of Jobs that says how they are made."""


@dataclass(frozen=True)
class Result:
    """One finished result: its folder below results/, its job, its meta.json, and what path and meta.json say."""

    stage: str
    job: str
    path: Path
    wildcards: SimpleNamespace
    meta: dict[str, Any]

    @property
    def identity(self) -> str:
        return str(self.meta["identity"])

    @property
    def sources(self) -> set[str]:
        """Identities of what it was made from."""
        given = self.meta["inputs"].values()
        return {one for value in given for one in (value if isinstance(value, list) else [value])}

    @property
    def name(self) -> str:
        """What people call it: its variant and seed, or the names in its path."""
        values = vars(self.wildcards)
        words = [value for key, value in values.items() if key not in ("dataset", "seed", "tta", "chunk")]
        words += [f"seed {values['seed']}"] if "seed" in values else []
        return " ".join(words) or values["dataset"]


def replaced(study: Study, inputs: Inputs, targets: Iterable[str], named: Iterable[str] = ()) -> list[Result]:
    """Finished results that this study would make anew on the way to its targets, in the order of the stages.

    named: words of the command line; where some are finished results, these alone are the targets.
    """
    asked = [word for word in named if meta_path(word).is_file()]
    results = list(_behind(list(_finished(Path("results"))), asked or targets))
    jobs = Jobs(study)
    stale = {result.path: result for result in results if _differs(result, jobs, inputs)}
    more = list(stale.values())
    while more:
        gone = {result.identity for result in more}
        more = [result for result in results if result.path not in stale and result.sources & gone]
        stale |= {result.path: result for result in more}
    order = list(_WORDS)
    return sorted(stale.values(), key=lambda one: (order.index(one.stage), one.name))


def notice(asked: str, results: Sequence[Result]) -> str:
    """One paragraph for people: how many results of which stage go, by name."""
    if not results:
        return f"set: {asked} replaces no finished result."
    parts = []
    for stage, (one, many) in _WORDS.items():
        names = [result.name for result in results if result.stage == stage]
        if names:
            listed = list(dict.fromkeys(names))
            more = f", … {len(listed) - 3} more" if len(listed) > 3 else ""
            parts.append(f"{len(names)} {one if len(names) == 1 else many} ({', '.join(listed[:3])}{more})")
    total = f"{len(results)} finished result{'s' if len(results) > 1 else ''}"
    return (
        f"set: {asked} replaces {total}: {'; '.join(parts)}. Boards and pictures are not counted.\n"
        "Hint: Ctrl-C keeps them; new='NAME=BASE …' makes a variant of its own beside them."
    )


def _finished(folder: Path) -> Iterable[Result]:
    for stage in _WORDS:
        for path in sorted((folder / stage).rglob("*meta.json")):
            place = path.relative_to(folder / stage).as_posix()
            result = _result(stage, re.sub(r"(/|\.)meta\.json$", "", place), path)
            if result:
                yield result


def _result(stage: str, place: str, path: Path) -> Result | None:
    """The result whose meta.json lies there; None where the place or the file is not one of ours."""
    for shape, job in _SHAPES[stage]:
        match = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[a-z0-9][a-z0-9_-]*)", shape), place)
        if match:
            meta = _record(path)
            return Result(stage, job, path, SimpleNamespace(**match.groupdict()), meta) if meta else None
    return None


def _behind(results: Sequence[Result], targets: Iterable[str]) -> Iterable[Result]:
    """The finished targets and all finished results that they were made from."""
    metas = {meta_path(target) for target in targets}
    waiting = [result for result in results if result.path in metas]
    behind = {result.path for result in waiting}
    while waiting:
        sources = {source for result in waiting for source in result.sources}
        waiting = [result for result in results if result.identity in sources and result.path not in behind]
        behind |= {result.path for result in waiting}
    return (result for result in results if result.path in behind)


def _differs(result: Result, jobs: Jobs, inputs: Inputs) -> bool:
    """Whether this study would make a result with other settings, or from other files."""
    try:
        wanted = json.loads(getattr(jobs, result.job)(result.wildcards))
        files = _inputs_by_study(result, inputs)
    except ConfigError:
        return False  # a result of another study: this one does not make it
    recipe = wanted.pop("recipe", 1)
    made = result.meta["settings"]
    if recipe != result.meta["recipe"] or any(made.get(key) != value for key, value in wanted.items()):
        return True
    return any(_identity(file) not in result.sources for file in files)


def _identity(file: str) -> str | None:
    """Identity that the meta.json beside a file records; None where there is none."""
    meta = _record(meta_path(file))
    return str(meta["identity"]) if meta else None


def _record(path: Path) -> dict[str, Any] | None:
    """One meta.json; None where it is missing or damaged, which is for the job that reads it to say."""
    try:
        meta = read_json(path)
    except (OSError, DataError):
        return None
    whole = isinstance(meta, dict) and {"identity", "inputs", "settings", "recipe"} <= meta.keys()
    return meta if whole else None


def _inputs_by_study(result: Result, inputs: Inputs) -> list[str]:
    """The files that the settings choose for a result: an arm, weights, tracks. Fixed ones are found by identity."""
    chosen: dict[str, tuple[Callable[[Any], str | list[str]], ...]] = {
        "fetch_weights": (inputs.trained_weights,),
        "detect": (inputs.detector_weights,),
        "embed": (inputs.embedded_queries, inputs.embedded_tracks),
        "shard": (inputs.shard_sources,),
        "subsample": (inputs.arm_index, inputs.arm_matched),
        "train": (inputs.train_subset, inputs.train_shards, inputs.train_weights),
        "predict": (inputs.tested_model,),
    }
    files: list[str] = []
    for method in chosen.get(result.job, ()):
        given = method(result.wildcards)
        files += [given] if isinstance(given, str) else given
    return files
