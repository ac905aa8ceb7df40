"""Trainings where cuDNN is broken: without it, in halves, the same step. Reference: the same training with cuDNN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from shapes import NAMES, draw

from lib.config.base import ConfigError
from lib.config.running import Running
from lib.config.train import TrainingSettings
from lib.config.train_loop import LoopSettings
from lib.devices import use_cudnn
from lib.models import yolo as models
from lib.training import run, yolo, yolo_knobs
from lib.training.memory import Halving
from lib.training.yolo_trainer import Trainer
from tests.lib.data import packed
from tests.lib.training import toy
from tests.lib.training.test_run import RUNNING, SETTINGS
from tests.lib.training.test_yolo import SHORT

BROKEN = RUNNING.model_copy(update={"cudnn": False})


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    use_cudnn(Running())


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed.write(tmp_path_factory.mktemp("shards"), 50)


def looped(
    manifest: Path, state: Path, running: Running, halving: Any = Halving, batch: int = 4
) -> tuple[run.LoopResult, list[int], list[dict[str, Any]]]:
    """A training without dropout; what it leaves, sizes of all batches that were trained on, and what it told."""
    parts, sizes, told = toy.parts(manifest, batch=batch, dropout=0.0, halving=halving), [], []

    def counted(outputs: Any, given: Any) -> Any:
        sizes.extend([len(given["keys"])] if torch.is_grad_enabled() else [])
        return toy.squared(outputs, given)

    made = run.train(
        LoopSettings.model_validate(SETTINGS | {"batch": batch, "budget": {"steps": 8, "evaluate_every_steps": 4}}),
        run.Parts(build=parts.build, loss=counted, loader=parts.loader, evaluator=parts.evaluator, halving=halving),
        state=state, fingerprint="f", seed=0, name="toy", running=running, on_progress=lambda **facts: told.append(facts),
    )  # fmt: skip
    assert made is not None
    return made, sizes, told


@pytest.mark.parametrize("batch", [4, 5])
def test_our_loop_makes_the_same_steps_of_halves(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], batch: int
) -> None:
    whole, whole_sizes, _ = looped(manifest, tmp_path / "whole", RUNNING, batch=batch)
    assert torch.backends.cudnn.enabled and whole.facts["cudnn"] and whole.facts["micro_batch"] == batch
    half, sizes, told = looped(manifest, tmp_path / "half", BROKEN, batch=batch)
    assert not torch.backends.cudnn.enabled
    larger = (batch + 1) // 2
    assert max(sizes) == larger and sum(sizes) == sum(whole_sizes)
    assert len(sizes) == sum(2 if size > 1 else 1 for size in whole_sizes), "twice as many per step"
    wanted = {"micro_batch": larger, "effective_batch": batch * 3, "cudnn": False, "halvings": 0, "updates": 8}
    assert wanted.items() <= half.facts.items() and whole.facts["effective_batch"] == batch * 3
    assert told[0] == {"cudnn": False, "micro_batch": larger}
    assert f"micro-batches of {larger} instead of {batch}, twice as many" in capsys.readouterr().err
    ours, theirs = load_file(half.weights), load_file(whole.weights)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5)


def test_a_state_goes_on_where_cudnn_works(manifest: Path, tmp_path: Path) -> None:
    """The halves of a site are not those of a lack of memory: the next site does not take them over."""
    looped(manifest, tmp_path / "state", BROKEN)
    again, sizes, _ = looped(manifest, tmp_path / "state", RUNNING)
    assert again.resumed_from == 8 and again.facts["micro_batch"] == 4 and sizes == []


def test_one_sample_is_never_halved_and_comparing_losses_are_refused(manifest: Path, tmp_path: Path) -> None:
    made, sizes, _ = looped(manifest, tmp_path / "one", BROKEN, batch=1)
    assert set(sizes) == {1} and made.facts["micro_batch"] == 1
    with pytest.raises(ConfigError, match=r"running.cudnn: false halves.*of 4 are not split: .*negatives.*cached_step"):
        looped(manifest, tmp_path / "pairs", BROKEN, halving=lambda: Halving(allowed=False))


def test_yolo_refuses_an_odd_batch(tmp_path: Path) -> None:
    assert yolo_knobs.pieces(TrainingSettings(batch=5), Running()) == 1
    assert yolo_knobs.pieces(TrainingSettings(batch=1), BROKEN) == 1
    with pytest.raises(ConfigError, match=r"training.batch: 5 is odd, and running.cudnn: false.*even"):
        yolo_knobs.pieces(TrainingSettings(batch=5), BROKEN)


@pytest.mark.slow
def test_yolo_steps_after_both_halves_also_when_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps, rates and the images of each step are those of a training with cuDNN; weights are close (batch norm)."""
    seen: dict[str, list[list[str]]] = {}

    def train(name: str, running: Running, cut_at: int | None = None) -> yolo.TrainResult:
        monkeypatch.setenv(Running.VARIABLE, running.model_dump_json())
        batches = seen.setdefault(name, [])

        def watched(trainer: Trainer, batch: Any, before: Any = Trainer.preprocess_batch) -> Any:
            if trainer.step == cut_at:
                raise KeyboardInterrupt
            batches.append([Path(file).name for file in batch["im_file"]])
            return before(trainer, batch)

        with monkeypatch.context() as patched:
            patched.setattr(Trainer, "preprocess_batch", watched)
            return trained_yolo(tmp_path, name)

    whole = train("whole", RUNNING)
    assert models.device() == "cpu" and torch.backends.cudnn.enabled
    half = train("half", BROKEN)
    assert not torch.backends.cudnn.enabled
    assert half.facts == {"micro_batch": 2, "effective_batch": 4, "cudnn": False} and half.iterations == 6
    assert [len(files) for files in seen["half"]] == [2] * 12
    assert [first + second for first, second in zip(*[iter(seen["half"])] * 2, strict=True)] == seen["whole"]
    assert half.history["lr"].tolist() == whole.history["lr"].tolist()
    with pytest.raises(KeyboardInterrupt):
        train("cut", BROKEN, cut_at=4)
    resumed = train("cut", BROKEN)
    assert resumed.resumed_from == 1 and resumed.iterations == 6
    ours, theirs = (yolo.load_checkpoint(one.weights)["model"].state_dict() for one in (resumed, half))
    assert toy.equal(ours, theirs)


@pytest.mark.slow
def test_halves_of_a_yolo_batch_have_its_gradient_but_for_batch_norm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With batch norm that takes its kept statistics; each half's loss is a mean over its own targets, so nearly."""
    found = []

    class Enough(Exception):
        """One gradient was seen."""

    def kept(trainer: Trainer) -> None:
        trainer._passes = (trainer._passes + 1) % trainer.pieces
        if not trainer._passes:
            found.append(torch.cat([one.grad.flatten() for one in trainer.model.parameters() if one.grad is not None]))
            raise Enough

    def with_kept_statistics(trainer: Trainer, before: Any = Trainer._model_train) -> None:
        before(trainer)
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()

    monkeypatch.setattr(Trainer, "optimizer_step", kept)
    monkeypatch.setattr(Trainer, "_model_train", with_kept_statistics)
    for name, running in (("whole", RUNNING), ("half", BROKEN)):
        monkeypatch.setenv(Running.VARIABLE, running.model_dump_json())
        with pytest.raises(Enough):
            trained_yolo(tmp_path, name, imgsz=256)
    whole, half = (one.double() for one in found)
    assert float(whole @ half / whole.norm() / half.norm()) > 0.999
    assert float(half.norm() / whole.norm()) == pytest.approx(1, abs=0.05)


def trained_yolo(folder: Path, name: str, **more: Any) -> yolo.TrainResult:
    """A YOLO training of 6 steps in 2 rounds on images drawn into the folder."""
    budget = {"iterations": 6, "evaluations": 2}
    return yolo.train(
        TrainingSettings.model_validate(SHORT | {"warmup": 3, "budget": budget} | more),
        names=NAMES,
        train_images=draw(folder / "train", 10, seed=0),
        val_images=draw(folder / "val", 4, seed=1),
        state=folder / name,
        seed=0,
        threads=1,
        fingerprint="f",
    )
