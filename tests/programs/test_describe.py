"""`describe` shows what Snakemake would be told. Reference: the demo study and what load_study makes of the same texts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from lib.config.base import identity
from lib.config.study import load_study
from workflow_scripts import _program, describe


def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["describe", *words])
    describe.main()
    return capsys.readouterr().out


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    return lambda *words: printed(capsys, monkeypatch, *words)


def rows(text: str) -> list[str]:
    """First column of the table."""
    table = text.split("\n\n")[1].splitlines()[1:]
    return [line.split()[0] for line in table if not line.startswith("board ")]


def test_all_variants_with_what_is_typed(shown) -> None:
    assert rows(shown()) == ["detector", "person-100", "person-25", "prior", "moments", "typical"]
    swept = shown("--set", "training.epochs=25,50")
    assert "person-25--epochs-50   model  p25           yolo11n  160  50 epochs" in swept
    assert rows(shown("--new", "b=person-25 training.epochs=9"))[-1] == "b"


def test_a_study_of_models_that_look_at_no_pictures(shown, tmp_path: Path) -> None:
    study = {
        "study": "words",
        "datasets": {"site": {"source": {"format": "world"}}},
        "featuresets": {"looks": {"kind": "light_clips", "stride": 2, "window": 4}, "words": {"kind": "light_text"}},
        "shardsets": {"clips": {"kind": "clips", "splits": ["train", "val", "test"], "clips": "looks", "text": "words"}},
        "arms": {"all": {"shardset": "clips", "background": "all"}},
        "trainings": {"grounding": {"preset": "tiny", "budget": {"steps": 30, "evaluate_every_steps": 15}}},
        "variants": {
            "mvp": {"task": "grounding", "arm": "all"},
            "both": {"task": "grounding", "kind": "ensemble", "members": ["mvp"]},
        },
        "boards": {"words": {"dataset": "site", "variants": ["mvp", "both"], "metric": "R1@0.5"}},
    }
    path = tmp_path / "words.yaml"
    path.write_text(yaml.safe_dump(study))
    text = shown("--configfile", str(path))
    assert "mvp      model     all  mvp    -   30 steps  0      words" in text
    assert "both     ensemble  -    -      -   -         0      words" in text


def test_only_shows_rows_targets_and_boards_that_stay(shown) -> None:
    text = shown("--only", "person-*")
    assert rows(text) == ["person-100", "person-25"]
    assert "2 models, 2 metrics" in text
    assert "boards made: none\nboards left as they are: imbalance, tracks, moments" in text
    assert shown("--only", "*").split("summaries\n")[1] == "boards made: imbalance, moments, tracks\n"


def test_one_variant_and_the_whole_study_resolved(shown) -> None:
    words = ("--set", "training.lr0=1e-4,5e-5")
    study = load_study([], {"set": words[1]})
    one = yaml.safe_load(shown(*words, "--variant", "person-25--lr0-5e-5"))["person-25--lr0-5e-5"]
    assert one["training"] == identity(study.training_of("person-25--lr0-5e-5")) and one["training"]["lr0"] == 5e-5
    whole = yaml.safe_load(shown(*words, "--resolved"))
    assert whole == study.model_dump(mode="json")
    assert "sweep" not in whole


def test_a_refusal_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["describe", "--only", "persn-25"])
    with pytest.raises(SystemExit) as left:
        _program.run(describe.main)
    assert left.value.code == _program.WRONG_INPUT
    assert "error: only: 'persn-25' matches no board" in capsys.readouterr().err
