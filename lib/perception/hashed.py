"""Fixed random directions made of names: the same numbers on every machine, in every process and for ever. Not here: texts.

A direction has entries ±1/√width, its signs the bits of SHAKE-256 of its name: two of them are orthogonal but for about
1/√width (Achlioptas, 2003: such signs keep distances as Gaussian ones do). numpy's generators may change their streams
between releases, a hash may not.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import shake_256

import numpy as np


@lru_cache(maxsize=65536)
def direction(name: str, width: int) -> np.ndarray:
    """(width,) float32 of length 1."""
    found = _signs(f"direction {name}", width) / np.float32(np.sqrt(width))
    found.flags.writeable = False  # it is shared
    return found


@lru_cache(maxsize=8)
def projection(name: str, given: int, wanted: int) -> np.ndarray:
    """(given, wanted) float32 that keeps lengths and angles on average: x @ projection."""
    found = _signs(f"projection {name}", given * wanted).reshape(given, wanted) / np.float32(np.sqrt(wanted))
    found.flags.writeable = False
    return found


def _signs(name: str, count: int) -> np.ndarray:
    octets = np.frombuffer(shake_256(name.encode()).digest((count + 7) // 8), np.uint8)
    return np.unpackbits(octets)[:count].astype(np.float32) * 2 - 1


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """(N, D) rows of length 1, float32; rows of nothing but 0 stay so."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows, dtype=np.float32), where=lengths > 0)
