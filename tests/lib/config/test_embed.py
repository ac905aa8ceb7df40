"""Settings of featuresets: what is refused, what a job is told, which need a GPU, and the references between sections."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from lib.config.appearance import runs_network
from lib.config.embed import Featureset, LightClips, Objects
from lib.config.inputs import Inputs
from lib.config.jobs import Jobs
from tests.lib.config.made import changed, load, refusal

OBJECTS = {"kind": "objects", "detector": "truth", "tracker": "bytetrack"}


def build(values: dict[str, Any]) -> Featureset:
    return TypeAdapter(Featureset).validate_python(values)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "light_clip"}, "light_clips"),
        ({"kind": "light_clips", "strid": 4}, "did you mean 'stride'"),
        ({"kind": "light_clips", "window": 0}, "greater than or equal to 1"),
        ({"kind": "light_text", "splits": []}, "would look at no video"),
        ({"kind": "model_clips"}, "model"),
        ({"kind": "model_clips", "model": "a/b", "window": 4, "frames": 8}, "frames 8 must not exceed window 4"),
        ({"kind": "model_text", "model": "a/b", "library": "spacy"}, "sentence_transformers"),
        ({**OBJECTS, "class_names": "none", "class_width": 16}, "only with class_names: hashed"),
        ({**OBJECTS, "appearance": {"kind": "timm"}}, "torchvision"),
    ],
)
def test_impossible_settings_are_refused_by_name(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        build(values)


def test_widths_are_known_before_anything_runs() -> None:
    assert LightClips(kind="light_clips", rows=1, columns=2, sound=False).width == 3 * 29 + 24
    assert LightClips(kind="light_clips").width == 13 * 29 + 24 + 96
    assert Objects.model_validate(OBJECTS).width == 128 + 4 + 1 + 64
    assert Objects.model_validate(OBJECTS | {"class_names": "none"}).width == 128 + 4 + 1


def test_only_networks_ask_for_a_gpu() -> None:
    network = {"kind": "torchvision", "model": "resnet18"}
    assert not any(runs_network(build(one)) for one in ({"kind": "light_clips"}, {"kind": "light_text"}, OBJECTS))
    asks = [
        {"kind": "model_clips", "model": "a/b"},
        {"kind": "model_text", "model": "a/b"},
        OBJECTS | {"appearance": network},
    ]
    assert all(runs_network(build(one)) for one in asks)


def test_a_featureset_names_detector_and_tracker_of_the_study(tmp_path: Path) -> None:
    text = refusal(tmp_path, changed("featuresets.things", OBJECTS | {"tracker": "bytetrak"}))
    assert "featuresets.things.tracker: unknown tracker 'bytetrak'" in text and "bytetrack" in text


def test_a_job_is_told_what_changes_its_features_and_reads_what_it_needs(tmp_path: Path) -> None:
    values = changed("featuresets.things", OBJECTS | {"description": "for people"})
    values["featuresets"] |= {"words": {"kind": "light_text"}, "net": {"kind": "model_text", "model": "a/b", "batch": 3}}
    study = load(tmp_path, values)
    jobs, inputs = Jobs(study), Inputs(study, tmp_path)

    def card(name: str) -> SimpleNamespace:
        return SimpleNamespace(dataset="site", featureset=name, chunk="1")

    told = json.loads(jobs.embed(card("things")))
    assert told["recipe"] >= 1 and told["featureset"]["appearance"] == {"kind": "light"}
    assert "description" not in told["featureset"]
    assert "batch" not in json.loads(jobs.embed(card("net")))["featureset"], "how many at once changes no feature"
    assert inputs.embedded_tracks(card("things")) == "results/tracks/site/truth/bytetrack/chunk=1.parquet"
    assert inputs.embedded_queries(card("things")) == []
    assert inputs.embedded_queries(card("words")) == "results/videos/site/truth/queries.parquet"
    assert inputs.embedded_tracks(card("words")) == []
