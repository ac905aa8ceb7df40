"""Texts through networks of transformers and sentence-transformers. Not here: hashed words (text_light.py).

L tokens, Dt width. Tokens are the tokeniser's own, its marks for begin and end among them, without padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.config.base import ConfigError
from lib.config.embed import ModelText
from lib.perception.pretrained import batches, facts_of, inference, loaded, on_device, place_of

TEXT_HALVES = {
    "clip": "CLIPTextModelWithProjection",
    "clip_text_model": "CLIPTextModelWithProjection",
    "siglip": "SiglipTextModel",
    "siglip_text_model": "SiglipTextModel",
    "t5": "T5EncoderModel",
}
"""Kind of configuration -> class of the half that reads texts; others are read by AutoModel."""


class TransformersText:
    """The encoder of kind model_text with library: transformers."""

    def __init__(self, settings: ModelText) -> None:
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        known = {"model": settings.model, "revision": settings.revision}
        config = loaded(transformers.AutoConfig.from_pretrained, **known)
        self.tokenizer = loaded(transformers.AutoTokenizer.from_pretrained, **known)
        family = getattr(transformers, TEXT_HALVES.get(config.model_type, "AutoModel"))
        network = loaded(family.from_pretrained, **known, use_safetensors=True)
        self.settings, self.facts = settings, facts_of(settings.model, network)
        inner = getattr(config, "text_config", config)
        longest = [getattr(inner, "max_position_embeddings", None), self.tokenizer.model_max_length]
        self.longest = min([settings.max_tokens, *(int(one) for one in longest if one)])
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.unk_token
        self.network, self.device = on_device(network)
        self.width = int(self.encode(["a"])[0][0].shape[1])

    def encode(self, texts: list[str]) -> tuple[list[np.ndarray], list[bool]]:
        """Per text [L, width], or [1, width] pooled; and whether it was cut."""
        found: list[np.ndarray] = []
        lengths = [len(ids) for ids in self.tokenizer(texts)["input_ids"]] if texts else []
        with inference():
            for group in batches(texts, self.settings.batch):
                ready = self.tokenizer(
                    group,
                    padding=True,
                    truncation=True,
                    max_length=self.longest,
                    return_tensors="pt",
                    return_attention_mask=True,
                )
                ready = {
                    key: value.to(self.device) for key, value in ready.items() if key in ("input_ids", "attention_mask")
                }
                out = self.network(**ready)
                found += self._rows(out, ready["attention_mask"])
        return found, [length > self.longest for length in lengths]

    def _rows(self, out: Any, mask: Any) -> list[np.ndarray]:
        if self.settings.level == "tokens":
            hidden, whole = out.last_hidden_state.float().cpu().numpy(), mask.bool().cpu().numpy()
            return [rows[kept] for rows, kept in zip(hidden, whole, strict=True)]
        pooled = getattr(out, "text_embeds", None)
        if pooled is None:
            weights = mask[..., None].to(out.last_hidden_state.dtype)
            pooled = (out.last_hidden_state * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        return list(pooled.float().cpu().numpy()[:, None, :])


class SentenceText:
    """The encoder of kind model_text with library: sentence_transformers."""

    def __init__(self, settings: ModelText) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ConfigError(
                "library: sentence_transformers is not installed here. Hint: make setup, or library: transformers"
            ) from error
        from lib.config.running import Running
        from lib.devices import choose_device

        self.settings = settings
        device = choose_device(Running.of_this_run().device, 1)
        more = {"device": device, "model_kwargs": {"use_safetensors": True}}
        self.network = loaded(SentenceTransformer, place_of(settings.model), settings.revision, **more)
        self.network.max_seq_length = min(self.network.max_seq_length or settings.max_tokens, settings.max_tokens)
        self.facts = {"model": settings.model} | _digest(settings, self.network)
        self.width = int(self.encode(["a"])[0][0].shape[1])

    def encode(self, texts: list[str]) -> tuple[list[np.ndarray], list[bool]]:
        """Per text [L, width], or [1, width] pooled by the model's own rule; and whether it was cut."""
        if not texts:
            return [], []
        what = "token_embeddings" if self.settings.level == "tokens" else "sentence_embedding"
        more = {"batch_size": self.settings.batch, "show_progress_bar": False, "output_value": what}
        given = self.network.encode(texts, convert_to_numpy=self.settings.level == "pooled", **more)
        lengths = [len(ids) for ids in self.network.tokenizer(texts)["input_ids"]]
        rows = [np.asarray(one if isinstance(one, np.ndarray) else one.float().cpu().numpy(), np.float32) for one in given]
        found = [one.reshape(-1, one.shape[-1]) for one in rows]
        return found, [length > self.network.max_seq_length for length in lengths]


def _digest(settings: ModelText, network: Any) -> dict[str, Any]:
    return facts_of(settings.model, network[0].auto_model)
