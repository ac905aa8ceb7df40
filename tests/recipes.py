"""What each costly stage's code is made of: a digest of its program and of all modules of ours that it imports.

python -m tests.recipes --accept     record the digests of now (tests/recipes.json), after raising a recipe or noting in
                                     CHANGELOG.md: “no effect on results: STAGE”
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

from lib.config.jobs import RECIPES
from lib.files import sha256_text

PROJECT = Path(__file__).resolve().parents[1]
RECORD = PROJECT / "tests" / "recipes.json"
NO_EFFECT = (
    *("lib.config", "lib.provenance", "lib.files", "workflow_scripts._program", "lib.data.progress"),
    *("lib.runs.claims", "lib.runs.ownership", "lib.runs.finished", "lib.runs.running", "lib.runs.slurm", "lib.checking"),
)
"""Modules that shape messages, checks and records, not results; settings themselves are params."""


def modules_of(stage: str) -> list[str]:
    """Our modules that a stage's program imports, directly or through others, at top level or inside functions."""
    found: set[str] = set()
    open_modules = [f"workflow_scripts.{stage}"]
    while open_modules:
        module = open_modules.pop()
        if module in found or module.startswith(NO_EFFECT) or _path(module) is None:
            continue
        found.add(module)
        open_modules += _imports(_path(module))
    return sorted(found)


def _path(module: str) -> Path | None:
    base = PROJECT / Path(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names += _named(node.value) if node.value.startswith("lib.") else []  # registries name modules by text
    return [name for name in names if name.startswith(("lib.", "workflow_scripts."))]


def _named(text: str) -> list[str]:
    """A module, or all of a package for the beginning of a name (`f"lib.tasks.{name}"`)."""
    if not text.endswith("."):
        return [text]
    return [f"{text}{path.stem}" for path in sorted((PROJECT / Path(*text.split("."))).glob("*.py"))]


def digest_of(stage: str) -> str:
    """sha256 over what the modules of a stage do: their syntax trees without docstrings, so that comments do not count."""
    return sha256_text("".join(_code(_path(module)) for module in modules_of(stage)))


def _code(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return ast.dump(tree)


def current() -> dict[str, dict[str, object]]:
    """Per costly stage its recipe and the digest of its code."""
    return {stage: {"recipe": recipe, "code": digest_of(stage)} for stage, recipe in sorted(RECIPES.items())}


if __name__ == "__main__":
    if sys.argv[1:] != ["--accept"]:
        sys.exit(__doc__)
    RECORD.write_text(json.dumps(current(), indent=1) + "\n")
