"""Real failures on a real Slurm, side by side in one run: every training ends right, and none is trained twice."""

from __future__ import annotations

import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from lib.files import read_json
from lib.runs import slurm
from lib.runs.attempts import records
from tests.lib.training.toy import equal
from tests.slurm import cluster
from tests.workflow.test_own_task import Copy

pytestmark = pytest.mark.slow

CELLS = {"limit": "tiny", "cancel": "small", "node": "small", "memory": "nano"}
"""What is done to each training, as its name says, and the size that gives it its resources here."""


def on_slurm(folder: Path, profiles: Path, cells: dict[str, str], pause_s: float) -> Copy:
    """The README's task with one variant per cell, whose steps take so long without using the processor."""
    tree = Copy(folder)
    tree.how, tree.more = ["--profile", "slurm"], {"XDG_CONFIG_HOME": str(profiles), "VIPERSIGHT_DEVICE": "cpu"}
    tree.study["running"]["device"] = "auto"  # GPUs are asked for; those of the nodes are pretended ones
    tree.insert("lib/tasks/presence.py", "    import torch\n\n", f"    import time\n\n    time.sleep({pause_s})\n")
    sizes = "".join(
        f'SIZES["{size}"] = {{"threads": 1, "mem_mb": {memory}, "runtime": {minutes}}}\n'
        for size, (memory, minutes) in {"tiny": (4000, 2), "small": (4000, 20), "nano": (900, 20)}.items()
    )
    (tree.folder / "rules/resources.smk").write_text((tree.folder / "rules/resources.smk").read_text() + "\n\n" + sizes)
    shows = tree.study["variants"].pop("shows")
    tree.study["variants"] |= {name: shows | {"size": size} for name, size in cells.items()}
    tree.study["boards"]["presence"]["variants"] = [*cells, "usual"]
    return tree


def folder_of(tree: Copy, cell: str) -> Path:
    return tree.folder / f"results/train/site/{cell}/seed=0"


def model(cell: str) -> str:
    return f"results/train/site/{cell}/seed=0/model.json"


def wait_until(true: Any, what: str, limit_s: float = 240) -> None:
    until = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < until, f"waited {limit_s:g} s for {what}"
        time.sleep(0.2)


def has_step(tree: Copy, cell: str, step: int) -> bool:
    path = folder_of(tree, cell) / "state/history.csv"
    return path.exists() and any(line.startswith(f"{step},") for line in path.read_text().splitlines())


def node_of(job: str) -> str:
    return subprocess.run(["squeue", "-h", "-j", job, "-o", "%N"], capture_output=True, text=True).stdout.strip()


def ended(driver: subprocess.Popen[bytes], log: Path, limit_s: float) -> str:
    """What a driver said until its end. One that does not end is killed, and all that may say why is shown."""
    try:
        driver.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        driver.kill()
        shown = [
            subprocess.run(words, capture_output=True, text=True).stdout for words in (["squeue", "-a"], ["sinfo", "-N"])
        ]
        pytest.fail("\n".join(["the driver does not end", *shown, log.read_text()[-6000:]]), pytrace=False)
    return log.read_text()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The weights of a training on this machine that nothing interrupts."""
    tree = Copy(tmp_path_factory.mktemp("local") / "project")
    tree.run("--", model("shows"))
    return load_file(tree.cell / "model.weights")


def test_failures_side_by_side(fragile: Path, reference: dict[str, Any], tmp_path: Path) -> None:
    tree = on_slurm(tmp_path / "project", fragile, CELLS, pause_s=0.1)
    with open(tmp_path / "driver.log", "w") as log:
        driver = subprocess.Popen(
            tree.command("--", *map(model, CELLS)), cwd=tree.folder, env=tree.environment(), stdout=log, stderr=log
        )
    for cell in ("limit", "cancel", "node"):
        wait_until(lambda cell=cell: has_step(tree, cell, 50), f"step 50 of {cell}")
    jobs = {cell: records(folder_of(tree, cell))[0]["job"] for cell in ("limit", "cancel", "node")}
    subprocess.run(["scancel", jobs["cancel"]], check=True)
    wait_until(lambda: slurm.jobs([jobs["cancel"]])[jobs["cancel"]].state == "CANCELLED", "the cancelled job's end")
    lost = node_of(jobs["node"])
    cluster.kill_node(lost)
    cluster.kill("slurmctld")
    time.sleep(3)
    cluster.start_controller()
    try:
        said = ended(driver, tmp_path / "driver.log", limit_s=900)
    finally:
        cluster.start_node(lost)
    assert driver.returncode == 1, said[-3000:]

    for cell in ("limit", "node", "memory"):
        assert equal(load_file(folder_of(tree, cell) / "model.weights"), reference), (
            f"{cell} ends as if nothing had happened"
        )
        assert read_json(folder_of(tree, cell) / "model.json")["attempts"] >= 2, cell
    assert not (folder_of(tree, "cancel") / "model.json").exists()
    assert "somebody cancelled job" in (tree.folder / "results/logs/train/site/cancel/seed=0.log").read_text()
    assert read_json(folder_of(tree, "limit") / "attempts/1.json")["cause"] == "preempted"
    for cell in CELLS:
        tries = records(folder_of(tree, cell))
        assert all(before["end"] <= after["start"] for before, after in pairwise(tries)), f"{cell}: twice"

    tree.run("--", model("cancel"))
    assert equal(load_file(folder_of(tree, "cancel") / "model.weights"), reference), "typed again, it goes on"


def test_preempted_by_a_more_urgent_job(profiles: Path, reference: dict[str, Any], tmp_path: Path) -> None:
    """It saves within the grace time and leaves; Slurm, or else Snakemake, puts it back; it goes on at the exact step."""
    tree = on_slurm(tmp_path / "project", profiles, {"shows": "small"}, pause_s=0.05)
    tree.how = ["--profile", "slurm-requeue"]
    with open(tmp_path / "driver.log", "w") as log:
        driver = subprocess.Popen(
            tree.command("--", model("shows")), cwd=tree.folder, env=tree.environment(), stdout=log, stderr=log
        )
    wait_until(lambda: has_step(tree, "shows", 50), "step 50")
    job = records(tree.cell)[0]["job"]
    urgent = ["sbatch", "--partition=urgent", f"--nodelist={node_of(job)}", "--exclusive", "--time=1", "--output=/dev/null"]
    subprocess.run([*urgent, "--wrap=sleep 3"], check=True, capture_output=True)
    said = ended(driver, tmp_path / "driver.log", limit_s=600)
    assert driver.returncode == 0, said[-3000:]
    first, *_, last = records(tree.cell)
    assert first["cause"] == "preempted" and last["cause"] == "finished" and first["job"] == job
    assert read_json(tree.cell / "model.json")["resumed_from_step"] >= 50
    assert equal(load_file(tree.cell / "model.weights"), reference)
