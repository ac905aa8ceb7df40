"""What the settings of our training loop refuse, with which hint, and that they know no torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from lib.config.base import ConfigError, canonical, explain
from lib.config.documentation import _sections
from lib.config.running import Running
from lib.config.study import Study
from lib.config.train_loop import LoopBudget, LoopSettings
from lib.config.train_optim import ScheduleSettings

PLATEAU = {"name": "plateau", "metric": "val/loss"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"accumulate": 0}, "needs at least one batch. Hint: 1 = no accumulation. (given: 0)"),
        ({"accumulate": -2}, "needs at least one batch. Hint: 1 = no accumulation. (given: -2)"),
        ({"accumulate": 1.5}, "loop.accumulate: must be a valid integer"),
        ({"acumulate": 2}, "did you mean 'accumulate'"),
        ({"batch": 0}, "greater than or equal to 1"),
        ({"budget": {}}, "exactly one of them"),
        ({"budget": {"epochs": 1, "steps": 1}}, "exactly one of them"),
        ({"budget": {"steps": 9, "evaluate_every_steps": 3, "evaluate_every_epochs": 1}}, "not both"),
        ({"budget": {"steps": 9, "evaluate_every_steps": 10}}, "exceeds the budget of 9 steps. Hint: 9 or less"),
        ({"optimizer": {"name": "adamww"}}, "did you mean 'adamw'"),
        ({"optimizer": {"name": "sgd", "betas": [0.8, 0.9]}}, "only with name: adamw | adam | adamw8bit"),
        ({"optimizer": {"name": "sgd", "eps": 1e-6}}, "only with name: adamw | adam | adamw8bit"),
        ({"optimizer": {"name": "adam", "momentum": 0.5}}, "only with name: sgd"),
        ({"optimizer": {"nesterov": True}}, "only with name: sgd"),
        ({"optimizer": {"name": "sgd", "momentum": 0, "nesterov": True}}, "nesterov needs momentum"),
        ({"optimizer": {"betas": [0.9, 1.0]}}, "less than 1"),
        ({"optimizer": {"lr": 0}}, "greater than 0"),
        ({"schedule": {"name": "constant", "floor": 0.1}}, "only with name: cosine | step | plateau"),
        ({"schedule": {"patience": 3}}, "only with name: plateau"),
        ({"schedule": {"drop_factor": 0.5}}, "only with name: step | plateau"),
        ({"schedule": {"drop_every_steps": 5}}, "only with name: step"),
        ({"schedule": {"name": "step"}}, "needs drop_every_steps or drop_every_epochs"),
        ({"schedule": {"name": "step", "drop_every_steps": 1, "drop_every_epochs": 1}}, "only one of them"),
        ({"schedule": {"name": "plateau"}}, "Hint: metric: val/loss"),
        ({"schedule": {"warmup_steps": 5, "warmup_ratio": 0.1}}, "one of warmup_steps, warmup_ratio"),
        ({"schedule": {"warmup_ratio": 1.0}}, "less than 1"),
        ({"budget": {"steps": 5}, "schedule": {"warmup_steps": 5}}, "shorter than the budget of 5 steps"),
        ({"budget": {"epochs": 2}, "schedule": {"warmup_epochs": 2.5}}, "shorter than the budget of 2 epochs"),
        ({"budget": {"epochs": 2}, "schedule": {"name": "step", "drop_every_epochs": 2}}, "shorter than the budget"),
        ({"budget": {"epochs": 3}, "stopping": {"patience": 3}}, "stopping.patience has no effect with 3 evaluations"),
        ({"budget": {"epochs": 3}, "schedule": PLATEAU | {"patience": 2}}, "schedule.patience has no effect"),
        ({"stopping": {"mode": "max"}}, "stopping: val/loss is good when it is low"),
        ({"schedule": PLATEAU | {"metric": "val/AP"}, "best": {"val/AP": "max"}}, "schedule.mode: val/AP is min here"),
        ({"best": {}}, "name at least one logged value"),
        ({"best": {"val/loss": "low"}}, "'min' or 'max'"),
        ({"ema": {"decay": 1.0}}, "less than 1"),
    ],
)
def test_wrong_settings_are_refused_with_a_hint(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        LoopSettings.model_validate(values)
    assert message in explain(refusal.value, "loop", values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"launcher": "slurm"}, "'srun'"),
        ({"device": "gpu"}, "'cuda'"),
        ({"keep_last": 0}, "greater than or equal to 1"),
        ({"loggers": {"wandb": {}}}, "project: is required"),
        ({"loggers": {"wandb": {"project": "team/x"}}}, "must not hold /. Hint: 'team-x'"),
        ({"loggers": {"wandb": {"project": "x", "mode": "ofline"}}}, "did you mean 'offline'"),
    ],
)
def test_what_running_refuses(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Running.model_validate(values)
    assert message in explain(refusal.value, "running", values)


def test_running_reaches_programs_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(Running.VARIABLE, raising=False)
    assert Running.of_this_run() == Running()
    monkeypatch.setenv(
        Running.VARIABLE, Study.model_validate({"study": "s", "running": {"workers": 5}}).site()[Running.VARIABLE]
    )
    assert Running.of_this_run().workers == 5
    monkeypatch.setenv(Running.VARIABLE, '{"workers": -1}')
    with pytest.raises(ConfigError, match=r"VIPERSIGHT_RUNNING is not valid: running\.workers"):
        Running.of_this_run()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not Running().is_first() and Running(launcher="srun").is_first()


@pytest.mark.parametrize("key", ["api_key", "API_KEY", "token"])
def test_an_api_key_is_never_a_setting_and_never_repeated(key: str) -> None:
    secret = "5" + "0123456789abc" * 3
    for wandb in ({"project": "x", key: secret}, {"project": secret}, {"project": "x", "tags": [secret]}):
        with pytest.raises(ValidationError) as refusal:
            Running.model_validate({"loggers": {"wandb": wandb}})
        told = explain(refusal.value, "running", {"loggers": {"wandb": wandb}})
        assert "WANDB_API_KEY" in told and secret not in told


def test_the_budget_counts_in_optimizer_steps() -> None:
    assert LoopBudget(epochs=3).total_steps(7) == 21
    assert LoopBudget(epochs=3).evaluation_interval(7) == 7
    assert LoopBudget(steps=20, evaluate_every_steps=8).evaluation_interval(7) == 8
    assert LoopBudget(steps=20, evaluate_every_steps=8).evaluations == 3
    assert LoopBudget(epochs=5, evaluate_every_epochs=2).evaluations == 3
    assert LoopBudget(steps=20).evaluations is LoopBudget(epochs=5, evaluate_every_steps=2).evaluations is None


def test_settings_survive_canonical_json() -> None:
    rich = {
        "budget": {"steps": 100, "evaluate_every_steps": 10},
        "optimizer": {"name": "sgd", "lr": 0.1, "nesterov": True},
        "schedule": PLATEAU | {"warmup_ratio": 0.1, "patience": 2},
        "ema": {},
        "stopping": {"patience": 4},
    }
    settings = LoopSettings.model_validate(rich)
    assert LoopSettings.model_validate_json(canonical(settings.model_dump(mode="json"))) == settings


def test_every_field_says_what_it_means() -> None:
    sections = dict(_sections(LoopSettings, "loop")) | dict(_sections(Running, "running"))
    assert {"loop", "loop.optimizer", "loop.schedule", "loop.ema", "running.loggers.wandb"} <= set(sections)
    silent = [
        f"{place}.{key}"
        for place, one in sections.items()
        for key, field in one.model_fields.items()
        if not field.description
    ]
    assert not silent and all(one.__doc__ for one in sections.values())


def test_no_torch_is_imported() -> None:
    code = "import sys, lib.config.train_loop; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_default_schedule_is_a_cosine_without_idle_knobs() -> None:
    assert ScheduleSettings().name == "cosine"
    assert LoopSettings().best == {"val/loss": "min"}


# What a tuning asks of the settings


@pytest.mark.parametrize(
    ("budget", "share", "part"),
    [
        ({"steps": 400, "evaluate_every_steps": 40}, 1 / 3, {"steps": 133, "evaluate_every_steps": 40}),
        ({"steps": 90, "evaluate_every_steps": 45}, 1 / 9, {"steps": 10, "evaluate_every_steps": 10}),
        ({"steps": 90, "evaluate_every_epochs": 2}, 1 / 9, {"steps": 10, "evaluate_every_epochs": 2}),
        ({"steps": 90}, 1 / 9, {"steps": 10}),
        ({"epochs": 10}, 1 / 3, {"epochs": 3}),
        ({"epochs": 9, "evaluate_every_epochs": 3}, 1 / 9, {"epochs": 1, "evaluate_every_epochs": 1}),
        ({"epochs": 2, "evaluate_every_steps": 50}, 1 / 9, {"epochs": 1, "evaluate_every_steps": 50}),
    ],
)
def test_a_part_of_a_budget_is_evaluated_as_often_as_the_whole(budget: dict, share: float, part: dict) -> None:
    assert LoopBudget(**budget).part(share).model_dump(exclude_none=True) == part
    assert LoopBudget(**budget).part(1) == LoopBudget(**budget)


def test_a_shorter_training_is_scored_alike_and_drops_what_cannot_act() -> None:
    settings = LoopSettings(
        budget={"steps": 90, "evaluate_every_steps": 10}, best={"val/AP": "max", "val/loss": "min"},
        stopping={"patience": 3},
    )  # fmt: skip
    assert list(settings.val_scores().items()) == [("val/AP", "max"), ("val/loss", "min")]
    assert settings.shortened(1 / 2) == {"budget": LoopBudget(steps=45, evaluate_every_steps=10)}
    assert settings.shortened(1 / 3) == {"budget": LoopBudget(steps=30, evaluate_every_steps=10), "stopping": None}
