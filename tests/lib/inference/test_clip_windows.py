"""Pieces of clips and windows from candidates: every step is seen, none moves, and something always stays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lib.config.predict import View
from lib.config.predict_windows import WindowMerge, WindowSettings
from lib.data.time_grid import TimeGrid
from lib.files import DataError
from lib.inference.clip_pieces import Piece, looks, pieces, place_of, placed
from lib.inference.predict_windows import gathered
from lib.inference.suppression import suppress
from lib.inference.windows import in_seconds, kept, windows_table
from lib.tables import write_table

GRID = TimeGrid(stride=16.0, window=32.0, fps=30.0, duration=60.0)


@pytest.mark.parametrize("steps", [1, 2, 7, 64, 65, 200, 1001])
@pytest.mark.parametrize("every", [1, 3])
def test_pieces_hold_every_step_of_their_phase_and_overlap_by_half(steps: int, every: int) -> None:
    seen: set[int] = set()
    for phase in range(every):
        found = pieces(steps, View(every=every, phase=phase), 64)
        held = [[piece.first + piece.every * place for place in range(piece.count)] for piece in found]
        assert all(0 < len(one) <= 64 and max(one) < steps for one in held)
        assert all(after[0] - before[0] <= 32 * every for before, after in pairwise(held))
        seen |= {step for one in held for step in one}
    assert seen == set(range(steps))


def test_what_is_short_is_one_piece_and_a_view_may_slide_in_shorter_ones() -> None:
    assert pieces(64, View(), 64) == [Piece(0, 1, 64)]
    assert pieces(10, View(slide=8), 64) == [Piece(0, 1, 8), Piece(2, 1, 8)]
    assert pieces(2, View(every=4, phase=3), 64) == [Piece(0, 4, 1)]  # over before its phase
    assert [number for number, _ in looks(100, [View(), View(every=2)], 64)] == [0, 0, 0, 1]
    assert placed(place_of(3, Piece(1, 2, 5), GRID)) == (3, Piece(1, 2, 5), GRID)


def test_the_same_seconds_whatever_piece_a_step_is_seen_in() -> None:
    truth = np.array([[12.0, 18.0]])
    expected = GRID.seconds(truth)
    for piece in (Piece(0, 1, 100), Piece(6, 1, 50), Piece(0, 2, 50), Piece(4, 2, 30)):
        steps = (truth - piece.first) / piece.every
        np.testing.assert_allclose(in_seconds(steps, np.array([0.5]), piece, GRID)[:, :2], expected, rtol=0, atol=1e-12)


def test_windows_are_cut_at_the_clip_and_one_always_stays() -> None:
    found = in_seconds(np.array([[-9.0, 4.0], [200.0, 300.0]]), np.array([0.9, 0.8]), Piece(0, 1, 111), GRID)
    assert found.tolist() == [[0.0, float(GRID.seconds(4)), 0.9]]
    outside = in_seconds(np.array([[200.0, 300.0], [400.0, 500.0]]), np.array([0.9, 0.8]), Piece(0, 1, 111), GRID)
    assert outside.tolist() == [[*GRID.seconds([109.5, 110.5], clip=True).tolist(), 0.9]], "the clip's last step"
    assert in_seconds(np.empty((0, 2)), np.empty(0), Piece(0, 1, 111), GRID).shape == (0, 3)


def test_a_clip_that_is_over_before_its_step_begins_is_answered_as_a_whole() -> None:
    """The centre of its window of 40 frames is at 1 s, so its step stands for 0.75 to 1.25 s; the clip lasts 0.5 s."""
    short = TimeGrid(stride=10.0, window=40.0, fps=20.0, duration=0.5)
    found = in_seconds(np.array([[0.1, 0.4], [3.0, 4.0]]), np.array([0.6, 0.5]), Piece(0, 1, 1), short)
    assert found.tolist() == [[0.0, 0.5, 0.6]]


@pytest.mark.parametrize(("end", "score"), [(np.nan, 0.5), (np.inf, 0.5), (2.0, np.nan)])
def test_what_a_broken_model_tells_is_refused(end: float, score: float) -> None:
    with pytest.raises(DataError, match="that the model tells is NaN or infinite"):
        in_seconds(np.array([[0.0, end]]), np.array([score]), Piece(0, 1, 24), GRID)


def test_kept_is_suppression_of_the_best_candidates() -> None:
    random = np.random.default_rng(0)
    start = random.random(50) * 12
    rows = np.column_stack([start, start + 1 + random.random(50) * 8, random.random(50)])
    found = kept(rows, WindowSettings(top=20, keep=4, sigma=0.3))
    best = rows[np.argsort(-rows[:, 2])[:20]]
    place, scores = suppress(best[:, :2], best[:, 2], sigma=0.3, keep=4)
    np.testing.assert_array_equal(found, np.column_stack([best[place, :2], scores]))
    plain = kept(rows, WindowSettings(suppression="none", keep=3))
    np.testing.assert_array_equal(plain, rows[np.argsort(-rows[:, 2])[:3]])
    assert len(kept(rows * [1, 1, 1e-6], WindowSettings())) == 1  # all below the floor: the best one stays
    voted = kept(rows, WindowSettings(keep=4, voting=0.3))
    assert (voted[:, 2] == kept(rows, WindowSettings(keep=4))[:, 2]).all() and not (voted == found).all()


def test_pieces_of_a_view_are_suppressed_together_and_views_are_merged() -> None:
    """Merged by hand as in test_merge_windows: what one of two views saw has half of its score."""
    key, same = ("v", "q"), [[0.0, 10.0, 0.9]]
    found = [
        (key, view, np.array(rows)) for view, rows in ((0, same), (0, [[0.0, 10.0, 0.8], [40.0, 50.0, 0.3]]), (1, same))
    ]
    settings = WindowSettings(suppression="hard", iou=0.5)
    assert gathered(found, 2, settings, WindowMerge())[key] == pytest.approx(np.array([[0, 10, 0.9], [40, 50, 0.15]]))
    apart = [(key, 0, np.array(same)), (key, 1, np.array([[80.0, 90.0, 0.6]]))]
    assert gathered(apart, 2, settings, WindowMerge())[key][:, 2].tolist() == pytest.approx([0.45, 0.3])
    assert len(gathered(apart, 2, WindowSettings(keep=1), WindowMerge())[key]) == 1, "keep counts after merging too"


def test_the_table_is_one_that_stages_take(tmp_path: object) -> None:
    table = windows_table({("b", "q1"): np.array([[1.0, 2.0, 0.5], [0.0, 3.0, 0.25]]), ("a", "q9"): np.empty((0, 3))})
    assert table["rank"].tolist() == [0, 1] and table["video"].tolist() == ["b", "b"]
    write_table(f"{tmp_path}/windows.parquet", table, "windows")
    write_table(f"{tmp_path}/none.parquet", windows_table({}), "windows")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"suppression": "hard", "sigma": 0.5}, "suppression: gaussian"),
        ({"iou": 0.4}, "suppression: linear | hard"),
        ({"votes": "score"}, "voting"),
        ({"keep": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_without_effect_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("|", r"\|")):
        WindowSettings.model_validate(settings)


def test_a_phase_lies_below_its_stride() -> None:
    with pytest.raises(ValueError, match="phase 2 must be below every 2"):
        View(every=2, phase=2)
