"""A training on the throw-away Slurm, for tests that do something to it: the study, its driver, and what can be asked.

Not here: the cluster (cluster.py), failures that are done to trainings (injections.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from lib.files import read_json
from lib.runs.attempts import records
from tests.conftest import PROJECT
from tests.workflow.test_own_task import TARGET, Copy

if TYPE_CHECKING:
    from tests.slurm.injections import Kind

RESOURCES = {"tiny": (4000, 2), "small": (4000, 20), "nano": (900, 20)}
"""Model size → memory in MB and minutes here: a short limit, enough of all, too little memory."""
STEP = 50
"""The step at which most failures strike, of 400; the state is kept every 40."""
POLL_S = 5


def written(home: Path, partition: str, names: Sequence[str] = ("slurm", "slurm-requeue")) -> Path:
    """A private settings folder with profiles for one partition, written by the program that people use."""
    environment = os.environ | {"XDG_CONFIG_HOME": str(home), "PYTHONPATH": str(PROJECT)}
    for name in names:
        words = ["--name", name, "--partition", partition, "--cpu-partition", "cpu", "--poll-seconds", str(POLL_S)]
        command = [sys.executable, "-m", "workflow_scripts.slurm_profile", *words]
        subprocess.run(command, check=True, cwd=PROJECT, stdin=subprocess.DEVNULL, env=environment, capture_output=True)
    return home


def on_slurm(folder: Path, profiles: Path, cells: dict[str, str], pause_s: float) -> Copy:
    """The recipe's task with one variant per cell, each of whose batches takes so long without using the processor."""
    tree = Copy(folder)
    tree.how, tree.more = ["--profile", "slurm"], {"XDG_CONFIG_HOME": str(profiles), "VIPERSIGHT_DEVICE": "cpu"}
    tree.study["running"]["device"] = "auto"  # GPUs are asked for; those of the nodes are pretended ones
    tree.insert("lib/tasks/presence.py", "    import torch\n\n", f"    import time\n\n    time.sleep({pause_s})\n")
    sizes = "".join(
        f'SIZES["{size}"] = {{"threads": 1, "mem_mb": {memory}, "runtime": {minutes}}}\n'
        for size, (memory, minutes) in RESOURCES.items()
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


def wait_until(true: Callable[[], Any], what: str, limit_s: float = 300) -> None:
    until = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < until, f"waited {limit_s:g} s for {what}"
        time.sleep(0.2)


def has_step(tree: Copy, cell: str, step: int) -> bool:
    path = folder_of(tree, cell) / "state/history.csv"
    return path.exists() and any(line.startswith(f"{step},") for line in path.read_text().splitlines())


def node_of(job: str) -> str:
    return subprocess.run(["squeue", "-h", "-j", job, "-o", "%N"], capture_output=True, text=True).stdout.strip()


@dataclass
class Case:
    """One run under way. said: what `status --failed` called the failure; notes: what was seen, for the record;
    dead_nodes: to be started again."""

    kind: Kind
    tree: Copy
    retries: int
    driver: subprocess.Popen[bytes] | None = None
    said: str = ""
    notes: list[str] = field(default_factory=list)
    dead_nodes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.tree.cell

    @property
    def log(self) -> Path:
        return self.tree.folder / "driver.log"

    def type(self, *words: str) -> None:
        """Type the command, as at first or again."""
        command = self.tree.command("--retries", str(self.retries), *words, "--", TARGET)
        attentive = ["env", "--default-signal=INT"]  # what a script has put behind & is deaf to Ctrl-C, and so its children
        with open(self.log, "a") as log:
            self.driver = subprocess.Popen(
                [*attentive, *command],
                cwd=self.tree.folder,
                env=self.tree.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, limit_s: float = 600) -> int:
        """The driver's exit code; one that does not end is killed, and all that may say why is shown."""
        try:
            return self.driver.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            asked = (["squeue", "-a"], ["sinfo", "-N"])
            shown = [subprocess.run(words, capture_output=True, text=True).stdout for words in asked]
            raise AssertionError("\n".join(["the driver does not end", *shown, self.log.read_text()[-6000:]])) from None

    def interrupt(self) -> None:
        """Ctrl-C, for a driver that waits for what it cannot see."""
        os.killpg(self.driver.pid, signal.SIGINT)
        self.wait(180)

    def step(self, step: int = STEP) -> str:
        """Wait until the first attempt has come so far; the number of its job."""
        wait_until(lambda: has_step(self.tree, "shows", step), f"step {step} of {self.kind.name}")
        return records(self.folder)[0]["job"]

    def status(self, *words: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "workflow_scripts.status", "--configfile", "study.yaml", "--json", *words]
        done = subprocess.run(
            command, cwd=self.tree.folder, env=self.tree.environment(), capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def classified(self) -> str:
        """The cause that `status --failed` names for the training, kept in `said`."""
        failures = self.status("--only", "shows", "--failed")["failures"]
        cause, line = next(((one["cause"], one["line"]) for one in failures if one["stage"] == "train"), ("none", ""))
        self.said = cause
        self.notes += [line]
        return cause

    def program(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *words], cwd=self.tree.folder, env=self.tree.environment(), capture_output=True,
            text=True, timeout=900,
        )  # fmt: skip

    def trainer(self) -> psutil.Process:
        """The process that trains (inside of its job)."""
        return psutil.Process(int(read_json(self.folder / "owner.json")["pid"]))
