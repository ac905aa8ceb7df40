"""`running:` — on what trainings run and where our own loop tells its course. Not here: what is trained (train.py,
train_loop.py).

Never part of a result's identity: a workstation and a cluster make the same model. The run hands this to its programs by
the environment (VIPERSIGHT_RUNNING), as it does the limits of media.
"""

from __future__ import annotations

import os
import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from lib.config.base import Section, SiteSection

SECRET_KEYS = ("api_key", "apikey", "key", "token", "password", "secret")
_LIKE_A_KEY = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])|wandb_v\d_", re.IGNORECASE)
_NOT_IN_A_PROJECT = r"[/\\#?%:]"
_SECRET_HINT = "Hint: `export WANDB_API_KEY=…` or `wandb login`; settings are written beside every result."


class WandbSettings(Section):
    """Weights & Biases. Its API key is never a setting: it comes from WANDB_API_KEY or `wandb login`."""

    project: str = Field(min_length=1, max_length=128, description="Project that the run is shown in.")
    entity: str | None = Field(None, min_length=1, description="Team or user; null = the account's own.")
    mode: Literal["online", "offline"] = Field(
        "online", description="offline = no network; files below the run's folder, sent later with `wandb sync`."
    )
    tags: list[str] = Field(default_factory=list, description="Words to find the run by.")

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, data: Any) -> Any:
        """The message never repeats what was given (a `secret…` fault hides its value in `explain`)."""
        for key in data if isinstance(data, dict) else ():
            if str(key).lower() in SECRET_KEYS:
                raise PydanticCustomError(
                    "secret_key", "{key} is never a setting. {hint}", {"key": key, "hint": _SECRET_HINT}
                )
        return data

    @field_validator("project", "entity", "tags")
    @classmethod
    def _not_a_key(cls, value: Any) -> Any:
        for text in value if isinstance(value, list) else [value or ""]:
            if _LIKE_A_KEY.search(text):
                raise PydanticCustomError("secret_value", "this looks like an API key. {hint}", {"hint": _SECRET_HINT})
        return value

    @field_validator("project")
    @classmethod
    def _name_that_wandb_takes(cls, project: str) -> str:
        wrong = sorted(set(re.findall(_NOT_IN_A_PROJECT, project)))
        if wrong:
            raise ValueError(f"must not hold {' '.join(wrong)}. Hint: {re.sub(_NOT_IN_A_PROJECT, '-', project)!r}")
        return project


class LoggerSettings(Section):
    """Where the course of a training is written; history.csv and the console always."""

    log_every: int = Field(10, ge=1, description="Steps between logged rows; higher is coarser and writes less.")
    tensorboard: bool = Field(True, description="true = TensorBoard event files in `tensorboard/` beside the model.")
    wandb: WandbSettings | None = Field(None, description="Weights & Biases; null = not used.")


class Running(SiteSection):
    """Devices, processes and logs of trainings; never part of a result."""

    VARIABLE, PLACE = "VIPERSIGHT_RUNNING", "running"

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto = a GPU where there is one.")
    launcher: Literal["self", "torchrun", "accelerate", "srun"] = Field(
        "self",
        description="Who starts the processes: self = the program itself (one node); the others have started it already. "
        "Stated, never guessed from the environment.",
    )
    cudnn: bool = Field(
        True,
        description="false = where a cluster's cuDNN is broken: models run without it, which takes more memory, so "
        "trainings take half the micro-batch and twice the accumulation; the effective batch stays.",
    )
    workers: int = Field(
        2, ge=0, description="Processes per device that read samples; higher feeds faster, 0 = the training's own."
    )
    stall_seconds: float = Field(
        1800.0,
        gt=0,
        description="Seconds without a finished step or evaluation batch after which the training counts as stuck.",
    )
    keep_last: int = Field(
        2, ge=1, le=100, description="Newest checkpoints that are kept; higher survives more damage, costs disk."
    )
    loggers: LoggerSettings = Field(default_factory=LoggerSettings, description="Where its course is written.")

    def is_first(self) -> bool:
        """Whether this process is rank 0 of its training: the one that keeps records and results."""
        variable = {"self": "LOCAL_RANK", "srun": "SLURM_PROCID"}.get(self.launcher, "RANK")
        return int(os.environ.get(variable, "0")) == 0
