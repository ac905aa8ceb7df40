"""Turn a trained model into a file for other runtimes, with a model card made from its lineage.

python -m workflow_scripts.convert --model results/train/D/VARIANT/seed=0/model.json --to onnx [--out FOLDER] [--fixed]

FOLDER (default: exported/VARIANT-seed-0 below the current folder) gets VARIANT.onnx and README.md, the card. The ONNX
network's output is compared with the original's on the way; a file that differs by more than rounding is not kept.
"""

from __future__ import annotations

from pathlib import Path

from lib.config.base import ConfigError
from lib.files import write_text
from workflow_scripts import _program

FORMATS = ("onnx",)


def main() -> None:
    arguments = _program.parser(__doc__)
    arguments.add_argument("--model", type=Path, required=True, help="model.json of a training, or a .pt file")
    arguments.add_argument("--to", choices=FORMATS, required=True, help="kind of file")
    arguments.add_argument("--out", type=Path, help="folder of the file and its card")
    arguments.add_argument("--imgsz", type=int, help="input size in px (default: the one that it was trained at)")
    arguments.add_argument(
        "--fixed", action="store_true", help="one frame of just that size at a time, as some runtimes want"
    )
    arguments.add_argument("--opset", type=int, help="ONNX opset (default: the highest that runtimes know well)")
    given = arguments.parse_args()

    from lib.models.cards import find_model
    from lib.models.yolo_export import to_onnx
    from lib.reporting.model_card import model_card

    weights, card = find_model(given.model)
    if card["format"] != "ultralytics":
        raise ConfigError(
            f"{given.model}: a {card['format']} file cannot become ONNX. Hint: name a trained YOLO or a .pt file."
        )
    seed = weights.resolve().parent.name
    trained = seed.startswith("seed=")
    name = weights.resolve().parent.parent.name if trained else weights.stem
    folder = given.out or Path("exported") / (f"{name}-{seed.replace('=', '-')}" if trained else name)
    file = folder / f"{name}.onnx"
    difference = to_onnx(weights, file, imgsz=given.imgsz or int(card["input_size"]), fixed=given.fixed, opset=given.opset)
    write_text(folder / "README.md", model_card(weights, card, file, difference=difference))
    print(file, folder / "README.md", sep="\n")


if __name__ == "__main__":
    _program.run(main)
