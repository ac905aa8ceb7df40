"""ONNX files that ultralytics exported: reading their description, looking at frames. Not here: exporting, and ONNX files
of other makers (their outputs mean something else; they are refused).

Runs without torch and ultralytics, which a detection job would spend most of its start and of its memory on. Letterbox,
suppression and scaling back are ultralytics' steps on arrays; a test compares the boxes with the library's own. Letters: A
anchors, C classes, N boxes.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.config.base import ConfigError
from lib.data.images import fit_within, fitted
from lib.files import DataError
from lib.models.yolo import YoloPredictor

GREY = np.float32(114) / np.float32(255)
"""What ultralytics fills the letterbox's borders with."""
CLASS_SPACING = np.float32(7680)  # px; boxes of different classes are moved apart by it, so that they never overlap
MOST_CANDIDATES = 30_000  # boxes that enter the suppression, best first


class OnnxPredictor(YoloPredictor):
    """A YOLO detector in an ONNX file. `fixed_batch`, `fixed_size`: what the file was exported with, None = any."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)
        facts = read_metadata(path, self._session)
        self.names: list[str] = facts["names"]
        self.fixed_batch = facts["batch"]
        self.fixed_size = facts["size"]
        self._stride: int = facts["stride"]
        self._memory: np.ndarray | None = None
        self._kind: tuple[Any, ...] = ()
        self._input: str = self._session.get_inputs()[0].name
        kind = self._session.get_inputs()[0].type
        self._dtype = np.float16 if kind == "tensor(float16)" else np.float32

    def _images(self, frames: list[np.ndarray], imgsz: int) -> np.ndarray:
        """(B, 3, h, w) float32, 0..1, of frames of one shape; filled again by the next call for as many of that shape."""
        kind = (len(frames), frames[0].shape, imgsz)
        self._memory = letterboxed(frames, self.fit(imgsz), self._step(), self._memory if self._kind == kind else None)
        self._kind = kind
        return self._memory

    def _step(self) -> int | None:
        return None if self.fixed_size else self._stride

    def raw(self, frames: list[np.ndarray], imgsz: int) -> np.ndarray:
        """What the network itself says of frames of one shape, before suppression: (B, 4 + C, A) float32."""
        return self._said(self._images(frames, imgsz))

    def _said(self, images: np.ndarray) -> np.ndarray:
        step = self.fixed_batch or len(images)
        missing = -len(images) % step
        if missing:  # the file takes so many and no fewer
            images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])
        parts = [images[start : start + step].astype(self._dtype, copy=False) for start in range(0, len(images), step)]
        said = [self._session.run(None, {self._input: part})[0] for part in parts]
        whole = said[0] if len(said) == 1 else np.concatenate(said)
        return whole[: len(whole) - missing].astype(np.float32, copy=False)

    def _boxes(self, images: np.ndarray, shape: tuple[int, ...], conf: float, iou: float, max_det: int) -> list[np.ndarray]:
        size = (images.shape[2], images.shape[3])
        found = [scaled_back(suppressed(raw, conf, iou, max_det), size, shape) for raw in self._said(images)]
        return [boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])] for boxes in found]


def letterboxed(
    frames: list[np.ndarray], size: tuple[int, int], step: int | None, out: np.ndarray | None = None
) -> np.ndarray:
    """(B, 3, h, w) float32, 0..1: frames (H, W, 3) uint8 of one shape, scaled to fit `size` (height, width) px, on grey.

    step: null fills `size` exactly; else the borders shrink to the next multiple of `step` px. out: what this gave for
    frames of that shape and number, to be filled again, as new memory costs more than filling it.
    """
    pictures = [fitted(frame, size) for frame in frames]
    height, width = pictures[0].shape[:2]
    rows, columns = size[0] - height, size[1] - width
    if step:
        rows, columns = rows % step, columns % step
    if out is None:
        out = np.full((len(frames), 3, height + rows, width + columns), GREY, np.float32)
    top, left = _border(rows), _border(columns)
    for picture, planes in zip(pictures, out[:, :, top : top + height, left : left + width], strict=True):
        np.divide(picture.transpose(2, 0, 1), np.float32(255), out=planes, dtype=np.float32)
    return out


def _border(pixels: int) -> int:
    """Pixels above (or left of) the frame; of an odd number the greater part comes below."""
    return round(pixels / 2 - 0.1)


def suppressed(raw: np.ndarray, conf: float, iou: float, max_det: int) -> np.ndarray:
    """Boxes (N, 6) float32: x1, y1, x2, y2 in px of the input, score, class index; best score first.

    raw: (4 + C, A) centres, sizes and class scores, or (N, 6) finished boxes of a file that suppresses doubles itself.
    """
    if raw.shape[1] == 6:
        return raw[raw[:, 4] > conf][:max_det]
    best = raw[4:].max(axis=0)
    places = np.flatnonzero(best > conf)
    if len(places) > MOST_CANDIDATES:
        places = places[np.argsort(-best[places], kind="stable")[:MOST_CANDIDATES]]
    if not len(places):
        return np.zeros((0, 6), dtype=np.float32)
    candidates = raw[:, places]
    half = candidates[2:4] / 2
    classes = candidates[4:].argmax(axis=0).astype(np.float32)
    boxes = np.vstack([candidates[:2] - half, candidates[:2] + half, best[places][None], classes[None]]).T
    apart = boxes[:, :4] + classes[:, None] * CLASS_SPACING
    apart[:, 2:] -= apart[:, :2]
    kept = cv2.dnn.NMSBoxes(apart.astype(np.float64), boxes[:, 4], score_threshold=0.0, nms_threshold=iou)
    return np.ascontiguousarray(boxes[np.asarray(kept, dtype=np.int64)[:max_det]])


def scaled_back(boxes: np.ndarray, size: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """Boxes (N, 6) in input px, of `size` (height, width), in frame px, of `shape` (H, W, …), cut at its edges."""
    height, width = fit_within(shape, size)
    top, left = _border(size[0] - height), _border(size[1] - width)
    boxes[:, :4] -= np.array([left, top, left, top], dtype=np.float32)
    boxes[:, :4] /= np.array([width / shape[1], height / shape[0]] * 2, dtype=np.float32)
    np.clip(boxes[:, 0:4:2], 0, shape[1], out=boxes[:, 0:4:2])
    np.clip(boxes[:, 1:4:2], 0, shape[0], out=boxes[:, 1:4:2])
    return boxes


def load(path: Path) -> OnnxPredictor:
    """The predictor in an ONNX file; DataError when it is damaged or not one of ultralytics' detectors."""
    return OnnxPredictor(path)


def inspect(path: Path) -> dict[str, Any]:
    """Class names and input size (px) of an ONNX file; parameters are not counted."""
    facts = read_metadata(path, open_session(path))
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


def open_session(path: Path) -> Any:
    """onnxruntime's session on the chosen device. DataError: a damaged file; ConfigError: a device that is not there."""
    import onnxruntime

    refuse_external_data(path)
    providers = _providers(onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    # Its threads would wait for work by burning CPU, which decoding and suppression need meanwhile; results are the same.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's own errors share no public base class
        raise DataError(f"{path}: not a readable ONNX file ({error}). Hint: a cut download?") from error


def _providers(available: list[str]) -> list[Any]:
    """Where a session runs: VIPERSIGHT_DEVICE (cpu, cuda:0 …), else the first GPU, else the CPU."""
    wanted = os.environ.get("VIPERSIGHT_DEVICE") or ""
    if not re.fullmatch(r"|cpu|cuda(:\d+)?", wanted):
        raise ConfigError(f"VIPERSIGHT_DEVICE={wanted!r} is no device. Hint: use cpu or cuda:0.")
    if "CUDAExecutionProvider" in available and wanted != "cpu":
        number = int(wanted.partition(":")[2] or 0)
        return [("CUDAExecutionProvider", {"device_id": number}), "CPUExecutionProvider"]
    if wanted.startswith("cuda"):
        raise ConfigError(
            f"VIPERSIGHT_DEVICE={wanted!r}: this onnxruntime runs on the CPU only. Hint: leave it out, or install "
            "onnxruntime-gpu."
        )
    return ["CPUExecutionProvider"]


def read_metadata(path: Path, session: Any) -> dict[str, Any]:
    """What ultralytics wrote into the file: names, imgsz [height, width] px, stride px, and batch, size (null = any).

    Raises DataError when it is none of ultralytics' detectors.
    """
    told = session.get_modelmeta().custom_metadata_map
    if told.get("task") != "detect" or "names" not in told:
        raise DataError(
            f"{path}: no detector exported by ultralytics (task {told.get('task')!r}, names "
            f"{'stated' if 'names' in told else 'missing'}). Hint: export it with `yolo export format=onnx`."
        )
    try:
        names, imgsz = ast.literal_eval(told["names"]), ast.literal_eval(told.get("imgsz", "[640, 640]"))
        ordered = [str(names[index]) for index in range(len(names))]
        stride = int(float(told.get("stride", "32")))
    except (ValueError, SyntaxError, KeyError, TypeError) as error:
        raise DataError(f"{path}: unreadable class names or size in the ONNX metadata ({error}).") from error
    batch, _, height, width = session.get_inputs()[0].shape
    fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    batch = batch if isinstance(batch, int) else None
    return {"names": ordered, "imgsz": imgsz, "stride": stride, "batch": batch, "size": fixed}
