"""A budget of GPU-hours: how it is written, and whether a plan keeps it. Not here: what the plan costs (price.py)."""

from __future__ import annotations

import math
import re

from lib.config.base import ConfigError
from lib.pricing.estimate import Interval

WITHIN, OVER, UNTOLD = 0, 5, 6
"""Exit codes of `plan --budget`: kept, exceeded, cannot be told."""
_HOURS = {"d": 24.0, "h": 1.0, "min": 1 / 60}


def hours(text: str) -> float:
    """`40h`, `2d` or `90min` → GPU-hours, above 0. ConfigError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text)
    if match is None or match[2] not in _HOURS or not 0 < float(match[1]) < math.inf:
        raise ConfigError(
            f"--budget: {text!r} is no number of GPU-hours above 0 with a unit (d, h, min). Hint: 40h, 2d or 90min."
        )
    return float(match[1]) * _HOURS[match[2]]


def verdict(budget: float, cost: Interval, unknown: int) -> tuple[int, str]:
    """Exit code and one sentence.

    The upper end of the interval counts: a budget is kept when nine of ten runs like this one would stay in it. unknown:
    jobs with GPUs whose cost is unknown; then nobody can say that it is kept, but it is exceeded all the same where the
    lower end of the known part alone is beyond it.
    """
    told = f"budget {budget:.3g} GPU-h"
    if unknown and cost.low <= budget:
        return UNTOLD, f"{told}: cannot be told, {unknown} job{'s' if unknown > 1 else ''} with GPUs of unknown cost"
    if unknown or cost.high > budget:
        end = f"more than {cost.low:.3g}" if unknown else f"one run in ten takes more than {cost.high:.3g}"
        return OVER, f"{told}: exceeded ({end} GPU-h)"
    return WITHIN, f"{told}: kept (nine runs in ten take less than {cost.high:.3g} GPU-h)"
