"""Looks of crops through a pretrained backbone, pooled and projected to 128 numbers. Not here: cropping (roi.py).

The projection is fixed signs (hashed.py), which keep distances between boxes; it is not trained. A backbone of exactly 128
numbers is left as it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from lib.config.appearance import APPEARANCE_WIDTH, TorchvisionAppearance, TransformersAppearance
from lib.config.base import ConfigError, nearest
from lib.files import DataError, sha256_file
from lib.perception.clips import refuse_other_width
from lib.perception.hashed import projection, unit_rows
from lib.perception.pretrained import batches, inference, on_device

_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet: what torchvision's models were trained with
_HEADS = ("fc", "classifier", "head", "heads")


class NetworkLooks:
    """The encoder of the appearance kinds transformers and torchvision."""

    def __init__(self, settings: TransformersAppearance | TorchvisionAppearance) -> None:
        if settings.kind == "torchvision":
            self.network: Any = TorchvisionBackbone(settings)
        else:
            from lib.perception.pictures_model import VisionNetwork

            self.network = VisionNetwork(settings)
            if self.network.length > 1:
                raise ConfigError(
                    f"appearance.model: {settings.model!r} takes clips, not pictures. Hint: a picture network."
                )
        refuse_other_width("appearance", settings.width, self.network.width, settings.model)
        self.facts = self.network.facts

    def encode(self, crops: list[np.ndarray]) -> np.ndarray:
        """N crops (h, w, 3) uint8 RGB → (N, 128) float32, rows of length 1."""
        if not crops:
            return np.zeros((0, APPEARANCE_WIDTH), np.float32)
        rows = unit_rows(self.network.encode(crops))
        if rows.shape[1] != APPEARANCE_WIDTH:
            rows = rows @ projection("looks", rows.shape[1], APPEARANCE_WIDTH)
        return unit_rows(rows)


class TorchvisionBackbone:
    """A classifier of torchvision with its last layer taken off."""

    def __init__(self, settings: TorchvisionAppearance) -> None:
        import torch
        from torchvision.models import get_model, list_models

        if settings.model not in list_models():
            raise ConfigError(
                f"appearance.model: torchvision has no {settings.model!r}. {nearest(settings.model, list_models())}"
            )
        file = Path(os.path.expandvars(os.path.expanduser(settings.file))) if settings.file else None
        network = get_model(settings.model, weights=None if file else "DEFAULT")
        if file:
            _fill(network, file, settings.model)
        head = next((name for name in _HEADS if hasattr(network, name)), None)
        if head is None:
            raise ConfigError(
                f"appearance.model: {settings.model!r} has no last layer of a known name ({', '.join(_HEADS)})."
            )
        setattr(network, head, torch.nn.Identity())
        self.settings, self.facts = settings, {"model": settings.model}
        self.facts |= {"model_digest": f"sha256:{sha256_file(file)}"} if file else {}
        self.network, self.device = on_device(network)
        self.width = int(self.encode([np.zeros((settings.size, settings.size, 3), np.uint8)]).shape[1])

    def encode(self, pictures: list[np.ndarray]) -> np.ndarray:
        """N pictures (h, w, 3) uint8 RGB of any size, stretched to a square → (N, width) float32."""
        import cv2
        import torch

        side = (self.settings.size, self.settings.size)
        mean, spread = (torch.tensor(values, device=self.device)[None, :, None, None] for values in (_MEAN, _SPREAD))
        found = []
        with inference():
            for group in batches(pictures, self.settings.batch):
                square = np.stack(
                    [cv2.resize(np.ascontiguousarray(one), side, interpolation=cv2.INTER_AREA) for one in group]
                )
                given = torch.from_numpy(square).to(self.device).permute(0, 3, 1, 2).float() / 255
                found.append(self.network((given - mean) / spread).flatten(1).float().cpu().numpy())
        return np.concatenate(found)


def _fill(network: Any, file: Path, model: str) -> None:
    """Read a state dict into a network. DataError for a file that is missing, damaged, or of another network."""
    if not file.is_file():
        raise DataError(f"appearance.file: {file}: no such file. Hint: a state dict of {model}, .safetensors or .pth")
    if file.suffix == ".safetensors":
        from lib.tensor_files import read_tensors

        state = read_tensors(file)
    else:
        from lib.models.loading import load_checkpoint

        state = load_checkpoint(file)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        told = " ".join(str(error).split())[:200]
        raise DataError(f"appearance.file: {file} is no state of {model} ({told}). Hint: is `model` right?") from error
