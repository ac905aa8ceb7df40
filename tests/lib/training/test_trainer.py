"""The loop over real shards: accumulation, evaluation, going on bit for bit, stopping, and what it refuses."""

from __future__ import annotations

import copy
import math
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import nn

from lib.config.base import ConfigError
from lib.files import DataError
from lib.training.callbacks import Callback, EarlyStopping, NonFiniteGuard, Step
from lib.training.contracts import as_float32
from lib.training.evaluator import Evaluator
from lib.training.memory import Halving, OutOfMemory, halves
from lib.training.preemption import Preempted, StopRequest
from lib.training.randomness import random_state, restore_random_state
from lib.training.state import restore, state_of
from lib.training.trainer import Trainer, optimizer_step
from tests.lib.data import packed
from tests.lib.training import toy


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 samples: an epoch is 13 batches of 4, the last of 2; with 3 of them a step, 5 steps, the last of one batch."""
    return packed.write(tmp_path_factory.mktemp("shards"), 50)


class Memory:
    """A store in memory; states are copied as a file would be."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []

    def save(self, state: dict[str, Any], *, step: int, scores: Any = None) -> None:
        self.states.append(copy.deepcopy(state))

    def load(self) -> dict[str, Any] | None:
        return copy.deepcopy(self.states[-1]) if self.states else None

    def wait(self) -> None: ...


class Seen(Callback):
    """Which samples every step has seen."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def on_step(self, trainer: Trainer, step: Step) -> None:
        self.steps.append(step)

    def keys(self) -> list[list[str]]:
        return [[key for batch in step.batches for key in batch["keys"]] for step in self.steps]


class Killed(Exception):
    """Stands for a kill: nothing is saved on the way out."""


class KillAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer, step: Step) -> None:
        if step.step == self.step:
            raise Killed


def test_it_learns(manifest: Path) -> None:
    seen = Seen()
    run = toy.trainer(manifest, steps=60, accumulate=3, clip_norm=1.0, callbacks=[seen])
    outcome = run.train_loop()
    losses = [float(step.values["train/loss"]) for step in seen.steps]
    assert outcome.status == "finished" and outcome.step == run.updates == 60
    assert sum(losses[-5:]) < 0.2 * sum(losses[:5])
    assert [step.epoch for step in seen.steps[:11]] == [0] * 5 + [1] * 5 + [2]
    assert [len(step.batches) for step in seen.steps[:5]] == [3, 3, 3, 3, 1]


def test_accumulation_over_ragged_targets_is_the_whole_batch(manifest: Path) -> None:
    """k batches of b against one of k·b with the same samples: to 1e-6, though the batches' targets differ in number."""
    many = toy.trainer(manifest, steps=8, batch=4, accumulate=3, dropout=0.0, clip_norm=0.5)
    one = toy.trainer(manifest, steps=8, batch=12, accumulate=1, dropout=0.0, clip_norm=0.5)
    many.train_loop()
    one.train_loop()
    for name, value in toy.weights(one).items():
        assert torch.allclose(toy.weights(many)[name], value, rtol=0, atol=1e-6), name


def test_the_loss_of_a_step_is_the_mean_over_its_targets(manifest: Path) -> None:
    seen = Seen()
    run = toy.trainer(manifest, steps=1, accumulate=3, dropout=0.0, callbacks=[seen])
    before = toy.weights(run)
    run.train_loop()
    step = seen.steps[0]
    run.module.load_state_dict(before)
    parts = [toy.squared(run.module(batch), batch) for batch in step.batches]
    counts = [count for _, count in parts]
    assert len(set(counts)) > 1 and step.targets == sum(counts)
    assert math.isclose(step.values["train/loss"], sum(p["loss"].item() for p, _ in parts) / sum(counts), rel_tol=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kills", [[1], [4], [5], [7], [13], [2, 6, 6, 11]])
def test_going_on_is_exact(manifest: Path, kills: list[int], workers: int) -> None:
    """Killed at any step, mid-epoch, at its end, several times: the same weights bit for bit, the same samples."""
    whole, seen = toy.trainer(manifest, steps=14, accumulate=3, callbacks=[first := Seen()]), Seen()
    whole.train_loop()
    store = Memory()
    for kill in kills:
        with pytest.raises(Killed):
            toy.trainer(
                manifest, steps=14, accumulate=3, workers=workers, store=store, save_every=2, callbacks=[KillAt(kill)]
            ).train_loop()
    last = toy.trainer(manifest, steps=14, accumulate=3, workers=workers, store=store, save_every=2, callbacks=[seen])
    last.train_loop()
    assert toy.equal(toy.weights(whole), toy.weights(last))
    assert seen.keys() == first.keys()[last.resumed_from :]
    assert last.resumed_from == (store.states and max(kills) - 1) // 2 * 2


def scores_at(values: dict[int, float]) -> Any:
    """An evaluator whose score depends on the number of the evaluation."""

    class Scripted:
        def __init__(self) -> None:
            self.calls = 0

        def eval_loop(self, trainer: Trainer) -> dict[str, float]:
            self.calls += 1
            return {"val/score": values[trainer.step]}

    return Scripted()


def test_stopping_early_survives_a_kill(manifest: Path) -> None:
    """Best at step 4, two evaluations without a better one: it ends at step 8, also when killed in between."""
    values = {2: 0.1, 4: 0.5, 6: 0.5, 8: 0.4, 10: 0.9}
    store = Memory()

    def run(*more: Callback) -> Trainer:
        stopping = EarlyStopping("val/score", mode="max", patience=2)
        return toy.trainer(
            manifest, steps=10, accumulate=3, evaluate_every=2, evaluator=scores_at(values), store=store,
            callbacks=[stopping, *more],
        )  # fmt: skip

    with pytest.raises(Killed):
        run(KillAt(7)).train_loop()
    going_on = run()
    outcome = going_on.train_loop()
    assert going_on.resumed_from == 6 and outcome.step == 8 and "not better for 2" in outcome.reason
    again = run()  # killed after its end: nothing is trained any more
    assert again.train_loop().step == 8 and again.resumed_from == 8


def test_an_unknown_metric_is_named_with_the_nearest(manifest: Path) -> None:
    run = toy.trainer(
        manifest, steps=2, evaluate_every=1, evaluator=scores_at({1: 0.1, 2: 0.2}),
        callbacks=[EarlyStopping("val/scor", mode="max", patience=1)],
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"stopping\.metric: .* no 'val/scor'.*did you mean 'val/score'"):
        run.train_loop()


def test_evaluation_scores_every_sample_once_and_changes_nothing(manifest: Path) -> None:
    def evaluator() -> Evaluator:
        return Evaluator(
            loader=toy.loader(manifest, shuffle=False),
            decode=lambda outputs, batch: dict(zip(batch["keys"], outputs.mean(1).tolist(), strict=True)),
            score=lambda found: {"val/samples": float(len(found))},
        )

    plain = toy.trainer(manifest, steps=10, accumulate=3)
    plain.train_loop()
    with_val = toy.trainer(manifest, steps=10, accumulate=3, evaluator=evaluator())
    outcome = with_val.train_loop()
    assert outcome.scores["val/samples"] == 50 and 0 < outcome.scores["val/loss"] < 1
    assert toy.equal(toy.weights(plain), toy.weights(with_val)) and with_val.module.training


def test_a_stop_is_answered_at_the_next_step_and_the_rest_is_the_same(manifest: Path) -> None:
    whole = toy.trainer(manifest, steps=9, accumulate=3)
    whole.train_loop()
    store, stop = Memory(), StopRequest()

    class AskAt(Callback):
        def on_step(self, trainer: Trainer, step: Step) -> None:
            if step.step == 3:
                stop._ask(15, None)

    with pytest.raises(Preempted, match="stopped at step 4 of 9: signal SIGTERM; the state is saved"):
        toy.trainer(manifest, steps=9, accumulate=3, store=store, stop=stop, callbacks=[AskAt()]).train_loop()
    going_on = toy.trainer(manifest, steps=9, accumulate=3, store=store, stop=StopRequest())
    going_on.train_loop()
    assert going_on.resumed_from == 4 and toy.equal(toy.weights(whole), toy.weights(going_on))


def test_a_time_budget_stops_by_itself(manifest: Path) -> None:
    store = Memory()
    with pytest.raises(Preempted, match="the time budget is used up"):
        toy.trainer(manifest, steps=10**6, store=store, stop=StopRequest(budget_s=0.3)).train_loop()
    assert store.states[-1]["step"] > 0
    with pytest.raises(ValueError, match="above 0 s"):
        StopRequest(budget_s=0)


class Spoilt(nn.Module):
    """The toy model, whose outputs are no numbers at some calls (counted from 1)."""

    def __init__(self, at: set[int], *, backward: bool = False) -> None:
        super().__init__()
        self.inner, self.at, self.backward, self.calls = toy.Temporal(0.0), at, backward, 0

    def forward(self, batch: dict[str, Any]) -> torch.Tensor:
        self.calls += 1
        out = self.inner(batch)
        if self.calls not in self.at:
            return out
        return out + (out * 0).sqrt() if self.backward else out * math.nan  # sqrt at 0: a finite loss, an infinite gradient


def spoilt(manifest: Path, at: set[int], *, skips: int, folder: Path | None = None, **more: Any) -> Trainer:
    model = Spoilt(at, **more)
    return Trainer(
        model=model, loss=toy.squared, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), schedule=toy.Constant(),
        loader=toy.loader(manifest), total_steps=8, callbacks=[NonFiniteGuard(skips=skips, folder=folder)],
    )  # fmt: skip


@pytest.mark.parametrize("backward", [False, True])
def test_steps_that_are_no_number_are_skipped_and_named(manifest: Path, tmp_path: Path, backward: bool) -> None:
    run = spoilt(manifest, {2, 3}, skips=2, folder=tmp_path, backward=backward)
    outcome = run.train_loop()
    assert outcome.status == "finished" and outcome.step == 8 and run.updates == 6
    lines = (tmp_path / "not-finite.jsonl").read_text().splitlines()
    assert len(lines) == 2 and '"step": 2' in lines[0] and '"keys": ["v' in lines[0]
    assert all(torch.isfinite(value).all() for value in toy.weights(run).values())


@pytest.mark.parametrize("backward", [False, True])
def test_more_of_them_is_a_divergence_with_finite_weights(manifest: Path, backward: bool) -> None:
    run = spoilt(manifest, {3, 4, 5, 6, 7, 8}, skips=1, backward=backward)
    outcome = run.train_loop()
    assert outcome.status == "diverged at step 4" and run.updates == 2
    assert all(torch.isfinite(value).all() for value in toy.weights(run).values())


def test_a_step_without_a_target_is_an_error_not_a_loss_of_zero(manifest: Path) -> None:
    def nothing(outputs: Any, batch: Any) -> Any:
        return {"loss": outputs.sum() * 0}, 0

    run = toy.trainer(manifest, steps=2)
    run.loss = nothing
    with pytest.raises(DataError, match=r"step 1: not a single valid target .*samples v\d.*Hint: are the labels"):
        run.train_loop()


class Small(nn.Module):
    """A model on a device that holds `room` samples at once: torch's own error beyond."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.inner, self.room, self.sizes = toy.Temporal(0.0), room, []

    def forward(self, batch: dict[str, Any]) -> torch.Tensor:
        self.sizes.append(len(batch["keys"]))
        if len(batch["keys"]) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return self.inner(batch)


def crowded(manifest: Path, room: int, **more: Any) -> Trainer:
    torch.manual_seed(0)
    model = Small(room)
    return Trainer(
        model=model, loss=toy.squared, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), schedule=toy.Constant(),
        loader=toy.loader(manifest, batch=8), total_steps=6, **more,
    )  # fmt: skip


def test_out_of_memory_halves_micro_batches_and_keeps_the_step(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roomy, tight = crowded(manifest, 8), crowded(manifest, 3, halving=Halving())
    roomy.train_loop()
    tight.train_loop()
    assert tight.halving.halvings == 2 and max(tight.model.sizes[-4:]) <= 2
    assert "from now on 4, twice as many" in capsys.readouterr().err
    for name, value in toy.weights(roomy).items():
        assert torch.allclose(toy.weights(tight)[name], value, rtol=0, atol=1e-6), name


def test_a_step_is_repeated_only_when_the_failed_one_is_gone(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error holds the frames of the step, and they its activations: room is made behind it."""
    alive: list[bool] = []
    held: list[weakref.ref[torch.Tensor]] = []

    def step(trainer: Trainer, window: Any) -> Step:
        activations = torch.zeros(3)
        held.append(weakref.ref(activations))
        if len(held) == 1:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        return optimizer_step(trainer, window)

    monkeypatch.setattr("lib.training.trainer.make_room", lambda: alive.append(held[0]() is not None))
    run = toy.trainer(manifest, steps=1, halving=Halving(), step=step)
    run.train_loop()
    assert alive == [False] and run.halving.halvings == 1 and run.updates == 1


def test_an_update_that_was_begun_is_not_repeated(manifest: Path) -> None:
    """An optimizer that runs out of memory may have changed its state already."""

    class Short(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    model = toy.Temporal()
    run = toy.trainer(manifest, steps=1, halving=Halving(), model=model, optimizer=Short(model.parameters(), lr=0.1))
    with pytest.raises(OutOfMemory, match="with an update behind it, cannot be repeated"):
        run.train_loop()


def in_float16(manifest: Path, loss: Any, **more: Any) -> Trainer:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler=scaler)])
    run = toy.trainer(manifest, dropout=0.0, fabric=fabric, **more)
    run.loss = loss
    return run


def test_float16_finds_its_scale_without_diverging(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def steep(outputs: torch.Tensor, batch: dict[str, Any]) -> Any:
        return {"loss": 100 * outputs.sum()}, len(outputs)

    seen = Seen()
    run = in_float16(manifest, steep, steps=14, callbacks=[seen, NonFiniteGuard(skips=0)])
    assert run.train_loop().status == "finished"
    overflows = [step.overflow for step in seen.steps]
    assert overflows[0] and not overflows[-1] and run.updates == 14 - sum(overflows)
    assert run._scaler.get_scale() == 2.0 ** (16 - sum(overflows))
    assert "step 1: the gradient overflowed in float16" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_no_scale_makes_finite_diverges_in_float16(manifest: Path, what: str) -> None:
    """A loss that is infinite while its gradient is 0 changes nothing either: the scaler would have let it pass."""

    def infinite(outputs: torch.Tensor, batch: dict[str, Any]) -> Any:
        return {"loss": (outputs * 0).sum() + math.inf}, len(outputs)

    def hopeless(outputs: torch.Tensor, batch: dict[str, Any]) -> Any:
        return {"loss": torch.sqrt(outputs * 0).sum()}, len(outputs)

    run = in_float16(
        manifest, {"loss": infinite, "gradient": hopeless}[what], steps=60, callbacks=[NonFiniteGuard(skips=0)]
    )
    before = toy.weights(run)
    assert run.train_loop().status == ("diverged at step 1" if what == "loss" else "diverged at step 33")
    assert run.updates == 0 and toy.equal(toy.weights(run), before)


def test_numbers_of_the_gpu_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are not asked, and a state of a GPU goes on where there is none."""
    own = torch.arange(16, dtype=torch.uint8)
    given: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: own)
    monkeypatch.setattr(torch.cuda, "set_rng_state", given.append)
    state = random_state()
    assert state["cuda"] == [own]
    restore_random_state(state)
    assert given == [own]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    restore_random_state(state)
    assert given == [own]


@pytest.mark.parametrize(
    ("room", "halving", "why"),
    [
        (0, Halving(), "micro-batches have one sample already"),
        (4, Halving(allowed=False, why="a contrastive loss compares all pairs"), "a contrastive loss compares all pairs"),
    ],
)
def test_out_of_memory_that_halving_cannot_heal(manifest: Path, room: int, halving: Halving, why: str) -> None:
    with pytest.raises(OutOfMemory, match=rf"CUDA out of memory.*not split: {why}.*Hint: a smaller `batch`"):
        crowded(manifest, room, halving=halving).train_loop()


def test_halves_of_batches() -> None:
    batch = {"keys": ["a", "b", "c"], "x": torch.arange(6).reshape(3, 2), "name": "all", "scale": 2.0}
    first, second = halves(batch)
    assert first["keys"] == ["a", "b"] and second["x"].tolist() == [[4, 5]] and second["name"] == "all"
    assert halves((torch.arange(2), [1, 2]))[1] == (torch.tensor([1]), [2])


def test_several_updates_per_batch_need_no_other_loop(manifest: Path) -> None:
    """Deep supervision: the model goes on from its own last state, an update after each of three passes."""

    class Recursive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = toy.Temporal(0.0)

        def forward(self, batch: dict[str, Any]) -> torch.Tensor:
            return self.inner(batch) + batch.get("carry", 0.0)

    def three_passes(trainer: Trainer, window: Any) -> Step:
        carry = torch.zeros(())
        for _ in range(3):
            trainer.optimizer.zero_grad()
            outputs = [trainer.outputs(trainer.model, batch | {"carry": carry}) for batch in window]
            parts = [trainer.loss(out, batch) for out, batch in zip(outputs, window, strict=True)]
            trainer.fabric.backward(sum(part["loss"] for part, _ in parts))
            loss, targets = sum(part["loss"] for part, _ in parts), sum(count for _, count in parts)
            reached = trainer.mean_gradients(loss, targets, window)
            trainer.update(reached.finite)
            carry = outputs[0].detach() * 0.5
        return trainer.made(reached, {}, window)

    torch.manual_seed(0)
    model, seen = Recursive(), Seen()
    run = Trainer(
        model=model, loss=toy.squared, optimizer=torch.optim.AdamW(model.parameters(), lr=1e-2), schedule=toy.Constant(),
        loader=toy.loader(manifest), total_steps=20, step=three_passes, callbacks=[seen],
    )  # fmt: skip
    run.train_loop()
    assert run.step == 20 and run.updates == 60
    assert seen.steps[-1].values["train/loss"] < seen.steps[0].values["train/loss"]


def test_what_cannot_be(manifest: Path) -> None:
    for name, value in (("accumulate", 0), ("accumulate", -2), ("total_steps", 0), ("evaluate_every", -1)):
        with pytest.raises(ConfigError, match=rf"{name} {value}: must be at least 1"):
            toy.trainer(manifest, **{"steps": 1} | ({"steps": value} if name == "total_steps" else {name: value}))
    with pytest.raises(ConfigError, match=r"clip_norm 0.*above 0"):
        toy.trainer(manifest, steps=1, clip_norm=0.0)
    frozen = toy.trainer(manifest, steps=1)
    frozen.loss = lambda outputs, batch: ({"loss": torch.ones((), requires_grad=True) * 1.0}, 1)
    with pytest.raises(ConfigError, match="no parameter got a gradient"):
        frozen.train_loop()
    empty = toy.trainer(manifest, steps=1)
    empty.loader = type("Empty", (), {"epoch": 0, "__len__": lambda self: 0, "__iter__": lambda self: iter(())})()
    with pytest.raises(ConfigError, match="the loader gives no batch"):
        empty.train_loop()


def test_a_state_of_other_windows_is_refused(manifest: Path) -> None:
    state = state_of(toy.trainer(manifest, steps=3, accumulate=3))
    with pytest.raises(ConfigError, match="written with accumulate 3, here it is 2"):
        restore(toy.trainer(manifest, steps=3, accumulate=2), state)
    with pytest.raises(ConfigError, match="written with ranks 2, here it is 1"):
        restore(toy.trainer(manifest, steps=3, accumulate=3), state | {"ranks": 2})


def test_bfloat16_trains_and_losses_see_float32(manifest: Path) -> None:
    kinds = set()

    def loss(outputs: torch.Tensor, batch: dict[str, Any]) -> Any:
        kinds.add(outputs.dtype)
        return toy.squared(outputs, batch)

    run = toy.trainer(manifest, steps=4, fabric=Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"))
    run.loss = loss
    run.train_loop()
    assert kinds == {torch.float32} and all(value.dtype == torch.float32 for value in toy.weights(run).values())
    nested = as_float32({"a": [torch.ones(1, dtype=torch.bfloat16)], "b": (torch.ones(1, dtype=torch.long),)})
    assert nested["a"][0].dtype == torch.float32 and nested["b"][0].dtype == torch.long


def test_the_default_step_is_the_function_to_read(manifest: Path) -> None:
    assert toy.trainer(manifest, steps=1)._make_step is optimizer_step
