"""What evaluation on test says of a training of ours, if it was of this very model. Not here: boards, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib.files import DataError, read_json
from lib.provenance import meta_path
from lib.registry.entry import OURS, Entry, number

_OF_TASK = {
    "detection": {"box_mAP": ("metrics", "AP"), "box_mAP50": ("metrics", "AP50")},
    "segmentation": {
        **{"mask_mAP": ("metrics", "AP"), "mask_mAP50": ("metrics", "AP50")},
        **{"box_mAP": ("boxes", "AP"), "box_mAP50": ("boxes", "AP50")},
    },
}


def scores_on_test(entry: Entry, on: str | None = None, tta: str = "none") -> dict[str, float]:
    """Scores on test by our names, {} without any. on: the dataset, null = that of the training.

    Scores of an older model of the same name do not count: meta.json of scores, predictions and model have to fit.
    """
    if entry.origin != OURS or entry.output is None or not entry.made:
        return {}
    folder = Path(entry.output)
    results, cell = folder.parents[3], Path(on or str(entry.dataset), entry.name, folder.name)
    scores, predictions = (results / kind / cell / f"tta={tta}.json" for kind in ("metrics", "predictions"))
    with suppress(DataError, KeyError, OSError):
        told = read_json(scores)
        if not (_follows(scores, "predictions", predictions) and _follows(predictions, "model", folder / "model.json")):
            return {}
        return {
            name: value
            for name, (block, key) in _OF_TASK.get(str(entry.task), {}).items()
            if (value := number(_block(told, block).get(key))) is not None
        }
    return {}


def _follows(path: Path, role: str, source: Path) -> bool:
    """Whether the making of a file names that of its source as it is now."""
    return bool(read_json(meta_path(path))["inputs"][role] == read_json(meta_path(source))["identity"])


def _block(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}
