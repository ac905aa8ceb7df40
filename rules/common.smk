# What all stages share: the validated study, the shape of names in paths, and the targets of the study.
# Needs: a settings file. Makes: nothing by itself. It must stay light: every cluster job reads it again (no torch here).

import json
import os
import subprocess
import sys

sys.path.insert(0, workflow.basedir)

from pathlib import Path

from snakemake.cli import parse_config
from snakemake.exceptions import WorkflowError

from lib.runs import finished, running
from lib.config.base import VipersightError
from lib.config.commandline import profile_words, read_config
from lib.config.inputs import Inputs
from lib.config.jobs import Jobs
from lib.config.names import claim_names, refuse_taken_names
from lib.config.study import load_study
from lib.config.targets import KINDS, choose, study_targets
from lib.files import write_text
from lib.provenance import announce_run
from lib.registry.index import rebuild

# The default study is loaded only when no --configfile is given: an empty list here means just that, also in the
# processes that a cluster starts.
CONFIGFILES = [os.path.relpath(file) for file in workflow.overwrite_configfiles or ()]

# What was typed behind --config, by its raw words: Snakemake's own reading changes some texts, and its way to the jobs of a
# cluster leads through a shell that would run `$(…)`. So jobs are handed the words encoded (lib/config/commandline.py).
TYPED = read_config(
    workflow.config_settings.config_args,
    workflow.config_settings.config,
    profile_words(sys.argv[1:], os.environ) if workflow.is_main_process else (),
    parse_config,
)
if workflow.is_main_process:
    workflow.config_settings.config_args = TYPED.for_jobs()

try:
    STUDY = load_study(CONFIGFILES, TYPED.overrides)
    CHOSEN = choose(STUDY, TYPED.only)
    refuse_taken_names(STUDY, Path("results/definitions"))
except VipersightError as refusal:
    raise WorkflowError(str(refusal))

jobs = Jobs(STUDY)
inputs = Inputs(STUDY, workflow.basedir)
config.clear()
config.update(STUDY.model_dump(mode="json"))

# What the jobs' programs are handed by the environment: where the code is, how their files are made again, site settings.
announce_run(STUDY.study, CONFIGFILES, TYPED.lineage, STUDY.site())

# The jobs carry the token of their run, so that a killed run's orphans are found (lib/runs/running.py).
os.environ[running.TOKEN] = running.token_of(main=workflow.is_main_process)
if workflow.is_main_process and (note := running.note_others()):
    print(note, file=sys.stderr)


# Constraints by shape, not by list: an unknown name then reaches the look-up, which can say what is known.
wildcard_constraints:
    dataset=r"[a-z0-9][a-z0-9_-]*",
    weights=r"[a-z0-9][a-z0-9_-]*",
    detector=r"[a-z0-9][a-z0-9_-]*",
    tracker=r"[a-z0-9][a-z0-9_-]*",
    featureset=r"[a-z0-9][a-z0-9_-]*",
    shardset=r"[a-z0-9][a-z0-9_-]*",
    arm=r"[a-z0-9][a-z0-9_-]*",
    variant=r"[a-z0-9][a-z0-9_-]*",
    tta=r"[a-z0-9][a-z0-9_-]*",
    board=r"[a-z0-9][a-z0-9_-]*",
    seed=r"[0-9]+",
    chunk=r"[0-9]+",


def targets(kind):
    """Files of one kind that this study, or what `only` chooses of it, is made of (lib/config/targets.py)."""
    return study_targets(STUDY, kind, CHOSEN)


def board_pages():
    return [path for path in targets("leaderboards") if path.endswith(".html") and os.path.exists(path)]


def tell_what_is_replaced():
    """Say before anything runs how many finished results `set` would replace; a dry run says it too."""
    from lib.config.replaced import notice, replaced

    named = [word for word in sys.argv[1:] if word.startswith("results/")]  # Snakemake tells its targets only later
    files = [file for kind in KINDS for file in targets(kind)]
    print(notice(TYPED.texts["set"], replaced(STUDY, inputs, files, named)), file=sys.stderr)


if workflow.is_main_process and "set" in TYPED.texts:
    tell_what_is_replaced()


def jobs_name():
    """The name that the Slurm plugin gives to all jobs of this run, "" elsewhere: a killed run's jobs are found by it."""
    return str(getattr(getattr(workflow.scheduler, "_executor", None), "run_uuid", ""))


def end_run():
    """Snakemake knows now what is finished; every run is listed in results/registry.json."""
    finished.settle(Path("results"))
    try:
        rebuild(Path())
    except VipersightError as refusal:
        print(f"note: {refusal}", file=sys.stderr)


def begin_run():
    """Write down who runs and what this run is about: the resolved study, and which names it defines."""
    import yaml

    try:
        running.refuse_orphans()
        running.begin(
            os.environ[running.TOKEN],
            sys.argv[1:],
            str(workflow.workdir_init),
            workflow.executor_plugin.name,
            jobs_name(),
        )
        finished.settle(Path("results"))
    except VipersightError as refusal:
        raise WorkflowError(str(refusal))

    write_text(
        "results/run_config.yaml",
        yaml.safe_dump(STUDY.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )
    claim_names(STUDY, Path("results/definitions"))
    print(
        f"Study {STUDY.study}: {STUDY.description}".rstrip(": "),
        "Settings: results/run_config.yaml",
        sep="\n",
        file=sys.stderr,
    )


def notify(outcome):
    """Tell whom `notify:` names how the run ended; what goes wrong there is a line, never the run's exit code."""
    if not STUDY.notify.wanted or "VIPERSIGHT_TUNING" in os.environ:  # a tuning is many runs
        return
    words = [sys.executable, "-m", "workflow_scripts.notify", "--outcome", outcome]
    words += ["--overrides", json.dumps(TYPED.overrides)]
    words += ["--only", TYPED.only] if TYPED.only is not None else []
    words += ["--configfile", *CONFIGFILES] if CONFIGFILES else []
    try:
        subprocess.run(words, timeout=180, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"note: nobody was told how the run ended ({type(error).__name__}).", file=sys.stderr)
