"""The synthetic world's sound track: tones while events sound, over quiet noise. Not here: which tone says what (tones.py).

S samples at 16 kHz, mono, float32 in -1..1. A tone begins with its event, at a zero crossing and at full strength after
10 ms, and ends with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np

from lib.data.world.events import Episode, Event
from lib.data.world.looks import BODIES, LOADS, VESTS
from lib.data.world.tones import high_hz, low_hz

RATE = 16_000
_FADE_S = 0.01
_BLOCK = 1024  # samples per frame of AAC


def waveform(episode: Episode) -> np.ndarray:
    """(S,) float32 samples of a video, as long as its pictures."""
    sound = episode.options.sound
    rng = np.random.default_rng([episode.plan.seed, 5])
    wave = rng.normal(0.0, sound.noise, round(episode.duration_s * RATE))
    for event in episode.events:
        if event.heard:
            start = round(event.start_s * RATE)
            span = wave[start : round(event.end_s * RATE)]
            for frequency in tones_of(event, episode):
                span += sound.amplitude * _tone(frequency, len(span))
    return np.clip(wave, -1.0, 1.0).astype(np.float32)


def tones_of(event: Event, episode: Episode) -> list[float]:
    """The frequencies in Hz that an event sounds with: what happens, and which one acts."""
    things = [episode.things[track] for track in event.actors]
    low = low_hz(episode.options.sound, event.kind, things[0].kind if things else "")
    place = next((place for thing in things if (place := _place(thing.noun, thing.colour)) is not None), None)
    return [low] if place is None else [low, high_hz(place)]


def _place(noun: str, colour: str) -> int | None:
    """Which of its kind a thing is: the place of its colour among workers' vests or vehicles, of a load among loads."""
    if noun in LOADS:
        return list(LOADS).index(noun)
    palette = VESTS if noun == "worker" else BODIES
    return next((place for place, (name, _) in enumerate(palette) if name == colour), None)


def _tone(frequency: float, samples: int) -> np.ndarray:
    seconds = np.arange(samples) / RATE
    rise = np.minimum(seconds, seconds[::-1]) / _FADE_S
    return np.sin(2 * np.pi * frequency * seconds) * np.clip(rise, 0.0, 1.0)


def add_track(container: av.container.OutputContainer) -> av.audio.stream.AudioStream:
    """An AAC track for `encode`, to be added before the first picture is written."""
    stream = container.add_stream("aac", rate=RATE, layout="mono")
    stream.bit_rate = 48_000
    stream.options = {"aac_coder": "fast"}
    return stream


def encode(stream: av.audio.stream.AudioStream, wave: np.ndarray) -> Iterator[av.Packet]:
    """The packets of a wave, (S,) float32."""
    for start in range(0, len(wave), _BLOCK):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + _BLOCK], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE, start
        yield from stream.encode(frame)
    yield from stream.encode(None)
