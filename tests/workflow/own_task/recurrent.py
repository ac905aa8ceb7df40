"""A small network over a few frames: convolutions per frame, a recurrent unit over time.

Letters: B samples, T frames, H x W px, C classes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Recurrent(nn.Module):
    """`x` of a batch, (B, T, 3, H, W) float32 from -1 to 1 → (B, C) float32 logits of the last frame."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.frame = nn.Sequential(
            nn.Conv2d(3, width // 2, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveMaxPool2d((3, 5)), nn.Flatten(), nn.Linear(15 * width, width),
        )  # fmt: skip
        self.over_time, self.dropout = nn.GRU(width, width, batch_first=True), nn.Dropout(0.1)
        self.out = nn.Linear(width, classes)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        x = batch["x"]
        frames = self.frame(x.flatten(0, 1)).reshape(*x.shape[:2], -1)
        return self.out(self.dropout(self.over_time(frames)[0][:, -1]))


def build(*, classes: int, width: int) -> Recurrent:
    return Recurrent(classes, width)
