"""Reference: a log that Snakemake 9.27 wrote of jobs that succeeded, failed, were killed and tried again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lib.runs.slurm import Job
from lib.status.cells import Cell
from lib.status.failures import find_failures
from lib.status.failures_text import by_cause
from lib.status.looking import Records
from lib.status.overview import Overview, Row
from lib.status.progress import Progress
from lib.status.snakemake_log import Event, Events, events
from lib.status.states import State
from tests.lib.slurm_answers import put

LOG = """\
Building DAG of jobs...
[Thu Nov 26 05:28:35 2026]
localrule predict:
    input: results/train/site/a/seed=0/model.json
    output: results/predictions/site/a/seed=0/tta=none.parquet, results/predictions/site/a/seed=0/tta=none.meta.json
    log: results/logs/predictions/site/a/seed=0/tta=none.log
    jobid: 1
    reason: Missing output files: results/predictions/site/a/seed=0/tta=none.parquet
    wildcards: dataset=site, variant=a
    resources: tmpdir=/tmp
RuleException:
CalledProcessError in file "/x/Snakefile", line 6:
Command 'set -euo pipefail;  python -m workflow_scripts.predict' returned non-zero exit status 2.
[Thu Nov 26 05:28:35 2026]
Error in rule predict:
    message: None
    jobid: 1
    input: results/train/site/a/seed=0/model.json
    output: results/predictions/site/a/seed=0/tta=none.parquet, results/predictions/site/a/seed=0/tta=none.meta.json
    log: results/logs/predictions/site/a/seed=0/tta=none.log (check log file(s) for error details)
    shell:
        python -m workflow_scripts.predict --settings {}
        (command exited with non-zero exit code)
Logfile results/logs/predictions/site/a/seed=0/tta=none.log:
================================================================
error: results/train/site/a/seed=0/model.weights: is cut
================================================================
[Thu Nov 26 05:28:36 2026]
rule shard:
    output: results/shards/site/full/manifest.json
    log: results/logs/shards/site/full.log
    jobid: 2
Command 'set -euo pipefail;  python -m workflow_scripts.shard' returned non-zero exit status 137.
Error in rule shard:
    message: None
    jobid: 2
    output: results/shards/site/full/manifest.json
    log: results/logs/shards/site/full.log, /w/logs/rule_shard/site_full/12.log (check log file(s) for error details)
    shell:
        python -m workflow_scripts.shard
        (command exited with non-zero exit code)
    external_jobid: 12
Exiting because a job execution failed. Look above for error messages
"""
AGAIN = """\
[Thu Nov 26 06:28:36 2026]
rule shard:
    output: results/shards/site/full/manifest.json
    log: results/logs/shards/site/full.log
    jobid: 2
"""


def overview(root: Path, *rows: Row, driver: str = "") -> Overview:
    drivers = (driver,) if driver else ()
    return Overview(study="s", at="", slurm="none", drivers=drivers, rows=rows, told=Events().read(root))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / ".snakemake/log/2026-11-26T052835.snakemake.log", LOG)
    write(tmp_path / "results/logs/predictions/site/a/seed=0/tta=none.log",
          "error: results/train/site/a/seed=0/model.weights: is cut\n")  # fmt: skip
    write(tmp_path / "results/logs/shards/site/full.log", "packing: 20 %\n")
    return tmp_path


REFUSED = """
[Thu Nov 26 09:19:47 2026]
Error in rule train:
    message: SLURM sbatch failed. The error message was 'sbatch: error: AssocMaxSubmitJobLimit
sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit)'.
    sbatch call:
        sbatch --parsable -p closing
For further error details see the cluster/cloud log and the log files of the involved rule(s).
    jobid: 0
    output: results/train/site/a/seed=0/model.json
    log: results/logs/train/site/a/seed=0.log (check log file(s) for error details)

Trying to restart job 0.
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_blocks_of_a_log() -> None:
    found = events(LOG.splitlines())
    assert [(one.rule, one.failed, one.exit_status) for one in found] == [
        ("predict", False, None), ("predict", True, 2), ("shard", False, None), ("shard", True, 137)
    ]  # fmt: skip
    assert found[3] == Event(
        rule="shard",
        failed=True,
        outputs=("results/shards/site/full/manifest.json",),
        logs=("results/logs/shards/site/full.log", "/w/logs/rule_shard/site_full/12.log"),
        slurm_job="12",
        exit_status=137,
    )
    (refused,) = events(REFUSED.splitlines())
    assert (
        refused.failed
        and refused.outputs == ("results/train/site/a/seed=0/model.json",)
        and "job submit limit" in refused.message
    )
    assert events([]) == [] and events(["rule x:", "    jobid: 1"]) == []


def test_what_failed_last_and_is_not_there(root: Path) -> None:
    found = find_failures(overview(root), root)
    assert [(one.stage, one.verdict.cause) for one in found] == [("predict", "data"), ("shard", "killed")]
    assert found[0].verdict.line == "error: results/train/site/a/seed=0/model.weights: is cut"
    assert found[0].log == Path("results/logs/predictions/site/a/seed=0/tta=none.log")
    assert found[0].target == "results/predictions/site/a/seed=0/tta=none.parquet"


def test_of_chosen_rows_only_their_stages_are_told(root: Path) -> None:
    row = trained(State("completed"), cause="finished")
    assert [one.stage for one in find_failures(overview(root, row), root, narrowed=True)] == ["predict"]
    assert find_failures(overview(root), root, narrowed=True) == []


def test_what_was_made_or_begun_since_has_not_failed(root: Path) -> None:
    write(root / ".snakemake/log/2026-11-26T062836.snakemake.log", AGAIN)
    assert [one.stage for one in find_failures(overview(root), root)] == ["predict"]
    for suffix in ("parquet", "meta.json"):
        write(root / f"results/predictions/site/a/seed=0/tta=none.{suffix}", "")
    assert find_failures(overview(root), root) == []


def test_a_log_that_grows_is_read_again(root: Path) -> None:
    reader = Events()
    assert reader.read(root)["results/shards/site/full/manifest.json"].failed
    with open(root / ".snakemake/log/2026-11-26T052835.snakemake.log", "a") as file:
        file.write(AGAIN)
    assert not reader.read(root)["results/shards/site/full/manifest.json"].failed


def test_without_snakemake_s_logs_a_log_s_own_last_words_count(root: Path) -> None:
    (root / ".snakemake/log/2026-11-26T052835.snakemake.log").unlink()
    write(root / "results/logs/slurm/rule_predict/x/12.log", "error: a/b: is cut")
    write(root / "results/logs/videos/site.log", "fetching files: 3 of 9")
    (found,) = find_failures(overview(root), root)
    assert (found.stage, found.verdict.cause) == ("predictions", "data"), "what ends in no error has merely not ended"
    assert find_failures(overview(root, driver="a run is active (x)"), root) == [], "it may be at work at this moment"
    write(root / "results/predictions/site/a/seed=0/tta=none.parquet", "")
    assert find_failures(overview(root), root) == []


def trained(state: State, **last: str) -> Row:
    cell = Cell(dataset="site", variant="a", seed=0, task="detection", kind="model", size="tiny")
    records = Records(attempts=({"attempt": 1, **last},) if last else ())
    return Row(cell=cell, state=state, progress=Progress(), records=records, job="12")


@pytest.mark.parametrize(
    ("row", "log", "cause"),
    [
        (trained(State("failed", "x", "error"), cause="error", error="CUDA out of memory. Tried"), "", "GPU memory"),
        (trained(State("failed", "Slurm says FAILED of job 12", "error"), cause="running"),
         "slurmstepd-n2: error: StepId=3.batch exceeded memory limit (958922752 > 314572800), being killed", "host memory"),
        (trained(State("failed", "Slurm says NODE_FAIL of job 12", "node"), cause="running"), "", "node"),
        (trained(State("failed", "Slurm says OUT_OF_MEMORY of job 12", "memory"), cause="running"), "", "host memory"),
        (trained(State("failed", "its process ended without a word", "killed"), cause="running"), "", "killed"),
        (trained(State("stopped", "Slurm says TIMEOUT of job 12", "time limit"), cause="running"), "", "time limit"),
        (trained(State("diverged", "diverged at step 3"), cause="finished"), "", "diverged"),
        (trained(State("stalled", "Slurm says RUNNING of job 12, no sign of life for 2 h"), cause="running"), "", "stall"),
        (trained(State("failed", "Snakemake reports an error of its job", "error")), "", "unknown"),
    ],
)  # fmt: skip
def test_trainings_by_state_record_and_slurm_s_log(tmp_path: Path, row: Row, log: str, cause: str) -> None:
    write(tmp_path / "results/logs/slurm/rule_train/site_a_0/12.log", log)
    (found,) = find_failures(overview(tmp_path, row), tmp_path)
    assert found.verdict.cause == cause and found.verdict.line
    assert str(found.log) == "results/logs/slurm/rule_train/site_a_0/12.log"
    text = by_cause([found])
    assert text.startswith(f"{cause} (1): ") and found.verdict.line in text and "results/train/site/a/seed=0" in text


@pytest.mark.parametrize(("when", "cause"), [("2026-11-26T13:55:00 \n", "preempted"), ("N/A   \n", "cancelled")])
def test_a_preempted_job_is_cancelled_in_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, cause: str
) -> None:
    put(tmp_path / "bin", "squeue", says=when)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/bin:/nowhere")
    log = tmp_path / "results/logs/slurm/rule_train/site_a_0/12.log"
    write(log, "slurmstepd-gpu1: error: *** STEP 50.0 ON gpu1 CANCELLED AT 2026-11-26T13:55:19 ***")
    row = trained(State("failed", "Snakemake reports an error of its job", "error"), cause="running")
    known = replace(row, told=Job(id="12", state="RUNNING"))
    (found,) = find_failures(overview(tmp_path, known), tmp_path)
    assert found.verdict.cause == cause and "STEP 50.0" in found.verdict.line
    (tmp_path / "bin/squeue.asked").unlink()
    (found,) = find_failures(overview(tmp_path, row), tmp_path)
    assert found.verdict.cause == "cancelled" and not (tmp_path / "bin/squeue.asked").exists(), "nobody answered before"


def test_many_of_a_kind_are_counted(tmp_path: Path) -> None:
    rows = [trained(State("failed", "its process ended without a word", "killed"), cause="running")] * 11
    text = by_cause(find_failures(overview(tmp_path, *rows), tmp_path))
    assert "killed (11)" in text and "… and 3 more" in text and text.endswith("next: snakemake -c2")
    assert by_cause([]).startswith("No failure")
