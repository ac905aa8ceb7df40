"""Reference: the formula in float64, torch's own AveragedModel, and the model's own bits before and after."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lib.files import DataError
from lib.training.ema import Ema


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def train(model: nn.Module, steps: int, ema: Ema | None = None, *, seed: int = 1) -> None:
    drawn = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    for _ in range(steps):
        first = next(model.parameters())
        optimizer.zero_grad()
        model(torch.randn(16, 6, generator=drawn).to(first.dtype)).square().mean().backward()
        optimizer.step()
        if ema is not None:
            ema.update(model)


def bits(model: nn.Module) -> dict[str, bytes]:
    return {
        name: one.detach().clone().view(torch.uint8).numpy().tobytes()
        for name, one in model.state_dict().items()
        if one.ndim
    }


@pytest.mark.parametrize("warmup", [0, 10])
def test_the_average_is_the_formula(warmup: int) -> None:
    model = net()
    ema = Ema(model, decay=0.9, warmup=warmup)
    expected = model[0].weight.detach().double().clone()
    used = []
    for n in range(120):
        train(model, 1, ema, seed=n)
        decay = min(0.9, (1 + n) / (warmup + n)) if warmup else 0.9
        used.append(decay)
        expected = expected * decay + model[0].weight.detach().double() * (1 - decay)
    with ema.averaged(model):
        assert torch.allclose(model[0].weight.double(), expected, atol=1e-6, rtol=0)
    if warmup:
        assert used[0] == 0.1 and all(later >= earlier for earlier, later in pairwise(used)) and used[-1] == 0.9


def test_without_warmup_it_is_torchs_averaged_model_buffers_included() -> None:
    model = net()
    ema = Ema(model, decay=0.95)
    peer = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95))
    peer.update_parameters(model)  # its first call only copies
    for n in range(30):
        train(model, 1, ema, seed=n)
        peer.update_parameters(model)
    with ema.averaged(model):
        for name, value in peer.module.state_dict().items():
            assert torch.allclose(model.state_dict()[name].float(), value.float(), atol=1e-6), name
    assert ema.state_dict()["buffers"]["1.num_batches_tracked"].item() == 30


def test_a_bfloat16_model_is_averaged_in_fp32() -> None:
    """Steps far below what bfloat16 can tell at 1.0 (1/128) add up in the average and are lost in one of bfloat16."""
    model = nn.Linear(4, 4).bfloat16()
    with torch.no_grad():
        model.weight.fill_(1.0)
    ema = Ema(model, decay=0.999)
    with torch.no_grad():
        model.weight.fill_(1.0078125)
    for _ in range(100):
        ema.update(model)
    average = ema.state_dict()["average"]["weight"]
    assert average.dtype == torch.float32
    assert average[0, 0].item() == pytest.approx(1.0078125 - 0.0078125 * 0.999**100, abs=1e-6)
    assert torch.full((), 1.0).bfloat16().lerp(torch.full((), 1.0078125).bfloat16(), 0.001) == 1.0, (
        "in bfloat16 nothing moves"
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_model_gets_its_own_bits_back_also_after_an_error(dtype: torch.dtype) -> None:
    model = net().to(dtype)
    ema = Ema(model, decay=0.9)
    train(model, 5, ema)
    own, places = bits(model), [one.data_ptr() for one in model.state_dict().values()]
    with pytest.raises(KeyError), ema.averaged(model):
        assert bits(model) != own
        assert [one.data_ptr() for one in model.state_dict().values()] == places, "exchanged in place"
        raise KeyError
    assert bits(model) == own
    with ema.averaged(model):
        model.train()
        model(torch.randn(16, 6).to(dtype))  # changes the running statistics
    assert bits(model) == own
    train(model, 1, ema)  # and the average can be updated again


def test_training_is_not_changed_by_looking_at_the_average() -> None:
    one, other = net(), net()
    ema = Ema(one, decay=0.9)
    for n in range(5):
        train(one, 1, ema, seed=n)
        with ema.averaged(one):
            pass
        train(other, 1, seed=n)
    assert bits(one) == bits(other)


def test_tied_weights_are_averaged_once_and_frozen_ones_are_the_models_own() -> None:
    model = nn.ModuleDict({"in": nn.Embedding(5, 4), "out": nn.Linear(4, 5, bias=False), "eye": nn.Linear(4, 4)})
    model["out"].weight = model["in"].weight
    model["eye"].requires_grad_(False)
    ema = Ema(model, decay=0.5)
    assert list(ema.state_dict()["average"]) == ["in.weight"]
    with torch.no_grad():
        before = model["in"].weight.clone()
        model["in"].weight.add_(1.0)
    ema.update(model)
    with ema.averaged(model):
        assert model["out"].weight is model["in"].weight
        assert torch.allclose(model["out"].weight, before + 0.5), "half of the way, not three quarters"


def test_what_is_unfrozen_later_joins_and_survives_a_resume() -> None:
    model = net()
    model[3].requires_grad_(False)
    ema = Ema(model, decay=0.9)
    train(model, 3, ema)
    model[3].requires_grad_(True)
    train(model, 3, ema)
    assert {"3.weight", "3.bias"} <= set(ema.state_dict()["average"])
    fresh = net()
    fresh[3].requires_grad_(False)
    again = Ema(fresh, decay=0.9)
    again.load_state_dict(copy.deepcopy(ema.state_dict()))
    assert torch.equal(again.state_dict()["average"]["3.weight"], ema.state_dict()["average"]["3.weight"])


def test_a_resume_goes_on_bit_by_bit() -> None:
    model = net()
    ema = Ema(model, decay=0.99, warmup=10)
    train(model, 4, ema)
    kept, weights = copy.deepcopy(ema.state_dict()), copy.deepcopy(model.state_dict())
    train(model, 4, ema, seed=2)
    fresh = net(seed=5)
    fresh.load_state_dict(weights)
    again = Ema(fresh, decay=0.99, warmup=10)
    again.load_state_dict(kept)
    train(fresh, 4, again, seed=2)
    assert again.updates == ema.updates == 8
    for name, value in ema.state_dict()["average"].items():
        assert torch.equal(again.state_dict()["average"][name], value)


def test_the_state_of_another_model_is_refused() -> None:
    state = Ema(net(), decay=0.9).state_dict()
    with pytest.raises(DataError, match=r"lacks parameter '4\.bias'"):
        Ema(nn.Sequential(*net(), nn.Linear(3, 3)), decay=0.9).load_state_dict(state)
    wider = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3))
    with pytest.raises(DataError, match=r"shape \(8, 6\), the model's has \(9, 6\)"):
        Ema(wider, decay=0.9).load_state_dict(state)


def test_wrapped_by_fabric_and_compile_it_is_the_same_average() -> None:
    model = net()
    plain = Ema(model, decay=0.9)
    wrapped = Fabric(accelerator="cpu", devices=1).setup(torch.compile(model, backend="eager"))
    ema = Ema(wrapped, decay=0.9)
    train(model, 3, plain)
    ema.update(wrapped)
    assert list(ema.state_dict()["average"]) == list(plain.state_dict()["average"])
    ema.load_state_dict(copy.deepcopy(plain.state_dict()))
    with ema.averaged(wrapped):
        inside = bits(model)
    with plain.averaged(model):
        assert bits(model) == inside


def test_a_compiled_part_has_the_names_of_the_bare_model() -> None:
    model = net()
    names = set(Ema(model, decay=0.9).state_dict()["average"]), set(Ema(model, decay=0.9).state_dict()["buffers"])
    model[0], model[1] = torch.compile(model[0], backend="eager"), torch.compile(model[1], backend="eager")
    state = Ema(model, decay=0.9).state_dict()
    assert (set(state["average"]), set(state["buffers"])) == names


def test_an_update_of_averaged_weights_is_a_mistake() -> None:
    model = net()
    ema = Ema(model, decay=0.9)
    with ema.averaged(model), pytest.raises(RuntimeError, match="inside"):
        ema.update(model)
    with ema.averaged(model), pytest.raises(RuntimeError, match="inside"), ema.averaged(model):
        pass
    ema.update(model)
