"""MVP, OGSF and GroundNLQ: shapes, padding, objects, gradients, and that each learns a planted batch by heart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lib.config.train_grounding import GroundingSettings
from lib.models import build_network
from lib.models.candidates import candidates
from lib.models.mvp import CrossAttention, CrossAttentionConfig
from lib.models.ogsf import OGSF, ObjectGate, OGSFConfig
from lib.tasks.grounding_loss import GroundingLoss
from tests.lib.models.grounded import MODELS, OBJECT, SHRUNK, TEXT, VIDEO, Batch, batch, levels, network, tensors, tiny

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("mvp", {}),
    ("mvp", {"bounds_mode": "absolute", "window": None}),
    ("ogsf", {}),
    ("ogsf", {"bounds_mode": "absolute", "levels": 1}),
    ("ogsf", {"gate_mode": "multiply", "levels": 4}),
    ("groundnlq", {}),
    ("groundnlq", {"window": None, "levels": 2}),
]


def padded(one: Batch, steps: int, words: int) -> Batch:
    """The same queries behind which padding holds what must never be looked at."""
    found = dict(one)
    for name, more in (("video", steps), ("objects", steps), ("text", words)):
        shape = list(one[name].shape)
        shape[1] = more
        mask = "objects_mask" if name == "objects" else f"{name}_mask"
        junk = torch.full(shape, float("nan"))
        found[name] = torch.cat([one[name].where(_beside(one[mask], one[name]), torch.tensor(torch.nan)), junk], 1)
        found[mask] = torch.cat([one[mask], torch.zeros(shape[: one[mask].ndim], dtype=torch.bool)], 1)
    return found


def _beside(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim))


@pytest.mark.parametrize(("model", "more"), VARIANTS)
def test_padding_never_changes_what_is_said_of_a_valid_step(model: str, more: dict[str, Any]) -> None:
    net, one = network(tiny(model, **more)).eval(), batch()
    with torch.no_grad():
        found, other = net(one), net(padded(one, 11, 3))
        alone = net({name: value[1:2, :29] if "text" not in name else value[1:2, :2] for name, value in one.items()})
    for place, (a, b, c) in enumerate(zip(levels(found), levels(other), levels(alone), strict=True)):
        mask = one["video_mask"][:, :: 2**place]
        for name in ("scores", "bounds", "distances"):
            if name not in a:
                continue
            kept = mask[:, None].expand_as(a[name])
            assert torch.allclose(a[name][kept], b[name][..., : a[name].shape[-1]][kept], atol=1e-5), (place, name)
            assert torch.allclose(a[name][1:2, :, : c[name].shape[-1]], c[name], atol=1e-5), (place, name)
            assert bool(b[name].isfinite().all())
        assert bool((b["scores"][..., mask.shape[1] :].sigmoid() == 0).all())


def test_shapes_of_the_public_names() -> None:
    one = batch((16, 16), (8, 8))
    mvp = network(tiny("mvp"))(one)
    assert {name: tuple(value.shape) for name, value in mvp.items()} == {
        "scores": (2, 1, 16), "bounds": (2, 2, 16), "features": (2, 16, 32),
    }  # fmt: skip
    ogsf = network(tiny("ogsf"))(batch((64, 64), (4, 4)))
    assert ogsf["gates"].shape == (2, 64, 1) and [one["bounds"].shape[-1] for one in levels(ogsf)] == [64, 32, 16]
    cross = CrossAttention(CrossAttentionConfig(embed_dim=16, num_heads=2))
    text, pad = torch.randn(2, 5, 16), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    video = torch.randn(2, 7, 16)
    found = cross(video, text, text, key_padding_mask=pad)
    assert torch.allclose(found[1:], cross(video[1:], text[1:, :3], text[1:, :3]), atol=1e-6)
    plain = CrossAttention(CrossAttentionConfig(embed_dim=16, num_heads=2, use_flash=False))
    plain.load_state_dict(cross.state_dict())
    assert torch.allclose(plain(video, text, text, key_padding_mask=pad), found, atol=1e-6)


def test_the_levels_of_groundnlq_at_2560_steps() -> None:
    settings = GroundingSettings.model_validate({"preset": "groundnlq"} | SHRUNK | {"layers": 1, "text_layers": 1})
    with torch.no_grad():
        outputs = network(settings).eval()(batch((2560,), (3,)))
    assert [one["scores"].shape[-1] for one in levels(outputs)] == [2560, 1280, 640, 320, 160, 80, 40]


@pytest.mark.parametrize("preset", ["mvp", "ogsf", "groundnlq"])
@pytest.mark.parametrize("absent", ["objects", "none"])
def test_every_preset_gives_every_parameter_a_gradient(preset: str, absent: str) -> None:
    """Also without objects in a batch: the parameters of their branch take part then, with gradients of zero."""
    still_paths = {"drop_path": 0.0} if preset == "groundnlq" else {}
    settings = GroundingSettings.model_validate({"preset": preset} | SHRUNK | still_paths)
    net, one = network(settings), batch((200, 150, 200), (3, 4, 2))
    one["segments"] = torch.tensor(
        [[[10.3, 11.9], [40.0, 47.0]], [[90.0, 100.5], [5.0, 35.0]], [[0.0, 62.0], [3.0, 199.0]]]
    )
    if absent == "objects":
        del one["objects"], one["objects_mask"]
    sums, targets = GroundingLoss(settings)(net(one), one)
    (sums["loss"] / targets).backward()
    without = {name for name, value in net.named_parameters() if value.grad is None}
    still = {name for name, value in net.named_parameters() if value.grad is not None and not value.grad.any()}
    assert without == set()
    assert {name.partition(".")[0] for name in still} == (
        {"objects"} if absent == "objects" and preset == "ogsf" else set()
    )


@pytest.mark.parametrize("gate_mode", ["residual", "multiply"])
def test_without_objects_ogsf_is_its_path_without_them_bit_for_bit(gate_mode: str) -> None:
    net = network(tiny("ogsf", gate_mode=gate_mode))
    bare = network(tiny("ogsf", objects=False))
    assert {name for name in net.state_dict() if not name.startswith("objects.")} == set(bare.state_dict())
    full = batch()
    none = {name: value for name, value in full.items() if not name.startswith("objects")}
    masked = full | {"objects_mask": torch.zeros_like(full["objects_mask"])}
    for training in (False, True):
        net.train(training), bare.train(training)
        expected = tensors(bare(none))
        for given in (none, masked, full | {"objects": None, "objects_mask": None}):
            found = tensors(net(given))
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], expected[name]) for name in expected), given.keys()
    assert not torch.equal(tensors(net(full))["0 scores"], expected["0 scores"])


def test_object_dropout_hides_all_objects_of_its_share_of_queries_in_training_alone() -> None:
    one = {name: value[:1].repeat(400, *[1] * (value.ndim - 1)) for name, value in batch().items()}
    net, there = network(tiny("ogsf", object_dropout=0.7)), one["objects_mask"].any(-1)
    torch.manual_seed(0)
    seen = net.train()(one)["gates"].squeeze(-1) > 0
    shown = seen.any(1)
    assert torch.equal(seen[shown], there[shown]), "a query sees all of its objects, or none"
    assert 0.2 < shown.float().mean() < 0.4
    assert torch.equal(net.eval()(one)["gates"].squeeze(-1) > 0, there)


def test_steps_without_objects_have_no_gate_and_the_order_of_objects_does_not_matter() -> None:
    net, one = network(tiny("ogsf")).eval(), batch()
    found = net(one)
    there = one["objects_mask"].any(-1)
    assert not found["gates"][~there].any() and bool((found["gates"][there] > 0).all())
    assert 0.05 < found["gates"][there].mean() < 0.25  # nearly closed at the start
    order = torch.tensor([2, 0, 1])
    other = net(one | {"objects": one["objects"][:, :, order], "objects_mask": one["objects_mask"][:, :, order]})
    assert all(
        torch.allclose(a, b, atol=1e-5) for a, b in zip(tensors(found).values(), tensors(other).values(), strict=True)
    )


def test_the_multiplying_gate_is_that_of_the_original() -> None:
    """features × σ(MLP(object vector)), 0 where the step has none, for one object vector per step."""
    torch.manual_seed(0)
    model = OGSF(OGSFConfig(d_v=VIDEO, d_t=TEXT, hidden=16, object_dim=OBJECT, gate_mode="multiply", dropout=0.0)).eval()
    one = batch()
    one |= {"objects": one["objects"][:, :, :1], "objects_mask": one["objects_mask"][:, :, :1]}
    before, _ = model.encode(one)
    gate = model.objects.gate
    assert isinstance(gate, ObjectGate) and gate.mlp[-1].bias.item() == -2
    hidden = nn.functional.gelu(one["objects"][:, :, 0] @ gate.mlp[0].weight.T + gate.mlp[0].bias)
    opened = torch.sigmoid(hidden @ gate.mlp[2].weight.T + gate.mlp[2].bias) * one["objects_mask"]
    assert torch.allclose(model(one)["features"], before * opened, atol=1e-6)


def test_bfloat16_tells_ends_of_a_long_clip_to_less_than_a_step() -> None:
    for mode in ("absolute", "distance"):
        net, one = network(tiny("mvp", bounds_mode=mode)).eval(), batch((2000,), (3,))
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            bounds = net(one)["bounds"]
        assert bounds.dtype == torch.float32 and len(bounds[0, 0].unique()) > 500  # bfloat16 has 256 values in [½, 1)


@pytest.mark.parametrize("model", MODELS)
def test_gradients_are_the_same_when_activations_are_calculated_again(model: str) -> None:
    one, settings = batch(), tiny(model)
    found = []
    for again in (False, True):
        net = network(settings)
        if again:
            net.gradient_checkpointing_enable()
        GroundingLoss(settings)(net(one), one)[0]["loss"].backward()
        found.append([value.grad.clone() for value in net.parameters() if value.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(("model", "more"), [VARIANTS[0], VARIANTS[1], VARIANTS[2], VARIANTS[5]])
def test_a_planted_batch_is_learned_by_heart(model: str, more: dict[str, Any]) -> None:
    settings, one = tiny(model, **more), batch()
    net, loss = network(settings), GroundingLoss(settings)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    began = 0.0
    for step in range(120):
        sums, targets = loss(net(one), one)
        began = began or float((sums["loss"] / targets).detach())
        optimizer.zero_grad()
        (sums["loss"] / targets).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        assert step < 119 or float((sums["loss"] / targets).detach()) < 0.35 * began
    for (segments, scores), truth in zip(candidates(net.eval()(one), one["video_mask"]), one["segments"], strict=True):
        shared = min(segments[0, 1], truth[1]) - max(segments[0, 0], truth[0])
        hull = max(segments[0, 1], truth[1]) - min(segments[0, 0], truth[0])
        assert scores[0] > 0.3 and shared / hull > 0.5


def test_unknown_networks_and_missing_widths_are_refused() -> None:
    with pytest.raises(Exception, match="did you mean 'ogsf'"):
        build_network("ogfs")
    with pytest.raises(ValueError, match="object_dim must be above 0"):
        build_network("ogsf", d_v=4, d_t=4)
