"""The counts of the fault tests: every trial is one of refused, right, wrong, lost; wrong and lost must stay 0.

refused: a clear error that names the file or setting. right: the same result as without the fault. wrong: bad data taken,
or something executed. lost: finished work gone, or a crash without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from lib.config.base import VipersightError

OUTCOMES = ("refused", "right", "wrong", "lost")
PROPERTY = "fault"


class Tally:
    """Counts the trials of one test; `done` is handed to pytest, so that they add up over test processes."""

    def __init__(self, done: list[tuple[str, object]]) -> None:
        self.done = done

    def count(self, kind: str, outcome: str, amount: int = 1) -> None:
        self.done.append((PROPERTY, (kind, outcome, amount)))

    def refused(self, kind: str, act: Callable[[], Any], *says: str) -> str:
        """`act` must raise a refusal that says all of `says`; returns its text."""
        try:
            got = act()
        except VipersightError as refusal:
            text = str(refusal)
            missing = [words for words in says if words not in text]
            self.count(kind, "lost" if missing else "refused")
            assert not missing, f"the refusal says {text!r}, without {missing}"
            return text
        except Exception:
            self.count(kind, "lost")
            raise
        self.count(kind, "wrong")
        raise AssertionError(f"was accepted: {got!r}")

    def right(self, kind: str, is_right: bool, note: str = "") -> None:
        """Count a trial that must give the untouched result."""
        self.count(kind, "right" if is_right else "wrong")
        assert is_right, note or kind


def table(properties: Iterable[tuple[str, Any]]) -> list[str]:
    """Lines of a Markdown table of all counts."""
    counts: dict[str, Counter[str]] = {}
    for name, value in properties:
        if name == PROPERTY:
            kind, outcome, amount = value
            counts.setdefault(kind, Counter())[outcome] += amount
    if not counts:
        return []
    lines = [f"| fault | tried | {' | '.join(OUTCOMES)} |", "|:--|" + "--:|" * (len(OUTCOMES) + 1)]
    total: Counter[str] = Counter()
    for kind, found in sorted(counts.items()):
        lines.append(_row(kind, found))
        total += found
    return [*lines, _row("all", total)]


def _row(kind: str, found: Counter[str]) -> str:
    cells = [f"{found.total():,}", *(f"{found[one]:,}" for one in OUTCOMES)]
    return f"| {kind} | {' | '.join(cells)} |"
