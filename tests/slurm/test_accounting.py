"""With accounting (make slurm-up WORDS=--full): accounts, limits on jobs, sacct and the efficiency report.

Skipped on the small cluster, which has no database; `make slurm-test FULL=1` runs them on the full one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.runs import slurm as queue
from tests.conftest import PROJECT
from tests.slurm.cases import TARGET, Copy, on_slurm, wait_until
from tests.slurm.test_slurm_status import told

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def accounted(slurm: None) -> None:
    """The cluster with a database; where there is none, these tests are not run."""
    if queue.answer(["sacctmgr", "--noheader", "show", "cluster"]) is None:
        pytest.skip("this Slurm keeps no accounts. Hint: make slurm-test FULL=1 (munge, slurmdbd and mariadb-server)")


@pytest.fixture
def tree(accounted: None, profiles: Path, tmp_path: Path) -> Copy:
    made = on_slurm(tmp_path / "project", profiles, {"shows": "small"}, pause_s=0)
    made.study["variants"]["shows"]["training"]["budget"] = {"steps": 4}
    return made


@pytest.fixture
def one_job(accounted: None) -> Iterator[None]:
    """The account may have one job at a time."""
    words = ["sacctmgr", "-i", "modify", "account", "lab", "set"]
    subprocess.run([*words, "MaxSubmitJobs=1"], check=True, capture_output=True)
    yield
    subprocess.run([*words, "MaxSubmitJobs=-1"], check=True, capture_output=True)


def profile(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "workflow_scripts.slurm_profile",
        "--partition",
        "gpu",
        "--folder",
        str(folder),
        *words,
    ]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    options = {"cwd": PROJECT, "env": environment, "capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    return subprocess.run(command, **options)


def test_accounts_are_checked(accounted: None, tmp_path: Path) -> None:
    done = profile("--account", "lap", folder=tmp_path)
    assert done.returncode == 2 and "--account 'lap' is none of yours" in done.stderr and "'lab'" in done.stderr
    assert not list(tmp_path.iterdir())
    assert profile("--account", "lab", folder=tmp_path).returncode == 0
    assert "slurm_account: lab" in (tmp_path / "slurm/config.yaml").read_text()


def test_jobs_are_accounted_and_reported(tree: Copy) -> None:
    """The plugin's efficiency report names the training; sacct knows what squeue has forgotten."""
    tree.run("--slurm-efficiency-report", "--default-resources", "slurm_account=lab", "--", TARGET)
    (report,) = tree.folder.rglob("efficiency_report*.csv")
    assert "train" in report.read_text()
    job = told(tree, "--only", "shows")["cells"][0]["job"]
    wait_until(
        lambda: (found := queue.accounted([job])) and found[0].state == "COMPLETED", f"job {job} in the database", 60
    )
    assert queue.known_among([], [job])[job].state == "COMPLETED"


def test_an_unknown_account_is_refused(tree: Copy) -> None:
    done = tree.run("--retries", "0", "--default-resources", "slurm_account=nobody", "--", TARGET, check=False)
    assert done.returncode != 0 and "nobody" in done.stdout + done.stderr


def test_a_limit_on_jobs_is_told(tree: Copy, one_job: None) -> None:
    """Two jobs where one is allowed: the second is refused, `status --failed` says by whom, and it goes through later."""
    tree.study["seeds"] = [0, 1]
    targets = [TARGET, TARGET.replace("seed=0", "seed=1")]
    before = ["results/subsets/site/all/seed=0.parquet", "results/subsets/site/all/seed=1.parquet"]
    tree.run("--jobs", "1", "--", *before, "results/shards/site/clips/manifest.json")
    done = tree.run("--retries", "0", "--", *targets, check=False)
    assert done.returncode == 1 and "sbatch: error" in done.stderr
    assert [(tree.folder / one).exists() for one in targets].count(True) == 1, "the other one was trained"
    (failure,) = told(tree, "--failed")["failures"]
    assert failure["cause"] == "sbatch refused" and "limit" in failure["line"], failure
    tree.run("--jobs", "1", "--", *targets)
