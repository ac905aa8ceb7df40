"""The toy training in as many ranks as its settings say; rank 0 keeps the weights. Not a test itself.

python -m tests.lib.training.ranks MANIFEST OUT [--devices N] [--launcher L] [--odd keys|length]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lib.training import processes
from lib.training.checkpoint import CheckpointStore
from lib.training.contracts import Elsewhere
from tests.lib.training import toy
from workflow_scripts import _program


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("manifest", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--devices", type=int, default=1)
    arguments.add_argument("--launcher", default="self")
    arguments.add_argument("--odd", default="")
    given = arguments.parse_args()
    fabric = processes.start(device="cpu", devices=given.devices, precision="fp32", launcher=given.launcher)
    rank = fabric.global_rank
    more: dict[str, Any] = {"ranks": given.devices, "rank": rank, "tail": "drop", "batch": 8 // given.devices}
    if given.odd == "length" and rank == 1:
        more["batch"] = 2
    loader = toy.loader(given.manifest, **more)
    if given.odd == "keys" and rank == 1:
        loader.data.collate = lambda items: toy.padded(items) | {"more": 1}
    store: CheckpointStore | Elsewhere = Elsewhere()
    if fabric.is_global_zero:
        store = CheckpointStore(given.out.with_suffix(".states"), fingerprint="toy")
    run = toy.trainer(
        given.manifest, steps=10, dropout=0.0, accumulate=2, clip_norm=0.5, loader=loader, fabric=fabric, store=store,
        save_every=2,
    )  # fmt: skip
    outcome = run.train_loop()
    if fabric.is_global_zero:
        save_file({name: value.contiguous() for name, value in toy.weights(run).items()}, given.out)
        print(f"{outcome.status} after {outcome.step} steps, {torch.distributed.is_initialized()=}")


if __name__ == "__main__":
    _program.run(main)
