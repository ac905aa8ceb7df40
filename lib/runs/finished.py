"""Trainings that finished while nobody took note: their results, kept until Snakemake has.

A job on a cluster outlives its killed driver. The next driver deletes the job's outputs, whole ones too, before it starts
the job again. So a training leaves hard links to them in `.finished/` beside them (they take no room), from which the job
that comes next takes them back instead of training again. They go as soon as a driver finds the outputs standing and
unmarked; from then on a forced rerun (`-R`) trains again. Not here: who may train (lib/runs/ownership.py).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lib.checking import unfinished_outputs
from lib.files import WRITING, DataError, disk_errors, read_json, sha256_file

PLACE, CARD, META = ".finished", "model.json", "meta.json"


def keep(outputs: Sequence[Path]) -> None:
    """Link to what a training has made (META among it); where the disk has no hard links nothing is kept."""
    place = outputs[0].parent / PLACE
    shutil.rmtree(place, ignore_errors=True)
    try:
        place.mkdir()
        for path in sorted(outputs, key=lambda one: one.name == META):  # the record last: without it nothing counts
            os.link(path, place / path.name)
    except OSError:
        shutil.rmtree(place, ignore_errors=True)


def stands(folder: Path, fingerprint: str) -> bool:
    """Whether results with this fingerprint are kept, every byte as its record says; anything else is not to be used."""
    place = folder / PLACE
    try:
        content = read_json(place / META)["content"]
        same = read_json(place / CARD)["fingerprint"] == fingerprint
        return same and all(sha256_file(place / name) == digest for name, digest in content.items())
    except (DataError, OSError, KeyError, TypeError, AttributeError):
        return False


def restore(folder: Path) -> list[Path]:
    """Put the kept results back to their places, dated now; they stay kept until a driver has taken note."""
    made = []
    for kept in sorted((folder / PLACE).iterdir(), key=lambda one: one.name == META):
        path = folder / kept.name
        private = folder / f"{WRITING}{os.getpid()}-{kept.name}"
        with disk_errors(path):
            private.unlink(missing_ok=True)
            os.link(kept, private)
            os.utime(private)
            os.replace(private, path)
        made.append(path)
    return made


def forget(folder: Path) -> None:
    """Drop what is kept of a training."""
    shutil.rmtree(folder / PLACE, ignore_errors=True)


def settle(results: Path) -> None:
    """Drop what is kept of trainings whose outputs all stand and are not marked as unfinished by Snakemake."""
    kept = list(results.glob(f"train/*/*/*/{PLACE}"))
    marked = {Path(name) for name in unfinished_outputs(results.parent)} if kept else set()
    for place in kept:
        with suppress(OSError):
            outputs = [place.parent / one.name for one in place.iterdir()]
            if all(path.is_file() and path.relative_to(results.parent) not in marked for path in outputs):
                forget(place.parent)
