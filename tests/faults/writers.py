"""Every own writer of the project, writing one of two versions of its files below a folder. Not here: the faults put in.

A writer must leave, whatever fails, each of its files as in the one version or as in the other; `sound` says more where
several files belong together.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from lib import provenance, tables
from lib.config.download import Downloads, FileEntry
from lib.config.study import Study
from lib.files import folder_digest, read_json, sha256_file, write_json, write_text
from lib.runs import running


@dataclass(frozen=True)
class Writer:
    """write(folder, version): write version 1 or 2; sound(folder): raises when files do not belong together.

    may_go: files that seal a set of others, so that a failure in the middle leaves the set without. moved: folders that are
    replaced whole, the old one being moved aside.
    """

    write: Callable[[Path, int], None]
    sound: Callable[[Path], None] = lambda folder: None
    may_go: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    most: int = 50
    """Operations that are made to fail each; of more, as many are tried, evenly spread."""


def _detections(rows: int) -> pd.DataFrame:
    numbers = np.arange(rows)
    columns = {"video": "v", "frame": numbers, "time_s": numbers / 10, "class": "person", "score": 0.5 + numbers % 7 / 20}
    corners = {"x1": numbers * 0.37, "y1": numbers * 0.11, "x2": numbers * 0.37 + 5, "y2": numbers * 0.11 + 5}
    return pd.DataFrame(columns | corners)


def _table(folder: Path, version: int) -> None:
    tables.write_table(folder / "chunk=0.parquet", _detections(4000 * version), tables.DETECTIONS)


def _pictures(version: int) -> list[np.ndarray]:
    random = np.random.default_rng(version)
    return [random.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(12)]


def _video(folder: Path, version: int) -> None:
    from lib.data.video import write_video

    write_video(folder / "v.mp4", iter(_pictures(version)), 10.0, (64, 64))


def _world_video(folder: Path, version: int) -> None:
    from lib.config.world import WorldSource
    from lib.data.world.files import write_video

    options = WorldSource.model_validate({"format": "world", "size": [64, 64], "videos": {"train": 1}})
    tone = np.sin(np.arange(16_000 * 12 // 10) / (5 * version)).astype(np.float32)
    write_video(folder / "w.mp4", iter(_pictures(version)), lambda: tone, options)


def _picture(folder: Path, version: int) -> None:
    from lib.inference.export import _write_picture

    _write_picture(folder / "detected_v.jpg", np.kron(_pictures(version)[0], np.ones((8, 8, 1), np.uint8)))


def _figure(folder: Path, version: int) -> None:
    from lib.reporting.style import figure

    with figure(folder / "f.png", width=3, height=2, dpi=80) as drawn:
        drawn.subplots().plot([0, version])


@cache
def _ranking(version: int) -> Any:
    import sys

    from lib.reporting.leaderboard import score_board

    sys.path.insert(0, str(Path(__file__).parents[1] / "lib" / "reporting"))
    import made

    with tempfile.TemporaryDirectory() as results:
        made.write_cell(Path(results), "a", {"x": list(range(10 + version))}, videos=20)
        return score_board("main", made.settings({"a": {}}), Path(results))


def _board(folder: Path, version: int) -> None:
    from lib.config.report import ReportSettings
    from lib.reporting.page import write_board

    write_board(_ranking(version), folder / "main.csv", ReportSettings())


@cache
def _media() -> Path:
    """A folder with two short videos, outside of every fault."""
    from lib.data.video import write_video

    folder = Path(tempfile.mkdtemp(prefix="vipersight-faults-"))
    for number in (1, 2):
        write_video(folder / f"{number}.mp4", iter(_pictures(number)), 10.0, (64, 64))
    return folder


def _shards(folder: Path, version: int) -> None:
    from lib.config.shard import Shardset
    from lib.data.shards import write_shards

    rows = {
        "video": ["v"],
        "original": ["v"],
        "split": ["train"],
        "path": [str(_media() / f"{version}.mp4")],
        "kind": ["video"],
    }
    rows |= {
        "sha256": ["0" * 64],
        "stream": [0],
        "fps": [10.0],
        "frames": [12],
        "width": [64],
        "height": [64],
        "duration_s": [1.2],
    }
    numbers = np.arange(12)
    frames = pd.DataFrame({"video": "v", "frame": numbers, "time_s": numbers / 10})
    boxes = frames.assign(
        **{"class": "a", "x1": 1.0, "y1": 1.0, "x2": 9.0, "y2": 9.0, "track": -1, "ignore": False, "mask": ""}
    )
    settings = Shardset.model_validate({"splits": ["train"], "samples_per_shard": 6})
    write_shards(pd.DataFrame(rows), frames, boxes, None, ["a"], settings, folder)


def _shards_sound(folder: Path) -> None:
    from lib.data.reader import verify

    if (folder / "manifest.json").exists():
        verify(folder / "manifest.json")


@cache
def _archive(version: int) -> Path:
    import zipfile

    path = Path(tempfile.mkdtemp(prefix="vipersight-faults-")) / "set.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(3):
            file.writestr(f"{number}.bin", bytes([version]) * 30_000)
    return path


def _linked(folder: Path, version: int) -> None:
    from lib.data.fetch import fetch

    archive = _archive(version)
    entry = FileEntry(path="set.zip", url="https://example.org/set.zip", sha256=sha256_file(archive), extract=True)
    common: dict[str, Any] = {"on_missing": "fail", "workers": 1, "limits": Downloads()}
    fetch([entry], folder, mirror=archive.parent, status_file=folder / "files.json", **common)


def _unpacked_sound(folder: Path) -> None:
    """The unpacked folder is one version whole, or not there."""
    if (folder / "set").exists():
        contents = {path.read_bytes() for path in (folder / "set").glob("*.bin")}
        assert len(contents) == 1 and len(next(iter(contents))) == 30_000, "a mixture of versions"
        assert len(list((folder / "set").glob("*.bin"))) == 3


def _record(folder: Path, version: int) -> None:
    write_text(folder / "r.json", str(version))
    values = {"stage": "s", "settings": {"version": version}, "inputs": {}}
    frozen = {"finished": "", "seconds": 0.0, "peak_memory_mb": 0.0, "hardware": {}}
    provenance.record([folder / "r.json"], **values, extra=frozen)


def _names(folder: Path, version: int) -> None:
    from lib.config.names import claim_names

    claim_names(Study.model_validate({"study": "s", "shardsets": {"a": {"splits": ["train"], "stride": version}}}), folder)


def _digest(folder: Path, version: int) -> None:
    source = _media() if version == 1 else _archive(1).parent
    folder_digest(source, labels=(".mp4", ".zip"), cache=folder / "d.json")


@cache
def _net(version: int) -> Any:
    from lib.models import yolo

    return yolo.build("yolo11n", ["a"], seed=version)


def _checkpoint(folder: Path, version: int) -> None:
    from lib.files import atomic
    from lib.models import yolo

    with atomic(folder / "model.pt") as temporary:
        yolo.save_model(_net(version), temporary, {"task": "detect", "imgsz": 64})


def _checkpoint_sound(folder: Path) -> None:
    """The model is that of the one version or of the other, in every weight."""
    from lib.models.yolo import checkpoint_model

    if (folder / "model.pt").exists():
        found = checkpoint_model(folder / "model.pt").state_dict()
        versions = [_net(version).state_dict() for version in (1, 2)]
        same = [all((found[key] - one[key].half().float()).abs().max() == 0 for key in found) for one in versions]
        assert any(same), "a mixture of versions"


def _tensors(version: int) -> dict[str, Any]:
    import torch

    return {"w": torch.full((300, 1000), float(version)), "b": torch.full((), version)}


def _weights(folder: Path, version: int) -> None:
    from lib.models.weights import save_weights

    save_weights(folder / "model.safetensors", _tensors(version))


def _states(folder: Path, version: int) -> None:
    from lib.training.checkpoint import CheckpointStore

    with CheckpointStore(folder / "state", fingerprint="f", keep_last=1) as store:
        store.save({"model": _tensors(version)}, step=version)


def _states_sound(folder: Path) -> None:
    """The next process finds one whole state, of the one version or of the other."""
    from lib.training.checkpoint import CheckpointStore

    state = CheckpointStore(folder / "state", fingerprint="f", readonly=True).load()
    assert state is not None, "no state is left"
    found = {float(one) for tensor in state["model"].values() for one in (tensor.min(), tensor.max())}
    assert found in ({1.0}, {2.0}), "a mixture of versions"


def _kept(folder: Path, version: int) -> None:
    from workflow_scripts.train import keep_results

    weights = _archive(version)
    card = {"format": "ultralytics"}
    keep_results(SimpleNamespace(weights=weights, card=card, history=pd.DataFrame({"epoch": [version]})), folder)


def _attempt(folder: Path, version: int) -> None:
    from lib.runs.attempts import Attempt

    attempt = Attempt(folder / "1.json", "f" * version)
    attempt.facts |= {"start": ""}
    attempt.keep(cause="running")


def _run(folder: Path, version: int) -> None:
    write_json(folder / f"{running.RUNS.name}" / "t.json", {"version": version})


WRITERS = {
    "text": Writer(lambda folder, version: write_text(folder / "deep/er/a.txt", f"{version}" * 20_000)),
    "JSON": Writer(
        lambda folder, version: write_json(folder / "a.json", {"version": version, "rows": list(range(3000))}),
        lambda folder: (folder / "a.json").exists() and read_json(folder / "a.json"),
    ),
    "table": Writer(
        _table, lambda f: (f / "chunk=0.parquet").exists() and tables.read_table(f / "chunk=0.parquet", "detections")
    ),
    "units": Writer(
        lambda folder, version: tables.write_units(folder / "u.parquet", pd.DataFrame({"a": np.arange(9000) * version}))
    ),
    "video": Writer(_video),
    "video of the world": Writer(_world_video),
    "picture": Writer(_picture),
    "figure": Writer(_figure),
    "board": Writer(_board),
    "shards": Writer(_shards, _shards_sound, ("manifest.json",)),
    "linked and unpacked archive": Writer(_linked, _unpacked_sound, moved=("set/",)),
    "result with its record": Writer(_record),
    "names of a study": Writer(_names),
    "digests of a folder": Writer(_digest),
    "model file": Writer(_checkpoint, _checkpoint_sound, most=8),
    "weights": Writer(_weights),
    "states of a training": Writer(_states, _states_sound),
    "kept results of a training": Writer(_kept),
    "attempt": Writer(_attempt),
    "run": Writer(_run),
}
SAME_BYTES = frozenset(WRITERS) - {"model file", "attempt", "result with its record", "digests of a folder"}
SAME_BYTES -= {"states of a training"}  # names follow from how many were saved before
"""Writers whose bytes depend on the version only; the others are judged by being readable."""


def files_of(folder: Path) -> dict[str, bytes]:
    """Path → content of every file below a folder; links by what they point at."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def copied(source: Path, target: Path) -> None:
    """`target` becomes a copy of `source`, links kept."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
