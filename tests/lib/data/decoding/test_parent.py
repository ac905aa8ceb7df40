"""The parent outlives its decoding child: crashes, hangs and each limit, against real children that are really killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lib.config.base import ConfigError
from lib.config.limits import Limits
from lib.data.decoding import parent
from lib.data.decoding.parent import POOL
from lib.data.video import probe, read_frames
from lib.files import DataError
from tests.conftest import PROJECT
from tests.faults.media import encode


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return encode(tmp_path / "clip.mp4", numbers=range(200), size=(320, 192))


def limit(monkeypatch: pytest.MonkeyPatch, **values: float) -> None:
    monkeypatch.setenv(Limits.VARIABLE, Limits(**values).model_dump_json())


def child() -> int:
    """Process id of the decoder that was used last."""
    return POOL.idle[-1].process.pid


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_names_the_file_and_costs_only_it(clip: Path, number: signal.Signals) -> None:
    probe(clip)
    process = child()
    frames = read_frames(clip, kind="video")
    next(frames)
    os.kill(process, number)
    with pytest.raises(DataError, match=rf"clip\.mp4: the decoder crashed on it \({number.name}\)\. Hint:"):
        list(frames)
    assert probe(clip).frames == 200 and child() != process


def test_a_child_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "_PROJECT", tmp_path)
    monkeypatch.chdir(tmp_path)  # where no program lies
    why = r"could not be started \(the decoder ended with 1 \(.*No module named 'lib'\)\)"
    with pytest.raises(DataError, match=why), parent._Pool().decoder():
        pass


def test_a_hang_is_ended(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, stall_seconds=1.5)
    probe(clip)
    process = child()
    frames = read_frames(clip, kind="video")
    next(frames)
    os.kill(process, signal.SIGSTOP)
    with pytest.raises(DataError, match=r"clip\.mp4: no further frame within limits\.stall_seconds = 1\.5"):
        list(frames)
    assert not Path(f"/proc/{process}").exists()
    assert probe(clip).frames == 200


@pytest.mark.slow
def test_limits_of_frames_pixels_memory_and_time(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, max_frames=100)
    with pytest.raises(DataError, match=r"more than limits\.max_frames = 100 frames\. Hint:"):
        probe(clip)
    limit(monkeypatch, max_pixels=320 * 191)
    with pytest.raises(DataError, match=r"320x192 px; limits\.max_pixels allows 61120\. Hint:"):
        probe(clip)
    large = encode(tmp_path / "large.mp4", numbers=range(4), size=(4096, 4096), options={"preset": "ultrafast"})
    limit(monkeypatch, memory_mb=256)
    for _ in range(3):
        with pytest.raises(DataError, match=r"large\.mp4: .*Hint:"):
            list(read_frames(large, kind="video"))
        assert len(list(read_frames(clip, kind="video", stride=50))) == 4  # small ones still come
    monkeypatch.delenv(Limits.VARIABLE)
    assert probe(large, check=True).frames == 4


@pytest.mark.slow
@pytest.mark.parametrize("side", [1024, 1536, 2048, 2560, 3072])
def test_a_child_that_ran_out_of_memory_is_not_asked_again(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    """Wherever it runs out, in FFmpeg or in mapping the pictures' place: the file is refused, and the next one is read."""
    wide = encode(tmp_path / "wide.mp4", numbers=range(6), size=(side, side), options={"preset": "ultrafast"})
    limit(monkeypatch, memory_mb=256)
    probe(clip)
    process = child()
    ceiling = resource.prlimit(process, resource.RLIMIT_AS)[1]
    taken = int(Path(f"/proc/{process}/statm").read_text().split()[0]) * resource.getpagesize()
    room = taken + (10 + 3 * side * side // 2**20) * 2**20  # a little more than one picture
    resource.prlimit(process, resource.RLIMIT_AS, (min(room, ceiling), ceiling))
    with pytest.raises(DataError, match=r"wide\.mp4: decoding needs more memory than limits\.memory_mb = 256 allows"):
        list(read_frames(wide, kind="video"))
    assert len(list(read_frames(clip, kind="video", stride=50))) == 4
    assert child() != process


@pytest.mark.slow
def test_the_limit_of_time_counts_per_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = encode(tmp_path / "long.mp4", numbers=list(range(250)) * 2, size=(1920, 1088), options={"preset": "ultrafast"})
    short = encode(tmp_path / "short.mp4")
    limit(monkeypatch, cpu_seconds=1)
    with pytest.raises(DataError, match=r"long\.mp4: decoding took more than limits\.cpu_seconds = 1"):
        list(read_frames(long, kind="video"))
    for _ in range(3):
        assert probe(short, check=True).frames == 48


def test_a_wrong_limit_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(Limits.VARIABLE, '{"memory_mb": 1}')
    with pytest.raises(ConfigError, match=r"VIPERSIGHT_LIMITS is not valid: limits\.memory_mb"):
        Limits.of_this_run()


def test_one_child_serves_many_files_and_abandoned_readings(clip: Path) -> None:
    probe(clip)
    process = child()
    for _ in range(5):
        frames = read_frames(clip, kind="video", size=(64, 48))
        assert next(frames)[0] == 0
        frames.close()  # the rest is not wanted
        assert probe(clip).frames == 200
    assert child() == process


def test_frames_stay_when_the_next_ones_come(clip: Path) -> None:
    """Pictures are the caller's own: the shared memory behind them is used again at once."""
    kept = [image for *_, image in read_frames(clip, kind="video")]
    again = [image.copy() for *_, image in read_frames(clip, kind="video")]
    assert all(np.array_equal(one, other) for one, other in zip(kept, again, strict=True))
    assert all(image.flags.writeable and image.flags.c_contiguous for image in kept)


def test_the_child_knows_no_secret_and_writes_no_file(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "canary")
    limit(monkeypatch, max_frames=9_999)  # another limit: another child, started with the variable set
    probe(clip)
    facts = Path(f"/proc/{child()}")
    assert b"canary" not in (facts / "environ").read_bytes()
    limits = {line[:26].strip(): line[26:].split()[:2] for line in (facts / "limits").read_text().splitlines()}
    assert limits["Max file size"] == ["0", "0"] and limits["Max core file size"] == ["0", "0"]
    assert limits["Max address space"][0] != "unlimited" and int(limits["Max open files"][1]) <= 64


def test_the_child_ends_with_its_parent(clip: Path) -> None:
    program = (
        "import sys, time\nfrom lib.data.video import probe\nfrom lib.data.decoding.parent import POOL\n"
        "probe(sys.argv[1])\nprint(POOL.idle[0].process.pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(clip)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        process = int(run.stdout.readline())
        assert Path(f"/proc/{process}").exists()
        run.kill()
    for _ in range(100):
        if not Path(f"/proc/{process}").exists():
            return
        time.sleep(0.05)
    pytest.fail("the decoder outlives its parent")
