"""An RF-DETR training on a GPU: boxes are matched there, by a package that a CPU never asks for; and it goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lib.config.train_rfdetr import RfdetrSegSettings, RfdetrSettings
from tests.lib.training.test_rfdetr import ROUNDS, Killed, train


@pytest.mark.parametrize("kind", [RfdetrSettings, RfdetrSegSettings])
def test_it_trains_and_goes_on_after_a_kill(tmp_path: Path, kind: type[RfdetrSettings]) -> None:
    whole = train(tmp_path / "whole", kind=kind)
    assert whole.status == "finished" and len(whole.history) == ROUNDS

    def kill(told: dict[str, object]) -> None:
        if told.get("round") == ROUNDS:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "cut", kind=kind, on_log=kill)
    resumed = train(tmp_path / "cut", kind=kind)
    assert (resumed.status, resumed.resumed_from, len(resumed.history)) == ("finished", 2, ROUNDS)
    assert torch.cuda.max_memory_allocated() > 0
    for one in (whole, resumed):
        assert np.isfinite(one.history["train/loss"]).all()
