"""What would be submitted to Slurm: the lines of the installed snakemake-executor-plugin-slurm, made by its own functions.

Nothing is asked of the cluster, so that a plan needs none: accounts are taken as they are given (the plugin would check
them), and where no partition or account is given none is named (the plugin would look up the default).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lib.config.base import ConfigError
from lib.pricing.dag import runs_here

RUN = "RUN-ID"  # stands for the uuid that a run draws
_OWN = re.compile(r" --(?:output|comment) \S+")
"""Words of a line that name the job, not what it asks for."""


@dataclass(frozen=True)
class Submission:
    """A line of sbatch and how many jobs of the plan are submitted so, but for log and comment, which name each."""

    rule: str
    jobs: int
    line: str


class Submissions:
    """Collects the lines of a plan: `also` of lib/pricing/dag.py."""

    def __init__(self, each: bool = False) -> None:
        self._each = each
        self.found: list[Submission] = []
        self.local = 0

    def __call__(self, dag: Any, settings: Any) -> None:
        """Make the lines of all jobs that need to run. WorkflowError of the plugin for what sbatch would not take."""
        waiting = sorted(dag.needrun_jobs(), key=lambda job: (job.rule.name, str(job.wildcards)))
        self.local = sum(runs_here(dag, job) and not job.rule.norun for job in waiting)
        by_kind: dict[tuple[str, str], list[str]] = {}
        with _plugin() as plugin:
            writer = _writer(plugin, dag.workflow, settings)
            for job in waiting:
                if not runs_here(dag, job):
                    line = _line(plugin, writer, job)
                    by_kind.setdefault((job.rule.name, line if self._each else _OWN.sub("", line)), []).append(line)
        self.found = [Submission(rule, len(lines), lines[0]) for (rule, _), lines in by_kind.items()]


@contextmanager
def _plugin() -> Iterator[Any]:
    """The plugin's module, without its question to the cluster whether an account exists."""
    try:
        import snakemake_executor_plugin_slurm as plugin
    except ImportError as error:
        raise ConfigError("--sbatch: snakemake-executor-plugin-slurm is not installed. Hint: make setup.") from error
    asks = plugin.validate_account
    plugin.validate_account = lambda account, logger: account
    try:
        yield plugin
    finally:
        plugin.validate_account = asks


def _writer(plugin: Any, workflow: Any, settings: Any) -> Any:
    """The plugin's executor as far as it writes lines, without the threads and checks of a run."""
    from snakemake.logging import logger

    class Writer(plugin.Executor):
        def __init__(self) -> None:
            self.logger = logger
            self.workflow = SimpleNamespace(executor_settings=settings, workdir_init=workflow.workdir_init)
            file = settings.partition_config or os.environ.get("SNAKEMAKE_SLURM_PARTITIONS")
            self._partitions = plugin.read_partition_file(Path(file)) if file else None
            self._fallback_account_arg = self._fallback_partition = ""
            self._failed_nodes = {one.strip() for one in (settings.exclude_failed_nodes or "").split(",") if one.strip()}
            self.run_uuid = "_".join(filter(None, [settings.jobname_prefix, RUN]))
            self.slurm_logdir = plugin._select_logdir(self.workflow)

    return Writer()


def _line(plugin: Any, writer: Any, job: Any) -> str:
    """The words before `--wrap`, put together as `Executor.run_job` of plugin 2.8 does."""
    plugin.validate_slurm_extra(job)
    wildcards = plugin.get_job_wildcards(job)
    name = f"rule_{job.name}"
    params = {
        "run_uuid": writer.run_uuid,
        "slurm_logfile": writer.slurm_logdir / name / wildcards / "%j.log",
        "comment_str": f"{name}_wildcards_{wildcards}" if wildcards else name,
        "account": next(writer.get_account_arg(job)),
        "partition": writer.get_partition_arg(job),
        "workdir": writer.workflow.workdir_init,
    }
    call = plugin.get_submit_command(
        job, params, settings=writer.workflow.executor_settings, failed_nodes=writer._failed_nodes
    )
    return re.sub(r" {2,}", " ", call + plugin.set_gres_string(job)) + ' --wrap="…"'
