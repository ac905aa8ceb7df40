"""What a real Slurm (22.05, Debian 12) answered, and programs on PATH that answer so again. Recorded with jobs that ran to
their end, ran out of memory, were cancelled, preempted with and without requeue, hit their limit, and lost their node.
"""

from __future__ import annotations

from pathlib import Path

RUN = "8f2c3c1e-1f0f-4f0e-9d6e-2f4f5d7f7a10"
LATER_RUN = "0a6b1f43-77aa-4c1e-93e2-aa51c0de0002"
SQUEUE = f"""\
9|COMPLETED|n1|0:31|10:00|None|{RUN}|rule_train_wildcards_site_x_0
10|TIMEOUT|n1|1:06|1:00|TimeLimit|{LATER_RUN}|rule_train_wildcards_site_full_0
1|PREEMPTED|n1|0:05|1:00|None|{RUN}|rule_train_wildcards_site_full_0
4|PREEMPTED|n1|0:05|10:00|None|{RUN}|rule_train_wildcards_site_less_1
2|CANCELLED|n2|0:05|10:00|None|{RUN}|rule_train_wildcards_site_full_1
7|COMPLETED|n2|0:00|10:00|None|{RUN}|rule_train_wildcards_site_prior_1
8|PENDING||0:00|10:00|Resources|{LATER_RUN}|rule_train_wildcards_site_chance_0
3|FAILED|n2|0:02|10:00|JobLaunchFailure|{RUN}|rule_train_wildcards_site_less_0
6|FAILED|n2|0:00|10:00|NonZeroExitCode|{RUN}|rule_train_wildcards_site_prior_0
11|NODE_FAIL|n2|0:34|10:00|NodeDown|{LATER_RUN}|rule_train_wildcards_site_full_1
5|RUNNING|n1|0:07|10:00|None|{RUN}|rule_predict_wildcards_site_less_1_none
"""
NO_CONTROLLER = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
"""After 9.0 s, with exit code 1."""
NOT_CONFIGURED = "squeue: fatal: Could not establish a configuration source"
UNKNOWN_NUMBER = "slurm_load_jobs error: Invalid job id specified"
NO_ACCOUNTING = "Slurm accounting storage is disabled"
SACCT = f"""\
21|CANCELLED by 1000|n3|754|600|{RUN}
22|OUT_OF_MEMORY|n3|31|600|{RUN}
23|COMPLETED|n1|31|UNLIMITED|{RUN}
"""


def put(folder: Path, name: str, *, says: str = "", complains: str = "", code: int = 0, sleep_s: float = 0.0) -> None:
    """A program of that name in a folder; it notes its arguments in NAME.asked beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.says").write_text(says)
    lines = ["#!/bin/sh", f'echo "$@" >> "{folder}/{name}.asked"']
    lines += [f"exec sleep {sleep_s}"] if sleep_s else []
    lines += [f'cat "{folder}/{name}.says"', f'echo "{complains}" >&2', f"exit {code}"]
    (folder / name).write_text("\n".join(lines) + "\n")
    (folder / name).chmod(0o755)


def asked(folder: Path, name: str) -> list[str]:
    """The arguments of every call so far."""
    path = folder / f"{name}.asked"
    return path.read_text().splitlines() if path.exists() else []
