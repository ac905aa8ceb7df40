"""Encoders by pretrained networks, on tiny ones of the real classes. Reference: those classes, called by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lib.config.appearance import TorchvisionAppearance, TransformersAppearance
from lib.config.base import ConfigError
from lib.config.embed import ModelClips, ModelText
from lib.files import DataError
from lib.perception.clips import encode_clips, refuse_other_width
from lib.perception.clips_model import NetworkClips, spread
from lib.perception.roi_model import NetworkLooks
from lib.perception.text_model import SentenceText, TransformersText
from tests.lib.perception import tiny_models
from tests.lib.perception.made_videos import film, moving

TEXTS = ["when does the hook lift the load ?", "a worker"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    made = {name: getattr(tiny_models, name)(base / name) for name in ("clip", "siglip", "videomae", "bert")}
    return made | {"sentences": tiny_models.sentences(base / "sentences", made["bert"])}


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIPERSIGHT_DEVICE", "cpu")


def clips(model: Path, video: pd.DataFrame, **more: object) -> np.ndarray:
    values = {"kind": "model_clips", "model": str(model), "stride": 4, "window": 8, "batch": 3}
    settings = ModelClips.model_validate(values | more)
    return encode_clips(video, settings, NetworkClips(settings), "featuresets.f", progress=False).tensors["v"]


def test_pictures_are_encoded_as_clip_itself_does_and_averaged(models: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, CLIPModel

    pictures = moving(2, 1)
    video = film(tmp_path / "v.mp4", pictures)
    found = clips(models["clip"], video, frames=2)
    from lib.data.video import read_frames

    decoded = [image for _, _, image in read_frames(tmp_path / "v.mp4", kind="video")]
    ready = AutoImageProcessor.from_pretrained(models["clip"])([decoded[n] for n in (6, 10)], return_tensors="pt")
    with torch.no_grad():
        network = CLIPModel.from_pretrained(models["clip"]).eval()
        out = network.visual_projection(network.vision_model(**ready).pooler_output)
    assert found.shape == (4, 24)
    assert spread(4, 12, 2) == [6, 10]
    np.testing.assert_allclose(found[1], out.mean(dim=0).numpy(), atol=1e-5)


def test_siglip_pools_by_its_own_head(models: dict[str, Path], tmp_path: Path) -> None:
    found = clips(models["siglip"], film(tmp_path / "v.mp4", moving(2, 1)))
    assert found.shape == (4, 32) and np.isfinite(found).all() and found.std(axis=0).max() > 0


def test_clips_are_encoded_as_videomae_itself_does(models: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoVideoProcessor, VideoMAEModel

    from lib.data.video import read_frames

    found = clips(models["videomae"], film(tmp_path / "v.mp4", moving(2, 1)))
    decoded = [image for _, _, image in read_frames(tmp_path / "v.mp4", kind="video")]
    clip = [decoded[n] for n in spread(8, 16, 4)]
    ready = AutoVideoProcessor.from_pretrained(models["videomae"])([clip], return_tensors="pt")
    with torch.no_grad():
        out = VideoMAEModel.from_pretrained(models["videomae"]).eval()(**ready).last_hidden_state.mean(dim=1)
    assert found.shape == (4, 32)
    np.testing.assert_allclose(found[2], out[0].numpy(), atol=1e-5)
    with pytest.raises(ConfigError, match="takes 4 frames at once"):
        clips(models["videomae"], film(tmp_path / "v.mp4", moving(2, 1)), frames=2)


def test_a_short_video_is_one_step(models: dict[str, Path], tmp_path: Path) -> None:
    video = film(tmp_path / "v.mp4", moving(2, 1, frames=3))
    assert clips(models["videomae"], video).shape == (1, 32) and clips(models["clip"], video).shape == (1, 24)


def text(model: Path, **more: object) -> ModelText:
    return ModelText.model_validate({"kind": "model_text", "model": str(model), "batch": 1, **more})


def test_texts_are_encoded_as_bert_itself_does_without_padding(models: dict[str, Path]) -> None:
    from transformers import AutoTokenizer, BertModel

    found, cut = TransformersText(text(models["bert"], batch=2)).encode(TEXTS)
    with torch.no_grad():
        ready = AutoTokenizer.from_pretrained(models["bert"])(TEXTS[1], return_tensors="pt")
        whole = BertModel.from_pretrained(models["bert"]).eval()(**ready).last_hidden_state[0].numpy()
    assert [rows.shape for rows in found] == [(10, 32), (4, 32)] and cut == [False, False]
    np.testing.assert_allclose(found[1], whole, atol=1e-5)
    pooled, _ = TransformersText(text(models["bert"], level="pooled")).encode(TEXTS)
    np.testing.assert_allclose(pooled[1][0], whole.mean(axis=0), atol=1e-5)


def test_long_texts_are_cut_and_told(models: dict[str, Path]) -> None:
    found, cut = TransformersText(text(models["bert"], max_tokens=6)).encode(TEXTS)
    assert [len(rows) for rows in found] == [6, 4] and cut == [True, False]


def test_clip_reads_texts_into_the_space_of_its_pictures(models: dict[str, Path]) -> None:
    tokens, _ = TransformersText(text(models["clip"])).encode(TEXTS)
    pooled, _ = TransformersText(text(models["clip"], level="pooled")).encode(TEXTS)
    assert tokens[0].shape == (10, 32) and pooled[0].shape == (1, 24)


def test_sentence_transformers_pool_by_their_own_rule(models: dict[str, Path]) -> None:
    from sentence_transformers import SentenceTransformer

    wanted = {"library": "sentence_transformers"}
    pooled, cut = SentenceText(text(models["sentences"], level="pooled", **wanted)).encode(TEXTS)
    reference = SentenceTransformer(str(models["sentences"]), device="cpu").encode(TEXTS)
    assert [rows.shape for rows in pooled] == [(1, 32), (1, 32)] and cut == [False, False]
    np.testing.assert_allclose(np.concatenate(pooled), reference, atol=1e-5)
    tokens, cut = SentenceText(text(models["sentences"], max_tokens=5, **wanted)).encode(TEXTS)
    assert [rows.shape for rows in tokens] == [(5, 32), (4, 32)] and cut == [True, False]


def test_looks_have_length_1_and_are_projected(models: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from torchvision.models import get_model

    torch.manual_seed(0)
    save_file(get_model("mobilenet_v3_small", weights=None).state_dict(), tmp_path / "m.safetensors")
    backbone = {"kind": "torchvision", "model": "mobilenet_v3_small", "file": str(tmp_path / "m.safetensors"), "size": 32}
    crops = moving(2, 1)[:3]
    for looks in (
        NetworkLooks(TransformersAppearance(kind="transformers", model=str(models["clip"]))),
        NetworkLooks(TorchvisionAppearance.model_validate(backbone | {"width": 576})),
    ):
        found = looks.encode(crops)
        assert found.shape == (3, 128) and looks.encode([]).shape == (0, 128)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
        assert "model_digest" in looks.facts
    with pytest.raises(ConfigError, match=r"appearance\.width: 500 is promised, .* gives 576"):
        NetworkLooks(TorchvisionAppearance.model_validate(backbone | {"width": 500}))
    with pytest.raises(DataError, match="is no state of resnet18"):
        NetworkLooks(TorchvisionAppearance.model_validate(backbone | {"model": "resnet18"}))
    with pytest.raises(ConfigError, match=r"torchvision has no 'resnet17'.*resnet18"):
        NetworkLooks(TorchvisionAppearance.model_validate(backbone | {"model": "resnet17"}))
    with pytest.raises(ConfigError, match="takes clips"):
        NetworkLooks(TransformersAppearance(kind="transformers", model=str(models["videomae"])))


def test_unknown_models_and_other_widths_are_refused_by_name(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder .*nowhere"):
        TransformersText(text(tmp_path / "nowhere"))
    (tmp_path / "hollow").mkdir()
    with pytest.raises(ConfigError, match=r"hollow' cannot be loaded"):
        TransformersText(text(tmp_path / "hollow"))
    with pytest.raises(ConfigError, match=r"featuresets\.f\.width: 100 is promised, but 'm' gives 24"):
        refuse_other_width("featuresets.f", 100, 24, "m")
