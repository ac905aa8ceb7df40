"""How long a training may go on inside a scheduler's job."""

from __future__ import annotations

import pytest

from lib.training.preemption import scheduled_budget

HOUR = 3600.0


@pytest.mark.parametrize(
    ("environment", "runtime_s", "left_s"),
    [
        ({}, HOUR, None),
        ({"SLURM_JOB_ID": "7"}, HOUR, HOUR - 180),
        ({"PBS_JOBID": "7"}, 10 * 60, 9 * 60),
        ({"SLURM_JOB_ID": "7"}, 24 * HOUR, 24 * HOUR - 900),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": "3000"}, HOUR, 2000 - 180),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": "1100"}, HOUR, 1),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": "N/A"}, HOUR, HOUR - 180),
    ],
)
def test_what_a_scheduler_leaves(environment: dict[str, str], runtime_s: float, left_s: float | None) -> None:
    assert scheduled_budget(runtime_s, environment, now=1000.0) == left_s
