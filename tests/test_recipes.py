"""A costly stage whose code changed must say whether its results change: by a raised recipe, or in CHANGELOG.md."""

from __future__ import annotations

import json

import pytest

from lib.config.jobs import RECIPES
from tests.recipes import PROJECT, RECORD, current, modules_of

RECORDED, NOW = json.loads(RECORD.read_text()), current()


@pytest.mark.parametrize("stage", sorted(RECIPES))
def test_code_of_a_costly_stage_changes_with_its_recipe(stage: str) -> None:
    now, then = NOW[stage], RECORDED[stage]
    assert now["recipe"] >= then["recipe"], "recipes only grow"
    assert now == then, (
        f"the code of stage {stage!r} changed. If its results change: raise RECIPES[{stage!r}] in lib/config/jobs.py and "
        f"say so in CHANGELOG.md. If not: add “no effect on results: {stage}” there. Then run "
        "`python -m tests.recipes --accept`."
    )


def test_the_walk_finds_what_a_training_runs_through() -> None:
    found = modules_of("train")
    assert {"lib.tasks.detection", "lib.training.yolo_trainer", "lib.data.shards", "lib.models.yolo"} <= set(found)
    assert (PROJECT / "CHANGELOG.md").is_file()
