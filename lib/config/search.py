"""`search:` — n members of a variant drawn from ranges and lists, by a Sobol sequence or at random.

Not here: how members are named and put on boards (sweeps.py), and the search that learns from scores
(workflow_scripts/tune.py; it takes its space from here). scipy is imported only when a Sobol sequence is drawn.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from lib.config.base import ConfigError, Section, explain
from lib.config.overrides import Value, meaning, text_of

DIGITS = 3  # of drawn numbers: a value and the name that says it are the same number
_FIRST_POINTS = 64  # a power of two, which Sobol sequences are even in


class SearchDimension(Section):
    """What one place may be: a number from `low` to `high`, or one of `choices`."""

    kind: Literal["float", "int"] = Field("float", description="int = whole numbers between low and high, both included.")
    low: float | None = Field(None, description="Lowest value.")
    high: float | None = Field(None, description="Highest value.")
    log: bool = Field(False, description="true = evenly over the logarithm: for rates and weights that span decades.")
    step: float | None = Field(
        None, gt=0, description="Only low, low + step, low + 2 step, …; null = any number (of kind int: every one)."
    )
    choices: list[Any] | None = Field(None, min_length=1, description="A list of values in place of low and high.")

    @model_validator(mode="after")
    def _one_form(self) -> SearchDimension:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.step is not None or self.log or self.kind != "float":
                raise ValueError("state `choices`, or `low` and `high` with their `log`, `step` and `kind`, not both")
            meanings = [meaning(value) for value in self.choices]
            twice = next((text_of(value) for value in self.choices if meanings.count(meaning(value)) > 1), None)
            if twice is not None:
                raise ValueError(f"{twice} stands twice among the choices")
            return self
        if self.low is None or self.high is None:
            raise ValueError("state both `low` and `high`, or `choices`")
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, not {self.low:g}. Hint: a small number such as 1e-5, or log: false")
        if self.log and self.step is not None:
            raise ValueError("log and step do not go together. Hint: list the values as `choices`")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step {self.step:g} is wider than from low {self.low:g} to high {self.high:g}")
        if self.kind == "int" and any(one is not None and one % 1 for one in (self.low, self.high, self.step)):
            raise ValueError("kind: int needs whole numbers as low, high and step")
        return self

    @property
    def size(self) -> float:
        """How many different values there are; infinity for numbers without a step."""
        if self.choices is not None:
            return len(self.choices)
        spacing = self.spacing
        return math.inf if spacing is None else math.floor((self.high - self.low) / spacing + 1e-9) + 1

    @property
    def spacing(self) -> float | None:
        """Distance of neighbouring values, None where any number may be."""
        return self.step or (1.0 if self.kind == "int" else None)

    @property
    def highest(self) -> float | None:
        """The last value: `high`, or the last step below it."""
        return self.high if self.spacing is None else self.low + (self.size - 1) * self.spacing

    def at(self, share: float) -> Value:
        """The value at a share of the way, 0 ≤ share < 1."""
        if self.choices is not None:
            return self.choice(int(share * len(self.choices)))
        if self.kind == "int" and self.log:  # each whole number owns the stretch around it
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return self.near(math.exp(low + share * (high - low)))
        if self.spacing is not None:
            return self.near(self.low + int(share * self.size) * self.spacing)
        if self.log:
            return self.near(math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low))))
        return self.near(self.low + share * (self.high - self.low))

    def choice(self, place: int) -> Value:
        """One of the choices, by its place in the list."""
        return Value(text_of(self.choices[place]), self.choices[place])

    def near(self, number: float) -> Value:
        """The value for a number of the range: rounded as its name says it, and inside the range after that too.

        Three significant digits; more where low and high share their first ones, so that a hundred values always fit.
        """
        if self.kind == "int":
            whole = int(min(max(round(number), self.low), self.high))
            return Value(str(whole), whole)
        digits = 12
        if self.step is None:
            largest = max(abs(self.low), abs(self.high))
            digits = max(DIGITS, 2 + math.ceil(math.log10(largest / (self.high - self.low))))
        inside = min(max(float(f"{number:.{digits}g}"), self.low), self.high)
        text = f"{inside:.12g}" if float(f"{inside:.12g}") == inside else repr(inside)
        return Value(text, float(text))

    def ends(self) -> tuple[Value, ...]:
        """The outermost values, or all choices: what a check of the settings tries."""
        if self.choices is not None:
            return tuple(self.choice(place) for place in range(len(self.choices)))
        return self.near(self.low), self.near(self.highest)


class Search(Section):
    """Members drawn from a space. The same seed draws the same ones; a larger n keeps the first n."""

    method: Literal["sobol", "random"] = Field(
        "sobol", description="sobol = spread evenly (a scrambled Sobol sequence); random = independent draws."
    )
    n: int = Field(ge=1, description="How many different members are drawn; more are added behind the first ones.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the draw.")
    space: dict[str, SearchDimension] = Field(
        min_length=1, description="Dotted place, as in `sweep:` -> what it may be: `training.lr0: {low: 1e-4, high: 1e-2}`."
    )


def read_search(block: Any, where: str) -> Search | None:
    """A `search:` block as it was read, checked; None for none. Raises ConfigError with the place and what is allowed."""
    if block is None:
        return None
    if isinstance(block, dict) and block.get("space") in ({}, None):
        raise ConfigError(
            f"{where}.space: is empty: nothing to draw. Hint: space: {{training.lr0: {{low: 1e-4, high: 1e-2}}}}"
        )
    try:
        return Search.model_validate(block)
    except ValidationError as error:
        raise ConfigError(explain(error, where, block)) from error


def read_space(block: Any, where: str) -> dict[str, SearchDimension]:
    """A space alone, as `tune --space` takes one."""
    try:
        return read_search({"n": 1, "space": block}, where).space
    except ConfigError as error:
        raise ConfigError(str(error).replace(f"{where}.space", where)) from error


def draw(search: Search, where: str) -> list[dict[str, Value]]:
    """The n members, place → value, all different. Raises ConfigError where the space does not hold so many."""
    size = math.prod(one.size for one in search.space.values())
    found: dict[tuple[str, ...], dict[str, Value]] = {}
    if size >= search.n:
        for point in islice(_points(search), 1000 + 100 * search.n):
            member = {place: one.at(share) for (place, one), share in zip(search.space.items(), point, strict=True)}
            found.setdefault(tuple(value.text for value in member.values()), member)
            if len(found) == search.n:
                return list(found.values())
    most = int(size) if size < search.n else len(found)
    raise ConfigError(
        f"{where}.n: {search.n} different members are asked for, but the space holds {most}. "
        f"Hint: n: {most}, or a wider space."
    )


def _points(search: Search) -> Iterator[tuple[float, ...]]:
    """Points of the unit cube without end, the same for the same seed, method and number of places."""
    dimensions = len(search.space)
    if search.method == "random":
        generator = random.Random(search.seed)
        while True:
            yield tuple(generator.random() for _ in range(dimensions))
    from scipy.stats import qmc  # here: its import takes longer than all other settings together

    engine = qmc.Sobol(d=dimensions, scramble=True, rng=search.seed)
    while True:
        for point in engine.random(_FIRST_POINTS):
            yield tuple(float(share) for share in point)


def space_of(settings: Mapping[str, Any], variant: str) -> dict[str, SearchDimension] | None:
    """The space that settings state for a variant: its own, or the study's; None for none."""
    entry = (settings.get("variants") or {}).get(variant)
    own = read_search(entry.get("search"), f"variants.{variant}.search") if isinstance(entry, dict) else None
    found = own or read_search(settings.get("search"), "search")
    return found.space if found else None
