"""The trainings of a tuning: one Snakemake call for a batch of members, and what came of each. Not here: which members.

What is asked for is `model.json` of each member, nothing else: its `best` holds the scores on val of the checkpoint that
the training kept. So no job of a tuning predicts or scores, and none reads a test video.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from lib.files import DataError, read_json
from lib.runs import running
from lib.tuning.question import Member, Question, new_text

PROJECT = Path(__file__).resolve().parents[2]
MARK = "VIPERSIGHT_TUNING"
"""Environment variable of all processes that work for a tuning: its folder."""
_GRACE_S = 20.0
_ENDED_FROM_OUTSIDE = ("preempted", "cancelled")
"""Causes that are no matter of a trial's settings: it goes on when it is asked for again."""
_CAUSES = {"running": "killed before it could say why; out of memory?"}


@dataclass(frozen=True)
class Outcome:
    """What came of a member over all its seeds: finished or diverged (then with the score), or failed (with the cause)."""

    status: str  # "finished", "diverged …" or "failed"
    score: float | None
    seconds: float
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """How the trainings of one tuning are run: `make` trains a batch and tells what came of it."""

    question: Question
    known: frozenset[str]  # variants that the study has without us
    configfiles: Sequence[Path]
    texts: Sequence[str]  # `set=…` and `new=…` as typed
    cores: int
    words: Sequence[str]  # more words for snakemake
    folder: Path  # the working directory of the run
    logs: Path
    mark: str  # that all processes of this tuning carry

    def command(self, members: Iterable[Member]) -> list[str]:
        """The words behind `snakemake` for the cards of these members."""
        members = list({one.name: one for one in members}.values())
        new = [one for one in members if one.name not in self.known]
        texts = [*self.texts, *([f"new={new_text(self.question.variant, new)}"] if new else [])]
        words = ["-c", str(self.cores), "--snakefile", str(PROJECT / "Snakefile"), "--directory", str(self.folder)]
        words += ["--configfile", *map(str, self.configfiles)] if self.configfiles else []
        words += [*self.words, "--keep-going"]
        words += ["--config", *texts] if texts else []
        return [*words, "--", *(card for one in members for card in self.question.cards(one.name))]

    def make(self, members: Sequence[Member], number: int) -> dict[str, Outcome]:
        """Train what is not trained yet; by name what came of each member.

        number: of this batch, for its log. Raises DataError when Snakemake could not even begin, when not one member got as
        far as its training, or when one was ended from outside: that is no matter of their settings.
        """
        log = self.logs / f"{number}.log"
        done = self._snakemake(self.command(members), log)
        unmade = self._planned(members, log) if done else set()
        found = {one.name: self._outcome(one.name, unmade) for one in members}
        ended = next((name for name, one in found.items() if one.cause.startswith(_ENDED_FROM_OUTSIDE)), None)
        if ended is not None:
            raise DataError(f"{ended}: its training was {found[ended].cause}\nHint: the same command goes on.")
        if unmade and all(one.status == "failed" and not one.cause for one in found.values()):
            raise DataError(f"no trial got as far as its training: {_last_words(log)}\nHint: the whole log is {log}")
        no_cause = f"a job before the training failed; see {log}"
        return {name: one if one.cause or one.score is not None else _failed(no_cause) for name, one in found.items()}

    def _planned(self, members: Sequence[Member], log: Path) -> set[str]:
        """Cards that Snakemake would still make after a run in which something failed."""
        done = subprocess.run(
            self._program(["--dry-run", "--printshellcmds", *self.command(members)]),
            capture_output=True,
            text=True,
            env=self._environment(),
            check=False,
        )
        if done.returncode:
            raise DataError(f"snakemake stopped before any training: {_last_words(log)}\nHint: the whole log is {log}")
        return set(re.findall(r" --output (\S+)", done.stdout + done.stderr))

    def _outcome(self, name: str, unmade: set[str]) -> Outcome:
        """The mean of the seeds; diverged as soon as one of them did, failed as soon as one did."""
        cards = self.question.cards(name)
        missing = [self.folder / card for card in cards if card in unmade or not (self.folder / card).is_file()]
        if missing:
            causes = [_cause(card.parent) for card in missing]
            return _failed(next(filter(None, causes), ""))
        made = [read_json(self.folder / card) for card in cards]
        seconds = sum(card["seconds"] for card in made)
        diverged = next((card["status"] for card in made if card["status"] != "finished"), None)
        if diverged is not None:
            return Outcome(diverged, self.question.worst, seconds)
        scores = [float(card["best"].get(self.question.metric, math.nan)) for card in made]  # our loop keeps no NaN
        if not all(map(math.isfinite, scores)):
            return Outcome(f"diverged: {self.question.scored_by} is no number", self.question.worst, seconds)
        return Outcome("finished", sum(scores) / len(scores), seconds)

    def _snakemake(self, words: list[str], log: Path) -> int:
        """Run it with its words in a log; what interrupts this process ends the run too."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w", encoding="utf-8") as file:
            print("snakemake", *words, file=file, flush=True)
            try:
                command, environment = self._program(words), self._environment()
                return subprocess.run(
                    command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False
                ).returncode
            except BaseException:
                end_leftovers(self.mark)
                raise

    def _program(self, words: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "snakemake", *words]

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key != running.TOKEN}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
        return kept | {"PATH": path, MARK: self.mark}


def end_leftovers(mark: str) -> None:
    """End every process of this host that carries the mark, but this one: asked first, killed after a grace."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # ended meanwhile, or someone else's
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                process.terminate()
                found.append(process)
    _, left = psutil.wait_procs(found, timeout=_GRACE_S)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=_GRACE_S)


def _failed(cause: str) -> Outcome:
    return Outcome("failed", None, 0.0, cause)


def _cause(folder: Path) -> str:
    """Why the last attempt of a training ended, "" when there was none."""
    attempts = sorted((folder / "attempts").glob("*.json"), key=lambda path: int(path.stem))
    if not attempts:
        return ""
    last = read_json(attempts[-1])
    if last["cause"] == "finished":
        return ""  # of an earlier making: this time it did not come to an attempt
    said = last.get("error") or _CAUSES.get(last["cause"], "")
    return f"{last['cause']}: {' '.join(said.split())}".rstrip(": ")


def _last_words(log: Path) -> str:
    """What Snakemake said last, without empty lines."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-12:])
