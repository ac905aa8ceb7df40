"""The record beside a state's data, which commits it: what the data must be, and what one may want to know before reading
it. Not here: the data (state_file.py), which states are kept (checkpoint.py).
"""

from __future__ import annotations

import errno
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.config.base import canonical
from lib.files import DataError, read_json, sha256_file, sha256_text, sized, write_json

FORMAT = 1
"""Of record and data together; raised when either changes so that an older program would misread it."""


class Damaged(DataError):
    """A record or its data is not what was written."""


@dataclass(frozen=True)
class Record:
    """One committed state. size in bytes, sha256 of the data; shapes: name → shape of the tensors under `model`, if any."""

    path: Path
    serial: int
    step: int
    size: int
    sha256: str
    scores: dict[str, float]
    fingerprint: str
    shapes: dict[str, list[int]] | None

    @property
    def data(self) -> Path:
        """The file with the tensors."""
        return self.path.with_suffix(".safetensors")


def write_record(record: Record) -> None:
    """Write a record atomically beside its data. NaN and infinities are written as texts, as JSON has none."""
    scores = {name: one if math.isfinite(one) else repr(one) for name, one in record.scores.items()}
    values: dict[str, Any] = {
        "format": FORMAT,
        "serial": record.serial,
        "step": record.step,
        "size": record.size,
        "sha256": record.sha256,
        "scores": scores,
        "fingerprint": record.fingerprint,
        "architecture": record.shapes,
    }
    write_json(record.path, values | {"check": sha256_text(canonical(values))})


def read_record(path: Path) -> Record:
    """Read a record. Damaged when it was altered, DataError when it is missing or of another format version."""
    if not path.is_file():
        others = ", ".join(sorted(one.name for one in path.parent.glob("*.json"))) or "none"
        raise DataError(
            f"{path}: no such record, so the state was never committed or its record is lost. "
            f"Hint: states of this folder with a record: {others}."
        )
    try:
        values = read_json(path)
    except DataError as error:
        raise Damaged(f"{path}: the record of this state is damaged, so the state is not used ({error})") from error
    if not isinstance(values, dict) or "format" not in values:
        raise Damaged(f"{path}: the record of this state is damaged, so the state is not used (it states no format)")
    if values["format"] != FORMAT:
        raise DataError(
            f"{path}: a state of format {values['format']}, this version reads {FORMAT}. "
            "Hint: go on with the version that wrote it, or delete the state and train again."
        )
    check = values.pop("check", None)
    try:
        if check != sha256_text(canonical(values)):
            raise Damaged(f"{path}: the record of this state was altered after it was written, so the state is not used")
        scores = {name: float(score) for name, score in values["scores"].items()}
        facts = (values["serial"], values["step"], values["size"], values["sha256"], scores, values["fingerprint"])
        return Record(path, *facts, values["architecture"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{path}: the record of this state is damaged, so the state is not used ({error!r})") from error


def verify(record: Record) -> None:
    """Damaged, naming the data file, unless it is what was written to the last bit."""
    data = record.data
    if not data.is_file():
        raise Damaged(f"{data}: the state of step {record.step} is missing, only its record is left")
    size = data.stat().st_size
    if size != record.size:
        raise Damaged(f"{data}: the state of step {record.step} is cut: {sized(size)} of {sized(record.size)}")
    try:
        digest = sha256_file(data)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise Damaged(f"{data}: the state of step {record.step} cannot be read ({error})") from error
    if digest != record.sha256:
        raise Damaged(f"{data}: the state of step {record.step} was altered after it was written (its sha256 differs)")
