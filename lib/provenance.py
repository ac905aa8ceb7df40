"""Identity and meta.json: what a result was made from, so that a number can be traced and rebuilt.

identity = sha256 over (stage, recipe, own resolved settings, identities of the inputs); raw files enter by sha256. What was
produced is recorded as `content` and never enters identity: two runs of the same cell share an identity even where a GPU's
arithmetic differs. Not here: when something reruns; Snakemake decides that by params and inputs.
"""

from __future__ import annotations

import os
import platform
import resource
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from lib.config.base import canonical
from lib.files import read_json, sha256_file, sha256_text, write_json

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = (
    *("torch", "ultralytics", "rfdetr", "pytorch-lightning", "boxmot", "vernier", "trackeval", "av", "opencv-python"),
    *("numpy", "pandas", "snakemake"),
)
STARTED = time.monotonic()


def meta_path(output: str | Path) -> Path:
    """Where the meta.json of an output lies: beside it, under the name without its suffixes, or meta.json of its folder.

    `…/chunk=0.parquet` and `…/chunk=0.stats.parquet` share `…/chunk=0.meta.json`; `…/manifest.json` has `…/meta.json`.
    """
    output = Path(output)
    stem, _, _ = output.name.partition(".")
    return output.with_name(f"{stem}.meta.json") if "=" in stem else output.with_name("meta.json")


def identity_of(path: str | Path) -> str:
    """Identity of an input: the one its meta.json records, or for a raw file (or a folder's list of files) its sha256."""
    beside = meta_path(path)
    if beside.is_file():
        return str(read_json(beside)["identity"])
    return f"sha256:{sha256_file(path)}"


def identities(inputs: Mapping[str, str | Path | Sequence[str | Path]]) -> dict[str, str | list[str]]:
    """Identities of inputs by role; of several files in one role, theirs in this order."""
    return {
        role: identity_of(given) if isinstance(given, str | Path) else [identity_of(one) for one in given]
        for role, given in inputs.items()
    }


def identity(stage: str, recipe: int, settings: Any, inputs: Mapping[str, str | Sequence[str]]) -> str:
    """The identity of a result: 64 hexadecimal digits, the same on every machine for the same making."""
    return sha256_text(canonical({"stage": stage, "recipe": recipe, "settings": settings, "inputs": dict(inputs)}))


@cache
def commit() -> dict[str, Any]:
    """Git commit of the project and whether tracked files differ from it; None outside a git checkout."""
    try:
        head = _git("rev-parse", "HEAD")
        return {"commit": head, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(PROJECT), *words], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


def packages() -> dict[str, str]:
    """Versions of the libraries that shape results."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Host, processor and visible GPUs (asked from torch only when the job has imported it anyway)."""
    values: dict[str, Any] = {"host": socket.gethostname(), "machine": platform.machine(), "cpus": os.cpu_count()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        values["gpus"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return values


def peak_memory_mb() -> float:
    """Largest resident memory of this process or its largest child so far, MiB."""
    kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(kib / 1024, 1)


def peak_gpu_memory_mb() -> float:
    """Most memory that tensors of this process have taken on its GPU so far, MiB; 0 = it has used none."""
    torch = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_initialized()
    return round(torch.cuda.max_memory_allocated() / 2**20, 1) if used else 0.0


def announce_run(study: str, configfiles: Sequence[str], config: Sequence[str], site: Mapping[str, str]) -> None:
    """Hand down to the programs of a run, by the environment, what no result depends on.

    The code's place, the study, how the run is typed (config: the words behind --config); site: folders and limits by
    environment variable (Study.site).
    """
    words = ["snakemake"]
    words += ["--configfile", *configfiles] if configfiles else []
    words += ["--config", *config] if config else []
    path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ.update({"PYTHONPATH": path, "VIPERSIGHT_STUDY": study, "VIPERSIGHT_RUN": shlex.join(words)})
    os.environ.update(site)


def rebuild_command(output: str | Path) -> str:
    """The one line that makes this output again: the run's settings files and overrides with the file as target."""
    run = os.environ.get("VIPERSIGHT_RUN", "snakemake")
    return f"{run} -- {shlex.quote(str(output))}"


def record(
    outputs: Sequence[str | Path],
    *,
    stage: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str | Path | Sequence[str | Path]],
    raw: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Write the meta.json of `outputs` (the first names it) and return the identity.

    settings: the job's resolved settings, `recipe` among them. inputs: files that the result was made from, by role.
    raw: digest of raw data that enter here (download), which have no meta.json of their own.
    extra: more facts for readers (attempts, flags); they never enter identity.
    """
    made = origin(stage, settings, inputs, raw)
    beside = meta_path(outputs[0]).parent
    values = {
        **made,
        "content": {os.path.relpath(path, beside): sha256_file(path) for path in outputs},
        "hardware": hardware(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - STARTED, 2),
        "peak_memory_mb": peak_memory_mb(),
        "command": shlex.join(["python", "-m", *_program_words()]),
        "rebuild": rebuild_command(outputs[0]),
        **(extra or {}),
    }
    write_json(meta_path(outputs[0]), values)
    return str(made["identity"])


def origin(
    stage: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str | Path | Sequence[str | Path]],
    raw: str | None = None,
) -> dict[str, Any]:
    """What a result is of, known before it is made: its making (as `making`), study, code and versions."""
    return {
        **making(stage, settings, inputs, raw),
        "input_files": {role: _from_here(given) for role, given in inputs.items()},
        "study": os.environ.get("VIPERSIGHT_STUDY"),
        "code": commit(),
        "packages": packages(),
    }


def making(
    stage: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str | Path | Sequence[str | Path]],
    raw: str | None = None,
) -> dict[str, Any]:
    """Identity of a result and what it is the hash of: stage, recipe, settings, identities of the inputs (as `record`)."""
    settings = dict(settings)
    recipe = int(settings.pop("recipe", 1))
    sources: dict[str, Any] = identities(inputs)
    if raw is not None:
        sources["raw"] = raw
    key = identity(stage, recipe, settings, sources)
    return {"identity": key, "stage": stage, "recipe": recipe, "settings": settings, "inputs": sources}


def _from_here(given: str | Path | Sequence[str | Path]) -> str | list[str]:
    """Paths of input files as seen from the working directory: for `check`, never part of an identity."""
    if isinstance(given, str | Path):
        return os.path.relpath(given)
    return [os.path.relpath(one) for one in given]


def _program_words() -> list[str]:
    """The program's module name and arguments, as typed after `python -m`."""
    program = Path(sys.argv[0])
    try:
        module = ".".join(program.resolve().relative_to(PROJECT).with_suffix("").parts)
    except ValueError:
        module = program.name
    return [module, *sys.argv[1:]]
