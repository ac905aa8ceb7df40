"""Queries in other words as settings: rules that cannot work, what shardsets, trainings and views must agree on, and that
what has no paraphrases is told as before."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from lib.config.base import ConfigError, explain, identity
from lib.config.embed import Featureset
from lib.config.inputs import Inputs
from lib.config.jobs import Jobs
from lib.config.predict import View
from lib.config.shard import ClipShardset
from lib.config.study import Study
from lib.files import DataError
from lib.perception.wording import rewritten
from tests.workflow.test_readme import block

STUDY: dict[str, Any] = {
    "study": "words",
    "datasets": {"site": {"source": {"format": "world"}, "chunks": 2}},
    "featuresets": {
        "looks": {"kind": "light_clips"},
        "words": {"kind": "light_text"},
        "said": {"kind": "light_text", "rewrite": [{"pattern": "^when does", "by": "the moment of"}]},
        "retold": {"kind": "light_text", "phrases": "retold.csv"},
        "narrow": {"kind": "light_text", "width": 64},
        "network": {"kind": "model_text", "model": "a/b"},
    },
    "shardsets": {
        "bare": {"kind": "clips", "splits": ["train", "val", "test"], "clips": "looks", "text": "words"},
        "told": {
            "kind": "clips",
            "splits": ["train", "val", "test"],
            "clips": "looks",
            "text": "words",
            "paraphrases": ["said", "retold"],
        },
    },
    "arms": {name: {"shardset": name, "background": "all"} for name in ("bare", "told")},
    "variants": {
        "plain": {"task": "grounding", "arm": "bare"},
        "mvp": {"task": "grounding", "arm": "told", "training": {"preset": "tiny"}},
        "both": {"task": "grounding", "kind": "ensemble", "members": ["mvp", "plain"]},
        "prior": {"task": "grounding", "kind": "floor", "floor": "prior", "arm": "bare"},
        "untrained": {"task": "grounding", "kind": "floor", "floor": "untrained", "arm": "bare"},
    },
    "tta": {"none": {}, "words": {"views": [{}, {"paraphrase": 1}, {"paraphrase": 2}]}},
    "boards": {"words": {"dataset": "site", "variants": ["mvp", "prior"], "tta": ["none", "words"], "metric": "R1@0.5"}},
}


def study(*changes: tuple[str, Any]) -> Study:
    values = json.loads(json.dumps(STUDY))
    for place, value in changes:
        *way, last = place.split(".")
        block = values
        for key in way:
            block = block.setdefault(key, {})
        block[last] = value
    return Study.model_validate(values)


def cell(**names: str) -> Any:
    return SimpleNamespace(**{"dataset": "site", "seed": "0", "chunk": "0"} | names)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"pattern": "when (does", "by": "x"}, r"rewrite.0: pattern: 'when \(does' is no regular expression: missing \)"),
        (
            {"pattern": "(a)(?P<who>b)", "by": r"\3"},
            r"by: .*group reference 3.*Groups of the pattern: \\1, \\2, who",
        ),
        ({"pattern": "a", "by": r"\g<who>"}, r"unknown group name 'who'.*Groups of the pattern: none"),
        ({"pattern": "a", "by": r"\d"}, "does not go with pattern 'a': bad escape"),
        ({"pattern": "", "by": "x"}, "at least 1 character"),
        ({"patern": "a", "by": "x"}, "unknown key 'patern'. Hint: did you mean 'pattern'"),
        ({"pattern": "a"}, "rewrite.0.by"),
    ],
)
def test_rules_that_cannot_work_are_refused(rule: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Featureset).validate_python({"kind": "light_text", "rewrite": [rule]})
    told = explain(caught.value, "featuresets.f", {"kind": "light_text", "rewrite": [rule]})
    assert re.search(says, told), told


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("featuresets.retold.phrases", "retold.json", "a table that ends in .csv"),
        ("featuresets.looks.rewrite", [], "unknown key 'rewrite'"),
        (
            "shardsets.told.paraphrases",
            ["sayd"],
            "told.paraphrases: unknown featureset 'sayd'. Hint: did you mean",
        ),
        ("shardsets.told.paraphrases", ["looks"], "paraphrases: featureset 'looks' of kind light_clips is about clips"),
        ("shardsets.told.paraphrases", ["said", "said"], "paraphrases: 'said' is listed twice"),
        ("shardsets.told.paraphrases", ["words"], "paraphrases: 'words' is `text` itself"),
        ("shardsets.told.paraphrases", ["said", "narrow"], "featureset 'narrow' is 64 wide, 'words' is 128"),
        ("featuresets.said.splits", ["train"], "paraphrases: featureset 'said' has no features of split 'val'"),
        ("tta.words.views", [{"paraphrase": 1}, {"paraphrase": 3}], "view 1 has paraphrase 3, but shardset 'told'.* has 2"),
        ("tta.words.views", [{"paraphrase": -1}], "greater than or equal to 0"),
        (
            "boards.words.variants",
            ["mvp", "plain"],
            "view 1 has paraphrase 1, but shardset 'bare' of variant 'plain'",
        ),
        ("boards.words.variants", ["both"], "shardset 'bare' of variant 'plain' has 0. Hint: add a featureset"),
        ("boards.words.variants", ["mvp", "untrained"], "variant 'untrained' has 0"),
        (
            "variants.plain.training",
            {"paraphrases": True},
            "plain.training.paraphrases: true, but shardset 'bare'",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(place: str, value: Any, says: str) -> None:
    study()
    with pytest.raises((ConfigError, ValidationError), match=says):
        study((place, value))


def test_a_view_of_words_is_refused_for_frames_and_for_a_file_that_no_board_lists() -> None:
    detector = {"arm": "frames", "training": {"model": "yolo11n"}}
    with pytest.raises(ConfigError, match="has `paraphrase`, by which task detection cannot look"):
        study(
            ("shardsets.frames", {}),
            ("arms.frames", {"shardset": "frames", "background": "all"}),
            ("variants.boxes", detector),
            ("boards.boxes", {"dataset": "site", "variants": ["boxes"], "tta": ["words"]}),
        )
    inputs = Inputs(study(), ".")
    assert inputs.tested_shards(cell(variant="mvp", tta="words")) == "results/shards/site/told/manifest.json"
    with pytest.raises(ConfigError, match="shardset 'bare' of variant 'plain' has 0"):
        inputs.tested_shards(cell(variant="plain", tta="words"))


def test_what_the_readme_shows_is_a_study() -> None:
    values = yaml.safe_load(block("In other words", "yaml"))
    arms = {"clips": {"shardset": "nlq", "background": "all"}}
    variants = {"mvp": {"task": "grounding", "arm": "clips"}}
    values["featuresets"]["looks"] = {"kind": "light_clips"}
    shown = study(*values.items(), ("arms", arms), ("variants", variants), ("boards.words.variants", ["mvp"]))
    (rule,) = shown.featuresets["moment"].rewrite
    assert rewritten("When is the hook in the picture?", [rule]) == "The moment in which the hook in the picture?"


def test_a_network_of_unknown_width_may_be_a_paraphrase() -> None:
    assert study(("shardsets.told.paraphrases", ["said", "network"])).shardsets["told"].paraphrases[1] == "network"


def test_a_shardset_reads_its_paraphrases_behind_its_text() -> None:
    read = Inputs(study(), ".").shard_features("text")
    assert read(cell(shardset="bare")) == [f"results/features/site/words/chunk={chunk}.safetensors" for chunk in (0, 1)]
    told = [(name, chunk) for name in ("words", "said", "retold") for chunk in (0, 1)]
    assert read(cell(shardset="told")) == [
        f"results/features/site/{name}/chunk={chunk}.safetensors" for name, chunk in told
    ]


def test_what_has_no_paraphrases_is_told_as_before() -> None:
    """Reference: the settings that such jobs were run with; other ones would make again what stands."""
    jobs = Jobs(study())
    words = {"dtype": "float32", "kind": "light_text", "level": "tokens", "max_tokens": 64, "splits": None}
    assert json.loads(jobs.embed(cell(featureset="words")))["featureset"] == words | {"table": "queries", "width": 128}
    assert json.loads(jobs.embed(cell(featureset="said")))["featureset"]["rewrite"] == [
        {"pattern": "^when does", "by": "the moment of"}
    ]
    bare = json.loads(jobs.shard(cell(shardset="bare")))["shardset"]
    told = json.loads(jobs.shard(cell(shardset="told")))["shardset"]
    assert told == bare | {"paraphrases": ["said", "retold"]} and "paraphrases" not in bare
    assert "paraphrases" not in identity(ClipShardset(kind="clips", clips="c", text="t"))
    assert "paraphrase" not in json.dumps(identity(View())) and '"paraphrases"' not in jobs.train(cell(variant="mvp"))
    views = json.loads(jobs.predict(cell(variant="mvp", tta="words")))["tta"]["views"]
    assert views == [{}, {"paraphrase": 1}, {"paraphrase": 2}]
    drawn = Jobs(study(("variants.mvp.training.paraphrases", True)))
    assert json.loads(drawn.train(cell(variant="mvp")))["training"]["paraphrases"] is True


def test_a_table_of_phrases_is_watched_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIPERSIGHT_RAW", str(tmp_path))
    inputs, retold = Inputs(study(), "."), cell(featureset="retold")
    with pytest.raises(DataError, match=r"retold.csv: no such file. Hint: check `phrases`"):
        inputs.features_digest(retold)
    table = tmp_path / "retold.csv"
    table.write_text("query,text\n")
    before = inputs.features_digest(retold)
    table.touch()
    assert before and inputs.features_digest(retold) == before
    table.write_text("query,text\nq,when\n")
    assert inputs.features_digest(retold) != before and inputs.features_digest(cell(featureset="said")) == ""
    monkeypatch.delenv("VIPERSIGHT_RAW")
    monkeypatch.chdir(tmp_path)
    assert inputs.features_digest(retold), "without a folder of this site it lies below the working directory"
