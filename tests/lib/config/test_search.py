"""Searches. References: scipy's own Sobol points, the settings that members resolve to, and lists written out."""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from lib.config.base import ConfigError
from lib.config.jobs import Jobs
from lib.config.names import definitions
from lib.config.search import SearchDimension, draw, read_search, read_space
from lib.config.study import DEFAULT_CONFIG, Study, load_study
from tests.conftest import PROJECT
from tests.lib.config.made import SMALL, changed, load, refusal
from tests.lib.config.test_inputs import wild
from tests.lib.config.test_sweeps import ROWS, refused

SPACE = {
    "training.lr0": {"low": "1e-4", "high": "1e-2", "log": True},
    "training.batch": {"choices": [4, 8]},
    "training.warmup": {"low": 0, "high": 3, "kind": "int"},
}


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Study]:
    """A study with three boards; `search` is that of variant `more`, `settings` are laid over the file."""

    def make(search: Any = None, settings: dict[str, Any] | None = None, **texts: Any) -> Study:
        values = copy.deepcopy(SMALL) | copy.deepcopy(ROWS) | (settings or {})
        if search is not None:
            values["variants"]["more"]["search"] = search
        path = tmp_path / "rows.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return load_study([path], texts)

    return make


def members(made: Study, base: str = "more") -> list[str]:
    return [name for name in made.variants if name.startswith(f"{base}--")]


# Members


def test_members_stand_for_their_base_and_their_names_are_their_values(study) -> None:
    made = study({"n": 8, "space": SPACE})
    names = members(made)
    assert len(names) == 8 and made.boards["side"].variants == [*names, "taken"]
    assert made.boards["main"].variants == ["less", "prior", *names]
    for name in names:
        training = made.training_of(name)
        said = f"more--lr0-{training.lr0:.3g}--batch-{training.batch}--warmup-{training.warmup}"
        assert name == said.replace(".", "p"), "what the name says is what is trained, to the last digit"
        assert made.variants[name].description.startswith("more with variants.more.training.lr0=")


def test_points_are_those_of_scipys_sobol_sequence(study) -> None:
    made = study({"n": 8, "seed": 5, "space": SPACE})
    points = qmc.Sobol(d=3, scramble=True, rng=5).random(8)
    for name, (rate, batch, warmup) in zip(members(made), points, strict=True):
        training = made.training_of(name)
        assert math.isclose(training.lr0, 10 ** (-4 + 2 * rate), rel_tol=0.005)
        assert (training.batch, training.warmup) == ([4, 8][int(2 * batch)], int(4 * warmup))


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_raising_n_keeps_the_first_members_and_a_seed_draws_the_same(study, method: str) -> None:
    def drawn(n: int, seed: int = 0) -> list[str]:
        return members(study({"method": method, "n": n, "seed": seed, "space": SPACE}))

    many = drawn(40)
    assert len(set(many)) == 40
    for n in (1, 3, 8, 17):
        assert drawn(n) == many[:n]
    assert drawn(8, seed=1) != many[:8]


def test_values_drawn_twice_are_one_member(study) -> None:
    """Six members of a space of six: a draw alone would meet some of them again."""
    space = {"training.batch": {"choices": [2, 4, 8]}, "training.cosine": {"choices": [True, False]}}
    for method in ("sobol", "random"):
        names = members(study({"method": method, "n": 6, "space": space}))
        assert set(names) == {f"more--batch-{batch}--cosine-{word}" for batch in (2, 4, 8) for word in ("true", "false")}


def test_the_studys_search_draws_the_same_for_every_trained_row(study) -> None:
    made = study(None, {"search": {"n": 3, "space": SPACE}})
    less, more = members(made, "less"), members(made)
    assert [name.removeprefix("less") for name in less] == [name.removeprefix("more") for name in more]
    assert made.boards["main"].variants == [*less, "prior", *more]
    assert not members(made, "detector"), "no board lists the detector"


def test_with_a_sweep_the_members_are_the_product(study) -> None:
    made = study({"n": 3, "space": {"training.lr0": SPACE["training.lr0"]}}, set="variants.more.training.batch=2,4")
    drawn = members(study({"n": 3, "space": {"training.lr0": SPACE["training.lr0"]}}))
    tails = [name.removeprefix("more") for name in drawn]
    assert members(made) == [f"more--batch-{batch}{tail}" for batch in (2, 4) for tail in tails]


def test_any_place_of_a_variant_can_be_searched(study) -> None:
    space = {
        "arm": {"choices": ["d", "half"]},
        "training.budget.iterations": {"low": 4, "high": 8, "step": 2, "kind": "int"},
    }
    made = study({"n": 6, "space": space})
    assert {made.variants[name].arm for name in members(made)} == {"d", "half"}
    budgets = [made.training_of(name).budget for name in members(made)]
    assert {one.iterations for one in budgets} == {4, 6, 8} and {one.evaluations for one in budgets} == {2}


def test_a_search_changes_no_job_that_there_was(study) -> None:
    plain, searched = study(), study({"n": 4, "space": SPACE})
    for name in plain.variants:
        assert Jobs(plain).train(wild(variant=name)) == Jobs(searched).train(wild(variant=name))
    assert definitions(plain).items() <= definitions(searched).items()
    assert "search" not in searched.model_dump() and searched.variants["more"].search is None


def test_on_the_command_line_a_search_is_an_override_like_any_other(study) -> None:
    text = "{n: 4, space: {training.lr0: {low: 1e-4, high: 1e-2, log: true}, training.batch: {choices: [4, 8]}}}"
    typed = study(set=f"variants.more.search={text}")
    space = {place: SPACE[place] for place in ("training.lr0", "training.batch")}
    assert typed.model_dump() == study({"n": 4, "space": space}).model_dump()
    assert len(members(study({"n": 4, "space": SPACE}, set="variants.more.search.n=6"))) == 6
    assert members(study({"n": 4, "space": SPACE}, set="variants.more.search=null")) == []
    new = study(new=f"slow=more arm=half search={text}")
    assert len(members(new, "slow")) == 4 and {new.variants[name].arm for name in members(new, "slow")} == {"half"}


def test_swept_lists_of_new_variants_are_expanded_too(study) -> None:
    made = study(new="slow=more sweep={training.lr0: [0.1, 0.2]}")
    assert members(made, "slow") == ["slow--lr0-0p1", "slow--lr0-0p2"]


# Values


@given(
    low=st.floats(1e-6, 10),
    width=st.floats(1e-3, 1e3),
    share=st.floats(0, 1, exclude_max=True),
    log=st.booleans(),
    kind=st.sampled_from(["float", "int"]),
)
def test_a_drawn_number_lies_in_its_range_and_is_what_its_text_says(low, width, share, log, kind) -> None:
    ends = (low, low + width) if kind == "float" else (math.ceil(low), math.ceil(low) + math.ceil(width))
    one = SearchDimension(low=ends[0], high=ends[1], log=log, kind=kind)
    value = one.at(share)
    assert ends[0] <= value.value <= ends[1] and float(value.text) == value.value
    assert isinstance(value.value, int if kind == "int" else float)


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        ({"low": 0, "high": 1, "step": 0.25}, [0, 0.25, 0.5, 0.75, 1]),
        ({"low": 0.1, "high": 0.45, "step": 0.1}, [0.1, 0.2, 0.3, 0.4]),
        ({"low": 2, "high": 5, "kind": "int"}, [2, 3, 4, 5]),
        ({"low": 16, "high": 64, "step": 16, "kind": "int"}, [16, 32, 48, 64]),
        ({"low": 1, "high": 3, "kind": "int", "log": True}, [1, 2, 3]),
        ({"choices": ["SGD", "AdamW", None]}, ["SGD", "AdamW", None]),
    ],
)
def test_values_of_steps_whole_numbers_and_choices(dimension: dict[str, Any], values: list[Any]) -> None:
    one = SearchDimension.model_validate(dimension)
    assert list(dict.fromkeys(one.at(share / 1000).value for share in range(1000))) == values
    assert one.size == len(values)


def test_a_narrow_range_gets_the_digits_that_it_needs() -> None:
    one = SearchDimension(low=0.99, high=0.999)
    assert len({one.at(share / 100).text for share in range(100)}) == 100
    assert SearchDimension(low=1e-4, high=1e-2).at(0.12345).text == "0.00132"


# What cannot be


@pytest.mark.parametrize(
    ("search", "says"),
    [
        ({"n": 4, "space": {}}, "variants.less.search.space: is empty: nothing to draw. Hint: space: {training.lr0: {low"),
        ({"n": 4}, "variants.less.search.space: is empty"),
        ({"space": SPACE}, "variants.less.search.n: is required and missing"),
        ({"n": 0, "space": SPACE}, "variants.less.search.n: must be greater than or equal to 1 (given: 0)"),
        (
            {"n": 51, "space": SPACE},
            "variants.less.search.n: 51 members are more than sweep_limit: 50. Hint: draw fewer, or",
        ),
        ({"n": 10**9, "space": SPACE}, "more than sweep_limit: 50"),
        (
            {"n": 3, "space": {"training.batch": {"choices": [4, 8]}}},
            "3 different members are asked for, but the space holds 2",
        ),
        ({"n": 4, "sapce": SPACE, "space": SPACE}, "unknown key 'sapce'. Hint: did you mean 'space'?"),
        ({"n": 4, "method": "sobel", "space": SPACE}, "must be 'sobol' or 'random'. Hint: did you mean 'sobol'?"),
        ([4], "variants.less.search: "),
    ],
)
def test_a_search_that_cannot_be_is_refused(tmp_path: Path, search: Any, says: str) -> None:
    assert says in refusal(tmp_path, changed("variants.less.search", search))


@pytest.mark.parametrize(
    ("place", "dimension", "says"),
    [
        ("training.lr0", {"low": 0.1, "high": 0.01}, "search.space.training.lr0: low 0.1 must be below high 0.01"),
        ("training.lr0", {"low": 0.1, "high": 0.1}, "low 0.1 must be below high 0.1"),
        ("training.lr0", {"low": 0, "high": 1, "log": True}, "log needs a low above 0, not 0. Hint: a small number"),
        ("training.lr0", {"low": 0.1}, "state both `low` and `high`, or `choices`"),
        ("training.lr0", {"low": 0.1, "high": 1, "choices": [1]}, "state `choices`, or `low` and `high`"),
        ("training.lr0", {"low": 0.1, "hihg": 1}, "unknown key 'hihg'. Hint: did you mean 'high'?"),
        ("training.lr0", {"low": 0.1, "high": 1, "step": 2}, "step 2 is wider than from low 0.1 to high 1"),
        ("training.lr0", {"low": 0.1, "high": 1, "step": 0.1, "log": True}, "log and step do not go together"),
        ("training.lr0", {"choices": ["1e-4", 0.0001]}, "1e-4 stands twice among the choices"),
        ("training.lr0", [1, 2], "search.space.training.lr0: must be a block of `key: value` lines"),
        ("training.warmup", {"low": 0.5, "high": 2, "kind": "int"}, "kind: int needs whole numbers"),
        ("training.warmup", {"low": 0, "high": 3}, "training.warmup: must be a valid integer"),
        ("training.lrr", {"low": 0.1, "high": 1}, "training: unknown key 'lrr'. Hint: did you mean 'lr"),
        ("trainign.lr0", {"low": 0.1, "high": 1}, "unknown key 'trainign'. Hint: did you mean 'training'?"),
        ("training.lr0", {"low": 0.1, "high": 7}, "training.lr0: must be less than or equal to 1 (given: "),
        ("a b", {"low": 0.1, "high": 7}, "'a b' is no place"),
    ],
)
def test_a_dimension_that_cannot_be_is_refused(tmp_path: Path, place: str, dimension: Any, says: str) -> None:
    assert says in refusal(tmp_path, changed("variants.less.search", {"n": 4, "space": {place: dimension}}))


def test_rivals_for_one_place_or_variant_are_refused(study) -> None:
    own = {"n": 2, "space": {"training.lr0": SPACE["training.lr0"]}}
    says = "more is swept and searched: variants.more.training.lr0=0.1,0.2 variants.more.search.space.training.lr0"
    assert says in refused(study, own, set="variants.more.training.lr0=0.1,0.2")
    assert "less is swept and searched" in refused(study, None, {"search": own}, set="variants.less.training.lr0=0.1,0.2")
    other = {"n": 2, "space": {"training.batch": {"choices": [2, 4]}}}
    assert "more has two searches: search and variants.more.search" in refused(study, own, {"search": other})


def test_where_nothing_can_be_drawn_it_is_refused(study, tmp_path: Path) -> None:
    says = "search.space.arm: the study's `search:` draws places of training.* only. Hint: any place of one variant"
    assert says in refused(study, None, {"search": {"n": 2, "space": {"arm": {"choices": ["d", "half"]}}}})
    unlisted = changed("variants.detector.search", {"n": 2, "space": SPACE})
    assert "no board lists 'detector' of variants" in refusal(tmp_path, unlisted)


def test_a_range_too_narrow_for_its_digits_says_what_it_holds() -> None:
    search = read_search({"n": 3, "space": {"training.x": {"low": 1, "high": 2, "kind": "int"}}}, "search")
    with pytest.raises(ConfigError) as error:
        draw(search, "search")
    assert "the space holds 2. Hint: n: 2, or a wider space" in str(error.value)


# Weight


def test_settings_without_a_search_import_no_scipy(tmp_path: Path) -> None:
    load(tmp_path, changed("variants.less.search", {"method": "random", "n": 2, "space": SPACE}))
    code = """
import sys, json
from lib.config.study import load_study
load_study([sys.argv[1]]); load_study([sys.argv[2]])
print(json.dumps([name for name in ("scipy", "numpy", "optuna") if name in sys.modules]))
"""
    words = [sys.executable, "-c", code, str(DEFAULT_CONFIG), str(tmp_path / "0.yaml")]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(PROJECT)}, check=True)
    assert json.loads(done.stdout) == []


def test_the_ends_that_are_checked_are_values_that_can_be_drawn() -> None:
    space = read_space({"a": {"low": 0, "high": 1, "step": 0.3}, "b": {"low": 1, "high": 8, "kind": "int", "step": 3}}, "s")
    assert [[value.value for value in one.ends()] for one in space.values()] == [[0.0, 0.9], [1, 7]]
    for one in space.values():
        assert {one.at(share / 100).value for share in (0, 99)} == {value.value for value in one.ends()}
