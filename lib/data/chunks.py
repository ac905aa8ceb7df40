"""Which videos belong to which chunk: many small jobs become a fixed number of equal ones. Not here: how many (config)."""

from __future__ import annotations

import heapq

import pandas as pd


def chunk_of(manifest: pd.DataFrame, chunk: int, chunks: int) -> pd.DataFrame:
    """Rows of the manifest in one chunk, in manifest order.

    Longest videos first, each to the chunk with the fewest frames so far (Graham's LPT rule), ties by chunk number and
    video id: the same for every job, whatever runs first.
    """
    load = [(0, number) for number in range(chunks)]
    mine = []
    for video, frames in sorted(zip(manifest["video"], manifest["frames"], strict=True), key=lambda one: (-one[1], one[0])):
        total, number = heapq.heappop(load)
        heapq.heappush(load, (total + max(int(frames), 1), number))  # clips without frames are spread, too
        if number == chunk:
            mine.append(video)
    return manifest[manifest["video"].isin(mine)].reset_index(drop=True)
