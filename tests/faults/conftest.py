"""Fixtures of the fault tests; tests/conftest.py prints their counts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.counts import Tally


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Counts the trials of a test for the table at the end."""
    return Tally(request.node.user_properties)


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tmpfs of 12 MB."""
    place = tmp_path_factory.mktemp("disk") / "mounted"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
