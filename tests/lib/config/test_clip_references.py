"""Shardsets of clips as settings: what fits together, what is refused, and that shardsets of frames are told as before."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lib.config.inputs import Inputs
from lib.config.jobs import Jobs
from lib.config.shard import ClipShardset
from tests.conftest import PROJECT
from tests.lib.config.made import SMALL, load, refusal

FEATURES: dict[str, Any] = {
    "looks": {"kind": "light_clips", "stride": 4, "window": 4},
    "words": {"kind": "light_text"},
    "things": {"kind": "objects", "stride": 4, "window": 4, "detector": "truth", "tracker": "bytetrack"},
    "stored": {"kind": "files", "folder": "slowfast", "width": 8, "stride": 16, "window": 32},
    "read": {"kind": "files", "folder": "bert", "files": "{query}.npy", "of": "text", "width": 8, "splits": ["train"]},
    "planted": {"kind": "planted", "where": "objects"},
}
CLIPS = {"kind": "clips", "clips": "looks", "text": "words", "objects": "things"}


def with_clips(*changes: tuple[str, Any]) -> dict[str, Any]:
    values = copy.deepcopy(SMALL) | {"featuresets": copy.deepcopy(FEATURES)}
    values["shardsets"]["nlq"] = dict(CLIPS)
    values["arms"]["clips"] = {"shardset": "nlq", "background": {"fraction": 0.5}}
    for place, value in changes:
        *way, last = place.split(".")
        block = values
        for key in way:
            block = block.setdefault(key, {})
        block[last] = value
    return values


def test_frames_are_told_as_before_clips_came(tmp_path: Path) -> None:
    """Reference: the texts that a released study was run with; another text would pack again what stands."""
    study = load(tmp_path, SMALL)
    told = {name: Jobs(study).shard(SimpleNamespace(dataset="site", shardset=name)) for name in ("bare", "full")}
    same = '"max_side":null,"quality":90,"samples_per_shard":1000,"splits":["train","val"],"stride":1,"tracks":'
    assert told == {
        "bare": f'{{"recipe":2,"shardset":{{"labels":"truth",{same}null}}}}',
        "full": f'{{"recipe":2,"shardset":{{"labels":"truth",{same}{{"detector":"nano","tracker":"bytetrack"}}}}}}',
    }
    stated = load(tmp_path, copy.deepcopy(SMALL) | {"shardsets": {**SMALL["shardsets"], "bare": {"kind": "frames"}}})
    assert Jobs(stated).shard(SimpleNamespace(dataset="site", shardset="bare")) == told["bare"]
    arm = Jobs(study).subsample(SimpleNamespace(dataset="site", arm="d"))
    assert arm == (
        '{"arm":{"background":"all","fractions":{},"mode":"union","segment_s":2.0,"shardset":"bare","size_of":null,'
        '"split":"train","unit":"frame"},"recipe":1}'
    )


def test_the_rule_of_frames_is_as_it_was(tmp_path: Path) -> None:
    """Snakemake runs again what another command would make: that of `rule shard` stays, clips have a rule of their own."""
    text = (PROJECT / "rules/shard.smk").read_text()
    before = text[: text.index("rule shard_clips")]
    assert (
        '"python -m workflow_scripts.shard --settings {params.settings:q} --manifest {input.manifest:q}"\n'
        '        " --tracks {input.tracks:q} --output {output.manifest:q} > {log:q} 2>&1"'
    ) in before
    study = load(tmp_path, with_clips())
    assert Inputs(study, PROJECT).clip_shardsets() == ["nlq"]


def test_a_shardset_of_clips_reads_all_chunks_of_its_features(tmp_path: Path) -> None:
    study = load(tmp_path, with_clips())
    assert isinstance(study.shardsets["nlq"], ClipShardset)
    inputs, cell = Inputs(study, PROJECT), SimpleNamespace(dataset="site", shardset="nlq")
    for role, name in (("clips", "looks"), ("text", "words"), ("objects", "things")):
        assert inputs.shard_features(role)(cell) == [
            f"results/features/site/{name}/chunk={chunk}.safetensors" for chunk in (0, 1)
        ]
    assert (
        len(inputs.shard_sources(cell)) == 6
        and inputs.shard_sources(SimpleNamespace(dataset="site", shardset="bare")) == []
    )
    without = load(tmp_path, with_clips(("shardsets.nlq", {"kind": "clips", "clips": "looks", "text": "words"})))
    assert Inputs(without, PROJECT).shard_features("objects")(cell) == []


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (
            "shardsets.nlq.quality",
            90,
            "kind clips has no quality, kind frames has. Hint: leave it out, or state `kind: frames`",
        ),
        ("shardsets.bare.clips", "looks", "kind frames has no clips, kind clips has"),
        ("shardsets.nlq.kind", "clip", "unknown kind 'clip'. Hint: did you mean 'clips'"),
        ("shardsets.nlq.max_step", 9, "unknown key 'max_step'. Hint: did you mean 'max_steps'"),
        ("shardsets.nlq.clips", "look", "unknown featureset 'look'. Hint: did you mean 'looks'"),
        (
            "shardsets.nlq.clips",
            "words",
            "featureset 'words' of kind light_text is about text. Hint: one of kind light_clips",
        ),
        ("shardsets.nlq.text", "stored", "featureset 'stored' of kind files is about clips"),
        (
            "shardsets.nlq.objects",
            "looks",
            "featureset 'looks' of kind light_clips is about clips. Hint: one of kind objects",
        ),
        ("shardsets.nlq.text", "read", "featureset 'read' has no features of split 'val', which is packed"),
        ("featuresets.things.stride", 8, "stride is 4 in the features of clips, 8 in those of objects"),
        ("arms.clips.fractions", {"person": 0.5}, "arms.clips.fractions: a clip has no class and is no frame"),
        ("arms.clips.unit", "video", "arms.clips.unit: a clip has no class and is no frame"),
        ("arms.clips.background", "none", "arms.clips.background: clips count as background, of which this takes none"),
        ("arms.clips.background", {"ratio": 1.0}, "arms.clips.background"),
        ("variants.less.arm", "clips", "task detection learns from frames, but shardset 'nlq' of arm 'clips' holds clips"),
        ("featuresets.planted.where", "sound", "must be 'video' or 'objects'"),
        ("featuresets.planted", {"kind": "planted", "top": 8}, "top 8 has an effect only with where: objects"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(tmp_path: Path, place: str, value: Any, text: str) -> None:
    assert text in refusal(tmp_path, with_clips((place, value)))


@pytest.mark.parametrize(("key", "value"), [("gate_mode", "multiply"), ("object_dropout", 0.5)])
def test_a_knob_of_objects_needs_objects(tmp_path: Path, key: str, value: Any) -> None:
    variant = {"task": "grounding", "arm": "clips", "size": "tiny", "training": {"model": "ogsf", key: value}}
    load(tmp_path, with_clips(("variants.finds", variant)))
    bare = {"kind": "clips", "clips": "looks", "text": "words"}
    text = refusal(tmp_path, with_clips(("variants.finds", variant), ("shardsets.nlq", bare)))
    assert f"variants.finds.training.{key}: {value} has an effect only with objects, and shardset 'nlq' has none" in text
    variant["training"] = {"model": "ogsf"}
    load(tmp_path, with_clips(("variants.finds", variant), ("shardsets.nlq", bare)))


def test_features_of_files_are_watched_by_names_and_sizes(tmp_path: Path) -> None:
    study = load(tmp_path, with_clips(("paths.features", str(tmp_path / "site"))))
    folder = tmp_path / "site/slowfast"
    folder.mkdir(parents=True)
    (folder / "a.npy").write_bytes(b"1234")
    cell = SimpleNamespace(dataset="site", featureset="stored", chunk="0")
    before = Inputs(study, PROJECT).features_digest(cell)
    (folder / "a.npy").write_bytes(b"12345")
    assert before and Inputs(study, PROJECT).features_digest(cell) != before
    assert Inputs(study, PROJECT).features_digest(SimpleNamespace(dataset="site", featureset="words", chunk="0")) == ""
    asked = {
        name: Inputs(study, PROJECT).embedded_queries(SimpleNamespace(dataset="site", featureset=name)) for name in FEATURES
    }
    assert {name for name, file in asked.items() if file} == {"words", "read", "planted"}
