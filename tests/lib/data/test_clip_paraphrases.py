"""Shardsets of clips with their queries in other words, compared with: webdataset reading the same tars, the features that
were packed, and the same shardset without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from lib.config.base import ConfigError
from lib.config.embed import LightText
from lib.data.clip_batches import collate, items
from lib.data.clip_samples import ClipReader
from lib.data.features import Features, write_features
from lib.data.reader import verify
from lib.files import DataError, read_json, sha256_file
from lib.perception.text import encode_texts
from lib.perception.text_light import HashedWords
from tests.lib.data.clips import WORDS, Clips

OTHERS = {
    "said": [{"pattern": "^where does", "by": "the very moment in which"}],
    "short": [{"pattern": " put.*", "by": ""}],
}


class Told(Clips):
    """The clips of the other tests, with two paraphrases of their queries."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.others = {name: self.encoded(WORDS.width, rules) for name, rules in OTHERS.items()}

    def encoded(self, width: int, rules: Any) -> list[Features]:
        settings = LightText.model_validate({"kind": "light_text", "width": width, "rewrite": rules})
        parts = [self.videos.iloc[chunk :: self.chunks] for chunk in range(self.chunks)]
        return [encode_texts(self.queries, mine, HashedWords(settings), "f", settings) for mine in parts]

    def packed(self, **settings: Any) -> Path:
        files = dict(self.files())
        for name, made in self.others.items():
            folder = self.folder / f"features/{name}"
            files["text"] += [
                write_features(folder / f"chunk={n}.safetensors", one, "float32")[0] for n, one in enumerate(made)
            ]
        self.files = lambda dtype="float32": files
        return self.write("told", **{"paraphrases": list(self.others)} | settings)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_a_sample_holds_every_wording_and_the_rest_as_it_was(told: Told) -> None:
    bare = told.write("bare")
    path = told.packed()
    verify(path)
    found = {name: dict(item for one in made for item in one.tensors.items()) for name, made in told.others.items()}
    with ClipReader(path) as reader, ClipReader(bare) as plain:
        assert reader.widths == plain.widths
        for key in plain.index["key"]:
            ours, theirs = reader.read(key), plain.read(key)
            assert ours.queries == theirs.queries and theirs.paraphrases == [] and len(ours.paraphrases) == 2
            assert all(np.array_equal(a, b) for a, b in zip(ours.texts, theirs.texts, strict=True))
            assert np.array_equal(ours.features, theirs.features) and np.array_equal(ours.objects, theirs.objects)
            for number, name in enumerate(OTHERS):
                wanted = [found[name][query["query"]] for query in ours.queries]
                assert all(np.array_equal(a, b) for a, b in zip(ours.paraphrases[number], wanted, strict=True))
                assert ours.worded(number + 1).texts is ours.paraphrases[number] and ours.worded(0) is ours
    tars = sorted(str(tar) for tar in path.parent.glob("*.tar"))
    for one in webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode():
        ends = one["json"]["paraphrase_offsets"]
        assert [len(one["text1.npy"]), len(one["text2.npy"])] == [of_each[-1] for of_each in ends]
        assert len(one["text1.npy"]) != len(one["text.npy"]), "these words are more"


def test_without_paraphrases_nothing_is_packed_otherwise(told: Told) -> None:
    bare, stated = told.write("bare"), told.write("stated", paraphrases=[])
    sums = [{one.name: sha256_file(one) for one in path.parent.iterdir()} for path in (bare, stated)]
    assert sums[0] == sums[1] and "paraphrases" not in read_json(bare)["settings"]
    with ClipReader(bare) as reader:
        assert [name for name in reader.layout.members if name.startswith("text")] == ["text"]
        assert "paraphrase_offsets" not in reader.parsed(0, reader.contents(0)["json"])


def test_a_damaged_paraphrase_is_named(told: Told) -> None:
    path = told.packed()
    with ClipReader(path) as reader:
        row = reader.index.set_index("key").loc["clip-4"]
    tar, place = path.parent / row["shard"], int(row["text2_offset"] + row["text2_size"] // 2)
    whole = tar.read_bytes()
    tar.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
    with ClipReader(path) as reader, pytest.raises(DataError, match=r"clip-4\.text2\.npy"):
        reader.read("clip-4")


def test_another_width_is_refused_by_name(told: Told) -> None:
    told.others["short"] = told.encoded(12, OTHERS["short"])
    with pytest.raises(DataError, match=r"paraphrases: featureset 'short' is 12 wide, 't' is 8. Hint: the same encoder"):
        told.packed()
    assert not (told.folder / "told/manifest.json").exists()


def test_a_query_that_a_paraphrase_lacks_is_named_or_left_out(told: Told) -> None:
    for one in told.others["said"]:
        one.tensors.pop("clip-3_1", None)
        one.rows = [row for row in one.rows if row["unit"] != "clip-3_1"]
    with pytest.raises(DataError, match="1 queries have no features in featureset 'said': clip-3_1"):
        told.packed()
    with ClipReader(told.write("told", paraphrases=list(OTHERS), missing="drop")) as reader:
        one = reader.read("clip-3")
        assert [query["query"] for query in one.queries] == ["clip-3_0", "clip-3_2", "clip-3_3"]
        assert len(one.texts) == len(one.paraphrases[0]) == len(one.paraphrases[1]) == 3
    with pytest.raises(DataError, match="6 files are not the chunks of t, said, short, more"):
        told.write("more", paraphrases=[*OTHERS, "more"])


def test_a_view_of_words_that_a_clip_lacks_is_refused(told: Told) -> None:
    with ClipReader(told.packed()) as reader, pytest.raises(ConfigError, match=r"paraphrase 3 of clip 'clip-0': .* has 2"):
        reader.read("clip-0").worded(3)


def test_a_training_draws_among_all_wordings(told: Told) -> None:
    with ClipReader(told.packed()) as reader:
        one = reader.read("clip-3")
    wordings = [one.texts, *one.paraphrases]
    seen: dict[str, set[int]] = {query["query"]: set() for query in one.queries}
    for seed in range(40):
        for number, item in enumerate(items(one, np.random.default_rng(seed), paraphrases=True)):
            (which,) = [place for place, texts in enumerate(wordings) if texts[number] is item.text]
            seen[item.query].add(which)
    assert all(found == {0, 1, 2} for found in seen.values())
    again = [collate([items(one, np.random.default_rng(7), paraphrases=True)])["text"].numpy() for _ in (0, 1)]
    assert np.array_equal(*again), "the same draws from the same seed"
    with pytest.raises(ConfigError, match="needs something to draw by"):
        items(one, paraphrases=True)


def test_a_clip_with_one_wording_draws_nothing_more(told: Told) -> None:
    """Reference: the same draws without the setting."""
    with ClipReader(told.write("bare")) as reader:
        one = reader.read("clip-3")
    for seed in range(10):
        plain = items(one, np.random.default_rng(seed), queries_per_clip=2)
        drawn = items(one, np.random.default_rng(seed), queries_per_clip=2, paraphrases=True)
        assert [item.query for item in plain] == [item.query for item in drawn]
        assert all(np.array_equal(a.segment, b.segment) for a, b in zip(plain, drawn, strict=True))
