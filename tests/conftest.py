"""Shared fixtures: the project folder, the mirror of real data. Tests mirror lib/; tests/workflow runs real Snakemake."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests.faults.counts import table

PROJECT = Path(__file__).resolve().parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("any machine", deadline=None)  # a first example may import a library; speed is for benchmarks
settings.load_profile("any machine")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # put behind & by a script: programs started here would be deaf to it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that none is left to the end: on Slurm (they mostly wait), then what needs a finished run."""

    def place(item: pytest.Item) -> int:
        folders = item.path.parts
        if "slurm" in folders:
            return 0 if item.path.stem == "test_failures" else 1
        return 2 if {"tree", "finished", "demo"} & set(item.fixturenames) else 3

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The counts of the fault tests, when any ran."""
    reports = [one for group in ("passed", "failed") for one in terminalreporter.stats.get(group, [])]
    for line in table(fact for report in reports for fact in report.user_properties):
        terminalreporter.write_line(line)


@pytest.fixture
def project() -> Path:
    """The repository's root."""
    return PROJECT


@pytest.fixture
def mirror() -> Path:
    """The folder with the real data sets; tests that need it skip where it is not given."""
    folder = os.environ.get("VIPERSIGHT_MIRROR")
    if not folder:
        pytest.skip("VIPERSIGHT_MIRROR is not set: the real data sets are not at hand")
    return Path(folder)
