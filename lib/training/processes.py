"""The processes of one training: which device, how many ranks, and who started them, chosen and never guessed.

A cluster's variables say little of what was meant: with SLURM_NTASKS=1 in the environment Fabric runs two devices in one
process without a word. So the launcher is a setting, its variables must be there, and the ranks that came are counted.

self: this program starts one process more per further device. torchrun, accelerate (which starts torchrun's): they started
the ranks. srun: Slurm did, one task per device. Not here: what a rank does (trainer.py).
"""

from __future__ import annotations

import os
import warnings
from typing import Literal

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from lib.config.base import ConfigError, nearest
from lib.devices import choose_device

Launcher = Literal["self", "torchrun", "accelerate", "srun"]
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_NEEDED = {
    "torchrun": ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR"),
    "accelerate": ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR"),
    "srun": ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_NODELIST"),
}
_STARTED_BY = {
    "torchrun": "torchrun --nnodes {nodes} --nproc-per-node {devices} -m workflow_scripts.train …",
    "accelerate": "accelerate launch --num_processes {ranks} -m workflow_scripts.train …",
    "srun": "srun --nodes {nodes} --ntasks-per-node {devices} python -m workflow_scripts.train …",
}


def start(*, device: str, devices: int, precision: str, launcher: str = "self", nodes: int = 1) -> Fabric:
    """All ranks of a training, launched and counted; every rank returns from here.

    device: cpu, cuda, or auto = a GPU where there is one. devices: ranks on each of `nodes` machines, one per GPU (or CPU
    process). precision: fp32, bf16 or fp16. ConfigError: an unknown word; a GPU that is not there; a launcher that did not
    start this process; another number of ranks than devices x nodes; fp16 on a CPU.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r} is unknown. {nearest(precision, PRECISIONS)}")
    if min(devices, nodes) < 1:
        raise ConfigError(f"devices and nodes must be at least 1, got {devices} and {nodes}.")
    if launcher == "self" and nodes > 1:
        raise ConfigError(f"running.launcher: self starts one node, nodes is {nodes}. Hint: launcher: srun, or torchrun.")
    accelerator = choose_device(device, devices)
    if precision == "fp16" and accelerator == "cpu":
        raise ConfigError("precision fp16 needs a GPU. Hint: bf16 or fp32 on a CPU.")
    ranks = devices * nodes
    environment = _environment(launcher, devices, nodes)
    # Lightning advises srun wherever Slurm is installed; the launcher is a setting here
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if ranks > 1 else "auto",
        precision=PRECISIONS[precision],
        plugins=[environment] if ranks > 1 else None,
    )
    fabric.launch()
    if fabric.world_size != ranks:
        raise ConfigError(
            f"devices: {ranks} in all, but {fabric.world_size} ranks run. Hint: is launcher: {launcher} right?"
        )
    if accelerator == "cpu":
        # torch asks at every optimizer step whether a GPU is there. Lightning makes that question open the driver's library
        # each time, so that processes may still be forked; on a CPU it is a quarter of a small step.
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    return fabric


def end_started(fabric: Fabric) -> None:
    """Kill the processes that this one has started (launcher: self) and wait for their end; those of others are theirs."""
    started = getattr(fabric.strategy.launcher, "procs", [])
    theirs = list(started)
    started.clear()  # Lightning watches this list, and kills this process too when one of it ends
    for process in theirs:
        process.kill()
    for process in theirs:
        process.wait()


def _environment(launcher: str, devices: int, nodes: int) -> ClusterEnvironment:
    """Fabric's view of who started this process; checked, because a wrong one trains on fewer ranks or waits for ever."""
    if launcher == "self":
        return LightningEnvironment()
    if launcher not in _NEEDED:
        raise ConfigError(f"launcher {launcher!r} is unknown. {nearest(launcher, ('self', *_NEEDED))}")
    ranks = devices * nodes
    how = _STARTED_BY[launcher].format(ranks=ranks, devices=devices, nodes=nodes)
    missing = [name for name in _NEEDED[launcher] if name not in os.environ]
    if missing:
        raise ConfigError(f"launcher {launcher} did not start this process ({', '.join(missing)} not set). Hint: {how}")
    stated = int(os.environ["SLURM_NTASKS" if launcher == "srun" else "WORLD_SIZE"])
    if stated != ranks:
        raise ConfigError(f"{launcher} started {stated} processes, but devices: {ranks} in all. Hint: {how}")
    if launcher != "srun":
        return TorchElasticEnvironment()
    try:
        return SLURMEnvironment(auto_requeue=False)
    except RuntimeError as refusal:  # it takes --ntasks-per-node only, not --ntasks
        raise ConfigError(f"launcher srun: {refusal} Hint: {how}") from refusal
