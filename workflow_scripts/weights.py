"""Get one weights entry: a local file, a download checked by sha256, or a model trained in this DAG.

python -m workflow_scripts.weights --settings JSON --output results/weights/W/weights.json [--model …/model.json]
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lib import provenance
from lib.config.download import FileEntry
from lib.config.weights import Weights
from lib.data.fetch import fetch
from lib.files import DataError, read_json, write_json
from lib.models.cards import card_of_file
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    _program.add_settings(arguments)
    arguments.add_argument("--model", type=Path, nargs="?", help="card of the trained model, for `variant:` weights")
    arguments.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()

    weights = Weights.model_validate(given.settings)
    folder = given.output.parent
    folder.mkdir(parents=True, exist_ok=True)
    inputs: dict[str, Path] = {}
    if given.model is not None:
        card = card_of_trained(given.model, folder)
        inputs["model"] = given.model
    else:
        file = local_file(weights) if weights.path else downloaded_file(weights, folder)
        card = card_of_file(file, weights.sha256) | {"file": os.path.relpath(file, folder)}
    write_json(given.output, card)
    provenance.record([given.output], stage="weights", settings=given.settings, inputs=inputs)


def card_of_trained(model: Path, folder: Path) -> dict[str, Any]:
    """The trained model's own card, pointing at its weights."""
    card = read_json(model)
    return card | {"file": os.path.relpath(model.parent / "model.weights", folder)}


def local_file(weights: Weights) -> Path:
    """The file of `path:`, referenced where it is."""
    path = Path(os.path.expandvars(weights.path or "")).expanduser()
    if not path.is_file():
        raise DataError(f"weights path {weights.path!r}: no such file ({path}). Hint: check `weights:` in the study.")
    return path


def downloaded_file(weights: Weights, folder: Path) -> Path:
    """The file of `url:`, from the mirror or the network, whole and with the expected sha256."""
    name = (weights.url or "").rsplit("/", 1)[-1]
    mirror = os.environ.get("VIPERSIGHT_MIRROR")
    entry = FileEntry(path=name, url=weights.url, sha256=weights.sha256)
    fetch(
        [entry],
        folder,
        mirror=Path(mirror) if mirror else None,
        on_missing="fail",
        workers=1,
        status_file=folder / "files.json",
    )
    return folder / name


if __name__ == "__main__":
    _program.run(main)
