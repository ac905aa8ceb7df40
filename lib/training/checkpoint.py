"""The states of a training on disk: whole or absent, verified when read, the last few and the best kept. Not here: the
file of one state (state_file.py), the thread (write_behind.py), weights alone (models/weights.py).

A state is two files: `000007-step=1200-1a2b3c4d.safetensors` (the 7th saved here; the last part tells fingerprints apart)
and, written after it, a record of the same name with .json. Data without a record were never committed. A kill at any
moment leaves every committed state.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from lib.config.base import ConfigError, nearest
from lib.files import WRITING, DataError, disk_errors, fsync_folder, sha256_text
from lib.models.weights import put_weights, refuse_other_architecture
from lib.training.state_file import flatten, read_state, write_state
from lib.training.state_record import FORMAT, Damaged, Record, read_record, verify, write_record
from lib.training.write_behind import Copies, WriteBehind

_NAME = re.compile(r"(?P<serial>\d{6,})-step=(?P<step>\d+)-(?P<owner>[0-9a-f]{8})\.(safetensors|json)")


class CheckpointStore:
    """The states of one training in one folder. Writes are for one process; others may read (`readonly`).

    fingerprint: states of another one are neither read nor removed. keep_last: so many newest states are kept (1 or more;
    more = further back after damage, more disk). best: score → "min" or "max"; the best state by each is kept too. A NaN is
    never best, of equal scores the older one is. write_behind: `save` returns when it has copied the tensors (which takes
    their size of CPU memory) and a thread writes. readonly: sees what stood when it was opened, removes and saves nothing.

    The folder takes the kept states and, while one is written, one more. Raises DataError when the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fingerprint: str,
        keep_last: int = 2,
        best: Mapping[str, Literal["min", "max"]] | None = None,
        write_behind: bool = True,
        readonly: bool = False,
    ) -> None:
        if keep_last < 1:
            raise ConfigError(f"keep_last: {keep_last} must be at least 1, else no training can go on after a kill.")
        for metric, way in (best or {}).items():
            if way not in ("min", "max"):
                raise ConfigError(f"best.{metric}: {way!r} must be 'min' or 'max'. {nearest(str(way), ('min', 'max'))}")
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        self.best = dict(best or {})
        self._keep_last = keep_last
        self._readonly = readonly
        self._copies = Copies() if write_behind else None
        self._writing = WriteBehind()
        self._records: list[Record] = []  # ours and good as far as known, by serial
        self._others: list[Record] = []
        self._damaged: dict[Path, str] = {}  # record or data → what is wrong, not told yet
        self._spoilt: list[Path] = []  # records of ours that cannot be read: removed when the next state stands
        with disk_errors(self.folder / "state"):
            if not readonly:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._clean()
            self._serial = self._scan()

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- writing ----------------------------------------------------------------------------------------------------------

    def save(self, state: Mapping[str, Any], *, step: int, scores: Mapping[str, float] | None = None) -> None:
        """Keep a state as it is now; what the caller does to its tensors afterwards does not matter.

        state: nested dicts, lists and tuples of tensors (any device), numbers, texts, bytes, None, arrays of numpy. Waits
        for the save before and raises what that failed with. TypeError for a value that cannot be stored, DataError when
        the disk refuses (here without write behind, else at the next call); the older states stand then.
        """
        if self._readonly:
            raise ConfigError(f"{self.folder}: opened to read only. Hint: only the process of rank 0 saves.")
        self.wait()
        step = int(step)  # counts of numpy are no JSON
        structure, tensors = flatten(state)
        model = state.get("model")
        shapes = _shapes(model) if isinstance(model, Mapping) else None
        told = {name: float(score) for name, score in (scores or {}).items()}
        if self._copies is None:
            self._commit(structure, tensors, step, told, shapes)
            return
        copies = self._copies.take(tensors)
        self._writing.start(lambda: self._commit(structure, copies, step, told, shapes))

    def wait(self) -> None:
        """Until the last save is on disk. Raises what it failed with, once."""
        self._writing.wait()

    def close(self) -> None:
        """`wait`, then give the memory of the copies back. Also at the end of a `with` block."""
        try:
            self.wait()
        finally:
            if self._copies is not None:
                self._copies.drop()

    def _commit(
        self,
        structure: Any,
        tensors: Mapping[str, torch.Tensor],
        step: int,
        scores: dict[str, float],
        shapes: dict[str, list[int]] | None,
    ) -> None:
        """Data, then the record that makes it count, then the old ones go."""
        self._serial += 1
        path = self.folder / f"{self._serial:06d}-step={step}-{_owner(self.fingerprint)}.json"
        data = path.with_suffix(".safetensors")
        try:
            size, digest = write_state(data, structure, tensors, FORMAT)
            record = Record(path, self._serial, step, size, digest, scores, self.fingerprint, shapes)
            write_record(record)
        except BaseException:
            if not path.exists():  # a record may stand although the disk failed after it
                with suppress(OSError):
                    data.unlink(missing_ok=True)
            raise
        self._records = [*self._records, record]
        self._prune()

    def _prune(self) -> None:
        """Remove what need not be kept: records first, so that a kill between leaves no record without its data."""
        kept = {one.serial for one in self._records[-self._keep_last :]}
        kept |= {found.serial for metric in self.best if (found := self._best_record(metric)) is not None}
        gone = [one.path for one in self._records if one.serial not in kept] + self._spoilt
        self._records, self._spoilt = [one for one in self._records if one.serial in kept], []
        if not gone:
            return
        with disk_errors(self.folder / "state"):
            for path in gone:
                path.unlink(missing_ok=True)
            fsync_folder(self.folder)
            for path in gone:
                path.with_suffix(".safetensors").unlink(missing_ok=True)

    # -- reading ----------------------------------------------------------------------------------------------------------

    def load(self) -> dict[str, Any] | None:
        """The newest good state of this fingerprint, tensors on the CPU; None = start afresh.

        Damaged states that are passed over are told on stderr with what is wrong, and so are those of other fingerprints.
        """
        self.wait()
        self._tell_others()
        lost = sorted(self._damaged, reverse=True)  # names begin with serial numbers
        for path in lost:
            _say(f"WARNING: {self._damaged.pop(path)}")
        for record in reversed(self._records):
            state = self._read(record)
            if state is not None:
                if lost and max(lost) > record.path:
                    _say(f"WARNING: {self.folder}: going on from an older state, of step {record.step}: {record.data.name}")
                return state
            lost.append(record.path)
        if lost:
            _say(f"WARNING: {self.folder}: no good state is left; the training starts afresh")
        return None

    def load_best(self, metric: str) -> dict[str, Any]:
        """The best good state by a metric of `best`; a damaged one is told on stderr and the next best taken.

        ConfigError for a metric that is not in `best`, DataError when no state here was scored by it.
        """
        self.wait()
        if metric not in self.best:
            raise ConfigError(f"{metric!r} is no metric that the best state is kept by. {nearest(metric, self.best)}")
        first = self.best_step(metric)
        while (record := self._best_record(metric)) is not None:
            state = self._read(record)
            if state is not None:
                if (found := (record.step, record.scores[metric])) != first:
                    _say(f"WARNING: {self.folder}: taking the next best state, of step {found[0]}, {metric} {found[1]:g}")
                return state
        if not self._records:
            self._tell_others()
            where = f"of fingerprint {_short(self.fingerprint)}" if self._others else "of this training"
            raise DataError(f"{self.folder}: there is no good state {where}. Hint: is it the folder of another variant?")
        scored = {name for one in self._records for name, score in one.scores.items() if not math.isnan(score)}
        raise DataError(f"{self.folder}: no state here has a score {metric!r}. {nearest(metric, scored)}")

    def best_step(self, metric: str) -> tuple[int, float] | None:
        """(step, score) of the state that `load_best` would try first; None before the first score."""
        record = self._best_record(metric)
        return None if record is None else (record.step, record.scores[metric])

    def steps(self) -> list[int]:
        """Steps of the committed states of this fingerprint, ascending."""
        return sorted({record.step for record in self._records})

    def _best_record(self, metric: str) -> Record | None:
        sign = 1 if self.best[metric] == "max" else -1
        scored = [one for one in self._records if not math.isnan(one.scores.get(metric, math.nan))]
        return max(scored, key=lambda one: sign * one.scores[metric], default=None)  # the first of equals

    def _read(self, record: Record) -> dict[str, Any] | None:
        """A state; None when it is damaged, which is told and forgotten here."""
        try:
            verify(record)
        except Damaged as damage:
            _say(f"WARNING: {damage}")
            self._records = [one for one in self._records if one is not record]
            self._spoilt.append(record.path)
            return None
        return read_state(record.data)

    def _tell_others(self) -> None:
        if self._others:
            last = self._others[-1]
            _say(
                f"{self.folder}: ignoring {len(self._others)} state(s) of other settings, up to step {last.step}: their "
                f"fingerprint is {_short(last.fingerprint)}, this training's {_short(self.fingerprint)}"
            )

    # -- the folder -------------------------------------------------------------------------------------------------------

    def _clean(self) -> None:
        """Remove what killed writers left: temporary files, and data without a record."""
        for path in sorted(self.folder.iterdir()):
            named = _NAME.fullmatch(path.name)
            uncommitted = named and path.suffix == ".safetensors" and not path.with_suffix(".json").exists()
            if uncommitted or (path.name.startswith(WRITING) and path.is_file()):
                path.unlink(missing_ok=True)
                _say(f"{path}: removed, its writer was stopped before it was whole")

    def _scan(self) -> int:
        """Read all records; returns the highest serial number seen."""
        highest = 0
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            named = _NAME.fullmatch(path.name)
            if named is None:
                continue
            highest = max(highest, int(named["serial"]))
            try:
                record = read_record(path)
            except DataError as damage:
                if named["owner"] == _owner(self.fingerprint):
                    self._damaged[path] = str(damage)
                    self._spoilt += [path] if isinstance(damage, Damaged) else []
                continue
            (self._records if record.fingerprint == self.fingerprint else self._others).append(record)
        self._records.sort(key=lambda one: one.serial)
        self._others.sort(key=lambda one: one.serial)
        return highest


def load_into(model: nn.Module, path: str | Path) -> dict[str, Any]:
    """Put the `model` of a state (its data or its record) into a model; returns the whole state, tensors on the CPU.

    The fingerprint does not matter here. DataError when the state is damaged, of another format version or of another
    architecture; the model is untouched then.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder, expected a state. {nearest('', [one.name for one in path.glob('*.json')])}")
    record = read_record(path.with_suffix(".json"))
    if record.shapes is None:
        raise DataError(f"{record.data}: holds no `model`. Hint: name a state of a training.")
    refuse_other_architecture(record.data, record.shapes, model)
    verify(record)
    state = read_state(record.data)
    put_weights(record.data, state["model"], model)
    return state


def _shapes(model: Mapping[str, Any]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.items() if isinstance(tensor, torch.Tensor)}


def _owner(fingerprint: str) -> str:
    return sha256_text(fingerprint)[:8]


def _short(fingerprint: str) -> str:
    return fingerprint if len(fingerprint) <= 16 else f"{fingerprint[:12]}…"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
