"""Hashed words, and the gathering of a chunk's queries: cut texts are told, doubtful ones refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lib.config.embed import LightText
from lib.files import DataError
from lib.perception.hashed import direction, projection
from lib.perception.text import encode_texts
from lib.perception.text_light import HashedWords, name_direction, words_of
from lib.tables import COLUMNS, QUERIES

VIDEOS = pd.DataFrame({"video": ["a", "b"]})


def queries(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """(video, query, text) as a QUERIES table."""
    return pd.DataFrame([[*row, "", "", 0.0, 1.0] for row in rows], columns=list(COLUMNS[QUERIES]))


def encode(table: pd.DataFrame, **more: object):
    settings = LightText.model_validate({"kind": "light_text", "width": 64, **more})
    return encode_texts(table, VIDEOS, HashedWords(settings), "featuresets.f")


def test_directions_are_fixed_for_ever() -> None:
    assert np.sign(direction("hook", 8)).astype(int).tolist() == [1, 1, -1, -1, 1, 1, 1, 1]
    assert projection("looks", 3, 2).shape == (3, 2)
    names = [direction(str(number), 256) for number in range(200)]
    likeness = np.stack(names) @ np.stack(names).T - np.eye(200)
    assert np.abs(likeness).max() < 0.35 and np.abs(likeness).mean() < 0.06, "nearly orthogonal"


def test_a_word_is_the_same_row_wherever_it_stands() -> None:
    found = encode(queries(("a", "q0", "When does the HOOK lift?"), ("b", "q1", "the hook")))
    assert found.tensors["q0"].shape == (5, 64) and found.tensors["q1"].shape == (2, 64)
    np.testing.assert_array_equal(found.tensors["q0"][3], found.tensors["q1"][1])
    np.testing.assert_array_equal(found.tensors["q1"][1], name_direction("hook", 64))
    assert [row["video"] for row in found.rows] == ["a", "b"] and np.isnan(found.rows[0]["fps"])
    assert words_of("Où est-il? 2×") == ["où", "est", "il", "2"]


def test_pooled_is_one_row_of_length_1() -> None:
    rows = encode(queries(("a", "q0", "when does the hook lift")), level="pooled").tensors["q0"]
    assert rows.shape == (1, 64) and np.linalg.norm(rows) == pytest.approx(1, abs=1e-5)


def test_long_texts_are_cut_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = encode(queries(("a", "q0", "one two three four"), ("a", "q1", "one")), max_tokens=3)
    assert len(found.tensors["q0"]) == 3 and found.notes["cut_texts"] == 1
    assert "1 of 2 texts are longer than featuresets.f.max_tokens" in capsys.readouterr().err


def test_several_windows_are_one_text_and_other_videos_are_left_out() -> None:
    table = pd.concat([queries(("a", "q0", "the hook"), ("z", "q9", "the load")), queries(("a", "q0", "the hook"))])
    assert list(encode(table).tensors) == ["q0"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("a", "q0", "?!")], r"'q0' of video 'a': '\?!' holds no word"),
        ([("a", "q0", "  ")], "'q0' of video 'a' has no text"),
        ([("a", "q0", "the hook"), ("b", "q0", "the load")], "'q0' names several texts .videos a, b."),
    ],
)
def test_doubtful_queries_are_refused_by_name(rows: list[tuple[str, str, str]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        encode(queries(*rows))
