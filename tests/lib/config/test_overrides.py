"""Dotted overrides. References: shlex.split for the words, yaml.safe_load for values, and what the study then says."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lib.config.base import ConfigError
from lib.config.overrides import overridden, parse_overrides, split_words
from lib.config.study import TABLES, Study, load_study
from tests.lib.config.made import SMALL

PAYLOADS = ["$(touch pwned)", "`touch pwned`", "; touch pwned", "a\ntouch pwned", "${IFS}", "{input}", "%s", "\\", "'", '"']


@pytest.fixture
def study(tmp_path) -> Any:
    """The small study with texts of --config laid over it."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL, sort_keys=False))

    def load(**texts: Any) -> Study:
        return load_study([path], texts)

    return load


def refusal(make: Any, **texts: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        make(**texts)
    return str(refused.value)


@given(st.text(alphabet="ab.=' \"\\\t", max_size=30))
def test_words_are_those_of_a_shell(text: str) -> None:
    try:
        expected = shlex.split(text)
    except ValueError:
        with pytest.raises(ConfigError):
            split_words(text, "set")
        return
    assert ["".join(letter for letter, _ in word) for word in split_words(text, "set")] == expected


@given(st.text(max_size=20).filter(lambda text: "\0" not in text))
def test_any_quoted_text_is_one_value_as_it_is(text: str) -> None:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    value = parse_overrides(f"a.b={quoted}x")[0].values
    assert [one.text for one in value] == [text + "x"]


@pytest.mark.parametrize(
    "text", ["1", "-0.5", "1.5e-3", "true", "null", "word", "[1, 2, [3]]", "{a: 1, b: [x, 'y z']}", "1e-4"]
)
def test_values_are_those_of_yaml(text: str) -> None:
    assert parse_overrides(f"a={text}")[0].values[0].value == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("arms.p25.fractions.'crane hook'=0.5", ("arms", "p25", "fractions", "crane hook"), [0.5]),
        ("a.'b.c'.d=1", ("a", "b.c", "d"), [1]),
        ("a=1,2,three", ("a",), [1, 2, "three"]),
        ("a=[1,2],[3]", ("a",), [[1, 2], [3]]),
        ("a='1,2'", ("a",), ["1,2"]),
        ("a='x,y',z", ("a",), ["x,y", "z"]),
        ("a=''", ("a",), [""]),
        ("a='100'", ("a",), ["100"]),
        ("a='{fraction: 0.5}'", ("a",), [{"fraction": 0.5}]),
        ("a=b=c", ("a",), ["b=c"]),
        ("a='k: v # no comment'", ("a",), ["k: v # no comment"]),
    ],
)
def test_quotes_and_brackets_keep_what_belongs_together(text: str, path: tuple[str, ...], values: list[Any]) -> None:
    (override,) = parse_overrides(text)
    assert (override.path, [one.value for one in override.values]) == (path, values)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("training.epochs", "set: 'training.epochs' has no `=`. Hint: an override is path=value"),
        ("training..epochs=1", "set: 'training..epochs=1' has an empty key"),
        ("=1", "set: '=1' has an empty key"),
        ("a=", "set: 'a=' has an empty value. Hint: write null for nothing, '' for an empty text."),
        ("a=1,,2", "has an empty value"),
        ("a='x", "set: the quote ' is never closed: \"'x\". Hint: close it"),
        ("a=[1, 2", "set: the bracket [ is never closed: '[1, 2'. Hint: close it, or quote it."),
        ("a={x: [1}", "never closed"),
        ("a=[1]]x[", "never closed"),
        ("a={b: 1: 2}", "is not valid YAML"),
        ("a=\\", "ends with a backslash"),
        ("  ", "set: is empty. Hint: set='training.epochs=100'"),
        ("a.b=1 a.b=2", "set: a.b is set twice. Hint: a sweep is one comma list: a.b=1,2"),
    ],
)
def test_what_cannot_be_read_is_refused_by_the_word(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_overrides(text)
    assert says in str(refused.value)


def test_overrides_reach_the_study_and_leave_the_settings_alone(study) -> None:
    before = yaml.safe_dump(SMALL)
    made = study(set="training.epochs=100 arms.half.fractions.'crane hook'=0.5 seeds=[3,4] variants.less.training.lr0=1e-3")
    assert (made.training.budget.epochs, made.training.budget.iterations) == (100, None)
    assert made.arms["half"].fractions == {"person": 0.5, "crane hook": 0.5}
    assert (made.seeds, made.training_of("less").lr0) == ([3, 4], 1e-3)
    assert yaml.safe_dump(SMALL) == before
    assert overridden(SMALL, parse_overrides("training.imgsz=32"), TABLES)["training"]["imgsz"] == 32
    assert SMALL["training"]["imgsz"] == 64


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("training.epochs=7", (None, None, 7)),
        ("training.budget.epochs=7", (None, None, 7)),
        ("training.budget={epochs: 7}", (None, None, 7)),
        ("training.budget.iterations=8", (8, 2, None)),
        ("training.budget.iterations=9 training.budget.evaluations=3", (9, 3, None)),
    ],
)
def test_one_form_of_the_budget_replaces_the_other(study, text: str, budget: tuple[int | None, ...]) -> None:
    made = study(set=text).training.budget
    assert (made.iterations, made.evaluations, made.epochs) == budget


def test_epochs_are_short_for_a_budget_in_files_too(tmp_path) -> None:
    from tests.lib.config.made import changed, load

    study = load(tmp_path, changed("variants.less.training", {"epochs": 3}), {"training": {"epochs": 5}})
    assert study.training.budget.epochs == 5 and study.training_of("less").budget.epochs == 3
    back = load(tmp_path, SMALL, {"training": {"epochs": 5}}, {"training": {"budget": {"iterations": 4, "evaluations": 1}}})
    assert (back.training.budget.iterations, back.training.budget.epochs) == (4, None)
    with pytest.raises(ConfigError, match="state `epochs` or `budget`, not both"):
        load(tmp_path, changed("training", {"epochs": 5, "budget": {"epochs": 3}}))
    with pytest.raises(ConfigError, match=r"training\.epochs: must be greater than or equal to 1 \(given: 0\)"):
        load(tmp_path, changed("training", {"epochs": 0}))


def test_another_kind_replaces_the_entry_and_a_new_entry_is_stated_whole(study) -> None:
    assert study(set="detectors.nano.kind=truth shardsets.full.tracks=null").detectors["nano"].kind == "truth"
    made = study(set="arms.tenth={shardset: bare, background: none} variants.less.arm=tenth tta.none.merge.iou=0.5")
    assert made.variants["less"].arm == "tenth" and made.tta["none"].merge.iou == 0.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "trainign.epochs=1",
            "with trainign.epochs=1\nthe settings: unknown key 'trainign'. Hint: did you mean 'training'?",
        ),
        ("training.epcohs=1", "with training.epcohs=1\ntraining: unknown key 'epcohs'. Hint: did you mean 'epochs'?"),
        ("training.lr0=7 seeds=[1]", "with training.lr0=7\ntraining.lr0: must be less than or equal to 1 (given: 7)"),
        ("training.imgsz=big", "training.imgsz: must be a valid integer"),
        ("training.imgsz.x=1", "'training.imgsz.x=1': training.imgsz is 64, which has no 'x' in it. Hint: set it whole"),
        ("seeds.0=1", "seeds is [0, 1], which has no '0' in it. Hint: set it whole: seeds=[…]"),
        ("arms.haf.mode=union", "'arms.haf.mode=union': no 'haf' in arms. Hint: did you mean 'half'?"),
        (
            "variants.less.arm=hlaf",
            "with variants.less.arm=hlaf\nvariants.less.arm: unknown arm 'hlaf'. Hint: did you mean",
        ),
        ("variants.less.training.lr=1", "variants.less.training: unknown key 'lr'. Hint: did you mean 'lr"),
        ("only=less", "unknown key 'only'"),
    ],
)
def test_a_refusal_names_the_override_the_place_and_the_nearest(study, text: str, says: str) -> None:
    assert says in refusal(study, set=text)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payloads_are_values_or_are_refused(study, payload: str) -> None:
    assert study(set=f"description={shlex.quote('x' + payload)}").description == "x" + payload
    with pytest.raises(ConfigError):
        study(set=payload)
    with pytest.raises(ConfigError):
        study(new=payload)
