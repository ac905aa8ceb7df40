"""torch.compile through the loop: the same losses, states that know nothing of it, one compilation more for other sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lib.training.callbacks import Averaging
from lib.training.checkpoint import CheckpointStore
from lib.training.ema import Ema
from lib.training.evaluator import Evaluator
from lib.training.trainer import Trainer
from tests.lib.data import packed
from tests.lib.training import pairs, toy
from tests.lib.training.test_trainer import Seen

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 samples: an epoch is 13 batches of 4, the last of 2."""
    return packed.write(tmp_path_factory.mktemp("shards"), 50)


class Steps(nn.Module):
    """(B, T, 12) → (B, T) by layers that torch.compile takes whole."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(toy.WIDTH, 24), nn.LayerNorm(24), nn.GELU(), nn.Linear(24, 1))

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return self.layers(batch["x"]).squeeze(-1)


def trainer(manifest: Path, *, compiled: bool, steps: int = 14, folder: Path | None = None, seen: Any = None) -> Trainer:
    torch.manual_seed(0)
    model = Steps()
    evaluator = Evaluator(
        loader=toy.loader(manifest, transform=toy.plain, shuffle=False),
        decode=lambda outputs, batch: dict(zip(batch["keys"], outputs.mean(1).tolist(), strict=True)),
        score=lambda found: {"val/mean": sum(found.values()) / len(found)},
    )
    return Trainer(
        model=model, loss=toy.squared, optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3), schedule=toy.Constant(),
        loader=toy.loader(manifest), total_steps=steps, evaluator=evaluator, evaluate_every=7, compile_model=compiled,
        callbacks=[Averaging(Ema(model, decay=0.9)), *([seen] if seen else [])],
        store=CheckpointStore(folder, fingerprint="one") if folder else None,
    )  # fmt: skip


def losses(seen: Seen) -> list[float]:
    return [float(step.values["train/loss"]) for step in seen.steps]


@pytest.fixture(scope="module")
def eager(manifest: Path) -> tuple[Trainer, list[float]]:
    run = trainer(manifest, compiled=False, seen=(seen := Seen()))
    run.train_loop()
    return run, losses(seen)


def test_the_same_losses_scores_and_average(manifest: Path, eager: tuple[Trainer, list[float]], tmp_path: Path) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    run = trainer(manifest, compiled=True, seen=(seen := Seen()), folder=tmp_path / "state")
    run.train_loop()
    assert 1 <= torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2, "one, and one for the smaller last batch"
    plain, expected = eager
    assert len(losses(seen)) == 14 and losses(seen) == pytest.approx(expected, rel=0, abs=1e-5)
    assert run.scores == pytest.approx(plain.scores, abs=1e-5) and run.scores.keys() == {"val/loss", "val/mean"}
    mine, theirs = (one.callbacks[0].ema.state_dict()["average"] for one in (run, plain))
    assert all(torch.allclose(mine[name], theirs[name], rtol=0, atol=1e-5) for name in theirs)
    state = run.store.load()
    names = [*state["model"], *state["callbacks"]["Averaging"]["average"]]
    assert names and not [name for name in names if "_orig_mod" in name]
    assert state["model"].keys() == plain.module.state_dict().keys()


@pytest.mark.parametrize("first", [True, False])
def test_a_state_goes_on_with_or_without(
    manifest: Path, eager: tuple[Trainer, list[float]], tmp_path: Path, first: bool
) -> None:
    """Written compiled and read plain, and the other way round."""
    trainer(manifest, compiled=first, steps=7, folder=tmp_path / "state").train_loop()
    run = trainer(manifest, compiled=not first, folder=tmp_path / "state", seen=(seen := Seen()))
    run.train_loop()
    assert run.resumed_from == 7 and losses(seen) == pytest.approx(eager[1][7:], rel=0, abs=1e-5)
    expected = toy.weights(eager[0])
    assert all(torch.allclose(value, expected[name], rtol=0, atol=1e-4) for name, value in toy.weights(run).items())


def test_other_sizes_are_compiled_once_more_for_all(manifest: Path) -> None:
    """An epoch's last batch is smaller, and so are pieces after a halving: never one compilation per size."""
    torch._dynamo.reset()
    compiled: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append([tuple(one.shape) for one in inputs if isinstance(one, Tensor)])
        return graph.forward

    run = trainer(manifest, compiled=False)
    run.model = torch.compile(run.module, backend=backend)
    for size in (4, 4, 2, 3, 4, 1, 5, 2, 6):
        run.model({"x": torch.randn(size, toy.LONGEST, toy.WIDTH), "keys": [str(one) for one in range(size)]})
    assert len(compiled) <= 3, compiled  # as it is, with the number of samples open, and of one sample


def test_the_cached_step_compiled() -> None:
    """Both passes of it, with the ragged micro-batches of its own tests."""
    plain, run = pairs.trainer(pairs.batches()), pairs.trainer(pairs.batches(), compile_model=True)
    plain.train_loop()
    run.train_loop()
    expected = toy.weights(plain)
    assert all(torch.allclose(value, expected[name], rtol=0, atol=1e-5) for name, value in toy.weights(run).items())
