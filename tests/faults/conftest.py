"""Fixtures of the fault tests; tests/conftest.py prints their counts."""

from __future__ import annotations

import pytest

from tests.faults.counts import Tally


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Counts the trials of a test for the table at the end."""
    return Tally(request.node.user_properties)
