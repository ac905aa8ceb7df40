"""Every shipped study passes a dry run; those on data of one's own, with such data in place, and without it by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib.config.merge import CONFIG_FOLDER
from lib.config.study import DEFAULT_CONFIG, load_study
from lib.config.targets import study_targets
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow

STUDIES = [DEFAULT_CONFIG, *sorted((CONFIG_FOLDER / "studies").glob("*.yaml"))]
OWN = {
    "crane": ["train.json", "val.json", "test.json"],
    "lars_rfdetr": [f"{folder}/_annotations.coco.json" for folder in ("train", "valid", "test")],
}
"""Folder below VIPERSIGHT_RAW → annotation files that the studies on one's own data ask for."""


def dry_run(study: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "-n", "--snakefile", str(PROJECT / "Snakefile")]
    command += ["--directory", str(folder / "tree"), "--configfile", str(study)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE_", "VIPERSIGHT_"))}
    environment |= {"VIPERSIGHT_RAW": str(folder / "raw")}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=PROJECT)


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_a_dry_run_plans_every_training_of_a_shipped_study(study: Path, tmp_path: Path) -> None:
    for folder, names in OWN.items():
        for name in names:
            path = tmp_path / "raw" / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    (tmp_path / "tree").mkdir()
    done = dry_run(study, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    planned = done.stdout + done.stderr
    loaded = load_study([study])
    for target in study_targets(loaded, "models") + study_targets(loaded, "leaderboards"):
        assert target in planned


@pytest.mark.parametrize(("name", "missing"), [("imbalance", "crane"), ("sizes", "lars_rfdetr")])
def test_without_ones_own_data_the_missing_folder_is_named(name: str, missing: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    done = dry_run(CONFIG_FOLDER / "studies" / f"{name}.yaml", tmp_path)
    assert done.returncode != 0
    assert f"{tmp_path}/raw/{missing}: no such folder. Hint:" in done.stdout + done.stderr
