"""Sound of videos: the samples that were written, aligned to the first frame, at the rate that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.data.sound import read_sound
from lib.files import DataError
from tests.lib.perception.made_videos import film, film_with_sound, moving

RATE = 16_000


def tone(hz: float, seconds: float, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_samples_come_back_from_the_first_frame_on(tmp_path: Path) -> None:
    wave = tone(440, 2.0)
    film_with_sound(tmp_path / "a.mkv", moving(1, 0), wave, RATE)
    found = read_sound(tmp_path / "a.mkv", rate=RATE)
    assert found.dtype == np.float32 and abs(len(found) - len(wave)) <= RATE // 100
    np.testing.assert_allclose(found[1000:30000], wave[1000:30000], atol=2e-3)


def test_a_late_beginning_is_filled_with_silence(tmp_path: Path) -> None:
    film_with_sound(tmp_path / "a.mkv", moving(1, 0), tone(440, 1.0), RATE, late_s=0.5)
    found = read_sound(tmp_path / "a.mkv", rate=RATE)
    loud = np.flatnonzero(np.abs(found) > 0.1)
    assert loud[0] == pytest.approx(0.5 * RATE, abs=0.02 * RATE) and not found[: int(0.45 * RATE)].any()


def test_another_rate_is_resampled(tmp_path: Path) -> None:
    film_with_sound(tmp_path / "a.mkv", moving(1, 0), tone(440, 2.0, 44_100), 44_100)
    found = read_sound(tmp_path / "a.mkv", rate=RATE)
    power = np.abs(np.fft.rfft(found[: 2 * RATE]))
    assert np.argmax(power) / 2 == pytest.approx(440, abs=1)


def test_no_sound_is_empty_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", moving(1, 0))
    assert len(read_sound(tmp_path / "a.mp4", rate=RATE)) == 0
    (tmp_path / "b.mp4").write_bytes(bytes(range(200)))
    with pytest.raises(DataError, match=r"b\.mp4"):
        read_sound(tmp_path / "b.mp4", rate=RATE)
