"""`snakemake --profile slurm` on a real Slurm: the demo to boards, GPU jobs on GPU nodes, logs where messages say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from lib.files import read_json
from tests.conftest import PROJECT
from tests.slurm.cases import on_slurm
from tests.workflow.conftest import copy_project
from tests.workflow.test_own_task import by_hand, untrained

pytestmark = pytest.mark.slow


def snakemake(folder: Path, profiles: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE_", "VIPERSIGHT_"))}
    kept |= {"PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    kept |= {"XDG_CONFIG_HOME": str(profiles)} | more
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", *words]
    return subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=1500)


def test_the_demo_has_the_same_boards(profiles: Path, demo_boards: Path, tmp_path: Path) -> None:
    """The same boards, but for seconds: the same data, arms, weights and scores, whoever started the jobs.

    The board left out would train two more detectors by the rule that trains the one of these boards.
    """
    folder = copy_project(tmp_path / "project")
    boards = ("tracks", "moments")
    asked = [f"results/leaderboards/world/{board}.csv" for board in boards]
    done = snakemake(folder, profiles, "--", *asked, VIPERSIGHT_DEVICE="cpu")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:]
    for board in boards:
        ours, theirs = (pd.read_csv(one / f"world/{board}.csv") for one in (folder / "results/leaderboards", demo_boards))
        measured = [name for name in ours if "seconds" in name or "frames_per_s" in name or name == "attempts"]
        pd.testing.assert_frame_equal(ours.drop(columns=measured), theirs.drop(columns=measured))


def test_a_gpu_rule_gets_a_gpu(profiles: Path, trained_once: Path, tmp_path: Path) -> None:
    tree = untrained(on_slurm(tmp_path / "project", profiles, {"shows": "small"}, pause_s=0), trained_once)
    rule = tree.folder / "rules/train.smk"
    seen = '        "echo node ${{SLURMD_NODENAME:-}} gpus ${{CUDA_VISIBLE_DEVICES:-}} > gpus.txt; "\n'
    rule.write_text(rule.read_text().replace("    shell:\n", f"    shell:\n{seen}"))
    tree.study["variants"]["shows"]["training"]["budget"] = {"steps": 4}
    tree.run("--", "results/train/site/shows/seed=0/model.json")
    words = (tree.folder / "gpus.txt").read_text().split()
    assert words[1].startswith("gpu") and words[3] in ("0", "1")


def test_a_gpu_job_without_a_gpu_is_refused(profiles: Path, trained_once: Path, tmp_path: Path) -> None:
    """The nodes' GPUs are pretended ones: torch sees none, and nothing trains on the CPU by mistake."""
    tree = untrained(on_slurm(tmp_path / "project", profiles, {"shows": "small"}, pause_s=0), trained_once)
    del tree.more["VIPERSIGHT_DEVICE"]
    done = tree.run("--retries", "0", "--", "results/train/site/shows/seed=0/model.json", check=False)
    assert done.returncode == 1
    log = "results/logs/train/site/shows/seed=0.log"
    assert log in done.stderr, "the message names the log"
    assert "the job asked for 1 GPU and sees 0" in (tree.folder / log).read_text()


def test_what_slurm_refuses_is_said_and_the_rest_goes_on(profiles: Path, trained_once: Path, tmp_path: Path) -> None:
    tree = untrained(on_slurm(tmp_path / "project", profiles, {"shows": "small", "huge": "large"}, pause_s=0), trained_once)
    with open(tree.folder / "rules/resources.smk", "a") as file:
        file.write('SIZES["large"] = {"threads": 1, "mem_mb": 900_000, "runtime": 20}\n')
    for variant in ("shows", "huge"):
        tree.study["variants"][variant]["training"]["budget"] = {"steps": 4}
    cards = [f"results/train/site/{variant}/seed=0/model.json" for variant in ("shows", "huge")]
    done = tree.run("--retries", "0", "--", *cards, check=False)
    assert done.returncode == 1 and "sbatch: error" in done.stderr, done.stderr[-3000:]
    assert (tree.folder / cards[0]).exists() and not (tree.folder / cards[1]).exists()


def test_two_ranks_of_srun(profiles: Path, trained_once: Path, tmp_path: Path) -> None:
    """`launcher: srun`: Slurm starts both ranks of one training, on two nodes; rank 0 keeps records and results."""
    tree = untrained(on_slurm(tmp_path / "project", profiles, {"shows": "small"}, pause_s=0), trained_once)
    tree.study["variants"]["shows"]["training"] |= {"nodes": 2, "batch": 2, "budget": {"steps": 20}}
    tree.study["running"]["launcher"] = "srun"
    tree.how = ["-c2"]
    command, environment = by_hand(tree)
    environment["MASTER_ADDR"] = "127.0.0.1"  # the pretended nodes have no address of their own
    srun = ["srun", "--partition=cpu", "--nodes=2", "--ntasks-per-node=1", "--mem=4000", "--time=5"]
    done = subprocess.run([*srun, *command], cwd=tree.folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    card = read_json(tree.cell / "model.json")
    assert card["ranks"] == 2 and card["attempts"] == 1 and card["effective_batch"] == 8
    alone = subprocess.run(command, cwd=tree.folder, env=environment, capture_output=True, text=True, timeout=300)
    assert alone.returncode == 2 and "launcher srun did not start this process" in alone.stderr


def test_the_profile_of_a_person_stays(profiles: Path) -> None:
    place = profiles / "snakemake/slurm/config.yaml"
    before = place.read_text()
    words = [sys.executable, "-m", "workflow_scripts.slurm_profile", "--partition", "gpu", "--jobs", "7"]
    environment = os.environ | {"XDG_CONFIG_HOME": str(profiles), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "is there and says something else" in done.stderr and "+jobs: 7" in done.stderr
    assert place.read_text() == before


def test_unknown_partition_and_account_are_refused(profiles: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    options = {"cwd": PROJECT, "env": environment, "capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    for words, says in (
        (["--partition", "gpus"], "did you mean 'gpu'"),
        ([], "Known: closing, cpu, fragile, gpu, spare, urgent"),
    ):
        command = [sys.executable, "-m", "workflow_scripts.slurm_profile", *words, "--folder", str(tmp_path)]
        done = subprocess.run(command, **options)
        assert done.returncode == 2 and says in done.stderr
