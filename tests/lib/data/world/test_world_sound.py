"""The sound track, read back from the file by PyAV: the events that sound come back from their tones alone (oracle), and
nothing is recovered where there are none (floor). The code of the tones is stated in lib/data/world/tones.py."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lib.config.world import WorldSource
from lib.data.video import probe, read_frames
from lib.data.world.events import Episode, Event
from lib.data.world.files import draw_video
from lib.data.world.plan import plan_videos
from lib.data.world.sounds import RATE, tones_of, waveform
from lib.data.world.tones import TONES, high_hz, low_hz
from tests.lib.data.world.made import episode

WINDOW, HOP = 1024, 128  # samples: 64 ms, every 8 ms
COUNT = 4


def world(**knobs: Any) -> WorldSource:
    return WorldSource.model_validate({"format": "world", "videos": {"test": COUNT}, "sound": {"heard": 0.6} | knobs})


def file_of(options: WorldSource, number: int, folder: Path) -> tuple[Path, Episode]:
    plan = plan_videos(options)[number]
    draw_video(plan, options, folder)
    return folder / "videos" / f"{plan.name}.mp4", episode(plan, options)


def samples(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate, stream.layout.name) == ("aac", RATE, "mono")
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])


def strength(wave: np.ndarray, frequency: float) -> np.ndarray:
    """Amplitude of a frequency around each hop (Hann window)."""
    starts = np.arange(0, len(wave) - WINDOW, HOP)
    window = np.hanning(WINDOW) * np.exp(-2j * np.pi * frequency * np.arange(WINDOW) / RATE)
    return np.array([2 * abs(wave[start : start + WINDOW] @ window) / np.hanning(WINDOW).sum() for start in starts])


def spans(wave: np.ndarray, frequency: float, amplitude: float) -> list[tuple[float, float]]:
    """When the tone sounds, s: where it has more than half its strength at the middle of the window."""
    on = np.concatenate([[False], strength(wave, frequency) > amplitude / 2, [False]])
    edges = np.flatnonzero(np.diff(on.astype(int)))
    middle = WINDOW / 2 / RATE
    return [(float(a * HOP / RATE + middle), float(b * HOP / RATE + middle)) for a, b in edges.reshape(-1, 2)]


def merged(events: list[Event]) -> list[tuple[float, float]]:
    """The union of the events' windows."""
    found: list[tuple[float, float]] = []
    for start, end in sorted((event.start_s, event.end_s) for event in events):
        if found and start <= found[-1][1] + 0.05:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


@pytest.mark.parametrize("number", range(COUNT))
def test_events_come_back_from_the_file(tmp_path: Path, number: int) -> None:
    """For each low tone of the code, the spans in the file are the windows of the events that sound with it, to 50 ms."""
    options = world()
    path, told = file_of(options, number, tmp_path)
    wave = samples(path)
    heard = [event for event in told.events if event.heard]
    assert heard
    for kind, actor in TONES:
        frequency = low_hz(options.sound, kind, actor)
        expected = merged([event for event in heard if tones_of(event, told)[0] == frequency])
        expected = [(max(start, 0.03), min(end, len(wave) / RATE - 0.03)) for start, end in expected]
        got = [span for span in spans(wave, frequency, options.sound.amplitude) if span[1] - span[0] > 0.05]
        assert len(got) == len(expected), (kind, actor, got, expected)
        for (a, b), (start, end) in zip(got, expected, strict=True):
            assert a == pytest.approx(start, abs=0.05) and b == pytest.approx(end, abs=0.05)


def test_the_high_tone_says_which_one_acts() -> None:
    options = world()
    seen = set()
    for plan in plan_videos(options):
        told = episode(plan, options)
        wave = waveform(told)
        for event in (event for event in told.events if event.heard and len(tones_of(event, told)) == 2):
            middle = round((event.start_s + event.end_s) / 2 * RATE)
            cut = wave[max(0, middle - WINDOW) : middle + WINDOW]
            assert strength(cut, tones_of(event, told)[1]).max() > options.sound.amplitude / 2
            seen.add(tones_of(event, told)[1])
    assert len(seen) >= 3 and seen <= {high_hz(place) for place in range(8)}


def test_every_kind_has_a_tone_of_its_own_below_the_high_ones() -> None:
    for lowest, step in ((300.0, 110.0), (1000.0, 150.0), (100.0, 60.0)):
        sound = WorldSource.model_validate({"format": "world", "sound": {"lowest_hz": lowest, "step_hz": step}}).sound
        low = sorted(low_hz(sound, kind, actor) for kind, actor in TONES)
        assert min(b - a for a, b in pairwise(low)) == pytest.approx(step)
        assert low[-1] < high_hz(0) and high_hz(7) < 0.9 * RATE / 2


def test_at_amplitude_zero_only_noise_is_left(tmp_path: Path) -> None:
    options = world(amplitude=0.0)
    path, told = file_of(options, 0, tmp_path)
    wave = samples(path)
    assert any(event.heard for event in told.events)
    assert wave.std() == pytest.approx(options.sound.noise, rel=0.3)
    for kind, actor in TONES:
        assert not spans(wave, low_hz(options.sound, kind, actor), 0.05)


def test_pictures_and_sound_are_of_one_length_and_both_can_be_read(tmp_path: Path) -> None:
    options = world(noise=0.0)
    path, told = file_of(options, 1, tmp_path)
    look = probe(path)
    assert look.has_audio and not look.cut and look.frames == told.plan.frames
    assert look.duration_s == pytest.approx(told.duration_s, abs=1e-6)
    assert sum(1 for _ in read_frames(path, kind="video")) == told.plan.frames
    wave = samples(path)
    assert len(wave) / RATE == pytest.approx(told.duration_s, abs=0.07)
    length = min(len(wave), len(waveform(told)))
    assert np.corrcoef(wave[:length], waveform(told)[:length])[0, 1] > 0.99  # no shift: a few samples would show
