"""Numbers drawn by hash: the same for a name on every machine, whatever else is drawn. Not here: what they choose."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np


def hashes(names: Iterable[str], seed: int, purpose: str) -> np.ndarray:
    """(N,) uint64: BLAKE2b-64 of (seed, purpose, name); u / 2^64 would be uniform in [0, 1)."""
    start = blake2b(f"{seed}\0{purpose}\0".encode(), digest_size=8)
    digests = []
    for name in names:
        one = start.copy()
        one.update(name.encode())
        digests.append(one.digest())
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def mixed(values: np.ndarray) -> np.ndarray:
    """(N,) uint64: the finaliser of splitmix64, a bijection that makes near values far (Steele, Lea, Flood 2014).

    In plain arithmetic, so that no release of a library can change what was drawn with it.
    """
    values = values.astype(np.uint64)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
