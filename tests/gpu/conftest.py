"""Tests of what only a GPU can show: `make gpu-test` where there is one; elsewhere they are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.lib.data import packed

HERE = Path(__file__).parent
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # products of matrices that repeat bit for bit


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="no CUDA device is seen"))


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 samples: an epoch is 13 batches of 4, the last of 2; with 3 of them a step, 5 steps, the last of one batch."""
    return packed.write(tmp_path_factory.mktemp("shards"), 50)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Kernels that give the same bits every time."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def memory() -> Iterator[None]:
    """Nothing is left of earlier tests, and a limit that the test sets is taken back."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()
