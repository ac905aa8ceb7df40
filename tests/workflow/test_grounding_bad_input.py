"""Bad input of grounding through the real programs, as a user meets it: refused with file, value and hint at the first
stage that can know, with nothing half-written; or left out, counted and told, with the stages behind it doing well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lib.data.features import read_features
from lib.files import read_json
from lib.tables import read_table, write_table
from tests.workflow.moments import STAGES, Moments, clip, queries_of, query
from workflow_scripts import _program

Change = Callable[[Moments], Any]


@pytest.fixture
def moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Moments:
    monkeypatch.setenv("VIPERSIGHT_FEATURES", str(tmp_path))
    monkeypatch.setenv("VIPERSIGHT_RUNNING", '{"device": "cpu", "workers": 0, "loggers": {"tensorboard": false}}')
    return Moments(tmp_path)


def first(**values: Any) -> Change:
    """Another first query of the first clip of train."""
    return lambda moments: queries_of(moments.clips["train0"])[0].update(values)


def features(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda moments: moments.features.update({name: change(moments.features[name])})


def holding(value: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: np.where(np.arange(values.size).reshape(values.shape) == 20, value, values).astype(np.float32)


def lost(*names: str, packed: str = "error") -> Change:
    """Clips without a file of features, left out of the featureset, and as `packed` says of the shardset."""

    def change(moments: Moments) -> None:
        for name in names:
            moments.features.pop(name)
        moments.change = {"featuresets": {"looks": {"missing": "drop"}}, "shardsets": {"s": {"missing": packed}}}

    return change


def setting(**change: Any) -> Change:
    return lambda moments: setattr(moments, "change", change)


def unannotated(*splits: str) -> Change:
    def change(moments: Moments) -> None:
        for name, one in moments.clips.items():
            for asked in queries_of(one) if moments.split_of[name] in splits else ():
                asked.pop("clip_start_sec"), asked.pop("clip_end_sec")

    return change


COUNTED: dict[str, tuple[Change, str, int]] = {
    "no end": (first(clip_end_sec=None), "1 x query: half a window, dropped (first in 'train0'", 15),
    "end before start": (first(clip_end_sec=0.5), "1 x query: ends before it starts, dropped", 15),
    "no length": (first(clip_end_sec=2.5), "1 x query: a window without length, dropped", 15),
    "all beyond the clip": (first(clip_start_sec=11.0, clip_end_sec=12.0), "1 x query: outside the video, dropped", 15),
    "end beyond the clip": (first(clip_end_sec=12.0), "1 x query: window beyond the video, clipped", 16),
    "no words": (first(query="  "), "1 x query: empty text, dropped", 15),
    "no window, others have": (
        first(clip_start_sec=None, clip_end_sec=None),
        "1 x query: no window, though others of its split have one, dropped",
        15,
    ),
}


@pytest.mark.parametrize("case", COUNTED)
def test_what_an_annotation_cannot_mean_is_left_out_counted_and_told(case: str, moments: Moments) -> None:
    change, says, left = COUNTED[case]
    change(moments)
    said = moments.until("download")
    assert f"warning: {says}" in said and f"{left} queries" in said
    quality = pd.read_csv(moments.path("download").with_name("quality.csv")).set_index("original")
    assert says.split(" (")[0] in quality.loc["train0", "cause"] and quality["queries"].sum() == left
    truth = read_table(moments.path("download").with_name("truth") / "queries.parquet", "queries")
    assert len(truth) == left and (truth["end_s"] <= 10.0).all() and (truth["start_s"] < truth["end_s"]).all()


def _twice(moments: Moments) -> None:
    """Two annotations of one id in one clip."""
    moments.clips["train0"]["annotations"] *= 2


def _in_two_splits(moments: Moments) -> None:
    moments.clips["val0"]["annotations"] = moments.clips["train0"]["annotations"]


def _one_clip_in_two_splits(moments: Moments) -> None:
    moments.clips["val0"]["clip_uid"] = "train0"


def _of_other_width(moments: Moments) -> None:
    moments.features["val0"] = moments.features["val0"][:, :4]


REFUSED: dict[str, tuple[str, Change, tuple[str, ...]]] = {
    "NaN end": ("download", first(clip_end_sec=float("nan")), ("train.json: videos[0].clips[0]", "finite number, got nan")),
    "end in words": ("download", first(clip_end_sec="4"), ("clip_end_sec must be a finite number, got '4'",)),
    "id twice": ("download", _twice, ("query id 'train0-a_0' is stated at", "Hint: remove the repeated entry")),
    "id in two splits": ("download", _in_two_splits, ("val.json: ", "query id 'train0-a_0' is stated at", "train.json: ")),
    "clip in two splits": (
        "download",
        _one_clip_in_two_splits,
        ("val.json: ", "'train0' is in split 'train' and in split 'val'. Hint"),
    ),
    "no duration": (
        "download",
        lambda moments: moments.clips["test0"].pop("video_end_sec"),
        ("test.json: videos[0].clips[0]: clip 'test0' states no duration", "on_missing: skip"),
    ),
    "no features": (
        "looks",
        lambda moments: moments.features.pop("test0"),
        ("1 of 8 have no features", "test0.npy", "missing: drop"),
    ),
    "NaN feature": (
        "looks",
        features("val0", holding(np.nan)),
        ("val0.npy: step 3, column 2 is nan, no finite float32", "Hint: make this file's features again"),
    ),
    "infinite feature": ("looks", features("val0", holding(np.inf)), ("val0.npy: step 3, column 2 is inf",)),
    "other width": ("looks", _of_other_width, ("val0.npy: width 4, the settings state 6. Hint",)),
    "too few steps": (
        "looks",
        features("val0", lambda values: values[:8]),
        ("val0.npy: 8 steps, but a clip of 10 s has 19 at stride 5", "raise `slack`"),
    ),
    "no word": (
        "words",
        first(query="???"),
        ("query 'train0-a_0' of video 'train0': '???' holds no word", "Hint: a query of"),
    ),
    "clip without features": ("shard", lost("test0"), ("1 clips have no features in featureset 'looks': test0. Hint",)),
    "split without features": (
        "shard",
        lost("test0", "test1", packed="drop"),
        ("split 'test': no clip with features and queries is left. Hint",),
    ),
    "T over the shardset's": (
        "shard",
        setting(shardsets={"s": {"max_steps": 10}}),
        ("clip 'train0' has 19 steps, more than max_steps 10. Hint",),
    ),
    "beyond float16": (
        "shard",
        lambda moments: (setting(shardsets={"s": {"dtype": "float16"}})(moments), features("val0", holding(1e6))(moments)),
        ("'val0' holds numbers that float16 cannot hold. Hint",),
    ),
    "T over the training's": (
        "train",
        setting(trainings={"grounding": {"max_steps": 10}}),
        ("6 of 6 clips have more than training.max_steps = 10 steps, most of all 'train0' with 19. Hint: max_steps: 19",),
    ),
    "nothing to learn": (
        "train",
        unannotated("train"),
        ("none of the 8 queries of the arm's 4 clips has a window to learn. Hint",),
    ),
    "nothing to choose by": (
        "train",
        unannotated("val"),
        ("none of the 4 queries of split val has a window, by which weights are chosen. Hint",),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_by_name_with_nothing_written(case: str, moments: Moments) -> None:
    stage, change, says = REFUSED[case]
    change(moments)
    moments.write()
    for before in STAGES[: STAGES.index(stage)]:
        assert moments.run(before)[0] == 0, before
    code, text = moments.run(stage)
    assert code == _program.WRONG_INPUT and "error: " in text
    assert [words for words in says if words not in text] == [], text
    output = moments.path(stage)
    assert not output.exists() and not list(output.parent.glob("*.tar")) and not list(output.parent.glob("*.safetensors"))


def test_clips_that_are_left_out_are_told_by_every_stage_and_no_submission_lacks_them(moments: Moments) -> None:
    """One test clip without features, one of train about which nobody asks."""
    lost("test0", packed="drop")(moments)
    queries_of(moments.clips["train0"]).clear()
    said = moments.until("evaluate", "prior")
    assert "note: 1 have no file and are left out (test0" in said
    assert "note: 1 clips without features (test0)" in said and "note: 1 clips without queries (train0)" in said
    assert "warning: 1 of 2 videos have no clip in" in said and "so that their queries get no window: test0" in said
    scores = read_json(moments.path("evaluate", "prior"))
    assert scores["coverage"] == 0.5 and scores["counts"]["n_without_windows"] == 2
    assert "2 annotated queries have no predicted window: misses" in scores["warnings"]
    code, text = moments.run("submission", "prior")
    assert code == _program.WRONG_INPUT and "query 'test0-a_0' of clip 'test0' has no window" in text
    assert not moments.path("submission", "prior").exists()


def test_a_clip_about_which_nobody_asks_is_no_clip_without_features(moments: Moments) -> None:
    queries_of(moments.clips["test0"])[:] = [query("", 1.0, 2.0)]
    said = moments.until("submission", "prior")
    assert "note: 1 clips without queries (test0)" in said and "have no clip in" not in said
    assert read_json(moments.path("evaluate", "prior"))["coverage"] == 1.0 and "valid: 2 queries answered" in said


def test_an_unannotated_split_is_predicted_and_submitted_but_not_scored(moments: Moments) -> None:
    unannotated("test")(moments)
    moments.until("predict", "prior")
    code, text = moments.run("evaluate", "prior")
    assert code == _program.WRONG_INPUT and "has a true window: nothing can be scored. Hint: is it an unannotated" in text
    assert not moments.path("evaluate", "prior").exists()
    code, text = moments.run("submission", "prior")
    assert code == 0 and "valid: 4 queries answered" in text


def test_floors_without_an_answer_to_learn_from(moments: Moments) -> None:
    unannotated("train")(moments)
    moments.until("subsample")
    assert moments.run("train", "prior")[0] == 0
    code, text = moments.run("train", "chance")
    assert code == _program.WRONG_INPUT and "no training query has a window. Hint: prior needs none." in text


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mvp", "ogsf", "groundnlq"])
def test_clips_of_one_step_and_shorter_ones_are_answered_inside(model: str, moments: Moments) -> None:
    """1.2 s hold one window; 0.2 s and 0.05 s end before the centre of theirs (1 s long, 2 a second)."""
    setting(trainings={"grounding": {"model": model}})(moments)
    moments.put(clip("test0", 0.05), "test")
    moments.put(clip("test1", 1.2), "test")
    moments.put(clip("train0", 0.2), "train")
    said = moments.until("submission")
    assert "valid: 4 queries answered" in said
    windows = read_table(moments.path("predict"), "windows")
    last = windows.groupby("video")["end_s"].max()
    assert last["test0"] <= 0.0501 and last["test1"] <= 1.2001


@pytest.mark.slow
def test_a_model_meets_longer_clips_other_widths_and_foreign_predictions(moments: Moments) -> None:
    """Trained on at most 19 steps it answers in clips of 79 by pieces; features of another width are refused."""
    setting(trainings={"grounding": {"max_steps": 19}})(moments)
    moments.put(clip("test0", 40.0), "test")
    moments.until("evaluate")
    windows = read_table(moments.path("predict"), "windows")
    assert windows["video"].nunique() == 2 and windows["end_s"].max() > 11.0
    foreign = windows.replace({"video": {"test0": "elsewhere"}})
    write_table(moments.path("predict"), foreign, "windows")
    code, text = moments.run("evaluate")
    assert code == _program.WRONG_INPUT and "1 of their videos are not in the manifest, first 'elsewhere'. Hint" in text
    moments.path("predict").unlink()
    moments.features = {name: values[:, :4] for name, values in moments.features.items()}
    moments.change = {"featuresets": {"looks": {"width": 4}}}
    moments.write()
    assert [moments.run(stage)[0] for stage in ("looks", "shard")] == [0, 0]
    code, text = moments.run("predict")
    assert code == _program.WRONG_INPUT and not moments.path("predict").exists()
    assert "video features are 4 wide, the model was trained on 6. Hint" in text


def test_features_are_those_of_their_files(moments: Moments) -> None:
    """That the refusals above are about the change and not about the set."""
    moments.until("looks")
    held = {name: values for name, values, _ in read_features(moments.path("looks"), list(moments.features))}
    assert all(np.array_equal(held[name], values) for name, values in moments.features.items())
