"""A small set in Ego4D's form with features in files, and the programs of grounding run on it by hand, from annotations to
a submission: 4 clips to train on, 2 of val, 2 of test, of 10 s and 19 steps, with two queries each."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from lib.config.jobs import Jobs
from lib.config.study import Study
from tests.workflow.bench import run

COUNTS = {"train": 4, "val": 2, "test": 2}
FPS, STRIDE, WINDOW, WIDTH = 10.0, 5, 10, 6
ANNOTATIONS = {split: f"{split}.json" for split in COUNTS}
STAGES = ("download", "looks", "words", "shard", "subsample", "train", "predict", "evaluate", "submission")
MADE = {
    "download": "videos/d/manifest.parquet",
    "looks": "features/d/looks/chunk=0.safetensors",
    "words": "features/d/words/chunk=0.safetensors",
    "shard": "shards/d/s/manifest.json",
    "subsample": "subsets/d/all/seed=0.parquet",
    "train": "train/d/{}/seed=0/model.json",
    "predict": "predictions/d/{}/seed=0/tta=none.parquet",
    "evaluate": "metrics/d/{}/seed=0/tta=none.json",
    "submission": "submissions/d/{}/seed=0/tta=none.json",
}
"""What a stage makes; the variant stands in the braces."""
STUDY: dict[str, Any] = {
    "study": "bad",
    "datasets": {"d": {"source": {"format": "ego4d_nlq", "fps": FPS, "annotations": ANNOTATIONS}}},
    "featuresets": {
        "looks": {"kind": "files", "folder": "features", "width": WIDTH, "stride": STRIDE, "window": WINDOW},
        "words": {"kind": "light_text", "width": 16},
    },
    "shardsets": {"s": {"kind": "clips", "splits": list(COUNTS), "clips": "looks", "text": "words"}},
    "arms": {"all": {"shardset": "s", "background": "all"}},
    "trainings": {"grounding": {"preset": "tiny", "budget": {"steps": 2, "evaluate_every_steps": 2}, "batch": 2}},
    "variants": {
        "m": {"task": "grounding", "arm": "all", "size": "tiny"},
        **{
            floor: {"task": "grounding", "kind": "floor", "floor": floor, "arm": "all", "size": "tiny"}
            for floor in ("prior", "chance")
        },
    },
    "boards": {"b": {"dataset": "d", "variants": ["m", "prior", "chance"], "tta": ["none"], "metric": "R1@0.5"}},
}


def query(text: str, start: float, end: float) -> dict[str, Any]:
    return {"query": text, "clip_start_sec": start, "clip_end_sec": end, "template": "t"}


def clip(name: str, seconds: float = 10.0) -> dict[str, Any]:
    """A clip with two queries, answered in its second and third quarter."""
    asked = [query("where is the cup", seconds / 4, seconds / 2), query("who took a red spoon", seconds / 2, 0.8 * seconds)]
    annotations = [{"annotation_uid": f"{name}-a", "language_queries": asked}]
    return {"clip_uid": name, "video_start_sec": 4.0, "video_end_sec": 4.0 + seconds, "annotations": annotations}


def queries_of(one: dict[str, Any]) -> list[dict[str, Any]]:
    """The list of a clip's queries, to be changed."""
    return one["annotations"][0]["language_queries"]


def laid(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Settings with others over them, block by block."""
    both = copy.deepcopy(under)
    for key, value in over.items():
        both[key] = laid(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both


@dataclass
class Moments:
    """The set in `folder`; clips, features and settings may be changed before they are written."""

    folder: Path
    change: dict[str, Any] = field(default_factory=dict)
    clips: dict[str, dict[str, Any]] = field(default_factory=dict)
    split_of: dict[str, str] = field(default_factory=dict)
    features: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for split, count in COUNTS.items():
            for number in range(count):
                self.put(clip(f"{split}{number}"), split)

    def put(self, one: dict[str, Any], split: str) -> None:
        """Add a clip, or another one of this name, with as many steps as it should have."""
        name, frames = one["clip_uid"], (one["video_end_sec"] - one["video_start_sec"]) * FPS
        steps = max(1, int(frames + 1e-6 - WINDOW) // STRIDE + 1)
        random = np.random.default_rng(len(self.features))
        self.clips[name], self.split_of[name] = one, split
        self.features[name] = random.normal(size=(steps, WIDTH)).astype(np.float32)

    def write(self) -> None:
        """Annotations and features as files; features that are there and no longer wanted are taken away."""
        for split in COUNTS:
            mine = [one for name, one in self.clips.items() if self.split_of[name] == split]
            (self.folder / f"{split}.json").write_text(json.dumps({"videos": [{"video_uid": "v", "clips": mine}]}))
        place = self.folder / "features"
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        for name, values in self.features.items():
            np.save(place / f"{name}.npy", values)

    def path(self, stage: str, variant: str = "m") -> Path:
        return self.folder / "results" / MADE[stage].format(variant)

    @property
    def study(self) -> Study:
        study = laid(STUDY, self.change)
        study["datasets"]["d"]["source"]["root"] = str(self.folder)
        return Study.model_validate(study)

    def until(self, last: str, variant: str = "m") -> str:
        """Run every stage up to `last`, each of which must do well; all that they said."""
        self.write()
        said = ""
        for stage in STAGES[: STAGES.index(last) + 1]:
            code, text = self.run(stage, variant)
            assert code == 0, f"{stage}: {text}"
            said += text
        return said

    def run(self, stage: str, variant: str = "m") -> tuple[int, str]:
        """One stage as its rule runs it: exit code and what it said."""
        name, words = getattr(self, f"_{stage}", self._embed)(stage, variant)
        return run(name, *words, "--output", self.path(stage, variant))

    def _settings(self, stage: str, **names: Any) -> list[Any]:
        return ["--settings", getattr(Jobs(self.study), stage)(SimpleNamespace(dataset="d", seed="0", tta="none", **names))]

    @property
    def _queries(self) -> Path:
        return self.path("download").with_name("truth") / "queries.parquet"

    def _videos(self) -> list[Any]:
        return ["--manifest", self.path("download")]

    def _download(self, _: str, __: str) -> tuple[str, list[Any]]:
        return "download", [*self._settings("download"), "--dataset", "d", "--workers", 1]

    def _embed(self, stage: str, _: str) -> tuple[str, list[Any]]:
        words = [*self._settings("embed", featureset=stage), *self._videos(), "--chunk", 0, "--chunks", 1, "--tracks"]
        return "embed", [*words, "--queries", *([self._queries] if stage == "words" else [])]

    def _shard(self, _: str, __: str) -> tuple[str, list[Any]]:
        words = [*self._settings("shard", shardset="s"), *self._videos(), "--queries", self._queries]
        return "shard", [*words, "--clips", self.path("looks"), "--text", self.path("words")]

    def _subsample(self, _: str, __: str) -> tuple[str, list[Any]]:
        words = ["draw", *self._settings("subsample", arm="all"), "--arm", "all", "--seed", 0]
        return "subsample", [*words, "--index", self.path("shard").with_name("index.parquet")]

    def _train(self, _: str, variant: str) -> tuple[str, list[Any]]:
        words = [*self._settings("train", variant=variant), "--seed", 0, "--subset", self.path("subsample")]
        return "train", [*words, "--shards", self.path("shard")]

    def _judged(self, variant: str) -> list[Any]:
        classes = self.path("download").with_name("classes.json")
        return [*self._videos(), "--classes", classes, "--model", self.path("train", variant)]

    def _predict(self, _: str, variant: str) -> tuple[str, list[Any]]:
        words = [*self._settings("predict", variant=variant), *self._judged(variant), "--seed", 0]
        return "predict", [*words, "--shards", self.path("shard")]

    def _evaluate(self, _: str, variant: str) -> tuple[str, list[Any]]:
        words = ["scores", *self._settings("evaluate", variant=variant), *self._judged(variant), "--truth", self._queries]
        return "evaluate", [*words, "--predictions", self.path("predict", variant)]

    def _submission(self, _: str, variant: str) -> tuple[str, list[Any]]:
        words = ["package", *self._settings("submission", variant=variant), *self._videos(), "--truth", self._queries]
        return "submission", [*words, "--predictions", self.path("predict", variant)]
