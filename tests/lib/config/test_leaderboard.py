"""Reference: the settings page of DESIGN (boards of scores and of tracks) and the refusals that it asks for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from lib.config.base import identity
from lib.config.leaderboard import Board


def test_defaults_depend_on_the_kind() -> None:
    scores = Board.model_validate({"dataset": "world", "variants": ["a"]})
    tracks = Board.model_validate({"dataset": "world", "kind": "tracks", "detectors": ["d"], "trackers": ["t"]})
    assert (scores.metric, scores.tta, tracks.metric, tracks.tta) == (None, ["none"], "HOTA", None)
    assert Board.model_validate(identity(tracks)).model_dump() == tracks.model_dump()  # as a job gets it


def test_titles_are_for_people_only() -> None:
    board = {"dataset": "world", "variants": ["a"]}
    assert identity(Board.model_validate(board | {"title": "x"})) == identity(Board.model_validate(board))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"variants": None}, "needs `variants`"),
        ({"trackers": ["t"]}, "`trackers` belongs to kind: tracks"),
        ({"kind": "tracks", "variants": None, "detectors": ["d"]}, "needs `trackers`"),
        ({"variants": ["a", "a"]}, "same name twice"),
        ({"kind": "tracks", "variants": None, "detectors": ["d"], "trackers": ["t"], "metric": "AP"}, "Known: AssA, DetA"),
        ({"metrik": "AP"}, "did you mean 'metric'"),
        ({"variants": []}, "at least 1"),
        ({"variants": ["../a"]}, "pattern"),
    ],
)
def test_wrong_boards_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Board.model_validate({"dataset": "world", "variants": ["a"]} | given)
