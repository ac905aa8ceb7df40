"""A throw-away Slurm for these tests: started once, ended at the end. Skipped where none can be made, with the reason."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.slurm import cluster
from tests.slurm.cases import written
from tests.workflow import conftest as workflow
from tests.workflow import test_own_task as own_task

demo, demo_boards = workflow.demo, workflow.demo_boards
"""The demo, run on this machine alone, and its boards: what a run on the cluster is compared with."""
trained_once = own_task.trained_once
"""A training of the recipe's task on this machine alone, with all that comes before it."""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[None]:
    """A cluster for all test processes; one that stands already (make slurm-up) is used and left standing."""
    base = tmp_path_factory.getbasetemp()
    users = (base if worker_id == "master" else base.parent) / "slurm-users"
    try:
        with _counted(users, 1) as (before, _):
            stood = cluster.answers() and before == 0
            cluster.up()
            if stood:
                users.with_suffix(".stays").touch()
    except cluster.Impossible as why:  # a cluster that could be made and does not start is a failure
        pytest.skip(str(why))
    yield
    with _counted(users, -1) as (_, left):
        if left == 0 and not users.with_suffix(".stays").exists():
            cluster.down()


@contextmanager
def _counted(path: Path, change: int) -> Iterator[tuple[int, int]]:
    """(users before, users after) of the cluster, alone with it."""
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = int(path.read_text()) if path.exists() else 0
        path.write_text(str(before + change))
        yield before, before + change


@pytest.fixture(scope="session")
def profiles(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private settings folder with both profiles, for jobs on nodes that stay."""
    return written(tmp_path_factory.mktemp("home"), "gpu")
