"""Ultralytics' YOLO detectors: building one, reading one safely, looking at frames. Not here: training
(lib/training/yolo.py) and ONNX files (yolo_onnx.py).

Letterbox, suppression and scaling back are the library's own. What it would do by itself is switched off: no network, no
self-installing, no settings outside a private folder, no checkpoint read by its unrestricted loader.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.config.base import ConfigError
from lib.config.running import Running
from lib.files import DataError
from lib.models.loading import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    import torch

LEAST_TRANSFERRED = 0.5
"""Starting weights must fill at least this share of the model's tensors, else they belong to another model."""
NO_TIME_LIMIT = 1e9  # s; by default ultralytics drops boxes when suppression is slow, so results would depend on load


def quiet_ultralytics(folder: Path | None = None) -> None:
    """Make the coming `import ultralytics` silent and offline. Call before it; calling again does nothing.

    folder: where ultralytics may write its settings; a private temporary one, removed at exit, when None.
    """
    if os.environ.get("YOLO_OFFLINE") != "true" or "YOLO_CONFIG_DIR" not in os.environ:
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="vipersight-ultralytics-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for place in (folder, folder / "Ultralytics"):  # it looks for its font in the second, and else downloads it
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_font(), place / "Arial.ttf")
        os.environ |= {
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
            "YOLO_VERBOSE": "false",
            "YOLO_CONFIG_DIR": str(folder),
            "ULTRALYTICS_SAFE_LOAD": "true",
        }
    if "ultralytics" not in sys.modules:
        from ultralytics.utils import LOGGER

        LOGGER.setLevel(logging.WARNING)  # its progress bars follow this level


def _font() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def device() -> str:
    """Where models run: VIPERSIGHT_DEVICE (cpu, cuda:0 …), else `running.device`; auto = the first GPU, or the CPU.

    From here on they run with or without cuDNN, as `running.cudnn` says.
    """
    import torch

    from lib.devices import choose_device, use_cudnn

    running = Running.of_this_run()
    use_cudnn(running)
    wanted = os.environ.get("VIPERSIGHT_DEVICE")
    if not wanted:
        return {"cuda": "cuda:0"}.get(chosen := choose_device(running.device, 1), chosen)
    try:
        kind = torch.device(wanted).type
    except RuntimeError as error:
        raise ConfigError(f"VIPERSIGHT_DEVICE={wanted!r} is no device. Hint: use cpu or cuda:0.") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"VIPERSIGHT_DEVICE={wanted!r}: torch sees no GPU here. Hint: leave it out, or ask for a GPU node."
        )
    return wanted


def build(model: str, names: list[str], *, seed: int, weights: Path | None = None) -> torch.nn.Module:
    """A DetectionModel (float32, CPU) for C = len(names) classes.

    model: ultralytics name such as yolo11n. seed: of the random start, equal for every data set. weights: a .pt to start
    from; layers that depend on the classes are taken where names agree. Raises ConfigError when the weights belong to
    another model, DataError for a refused or damaged file.
    """
    quiet_ultralytics()
    import torch
    from ultralytics.nn.tasks import DetectionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = DetectionModel(f"{model}.yaml", ch=3, nc=len(names), verbose=False)
    net.names = dict(enumerate(names))
    if weights is not None:
        start = checkpoint_model(weights)
        share = _transferable(start, net)
        if share < LEAST_TRANSFERRED:
            raise ConfigError(
                f"training.weights: {weights} fills only {share:.0%} of the tensors of model {model!r}. "
                f"Hint: they were made with another model; set training.model to the one they belong to."
            )
        net.load(start, verbose=False)
    return net


def _transferable(start: torch.nn.Module, net: torch.nn.Module) -> float:
    """Share of the model's tensors that the starting weights hold in the same shape."""
    known, wanted = start.state_dict(), net.state_dict()
    same = sum(key in known and known[key].shape == value.shape for key, value in wanted.items())
    return same / len(wanted)


def checkpoint_model(path: Path) -> torch.nn.Module:
    """The DetectionModel (float32, evaluation mode) in an ultralytics checkpoint, EMA weights first."""
    quiet_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    contents = load_checkpoint(path)
    net = contents.get("ema") or contents.get("model")
    if not isinstance(net, DetectionModel):
        raise DataError(f"{path}: holds no ultralytics detection model, but {type(net).__name__}. Hint: use a detect .pt.")
    return net.float().eval()


def is_finite(net: torch.nn.Module) -> bool:
    """Whether every weight and statistic is a finite number."""
    import torch

    return all(bool(torch.isfinite(value).all()) for value in net.state_dict().values())


def save_model(net: torch.nn.Module, path: Path, train_args: dict[str, Any]) -> None:
    """Write a model as ultralytics' own stripped checkpoint (float16), which `YOLO("model.pt")` reads too.

    train_args: the library's settings to store; no date and no path is stored, so that equal models are equal files.
    """
    from copy import deepcopy

    import torch
    from ultralytics import __version__

    copy = deepcopy(net).cpu().half().to(memory_format=torch.contiguous_format)
    copy.criterion = None
    copy.args = train_args
    for parameter in copy.parameters():
        parameter.requires_grad = False
    for value in copy.state_dict().values():
        torch.nan_to_num_(value)  # what float16 cannot hold becomes its largest number, as in ultralytics' own files
    save_checkpoint({"epoch": -1, "model": copy, "ema": None, "train_args": train_args, "version": __version__}, path)


class YoloPredictor:
    """A YOLO detector over frames. `names`: its classes; `fixed_batch`: None, as any number of frames goes."""

    fixed_batch: int | None = None
    fixed_size: tuple[int, int] | None = None  # (height, width) px of the input, where the file is fixed to one

    def __init__(self, source: Any) -> None:
        """source: a DetectionModel, or the path of an ONNX file made by ultralytics."""
        quiet_ultralytics()
        import torch
        from ultralytics.nn.autobackend import AutoBackend

        # end2end=False: models with a suppression-free head too use the ordinary one, so that `iou` has its meaning.
        self._backend = AutoBackend(source, device=torch.device(device()), fuse=True, verbose=False, end2end=False).eval()
        self.names: list[str] = [self._backend.names[index] for index in sorted(self._backend.names)]

    def fit(self, imgsz: int) -> tuple[int, int]:
        """(height, width) px into which frames may be scaled beforehand (lib/data/images.fitted) without changing a box."""
        return self.fixed_size or (imgsz, imgsz)

    def predict(
        self,
        frames: list[np.ndarray],
        *,
        conf: float,
        iou: float,
        max_det: int,
        imgsz: int,
        shapes: list[tuple[int, int]] | None = None,
    ) -> list[np.ndarray]:
        """Boxes of each frame.

        frames: (H, W, 3) uint8 RGB, of any sizes, whole or already scaled to `fit`; then `shapes` says (height, width) px
        of the whole ones, in which boxes are given. conf: lowest score, 0..1. iou: boxes of a class overlapping by more are
        one object, 0..1. max_det: most boxes per frame. imgsz: longer side of the input, px. Returns per frame (N, 6)
        float32: x1, y1, x2, y2 in px of the frame, score, class index; best score first. A frame's boxes do not depend on
        the other frames. Raises ConfigError when the file is fixed to another input size.
        """
        if self.fixed_size is not None and imgsz != max(self.fixed_size):
            raise ConfigError(
                f"input size {imgsz} px: this ONNX file is fixed to {self.fixed_size[1]} x {self.fixed_size[0]} px. "
                f"Hint: set imgsz: {max(self.fixed_size)}, use no scaled view, or export the model with dynamic=True."
            )
        found: list[np.ndarray] = [np.zeros((0, 6), dtype=np.float32)] * len(frames)
        kinds = [(frame.shape, shape) for frame, shape in zip(frames, shapes or [f.shape[:2] for f in frames], strict=True)]
        for kind in dict.fromkeys(kinds):  # one input shape per batch: least padding
            places = [place for place, other in enumerate(kinds) if other == kind]
            images = self._images([frames[place] for place in places], imgsz)
            for place, boxes in zip(places, self._boxes(images, kind[1], conf, iou, max_det), strict=True):
                found[place] = boxes
        return found

    def raw(self, frames: list[np.ndarray], imgsz: int) -> np.ndarray:
        """What the network itself says of frames of one shape, before suppression: (B, 4 + classes, anchors) float32."""
        import torch

        with torch.inference_mode():
            said = self._backend(self._images(frames, imgsz))
        said = said[0] if isinstance(said, list | tuple) else said  # torch models add the outputs of each stride
        return said.float().cpu().numpy()

    def _images(self, frames: list[np.ndarray], imgsz: int) -> torch.Tensor:
        import torch
        from ultralytics.data.augment import LetterBox

        letterbox = LetterBox(self.fixed_size or (imgsz, imgsz), auto=self.fixed_size is None, stride=self._backend.stride)
        stacked = torch.from_numpy(np.stack([letterbox(image=frame) for frame in frames])).to(self._backend.device)
        return stacked.permute(0, 3, 1, 2).contiguous().float().div_(255)

    def _boxes(
        self, images: torch.Tensor, shape: tuple[int, ...], conf: float, iou: float, max_det: int
    ) -> list[np.ndarray]:
        import torch
        from ultralytics.utils.nms import non_max_suppression
        from ultralytics.utils.ops import scale_boxes

        with torch.inference_mode():
            raw = self._backend(images)
            kept = non_max_suppression(raw, conf, iou, max_det=max_det, max_time_img=NO_TIME_LIMIT)
            for boxes in kept:
                boxes[:, :4] = scale_boxes(images.shape[2:], boxes[:, :4], shape)
        arrays = [boxes.cpu().numpy().astype(np.float32) for boxes in kept]
        return [boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])] for boxes in arrays]


def load(path: Path) -> YoloPredictor:
    """The predictor in an ultralytics checkpoint."""
    return YoloPredictor(checkpoint_model(path))


def inspect(path: Path) -> dict[str, Any]:
    """Class names, input size (px, of its training; 640 when not stated) and number of parameters of a checkpoint."""
    net = checkpoint_model(path)
    arguments = net.args if isinstance(net.args, dict) else vars(net.args)
    return {
        "class_names": [net.names[index] for index in sorted(net.names)],
        "input_size": int(arguments.get("imgsz") or 640),
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
    }
