"""The jobs that Snakemake would run, asked of Snakemake itself, in this process. Not here: what they cost.

The words are parsed by Snakemake's own command line, profiles included, and carried out as its own dry run. A dry run hands
its finished DAG to its scheduler, which is a plugin: the one below takes what is planned and then does as its base does. So
targets, reasons, threads and resources are those of the run, and no text is parsed.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lib.config.base import ConfigError
from lib.config.study import Study

PROJECT = Path(__file__).resolve().parents[2]
# fmt: off
NOT_A_RUN = (
    "archive", "cleanup_metadata", "cleanup_shadow", "conda_cleanup_envs", "conda_create_envs_only",
    "container_cleanup_images", "containerize", "d3dag", "dag", "delete_all_output", "delete_temp_output",
    "deploy_sources", "detailed_summary", "filegraph", "generate_unit_tests", "lint", "list_changes", "list_conda_envs",
    "list_input_changes", "list_params_changes", "list_rules", "list_target_rules", "list_untracked",
    "print_compilation", "report", "rulegraph", "runtime_profile", "summary", "touch", "unlock",
)
# fmt: on
"""Snakemake's options that ask for something else than a run; some of them delete files."""


@dataclass(frozen=True)
class Job:
    """One job of the plan; `after` are the places in Plan.jobs of those that it waits for, all of them before its own.

    again: some of its files stand already and would be made anew. nothing: a target that only names files.
    """

    rule: str
    wildcards: Mapping[str, str]
    threads: int
    gpus: int
    local: bool
    priority: int
    after: tuple[int, ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, Any]
    reason: str
    again: bool
    nothing: bool
    benchmark: str = ""  # the file that says afterwards what it took
    resources: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return " ".join([self.rule, *(f"{key}={value}" for key, value in self.wildcards.items())])


@dataclass(frozen=True)
class Rule:
    """What past runs of a rule are known by: the shape of its benchmark files, and its outputs with {wildcards}."""

    name: str
    benchmark: re.Pattern[str]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """All that would run, in an order in which it could, and the limits that were given with it (None = no limit)."""

    jobs: Sequence[Job]
    rules: Sequence[Rule]
    study: Study
    folder: Path  # the working directory of the run
    cluster: bool
    limits: Mapping[str, int | None]  # gpu, cores, jobs


class NotPlanned(ConfigError):
    """Snakemake refused; what it said stands on stderr already."""


def plan(
    words: Sequence[str],
    *,
    gpus: int | None = None,
    cores: int | None = None,
    jobs: int | None = None,
    executor: str | None = None,
    also: Callable[[Any, Any], None] | None = None,
) -> Plan:
    """What `snakemake WORDS` would run now.

    gpus, cores, jobs, executor: in place of those of the words; without any a local plan has this machine's cores, and GPUs
    without end. also: called with Snakemake's DAG and its executor's settings while they live (lib/pricing/sbatch.py).
    Raises ConfigError when the words ask for something else than a run, NotPlanned when Snakemake refuses them.
    """
    from snakemake.cli import args_to_api  # here: a second that `--help` needs not take
    from snakemake.settings.enums import Quietness
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    parser, args = _parsed(words)
    other = next((name for name in NOT_A_RUN if getattr(args, name, None)), None)
    if other is not None:
        raise ConfigError(f"--{other.replace('_', '-')}: asks for something else than a run. Hint: leave it out.")
    args.executor = executor or args.executor or "local"
    plugin = ExecutorPluginRegistry().get_plugin(args.executor)
    cluster = not plugin.common_settings.local_exec
    here = os.cpu_count() or 1
    if cluster:
        jobs, cores = jobs or args.jobs, cores or args.local_cores or here
        args.jobs, args.cores = jobs or sys.maxsize, sys.maxsize  # a dry run would assume one core; the real one does not
    else:
        cores, jobs = cores or jobs or args.cores or args.jobs or here, None
        args.cores = cores
    args.dryrun, args.scheduler, args.nolock = True, "greedy", True
    args.quiet = {Quietness.PROGRESS, Quietness.RULES}  # the two with which a dry run ends after its planning
    taken: list[Plan] = []

    def take(dag: Any) -> None:
        limits = {"gpu": gpus or _limit(dag, "gpu"), "cores": cores, "jobs": jobs}
        taken.append(_plan_of(dag, cluster, limits))
        if also is not None:
            also(dag, plugin.get_settings(args))

    with redirect_stdout(sys.stderr), _hushed(), _scheduler(take):  # a dry run's words go to stdout
        done = args_to_api(args, parser)
    if not done or not taken:
        raise NotPlanned("snakemake refused to plan that, see above. Hint: put right what it names.")
    return taken[0]


def _parsed(words: Sequence[str]) -> tuple[Any, Any]:
    """Snakemake's parser and what it read; ConfigError with its complaint."""
    from snakemake.cli import parse_args
    from snakemake.exceptions import CliException

    said = io.StringIO()  # which profiles are read, or several screens of usage before the complaint
    try:
        with redirect_stderr(said), redirect_stdout(said):
            return parse_args(["--snakefile", str(PROJECT / "Snakefile"), *words])
    except SystemExit as error:
        complaint = said.getvalue().strip().rpartition("\n")[2].rpartition("error: ")[2]
        raise ConfigError(f"snakemake: {complaint}\nHint: behind `--` stand the words of a snakemake command.") from error
    except CliException as error:
        raise ConfigError(f"snakemake: {error}") from error


@contextmanager
def _hushed() -> Iterator[None]:
    """While it holds, Snakemake tells errors and warnings only; what the Snakefile prints is untouched."""
    from snakemake.logging import logger

    def loud(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    logger.addFilter(loud)
    try:
        yield
    finally:
        logger.removeFilter(loud)


def _limit(dag: Any, name: str) -> int | None:
    """A limit of `--resources`, of the words or a profile."""
    given = dag.workflow.resource_settings.resources
    found = dict(given.items()).get(name) if given else None
    value = getattr(found, "value", found)
    return int(value) if isinstance(value, int | float) else None


@contextmanager
def _scheduler(take: Any) -> Iterator[None]:
    """While it holds, Snakemake's greedy scheduler hands its DAG to `take` when it is made."""
    from snakemake.scheduling import greedy
    from snakemake_interface_scheduler_plugins.registry import SchedulerPluginRegistry

    class Scheduler(greedy.Scheduler):
        def __post_init__(self) -> None:
            super().__post_init__()
            take(self.dag)

    registry = SchedulerPluginRegistry()
    before = registry.plugins["greedy"]
    ours = SimpleNamespace(Scheduler=Scheduler, SchedulerSettings=greedy.SchedulerSettings)
    registry.plugins["greedy"] = registry.load_plugin("greedy", ours)
    try:
        yield
    finally:
        registry.plugins["greedy"] = before


def _plan_of(dag: Any, cluster: bool, limits: Mapping[str, int | None]) -> Plan:
    """Plain values of Snakemake's DAG."""
    waiting = set(dag.needrun_jobs())
    ordered = _ordered(dag, waiting)
    place = {job: number for number, job in enumerate(ordered)}
    waits = {job: tuple(sorted(place[one] for one in dag.job_dependencies(job) if one in place)) for job in ordered}
    jobs = [_job(dag, job, waits[job], cluster) for job in ordered]
    rules = [
        Rule(
            rule.name, re.compile(f"(?:{rule.benchmark.regex().pattern})$"), tuple(_plain(str(one)) for one in rule.output)
        )
        for rule in dag.workflow.rules
        if rule.benchmark
    ]
    study = dag.workflow.globals["STUDY"]
    return Plan(jobs, rules, study, Path.cwd(), cluster, limits)


def _ordered(dag: Any, waiting: set[Any]) -> list[Any]:
    """Jobs after those that they wait for, in the order of their numbers where that leaves a choice."""
    from graphlib import TopologicalSorter

    behind = {job: [one for one in dag.job_dependencies(job) if one in waiting] for job in sorted(waiting, key=_number)}
    return list(TopologicalSorter(behind).static_order())


def _number(job: Any) -> tuple[str, str]:
    return job.rule.name, str(job.wildcards)


def _job(dag: Any, job: Any, after: tuple[int, ...], cluster: bool) -> Job:
    resources = {name: value for name, value in job.resources.items() if not name.startswith("_")}
    gpus = resources.get("gpu", 0)
    return Job(
        rule=job.rule.name,
        wildcards=dict(job.wildcards_dict),
        threads=int(job.threads),
        gpus=int(gpus) if isinstance(gpus, int | float) else 0,
        local=not cluster or runs_here(dag, job),
        priority=int(job.priority) if job.priority < sys.maxsize else sys.maxsize,
        after=after,
        outputs=tuple(str(one) for one in job.output),
        settings=_settings(job),
        reason=re.sub(r"\s+", " ", str(dag.reason(job))),
        again=any(os.path.exists(one) for one in job.output),
        nothing=bool(job.rule.norun),
        benchmark=str(job.benchmark or ""),
        resources={name: value for name, value in resources.items() if isinstance(value, int | float | str)},
    )


def runs_here(dag: Any, job: Any) -> bool:
    """Whether a job of a cluster's run is done beside Snakemake: what `workflow.is_local` says when it is no dry run."""
    workflow, rule = dag.workflow, job.rule
    return rule.group is None and bool(rule.name in workflow._localrules or rule.norun or rule.is_template_engine)


def _settings(job: Any) -> Mapping[str, Any]:
    """The canonical JSON that the job's program is told; {} for a rule without."""
    text = job.params.get("settings") if hasattr(job.params, "get") else None
    return json.loads(text) if isinstance(text, str) and text.startswith("{") else {}


def _plain(pattern: str) -> str:
    """A pattern with names alone in its braces."""
    return re.sub(r"{(\w+)(?:,[^{}]*)?}", r"{\1}", pattern)
