"""Pictures and short clips through vision networks of transformers: one row each. Not here: windows, crops, texts.

N pictures or clips, D width. Of networks that were trained beside a text (CLIP) the projected embedding is taken, which
lies in the texts' space; of others what they pool, and where they pool nothing the mean of their tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.config.base import ConfigError
from lib.config.embed_common import PretrainedSection
from lib.perception.pretrained import batches, facts_of, inference, loaded, on_device

PICTURE_HALVES = {
    "clip": "CLIPVisionModelWithProjection",
    "clip_vision_model": "CLIPVisionModelWithProjection",
    "siglip": "SiglipVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
}
"""Kind of configuration -> class of the half that looks at pictures; others are read by AutoModel."""
CLIP_KINDS = ("videomae", "vivit", "timesformer")
"""Kinds of configuration that take several frames at once."""


class VisionNetwork:
    """A network and what prepares its input. length: frames of one input, 1 for pictures."""

    def __init__(self, settings: PretrainedSection) -> None:
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        known = {"model": settings.model, "revision": settings.revision}
        config = loaded(transformers.AutoConfig.from_pretrained, **known)
        kind = config.model_type
        self.length = _frames_of(config, kind) if kind in CLIP_KINDS else 1
        reader = transformers.AutoVideoProcessor if self.length > 1 else transformers.AutoImageProcessor
        self.prepare = loaded(reader.from_pretrained, **known)
        family = getattr(transformers, PICTURE_HALVES.get(kind, "AutoModel"))
        network = loaded(family.from_pretrained, **known, use_safetensors=True)
        self.batch, self.facts = settings.batch, facts_of(settings.model, network)
        self.network, self.device = on_device(network)
        side = np.zeros((32, 32, 3), np.uint8)
        self.width = int(self.encode([np.stack([side] * self.length) if self.length > 1 else side]).shape[1])

    def encode(self, inputs: list[np.ndarray]) -> np.ndarray:
        """N pictures (h, w, 3), or clips (length, h, w, 3), uint8 RGB → [N, width] float32."""
        found = []
        with inference():
            for group in batches(inputs, self.batch):
                found.append(_pooled(self.network(**self._prepared(group))).float().cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, self.width), np.float32)

    def _prepared(self, group: list[np.ndarray]) -> dict[str, Any]:
        if self.length > 1:
            ready = self.prepare([[frame for frame in clip] for clip in group], return_tensors="pt")
        else:
            ready = self.prepare(group, return_tensors="pt", input_data_format="channels_last")
        return {
            "pixel_values": next(ready[key] for key in ("pixel_values", "pixel_values_videos") if key in ready).to(
                self.device
            )
        }


def _frames_of(config: Any, kind: str) -> int:
    count = getattr(config, "num_frames", None)
    if not count:
        raise ConfigError(f"a {kind} network must say num_frames in its config.json. Hint: save it by save_pretrained.")
    return int(count)


def _pooled(out: Any) -> Any:
    """(N, D) of what a network gives."""
    for key in ("image_embeds", "pooler_output"):
        if getattr(out, key, None) is not None:
            return getattr(out, key).flatten(1)
    hidden = out.last_hidden_state
    return hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(2).mean(dim=2)
