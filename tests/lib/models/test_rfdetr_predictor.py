"""RF-DETR models from files, compared with: the library's own `predict` in a loop, and files damaged by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read once, when the library is imported
pytest.importorskip("rfdetr")

from lib.config.base import ConfigError
from lib.config.train_rfdetr import PML, RfdetrSegSettings, RfdetrSettings
from lib.files import DataError
from lib.models import load_predictor
from lib.models import rfdetr as models
from lib.models.cards import card_of_file, find_model
from lib.models.loading import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.slow

NAMES = ["person", "crane hook"]
SMALL: dict[str, Any] = {"num_queries": 15, "group_detr": 2}
DETECTOR = RfdetrSettings(imgsz=96, **SMALL)
SEGMENTER = RfdetrSegSettings(imgsz=72, **SMALL)


def saved(path: Path, settings: RfdetrSettings, names: list[str] = NAMES, *, seed: int = 0) -> Path:
    net, config = models.build(settings, names, seed=seed)
    name = models.library_name(settings)
    models.save_model(net.state_dict(), path, config=config, name=name, names=names, epoch=3)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {"det": saved(folder / "det.pth", DETECTOR), "seg": saved(folder / "seg.pth", SEGMENTER)}


def frames() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*shape, 3), dtype=np.uint8) for shape in ((60, 100), (60, 100), (80, 50))]


def theirs(path: Path) -> list[Any]:
    from rfdetr import RFDETR

    model = RFDETR.from_checkpoint(path, device="cpu")
    assert model.class_names == NAMES
    return [model.predict(frame, threshold=0.0) for frame in frames()]


def test_boxes_are_those_of_the_library(files: dict[str, Path]) -> None:
    ours = models.load(files["det"]).predict(frames(), conf=0.0, iou=0.7, max_det=300, imgsz=96)
    assert sum(map(len, ours)) > 10
    for boxes, other in zip(ours, theirs(files["det"]), strict=True):
        known = other.class_id < len(NAMES)  # its last score is of no class
        known &= (other.xyxy[:, 2] > other.xyxy[:, 0]) & (other.xyxy[:, 3] > other.xyxy[:, 1])
        assert boxes[:, :4] == pytest.approx(other.xyxy[known], abs=1e-3)
        assert boxes[:, 4] == pytest.approx(other.confidence[known], abs=1e-5)
        assert boxes[:, 5].tolist() == other.class_id[known].tolist()


def test_masks_are_those_of_the_library(files: dict[str, Path]) -> None:
    ours = models.load(files["seg"]).predict_masks(frames(), conf=0.0, max_det=300, imgsz=72)
    for frame, (boxes, masks), other in zip(frames(), ours, theirs(files["seg"]), strict=True):
        known = (
            (other.class_id < len(NAMES)) & (other.xyxy[:, 2] > other.xyxy[:, 0]) & (other.xyxy[:, 3] > other.xyxy[:, 1])
        )
        assert masks.shape == (len(boxes), *frame.shape[:2]) and masks.any()
        assert (masks == other.mask[known]).mean() > 0.999


def test_limits_and_sizes(files: dict[str, Path]) -> None:
    model = models.load(files["det"])
    every, few = (model.predict(frames(), conf=0.0, iou=0.7, max_det=most, imgsz=96) for most in (300, 2))
    assert [boxes.tolist() for boxes in few] == [boxes[:2].tolist() for boxes in every]
    best = max(boxes[0, 4] for boxes in every)
    assert not sum(len(boxes) for boxes in model.predict(frames(), conf=float(best) + 0.01, iou=0.7, max_det=9, imgsz=96))
    assert len(model.predict(frames(), conf=0.0, iou=0.7, max_det=9, imgsz=128)) == 3, "another size that fits"
    with pytest.raises(ConfigError, match=r"multiples of 32 px\. Hint: 96"):
        model.predict(frames(), conf=0.0, iou=0.7, max_det=9, imgsz=100)
    with pytest.raises(ConfigError, match="finds boxes only"):
        model.predict_masks(frames(), conf=0.0, max_det=9, imgsz=96)


def test_equal_models_are_equal_files_and_one_knows_what_it_is(files: dict[str, Path], tmp_path: Path) -> None:
    assert saved(tmp_path / "again.pth", DETECTOR).read_bytes() == files["det"].read_bytes()
    assert saved(tmp_path / "other.pth", DETECTOR, seed=1).read_bytes() != files["det"].read_bytes()
    card = card_of_file(files["seg"])
    assert (card["format"], card["class_names"], card["input_size"]) == ("rfdetr", NAMES, 72)
    assert find_model(files["det"])[1]["parameters"] > 20_000_000
    assert b"/" + str(tmp_path).encode() not in files["det"].read_bytes()


def changed(path: Path, new: Path, **values: Any) -> Path:
    save_checkpoint(load_checkpoint(path) | values, new)
    return new


def test_files_that_do_not_fit_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    args = load_checkpoint(files["det"])["args"]
    three = changed(files["det"], tmp_path / "a.pth", args=args | {"class_names": [*NAMES, "truck"]})
    with pytest.raises(DataError, match="its head knows 2 classes, its list of names has 3"):
        models.load(three)
    with pytest.raises(DataError, match=r"its card says \['person'\]"):
        load_predictor(files["det"], {"format": "rfdetr", "class_names": ["person"]})
    with pytest.raises(DataError, match="does not say its model"):
        models.load(changed(files["det"], tmp_path / "b.pth", model_name="RFDETRHuge"))
    with pytest.raises(DataError, match="holds no RF-DETR model"):
        models.load(changed(files["det"], tmp_path / "c.pth", model={"weight": torch.zeros(1)}))
    config = load_checkpoint(files["det"])["model_config"]
    with pytest.raises(DataError, match="do not fit together"):
        models.load(changed(files["det"], tmp_path / "d.pth", model_config=config | {"dec_layers": 3}))
    cut = tmp_path / "cut.pth"
    cut.write_bytes(files["det"].read_bytes()[:5000])
    with pytest.raises(DataError, match="not a torch checkpoint"):
        models.load(cut)


def test_a_start_takes_classes_by_name_and_queries_by_group(files: dict[str, Path]) -> None:
    new = ["truck", "crane hook"]
    wider = RfdetrSettings(imgsz=64, num_queries=10, group_detr=3)
    start, fresh = load_checkpoint(files["det"])["model"], models.build(wider, new, seed=5)[0].state_dict()
    filled = models.build(wider, new, seed=5, weights=files["det"])[0].state_dict()
    head = filled["class_embed.weight"]
    assert torch.equal(head[1], start["class_embed.weight"][1]), "crane hook keeps what it knew"
    assert torch.equal(head[0], fresh["class_embed.weight"][0]), "truck is new"
    queries = filled["query_feat.weight"]
    assert torch.equal(queries[10:20], start["query_feat.weight"][15:25]), "the first ten of the second group"
    assert torch.equal(queries[20:], fresh["query_feat.weight"][20:]), "a third group is new"
    layer = "transformer.decoder.layers.0.linear1.weight"
    assert torch.equal(filled[layer], start[layer])


def test_a_start_from_another_kind_of_model_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"fills only \d+% of the tensors of model RFDETRSegNano"):
        models.build(SEGMENTER, NAMES, seed=0, weights=files["det"])
    with pytest.raises(ConfigError, match=r"fills only \d+% of the tensors of model RFDETRSmall"):
        models.build(RfdetrSettings(model="small", imgsz=96, **SMALL), NAMES, seed=0, weights=files["det"])
    assert models.build(DETECTOR, ["other"], seed=0, weights=files["det"]), "other classes are no other model"


def test_sizes_that_are_not_at_hand_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    xlarge = RfdetrSettings(model="xlarge", imgsz=80, accept_licences=[PML], **SMALL)
    with pytest.raises(ConfigError, match="RFDETRXLarge is part of rfdetr_plus, which is not installed"):
        models.build(xlarge.resolved(), NAMES, seed=0)

    from rfdetr.config import RFDETRNanoConfig
    from rfdetr.platform import models as platform

    class RFDETRXLargeConfig(RFDETRNanoConfig):
        """Stands for the package's, which its licence keeps out of here: it too is of the library's own base."""

        patch_size: int = 20
        num_windows: int = 1

    class RFDETRXLarge:
        _model_config_class = RFDETRXLargeConfig

    monkeypatch.setitem(vars(platform), "RFDETRXLarge", RFDETRXLarge)
    config = models.model_settings(xlarge.resolved(), 2)
    assert isinstance(config, RFDETRXLargeConfig) and (config.resolution, config.num_classes) == (80, 2)


def test_base_asks_a_hub() -> None:
    """Its backbone's settings lie on a model hub: it can be built only where they are cached."""
    try:
        net, _ = models.build(RfdetrSettings(model="base", imgsz=112, **SMALL), NAMES, seed=0)
    except ConfigError as error:
        assert "files of a model hub" in str(error)
        pytest.skip(f"offline: {error}")
    assert len(net.state_dict()["class_embed.weight"]) == 3
