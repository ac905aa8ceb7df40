"""Reference: docutils, which Snakemake renders captions with; every shipped study must give captions without a fault."""

from __future__ import annotations

import html
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
from docutils.core import publish_parts

from lib.config.evaluate import EvaluateSettings
from lib.config.study import load_study


def shipped(project: Path) -> list[list[Path]]:
    return [[], *([path] for path in sorted((project / "config/studies").glob("*.yaml")))]


def rendered(project: Path, caption: str, config: dict, **wildcards: str) -> str:
    """A caption as Snakemake shows it; any fault in the markup is an error here."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    template = environment.from_string((project / "rules/report" / f"{caption}.rst").read_text(encoding="utf-8"))
    text = template.render(snakemake=SimpleNamespace(config=config, wildcards=SimpleNamespace(**wildcards)))
    options = {"halt_level": 2, "report_level": 2}
    return html.unescape(publish_parts(text, writer="html", settings_overrides=options)["body"])


def test_captions_of_every_shipped_study_state_its_settings(project: Path) -> None:
    for files in shipped(project):
        study = load_study(files)
        config = study.model_dump(mode="json")
        front = rendered(project, "workflow", config)
        assert study.study in front and f"{study.evaluate.draws} resamples" in front
        for name, board in study.boards.items():
            text = rendered(project, "leaderboard", config, board=name, dataset=board.dataset)
            assert board.metric in text and (board.title or name) in text and "mailto" not in text
        for board in study.track_boards.values():
            pair = {"detector": board.detectors[0], "tracker": board.trackers[0]}
            assert pair["tracker"] in rendered(project, "tracks", config, dataset=board.dataset, **pair)
        for board in study.score_boards.values():
            cell = {"dataset": board.dataset, "variant": board.variants[0], "seed": "0", "tta": board.tta[0]}
            assert f"{study.export.threshold}" in rendered(project, "export", config, **cell)
            assert cell["variant"] in rendered(project, "curves", config, **cell)
        for arm in study.arms.values():
            drawn = {"dataset": "site", "shardset": arm.shardset, "seed": "0"}
            assert f"shardset {arm.shardset}" in rendered(project, "arms", config, **drawn)


def test_captions_of_a_task_without_boxes_speak_of_none(project: Path) -> None:
    config = {
        "study": "words",
        "evaluate": EvaluateSettings().model_dump(),
        "training": {"model": "yolo11n"},
        "trainings": {"grounding": {"preset": "tiny"}},
        "shardsets": {"clips": {"kind": "clips"}},
        "boards": {
            "words": {"kind": "scores", "dataset": "site", "variants": ["mvp"], "tta": ["none"], "metric": "R1@0.5"}
        },
        "variants": {"mvp": {"task": "grounding", "arm": "all", "training": {}, "description": ""}},
    }
    config["boards"]["words"] |= {"title": "Moments, by words", "description": "", "tta": ["none"]}
    where = {"dataset": "site", "variant": "mvp", "seed": "0", "shardset": "clips", "board": "words"}
    board, curves, arms = (rendered(project, name, config, **where) for name in ("leaderboard", "curves", "arms"))
    assert "R1@0.5" in board and "mailto" not in board and "boxes" not in board and "Moments, by words" in board
    assert "Task grounding, arm all" in curves and "yolo11n" not in curves
    assert "Clips, queries" in arms and "Frames" not in arms and "union" not in arms


def test_a_caption_of_an_unknown_board_is_an_error(project: Path) -> None:
    with pytest.raises(jinja2.UndefinedError):
        rendered(project, "leaderboard", load_study().model_dump(mode="json"), board="no-such", dataset="world")
