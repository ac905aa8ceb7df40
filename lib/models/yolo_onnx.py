"""ONNX files that ultralytics exported: reading their description, running them. Not here: exporting, and ONNX files of
other makers (their outputs mean something else; they are refused).
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.files import DataError
from lib.models.yolo import YoloPredictor, quiet_ultralytics


class OnnxPredictor(YoloPredictor):
    """A YOLO detector in an ONNX file. `fixed_batch`, `fixed_size`: what the file was exported with, None = any."""

    def __init__(self, path: Path) -> None:
        facts = read_metadata(path)
        quiet_ultralytics()
        with tempfile.TemporaryDirectory(prefix="vipersight-") as folder:
            named = Path(folder) / "model.onnx"  # ultralytics goes by the suffix, and ours are called model.weights
            named.symlink_to(Path(path).resolve())
            super().__init__(str(named))
        self.fixed_batch = facts["batch"]
        self.fixed_size = facts["size"]


def load(path: Path) -> OnnxPredictor:
    """The predictor in an ONNX file; DataError when it is damaged or not one of ultralytics' detectors."""
    return OnnxPredictor(path)


def inspect(path: Path) -> dict[str, Any]:
    """Class names and input size (px) of an ONNX file; parameters are not counted."""
    facts = read_metadata(path)
    return {"class_names": facts["names"], "input_size": max(facts["size"] or facts["imgsz"]), "parameters": None}


def refuse_external_data(path: Path) -> None:
    """DataError when tensors of an ONNX file lie in other files: those could be anywhere, and no sha256 speaks for them."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable ONNX file ({error}). Hint: a cut download?") from error
    outside = [tensor for tensor in _tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        places = sorted({entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"})
        raise DataError(
            f"{path}: refused, {len(outside)} of its tensors lie in other files ({', '.join(places[:3]) or 'none named'}). "
            "Hint: save the model as one file (onnx.save without external data)."
        )


def _tensors(message: Any) -> Iterator[Any]:
    """Every TensorProto below an ONNX message, those of attributes, subgraphs and functions among them."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _tensors(part)


def read_metadata(path: Path) -> dict[str, Any]:
    """What ultralytics wrote into the file: `names`, `imgsz` [height, width] px, and `batch` and `size`, null when free.

    Raises DataError when the file is no ONNX file, or none of ultralytics' detectors.
    """
    import onnxruntime

    refuse_external_data(path)
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no public base class
        raise DataError(f"{path}: not a readable ONNX file ({error}). Hint: a cut download?") from error
    told = session.get_modelmeta().custom_metadata_map
    if told.get("task") != "detect" or "names" not in told:
        raise DataError(
            f"{path}: no detector exported by ultralytics (task {told.get('task')!r}, names "
            f"{'stated' if 'names' in told else 'missing'}). Hint: export it with `yolo export format=onnx`."
        )
    try:
        names, imgsz = ast.literal_eval(told["names"]), ast.literal_eval(told.get("imgsz", "[640, 640]"))
        ordered = [str(names[index]) for index in range(len(names))]
    except (ValueError, SyntaxError, KeyError, TypeError) as error:
        raise DataError(f"{path}: unreadable class names or size in the ONNX metadata ({error}).") from error
    batch, _, height, width = session.get_inputs()[0].shape
    fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    return {"names": ordered, "imgsz": imgsz, "batch": batch if isinstance(batch, int) else None, "size": fixed}
