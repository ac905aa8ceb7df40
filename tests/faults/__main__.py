"""Run all fault tests and print the table: tried, refused, right, wrong, lost, per kind. More words go to pytest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(["-q", str(Path(__file__).parent), *sys.argv[1:]]))
