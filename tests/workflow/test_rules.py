"""Rules, environments and the lock hold together. Reference: requirements.txt, and what each rule's program imports."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from tests.conftest import PROJECT

RULE = re.compile(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s\\;]+)", re.MULTILINE)
BAD_ULTRALYTICS = {"8.3.41", "8.3.42", "8.3.45", "8.3.46"}  # releases of December 2024 that carried a miner


def rules() -> dict[str, str]:
    """Name → text of every rule that runs a program."""
    return {name: body for file in sorted(PROJECT.glob("rules/*.smk")) for name, body in RULE.findall(file.read_text())}


RULES = rules()


def plain(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    return {plain(name): version for name, version in PIN.findall((PROJECT / "requirements.txt").read_text())}


def pinned(environment: Path) -> dict[str, str]:
    """Package → version of one environment file."""
    listed = yaml.safe_load(environment.read_text())["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    return {plain(line.split("==")[0]): line.split("==")[1] for line in pip}


def test_the_rules_were_found() -> None:
    assert {"download", "detect", "track", "shard", "subsample", "train", "predict", "evaluate", "leaderboard"} <= set(
        RULES
    )


@pytest.mark.parametrize("name", RULES)
def test_every_rule_says_what_it_does_and_keeps_log_and_benchmark(name: str) -> None:
    body = RULES[name]
    for key in ("message", "log", "benchmark", "conda", "params", "shell"):
        assert re.search(rf"^    {key}:", body, re.MULTILINE), f"rule {name} has no {key}:"
    assert re.search(r'message:\n\s+"[A-Z][^"]*\."\n', body), f"rule {name}: message: is one sentence"
    assert not re.search(r"^    (run|script):", body, re.MULTILINE)
    environment = re.search(r'conda:\n\s+"\.\./(envs/\w+\.yaml)"', body)
    assert environment and (PROJECT / environment[1]).is_file(), f"rule {name}: its environment does not exist"


@pytest.mark.parametrize("name", RULES)
def test_every_placeholder_of_a_command_is_quoted(name: str) -> None:
    command = RULES[name].partition("    shell:\n")[2]
    bare = [place for place in re.findall(r"\{[^{}]*\}", command) if not place.endswith(":q}")]
    assert not bare, f"rule {name}: write {{…:q}} for {bare}"
    assert "> {log:q} 2>&1" in command, f"rule {name}: its log takes what the program prints"


@pytest.mark.parametrize("file", sorted(PROJECT.glob("envs/*.yaml")), ids=lambda file: file.stem)
def test_environments_carry_the_versions_of_the_lock(file: Path) -> None:
    lock = locked()
    other = {name: (version, lock.get(name)) for name, version in pinned(file).items() if lock.get(name) != version}
    assert not other, f"{file.name}, package: (here, in requirements.txt) {other}"


def test_the_lock_is_exact_hashed_and_holds_no_address() -> None:
    text = (PROJECT / "requirements.txt").read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert len(entries) > 50
    loose = [
        entry.split()[0] for entry in entries if not PIN.match(entry) or not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)
    ]
    assert not loose, f"without an exact version or a hash: {loose}"
    assert not re.search(r"https?://|--index-url|--extra-index-url|--find-links| @ ", text)


def test_the_lock_holds_every_package_that_is_asked_for() -> None:
    asked = re.findall(r"^([A-Za-z0-9_.-]+)", (PROJECT / "requirements.in").read_text(), re.MULTILINE)
    assert asked and {plain(name) for name in asked} <= set(locked())


def test_no_release_of_ultralytics_that_carried_a_miner() -> None:
    assert locked()["ultralytics"] not in BAD_ULTRALYTICS


@cache
def imported_at_start(file: Path) -> frozenset[str]:
    """Packages from elsewhere that importing a file of the project imports at once (function bodies are not run)."""
    found: set[str] = set()
    for name in module_names(ast.parse(file.read_text()).body):
        inner = PROJECT / Path(*name.split("."))
        mine = next((one for one in (inner.with_suffix(".py"), inner / "__init__.py") if one.is_file()), None)
        if mine and mine != file:
            found |= imported_at_start(mine)
        elif not inner.exists() and name.partition(".")[0] not in sys.stdlib_module_names:
            found.add(name.partition(".")[0])
    return frozenset(found - {"lib", "workflow_scripts"})


def module_names(body: list[ast.stmt]) -> list[str]:
    names: list[str] = []
    for statement in body:
        if isinstance(statement, ast.Import):
            names += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            names += [statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)]
        elif isinstance(statement, ast.Try):
            names += module_names(statement.body)
    return names


@cache
def provided(environment: Path) -> frozenset[str]:
    """Import names that an environment offers: its packages and all that these need, as installed here."""
    waiting, seen = set(pinned(environment)), set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        waiting |= {plain(re.match(r"[\w.-]+", need)[0]) for need in needs if "extra ==" not in need} - seen
    offered = metadata.packages_distributions()
    return frozenset(top for top, owners in offered.items() if seen & {plain(owner) for owner in owners})


@pytest.mark.parametrize("name", RULES)
def test_a_rules_environment_holds_what_its_program_imports(name: str) -> None:
    environment = PROJECT / re.search(r"\.\./(envs/\w+\.yaml)", RULES[name])[1]
    program = PROJECT / f"{re.search(r'python -m ([a-z_.]+)', RULES[name])[1].replace('.', '/')}.py"
    missing = imported_at_start(program) - provided(environment)
    assert not missing, f"rule {name}: {program.name} imports {sorted(missing)}, which {environment.name} does not hold"
