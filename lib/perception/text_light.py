"""Texts as hashed words: each word has a direction of its own, fixed for ever. Not here: networks (text_model.py).

L tokens, Dt width. Words carry no meaning here: "lift" and "raise" are as far apart as any two. That is enough where
queries share words with each other, as the synthetic world's do, and a strict floor for what a text network adds.
"""

from __future__ import annotations

import re

import numpy as np

from lib.config.embed import LightText
from lib.perception.hashed import direction, unit_rows

_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Words in order, in lower case; digits count, punctuation and spaces do not."""
    return _WORD.findall(text.casefold())


def name_direction(name: str, width: int) -> np.ndarray:
    """(width,) float32 of length 1 (0 for a name without a word): the mean direction of a name's words."""
    found = [direction(word, width) for word in words_of(name)]
    return unit_rows(np.mean(found, axis=0, keepdims=True))[0] if found else np.zeros(width, np.float32)


class HashedWords:
    """The encoder of kind light_text."""

    def __init__(self, settings: LightText) -> None:
        self.settings, self.width, self.facts = settings, settings.width, {}

    def encode(self, texts: list[str]) -> tuple[list[np.ndarray], list[bool]]:
        """Per text [L, Dt] or [1, Dt] float32 (0 rows where it holds no word), and whether it was cut."""
        found, cut = [], []
        for text in texts:
            words = words_of(text)
            cut.append(len(words) > self.settings.max_tokens)
            rows = [direction(word, self.width) for word in words[: self.settings.max_tokens]]
            tokens = np.stack(rows) if rows else np.zeros((0, self.width), np.float32)
            if self.settings.level == "pooled" and len(tokens):
                tokens = unit_rows(tokens.mean(axis=0, keepdims=True))
            found.append(tokens)
        return found, cut
