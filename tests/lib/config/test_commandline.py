"""What was typed behind --config. Reference: the shell that a cluster's job goes through, and Snakemake's own reading."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snakemake.cli import parse_config

from lib.config.commandline import HANDED_DOWN, profile_words, read_config
from lib.provenance import announce_run, rebuild_command

WORDS = [
    "set=a.'b c'=1 d='x'",
    "new=x=y a={b: 1}; z=y",
    "only=!p*",
    "seeds=[1,2]",
    'description=$(touch pwned) `x` it\'s "q"',
    "sweep_limit=7",
]


def test_texts_are_the_raw_words_where_snakemake_would_change_them() -> None:
    typed = read_config(WORDS, parse_config(WORDS))
    assert parse_config(WORDS)["set"] != "a.'b c'=1 d='x'", "Snakemake strips the quote at the end"
    assert not isinstance(parse_config(["set=a={b: 1}"])["set"], str), "Snakemake reads a block"
    assert typed.texts == {"set": "a.'b c'=1 d='x'", "new": "x=y a={b: 1}; z=y", "only": "!p*"}
    assert typed.only == "!p*"
    assert set(typed.overrides) == {"set", "new", "seeds", "description", "sweep_limit"}
    assert typed.overrides["sweep_limit"] == 7


def test_numbers_and_empty_texts_stay_texts() -> None:
    words = ["set=3", "new=", "only=true"]
    assert read_config(words, parse_config(words)).texts == {"set": "3", "new": "", "only": "true"}


def test_a_key_given_twice_counts_together_and_outer_quotes_do_not_count() -> None:
    words = ["set=a=1", "set='b=2 c=3'", "only=x", "only=y", "new=a=b", "new=\"c=d e='f'\""]
    assert read_config(words, parse_config(words)).texts == {"set": "a=1 b=2 c=3", "only": "x,y", "new": "a=b; c=d e='f'"}


@pytest.mark.parametrize("words", [WORDS, ["set=a=\n'$(x)'"], ["description="]])
def test_a_job_reads_what_was_typed(words: list[str]) -> None:
    typed = read_config(words, parse_config(words))
    (word,) = typed.for_jobs()
    assert re.fullmatch(rf"{HANDED_DOWN}=[A-Za-z0-9_-]+", word), "nothing in it means anything to a shell"
    assert read_config([word], parse_config([word])) == typed


@given(st.text(max_size=40))
def test_any_text_travels(text: str) -> None:
    typed = read_config([f"set={text}"], {"set": text})
    assert read_config(None, parse_config(typed.for_jobs())) == typed


def test_nothing_typed_hands_nothing_down() -> None:
    assert read_config(None, {}).for_jobs() == [] and read_config(None, {}).overrides == {}


def test_the_recorded_command_is_the_typed_one_without_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("VIPERSIGHT_STUDY", "VIPERSIGHT_RUN", "PYTHONPATH"):
        monkeypatch.setenv(key, "")
    typed = read_config(WORDS, parse_config(WORDS))
    announce_run("s", ["a b.yaml"], typed.lineage, {})
    words = shlex.split(rebuild_command("results/x.json"))
    kept = [word for word in WORDS if not word.startswith("only=")]
    assert words == ["snakemake", "--configfile", "a b.yaml", "--config", *kept, "--", "results/x.json"]


@pytest.fixture
def profiles(tmp_path: Path) -> list[str]:
    """Three profiles, of which the first two have a `config:`."""
    texts = {
        "a": 'config: {running: "{cudnn: off}", seeds: "[1]"}',
        "b": 'config: {running: "{cudnn: on}"}',
        "c": "jobs: 3",
    }
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(f"{text}\n")
    return [str(tmp_path / name) for name in texts]


def test_the_config_of_a_profile_is_found_where_snakemake_takes_it(profiles: list[str]) -> None:
    a, b, c = profiles
    assert profile_words(["-n", "--profile", a, "-c2", "--", "x"], {}) == ["running={cudnn: off}", "seeds=[1]"]
    assert profile_words([f"--profile={a}", "--profile", b, "--profile", c], {}) == ["running={cudnn: on}"]
    assert profile_words(["-n"], {"SNAKEMAKE_PROFILE": a}) == ["running={cudnn: off}", "seeds=[1]"]
    assert profile_words(["--profile", c], {"SNAKEMAKE_PROFILE": a}) == [] == profile_words(["--profile", "none"], {})


def test_what_is_typed_is_laid_over_the_profile(profiles: list[str]) -> None:
    below = profile_words(["--profile", profiles[0]], {})
    words = ["only=x", "running={device: cpu}"]
    typed = read_config(words, parse_config(words), below, parse_config)
    assert typed.overrides == {"running": {"cudnn": "off", "device": "cpu"}, "seeds": ["1"]} and typed.only == "x"
    assert read_config(below, parse_config(below), below, parse_config).words == tuple(below), "Snakemake took them itself"
    assert typed.lineage == ("seeds=[1]",), "a site's words change no result"
    (word,) = typed.for_jobs()
    assert read_config([word], parse_config([word])).overrides == typed.overrides


def test_a_seed_of_the_profile_gives_way() -> None:
    words = ["seeds=[2]"]
    assert read_config(words, parse_config(words), ["seeds=[1]"], parse_config).overrides == {"seeds": ["2"]}
