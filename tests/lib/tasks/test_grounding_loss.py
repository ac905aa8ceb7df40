"""The loss of grounding against sums over points by the formulas, and as lib/training asks for it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lib.files import DataError
from lib.models.points import assign, doubling_ranges, make_points, point_mask
from lib.tasks.grounding_loss import GroundingLoss
from lib.training.memory import halves
from lib.training.trainer import Trainer
from tests.lib.models.grounded import Batch, batch, levels, network, tiny


def heeds(t: float, start: float, end: float, width: float | None) -> tuple[float, float]:
    """Sensitivity of a positive point: of its score and of its ends."""
    if width is None:
        return 1.0, 1.0
    d = ((start + end) / 2 - t) / (end - start)
    centre, *sides = (math.exp(-((d - mean) ** 2) / (2 * width * width)) for mean in (0.0, 0.5, -0.5))
    return centre, sum(sides) / 2 * centre


def score_loss(logit: float, positive: bool, settings: Any) -> float:
    p = 1 / (1 + math.exp(-logit))
    target = positive * (1 - settings.smoothing) + settings.smoothing / 2
    entropy = -target * math.log(p) - (1 - target) * math.log(1 - p)
    if settings.score_loss == "bce":
        return entropy
    p_t = p * target + (1 - p) * (1 - target)
    return (0.25 * target + 0.75 * (1 - target)) * (1 - p_t) ** 2 * entropy


def distances_loss(a: float, b: float, c: float, d: float) -> float:
    """Of left and right a, b and true ones c, d: 1 − centred DIoU."""
    hull, shared = max(a, c) + max(b, d), min(a, c) + min(b, d)
    return 1 - shared / (a + b + c + d - shared) + ((b - a - d + c) / 2 / hull) ** 2


def ends_loss(a: float, b: float, c: float, d: float) -> float:
    """Of ends a, b and true ones c, d: 1 − IoU, and L1."""
    l1 = (abs(a - c) + abs(b - d)) / 2
    a, b = sorted((a, b))
    shared = max(0.0, min(b, d) - max(a, c))
    return 1 - shared / (b - a + d - c - shared) + l1


def by_hand(outputs: Batch, one: Batch, settings: Any) -> dict[str, float]:
    """Every point of every query with a segment, by the labels of lib/models/points.py."""
    weights, count = settings.loss, len(levels(outputs))
    points = make_points(one["video_mask"].shape[1], doubling_ranges(count))
    labels = assign(points, point_mask(one["video_mask"], count), one["segments"])
    told = {"score": 0.0, "bounds": 0.0, "multiscale": 0.0}
    places = list(zip(points.level.tolist(), (points.time / points.stride).int().tolist(), strict=True))
    for query, valid in enumerate(one["video_mask"].sum(1).tolist()):
        share = 1 / max(1, labels.positive[query].sum().item()) if weights.balance == "queries" else 1.0
        for number, (place, j) in enumerate(places):
            t = j * 2**place
            if t >= valid or one["segments"][query].isnan().any():
                continue
            level, positive = levels(outputs)[place], labels.positive[query, number].item()
            start, end = labels.segments[query, number].tolist()
            heed, box_heed = heeds(t, start, end, weights.sensitivity) if positive else (1.0, 0.0)
            score = (weights.base_weight + heed) * score_loss(level["scores"][query, 0, j].item(), positive, weights)
            if "distances" in level:
                truth = (max(0, t - start) / 2**place, max(0, end - t) / 2**place)
                box = distances_loss(*level["distances"][query, :, j].tolist(), *truth) if positive else 0.0
            else:
                truth = tuple((x + 0.5) * 2 / valid - 1 for x in (start, end))
                box = ends_loss(*level["bounds"][query, :, j].tolist(), *truth) if positive else 0.0
            if place:
                told["multiscale"] += share * weights.multiscale * (score + box_heed * box)
            else:
                told["score"] += share * score
                told["bounds"] += share * box_heed * box
    return told


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        ("mvp", {}),
        ("ogsf", {"multiscale": 0.5}),
        ("ogsf", {"sensitivity": 0.3, "score_loss": "bce", "base_weight": 0.5}),
        ("ogsf", {"sensitivity": 0.5, "balance": "points"}),
        ("groundnlq", {"smoothing": 0.1}),
    ],
)
def test_the_sums_are_those_of_the_formulas(model: str, loss: dict[str, Any]) -> None:
    settings, one = tiny(model, loss=loss), batch()
    one["segments"][1] = torch.nan
    outputs = network(settings).eval()(one)
    sums, targets = GroundingLoss(settings)(outputs, one)
    expected = by_hand(outputs, one, settings)
    if model == "mvp":
        del expected["multiscale"]
    assert {name: value.item() for name, value in sums.items() if name != "loss"} == pytest.approx(expected, rel=1e-4)
    assert sums["loss"].item() == pytest.approx(sum(expected.values()), rel=1e-4)
    labels = assign(
        make_points(40, doubling_ranges(len(levels(outputs)))),
        point_mask(one["video_mask"], len(levels(outputs))),
        one["segments"],
    )
    assert targets.item() == (2 if settings.loss.balance == "queries" else labels.positive.sum().item())


def test_sensitivity_fires() -> None:
    """It changes the loss and its gradient, where the original's was never given to its loss."""
    one, found = batch(), []
    for width in (None, 0.3):
        settings = tiny("ogsf", loss={"sensitivity": width})
        net = network(settings)
        sums, _ = GroundingLoss(settings)(net(one), one)
        sums["loss"].backward()
        found.append((sums["score"].item(), sums["bounds"].item(), net.head.bounds.weight.grad.clone()))
    assert found[1][0] < found[0][0] and found[1][1] < found[0][1]
    assert not torch.allclose(found[0][2], found[1][2])


@pytest.mark.parametrize("model", ["mvp", "ogsf", "groundnlq"])
def test_a_batch_in_pieces_is_the_batch(model: str) -> None:
    settings, one = tiny(model), batch((40, 29, 33, 40), (4, 2, 3, 1))
    net, loss = network(settings).eval(), GroundingLoss(settings)
    sums, targets = loss(net(one), one)
    parts = [loss(net(piece), piece) for piece in halves(one)]
    assert sum(count.item() for _, count in parts) == targets.item()
    for name, value in sums.items():
        assert sum(part[name].item() for part, _ in parts) == pytest.approx(value.item(), rel=1e-4)


class Batches:
    """One batch as a loader."""

    def __init__(self, one: Batch) -> None:
        self.one, self.epoch = one, 0

    def __iter__(self) -> Any:
        return iter([self.one])

    def __len__(self) -> int:
        return 1


class Constant:
    def step(self) -> None: ...


def trainer(model: str, one: Batch) -> Trainer:
    settings = tiny(model)
    net = network(settings)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    loss = GroundingLoss(settings)
    return Trainer(
        model=net, loss=loss, optimizer=optimizer, schedule=Constant(), loader=Batches(one), total_steps=3, clip_norm=1.0
    )


@pytest.mark.parametrize("model", ["mvp", "ogsf", "groundnlq"])
def test_our_loop_trains_it_and_refuses_queries_without_answers(model: str) -> None:
    one = batch()
    assert trainer(model, one).train_loop().status == "finished"
    one["segments"] = torch.full_like(one["segments"], math.nan)
    with pytest.raises(DataError, match="not a single valid target"):
        trainer(model, one).train_loop()
