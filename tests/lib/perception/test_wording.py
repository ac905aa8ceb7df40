"""Queries in other words: phrases, then rules; what a table says wrongly is refused by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.config.embed import LightText
from lib.files import DataError, sha256_file
from lib.perception.text import encode_texts
from lib.perception.text_light import HashedWords
from lib.perception.wording import read_phrases, rewritten
from tests.lib.perception.test_text import VIDEOS, queries

TABLE = queries(
    ("a", "q0", "when does the hook lift the load"), ("a", "q1", "when does person 2 sit"), ("b", "q2", "the load falls")
)
RULES = [
    {"pattern": r"^when does (the )?(?P<who>\w+)", "by": r"the moment that \g<who>"},
    {"pattern": "moment", "by": "time"},
]


def encode(table: pd.DataFrame = TABLE, **more: object):
    settings = LightText.model_validate({"kind": "light_text", "width": 64, **more})
    return encode_texts(table, VIDEOS, HashedWords(settings), "featuresets.f", settings)


def test_rules_are_applied_in_their_order_and_everywhere() -> None:
    settings = LightText.model_validate({"kind": "light_text", "rewrite": RULES})
    assert rewritten("when does the hook lift", settings.rewrite) == "the time that hook lift"
    assert rewritten("WHEN does the moment come, the moment", settings.rewrite) == "WHEN does the time come, the time"
    assert rewritten("when does x", settings.rewrite[::-1]) == "the moment that x", "the other order is another text"


def test_features_are_those_of_the_other_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIPERSIGHT_RAW", str(tmp_path))
    path = tmp_path / "retold.csv"
    path.write_text('\ufeffquery,text\nq1,"moment, when person 2 sits down"\n\n', encoding="utf-8")
    found = encode(phrases="retold.csv", rewrite=RULES)
    texts = ["the time that hook lift the load", "time, when person 2 sits down", "the load falls"]
    wanted = encode(TABLE.assign(text=texts))
    assert found.tensors.keys() == wanted.tensors.keys() == {"q0", "q1", "q2"}
    assert all(np.array_equal(found.tensors[unit], values) for unit, values in wanted.tensors.items())
    assert np.array_equal(found.tensors["q2"], encode().tensors["q2"]), "without a phrase a query keeps its words"
    assert found.notes["phrases_digest"] == sha256_file(path) and "phrases_digest" not in encode().notes


def test_without_rules_they_are_what_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    plain = encode_texts(TABLE, VIDEOS, HashedWords(LightText(kind="light_text", width=64)), "featuresets.f")
    bare = encode()
    assert all(bare.tensors[unit].tobytes() == values.tobytes() for unit, values in plain.tensors.items())
    assert bare.notes == plain.notes and not capsys.readouterr().err
    encode(rewrite=[{"pattern": "platypus", "by": "duck"}])
    assert "featuresets.f changes the words of no query: it is no paraphrase" in capsys.readouterr().err


def test_a_query_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(DataError, match=r"'q2' of video 'b': featuresets.f.rewrite leaves nothing of 'the load falls'"):
        encode(rewrite=[{"pattern": "^the .*", "by": " "}])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"its columns are \[\], expected \['query', 'text'\]"),
        ("query;text\nq0;x\n", r"its columns are \['query;text'\]. expected"),
        ("text,query\nx,q0\n", r"its columns are \['text', 'query'\]"),
        ("query,text\nq0,x\nq9,y\n", r"row 3: the dataset has no query 'q9'. Hint: did you mean .*Known: q0, q1"),
        ("query,text\nq0,x\nq0,y\n", "row 3: query 'q0' is there twice"),
        ("query,text\nq0, \n", "row 2: query 'q0' has no text"),
        ("query,text\nq0,one, two\n", "row 2 has 3 cells, expected 2. Hint: quote a text"),
        ('query,text\nq0,"open\n', "no table of UTF-8 text"),
        ("query,text\nq0,\xff\n", "no table of UTF-8 text"),
    ],
)
def test_a_damaged_table_is_refused_by_row(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "retold.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=f"retold.csv: .*{says}"):
        read_phrases(path, {"q0", "q1"})


def test_of_thousands_of_queries_only_the_likely_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "retold.csv"
    path.write_text("query,text\nquery-x17,y\n")
    with pytest.raises(DataError, match=r"no query 'query-x17'. Hint: did you mean 'query-\d*17'\? It has 3000.$"):
        read_phrases(path, {f"query-{number:04d}" for number in range(3000)})
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        read_phrases(tmp_path / "gone.csv", set())
