"""`plan` on the tiny study. References: Snakemake's own dry run, the study's records, the words of the Slurm plugin."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.pricing.dag import NOT_A_RUN
from tests.benchmarks.plan import make
from tests.conftest import PROJECT
from tests.workflow.conftest import Tree

MORE = "seeds=[0, 1]"
"""A second seed: trainings, predictions, scores and boards more, on data that stand."""
PROFILE = """\
executor: slurm
jobs: 7
resources:
  gpu: 2
slurm-no-requeue: true
slurm-logdir: results/logs/slurm
default-resources:
  slurm_account: lab
  slurm_partition: cpu
  mem_mb: 2000
  runtime: 60
  slurm_extra: "'--mail-type=FAIL'"
set-resources:
  train:
    slurm_partition: gpu-long
    gpu_model: h100
    constraint: hopper
"""


def run(*words: str | Path, code: int = 0, timeout: int = 300) -> subprocess.CompletedProcess[str]:
    """`python -m workflow_scripts.plan WORDS`, which must end with this code and without a traceback."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")}
    command = [sys.executable, "-m", "workflow_scripts.plan", *map(str, words)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=environment | {"PYTHONPATH": str(PROJECT)},
        timeout=timeout,
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    assert "Traceback (most recent" not in done.stderr
    return done


def words_of(tree: Tree, *words: str) -> list[str]:
    """What stands behind `--` for this tree's study."""
    tree.settings.write_text(tree.comment + yaml.safe_dump(tree.study, sort_keys=False))
    return ["--directory", str(tree.folder), "--configfile", str(tree.settings), *words]


def planned(tree: Tree, *words: str, ours: tuple[str, ...] = ()) -> dict[str, Any]:
    return json.loads(run("--json", *ours, "--", *words_of(tree, *words)).stdout)


def counted(tree: Tree, *words: str) -> Counter[str]:
    """Jobs per rule as Snakemake counts them."""
    done = tree.snakemake("--dry-run", "--quiet", "rules", *words)
    rows = re.findall(r"^(\w+) +(\d+)$", (done.stdout + done.stderr).partition("\ntotal")[0], re.MULTILINE)
    return Counter({rule: int(number) for rule, number in rows})


@pytest.mark.slow
def test_jobs_and_reasons_are_snakemakes(tree: Tree) -> None:
    """Finished, edited, forced, one file, something lost: the same jobs as `snakemake --dry-run`, each time."""
    for words in (
        (),
        ("--config", f"set={MORE}"),
        ("--forcerun", "evaluate"),
        ("--config", "set=training.lr0=0.003", "--", "results/train/site/full/seed=0/model.json"),
        ("--", "models"),
    ):
        found = planned(tree, *words)
        assert Counter(job["rule"] for job in found["plan"]) == counted(tree, *words), words
    (tree.folder / "results/metrics/site/less/seed=0/tta=none.json").unlink()
    found = planned(tree)
    assert Counter(job["rule"] for job in found["plan"]) == counted(tree)
    (lost,) = (job for job in found["plan"] if job["rule"] == "evaluate")
    assert "Missing output files: results/metrics/site/less/seed=0/tta=none.json" in lost["reason"]
    assert lost["again"] is True  # its meta.json stands still


@pytest.mark.slow
def test_what_is_finished_costs_nothing(tree: Tree) -> None:
    done = run("--budget", "1min", "--", *words_of(tree))
    assert "Nothing to be done" in done.stdout and "kept" in done.stdout
    assert planned(tree)["total"]["gpu_hours"] == {"low": 0.0, "median": 0.0, "high": 0.0}


@pytest.mark.slow
def test_a_second_seed_is_priced_from_the_first(tree: Tree) -> None:
    found = planned(tree, "--config", f"set={MORE}", ours=("--gpus", "1", "--cores", "4"))
    records = [json.loads(path.read_text())["seconds"] for path in tree.folder.glob("results/train/*/*/seed=0/model.json")]
    longest = max(records)
    trainings = [job for job in found["plan"] if job["rule"] == "train" and job["wildcards"]["variant"] in ("full", "less")]
    assert len(trainings) == 2
    for job in trainings:
        assert job["records"] == 3 and job["gpus"] == 1 and job["again"] is False
        assert job["seconds"]["low"] < job["seconds"]["median"] < job["seconds"]["high"]
        assert longest / 4 < job["seconds"]["median"] < 2 * longest
    chance = [job for job in found["plan"] if job["rule"] == "train" and job["wildcards"]["variant"] == "chance"]
    assert [job["seconds"] for job in chance] == [None]
    assert "1 record of train detection chance, 3 are needed" in chance[0]["unknown"]
    total = found["total"]
    assert total["unknown"] == sum(job["seconds"] is None for job in found["plan"]) > 0
    gpu = sum(job["gpus"] * job["seconds"]["median"] for job in found["plan"] if job["seconds"]) / 3600
    assert total["gpu_hours"]["median"] == pytest.approx(gpu, rel=0.25)
    assert total["critical_path_s"]["median"] <= total["makespan_s"]["median"] <= total["seconds"]["median"] * 1.01
    assert found["limits"] == {"gpus": 1, "cores": 4, "jobs": None}


@pytest.mark.slow
def test_budgets_and_the_table(tree: Tree) -> None:
    """Trainings of two variants alone: all with GPUs is known. With the whole study some of it is not."""
    more = words_of(tree, "--config", f"set={MORE}", "--")
    cards = [f"results/train/site/{variant}/seed=1/model.json" for variant in ("full", "less")]
    kept = run("--budget", "2d", "--", *more, *cards).stdout
    assert "budget 48 GPU-h: kept" in kept
    assert max(map(len, kept.splitlines())) <= 100
    row = next(line for line in kept.splitlines() if line.startswith("train "))
    assert re.fullmatch(r"train +2 +\S+ (s|min) \(\S+–\S+\) +\S+ \(\S+–\S+\) +\S+ +\S+ MB +3", row.rstrip()), row
    assert "exceeded" in run("--budget", "0.01min", "--", *more, *cards, code=5).stdout
    whole = run("--budget", "2d", "--", *more[:-1], code=6).stdout
    assert "cannot be told" in whole and "≥" in whole and "GPU-hours      at least" in whole
    assert "exceeded" in run("--budget", "0.01min", "--", *more[:-1], code=5).stdout
    report = json.loads(run("--json", "--budget", "0.01min", "--", *more, *cards, code=5).stdout)
    assert report["budget"]["exit"] == 5 and report["budget"]["gpu_hours"] == pytest.approx(0.01 / 60)


@pytest.mark.slow
def test_a_broken_record_is_named_and_never_counted(tree: Tree) -> None:
    broken = tree.folder / "results/benchmarks/train/site/full/seed=0.tsv"
    broken.write_text("s\th:m:s\n1e999\t?\n")
    found = planned(tree, "--config", f"set={MORE}")
    assert found["left_out"] == [
        {"path": str(broken.resolve()), "why": "column 's' is '1e999', not a number of at least 0"}
    ]
    full = next(job for job in found["plan"] if job["rule"] == "train" and job["wildcards"]["variant"] == "full")
    assert full["seconds"] is None and full["unknown"].startswith("2 records of train detection nano")
    assert f"left out: {broken.resolve()}: column 's'" in run("--", *words_of(tree, "--config", f"set={MORE}")).stdout


@pytest.mark.slow
def test_nothing_is_known_without_records(fresh) -> None:
    """And nothing is said to be nothing."""
    tree = fresh({})
    text = run("--budget", "40h", "--", *words_of(tree), code=6).stdout
    for line in ("GPU-hours", "CPU-hours", "critical path", "makespan", "disk"):
        assert re.search(rf"^{line} +unknown", text, re.MULTILINE), line
    assert "unknown" in next(line for line in text.splitlines() if line.startswith("train "))
    found = planned(tree)
    assert found["total"]["unknown"] == found["jobs"] - 1 and found["total"]["gpu_hours"] is None
    assert Counter(job["rule"] for job in found["plan"]) == counted(tree)


@pytest.mark.slow
def test_lines_for_slurm_are_the_plugins(fresh, tmp_path: Path) -> None:
    tree = fresh({})
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile/config.yaml").write_text(PROFILE)
    words = words_of(tree, "--profile", str(tmp_path / "profile"))
    lines = run("--sbatch", "--", *words).stdout.splitlines()
    train = next(line for line in lines if "rule_train" in line)
    assert train.startswith("sbatch --parsable --job-name RUN-ID --output ") and "results/logs/slurm/rule_train/" in train
    for option in ("-A lab", "-p gpu-long", "-t 60", "-C hopper", "--mem 4000", "--no-requeue", "--cpus-per-task=1"):
        assert f" {option} " in train, option
    assert train.endswith(f' --mail-type=FAIL -D {tree.folder} --gpus=h100:1 --wrap="…"')
    assert "--ntasks=1" not in train  # the plugin leaves it out with GPUs
    track = next(line for line in lines if "rule_track" in line)
    assert " -p cpu " in track and " -t 120 " in track and "--ntasks=1" in track and "gpu" not in track.split(" -p ")[1]
    assert "# train   the first of 7 jobs alike" in lines
    each = run("--sbatch=job", "--", *words).stdout.splitlines()
    counts = counted(tree)
    submitted = Counter(line.removeprefix("# ") for line in each if re.fullmatch(r"# \w+", line))
    here = {"all", "download", "weights", "subsample", "compare_arms", "leaderboard", "evaluate", "evaluate_tracks"}
    drawn = {"plot_curves", "plot_arms", "summarise"}
    assert submitted == {rule: number for rule, number in counts.items() if rule not in {*here, *drawn}}
    assert each[-1].startswith(f"# {submitted.total()} jobs are submitted; ")
    for ours, jobs in (((), 7), (("--jobs", "9"), 9)):
        limits = json.loads(run("--json", *ours, "--", *words).stdout)["limits"]
        assert limits == {"gpus": 2, "cores": os.cpu_count(), "jobs": jobs}


def test_what_slurm_would_not_take_is_refused(fresh) -> None:
    words = words_of(fresh({}), "--default-resources", "slurm_extra='--gres=gpu:1'")
    assert "(GRES) option is not allowed" in run("--sbatch", "--", *words, code=2).stderr


@pytest.mark.slow
def test_wrong_words_are_refused_in_one_line(fresh, tmp_path: Path) -> None:
    tree = fresh({})
    words = words_of(tree)
    assert "--budget: '40 weeks'" in run("--budget", "40 weeks", "--", *words, code=2).stderr
    assert "nosuch" in run("--", *words, "--", "nosuch", code=2).stderr
    assert (
        "unknown variant 'nosuch'" in run("--", *words, "--", "results/train/site/nosuch/seed=0/model.json", code=2).stderr
    )
    assert "unrecognized arguments: --nosuch" in run("--", *words, "--nosuch", code=2).stderr
    assert "nowhere is no folder" in run("--records", "nowhere", "--", *words, code=2).stderr
    assert "--gpus" in run("--gpus", "0", "--", *words, code=2).stderr
    assert "training.nosuch" in run("--", *words, "--config", "set=training.nosuch=3", code=2).stderr
    tree.settings.write_text("study: [")
    assert "not valid JSON or YAML" in run("--", "--directory", tree.folder, "--configfile", tree.settings, code=2).stderr


@pytest.mark.parametrize("option", ["--delete-all-output", "--unlock", "--touch", "--cleanup-metadata", "--lint"])
def test_what_is_no_run_is_refused_and_not_done(fresh, option: str) -> None:
    tree = fresh({})
    kept = tree.folder / "results/videos/site/manifest.parquet"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    before = kept.stat().st_mtime_ns
    more = ["results/videos/site/manifest.parquet"] if option == "--cleanup-metadata" else []
    assert f"{option}: asks for something else" in run("--", *words_of(tree), option, *more, code=2).stderr
    assert kept.read_text() == "mine" and kept.stat().st_mtime_ns == before


def test_every_option_that_is_no_run_is_one_of_snakemakes() -> None:
    from snakemake.cli import get_argument_parser

    known = {action.dest for action in get_argument_parser()._actions}
    assert set(NOT_A_RUN) <= known


def test_it_never_loads_torch(fresh) -> None:
    code = """
import sys
from workflow_scripts import plan
try:
    plan.main()
except SystemExit as left:
    assert not left.code, left.code
assert not {"torch", "torchvision", "ultralytics", "boxmot"} & set(sys.modules)
"""
    words = [sys.executable, "-c", code, "--", *words_of(fresh({}))]
    done = subprocess.run(words, capture_output=True, text=True, cwd=PROJECT, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_ten_thousand_videos(tmp_path: Path) -> None:
    """1,559 jobs; meant to take some 5 s, well under 20 s."""
    make(tmp_path, 10_000, 200)
    done = run("--gpus", "8", "--", "--directory", tmp_path, "--configfile", tmp_path / "study.yaml", timeout=60)
    assert re.search(r"jobs +1559 ", done.stdout)
    assert "make its manifest.parquet first" in " ".join(done.stdout.split())
