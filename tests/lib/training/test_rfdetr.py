"""RF-DETR trainings on tiny drawn images: kills against an undisturbed run, signals, divergence, knobs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("rfdetr")

from lib.config.base import ConfigError
from lib.config.running import LoggerSettings
from lib.config.train_rfdetr import RfdetrSegSettings, RfdetrSettings
from lib.files import read_json
from lib.models import rfdetr as models
from lib.models.loading import load_checkpoint
from lib.training import rfdetr, rfdetr_knobs
from lib.training.preemption import BUDGET_USED, PREEMPTED, Preempted, StopRequest
from lib.training.round_loggers import RoundLoggers
from lib.training.yolo import TrainResult
from tests.conftest import PROJECT
from tests.lib.training.shapes import picture
from tests.lib.training.test_round_loggers import shown
from workflow_scripts import _program  # noqa: F401  # of the process that a test starts

pytestmark = pytest.mark.slow

NAMES = ["square", "bar"]
ROUNDS, EACH = 3, 2
TINY: dict[str, Any] = {
    "imgsz": 64,
    "num_queries": 10,
    "group_detr": 1,
    "batch": 2,
    "accumulate": 2,
    "budget": {"iterations": ROUNDS * EACH, "evaluations": ROUNDS},
    "lr": 3e-4,
    "multi_scale": "off",
    "scale_jitter": False,
}


class Killed(Exception):
    """Stands for whatever ends a process."""


def train(
    folder: Path,
    *,
    fingerprint: str = "f",
    on_log: Any = None,
    asked: Any = None,
    kind: type[RfdetrSettings] = RfdetrSettings,
    **settings: Any,
) -> TrainResult:
    """A training in folder/state on images drawn into folder; with `sampling` one image of three counts double and more."""
    return rfdetr.train(
        kind.model_validate(TINY | settings),
        names=NAMES,
        data=layout(folder / "data"),
        state=folder / "state",
        seed=0,
        threads=1,
        fingerprint=fingerprint,
        factors={str(number): 1 + number % 3 // 2 * 1.4 for number in range(1, 7)} if "sampling" in settings else None,
        on_log=on_log,
        asked=asked,
        loggers=RoundLoggers(LoggerSettings(), state=folder / "state", name="a", config={}),
    )


def layout(folder: Path, images: dict[str, int] | None = None) -> Path:
    """Drawn squares and bars in RF-DETR's layout."""
    import cv2

    from lib.data.coco_layout import ANNOTATIONS

    rng = np.random.default_rng(0)
    for split, count in (images or {"train": 6, "valid": 3}).items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        listed, boxes = [], []
        for number in range(1, count + 1):
            image, found = picture(rng)
            cv2.imwrite(str(folder / split / f"{number}.jpg"), image)
            listed.append({"id": number, "file_name": f"{number}.jpg", "width": image.shape[1], "height": image.shape[0]})
            for label, x1, y1, x2, y2 in found:
                box = [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]
                boxes.append({"id": len(boxes) + 1, "image_id": number, "category_id": label + 1, "bbox": box})
                outline = [float(value) for value in (x1, y1, x2, y1, x2, y2, x1, y2)]
                boxes[-1] |= {"area": box[2] * box[3], "iscrowd": 0, "segmentation": [outline]}
        names = [{"id": number, "name": name, "supercategory": "none"} for number, name in enumerate(NAMES, start=1)]
        text = json.dumps({"images": listed, "annotations": boxes, "categories": names})
        (folder / split / ANNOTATIONS).write_text(text)
    return folder


def main() -> None:
    """What a test starts as a process of its own."""
    folder = Path(sys.argv[1])

    def tell(facts: dict[str, Any]) -> None:
        with open(folder / "told", "a") as file:
            file.write(json.dumps(facts) + "\n")

    with StopRequest() as asked:
        train(folder, on_log=tell, asked=asked)


def weights(result: TrainResult) -> dict[str, torch.Tensor]:
    return load_checkpoint(result.weights)["model"]


def same(first: TrainResult, second: TrainResult) -> None:
    """Equal weights, bit by bit, and equal histories but for the clock."""
    one, other = weights(first), weights(second)
    assert all(torch.equal(one[key], other[key]) for key in one)
    pd.testing.assert_frame_equal(first.history.drop(columns="seconds"), second.history.drop(columns="seconds"))
    assert (first.best, first.iterations, first.epochs) == (second.best, second.iterations, second.epochs)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(tmp_path_factory.mktemp("straight"))


def test_a_training_leaves_what_a_result_needs(straight: TrainResult) -> None:
    assert (straight.status, straight.iterations, straight.epochs, straight.resumed_from) == ("finished", 6, 3, 0)
    assert straight.facts == {"micro_batch": 2, "accumulate": 2, "effective_batch": 4, "cudnn": True}
    assert list(straight.history["iteration"]) == [2, 4, 6] and straight.history["train/loss"].notna().all()
    assert {"val/AP", "val/AP50", "val/AR", "val/AP/square", "val/AP/bar", "lr"} <= set(straight.history.columns)
    assert set(straight.best) == {"epoch", "iteration", "AP", "AP50", "AP75", "AR", "F1", "precision", "recall"}
    told = models.inspect(straight.weights)
    assert told == {"class_names": NAMES, "input_size": 64, "parameters": straight.parameters}
    assert sorted(path.name for path in straight.weights.parent.iterdir()) == [
        f"best-{straight.best['epoch']}.pth", "last.json", "loggers.json", "metrics.csv", "round-3.ckpt",
    ]  # fmt: skip


def test_the_history_is_what_the_library_wrote(straight: TrainResult) -> None:
    theirs = pd.read_csv(straight.weights.parent / "metrics.csv").groupby("epoch").last()
    for ours, name in {"train/loss": "train/loss", "val/AP": "val/mAP_50_95", "val/AR": "val/mAR"}.items():
        assert straight.history[ours].to_numpy(dtype=float) == pytest.approx(theirs[name].to_numpy(dtype=float), abs=1e-6)


@pytest.mark.parametrize("when", [{"round": 3}, {"epoch": 2}], ids=["in a round", "between two"])
def test_a_killed_training_goes_on_exactly(straight: TrainResult, tmp_path: Path, when: dict[str, int]) -> None:
    def kill(facts: dict[str, Any]) -> None:
        if when.items() <= facts.items():
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path, on_log=kill)
    again = train(tmp_path)
    assert again.resumed_from == 2
    same(again, straight)
    told = dict(shown(tmp_path, "train/loss"))
    assert list(told) == [2, 4, 6] and list(told.values()) == pytest.approx(again.history["train/loss"], abs=1e-4)
    finished = train(tmp_path)  # killed after its last round
    assert finished.resumed_from == 3
    same(finished, straight)


def test_repeated_images_change_a_training_which_still_goes_on_exactly(straight: TrainResult, tmp_path: Path) -> None:
    sampled = {"sampling": {"kind": "instance_aware", "threshold": 0.9}}
    whole = train(tmp_path / "whole", **sampled)
    assert whole.history["train/loss"].tolist() != straight.history["train/loss"].tolist()

    def kill(facts: dict[str, Any]) -> None:
        if facts.get("round") == 3:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "killed", on_log=kill, **sampled)
    again = train(tmp_path / "killed", **sampled)
    assert again.resumed_from == 2
    same(again, whole)


def test_damage_and_other_settings_start_afresh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = train(tmp_path, budget={"iterations": 2, "evaluations": 1})
    assert rfdetr.read_state(tmp_path / "state", "f") is not None
    assert rfdetr.read_state(tmp_path / "state", "other") is None
    path = tmp_path / "state" / "round-1.ckpt"
    path.write_bytes(path.read_bytes()[:-1000])
    capsys.readouterr()
    again = train(tmp_path, budget={"iterations": 4, "evaluations": 2})
    assert "training starts afresh" in capsys.readouterr().err
    assert again.resumed_from == 0 and again.history["train/loss"][0] == first.history["train/loss"][0]


def test_a_signal_leaves_with_the_state_saved_and_code_75(straight: TrainResult, tmp_path: Path) -> None:
    """SIGTERM while a round is made: Lightning listens to it too."""
    command = [sys.executable, "-c", "import test_rfdetr; test_rfdetr._program.run(test_rfdetr.main)", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{PROJECT}"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=PROJECT)
    until = time.monotonic() + 120
    while time.monotonic() < until and '"round": 2' not in (read(tmp_path / "told")):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, text = process.communicate(timeout=120)
    assert process.returncode == PREEMPTED, text
    assert "signal SIGTERM; the state after round 1 of 3 is saved" in text and "Traceback" not in text
    kept = rfdetr.read_state(tmp_path / "state", "f")
    assert kept is not None and kept.epoch == 1
    last = json.loads(read(tmp_path / "told").splitlines()[-1])
    assert last["lost_iterations"] in (0, 1, 2)
    same(train(tmp_path), straight)


def read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


class Asked(StopRequest):
    """A budget with as much time left as a test says."""

    left_s = 0.001  # type: ignore[assignment]


def test_a_budget_ends_it_between_two_rounds(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    with pytest.raises(
        Preempted, match=f"{BUDGET_USED}: a round takes .*state after round 1 of 3 is saved, nothing is lost"
    ):
        train(tmp_path, on_log=told.append, asked=Asked())
    assert {"lost_iterations": 0, "lost_seconds": 0.0} in told
    assert read_json(tmp_path / "state" / "last.json")["epoch"] == 1


def test_divergence_is_a_result(tmp_path: Path) -> None:
    made = train(tmp_path, lr=1.0, lr_encoder=1.0, lr_component_decay=1.0, lr_vit_layer_decay=1.0, clip_max_norm=0.0)
    assert made.status.startswith("diverged at step "), made.history
    assert all(bool(torch.isfinite(value).all()) for value in weights(made).values())


def test_patience_ends_a_training_that_learns_nothing(tmp_path: Path) -> None:
    made = train(tmp_path, patience=1, lr=1e-9, lr_encoder=1e-9)
    assert made.status == "finished" and made.epochs == 2
    assert train(tmp_path, patience=1, lr=1e-9, lr_encoder=1e-9).resumed_from == 2, "it does not go on where it has ended"


def test_a_knob_without_effect_is_refused(tmp_path: Path) -> None:
    def forgetful(settings: RfdetrSettings, *, before: Any = rfdetr_knobs.train_config, **more: Any) -> Any:
        return before(settings.model_copy(update={"weight_decay": 0.5}), **more)

    with (
        patch.object(rfdetr_knobs, "train_config", forgetful),
        pytest.raises(ConfigError, match=r"training\.weight_decay: set to 0.0001"),
    ):
        train(tmp_path)


OTHER: list[dict[str, Any]] = [
    {
        "num_queries": None, "group_detr": 2, "imgsz": 96, "lr_scheduler": "cosine", "lr_min_factor": 0.2, "ema": False,
        "clip_max_norm": 0.0, "weight_decay": 0.01, "best_metric": "AR", "freeze_encoder": True, "fliplr": False,
        "gradient_checkpointing": True, "batch": 3, "accumulate": 1, "multi_scale": "per-batch", "scale_jitter": True,
    },
    {
        "lr_vit_layer_decay": 0.5, "lr_component_decay": 0.9, "lr_encoder": 1e-5, "multi_scale": "per-sample",
        "expanded_scales": False, "warmup_epochs": 1.0, "lr_drop": 2, "patience": 2, "min_delta": 0.05, "ema_decay": 0.9,
        "ema_tau": 7, "checkpoint_interval": 2, "sampling": {"kind": "repeat_factor", "threshold": 0.9},
    },
]  # fmt: skip


@pytest.mark.parametrize("values", OTHER, ids=["one way", "the other way"])
def test_every_knob_arrives(tmp_path: Path, values: dict[str, Any]) -> None:
    """Each is compared by the engine with what the built training holds; here all of them are away from their defaults."""
    made = train(tmp_path, **values)
    assert made.status == "finished"
    assert {path.name for path in (tmp_path / "checkpoints").glob("*")} == (
        {"round-2.pth"} if "ema_tau" in values else set()
    )
    known = {name for one in OTHER for name in one} | set(TINY) - {"budget"}
    assert (
        set(RfdetrSettings.model_fields) - known
        == {"engine", "model", "accept_licences", "weights", "budget", "amp", "lr"} - known
    )


def test_a_training_of_masks_goes_on_too(tmp_path: Path) -> None:
    """With the knobs of masks away from their defaults, which the engine compares; its scores are those of masks.

    Two undisturbed trainings of masks differ in the last bits already, by the library's losses: so nearly equal is enough.
    """
    knobs: dict[str, Any] = {"kind": RfdetrSegSettings, "imgsz": 72, "budget": {"iterations": 2, "evaluations": 2}}
    knobs |= {"mask_ce_loss_coef": 4.0, "mask_dice_loss_coef": 3.0, "mask_point_sample_ratio": 8}
    undisturbed = train(tmp_path / "undisturbed", **knobs)
    assert {"AP", "AP50", "AR", "F1", "box_AP", "box_AP50", "box_AP75"} <= set(undisturbed.best)
    assert undisturbed.history["train/loss_mask_dice"].notna().all()

    def kill(facts: dict[str, Any]) -> None:
        if facts.get("epoch") == 1:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "killed", on_log=kill, **knobs)
    again = train(tmp_path / "killed", **knobs)
    assert again.resumed_from == 1
    losses = [one.history["train/loss"].to_numpy(dtype=float) for one in (again, undisturbed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    one, other = weights(again), weights(undisturbed)
    assert all(torch.allclose(one[key], other[key], atol=2e-3) for key in one)
    net, _, names = models.read_model(undisturbed.weights)
    assert names == NAMES and net.segmentation_head is not None


def test_the_untrained_floor_is_the_start_of_a_training(tmp_path: Path) -> None:
    """Steps too small to be seen: what such a training leaves is what it began with."""
    settings = RfdetrSettings.model_validate(TINY)
    floor = load_checkpoint(rfdetr.untrained(settings, names=NAMES, seed=0, folder=tmp_path))["model"]
    made = train(tmp_path, budget={"iterations": 1, "evaluations": 1}, lr=1e-12, lr_encoder=1e-12, weight_decay=0.0)
    assert all(torch.allclose(floor[key], value, atol=1e-6) for key, value in weights(made).items())


def test_a_folder_in_its_layout_is_trained_in_place_by_hand(tmp_path: Path) -> None:
    """Settings of a few lines; the folder is read and left as it is; wrong ones are refused before anything is made."""
    data = layout(tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    (tmp_path / "nano.yaml").write_text(
        "task: detection\n"
        "training: {engine: rfdetr, model: nano, imgsz: 64, num_queries: 10, group_detr: 1, batch: 2, accumulate: 1,\n"
        "  budget: {iterations: 2, evaluations: 1}, multi_scale: 'off', scale_jitter: false}\n"
    )
    done = by_hand(tmp_path, "nano.yaml", "data")
    assert done.returncode == 0, done.stderr
    card, meta = (read_json(tmp_path / f"made/{name}.json") for name in ("model", "meta"))
    assert (card["class_names"], card["input_size"], card["iterations"], card["status"]) == (NAMES, 64, 2, "finished")
    assert "train_videos" not in card and meta["settings"]["training"]["lr"] == 1e-4 and len(meta["inputs"]["data"]) == 2
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before, "nothing is added or changed"
    made = (tmp_path / "made/model.json").read_bytes()
    (tmp_path / "yolo.yaml").write_text("task: detection\ntraining: {epochs: 1}\n")
    (tmp_path / "odd.yaml").write_text("task: detecton\ntraining: {epochs: 1}\n")
    for settings, folder, says in (
        ("yolo.yaml", "data", "engine yolo reads no such layout. Hint: engine: rfdetr"),
        ("odd.yaml", "data", "did you mean 'detection'"),
        ("nano.yaml", "nowhere", r"nowhere/train/_annotations.coco.json: no such file. Hint: RF-DETR's layout is"),
    ):
        refused = by_hand(tmp_path, settings, folder)
        assert refused.returncode == 2 and says in refused.stderr and "Traceback" not in refused.stderr
    assert (tmp_path / "made/model.json").read_bytes() == made


def by_hand(folder: Path, settings: str, data: str) -> subprocess.CompletedProcess[str]:
    words = ["--settings", settings, "--seed", "0", "--data", data, "--output", "made/model.json"]
    command = [sys.executable, "-m", "workflow_scripts.train", *words]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_what_matches_boxes_on_a_gpu_is_installed_and_agrees_with_scipy() -> None:
    """RF-DETR imports it in a training on a GPU only, so that no test on a CPU would miss it."""
    from scipy.optimize import linear_sum_assignment
    from torch_linear_assignment import batch_linear_assignment

    costs = torch.rand(7, 10, 4, generator=torch.Generator().manual_seed(0))
    for cost, found in zip(costs, batch_linear_assignment(costs), strict=True):
        rows, columns = linear_sum_assignment(cost)
        assert found[rows].tolist() == columns.tolist() and int((found >= 0).sum()) == 4
