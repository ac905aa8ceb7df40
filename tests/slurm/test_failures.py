"""Real failures on a real Slurm: every training ends as if nothing had happened, and none is trained twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.slurm.injections import KINDS, Bench

pytestmark = pytest.mark.slow


def test_every_failure_ends_right(slurm: None, trained_once: Path, tmp_path: Path) -> None:
    """The profile's retries heal what a retry can heal; the rest goes on when the same command is typed again."""
    outcomes = Bench(tmp_path, trained_once).round(KINDS, 0, retries=3)
    assert {one.kind for one in outcomes} == {kind.name for kind in KINDS}
    assert [one for one in outcomes if not one.right or one.lost or one.twice] == []
    assert [one for one in outcomes if not one.as_it_was] == [], "what `status --failed` called it"
    seen = {one.kind: one for one in outcomes}
    assert all(seen[kind].attempts >= 2 for kind in ("time limit", "out of memory", "node dies", "scancel"))
    assert seen["scancel"].said == "cancelled" and seen["controller restarts"].attempts == 1
