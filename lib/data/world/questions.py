"""Questions about synthetic videos with short answers, balanced so that the words of a question do not tell its answer.
Not here: what can be asked about a video (askable.py, askable_over_time.py).

Questions are chosen one by one: the evidence channel that lacks most (config: evidence), in it the kind that was asked
least, then an answer by lot (else answers would take turns, and the place of a question would tell its answer), and what
asks for it in the words that have had it least. A question that would let an answer outnumber its alternatives is not
asked, however often the world would offer it, nor one that would take a channel far beyond its share. At most one question
of a kind per video, in random order.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from lib.data.world.askable import askable
from lib.data.world.asking import Balance, Question
from lib.data.world.events import Episode

_LEAD = 2.0  # by how many questions an answer may lead the mean of its alternatives, over a whole kind
_LEAD_IN_WORDS = 1.5  # the same among questions of the same words or about the same thing
_SURPLUS = 0.06  # of all questions, that a channel may have beyond its share when others have nothing to ask


def answers_of(episodes: list[Episode]) -> list[dict[str, Any]]:
    """Rows video, question, kind, text, answer, evidence; at most `questions` per video."""
    asked: Counter[Any] = Counter()
    rows = []
    for episode in episodes:
        rng = np.random.default_rng([episode.plan.seed, 8])
        offers = list(askable(episode, rng))
        offers = [offers[int(place)] for place in rng.permutation(len(offers))]
        chosen: list[Question] = []
        while len(chosen) < episode.options.questions:
            offers = [one for one in offers if one.kind not in {two.kind for two in chosen}]
            one = _next(offers, asked, episode.options.evidence.shares(), rng)
            if one is None:
                break
            chosen.append(one)
            asked.update([one.evidence, one.kind, *((balance.key, balance.value) for balance in one.balances)])
        for number, place in enumerate(rng.permutation(len(chosen))):
            one = chosen[int(place)]
            words = {"kind": one.kind, "text": one.text, "answer": one.answer, "evidence": one.evidence}
            rows.append({"video": episode.plan.name, "question": f"{episode.plan.name}-a{number}", **words})
    return rows


def _next(
    offers: list[Question], asked: Counter[Any], shares: dict[str, float], rng: np.random.Generator
) -> Question | None:
    """The question to ask next; None where nothing fair is left."""
    total = sum(asked[channel] for channel in shares) + 1
    lack = {channel: share * total - asked[channel] for channel, share in shares.items()}
    open_channels = {channel for channel, share in shares.items() if share > 0 and lack[channel] > -_SURPLUS * total}
    fair = [one for one in offers if one.evidence in open_channels and _fair(one, asked)]
    if not fair:
        return None
    channel = max(sorted({one.evidence for one in fair}), key=lambda key: lack[key])
    kind = min((one.kind for one in fair if one.evidence == channel), key=lambda key: asked[key])
    answers = sorted({(one.balances[0].key, one.balances[0].value) for one in fair if one.kind == kind})
    drawn = answers[int(rng.integers(len(answers)))]
    return min(
        (one for one in fair if one.kind == kind and (one.balances[0].key, one.balances[0].value) == drawn),
        key=lambda one: sum(_ahead(balance, asked) for balance in one.balances[1:]),
    )


def _ahead(balance: Balance, asked: Counter[Any]) -> float:
    """By how much this answer leads the mean of all answers that the key can have."""
    mean = sum(asked[balance.key, one] for one in balance.choices) / len(balance.choices)
    return asked[balance.key, balance.value] - mean


def _fair(one: Question, asked: Counter[Any]) -> bool:
    whole, *words = (_ahead(balance, asked) for balance in one.balances)
    return whole < _LEAD and all(lead < _LEAD_IN_WORDS for lead in words)
