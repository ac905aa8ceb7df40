"""Savers that are killed at random moments: kill -9, look, start again, many times. Prints the counts as JSON.

python -m tests.faults.killed_saves ours|lightning FOLDER --kills 200 --megabytes 24

A process that has imported everything forks the saver, so that a kill costs the time of a save and not of a start. The
saver saves without pause, each state holding its step in every number, and says which steps were saved to the end. TMPDIR
says where temporary files go that are not made beside the state (Lightning's).
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, Protocol

import torch

FINGERPRINT = "killed"
_PARTS = 6
"""tensors that a state has, of sizes from a number to most of it"""


class Saver(Protocol):
    """One way to keep a state in a folder."""

    def save_on(self, first: int, done: Callable[[int], None]) -> None:
        """Save the states of steps `first`, `first` + 1, … for ever; done(step): that step's save is over."""

    def start(self) -> tuple[int | None, list[str]]:
        """What a new process finds: (step of the whole state, None when unreadable, names of files that are no state)."""

    def traces(self) -> bool:
        """Whether a save was under way when the process was killed, as far as the folder shows."""


def tensors(size: int) -> dict[str, torch.Tensor]:
    """Float tensors of about `size` bytes in all."""
    return {f"w{part}": torch.zeros(max(1, size // 4 >> part)) for part in range(1, _PARTS)} | {"one": torch.zeros(())}


def step_of(values: dict[str, torch.Tensor]) -> int | None:
    """The step that all numbers agree on, None when they do not."""
    found = {float(one.min()) for one in values.values()} | {float(one.max()) for one in values.values()}
    return int(found.pop()) if len(found) == 1 else None


class Ours:
    """CheckpointStore, writing behind."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.values = folder, tensors(size)

    def _store(self) -> Any:
        from lib.training.checkpoint import CheckpointStore

        return CheckpointStore(self.folder, fingerprint=FINGERPRINT, keep_last=2, best={"score": "max"})

    def save_on(self, first: int, done: Callable[[int], None]) -> None:
        with self._store() as store:
            for step in range(first, sys.maxsize):
                for one in self.values.values():
                    one.fill_(step)
                store.save({"model": self.values, "step": step}, step=step, scores={"score": float(step % 5)})
                if step > first:
                    done(step - 1)  # the save has waited for the one before

    def traces(self) -> bool:
        names = [Path(name) for name in os.listdir(self.folder)]
        data, records = ({name.stem for name in names if name.suffix == kind} for kind in (".safetensors", ".json"))
        return data != records or len(data) > 3 or any(name.name.startswith(".") for name in names)

    def start(self) -> tuple[int | None, list[str]]:
        told = io.StringIO()
        with redirect_stderr(told):
            store = self._store()
            state = store.load()
        if state is None or "WARNING" in told.getvalue():
            return None, []
        names = {path.name for path in self.folder.iterdir()}
        data = {name for name in names if name.endswith(".safetensors") and not name.startswith(".")}
        pairs = data | {name.replace(".safetensors", ".json") for name in data}
        step = step_of(state["model"])
        return step if step == state["step"] else None, sorted(names ^ pairs)


class Lightnings:
    """`Trainer.save_checkpoint` to last.ckpt, as ModelCheckpoint(save_last=True) calls it."""

    def __init__(self, folder: Path, size: int) -> None:
        from pytorch_lightning import LightningModule, Trainer
        from torch.utils.data import DataLoader

        logging.disable(logging.WARNING)
        warnings.filterwarnings("ignore")

        class Module(LightningModule):
            """Weights and no training to speak of."""

            def __init__(self) -> None:
                super().__init__()
                for name, one in tensors(size).items():
                    self.register_buffer(name, one)
                self.layer = torch.nn.Linear(1, 1)

            def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
                return self.layer(batch).sum()

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.SGD(self.layer.parameters(), 0.1)

        self.path, self.module = folder / "last.ckpt", Module()
        options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        self.trainer = Trainer(max_steps=1, accelerator="cpu", enable_checkpointing=False, **options)
        self.trainer.fit(self.module, DataLoader(torch.ones(2, 1)))
        folder.mkdir(parents=True, exist_ok=True)

    def save_on(self, first: int, done: Callable[[int], None]) -> None:
        for step in range(first, sys.maxsize):
            for _, one in self.module.named_buffers():
                one.fill_(step)
            self.trainer.save_checkpoint(self.path, False)
            done(step)

    def traces(self) -> bool:
        places = (self.path.parent, Path(tempfile.gettempdir()))
        return any(path != self.path and path.is_file() for place in places for path in place.iterdir())

    def start(self) -> tuple[int | None, list[str]]:
        others = sorted(path.name for path in self.path.parent.iterdir() if path != self.path)
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=False)["state_dict"]
        except Exception:  # whatever a half file makes torch raise: it cannot be read
            return None, others
        return step_of({name: one for name, one in found.items() if not name.startswith("layer.")}), others


SAVERS: dict[str, Callable[[Path, int], Saver]] = {"ours": Ours, "lightning": Lightnings}


def run(saver: Saver, kills: int, seed: int) -> Counter[str]:
    """Kill the saver so many times. Counts: kills, half-done (those that left traces), unreadable, lost (an older state is
    found than one that had been saved to the end), strays (files left after the next start).
    """
    draw, counts = random.Random(seed), Counter({"kills": 0, "half-done": 0, "unreadable": 0, "lost": 0, "strays": 0})
    first, span, known = 1, 0.0, 0
    for trial in range(kills):
        began = time.monotonic()
        saved = _killed(saver, first, draw.uniform(0, span) if trial else None)
        if trial == 0:  # the first one tells how long a save takes
            span = 2.5 * (time.monotonic() - began) / 3
        counts["kills"] += 1
        counts["half-done"] += saver.traces()
        step, strays = saver.start()
        elsewhere = [path for path in Path(tempfile.gettempdir()).iterdir() if path.is_file()]
        counts["strays"] += len(strays) + len(elsewhere)
        for path in elsewhere:  # the next ones need the room
            path.unlink()
        known = max(known, saved)
        counts["unreadable"] += step is None
        counts["lost"] += step is not None and step < known
        first = max(step or 0, known) + 1
    return counts


def _killed(saver: Saver, first: int, wait: float | None) -> int:
    """Fork a saver, kill it so many seconds after it began (None: after three saves); the last step it said was saved."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(writing, b"begun\n")
            saver.save_on(first, lambda step: os.write(writing, b"%d\n" % step) and None)
        except BaseException as error:
            print(f"the saver failed: {error!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        lines = [told.readline()]
        if wait is None:
            lines += [told.readline() for _ in range(3)]
        else:
            time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        lines += told.readlines()
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise RuntimeError("the saver ended by itself")
    return max((int(line) for line in lines[1:] if line.strip()), default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=SAVERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--megabytes", type=float, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the counts there too")
    given = parser.parse_args()
    torch.set_num_threads(1)  # a forked process has no other threads
    counts = run(SAVERS[given.side](given.folder, int(given.megabytes * 1e6)), given.kills, given.seed)
    print(json.dumps(counts))
    if given.json:
        given.json.write_text(json.dumps(counts), encoding="utf-8")


if __name__ == "__main__":
    main()
