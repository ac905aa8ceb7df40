"""The peer of coco_scores.py: pycocotools over a truth and a results file, its numbers as JSON. Not a benchmark.

python -m tests.benchmarks.coco_peer TRUTH.json RESULTS.json NUMBERS.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def main() -> None:
    truth, results, numbers = sys.argv[1:]
    ground = COCO(truth)
    run = COCOeval(ground, ground.loadRes(results), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    Path(numbers).write_text(json.dumps(run.stats.tolist()))


if __name__ == "__main__":
    main()
