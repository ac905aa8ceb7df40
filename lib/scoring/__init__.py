"""Tasks that `score` knows, one module each: official files in, plain numbers out. Not here: metrics (lib/metrics), the
DAG.

A task's module says HELP (one line), `add_arguments(parser)` and `score(arguments) -> values for JSON`, and imports its
evaluator only inside `score`, so that `--help` is quick. Files are checked whole before anything is computed.
"""

from __future__ import annotations

TASKS = {
    "detection": "lib.scoring.detection",
    "tracking": "lib.scoring.tracking",
    "grounding": "lib.scoring.grounding",
}
"""Task as typed -> its module."""
