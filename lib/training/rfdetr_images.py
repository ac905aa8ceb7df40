"""The images of an RF-DETR training: its own data module, its training images as a stream that we choose.

Not here: how images come into its layout (lib/data/coco_layout.py), which come how often (sampling.py).
"""

from __future__ import annotations

import io
import math
import random
import signal
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import torch
from rfdetr.training import RFDETRDataModule

from lib.config.train_rfdetr import RfdetrSettings
from lib.training.sampling import RoundLoader, StreamSampler, in_order


class Images(RFDETRDataModule):
    """RF-DETR's data, its training images as a stream that follows from seed and round alone."""

    def __init__(
        self,
        model_config: Any,
        train_config: Any,
        settings: RfdetrSettings,
        *,
        seed: int,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(model_config, train_config)
        self.settings = settings
        self.seed = seed
        self.factors = factors
        self.sampler: StreamSampler | None = None
        self.generator = torch.Generator()

    def setup(self, stage: str) -> None:
        with redirect_stdout(io.StringIO()):  # pycocotools tells what it reads
            super().setup(stage)

    @property
    def iterations(self) -> int:
        """Optimizer steps of one round."""
        budget = self.settings.budget
        if budget.iterations:
            return budget.iterations // budget.rounds
        return math.ceil(len(self._dataset_train) / (self.settings.batch * self.settings.accumulate))

    def train_dataloader(self) -> RoundLoader:
        """Batches of one round; which images they hold follows from seed and round."""
        dataset = self._dataset_train
        per_round = self.iterations * self.settings.batch * self.settings.accumulate
        files = [image["file_name"] for image in dataset.coco.loadImgs(dataset.ids)]
        factors = in_order(self.factors, files)
        self.sampler = StreamSampler(len(dataset), per_round=per_round, seed=self.seed, factors=factors)
        return RoundLoader(
            dataset,
            batch_size=self.train_config.batch_size,
            sampler=self.sampler,
            num_workers=self._num_workers,
            pin_memory=self._pin_memory,
            collate_fn=self._collate_fn_train,
            worker_init_fn=_seed_worker,
            generator=self.generator,
        )


def _seed_worker(worker: int) -> None:
    """Its own random numbers, one thread; a signal to all processes of a job leaves it alive until the state is saved."""
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)
    torch.set_num_threads(1)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: signal.signal(number, signal.SIG_DFL))
