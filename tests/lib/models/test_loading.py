"""The safe loader against real checkpoints of ultralytics and against files that try to run code, leaving a trace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from lib.files import DataError
from lib.models import yolo
from lib.models.loading import load_checkpoint


class Runs:
    """Unpickling this calls `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_a_model_of_ultralytics_loads_and_ultralytics_loads_ours(tmp_path: Path) -> None:
    net = yolo.build("yolo11n", ["a", "b"], seed=0)
    yolo.save_model(net, tmp_path / "model.pt", {"task": "detect", "imgsz": 64})
    mine = yolo.checkpoint_model(tmp_path / "model.pt")
    from ultralytics import YOLO

    theirs = YOLO(tmp_path / "model.pt")
    assert theirs.names == {0: "a", 1: "b"} == mine.names
    for key, value in theirs.model.state_dict().items():
        assert torch.equal(value.float(), mine.state_dict()[key].float()), key


def test_a_gadget_is_refused_by_name_and_does_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({"model": Runs(os.system, f"touch {trace}")}, tmp_path / "bad.pt")
    with pytest.raises(DataError, match=r"bad\.pt: refused.*posix\.system"):
        load_checkpoint(tmp_path / "bad.pt")
    assert not trace.exists()
    torch.load(tmp_path / "bad.pt", weights_only=False)
    assert trace.exists(), "the gadget works where nobody looks, so the test can fail"


def test_an_allowed_class_cannot_be_made_to_evaluate_text(tmp_path: Path) -> None:
    """Ultralytics builds a model's activation by eval(); a checkpoint that asks for such a model must not get there."""
    yolo.quiet_ultralytics()
    from ultralytics.nn import tasks

    trace = tmp_path / "trace"
    description = {
        "nc": 1,
        "activation": f"open({str(trace)!r}, 'w')",
        "backbone": [[-1, 1, "Conv", [8, 3, 2]]],
        "head": [[[0], 1, "Detect", ["nc"]]],
    }
    torch.save({"model": Runs(tasks.DetectionModel, description)}, tmp_path / "bad.pt")
    with pytest.raises(DataError, match=r"bad\.pt"):
        load_checkpoint(tmp_path / "bad.pt")
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cut.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"cut\.pt"):
        load_checkpoint(tmp_path / "cut.pt")


def test_further_types_can_be_allowed(tmp_path: Path) -> None:
    torch.save({"path": tmp_path}, tmp_path / "path.pt")
    with pytest.raises(DataError, match=r"pathlib\.PosixPath"):
        load_checkpoint(tmp_path / "path.pt")
    assert load_checkpoint(tmp_path / "path.pt", allow=[type(tmp_path)]) == {"path": tmp_path}
