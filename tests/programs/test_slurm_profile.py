"""A Slurm profile written from its template, without a Slurm. Reference: Snakemake's own reading of profiles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from snakemake.profiles import ProfileConfigFileParser

from tests.conftest import PROJECT
from workflow_scripts.slurm_profile import NAMES


def written(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workflow_scripts.slurm_profile", "--unchecked", "--partition", "gpu"]
    return subprocess.run(
        [*command, "--folder", str(folder), *words], cwd=PROJECT, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize("name", NAMES)
def test_cudnn_off_is_a_word_of_the_profile(tmp_path: Path, name: str) -> None:
    found = {}
    for words in ((), ("--cudnn", "off")):
        place = tmp_path / "-".join(["p", *words])
        done = written(place, "--name", name, *words)
        assert done.returncode == 0, done.stderr
        with (place / name / "config.yaml").open() as stream:
            found[words] = dict(ProfileConfigFileParser().parse(stream))
    plain, off = found[()], found["--cudnn", "off"]
    assert "config" not in plain and off == plain | {"config": ["running={cudnn: off}"]}


def test_another_word_is_refused(tmp_path: Path) -> None:
    done = written(tmp_path, "--cudnn", "broken")
    assert done.returncode == 2 and "choose from" in done.stderr and not any(tmp_path.iterdir())
