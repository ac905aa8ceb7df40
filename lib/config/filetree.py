"""The file tree of README.md: one line per file, taken from the first sentence that the file says of itself."""

from __future__ import annotations

import ast
import re
from pathlib import Path

FOLDERS: dict[str, str] = {
    "rules": "one file per stage: what it does, needs, makes",
    "rules/report": "captions of the report, one .rst per kind of page",
    "workflow_scripts": "one thin program per stage, and those typed by hand",
    "lib": "what the programs are made of",
    "lib/config": "the settings, one file per section",
    "lib/data": "sources, media, splits, shards, sampling",
    "lib/data/decoding": "media are decoded in a child process with limits",
    "lib/data/sources": "one file per dataset format",
    "lib/data/world": "the synthetic world",
    "lib/perception": "frames → boxes → tracks; clips, words and objects → features",
    "lib/models": "one file per family, and the one safe loader",
    "lib/losses": "pure functions, one file per loss",
    "lib/metrics": "pure functions, one file per family",
    "lib/scoring": "official files in, numbers out: what `score` does",
    "lib/training": "engines",
    "lib/tuning": "search that learns from scores: what `tune` does",
    "lib/pricing": "what a run will cost, before it starts: what `plan` does",
    "lib/inference": "trained models on whole videos",
    "lib/tasks": "what binds data, models and scores",
    "lib/registry": "every run in one list, by the runs' own records: what `registry` and `compare` read",
    "lib/reporting": "boards, pictures, pages",
    "lib/status": "how trainings stand, and why some failed: what `status` does",
}
PLAIN: dict[str, str] = {
    "Snakefile": "the stages in DAG order, `rule all`, named targets, banner",
    "config/": "config.yaml (the demo), studies/; their datasets/, arms/, trainings/; README.md (settings), schema.json",
    "profiles/": "default: switches that hold everywhere; slurm, slurm-requeue: templates of yours",
    "envs/": "conda twins of the lock",
    "results/": "everything produced (README.md says where); git-ignored",
    "docs/": "data.md, recipes.md, runs.md: what this page leaves out; its pictures and the program that draws them",
    "tests/": "mirrors lib; workflow/ runs real Snakemake; slurm/ a real Slurm, gpu/ needs a GPU; benchmarks/ measures",
    "Makefile": "demo, test, test-quick, gpu-test, slurm-test, bench, bench-long, setup, lint, dag, report …",
    "requirements.in, requirements.txt": "what is needed, and the exact lock with hashes",
}


def file_tree(project: Path) -> str:
    """The tree as text, folders in the order of FOLDERS, files by name; `__init__.py` only where it says something."""
    lines = [f"{name:<36}{text}" for name, text in PLAIN.items()]
    for folder, text in FOLDERS.items():
        depth = folder.count("/")
        lines.append(f"{'  ' * depth + folder.rsplit('/', 1)[-1] + '/':<36}{text}")
        for path in sorted((project / folder).iterdir()):
            if path.suffix in (".py", ".smk", ".j2") and path.name != "__init__.py":
                lines.append(f"{'  ' * (depth + 1) + path.name:<36}{first_sentence(path)}".rstrip())
    return "\n".join(lines)


def first_sentence(path: Path) -> str:
    """What a file says of itself first: of a module its docstring, of a rules file its header."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    elif path.suffix == ".smk":
        said = " ".join(line.lstrip("# ") for line in text.split("\n\n")[0].splitlines()).split("NEEDS")[0]
    else:
        return ""
    sentence = re.split(r"(?<=[A-Za-z0-9)`”…])[.;]\s|\. Not |, so that ", " ".join(said.split()) + " ", maxsplit=1)[0]
    return sentence.removesuffix(".").strip()
