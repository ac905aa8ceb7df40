"""Bad input through real Snakemake and the real programs: refused early, by name, with a hint; or counted, never silent.

References: the exit codes of workflow_scripts/_program.py, and truth that is known because these tests wrote it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lib.config.download import Dataset
from lib.config.study import Study
from lib.files import read_json, write_json
from lib.tables import COLUMNS, DETECTIONS, empty, read_table, write_table
from tests.workflow.bench import SITE, Bench, clip, coco, run, sound
from tests.workflow.conftest import Tree
from workflow_scripts import _program

WRONG = _program.WRONG_INPUT


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    """A bench with dataset `d` from `source`; `dataset` are further keys of the dataset.

    Its arms name classes of the made COCO set, so where settings say that there are others it has none.
    """

    def make(source: dict[str, Any], **dataset: Any) -> Bench:
        entry = {"source": source, **dataset}
        site = SITE | {"datasets": {"d": entry}}
        if Dataset.model_validate(entry).known_classes is not None:
            site |= {"arms": {}, "variants": {}, "boards": {"tracks": SITE["boards"]["tracks"]}}
        return Bench(tmp_path / "results", Study.model_validate(site))

    return make


# Settings and file names, by dry runs of real Snakemake


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "says"),
    [
        (
            "train/site/ful/seed=0/model.json",
            "unknown variant 'ful' in study 'tiny'. Hint: did you mean 'full'? Known: chance, detector",
        ),
        (
            "leaderboards/site/mian.csv",
            "unknown board 'mian' in study 'tiny'. Hint: did you mean 'main'? Known: floors, followed, main",
        ),
        ("videos/siet/manifest.parquet", "unknown dataset 'siet' in study 'tiny'. Hint: did you mean 'site'? Known: site."),
        ("detections/site/truth/chunk=7.parquet", "chunk=7: dataset 'site' has chunks 0 to 1."),
    ],
)
def test_a_file_that_the_study_does_not_make_is_refused_with_what_is_known(fresh, target: str, says: str) -> None:
    done = fresh({}).snakemake("--dry-run", "--", f"results/{target}", check=False)
    assert done.returncode == 1
    text = done.stdout + done.stderr
    assert says in text
    assert "Traceback (most recent call last)" not in text


@pytest.mark.slow
def test_a_misspelt_setting_stops_a_dry_run_with_the_hint(fresh) -> None:
    tree: Tree = fresh({"sedes": [1]})
    done = tree.snakemake("--dry-run", check=False)
    assert done.returncode == 1
    assert "unknown key 'sedes'. Hint: did you mean 'seeds'?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tree.folder / "results").exists(), "nothing was begun"


@pytest.mark.slow
def test_a_class_that_the_dataset_has_not_stops_a_dry_run(fresh) -> None:
    """Not the job that draws the arm, hours later."""
    tree: Tree = fresh({})
    for word, says in (
        ("arms.half.fractions.persn=0.5", "arms.half.fractions.persn: 'persn' is not a class of dataset 'site'. Hint: did"),
        (
            "arms.half.fractions.'crane hok'=0.1,0.2",
            "'crane hok' is not a class of dataset 'site'. Hint: did you mean 'cra",
        ),
    ):
        done = tree.snakemake("--dry-run", "--config", f"set={word}", check=False)
        text = done.stdout + done.stderr
        assert done.returncode == 1 and says in text and "Known: crane hook, load, person, vehicle." in text
        assert word.partition("=")[0].rpartition(".")[2].strip("'") in text.partition("\narms.")[0], "the word is blamed"
        assert "Traceback" not in text
    assert not (tree.folder / "results").exists(), "nothing was begun"


# Weights


def weights(tmp_path: Path, **entry: Any) -> tuple[int, str]:
    return run("weights", "--settings", json.dumps(entry), "--output", tmp_path / "results" / "weights.json")


def test_missing_weights_are_named(tmp_path: Path) -> None:
    code, text = weights(tmp_path, path=str(tmp_path / "none.pt"))
    assert code == WRONG
    assert "none.pt" in text and "no such file" in text and "Hint: check `weights:` in the study" in text


def test_weights_with_another_sha256_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.onnx"
    file.write_bytes(b"other")
    code, text = weights(tmp_path, path=str(file), sha256="0" * 64)
    assert code == WRONG
    assert hashlib.sha256(b"other").hexdigest() in text and f"expected {'0' * 64}. Hint: another version" in text
    assert not (tmp_path / "results" / "weights.json").exists()


def test_weights_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.h5"
    file.write_bytes(b"x")
    code, text = weights(tmp_path, path=str(file))
    assert (code, text) == (WRONG, "error: weights 'w.h5': unknown kind of file. Known suffixes: .onnx, .pt, .pth.\n")


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.onnx"
    file.write_bytes(b"not a network")
    code, text = weights(tmp_path, path=str(file))
    assert code == WRONG and "not a readable ONNX file" in text


def test_settings_typed_by_hand_are_refused_without_a_traceback(tmp_path: Path) -> None:
    code, text = weights(tmp_path, pth="w.pt")
    assert (code, text) == (WRONG, text)
    assert text.startswith("error: --settings: unknown key 'pth'. Hint: did you mean 'path'?")


# Media


@pytest.fixture
def folder(tmp_path: Path) -> dict[str, Any]:
    """A source with one good video, one that lost its last frames, and three that cannot be used."""
    root = tmp_path / "media"
    root.mkdir()
    for shade, name in enumerate(("good", "half", "cut")):
        clip(root / f"{name}.mp4", 40 * shade)
    (root / "cut.mp4").write_bytes((root / "cut.mp4").read_bytes()[:200])
    (root / "half.mp4").write_bytes((root / "half.mp4").read_bytes()[:-40])
    (root / "empty.mp4").write_bytes(b"")
    sound(root / "sound.mp4")
    return {"format": "folder", "root": str(root)}


def test_broken_videos_stop_the_download_and_are_all_named(bench, folder: dict[str, Any]) -> None:
    place = bench(folder)
    code, text = place.download()
    assert code == WRONG
    assert "3 of 5 files are missing or broken" in text
    for name, cause in (("cut.mp4", ""), ("empty.mp4", "empty file"), ("sound.mp4", "holds no video stream")):
        line = next(line for line in text.splitlines() if name in line)
        assert cause in line
    assert "Hint: fetch them again, or set `on_missing: skip`" in text
    assert not place.path("videos", "d", "manifest.parquet").exists()


def test_broken_videos_can_be_left_out_and_are_counted(bench, folder: dict[str, Any]) -> None:
    place = bench(folder, on_missing="skip")
    code, text = place.download()
    assert code == 0 and "2 videos (3 skipped)" in text
    assert "warning: 'half.mp4' is cut: " in text and "of 12 frames are lost" in text
    quality = pd.read_csv(place.path("videos", "d", "quality.csv")).set_index("video")
    assert quality["status"].to_dict() == {
        "good": "ok", "half": "ok", "cut": "skipped", "empty": "skipped", "sound": "skipped",
    }  # fmt: skip
    assert "no video stream" in quality.loc["sound", "cause"]
    assert "of 12 frames are lost" in quality.loc["half", "cause"]
    assert quality.loc["half", "frames"] < 12 == quality.loc["good", "frames"]
    assert quality.loc["half", "frames"] + quality.loc["half", "frames_lost"] == 12
    manifest = read_table(place.path("videos", "d", "manifest.parquet"), "manifest")
    assert sorted(manifest["video"]) == ["good", "half"]


def test_one_video_in_two_splits_is_refused_also_as_a_copy(bench, tmp_path: Path) -> None:
    root = tmp_path / "media"
    root.mkdir()
    clip(root / "a.mp4")
    clip(root / "b.mp4", 60)
    source = {"format": "folder", "root": str(root)}
    code, text = bench(source, splits={"train": ["a*", "b*"], "test": ["b.mp4"]}).download()
    assert code == WRONG and "'b.mp4' is claimed by 'test' and by 'train'" in text
    (root / "copy.mp4").write_bytes((root / "a.mp4").read_bytes())
    code, text = bench(source, splits={"train": ["a.mp4", "b.mp4"], "test": ["copy.mp4"]}).download()
    assert code == WRONG
    assert "the same file is in two splits: " in text and "'a.mp4' (train)" in text and "'copy.mp4' (test)" in text


# Annotations


def test_annotation_ids_that_occur_twice_are_refused(bench, tmp_path: Path) -> None:
    source = coco(tmp_path / "coco")
    file = tmp_path / "coco" / "train.json"
    values = read_json(file)
    values["annotations"][3]["id"] = values["annotations"][1]["id"]
    write_json(file, values)
    code, text = bench(source).download()
    assert code == WRONG and "train.json: annotations: id 1 occurs twice. Hint: ids must be unique" in text


def test_a_class_that_the_source_does_not_have_is_refused(bench, tmp_path: Path) -> None:
    code, text = bench(coco(tmp_path / "coco"), classes=["car", "bot"]).download()
    assert code == WRONG and "classes: 'bot' is not a class of the source. Hint: did you mean 'boat'?" in text


def test_a_class_without_any_box_is_a_warning(bench, tmp_path: Path) -> None:
    code, text = bench(coco(tmp_path / "coco")).download()
    assert code == 0 and "warning: class 'boat' does not occur in any video that is used" in text


@pytest.mark.parametrize("first_id", [0, 1])
def test_perfect_predictions_score_one_also_where_ids_begin_with_zero(bench, tmp_path: Path, first_id: int) -> None:
    """COCO's reference scorer takes an annotation with id 0 for a miss."""
    place = bench(coco(tmp_path / "coco", first_id=first_id))
    assert place.download()[0] == 0
    perfect = read_table(place.path("videos", "d", "truth", "boxes.parquet"), "boxes")
    predictions = perfect.assign(score=1.0)[list(COLUMNS[DETECTIONS])].reset_index(drop=True)
    write_table(tmp_path / "predictions.parquet", predictions, "detections")
    write_json(tmp_path / "model.json", {"status": "finished"})
    *common, _, frames, _, boxes = place.truth()
    words = ["--settings", place.settings("evaluate", variant="all", tta="none"), *common, "--truth", frames, boxes]
    words += ["--predictions", tmp_path / "predictions.parquet", "--model", tmp_path / "model.json"]
    code, text = run("evaluate", "scores", *words, "--output", tmp_path / "scores.json")
    assert code == 0, text
    scores = read_json(tmp_path / "scores.json")
    assert scores["metrics"]["AP"] == pytest.approx(1.0) and scores["metrics"]["AR"] == pytest.approx(1.0)


# Arms


@pytest.fixture
def sharded(bench, tmp_path: Path) -> Bench:
    """Dataset and shards, ready for drawing arms."""
    place = bench(coco(tmp_path / "coco"))
    assert place.download()[0] == 0
    words = ["--settings", place.settings("shard", shardset="s"), *place.chunk()[:2]]
    assert run("shard", *words, "--output", place.path("shards", "d", "s", "manifest.json"))[0] == 0
    return place


def test_shards_of_the_site_stand_in_when_they_are_the_same(sharded: Bench, tmp_path: Path, monkeypatch) -> None:
    packed = sharded.path("shards", "d", "s")
    identity = read_json(packed / "meta.json")["identity"]
    shutil.move(sharded.path("shards"), tmp_path / "site")
    monkeypatch.setenv("WDS_SHARDS", str(tmp_path / "site"))
    words = ["--settings", sharded.settings("shard", shardset="s"), *sharded.chunk()[:2]]
    assert run("shard", *words, "--output", packed / "manifest.json")[0] == 0
    meta = read_json(packed / "meta.json")
    assert meta["identity"] == identity and meta["taken_from"] == str(tmp_path / "site" / "d" / "s" / "manifest.json")
    assert [path.is_symlink() for path in packed.glob("*.tar")] == [True]
    assert sharded.subsample("half")[0] == 0

    settings = json.loads(words[1])
    settings["shardset"]["stride"] = 2
    code, text = run(
        "shard", "--settings", json.dumps(settings), *words[2:], "--output", tmp_path / "d" / "s" / "manifest.json"
    )
    assert code == WRONG and "settings.shardset.stride is 1, wanted is 2" in text and "Hint: unset paths.shards" in text
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("arm", "says"),
    [
        ("planes", "fractions.plane: the dataset has no class 'plane'. Hint: "),
        ("boats", "fractions.boat: no frame of split 'train' holds 'boat'. Hint: "),
    ],
)
def test_an_arm_of_a_class_that_is_not_there_is_refused(sharded: Bench, arm: str, says: str) -> None:
    code, text = sharded.subsample(arm)
    assert code == WRONG and says in text
    assert not sharded.path("subsets", "d", arm, "seed=0.parquet").exists()


@pytest.mark.parametrize("fraction", [1.5, -0.1])
def test_a_fraction_outside_0_to_1_is_refused_by_the_program_too(sharded: Bench, fraction: float) -> None:
    settings = json.loads(sharded.settings("subsample", arm="half"))
    settings["arm"]["fractions"]["car"] = fraction
    code, text = sharded.subsample("half", json.dumps(settings))
    assert code == WRONG
    assert (
        text.startswith("error: --settings.fractions: ") and f"must be a finite number from 0 to 1, got {fraction}" in text
    )


def test_arms_that_are_the_same_frames_are_refused_by_name_unless_allowed(sharded: Bench) -> None:
    for arm in ("all", "same", "half"):
        assert sharded.subsample(arm)[0] == 0
    counts = [sharded.path("subsets", "d", arm, "seed=0.counts.json") for arm in ("all", "same", "half")]
    settings, output = sharded.settings("arms", shardset="s"), sharded.path("subsets", "d", "s.arms", "seed=0.json")
    code, text = run("subsample", "compare", "--settings", settings, "--counts", *counts, "--output", output)
    assert code == WRONG
    assert "these arms resolve to the same frames: all = same. Hint: " in text and "allow_equal_arms: true" in text
    assert not output.exists()

    sharded.study = sharded.study.model_copy(update={"allow_equal_arms": True})
    settings = sharded.settings("arms", shardset="s")
    assert run("subsample", "compare", "--settings", settings, "--counts", *counts, "--output", output)[0] == 0
    assert read_json(output)["equal"] == [["all", "same"]]


# A detector that finds nothing


def board(place: Bench, name: str, detector: str) -> pd.DataFrame:
    """The board of tracks of one detector, as its rule would draw it."""
    entry = {"kind": "tracks", "dataset": "d", "detectors": [detector], "trackers": ["bytetrack"]}
    values = place.study.model_dump(mode="json") | {"boards": {name: entry}}
    place.study = Study.model_validate(values)
    output = place.path("leaderboards", "d", f"{name}.csv")
    words = ["--settings", place.settings("leaderboard", board=name), "--board", name, "--results", place.results]
    code, text = run("leaderboard", *words, "--output", output)
    assert code == 0, text
    assert all(output.with_suffix(suffix).is_file() for suffix in (".md", ".png", ".html"))
    return pd.read_csv(output)


@pytest.mark.slow
def test_nothing_detected_and_nothing_labelled_still_ends_in_a_board(bench, tmp_path: Path) -> None:
    place = bench(coco(tmp_path / "coco", boxes=False))
    assert place.download()[0] == 0
    code, text = place.detect("truth")
    assert code == 0 and "warning: no detection in any of the 6 videos of this chunk" in text
    assert place.track("truth")[0] == 0 and place.evaluate_tracks("truth")[0] == 0
    scores = read_json(place.path("metrics", "d", "truth", "bytetrack", "tracks.json"))
    assert scores["overall"] is None and scores["warnings"] == ["no true tracks: HOTA, MOTA and IDF1 are n/a"]
    rows = board(place, "tracks", "truth")
    assert len(rows) == 1 and rows.loc[0, "detections"] == 0


@pytest.mark.slow
def test_a_model_that_finds_nothing_scores_zero_on_a_board(bench, tmp_path: Path) -> None:
    """An untrained network at conf 1.0, on videos with true tracks."""
    from lib.models.yolo import build, save_model

    source = {"format": "world", "seed": 1, "size": [96, 64], "seconds": [1.0, 1.5], "videos": {"test": 2}}
    place = bench(source | {"persons": 0.8, "both": 0.3, "empty": 0.0})
    assert place.download()[0] == 0
    save_model(build("yolo11n", ["person"], seed=0), tmp_path / "w.pt", {"task": "detect", "imgsz": 64})
    card = tmp_path / "results" / "weights" / "w" / "weights.json"
    assert run("weights", "--settings", json.dumps({"path": str(tmp_path / "w.pt")}), "--output", card) == (0, "")
    code, text = place.detect("blind", "--weights", card)
    assert code == 0 and "warning: no detection in any of the 2 videos of this chunk" in text
    assert place.track("blind")[0] == 0 and place.evaluate_tracks("blind")[0] == 0
    tracks = read_table(place.path("tracks", "d", "blind", "bytetrack", "chunk=0.parquet"), "tracks")
    assert tracks.equals(empty("tracks"))
    overall = read_json(place.path("metrics", "d", "blind", "bytetrack", "tracks.json"))["overall"]
    assert overall["HOTA"] == 0 and overall["IDF1"] == 0
    rows = board(place, "blind", "blind")
    assert rows.loc[0, "detections"] == 0 and rows.loc[0, "HOTA"] == 0


def test_asking_for_detections_that_the_source_does_not_ship_is_refused(bench, tmp_path: Path) -> None:
    place = bench(coco(tmp_path / "coco"))
    assert place.download()[0] == 0
    place.study = Study.model_validate(place.study.model_dump(mode="json") | {"detectors": {"truth": {"kind": "given"}}})
    code, text = place.detect("truth")
    assert code == WRONG and "this one ships none. Hint: use kind: yolo or kind: truth" in text
