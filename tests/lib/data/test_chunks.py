"""Videos in chunks: each in one, about equal ones, also of clips whose frames nobody counted."""

from __future__ import annotations

import pandas as pd
import pytest

from lib.data.chunks import chunk_of


@pytest.mark.parametrize("frames", [[0] * 10, [30, 10, 10, 10, 0, 0, 0, 0, 0, 0]])
def test_every_video_is_in_one_chunk_and_clips_without_frames_are_spread(frames: list[int]) -> None:
    """Reference: ten clips that count as one frame each, in three chunks; or 30, 10 + 10, and 10 + 6 frames."""
    manifest = pd.DataFrame({"video": [f"v{number}" for number in range(10)], "frames": frames})
    chunks = [chunk_of(manifest, chunk, 3)["video"].tolist() for chunk in range(3)]
    assert sorted(video for chunk in chunks for video in chunk) == manifest["video"].tolist()
    assert sorted(map(len, chunks)) == ([3, 3, 4] if not any(frames) else [1, 2, 7])
