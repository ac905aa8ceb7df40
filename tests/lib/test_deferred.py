"""A deferred module is loaded by its first use and by nothing else. Reference: sys.modules of a child process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import PROJECT


def child(folder: Path, code: str) -> str:
    environment = {"PYTHONPATH": f"{folder}:{PROJECT}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_loaded_by_its_first_use(tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text("print('heavy is loaded')\nanswer = 42\n")
    (tmp_path / "light.py").write_text("import heavy\ndef ask():\n    return heavy.answer\n")
    code = """
import sys
from lib.deferred import deferred
with deferred("heavy"), deferred("never_installed"):
    import light
print("heavy" in sys.modules)
print(light.ask(), light.ask(), sys.modules["heavy"].answer)
"""
    assert child(tmp_path, code).splitlines() == ["False", "heavy is loaded", "42 42 42"]


def test_what_is_loaded_already_stays(tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text("answer = 42\n")
    code = """
import heavy, sys
from lib.deferred import deferred
with deferred("heavy"):
    import heavy as again
print(again is heavy, sys.modules["heavy"] is heavy)
"""
    assert child(tmp_path, code) == "True True\n"


def test_tracking_boxes_brings_no_torch(tmp_path: Path) -> None:
    """And every tracker can still use it: torch is there as soon as something asks."""
    code = """
import sys, numpy as np
from pydantic import TypeAdapter
from lib.config.track import Tracker
from lib.perception.trackers import build_tracker
for kind in ("bytetrack", "ocsort", "sfsort"):
    tracker = build_tracker(TypeAdapter(Tracker).validate_python({"kind": kind}), (64, 48))
    for place in range(4):
        box = np.array([[4 + place, 4, 20 + place, 30, 0.9, 0]], np.float32)
        found = tracker.update(box, np.zeros((48, 64, 3), np.uint8))
    assert len(found) == 1, kind
print(sorted({"torch", "torchvision", "ultralytics"} & set(sys.modules)))
import boxmot.trackers.base as base
print(base.torch.tensor([1, 2]).tolist(), "torch" in sys.modules)
"""
    assert child(tmp_path, code).splitlines()[-2:] == ["[]", "[1, 2] True"]
