"""Candidates of queries against a loop over the points."""

from __future__ import annotations

import math

import pytest
import torch

from lib.models.candidates import candidates

Outputs = dict[str, object]


def drawn(kind: str, steps: int, levels: int, seed: int) -> Outputs:
    draw = torch.Generator().manual_seed(seed)

    def level(place: int) -> dict[str, torch.Tensor]:
        many = -(-steps // 2**place)
        numbers = torch.rand(2, 2, many, generator=draw)
        numbers = numbers * 3 if kind == "distances" else numbers * 2 - 1
        numbers[:, :, ::5] = 0.0  # segments without length
        return {"scores": torch.randn(2, 1, many, generator=draw) * 4 - 5, kind: numbers}

    return level(0) | {"multiscale": [level(place) for place in range(1, levels)]}


def by_hand(outputs: Outputs, kind: str, query: int, valid: int, floor: float, most: int) -> list[tuple[float, ...]]:
    found, everything = [], []
    for place, level in enumerate([outputs, *outputs["multiscale"]]):
        points = []
        for j in range(level["scores"].shape[-1]):
            if j * 2**place >= valid:
                continue
            score = 1 / (1 + math.exp(-level["scores"][query, 0, j].item()))
            a, b = level[kind][query, :, j].tolist()
            if kind == "distances":
                start, end = (j - a) * 2**place, (j + b) * 2**place
            else:
                start, end = sorted(((a + 1) / 2 * valid - 0.5, (b + 1) / 2 * valid - 0.5))
            points.append((score, start, end))
        points.sort(reverse=True)
        everything += points
        found += [one for one in points[:most] if one[0] > floor and one[2] - one[1] > 1e-3]
    return sorted(found, reverse=True) or [max(everything)]


@pytest.mark.parametrize("kind", ["bounds", "distances"])
@pytest.mark.parametrize(("floor", "most"), [(0.001, 2000), (0.02, 4), (0.9999, 3)])
def test_candidates_are_the_best_points_of_every_level(kind: str, floor: float, most: int) -> None:
    for seed in range(6):
        outputs, valid = drawn(kind, 37, 3, seed), (37, 22)
        mask = torch.arange(37) < torch.tensor(valid)[:, None]
        found = candidates(outputs, mask, min_score=floor, per_level=most)
        for query, (segments, scores) in enumerate(found):
            told = [(score, *ends) for score, ends in zip(scores.tolist(), segments.tolist(), strict=True)]
            expected = by_hand(outputs, kind, query, valid[query], floor, most)
            assert len(told) == len(expected)
            for one, other in zip(told, expected, strict=True):
                assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize("name", ["scores", "bounds"])
def test_a_number_that_is_none_stays_for_whoever_refuses_it(name: str) -> None:
    """Among finite ones, where it would be the easiest to lose."""
    outputs = drawn("bounds", 12, 1, 0)
    outputs["scores"] = torch.zeros_like(outputs["scores"])
    outputs[name][0, 0, 7] = math.nan
    mask = torch.ones(2, 12, dtype=torch.bool)
    (segments, scores), (other, _) = candidates(outputs, mask)
    assert scores.isnan().any() or segments.isnan().any()
    assert other.isfinite().all()


def test_a_score_at_the_floor_is_no_candidate() -> None:
    outputs = drawn("bounds", 4, 1, 0)
    outputs["scores"] = torch.tensor([[[0.0, 3.0, 0.0, 2.0]]] * 2)  # σ(0) is 1/2 exactly
    outputs["bounds"] = torch.tensor([[[-1.0] * 4, [1.0] * 4]] * 2)
    for segments, scores in candidates(outputs, torch.ones(2, 4, dtype=torch.bool), min_score=0.5):
        assert len(segments) == len(scores) == 2 and (scores > 0.5).all()
