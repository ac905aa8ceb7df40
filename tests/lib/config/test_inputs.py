"""What jobs read and watch: input functions of the demo study against paths written out by hand, and digests."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib import provenance
from lib.config.base import ConfigError
from lib.config.download import Dataset
from lib.config.inputs import Inputs
from lib.config.raw import raw_inputs, root_of
from lib.config.study import Study, load_study
from tests.conftest import PROJECT


@pytest.fixture(scope="module")
def demo() -> Study:
    return load_study()


def wild(**names: str) -> SimpleNamespace:
    return SimpleNamespace(**names, items=lambda: names.items())


def test_a_trained_variant_reads_its_arm_and_its_shards(demo: Study) -> None:
    inputs, job = Inputs(demo, PROJECT), wild(dataset="world", variant="person-25", seed="0")
    assert inputs.train_subset(job) == "results/subsets/world/p25/seed=0.parquet"
    assert inputs.train_shards(job) == "results/shards/world/frames/manifest.json"
    assert inputs.train_weights(job) == []


def test_the_chain_from_a_trained_detector_to_the_shards(demo: Study) -> None:
    inputs = Inputs(demo, PROJECT)
    assert inputs.trained_weights(wild(weights="site-detector")) == "results/train/world/detector/seed=0/model.json"
    assert inputs.detector_weights(wild(dataset="world", detector="site")) == "results/weights/site-detector/weights.json"
    assert inputs.detector_weights(wild(detector="truth")) == []
    chunks = inputs.shard_tracks(wild(dataset="world", shardset="frames"))
    assert chunks == [f"results/tracks/world/site/bytetrack/chunk={chunk}.parquet" for chunk in (0, 1)]
    assert inputs.shard_tracks(wild(dataset="world", shardset="detector-frames")) == []


def test_a_board_reads_scores_units_cards_and_counts_of_every_cell(demo: Study) -> None:
    files = Inputs(demo, PROJECT).board_cells(wild(dataset="world", board="imbalance"))
    assert "results/metrics/world/prior/seed=0/tta=none.units.parquet" in files
    assert "results/train/world/person-100/seed=0/model.json" in files
    assert "results/subsets/world/p25/seed=0.counts.json" in files
    assert len(files) == len(set(files)) == 3 * 3 + 2 + 1, "two rows share an arm, all one check that arms differ"


def test_the_digest_of_code_goes_by_content_alone(demo: Study, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    first = Inputs(demo, tmp_path).code("a.py")
    os.utime(tmp_path / "a.py", (1, 1))
    assert Inputs(demo, tmp_path).code("a.py") == first
    (tmp_path / "a.py").write_text("x = 2\n")
    assert Inputs(demo, tmp_path).code("a.py") != first


def test_roots_take_variables_and_start_below_the_sites_raw_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB", "/data/lab")

    def source(root: str) -> object:
        return Dataset.model_validate({"source": {"format": "yolo", "root": root}}).source

    assert root_of(source("$LAB/x"), Path("/raw")) == Path("/data/lab/x")
    assert root_of(source("set/x"), Path("/raw")) == Path("/raw/set/x")
    assert root_of(source("set/x"), None) == Path("set/x")


def test_a_table_of_downloads_is_an_input_and_folders_are_not() -> None:
    cells = load_study([PROJECT / "config" / "studies" / "blood_cells.yaml"])
    watched = raw_inputs(cells, "bccd")
    assert [Path(file).resolve() for file in watched.files] == [PROJECT / "config" / "datasets" / "bccd.csv"]
    assert watched.digest == ""


def test_annotations_and_what_lies_beside_them_in_words_are_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the digest of the folder is remembered below the working directory
    (tmp_path / "site").mkdir()
    source = {"format": "coco", "root": str(tmp_path / "site"), "annotations": {"train": "t.json"}}
    source["language"] = {"train": "t.language.json"}
    study = load_study(overrides={"datasets": {"mine": {"source": source}}})
    watched = raw_inputs(study, "mine")
    assert watched.files == [str(tmp_path / "site" / name) for name in ("t.json", "t.language.json")]


def test_folders_of_the_site_reach_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("VIPERSIGHT_MIRROR", "VIPERSIGHT_RAW", "WDS_SHARDS", "VIPERSIGHT_LIMITS", "VIPERSIGHT_STUDY"):
        monkeypatch.setenv(key, "")  # so that it is put back after the test
    monkeypatch.setenv("VIPERSIGHT_RUN", "")
    monkeypatch.setenv("PYTHONPATH", "")
    study = load_study(overrides={"paths": {"mirror": "/data/mirror", "shards": "/data/shards"}})
    provenance.announce_run("demo", ["config/a b.yaml"], [], study.site())
    assert os.environ["VIPERSIGHT_MIRROR"] == "/data/mirror" and os.environ["WDS_SHARDS"] == "/data/shards"
    assert os.environ["VIPERSIGHT_RUN"] == "snakemake --configfile 'config/a b.yaml'"


def test_only_true_boxes_are_tracked_on_labelled_frames(demo: Study) -> None:
    inputs = Inputs(demo, PROJECT)
    names = {"dataset": "world", "tracker": "bytetrack"}
    assert inputs.looked_at_frames(wild(**names, detector="truth")) == "results/videos/world/truth/frames.parquet"
    assert inputs.looked_at_frames(wild(**names, detector="site")) == []


def test_who_needs_pixels_is_refused_by_name_where_the_plan_shows_that_there_are_none() -> None:
    """TUD-Campus' table of downloads lists no picture, MOT17-04's does."""
    study = load_study([PROJECT / "config/studies/mot.yaml"])
    inputs = Inputs(study, PROJECT)
    names = {"detector": "given", "tracker": "botsort-sof"}
    assert inputs.looked_at_frames(wild(dataset="mot17-04", **names)) == []
    with pytest.raises(
        ConfigError, match=r"trackers\.botsort-sof: kind botsort with cmc: sof .* 'TUD-Campus' .* Hint: set cmc"
    ):
        inputs.looked_at_frames(wild(dataset="tud-campus", **names))
    assert inputs.looked_at_frames(wild(dataset="tud-campus", detector="given", tracker="botsort")) == []


def test_a_local_folder_is_looked_into_for_pictures(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    source = f"{{format: mot, root: {tmp_path}, sequences: {{seq: a, later: not-there-yet}}}}"
    lines = ["study: local", f"datasets: {{d: {{source: {source}}}}}", "weights: {w: {path: w.onnx}}"]
    file.write_text("\n".join([*lines, "detectors: {nano: {kind: yolo, weights: w}}"]))
    (tmp_path / "a" / "img1").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"detectors\.nano: kind yolo looks at pixels, but sequence 'seq' of dataset 'd'"):
        Inputs(load_study([file]), PROJECT).detector_weights(wild(dataset="d", detector="nano"))
    (tmp_path / "a" / "img1" / "000001.jpg").touch()
    found = Inputs(load_study([file]), PROJECT).detector_weights(wild(dataset="d", detector="nano"))
    assert found == "results/weights/w/weights.json"
