"""RF-DETR detectors: building one, reading one safely, looking at frames. Not here: training (lib/training/rfdetr.py).

A file of ours is a checkpoint that `RFDETR.from_checkpoint` reads too: weights, the model's own settings, class names. The
library's downloads are never asked for: it is handed settings without pretrained weights, and ours are filled in.

Letters: B frames, Q queries, C classes; the network gives C + 1 scores, the last one being no class of the data.
"""

from __future__ import annotations

import argparse
import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.config.base import ConfigError
from lib.config.train_rfdetr import DETECTORS, PML, SEGMENTERS, RfdetrSettings
from lib.files import DataError
from lib.models.loading import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    import torch

LEAST_TRANSFERRED = 0.98
"""Starting weights must fill at least this share of the model's tensors, else they belong to another size or kind: sizes
differ in a few of many layers. What depends on classes, queries and their groups does not count."""
QUERIES = ("refpoint_embed.weight", "query_feat.weight")
GROUPS = "transformer.enc_out"
HEADS = ("class_embed", "transformer.enc_out_class_embed")
MEANS, DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PLACES = {"pretrain_weights": None, "device": "cpu"}  # of a machine, never of a model


def quiet_rfdetr() -> None:
    """Import rfdetr, silent and offline: a model that asks a hub is told at once that there is none. To be called first."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import rfdetr  # noqa: F401
    logging.getLogger("rf-detr").setLevel(logging.ERROR)  # it warns of every start without its own weights
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def library_name(settings: RfdetrSettings) -> str:
    """The class that the library gives this model, such as RFDETRSegNano."""
    return settings.sizes[settings.model].config.removesuffix("Config")


def model_settings(settings: RfdetrSettings, classes: int) -> Any:
    """The library's model settings for these ones. ConfigError: a size that needs rfdetr_plus, which is not installed."""
    quiet_rfdetr()
    values: dict[str, Any] = {
        "resolution": settings.imgsz,
        "num_classes": classes,
        "group_detr": settings.group_detr,
        "freeze_encoder": settings.freeze_encoder,
        "gradient_checkpointing": settings.gradient_checkpointing,
    }
    if settings.num_queries is not None:
        values |= {"num_queries": settings.num_queries, "num_select": settings.num_queries}
    return _config(settings.sizes[settings.model].config, values)


def _config(name: str, values: dict[str, Any]) -> Any:
    """One of the library's model settings, without pretrained weights."""
    from rfdetr import config

    made = getattr(config, name, None) or _plus(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what is asked for: no pretrained weights of its own
        return made(**values | _PLACES)


def _plus(name: str) -> Any:
    """Settings of a model of rfdetr_plus, which the library hands on where it is installed."""
    model = name.removesuffix("Config")
    try:
        from rfdetr.platform import models as platform

        return getattr(platform, model)._model_config_class
    except ImportError as error:
        raise ConfigError(
            f"training.model: {model} is part of rfdetr_plus, which is not installed. Hint: install it beside the lock "
            f"(licence {PML}), or take model: large."
        ) from error


def build(settings: RfdetrSettings, names: list[str], *, seed: int, weights: Path | None = None) -> tuple[Any, Any]:
    """(network, float32 on the CPU; the library's settings of it) for C = len(names) classes.

    seed: of the random start, equal for every data set. weights: a .pth to start from; what depends on the classes is taken
    where names agree. Raises ConfigError when the weights belong to another model, DataError for a refused or damaged file.
    """
    config = model_settings(settings, len(names))
    net = _network(config, seed=seed)
    if weights is not None:
        fill(net, weights, names, config)
    return net, config


def _network(config: Any, *, seed: int) -> torch.nn.Module:
    import torch
    from rfdetr.models.lwdetr import build_model_from_config

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        try:
            return build_model_from_config(config)
        except OSError as error:  # RF-DETR base asks a hub for its backbone's settings
            raise ConfigError(
                f"training.model: {type(config).__name__.removesuffix('Config')} needs files of a model hub to be built "
                f"({str(error).splitlines()[0]}). Hint: fill its cache where there is a network, or take another size."
            ) from error


def fill(net: torch.nn.Module, weights: Path, names: list[str], config: Any) -> None:
    """Fill a network from a file of weights: everything of the same shape, queries per group, classes by their names."""
    from rfdetr.models.weights import interpolate_position_embeddings

    contents = _contents(weights)
    start = dict(contents["model"])
    known = _class_names(contents)
    interpolate_position_embeddings(start, config.positional_encoding_size)
    wanted = net.state_dict()
    common = [key for key in wanted if not key.startswith(HEADS) and key not in QUERIES]
    taken = {key: start[key] for key in common if key in start and start[key].shape == wanted[key].shape}
    counted = [key for key in common if not key.startswith(GROUPS)]
    share = sum(key in taken for key in counted) / len(counted)
    if share < LEAST_TRANSFERRED:
        raise ConfigError(
            f"training.weights: {weights} fills only {share:.0%} of the tensors of model "
            f"{type(config).__name__.removesuffix('Config')}. Hint: they were made with another size; set training.model "
            "to the one they belong to."
        )
    for key in wanted:
        if key.startswith(HEADS) and key in start:
            taken[key] = _head_rows(wanted[key], start[key], names, known)
        elif key in QUERIES and key in start:  # of equal length they may still be other groups
            taken[key] = _query_rows(wanted[key], start[key], contents, config)
    net.load_state_dict(wanted | taken)


def _head_rows(new: torch.Tensor, old: torch.Tensor, names: list[str], known: list[str] | None) -> torch.Tensor:
    """(C + 1, …) scores of the classes: rows of classes of the same name, the others as they were drawn."""
    rows = new.clone()
    if known == names and old.shape == new.shape:
        return old
    for place, name in enumerate(names):
        if known and name in known and known.index(name) < len(old):
            rows[place] = old[known.index(name)]
    return rows


def _query_rows(new: torch.Tensor, old: torch.Tensor, contents: dict[str, Any], config: Any) -> torch.Tensor:
    """(groups x Q, …) queries: as many of each group as both have, the others as they were drawn."""
    settings = contents.get("model_config") or _plain(contents.get("args"))
    groups = int(settings.get("group_detr", 13))
    before = old.shape[0] // groups
    rows, queries = new.clone(), config.num_queries
    for group in range(min(groups, config.group_detr)):
        many = min(before, queries)
        rows[group * queries : group * queries + many] = old[group * before : group * before + many]
    return rows


def _contents(path: Path) -> dict[str, Any]:
    """A checkpoint of RF-DETR: `model`, and what it says of itself."""
    contents = load_checkpoint(path, allow=(argparse.Namespace,))
    if not isinstance(contents.get("model"), dict) or "class_embed.weight" not in contents["model"]:
        raise DataError(f"{path}: holds no RF-DETR model. Hint: a .pth of RF-DETR, such as checkpoint_best_total.pth.")
    return contents


def _plain(args: Any) -> dict[str, Any]:
    return args if isinstance(args, dict) else dict(vars(args)) if args is not None else {}


def _class_names(contents: dict[str, Any]) -> list[str] | None:
    names = _plain(contents.get("args")).get("class_names")
    return [str(name) for name in names] if names else None


def save_model(
    weights: dict[str, torch.Tensor], path: Path, *, config: Any, name: str, names: list[str], epoch: int
) -> None:
    """Write a model as `RFDETR.from_checkpoint` reads it; no date and no path, so that equal models are equal files.

    weights: the network's state. config: the library's settings of it. name: its class in the library.
    """
    settings = config.model_dump(mode="json") | _PLACES
    args = {"class_names": names, "num_classes": len(names), "resolution": settings["resolution"], "pretrain_weights": None}
    state = {key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}
    values = {"model": state, "epoch": epoch, "model_name": name, "model_config": settings, "args": args}
    save_checkpoint(values, path)


def read_model(path: Path) -> tuple[torch.nn.Module, Any, list[str]]:
    """(network, float32 in evaluation mode; the library's settings; class names) of a checkpoint with its settings in it.

    DataError: another kind of file, a class count that its head does not have, weights that do not fit its settings.
    """
    quiet_rfdetr()
    contents = _contents(path)
    names, given, name = _class_names(contents), contents.get("model_config"), contents.get("model_name")
    sizes = {size.config.removesuffix("Config"): size.config for size in (*DETECTORS.values(), *SEGMENTERS.values())}
    if names is None or not isinstance(given, dict) or name not in sizes:
        raise DataError(
            f"{path}: does not say its model, settings and class names (model_name {name!r}). Hint: RF-DETR writes them "
            "since 1.8; start a training from the file (training.weights), which needs none of them."
        )
    heads = len(contents["model"]["class_embed.weight"]) - 1
    if heads != len(names):
        raise DataError(f"{path}: its head knows {heads} classes, its list of names has {len(names)}: {names}.")
    config = _config(sizes[name], {key: value for key, value in given.items() if key not in _PLACES})
    net = _network(config, seed=0)
    try:
        net.load_state_dict(contents["model"])
    except RuntimeError as error:
        raise DataError(
            f"{path}: weights and settings do not fit together ({str(error).splitlines()[1].strip()})"
        ) from error
    return net.float().eval(), config, names


class RfdetrPredictor:
    """An RF-DETR over frames. `names`: its classes; `fixed_batch`: None, as any number of frames goes."""

    fixed_batch: int | None = None

    def __init__(self, net: torch.nn.Module, config: Any, names: list[str]) -> None:
        import torch
        from rfdetr.models import PostProcess

        from lib.models.yolo import device

        self.names = names
        self.step = config.patch_size * config.num_windows
        self._device = torch.device(device())
        self.net = net.to(self._device).eval()
        self._post = PostProcess(num_select=config.num_select)
        self._mean = torch.tensor(MEANS, device=self._device)[:, None, None]
        self._deviation = torch.tensor(DEVIATIONS, device=self._device)[:, None, None]

    def predict(self, frames: list[np.ndarray], *, conf: float, iou: float, max_det: int, imgsz: int) -> list[np.ndarray]:
        """Boxes of each frame.

        frames: (H, W, 3) uint8 RGB, of any sizes. conf: lowest score, 0..1. iou: has no effect, as nothing is suppressed:
        the network itself says each object once. max_det: most boxes per frame (the network says Q at most). imgsz: side of
        the square input, px. Returns per frame (N, 6) float32: x1, y1, x2, y2 in px, score, class index; best score first.
        Raises ConfigError for an input size that the model does not take.
        """
        import torch

        with torch.inference_mode():
            said = self._said(frames, imgsz)
            sizes = torch.tensor([frame.shape[:2] for frame in frames], device=self._device)
            found = self._post({key: said[key] for key in ("pred_logits", "pred_boxes")}, target_sizes=sizes)
        return [self._boxes(one, conf, max_det)[0] for one in found]

    def predict_masks(
        self, frames: list[np.ndarray], *, conf: float, max_det: int, imgsz: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Boxes (N, 6) of each frame as of `predict`, and their masks (N, H, W) bool of the whole frame.

        Raises ConfigError for a model without masks.
        """
        import torch

        found = []
        with torch.inference_mode():
            said = self._said(frames, imgsz)
            if "pred_masks" not in said:
                raise ConfigError("this model finds boxes only. Hint: task segmentation needs one that was trained for it.")
            keys = ("pred_logits", "pred_boxes", "pred_masks")
            for place, frame in enumerate(frames):  # one by one: masks of a whole frame take much memory
                size = torch.tensor([frame.shape[:2]], device=self._device)
                one = {key: said[key][place : place + 1] for key in keys}
                made = self._post(one, target_sizes=size, score_threshold=conf)[0]
                boxes, rows = self._boxes(made, conf, max_det)
                found.append((boxes, made["masks"].cpu().numpy().reshape(-1, *frame.shape[:2])[rows]))
        return found

    def _said(self, frames: list[np.ndarray], imgsz: int) -> Any:
        """What the network says of frames. ConfigError: an input size that it does not take."""
        import torch

        if imgsz % self.step or imgsz < 2 * self.step:
            near = max(2, round(imgsz / self.step)) * self.step
            raise ConfigError(f"input size {imgsz} px: this model takes multiples of {self.step} px. Hint: {near} is near.")
        return self.net(torch.stack([self._image(frame, imgsz) for frame in frames]))

    def _image(self, frame: np.ndarray, imgsz: int) -> torch.Tensor:
        """(3, imgsz, imgsz) float32, scaled without smoothing and normalised as in training."""
        import torch
        from torchvision.transforms.functional import resize

        image = torch.from_numpy(np.ascontiguousarray(frame)).to(self._device).permute(2, 0, 1).float()
        small = resize(image, [imgsz, imgsz], antialias=False).div_(255)  # a frame has many times more pixels
        return small.sub_(self._mean).div_(self._deviation)

    def _boxes(self, found: dict[str, torch.Tensor], conf: float, max_det: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows that are kept as (N, 6), their places among all that was found)."""
        scores, labels, boxes = (found[key].float().cpu().numpy() for key in ("scores", "labels", "boxes"))
        keep = (scores >= conf) & (labels < len(self.names))
        keep &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        rows = np.flatnonzero(keep)[:max_det]
        return np.column_stack([boxes, scores, labels])[rows].astype(np.float32), rows


def load(path: Path) -> RfdetrPredictor:
    """The predictor in an RF-DETR checkpoint."""
    return RfdetrPredictor(*read_model(path))


def inspect(path: Path) -> dict[str, Any]:
    """Class names, input size (px) and number of parameters of a checkpoint."""
    net, config, names = read_model(path)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return {"class_names": names, "input_size": int(config.resolution), "parameters": parameters}
