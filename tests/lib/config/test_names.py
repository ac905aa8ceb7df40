"""One name, one meaning. Reference: DESIGN §2 (13): the shipped studies, and studies that share a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lib.config.base import ConfigError, canonical
from lib.config.merge import CONFIG_FOLDER
from lib.config.names import claim_names, definitions, refuse_taken_names
from lib.config.study import DEFAULT_CONFIG, load_study
from lib.config.targets import KINDS, study_targets
from tests.lib.config.made import SMALL, changed, load

STUDIES = [DEFAULT_CONFIG, *sorted((CONFIG_FOLDER / "studies").glob("*.yaml"))]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_loads_and_asks_for_something(path: Path) -> None:
    study = load_study([path])
    wanted = {kind: study_targets(study, kind) for kind in KINDS}
    assert study.description, "a study says what it asks"
    assert wanted["leaderboards"] and wanted["videos"]
    assert all(file.startswith("results/") for files in wanted.values() for file in files)
    assert all(len(set(files)) == len(files) for files in wanted.values())
    assert bool(wanted["models"]) == bool(study.score_boards)


def test_boards_of_models_list_a_floor() -> None:
    for path in STUDIES:
        study = load_study([path])
        for name, board in study.score_boards.items():
            kinds = {study.variants[variant].kind for variant in board.variants}
            assert "floor" in kinds, f"{path}: boards.{name} lists no floor"


def test_no_name_has_two_meanings_in_the_shipped_studies() -> None:
    meanings: dict[tuple[str, str], dict[str, str]] = {}
    for path in STUDIES:
        for key, meaning in definitions(load_study([path])).items():
            meanings.setdefault(key, {}).setdefault(canonical(meaning), path.name)
    twice = {".".join(key): list(found.values()) for key, found in meanings.items() if len(found) > 1}
    assert not twice, f"names with two meanings, and the studies that give them: {twice}"


def test_study_names_differ() -> None:
    names = [load_study([path]).study for path in STUDIES]
    assert len(set(names)) == len(names)


def claimed(folder: Path, values: dict[str, Any]) -> Path:
    """Results folder in which a study has been run."""
    names = folder / "definitions"
    claim_names(load(folder, values), names)
    return names


def test_another_study_may_not_change_what_a_name_means(tmp_path: Path) -> None:
    names = claimed(tmp_path, SMALL)
    other = load(tmp_path, changed("trackers.bytetrack.track_buffer", 99) | {"study": "other"})
    with pytest.raises(ConfigError) as refused:
        refuse_taken_names(other, names)
    text = str(refused.value)
    assert text.startswith("trackers.bytetrack already means something else: study 'small' made its results here")
    assert '"track_buffer":25' in text and '"track_buffer":99' in text, "both definitions are shown"
    assert "Hint: use another name" in text


def test_a_changed_default_counts_as_another_meaning_of_the_variant(tmp_path: Path) -> None:
    names = claimed(tmp_path, SMALL)
    with pytest.raises(ConfigError, match=r"variants\.detector already means something else"):
        refuse_taken_names(load(tmp_path, changed("training.lr0", 0.5) | {"study": "other"}), names)


def test_another_study_may_share_a_name_and_show_it_otherwise(tmp_path: Path) -> None:
    names = claimed(tmp_path, SMALL)
    same = load(tmp_path, changed("variants.less.description", "in other words") | {"study": "other"})
    refuse_taken_names(same, names)
    claim_names(same, names)
    with pytest.raises(ConfigError, match="study 'small' made its results here"):
        refuse_taken_names(load(tmp_path, changed("detectors.nano.conf", 0.9) | {"study": "other"}), names)


def test_a_study_may_edit_its_own_names(tmp_path: Path) -> None:
    names = claimed(tmp_path, SMALL)
    edited = load(tmp_path, changed("detectors.nano.conf", 0.9))
    refuse_taken_names(edited, names)
    claim_names(edited, names)
    with pytest.raises(ConfigError, match=r"detectors\.nano already means something else"):
        refuse_taken_names(load(tmp_path, SMALL | {"study": "other"}), names)
