"""Attention in a window against full attention with a band mask, padding, and memory that grows with the length."""

from __future__ import annotations

import pytest
import torch

from lib.models.attention import Attention, attend, attend_locally


def heads(batch: int, steps: int, width: int = 6) -> list[torch.Tensor]:
    return [torch.randn(batch, 2, steps, width, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("steps", [1, 5, 63, 64, 65, 200])
@pytest.mark.parametrize("window", [1, 9, 15])
def test_a_window_is_full_attention_with_a_band(steps: int, window: int) -> None:
    torch.manual_seed(steps)
    valid = torch.arange(steps)[None] < torch.tensor([[steps], [max(1, steps - 7)]])
    place = torch.arange(steps)
    band = (place[:, None] - place).abs() <= window // 2
    one, other = heads(2, steps), None
    for block in (4, 64):
        query, key, value = (part.clone().requires_grad_() for part in one)
        found = attend_locally(query, key, value, valid, window=window, block=block)
        expected = attend(query, key, value, band & valid[:, None, None, :], fused=False)
        assert torch.allclose(found[0], expected[0], atol=1e-12)
        assert torch.allclose(found[1][:, valid[1]], expected[1][:, valid[1]], atol=1e-12)
        grads = torch.autograd.grad(found[:, :, :1].sum(), (query, key, value))
        assert all(torch.allclose(a, b) for a, b in zip(grads, other or grads, strict=True))
        other = grads


def test_fused_and_plain_attention_are_the_same_and_nothing_seen_is_zero() -> None:
    torch.manual_seed(0)
    query, key, value = heads(3, 7)
    mask = torch.rand(3, 1, 7, 7) < 0.5
    mask[1] = False
    fused, plain = (attend(query, key, value, mask, fused=one) for one in (True, False))
    assert torch.allclose(fused, plain, atol=1e-12)
    assert not fused[1].any() and bool(fused.isfinite().all())


def kept_bytes(steps: int, window: int | None) -> int:
    """Bytes that the backward pass of one attention holds on to, every memory counted once, weights aside."""
    torch.manual_seed(0)
    layer, x = Attention(16, 2, window=window, fused=False), torch.randn(1, steps, 16)
    seen = {one.untyped_storage().data_ptr(): 0 for one in layer.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        seen.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
        held.append(tensor)
        return tensor

    held: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        layer(x, x, x)
    return sum(seen.values())


def test_memory_of_a_window_grows_with_the_length_and_that_of_full_attention_with_its_square() -> None:
    local = [kept_bytes(steps, 9) for steps in (256, 512, 1024)]
    full = [kept_bytes(steps, None) for steps in (256, 512, 1024)]
    assert local[1] / local[0] == pytest.approx(2, rel=0.1) and local[2] / local[1] == pytest.approx(2, rel=0.1)
    assert full[2] / full[1] > 3.5 and full[2] > 5 * local[2]


def test_what_an_attention_refuses() -> None:
    with pytest.raises(ValueError, match="no multiple of 3 heads"):
        Attention(16, 3)
    with pytest.raises(ValueError, match="must be odd"):
        Attention(16, 2, window=8)
