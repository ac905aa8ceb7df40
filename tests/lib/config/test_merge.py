"""Reading and laying settings files over each other. Reference: the rules that config/README.md states in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.config.base import ConfigError
from lib.config.merge import REPLACED_WHOLE, merged, read_with_includes, read_yaml
from lib.config.study import load_study
from tests.lib.config.made import SMALL, load


def test_blocks_merge_key_by_key_and_lists_are_replaced() -> None:
    base = {"a": {"x": 1, "deep": {"y": 2, "z": 3}}, "l": [1, 2]}
    assert merged(base, {"a": {"deep": {"y": 5}}, "l": [9]}) == {"a": {"x": 1, "deep": {"y": 5, "z": 3}}, "l": [9]}
    assert base == {"a": {"x": 1, "deep": {"y": 2, "z": 3}}, "l": [1, 2]}, "the lower file is left as it is"


@pytest.mark.parametrize("key", sorted(REPLACED_WHOLE))
def test_blocks_whose_keys_exclude_each_other_are_replaced_whole(key: str) -> None:
    assert merged({key: {"epochs": 3}}, {key: {"iterations": 4}}) == {key: {"iterations": 4}}


@pytest.mark.parametrize("mark", ["kind", "format"])
def test_another_kind_replaces_the_block(mark: str) -> None:
    assert merged({"d": {mark: "yolo", "conf": 0.5}}, {"d": {mark: "truth"}}) == {"d": {mark: "truth"}}
    assert merged({"d": {mark: "yolo", "conf": 0.5}}, {"d": {mark: "yolo", "iou": 1}})["d"]["conf"] == 0.5


def test_a_variant_may_change_the_form_of_the_budget(tmp_path: Path) -> None:
    study = load(tmp_path, SMALL, {"variants": {"less": {"training": {"budget": {"epochs": 3}}}}})
    assert (study.training_of("less").budget.epochs, study.training_of("less").budget.iterations) == (3, None)
    assert study.training_of("detector").budget.iterations == 4


def test_later_files_lie_over_earlier_ones_and_the_first_names_the_study(tmp_path: Path) -> None:
    study = load(tmp_path, SMALL, {"study": "other", "seeds": [7]}, {"training": {"lr0": 0.5}})
    assert (study.study, study.seeds, study.training.lr0, study.training.imgsz) == ("small", [7], 0.5, 64)
    (tmp_path / "s.yaml").write_text("study: s\nseeds: [1]\n")
    assert load_study([tmp_path / "s.yaml"], {"seeds": [2]}).seeds == [2], "--config lies over all files"


def test_includes_lie_under_the_file_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("seeds: [1]\ntraining: {lr0: 0.1, imgsz: 64}\n")
    (tmp_path / "two.yaml").write_text("include: [one.yaml]\ntraining: {lr0: 0.2}\n")
    (tmp_path / "study.yaml").write_text("study: s\ninclude: [datasets/world.yaml, two.yaml]\ntraining: {batch: 4}\n")
    values = read_with_includes(tmp_path / "study.yaml")
    assert "include" not in values
    assert values["training"] == {"lr0": 0.2, "imgsz": 64, "batch": 4}
    assert values["seeds"] == [1]
    assert "world" in values["datasets"], "found relative to config/"


def test_an_include_that_goes_in_a_circle_is_refused_with_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: [b.yaml]\n")
    (tmp_path / "b.yaml").write_text("include: [a.yaml]\n")
    with pytest.raises(ConfigError, match=r"include: goes in a circle: .*a\.yaml → .*b\.yaml → .*a\.yaml"):
        read_with_includes(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seeds: [0]\ntraining:\n  lr0: 0.1\n  lr0: 0.2\n", r"s\.yaml: key 'lr0' stands twice in one block \(line 4\)"),
        ("a: [1\n", r"s\.yaml: not valid YAML"),
        ("- a\n- b\n", r"s\.yaml: settings must be `key: value` pairs, found list"),
        ("", r"s\.yaml: settings must be `key: value` pairs, found NoneType"),
        ("include: datasets/world.yaml\n", r"s\.yaml: include: must be a list of files"),
        ("include: [nowhere.yaml]\n", r"s\.yaml: include: 'nowhere.yaml' not found in .*config nor beside"),
        ("study: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_files_that_cannot_be_read_as_meant_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_with_includes(path)


def test_missing_folders_and_other_encodings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such settings file. Hint: shipped studies are in config/studies/"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read as UTF-8 text"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("description: Größe\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: cannot be read as UTF-8 text"):
        read_yaml(tmp_path / "latin.yaml")


def test_yaml_merge_keys_work_beside_own_keys(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("base: &base {lr0: 0.1, imgsz: 64}\nother:\n  <<: *base\n  lr0: 0.2\n")
    assert read_yaml(path)["other"] == {"lr0": 0.2, "imgsz": 64}
