"""What planning and light programs must not import: torch and what brings it along. Reference: sys.modules of a child."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

HEAVY = ("torch", "torchvision", "ultralytics", "boxmot", "onnxruntime")
PLANNING = ("study", "jobs", "targets", "names", "raw")
PROGRAMS = sorted(path.stem for path in (PROJECT / "workflow_scripts").glob("*.py") if not path.stem.startswith("_"))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, check=True, timeout=300
    )


def test_what_the_snakefile_imports_brings_no_torch_and_no_tables() -> None:
    """Every cluster job reads the Snakefile again: also pandas and pyarrow would cost each of them a second."""
    modules = ", ".join(f"lib.config.{name}" for name in PLANNING)
    done = run("-c", f"import sys, json, {modules}; print(json.dumps(sorted(sys.modules)))")
    loaded = set(json.loads(done.stdout))
    assert f"lib.config.{PLANNING[0]}" in loaded
    assert not loaded & {*HEAVY, "pandas", "pyarrow", "matplotlib", "cv2", "av"}


@pytest.mark.slow
def test_no_programs_help_brings_torch() -> None:
    """All in one child: each main is called with --help."""
    code = """
import contextlib, importlib, io, json, sys
helps = {}
for name in sys.argv[1:]:
    program = importlib.import_module(f"workflow_scripts.{name}")
    sys.argv, text = [name, "--help"], io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        program.main()
    helps[name] = text.getvalue()
print(json.dumps([helps, sorted(sys.modules)]))
"""
    helps, loaded = json.loads(run("-c", code, *PROGRAMS).stdout)
    assert len(PROGRAMS) >= 13 and set(helps) == set(PROGRAMS)
    for name, text in helps.items():
        assert f"python -m workflow_scripts.{name}" in text, f"{name} --help shows how it is run by hand"
    assert not set(loaded) & set(HEAVY)


def test_describe_is_quick_and_light(tmp_path: Path) -> None:
    """Meant to take under a second; the bound leaves room for slow machines."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run("-X", "importtime", "-m", "workflow_scripts.describe")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "study demo" in done.stdout and "person-25" in done.stdout
    assert "lib.config.study" in imported and not imported & set(HEAVY)
    assert cpu < 2.5, f"describe took {cpu:.1f} s of CPU time"
