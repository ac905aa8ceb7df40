"""Overlaps of segments against the formulas of the papers, one pair at a time."""

from __future__ import annotations

import random

import pytest
import torch

from lib.losses.segments import centred_overlap, l1_loss, overlap, overlap_loss

KINDS = ("iou", "giou", "diou")
Pair = tuple[float, float]


def by_hand(told: Pair, truth: Pair, kind: str) -> float:
    """Of two intervals given by their ends, in any order."""
    a, b, c, d = *sorted(told), *sorted(truth)
    shared = max(0.0, min(b, d) - max(a, c))
    union, hull = (b - a) + (d - c) - shared, max(b, d) - min(a, c)
    iou = shared / union if union else 0.0
    if kind == "iou":
        return iou
    if kind == "giou":
        return iou - (hull - union) / hull
    return iou - (((a + b) / 2 - (c + d) / 2) / hull) ** 2


def drawn(draw: random.Random) -> Pair:
    return draw.uniform(-3, 3), draw.uniform(-3, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_overlap_of_ends_is_the_formula(kind: str) -> None:
    draw = random.Random(1)
    pairs = [(drawn(draw), drawn(draw)) for _ in range(3000)]
    told, truth = (torch.tensor(one, dtype=torch.float64) for one in zip(*pairs, strict=True))
    found = overlap(told, truth, kind).tolist()
    assert found == pytest.approx([by_hand(a, b, kind) for a, b in pairs], abs=1e-6)
    assert min(found) < 0.01 and max(found) > 0.9
    losses = overlap_loss(told, truth, kind=kind, reduction="none").tolist()
    assert losses == pytest.approx([1 - one for one in found])


@pytest.mark.parametrize("kind", KINDS)
def test_overlap_of_distances_is_that_of_intervals_around_a_point(kind: str) -> None:
    """Also the formula of the spec: ((right_p − left_p − right_g + left_g) / 2 / hull)²; and GIoU is IoU there."""
    draw = random.Random(2)
    pairs = [((draw.random(), draw.random()), (draw.random(), draw.random())) for _ in range(3000)]
    told, truth = (torch.tensor(one, dtype=torch.float64) for one in zip(*pairs, strict=True))
    expected = []
    for (left, right), (true_left, true_right) in pairs:
        intervals = (5 - left, 5 + right), (5 - true_left, 5 + true_right)
        expected.append(by_hand(*intervals, kind))
        if kind == "diou":
            hull = max(left, true_left) + max(right, true_right)
            gap = ((right - left - true_right + true_left) / 2 / hull) ** 2
            assert expected[-1] == pytest.approx(by_hand(*intervals, "iou") - gap, abs=1e-12)
    assert centred_overlap(told, truth, kind).tolist() == pytest.approx(expected, abs=1e-6)
    if kind == "giou":
        assert expected == pytest.approx([by_hand((5 - a, 5 + b), (5 - c, 5 + d), "iou") for (a, b), (c, d) in pairs])


@pytest.mark.parametrize("kind", KINDS)
def test_reversed_ends_are_swapped_and_no_length_is_no_error(kind: str) -> None:
    told, truth = torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 2.0]])
    assert overlap(told, truth, kind).item() == pytest.approx(by_hand((1, 3), (1, 2), kind))
    point = torch.zeros(1, 2, requires_grad=True)
    loss = overlap_loss(point, torch.zeros(1, 2), kind=kind, reduction="sum")
    loss.backward()
    assert loss.item() == pytest.approx(1.0) and point.grad is not None and bool(point.grad.isfinite().all())


def test_giou_and_diou_draw_segments_that_do_not_meet() -> None:
    for kind, drawn_near in (("iou", False), ("giou", True), ("diou", True)):
        told = torch.tensor([[0.0, 1.0]], requires_grad=True)
        overlap_loss(told, torch.tensor([[4.0, 6.0]]), kind=kind, reduction="sum").backward()  # type: ignore[arg-type]
        assert told.grad is not None and (told.grad[0, 1].item() < 0) == drawn_near


def test_l1_and_masks() -> None:
    told, truth = torch.tensor([[1.0, 4.0], [9.0, 9.0]]), torch.tensor([[2.0, 2.0], [0.0, 0.0]])
    kept, weight = torch.tensor([True, False]), torch.tensor([2.0, 5.0])
    assert l1_loss(told, truth, mask=kept, reduction="sum").item() == 1.5
    assert l1_loss(told, truth, weight=weight, mask=kept, reduction="none").tolist() == [3.0, 0.0]
    assert overlap_loss(told, truth, kind="iou", mask=kept, weight=weight, reduction="sum").item() == 2.0
    with pytest.raises(ValueError, match="iou, giou or diou"):
        overlap(told, truth, "ciou")  # type: ignore[arg-type]
