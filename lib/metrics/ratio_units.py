"""Units of scores that are sums over counts: what a board needs per video to score any resample. Not here: how it does
(lib/reporting/unit_scores.py).

Letters: V videos, C classes (templates, predicates, lengths of an answer …).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def ratio_columns(metric: str) -> tuple[str, str]:
    """Columns of units in the form of ratios: per video a list of C sums, and of C counts that they are divided by."""
    return f"{metric}:sum", f"{metric}:count"


def ratio_units(items: pd.DataFrame, metrics: Sequence[str], *, group: str, groups: Sequence[str]) -> pd.DataFrame:
    """One row per video (sorted), from one row per item (query, frame …) with its values of the metrics.

    items: columns video, `group` (class of the item) and one float column per metric, 0–1, NaN where the item does not
    count for it. Columns of the result: video, then per metric those of `ratio_columns`, lists of C float64 in the order
    of `groups`. ValueError for an item of another class.
    """
    videos, video = np.unique(items["video"].to_numpy(dtype=object), return_inverse=True)
    kind = pd.Index(groups).get_indexer(pd.Index(items[group]))
    if (kind < 0).any():
        raise ValueError(f"{group} {items[group].iloc[int(np.argmax(kind < 0))]!r} is none of {list(groups)}")
    place = video * len(groups) + kind
    units = pd.DataFrame({"video": videos})
    for metric in metrics:
        value = items[metric].to_numpy(np.float64)
        counts = np.isfinite(value)
        for column, weights in zip(ratio_columns(metric), (np.where(counts, value, 0.0), counts), strict=True):
            sums = np.bincount(place, weights=weights.astype(np.float64), minlength=len(videos) * len(groups))
            units[column] = pd.Series(list(sums.reshape(len(videos), len(groups))), dtype=object)
    return units
