"""Queries in other words by real Snakemake: from a table and rules through shards to the windows of test-time views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lib.data.clip_samples import ClipReader
from lib.files import read_json
from lib.perception.hashed import direction
from lib.perception.text_light import words_of
from lib.tables import read_table
from tests.workflow.conftest import TINY, Tree

pytestmark = pytest.mark.slow

WORDS = {"kind": "light_text", "width": 32}
STUDY: dict[str, Any] = {
    "running": {"device": "cpu", "workers": 0},
    "datasets": {"site": TINY["datasets"]["site"] | {"chunks": 1}},
    "featuresets": {
        "looks": {"kind": "light_clips", "stride": 2, "window": 4, "side": 64, "sound": False},
        "words": WORDS,
        "again": WORDS,
        "told": WORDS | {"phrases": "told.csv", "rewrite": [{"pattern": "^When (does|is) ", "by": r"Moment, \1 "}]},
    },
    "shardsets": {
        "nlq": {
            "kind": "clips",
            "splits": ["train", "test"],
            "clips": "looks",
            "text": "words",
            "paraphrases": ["again", "told"],
        },
    },
    "arms": {"every": {"shardset": "nlq", "background": "all"}},
    "variants": {"raw": {"task": "grounding", "kind": "floor", "floor": "untrained", "arm": "every", "size": "tiny"}},
    "trainings": {"grounding": {"preset": "tiny"}},
    "tta": {
        "none": {"views": [{}]},
        "again": {"views": [{"paraphrase": 1}]},
        "told": {"views": [{"paraphrase": 2}]},
        "beyond": {"views": [{}, {"paraphrase": 3}]},
    },
    "boards": {},
    "weights": {},
    "detectors": {},
}


def test_from_a_table_to_windows(fresh: Callable[[dict[str, Any]], Tree]) -> None:
    tree = fresh(STUDY)
    folder = tree.folder / "results"
    tree.snakemake("--", "results/videos/site/manifest.parquet")
    queries = read_table(folder / "videos/site/truth/queries.parquet", "queries").drop_duplicates("query")
    retold = queries["query"].iloc[0]
    (tree.folder / "told.csv").write_text(f"query,text\n{retold},the very first thing\n")
    wanted = {tta: f"results/predictions/site/raw/seed=0/tta={tta}.parquet" for tta in ("none", "again", "told")}
    tree.snakemake("--", *wanted.values())

    found = {tta: pd.read_parquet(tree.folder / path) for tta, path in wanted.items()}
    pd.testing.assert_frame_equal(found["none"], found["again"], check_exact=True)
    assert not found["none"].equals(found["told"]) and len(found["told"])
    texts = queries.set_index("query")["text"]
    assert texts.str.startswith("When ").all(), "the rule finds something in each"
    with ClipReader(folder / "shards/site/nlq/manifest.json") as reader:
        for sample in reader.iterate():
            for place, query in enumerate(sample.queries):
                (same, told), name = (words[place] for words in sample.paraphrases), query["query"]
                assert np.array_equal(same, sample.texts[place])
                said = "the very first thing" if name == retold else texts[name].replace("When ", "Moment, ", 1)
                assert np.array_equal(told, [direction(word, 32) for word in words_of(said)]), said
    meta = read_json(folder / "features/site/told/chunk=0.meta.json")
    assert meta["features"]["phrases_digest"] in str(meta["inputs"])

    assert not tree.planned("--", *wanted.values())
    (tree.folder / "told.csv").write_text(f"query,text\n{retold},the very last thing\n")
    again = tree.planned("--", *wanted.values())
    assert "features/site/told/chunk=0.safetensors" in again and "shards/site/nlq/manifest.json" in again
    assert not again & {f"features/site/{name}/chunk=0.safetensors" for name in ("words", "again", "looks")}

    done = tree.snakemake("-n", "--", "results/predictions/site/raw/seed=0/tta=beyond.parquet", check=False)
    assert done.returncode
    assert "tta.beyond: view 1 has paraphrase 3, but shardset 'nlq' of variant 'raw' has 2" in done.stdout + done.stderr
    (tree.folder / "told.csv").write_text("query,text\nnobody,asked this\n")
    done = tree.snakemake("--", "results/features/site/told/chunk=0.safetensors", check=False)
    assert done.returncode and "told.csv: row 2: the dataset has no query 'nobody'" in done.stdout + done.stderr
