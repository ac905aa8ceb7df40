"""Hostile media: outcomes of the seeded corpus, and that a list never makes anything else be opened.

Reference: PyAV's own loop over the undamaged files; what is opened is seen by strace and by a listening socket.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.faults.media import encode, playlists, table, tally


@pytest.mark.slow
def test_no_frame_is_wrong_and_none_is_lost_without_a_word(tmp_path: Path) -> None:
    counts, verdicts = tally(tmp_path)
    print(table(counts))
    bad = [f"{outcome}: {case.path.name}: {text}" for case, outcome, text in verdicts if outcome in ("wrong", "lost")]
    assert not bad
    assert len(verdicts) > 600
    for group, found in counts.items():
        assert found["right"] + found["refused"] > 0.75 * found.total(), group
    damaged = counts["JPEG damaged inside"]
    assert damaged["refused"] == damaged.total() == 40
    for group in ("playlists", "no video at all"):
        assert counts[group]["refused"] + counts[group]["right"] == counts[group].total()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: opened files cannot be seen")
def test_a_list_makes_nothing_else_be_opened(tmp_path: Path) -> None:
    canary = encode(tmp_path / "canary.ts")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        cases = list(playlists(tmp_path, canary, f"127.0.0.1:{port}"))
        program = (
            "import sys\nfrom lib.data.video import probe\nfrom lib.files import DataError\n"
            "for path in sys.argv[1:]:\n"
            "    try:\n        probe(path, check=True)\n"
            "    except DataError as refusal:\n        print(refusal)\n"
        )
        log = tmp_path / "trace"
        trace = ["strace", "-f", "-s", "4096", "-o", str(log), "-e", "trace=open,openat,openat2,connect,socket,execve"]
        paths = [str(case.path) for case in cases]
        done = subprocess.run(
            [*trace, sys.executable, "-c", program, *paths], cwd=PROJECT, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr[-2000:]
        with pytest.raises(BlockingIOError):
            listener.accept()
    calls = log.read_text(errors="replace").splitlines()
    opened = {path for line in calls if " open" in line for path in re.findall(r'"(/[^"]*)"', line)}
    assert {path for path in opened if path.startswith(str(tmp_path))} == set(paths), "every list, and nothing else"
    assert not [line for line in calls if "AF_INET" in line]
    assert sum(" execve(" in line for line in calls) <= 4  # the program, its child, and what finds python
    assert done.stdout.count("Hint:") == len(cases) - 1  # the QuickTime reference falls back on its own samples
