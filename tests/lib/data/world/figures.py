"""Oracles and blind floors of what the synthetic world says in words, at its default settings.

    python -m tests.lib.data.world.figures      prints them as a table

An oracle predicts what is true and must score 1 where the metric allows it; a floor sees no video. Floors learn from the
training split and are scored on test.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from lib.data.world.askable import askable
from lib.data.world.asking import Balance
from lib.data.world.captions import captions_of, facts_of
from lib.data.world.events import Episode
from lib.data.world.queries import queries_of
from lib.data.world.questions import answers_of
from lib.data.world.relations import relations_of
from lib.metrics import retrieval, scene_graph, temporal
from tests.lib.data.world.made import episodes
from tests.lib.data.world.solver import solve

Row = dict[str, Any]
TRAIN, TEST = 24, 40


@cache
def worlds(train: int = TRAIN, test: int = TEST) -> dict[str, list[Episode]]:
    """The first videos of both splits."""
    found = episodes(videos={"train": train, "test": test})
    return {split: [one for one in found if one.plan.split == split] for split in ("train", "test")}


def by_name(*splits: list[Episode]) -> dict[str, Episode]:
    return {one.plan.name: one for split in splits for one in split}


def queries() -> dict[str, float]:
    """R@1 of the true windows, of the window that fitted each template best in training, and of the query's place."""
    train, test = (queries_of(worlds()[split]) for split in ("train", "test"))
    lasts = {video: one.duration_s for video, one in by_name(*worlds().values()).items()}
    by_template = defaultdict(list)
    for row in train:
        by_template[row["template"]].append(row)
    prior, usual = {name: _best_window(rows, lasts) for name, rows in by_template.items()}, _best_window(train, lasts)
    of_video = Counter(row["video"] for row in test)
    places: Counter[str] = Counter()
    windows: dict[str, list[np.ndarray]] = {"oracle": [], "template prior": [], "order prior": []}
    for row in test:
        last, count = lasts[row["video"]], of_video[row["video"]]
        windows["oracle"].append(np.array([[row["start_s"], row["end_s"]]]))
        windows["template prior"].append(np.array([prior.get(row["template"], usual)]) * last)
        centre = (places[row["video"]] + 0.5) / count * last
        windows["order prior"].append(np.array([[max(0.0, centre - last / 6), min(last, centre + last / 6)]]))
        places[row["video"]] += 1
    truth = np.array([[row["start_s"], row["end_s"]] for row in test])
    return {
        f"{name}, R@1 IoU>{threshold}": temporal.recall(found, truth, k=1, threshold=threshold)
        for name, found in windows.items()
        for threshold in (0.3, 0.5)
    }


def _best_window(rows: list[Row], lasts: dict[str, float]) -> tuple[float, float]:
    """The window, as shares of the video, with the highest R@1 at 0.3 and 0.5 together."""
    truth = np.array([[row["start_s"], row["end_s"]] for row in rows])
    last = np.array([[lasts[row["video"]]] for row in rows])
    ends = np.linspace(0, 1, 21)
    grid = [(start, end) for start in ends for end in ends if end > start]

    def score(window: tuple[float, float]) -> float:
        found = list((np.array([window]) * last)[:, None, :])
        return sum(temporal.recall(found, truth, k=1, threshold=threshold) for threshold in (0.3, 0.5))

    return max(grid, key=score)


def relations() -> dict[str, float]:
    """Recall of triplets, objects given: the truth itself, and how often each class of object has each predicate."""
    tables = {split: pd.DataFrame(relations_of(found)) for split, found in worlds().items()}
    classes = {(video, track): thing.kind for video, one in _episodes().items() for track, thing in one.things.items()}
    for name, table in tables.items():
        pairs = zip(table["video"], table["object"], strict=True)
        tables[name] = table.assign(kind=[classes[pair] for pair in pairs])
    pair = ["video", "frame", "subject", "object", "kind"]
    often = tables["train"].groupby(["kind", "group", "predicate"]).size()
    often = (often / tables["train"].drop_duplicates(pair).groupby("kind").size()).rename("score").reset_index()
    prior = tables["test"].drop_duplicates(pair)[pair].merge(often, on="kind")
    found = {}
    for name, predictions in (("oracle", tables["test"].assign(score=1.0)), ("class prior", prior)):
        for k in (10, 20, 100):
            scores = scene_graph.recall(tables["test"], predictions, k=k)
            found |= {f"{name}, R@{k}": scores["recall"], f"{name}, mR@{k}": scores["mean_recall"]}
    return found


def _episodes() -> dict[str, Episode]:
    return by_name(*worlds().values())


def captions() -> dict[str, float]:
    """Caption → video, R@1 among the test videos: by the facts that are told, by length, and by chance."""
    test = worlds()["test"]
    facts = [facts_of(one, 0.0, one.duration_s) for one in test]
    whole = [row for row in captions_of(test) if "start_s" not in row]
    alike = np.array([[_agree(told, shown) for shown in facts] for told in facts])
    words = np.argsort(np.argsort([len(row["text"]) for row in whole]))
    frames = np.argsort(np.argsort([one.plan.frames for one in test]))
    own = np.arange(len(test))
    return {
        "oracle, R@1": retrieval.recall(alike, own, k=1),
        "length of text and video, R@1": retrieval.recall(-np.abs(words[:, None] - frames[None, :]), own, k=1),
        "chance, R@1": retrieval.recall(np.zeros((len(test), len(test))), own, k=1),
    }


def _agree(told: Counter[Any], shown: Counter[Any]) -> float:
    """Jaccard index of two multisets of facts; 1 for two that hold nothing."""
    union = (told | shown).total()
    return (told & shown).total() / union if union else 1.0


def answers() -> dict[str, float]:
    """Exact match: the solver, what is commonest per kind and per text, words and their order, chance."""
    train, test = (answers_of(worlds()[split]) for split in ("train", "test"))
    truth = np.array([row["answer"] for row in test])
    predictions = {
        "oracle": [solve(_episodes()[row["video"]], row["text"]) for row in test],
        "commonest per kind": commonest(train, test, "kind"),
        "commonest per text": commonest(train, test, "text"),
        "words of the question": by_words(train, test),
    }
    scores = {name: float(np.mean(np.array(found) == truth)) for name, found in predictions.items()}
    return scores | {"chance": chance(test)}


def commonest(train: list[Row], test: list[Row], key: str) -> list[str]:
    """The commonest training answer to questions that share `key`; that of the kind where none does."""
    seen: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in train:
        seen["kind", row["kind"]][row["answer"]] += 1
        seen[key, row[key]][row["answer"]] += 1
    return [
        (seen.get((key, row[key])) or seen["kind", row["kind"]] or Counter({"": 1})).most_common(1)[0][0] for row in test
    ]


def by_words(train: list[Row], test: list[Row]) -> list[str]:
    """A linear model of the question's words, pairs and triples of words."""
    counter = CountVectorizer(ngram_range=(1, 3), token_pattern=r"\w+")
    words = counter.fit_transform([row["text"] for row in train])
    model = LogisticRegression(max_iter=500).fit(words, [row["answer"] for row in train])
    return list(model.predict(counter.transform([row["text"] for row in test])))


def chance(rows: list[Row]) -> float:
    """Expected share of right answers when drawing among the answers that each question can have."""
    return float(np.mean([1 / len(balance_of(row, _episodes()).choices) for row in rows]))


def balance_of(row: Row, names: dict[str, Episode]) -> Balance:
    """Which answers a question can have, and which of them is its own."""
    episode = names[row["video"]]
    offers = askable(episode, np.random.default_rng([episode.plan.seed, 8]))
    return next(one.balances[0] for one in offers if one.text == row["text"])


FIGURES = {"queries": queries, "relations": relations, "captions": captions, "answers": answers}


def main() -> None:
    for truth, figures in FIGURES.items():
        for name, value in figures().items():
            print(f"{truth:10} {name:36} {value:.3f}")


if __name__ == "__main__":
    main()
