"""Weights alone. Reference: the model that they were taken from, and safetensors' own save_model and load_model."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from lib.config.base import ConfigError
from lib.files import DataError, sha256_file
from lib.models.weights import load_weights, plain_names, save_weights
from lib.tensor_files import read_head, write_tensors


class Net(nn.Module):
    """A few kinds of tensors; `tied`: two names for one."""

    def __init__(self, width: int = 4, *, tied: bool = True, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(6, width)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 6, bias=False)
        if tied:
            self.head.weight = self.embed.weight


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return list(left) == list(right) and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("tied", [True, False])
def test_round_trip(tmp_path: Path, tied: bool) -> None:
    model, other = Net(tied=tied), Net(tied=tied, seed=1)
    model.norm.num_batches_tracked += 7
    assert not same(model, other)
    assert save_weights(tmp_path / "w.safetensors", model.state_dict()) == sha256_file(tmp_path / "w.safetensors")
    load_weights(tmp_path / "w.safetensors", other)
    assert same(model, other)


def test_tied_weights_are_stored_once_and_said_so(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", Net().state_dict())
    head = read_head(tmp_path / "w.safetensors")
    assert "head.weight" not in head.shapes and head.metadata["head.weight"] == "embed.weight"
    untied = Net(tied=False, seed=1)
    load_weights(tmp_path / "w.safetensors", untied)
    assert torch.equal(untied.head.weight, Net().embed.weight) and torch.equal(untied.embed.weight, Net().embed.weight)


@pytest.mark.parametrize("tied", [True, False])
def test_files_can_be_exchanged_with_safetensors(tmp_path: Path, tied: bool) -> None:
    model = Net(tied=tied)
    save_weights(tmp_path / "ours.safetensors", model.state_dict())
    theirs = Net(tied=tied, seed=1)
    assert safetensors.torch.load_model(theirs, tmp_path / "ours.safetensors") == (set(), [])
    assert same(model, theirs)
    safetensors.torch.save_model(model, str(tmp_path / "theirs.safetensors"))
    ours = Net(tied=tied, seed=1)
    load_weights(tmp_path / "theirs.safetensors", ours)
    assert same(model, ours)


def test_names_of_wrappers_are_taken_off(tmp_path: Path) -> None:
    model = Net()
    wrapped = {f"module._orig_mod.{name}": one for name, one in model.state_dict().items()}
    save_weights(tmp_path / "w.safetensors", wrapped)
    assert set(read_head(tmp_path / "w.safetensors").shapes) == set(model.state_dict()) - {"head.weight"}
    compiled = torch.compile(Net(seed=1))
    assert next(iter(compiled.state_dict())).startswith("_orig_mod.")
    load_weights(tmp_path / "w.safetensors", compiled)
    assert same(model, compiled._orig_mod)


def test_a_part_called_module_keeps_its_name() -> None:
    assert plain_names(["module.a", "b"]) == {"module.a": "module.a", "b": "b"}
    assert plain_names(["module._orig_mod.a", "module._orig_mod.b"]) == {
        "a": "module._orig_mod.a",
        "b": "module._orig_mod.b",
    }
    assert plain_names(["_orig_mod.module.a", "_orig_mod.module.part._orig_mod.b"]) == {
        "a": "_orig_mod.module.a",
        "part.b": "_orig_mod.module.part._orig_mod.b",
    }
    with pytest.raises(ConfigError, match="both 'a'"):
        plain_names(["a", "_orig_mod.a"])


def test_the_models_dtype_stays(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", Net().state_dict())
    half = Net(seed=1).to(torch.bfloat16)
    load_weights(tmp_path / "w.safetensors", half)
    assert half.embed.weight.dtype is torch.bfloat16
    assert torch.equal(half.embed.weight, Net().embed.weight.to(torch.bfloat16))


def test_weights_are_taken_from_any_view_of_memory(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    state = {"rows": whole[1:], "turned": whole.T, "all": whole}
    save_weights(tmp_path / "w.safetensors", state)
    found = safetensors.torch.load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(found[name], one) for name, one in state.items())


class Extra(nn.Linear):
    """A layer with something beside tensors."""

    def get_extra_state(self) -> dict[str, int]:
        return {"scale": 2}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.scale = state["scale"]


def test_what_is_no_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match=r"_extra_state: a dict is no weight"):
        save_weights("w.safetensors", Extra(2, 2).state_dict())


# Bad files


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (nn.Sequential(nn.Linear(3, 5)), "0.weight is [5, 4] in the file and [5, 3] in the model"),
        (nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)), "1.weight [2, 5] of the model is missing in the file (2 diff"),
        (nn.Sequential(nn.Linear(4, 5, bias=False)), "0.bias [5] of the file is not in the model"),
    ],
)
def test_another_architecture_is_refused_with_the_first_difference(tmp_path: Path, model: nn.Module, says: str) -> None:
    save_weights(tmp_path / "w.safetensors", nn.Sequential(nn.Linear(4, 5)).state_dict())
    before = {name: one.clone() for name, one in model.state_dict().items()}
    with pytest.raises(DataError) as told:
        load_weights(tmp_path / "w.safetensors", model)
    assert says in str(told.value) and "w.safetensors: of another architecture" in str(told.value)
    assert all(torch.equal(before[name], one) for name, one in model.state_dict().items())


def test_another_kind_of_number_is_refused(tmp_path: Path) -> None:
    state = Net().state_dict()
    state["norm.num_batches_tracked"] = torch.tensor(1.5)
    save_weights(tmp_path / "w.safetensors", state)
    with pytest.raises(DataError, match="num_batches_tracked is float32 in the file and int64 in the model"):
        load_weights(tmp_path / "w.safetensors", Net())


def test_different_weights_for_tied_ones_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", Net(tied=False).state_dict())
    model = Net(seed=1)
    with pytest.raises(DataError, match=r"embed\.weight and head\.weight are one tensor in the model"):
        load_weights(tmp_path / "w.safetensors", model)
    assert same(model, Net(seed=1))


def test_every_altered_byte_of_the_weights_is_told(tmp_path: Path) -> None:
    path, model = tmp_path / "w.safetensors", Net()
    save_weights(path, model.state_dict())
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for place in range(start, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(DataError, match="altered after they were written"):
            load_weights(path, model)


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "w.safetensors", Net().state_dict(), {"vipersight_weights": "7"})
    with pytest.raises(DataError, match="weights of format 7, this version reads 1"):
        load_weights(tmp_path / "w.safetensors", Net())
