"""Built-in clip features on made videos whose motion, colours and sound are known, and what cannot be encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.config.embed import CELL_WIDTH, EDGE_WIDTH, SOUND_BANDS, LightClips
from lib.data.time_grid import TimeGrid
from lib.data.video import read_frames
from lib.files import DataError
from lib.perception.clips import encode_clips, windows_of
from lib.perception.clips_light import LightEncoder, colour_kinds, levels_of
from tests.lib.perception.made_videos import FPS, RED, film, film_with_sound, manifest, moving, square

ONE = {"kind": "light_clips", "stride": 2, "window": 4, "rows": 1, "columns": 1}
SECOND_RATE = 16_000


def features(video: pd.DataFrame, **changes: object) -> tuple[np.ndarray, dict]:
    settings = LightClips.model_validate(ONE | changes)
    found = encode_clips(video, settings, LightEncoder(settings), "featuresets.f", progress=False)
    return found.tensors["v"], found.notes


@pytest.mark.parametrize(("step", "way"), [((3, 0), 0), ((-3, 0), 1), ((0, 2), 2), ((0, -2), 3)])
def test_motion_goes_into_the_column_of_its_direction(step: tuple[int, int], way: int, tmp_path: Path) -> None:
    values, _ = features(film(tmp_path / "v.mp4", moving(*step)), sound=False)
    motion = values[2:-2, 24:28].mean(axis=0)
    assert np.argmax(motion) == way and motion[way] > 3 * np.delete(motion, way).max()


def test_colours_of_what_stands_out_are_the_moving_things(tmp_path: Path) -> None:
    values, _ = features(film(tmp_path / "v.mp4", moving(3, 0)), sound=False)
    red = int(colour_kinds(np.full((1, 1, 3), RED, np.uint8))[0, 0])
    out = values[2:-2, 12:24]
    assert red < 8 and (np.argmax(out, axis=1) == red).mean() > 0.9
    grey = values[:, 8:12].max(axis=1)
    assert (grey > 0.7).all(), "most of every picture is grey"


def test_cells_say_where(tmp_path: Path) -> None:
    pictures = [square(2, 2)] * 10 + [square(72, 40)] * 10
    values, _ = features(film(tmp_path / "v.mp4", pictures), rows=2, columns=2, sound=False, window=2)
    amount = values[:, CELL_WIDTH - 1 : 5 * CELL_WIDTH : CELL_WIDTH]  # of four cells and the whole
    assert np.argmax(amount[1, :4]) == 0 or np.argmax(amount[-2, :4]) == 3


def test_a_tone_is_heard_in_its_band_while_it_lasts(tmp_path: Path) -> None:
    seconds = np.arange(2 * SECOND_RATE) / SECOND_RATE
    wave = np.where((seconds >= 1.0) & (seconds < 1.5), 0.3 * np.sin(2 * np.pi * 2060 * seconds), 0).astype(np.float32)
    values, notes = features(film_with_sound(tmp_path / "v.mkv", moving(1, 0), wave, SECOND_RATE), window=2)
    bands = values[:, -SOUND_BANDS:]
    centre = (np.arange(10) * 2 + 1) / FPS
    loud, quiet = bands[(centre > 1.0) & (centre < 1.5)], bands[(centre < 0.9) | (centre > 1.6)]
    band = np.argmax(loud.mean(axis=0))
    assert loud[:, band].min() > 0.5 and quiet.max() < 0.3 and notes["without_sound"] == []
    other = levels_of((0.3 * np.sin(2 * np.pi * 2170 * seconds)).astype(np.float32)).mean(axis=0)
    assert np.argmax(other) != band, "the world's neighbouring tones are told apart"


def test_silence_is_zeros_and_told(tmp_path: Path) -> None:
    values, notes = features(film(tmp_path / "v.mp4", moving(1, 0)))
    assert values.shape[1] == 2 * CELL_WIDTH + EDGE_WIDTH + SOUND_BANDS
    assert not values[:, -SOUND_BANDS:].any() and notes["without_sound"] == ["v"]


def test_the_same_video_gives_the_same_numbers(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mp4", moving(2, 1))
    first, second = features(video)[0], features(video)[0]
    assert first.dtype == np.float32 and first.tobytes() == second.tobytes()


def test_a_window_longer_than_the_video_is_one_step_of_what_there_is(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mp4", moving(2, 0, frames=6))
    values, _ = features(video, window=50)
    np.testing.assert_allclose(values, features(video, window=6, stride=6)[0], atol=1e-6)
    assert len(values) == 1


@pytest.mark.parametrize(("frames", "stride", "window"), [(20, 2, 4), (21, 2, 4), (7, 3, 3), (5, 4, 16), (1, 1, 1)])
def test_windows_lie_inside_the_video(frames: int, stride: int, window: int) -> None:
    grid = TimeGrid(stride, window, FPS, frames / FPS)
    found = windows_of(grid, frames)
    assert len(found) == grid.count and found[0][0] == 0
    assert all(0 <= start < end <= frames and end - start == min(window, frames) for start, end in found)
    assert [start for start, _ in found] == [stride * step for step in range(len(found))]


def test_too_many_steps_no_pictures_and_damage_are_refused_by_name(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mp4", moving(1, 0))
    with pytest.raises(DataError, match=r"9 steps .* more than featuresets\.f\.max_steps = 8"):
        features(video, max_steps=8)
    with pytest.raises(DataError, match="has no pictures"):
        features(video.assign(kind="none"))
    with pytest.raises(DataError, match=r"v\.mp4: .*20 frames"):
        features(manifest(tmp_path / "v.mp4", 40))
    assert len(list(read_frames(tmp_path / "v.mp4", kind="video"))) == 20
