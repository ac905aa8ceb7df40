"""One run in full, as text for a person. Not here: many runs beside each other (lib/reporting/comparison_text.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib.registry.entry import SCORES, Entry
from lib.training.console import duration

_WIDTH = 16


def shown(entry: Entry) -> str:
    """What is known of a run, a fact a line; what is not known is left out."""
    facts: dict[str, Any] = {"description": entry.description, "study": entry.study, "kind": entry.kind, "task": entry.task}
    facts |= {"model": entry.model, "size": entry.size, "best on val": _best(entry), "batch": batch_text(entry)}
    facts |= {"data": _pair(entry.dataset, entry.arm and f"arm {entry.arm}"), "data hash": entry.dataset_hash}
    facts |= {"seed": entry.seed, "started": entry.started, "finished": entry.finished}
    facts |= {"took": duration(entry.wall_s) if entry.wall_s is not None else None, "memory": _memory(entry)}
    facts |= {"jobs": ", ".join(entry.jobs), "restarts": entry.restarts, "git": _git(entry.git)}
    facts |= {"versions": _listed(entry.versions), "output": entry.output, "log": entry.log}
    lines = [f"{entry.id}: {entry.status}" + (f": {entry.why}" if entry.why else "")]
    lines += [f"  {name:<{_WIDTH}}{value}" for name, value in facts.items() if value not in (None, "")]
    for title, block in (("hyperparameters", entry.hyperparameters), ("other", entry.other)):
        lines += [f"  {title}", *(f"    {key}: {value}" for key, value in sorted(block.items()))] if block else []
    return "\n".join(lines)


def batch_text(entry: Entry) -> str:
    """“16 (4 × 4)”: images of one step, those of one forward pass, and how many of these make it."""
    batch, micro = entry.batch, entry.micro_batch
    if batch is None:
        return ""
    return f"{batch} ({micro} × {batch // micro})" if micro and micro != batch else str(batch)


def _best(entry: Entry) -> str:
    scores = [f"{name} {value:.4f}" for name in SCORES if (value := entry.value(name)) is not None]
    told = [f"epoch {entry.best['epoch']:g}" if "epoch" in entry.best else None, entry.best.get("source")]
    return _pair(", ".join(scores), ", ".join(str(one) for one in told if one)) if scores else ""


def _memory(entry: Entry) -> str:
    parts = [(entry.peak_memory_mb, "MiB"), (entry.peak_gpu_memory_mb, "MiB on the GPU")]
    return ", ".join(f"{value:.0f} {unit}" for value, unit in parts if value)


def _git(told: Mapping[str, Any]) -> str:
    return _pair(told.get("commit"), "with changes" if told.get("dirty") else None)


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def _pair(first: str | None, second: str | None) -> str:
    return f"{first or ''} ({second})" if second else first or ""
