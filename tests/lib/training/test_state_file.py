"""The nested state of a training, to a file and back: equal to the last bit. Reference: the values that went in."""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lib.files import DataError
from lib.tensor_files import CODES, write_tensors
from lib.training.state_file import STRUCTURE, flatten, read_state, write_state


def there_and_back(state: dict[Any, Any], folder: Path) -> Any:
    write_state(folder / "s.safetensors", *flatten(state), 1)
    return read_state(folder / "s.safetensors")


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", CODES, ids=str)
def test_every_dtype_keeps_its_bits(tmp_path: Path, dtype: torch.dtype) -> None:
    random_bytes = torch.randint(0, 256, (7 * 5 * 16,), dtype=torch.uint8)
    values = random_bytes.bool() if dtype is torch.bool else random_bytes.view(dtype)
    state = {"many": values.reshape(7, 5, -1), "one": values[0], "none": values[:0].reshape(0, 3)}
    state |= {"turned": values.reshape(7, -1).T, "every other": values[::2]}
    found = there_and_back(state, tmp_path)
    for name, tensor in state.items():
        assert found[name].dtype is dtype and found[name].shape == tensor.shape, name
        assert bits(found[name]) == bits(tensor), name


def test_nan_with_any_payload_keeps_its_bits(tmp_path: Path) -> None:
    odd = torch.tensor([0x7FC00001, 0x7FA00000, -1, -(2**31)], dtype=torch.int32).view(torch.float32)
    assert bits(there_and_back({"odd": odd}, tmp_path)["odd"]) == bits(odd)


def test_conjugates_and_parameters_are_stored_as_their_values(tmp_path: Path) -> None:
    values = torch.randn(3, dtype=torch.complex64)
    found = there_and_back({"c": values.conj(), "plain": values, "p": torch.nn.Parameter(torch.ones(2))}, tmp_path)
    assert torch.equal(found["c"], values.conj().resolve_conj()) and torch.equal(found["plain"], values)
    assert type(found["p"]) is torch.Tensor and not found["p"].requires_grad


def test_plain_values_come_back_with_their_types(tmp_path: Path) -> None:
    state = {
        "none": None,
        "flags": [True, False],
        "numbers": [0, -1, 2**200, 1.0, 0.1, -0.0, 5e-324, 1e308],
        "text": "ü \ud800 \0 {'tensor': 1}",
        "bytes": bytes(range(256)),
        "nested": {"tuple": (1, (2, [3, ()])), "dict": {"tensor": "x"}, "": {}},
        "keys": {0: "a", (1, "b"): 2, None: 3, True: 4, 1.5: 5},
        "many": list(range(1000)),
    }
    found = there_and_back(state, tmp_path)
    assert found == state and repr(found) == repr(state)  # repr tells 1 from 1.0 and True, tuples from lists, order of keys


def test_numbers_that_json_lacks(tmp_path: Path) -> None:
    found = there_and_back({"a": [math.nan, math.inf, -math.inf], "b": (math.nan, "x"), "c": math.inf}, tmp_path)
    assert math.isnan(found["a"][0]) and found["a"][1:] == [math.inf, -math.inf]
    assert math.isnan(found["b"][0]) and found["c"] == math.inf


def test_subclasses_and_numpy_become_plain(tmp_path: Path) -> None:
    state = {"o": OrderedDict(b=1, a=2), "f": np.float32(0.1), "i": np.int64(7), "b": np.bool_(True)}
    found = there_and_back(state, tmp_path)
    assert found == {"o": {"b": 1, "a": 2}, "f": float(np.float32(0.1)), "i": 7, "b": True}
    assert [type(found[key]) for key in "ofib"] == [dict, float, int, bool]


def test_random_number_generators_go_on_where_they_were(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    pcg = np.random.default_rng(4)
    drawing = [
        random.random,
        np.random.rand,
        lambda: torch.rand(()).item(),
        lambda: torch.rand((), generator=generator).item(),
    ]
    drawing.append(pcg.random)
    state = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "own": generator.get_state(),
        "pcg": pcg.bit_generator.state,
    }
    found_state = there_and_back(state, tmp_path)
    expected = [draw() for draw in drawing]
    random.setstate(found_state["python"])
    np.random.set_state(found_state["numpy"])
    torch.set_rng_state(found_state["torch"])
    generator.set_state(found_state["own"])
    pcg.bit_generator.state = found_state["pcg"]
    assert [draw() for draw in drawing] == expected


def test_an_optimizer_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    def built() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        return model, torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.8, 0.9))

    def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            optimizer.zero_grad()
            model(torch.full((3, 4), float(step))).square().mean().backward()
            optimizer.step()

    whole, cut = built(), built()
    train(*whole, range(10))
    train(*cut, range(4))
    found = there_and_back({"model": cut[0].state_dict(), "optimizer": cut[1].state_dict()}, tmp_path)
    again = built()
    again[0].load_state_dict(found["model"])
    again[1].load_state_dict(found["optimizer"])
    assert again[1].param_groups[0]["betas"] == (0.8, 0.9)
    train(*again, range(4, 10))
    for name, tensor in whole[0].state_dict().items():
        assert bits(tensor) == bits(again[0].state_dict()[name]), name


def test_tied_tensors_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    weight = torch.randn(100, 100)
    state = {"a": weight, "b": {"c": weight}, "view": weight[1:], "turned": weight.T, "gone": torch.empty(0)}
    found = there_and_back(state | {"gone too": torch.empty(0)}, tmp_path)
    assert found["a"] is found["b"]["c"] and found["gone"] is not found["gone too"]
    assert torch.equal(found["view"], weight[1:]) and torch.equal(found["turned"], weight.T)
    assert 3 * weight.nbytes < (tmp_path / "s.safetensors").stat().st_size < 3.5 * weight.nbytes


def test_places_that_read_alike_stay_apart(tmp_path: Path) -> None:
    one, two, three = torch.tensor(1), torch.tensor(2), torch.tensor(3)
    state = {"a": {"b": one}, "a/b": two, STRUCTURE: three, 1: {"b": one + 3}, "1": {"b": one + 4}}
    found = there_and_back(state, tmp_path)
    assert [found["a"]["b"], found["a/b"], found[STRUCTURE], found[1]["b"], found["1"]["b"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "state['deep/1']: a object cannot be stored"),
        ({1, 2}, "a set cannot be stored"),
        (torch.eye(2).to_sparse(), "torch.sparse_coo float32 cannot be stored"),
        (torch.zeros(2, dtype=torch.complex128), "a tensor of complex128 cannot be stored"),
        (torch.zeros(2, device="meta"), "without values"),
        (np.array(["a"]), "an array of <U1 cannot be stored"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_stored_is_named(value: Any, says: str) -> None:
    with pytest.raises(TypeError) as told:
        flatten({"deep": [0, value]})
    assert says in str(told.value) and "state['deep/1']" in str(told.value) and "Hint:" in str(told.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"tensor": "none"}', '{"run": "x"}', '{"a": 1, "b": 2}', "[" * 100_000, '{"bytes": "?"}', '{"tuple": 1}'],
)
def test_a_damaged_structure_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.safetensors"
    write_tensors(path, {STRUCTURE: torch.tensor(list(text.encode()), dtype=torch.uint8)}, {})
    with pytest.raises(DataError, match=r"s\.safetensors: its structure is damaged"):
        read_state(path)


def test_weights_are_no_state(tmp_path: Path) -> None:
    write_tensors(tmp_path / "w.safetensors", {"w": torch.ones(2)}, {})
    with pytest.raises(DataError, match="no state of a training"):
        read_state(tmp_path / "w.safetensors")
