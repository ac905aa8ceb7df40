"""Tiny networks of the real classes with random weights, saved to disk as the hub's are, for tests without a download."""

from __future__ import annotations

from pathlib import Path

import torch

SIDE = 32


def _vision(**more: int) -> dict[str, int]:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return shape | {"image_size": SIDE, "patch_size": 8} | more


def clip(folder: Path) -> Path:
    """CLIP: pictures and texts of width 24."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    words = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    words |= {"max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "projection_dim": 24}
    config = CLIPConfig(text_config=words, vision_config=_vision(projection_dim=24), projection_dim=24)
    CLIPModel(config).eval().save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    word_tokenizer(folder, first="[BOS]", last="[EOS]")
    return folder


def siglip(folder: Path) -> Path:
    """The half of SigLIP that looks at pictures, of width 32."""
    from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

    torch.manual_seed(1)
    SiglipVisionModel(SiglipVisionConfig(**_vision())).eval().save_pretrained(folder)
    SiglipImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def videomae(folder: Path) -> Path:
    """VideoMAE: clips of four frames, of width 32."""
    from transformers import VideoMAEConfig, VideoMAEModel, VideoMAEVideoProcessor

    torch.manual_seed(2)
    VideoMAEModel(VideoMAEConfig(**_vision(num_frames=4, tubelet_size=2))).eval().save_pretrained(folder)
    size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    VideoMAEVideoProcessor(**size).save_pretrained(folder)
    return folder


def bert(folder: Path) -> Path:
    """BERT: texts of width 32."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(3)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    BertModel(BertConfig(vocab_size=64, max_position_embeddings=24, **shape)).eval().save_pretrained(folder)
    word_tokenizer(folder, first="[CLS]", last="[SEP]")
    return folder


def sentences(folder: Path, transformer: Path) -> Path:
    """A model of sentence-transformers: that BERT and the mean of its tokens."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    words = Transformer(str(transformer), max_seq_length=20)
    SentenceTransformer(modules=[words, Pooling(32)], device="cpu").save(str(folder))
    return folder


def word_tokenizer(folder: Path, *, first: str, last: str) -> None:
    """A tokeniser of whole words, with marks for begin and end."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    spoken = ("when", "does", "the", "hook", "lift", "load", "worker", "walk", "out", "of", "picture", "a", "?")
    words = ["[PAD]", first, last, "[UNK]", *spoken]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single=f"{first} $A {last}", special_tokens=[(first, 1), (last, 2)])
    marks = {"unk_token": "[UNK]", "pad_token": "[PAD]", "bos_token": first, "eos_token": last}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=16, **marks).save_pretrained(folder)
