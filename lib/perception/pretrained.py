"""Pretrained networks of transformers and torchvision by name or local folder, read safely. Not here: what is fed to them.

Only safetensors are read and no code of a model's repository is run. A network is set to evaluation, on the device that
`running:` says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from lib.config.base import ConfigError
from lib.config.running import Running
from lib.files import folder_digest

T = TypeVar("T")
_WEIGHTS = (".safetensors", ".json", ".txt", ".model", ".pth", ".pt")


def place_of(model: str) -> str:
    """The name as the libraries take it: $VARIABLES and ~ filled in. ConfigError for a path that leads nowhere."""
    filled = os.path.expandvars(os.path.expanduser(model))
    looks_local = filled.startswith(("/", ".", "~")) or filled.count("/") > 1 or "$" in model
    if looks_local and not Path(filled).exists():
        raise ConfigError(
            f"model {model!r}: there is no folder {filled!r}. Hint: a folder that save_pretrained wrote, or a name on the "
            "hub such as openai/clip-vit-base-patch32."
        )
    return filled


def loaded(load: Callable[..., T], model: str, revision: str | None, **more: Any) -> T:
    """`load(model, …)` of a from_pretrained method; what it refuses is a ConfigError that names the model."""
    place = place_of(model)
    local = {} if Path(place).exists() else {"revision": revision}
    try:
        return load(place, **local, trust_remote_code=False, **more)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        told = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(
            f"model {model!r} cannot be loaded ({told}). Hint: is the name or folder right, does it hold safetensors? "
            "Compute nodes often have no internet: fetch it once where there is some (its cache is HF_HOME)."
        ) from error


def facts_of(model: str, network: Any) -> dict[str, Any]:
    """What meta.json tells of a network: name, and the digest of its folder or the commit on the hub."""
    place = place_of(model)
    if Path(place).is_dir():
        return {"model": model, "model_digest": folder_digest(place, labels=_WEIGHTS)}
    return {"model": model, "model_commit": getattr(network.config, "_commit_hash", None)}


def on_device(network: Any) -> tuple[Any, str]:
    """The network in evaluation on this run's device, and the device."""
    from lib.devices import choose_device, use_cudnn

    running = Running.of_this_run()
    use_cudnn(running)
    device = choose_device(running.device, 1)
    return network.eval().to(device), device


@contextmanager
def inference() -> Iterator[None]:
    """No gradients, and no progress bars of the libraries."""
    import torch

    with torch.inference_mode():
        yield


def batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    """Runs of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
