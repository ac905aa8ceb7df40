"""Reference: torch's own schedulers to 1e-12, a hand-made model whose groups are known, bitsandbytes where installed."""

from __future__ import annotations

import copy
import importlib.util
import math
import random
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from lib.config.base import ConfigError
from lib.config.train_optim import OptimizerSettings, ScheduleSettings
from lib.training.optim import Schedule, make_optimizer, make_schedule, parameter_groups

STEPS, EPOCH = 60, 12


class RootMeanNorm(nn.Module):
    """A norm of somebody's own, with a weight of two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 4))


class Words(nn.Module):
    """Every kind of parameter; `out` is tied to `token`, which the model excepts by name."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(10, 4)
        self.place = nn.Embedding(5, 4)
        self.body = nn.Sequential(
            nn.Linear(4, 4), nn.LayerNorm(4), nn.Conv1d(4, 4, 3), nn.BatchNorm1d(4), nn.GroupNorm(2, 4)
        )
        self.attention = nn.MultiheadAttention(4, 2)
        self.own = RootMeanNorm()
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.out = nn.Linear(4, 10, bias=False)
        self.out.weight = self.token.weight

    def no_weight_decay(self) -> set[str]:
        return {"token"}


def names_of(model: nn.Module, group: dict[str, Any]) -> set[str]:
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return {known[id(parameter)] for parameter in group["params"]}


def test_groups_of_a_model_with_everything() -> None:
    model = Words()
    decayed, others = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert names_of(model, decayed) == {
        "place.weight",
        "body.0.weight",
        "body.2.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    }
    trainable = {id(one) for one in model.parameters() if one.requires_grad}
    held = [id(one) for group in (decayed, others) for one in group["params"]]
    assert sorted(held) == sorted(trainable), "each trainable one once, no frozen one, tied ones once"
    assert {"token.weight", "own.weight", "temperature", "body.1.weight", "body.3.weight"} <= names_of(model, others)


def test_a_tied_weight_counts_as_its_strictest_place_whatever_comes_first() -> None:
    model = nn.ModuleDict({"out": nn.Linear(4, 10, bias=False), "in": nn.Embedding(10, 4)})
    model["out"].weight = model["in"].weight
    model["in"].no_weight_decay = lambda: {"weight"}
    (group,) = parameter_groups(model, 0.1)
    assert group["weight_decay"] == 0.0 and len(group["params"]) == 1


def test_what_has_no_use_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"none of its 2 parameters is trainable"):
        make_optimizer(nn.Linear(2, 2).requires_grad_(False), OptimizerSettings())
    model = Words()
    model.no_weight_decay = lambda: {"tokens"}
    with pytest.raises(ConfigError, match=r"did you mean 'token\.weight'"):
        make_optimizer(model, OptimizerSettings())


@pytest.mark.parametrize(
    ("settings", "kind", "knobs"),
    [
        ({"name": "adamw", "betas": (0.8, 0.95), "eps": 1e-6}, torch.optim.AdamW, {"betas": (0.8, 0.95), "eps": 1e-6}),
        ({"name": "adam"}, torch.optim.Adam, {"betas": (0.9, 0.999), "eps": 1e-8}),
        ({"name": "sgd", "momentum": 0.7, "nesterov": True}, torch.optim.SGD, {"momentum": 0.7, "nesterov": True}),
    ],
)
def test_every_knob_reaches_the_optimizer(settings: dict[str, Any], kind: type, knobs: dict[str, Any]) -> None:
    optimizer = make_optimizer(Words(), OptimizerSettings(lr=0.02, weight_decay=0.3, **settings))
    assert type(optimizer) is kind
    for group, decay in zip(optimizer.param_groups, (0.3, 0.0), strict=True):
        assert {key: group[key] for key in knobs} == knobs
        assert (group["lr"], group["weight_decay"]) == (0.02, decay)


def test_an_unknown_name_gets_the_nearest() -> None:
    settings = OptimizerSettings().model_copy(update={"name": "adamww"})
    with pytest.raises(ConfigError, match="did you mean 'adamw'"):
        make_optimizer(Words(), settings)
    wrong = ScheduleSettings().model_copy(update={"name": "cosin"})
    with pytest.raises(ConfigError, match="did you mean 'cosine'"):
        make_schedule(sgd(), wrong, total_steps=3, steps_per_epoch=1)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_eight_bits_without_bitsandbytes_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"optimizer.name: adamw8bit needs the package bitsandbytes.*Hint: `pip install"):
        make_optimizer(Words(), OptimizerSettings(name="adamw8bit"))


def test_eight_bits_learn_with_a_state_of_bytes() -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: it is not part of the lock")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(128, 128), nn.LayerNorm(128))
    optimizer = make_optimizer(model, OptimizerSettings(name="adamw8bit", lr=1e-2))
    data = torch.randn(64, 128)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(data) - data).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert optimizer.state[model[0].weight]["state1"].dtype == torch.uint8
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]


# -- schedules ------------------------------------------------------------------------------------------------------------


def sgd(lr: float = 0.1) -> torch.optim.SGD:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)


def ours(settings: dict[str, Any], steps: int = STEPS, lr: float = 0.1) -> list[float]:
    """Learning rate of each step, by our schedule."""
    optimizer = sgd(lr)
    schedule = make_schedule(optimizer, ScheduleSettings(**settings), total_steps=STEPS, steps_per_epoch=EPOCH)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        assert schedule.lr == found[-1]
        optimizer.step()
        schedule.step()
    return [*found, schedule.lr]


def theirs(optimizer: torch.optim.Optimizer, scheduler: LRScheduler) -> list[float]:
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return [*found, optimizer.param_groups[0]["lr"]]


def after_warmup(optimizer: torch.optim.Optimizer, warmup: int, then: LRScheduler) -> LRScheduler:
    """torch's own warm-up of the same ramp, from lr / W to lr within W steps, followed by another scheduler."""
    rise = LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
    return SequentialLR(optimizer, [rise, then], milestones=[warmup])


def close(one: list[float], other: list[float]) -> None:
    assert len(one) == len(other)
    assert max(abs(a - b) for a, b in zip(one, other, strict=True)) <= 1e-12


@pytest.mark.parametrize("floor", [0.0, 0.05])
def test_cosine_is_torchs(floor: float) -> None:
    optimizer = sgd()
    close(ours({"floor": floor}), theirs(optimizer, CosineAnnealingLR(optimizer, T_max=STEPS, eta_min=floor * 0.1)))


@pytest.mark.parametrize("warmup", [{"warmup_steps": 6}, {"warmup_epochs": 0.5}, {"warmup_ratio": 0.1}])
def test_warmup_by_steps_epochs_or_ratio_and_then_cosine_is_torchs(warmup: dict[str, Any]) -> None:
    optimizer = sgd()
    cosine = CosineAnnealingLR(optimizer, T_max=STEPS - 6, eta_min=0.01)
    rates = ours({"floor": 0.1, **warmup})
    close(rates, theirs(optimizer, after_warmup(optimizer, 6, cosine)))
    assert (
        rates[0] == pytest.approx(0.1 / 6)
        and rates[5] == rates[6] == pytest.approx(0.1)
        and rates[-1] == pytest.approx(0.01)
    )


@pytest.mark.parametrize("drops", [{"drop_every_steps": 18}, {"drop_every_epochs": 1.5}])
def test_step_is_torchs(drops: dict[str, Any]) -> None:
    optimizer = sgd()
    close(ours({"name": "step", "drop_factor": 0.3, **drops}), theirs(optimizer, StepLR(optimizer, 18, gamma=0.3)))
    optimizer = sgd()
    warm = after_warmup(optimizer, 4, StepLR(optimizer, 18, gamma=0.3))
    close(ours({"name": "step", "drop_factor": 0.3, "warmup_steps": 4, **drops}), theirs(optimizer, warm))


def test_constant_is_torchs_and_a_floor_ends_the_drops() -> None:
    optimizer = sgd()
    warm = after_warmup(optimizer, 5, ConstantLR(optimizer, factor=1.0))
    close(ours({"name": "constant", "warmup_steps": 5}), theirs(optimizer, warm))
    dropped = ours({"name": "step", "drop_every_steps": 5, "floor": 0.25, "drop_factor": 0.5})
    assert dropped[4] == 0.1 and dropped[5] == 0.05 and set(dropped[10:]) == {0.025}


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("cooldown", [0, 3])
def test_plateau_is_torchs_on_many_courses(mode: str, cooldown: int) -> None:
    drawn = random.Random(7)
    for course in range(20):
        theirs_on, ours_on = sgd(), sgd()
        scheduler = ReduceLROnPlateau(
            theirs_on, mode, factor=0.5, patience=2, threshold=0.01, cooldown=cooldown, min_lr=0.01, eps=0.0
        )
        settings = {"mode": mode, "drop_factor": 0.5, "patience": 2, "threshold": 0.01, "cooldown": cooldown, "floor": 0.1}
        schedule = make_schedule(
            ours_on, ScheduleSettings(name="plateau", metric="m", **settings), total_steps=STEPS, steps_per_epoch=EPOCH
        )
        seen = set()
        for turn in range(60):
            score = math.nan if turn % 17 == 16 else drawn.uniform(0.5, 1.5) / (1 + 0.1 * turn * (course % 3))
            scheduler.step(score)
            schedule.observe(score)
            assert abs(schedule.lr - theirs_on.param_groups[0]["lr"]) <= 1e-12, (course, turn)
            seen.add(round(schedule.lr, 6))
        assert len(seen) > 2, "the rate did drop"


def test_scores_during_the_warmup_do_not_drop_the_rate() -> None:
    settings = ScheduleSettings(name="plateau", metric="m", patience=0, warmup_steps=4, drop_factor=0.5)
    schedule = make_schedule(sgd(), settings, total_steps=STEPS, steps_per_epoch=EPOCH)
    for _ in range(4):
        schedule.observe(1.0)
        schedule.step()
    assert schedule.lr == 0.1
    schedule.observe(1.0)
    assert schedule.lr == 0.05, "the best of the warm-up is what is to be beaten"


FORMS: list[dict[str, Any]] = [
    {"name": "constant", "warmup_steps": 7},
    {"floor": 0.1, "warmup_ratio": 0.2},
    {"name": "step", "drop_every_steps": 9},
    {"name": "plateau", "metric": "m", "patience": 1, "drop_factor": 0.7, "cooldown": 1, "warmup_steps": 3},
]


@pytest.mark.parametrize("settings", FORMS, ids=lambda one: one.get("name", "cosine"))
@pytest.mark.parametrize("stop", [0, 3, 25])
def test_a_resume_gives_the_very_same_rates(settings: dict[str, Any], stop: int) -> None:
    scores = [random.Random(1).random() for _ in range(STEPS)]

    def go(schedule: Schedule, first: int, last: int) -> list[float]:
        found = []
        for step in range(first, last):
            schedule.step()
            schedule.observe(scores[step])
            found.append(schedule.lr)
        return found

    def made() -> Schedule:
        return make_schedule(sgd(), ScheduleSettings(**settings), total_steps=STEPS, steps_per_epoch=EPOCH)

    whole = go(made(), 0, STEPS)
    first = made()
    begun = go(first, 0, stop)
    state = copy.deepcopy(first.state_dict())
    second = made()
    second.load_state_dict(state)
    assert second.lr == first.lr and second.state_dict() == state
    assert begun + go(second, stop, STEPS) == whole


def test_another_budget_is_refused_on_resume() -> None:
    def made(steps: int, **settings: Any) -> Schedule:
        return make_schedule(sgd(), ScheduleSettings(**settings), total_steps=steps, steps_per_epoch=EPOCH)

    state = made(60).state_dict()
    with pytest.raises(ConfigError, match=r"schedule: total_steps is 90 now and was 60 .* Hint: "):
        made(90).load_state_dict(state)
    for changed in ({"name": "constant"}, {"warmup_steps": 3}, {"floor": 0.1}):
        with pytest.raises(ConfigError, match="when the training was stopped"):
            made(60, **changed).load_state_dict(state)


def test_a_warmup_as_long_as_the_training_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a warm-up of 24 steps must be shorter than the 24 steps"):
        make_schedule(sgd(), ScheduleSettings(warmup_epochs=2), total_steps=24, steps_per_epoch=12)
    with pytest.raises(ConfigError, match="0 steps"):
        make_schedule(sgd(), ScheduleSettings(), total_steps=0, steps_per_epoch=1)


def test_the_rate_reaches_groups_of_their_own_rate_and_a_wrapped_optimizer() -> None:
    """After a loaded state the groups are other objects: what counts is what the real step is taken with."""
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.01}])
    fabric = Fabric(accelerator="cpu", devices=1)
    _, wrapped = fabric.setup(model, optimizer)
    schedule = make_schedule(wrapped, ScheduleSettings(), total_steps=10, steps_per_epoch=5)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(5):
        schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.005])
    before = model.bias.detach().clone()
    model.weight.grad, model.bias.grad = torch.ones(2, 2), torch.ones(2)
    wrapped.step()
    assert torch.allclose(before - model.bias, torch.full((2,), 0.005))


def test_a_rate_kept_in_a_tensor_is_filled_in_place() -> None:
    rate = torch.tensor(0.1)
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=rate)
    schedule = make_schedule(optimizer, ScheduleSettings(), total_steps=2, steps_per_epoch=1)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == pytest.approx(0.05)
