"""Where and with which libraries a model runs: a GPU or the CPU, and never the CPU by mistake in a job that has a GPU."""

from __future__ import annotations

import os

import torch

from lib.config.base import ConfigError, nearest
from lib.config.running import Running


def choose_device(device: str, needed: int) -> str:
    """cpu or cuda. ConfigError where fewer GPUs are seen than are needed, or than the job on a cluster was given.

    device: cpu, cuda or auto = a GPU where there is one; VIPERSIGHT_DEVICE (cpu, cuda:0 …) wins over it. needed: GPUs.
    """
    device = os.environ.get("VIPERSIGHT_DEVICE", "").partition(":")[0] or device
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {device!r} is unknown. {nearest(device, ('auto', 'cpu', 'cuda'))}")
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu":
        return "cpu"
    asked = max(int(os.environ.get("SLURM_GPUS_ON_NODE", "0")), needed if device == "cuda" or seen else 0)
    if asked > seen:
        raise ConfigError(
            f"the job asked for {asked} GPU{'s' if asked > 1 else ''} and sees {seen}. Hint: is the node's driver in "
            "order, and CUDA_VISIBLE_DEVICES right? Each process needs a GPU of its own (`devices`; fewer with a larger "
            "`accumulate` make the same steps). On purpose without one: `device: cpu`."
        )
    return "cuda" if seen else "cpu"


def use_cudnn(running: Running) -> None:
    """Switch cuDNN off in this process where the site says that its own is broken, and on elsewhere."""
    torch.backends.cudnn.enabled = running.cudnn
