"""Settings and names that are commands, markup or formulas: shown as text everywhere, executed nowhere.

Reference: the very text, as the program receives it, as an HTML parser and a browser show it; and a canary file.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
import yaml
from docutils.core import publish_parts

from lib.config.study import load_study
from lib.files import write_text
from lib.reporting.leaderboard import score_board
from lib.reporting.page import csv_text, html
from tests.conftest import PROJECT
from tests.faults.counts import Tally
from tests.faults.payloads import CANARY, CSV, HTML, SHELL
from tests.workflow.conftest import TINY
from tests.workflow.test_rules import RULES

sys.path.insert(0, str(PROJECT / "tests" / "lib" / "reporting"))
import made

SHA = "0" * 64
RECORDER = """#!{python}
import json, os, sys
with open(os.environ["RECORDED"], "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
"""


def study_of(payloads: list[str]) -> dict[str, Any]:
    """The tiny study, once per payload in every text of its settings that is free, with names of their own."""
    study = copy.deepcopy(TINY)
    for number, payload in enumerate(payloads):
        name = f"p{number}"
        flat = payload.replace("\0", "")
        study["datasets"][name] = {
            "source": {
                "format": "folder",
                "files": [{"path": f"a/{_path(flat)}.mp4", "url": f"https://h.org/{_url(flat)}", "sha256": SHA}],
                "patterns": [f"x{_path(flat)}"],
            },
            "classes": [flat, f"{flat}2"],
            "description": flat,
            "licence": flat,
            "splits": {"train": [f"{flat}*"], "test": [f"t{flat}"]},
        }
        study["weights"][name] = {"path": f"{flat}.pt", "licence": flat}
        study["detectors"][name] = {"kind": "yolo", "weights": name, "imgsz": 64, "classes": {flat: [flat]}}
        study["shardsets"][name] = {"splits": ["train"], "tracks": {"detector": name, "tracker": "bytetrack"}}
        study["arms"][name] = {"shardset": name, "background": "all", "fractions": {flat: 0.5}}
        study["variants"][name] = {"arm": name, "size": "tiny", "training": {"weights": name}}
        study["boards"][name] = {"dataset": name, "variants": [name, "prior"], "tta": ["none"], "title": flat}
        study["boards"][f"{name}-t"] = {"kind": "tracks", "dataset": name, "detectors": [name], "trackers": ["bytetrack"]}
    study["boards"]["main"]["compare"] = True
    study["description"] = payloads[0]
    return study | {name: study.get(name, {}) | more for name, more in asked_in_words(payloads).items()}


def asked_in_words(payloads: list[str]) -> dict[str, Any]:
    """Sections of a study of temporal grounding whose queries are rewritten to payloads and by them."""
    files = [{"path": f"{split}.json", "url": "https://h.org/x", "sha256": SHA} for split in ("train", "val", "test")]
    flat = [payload.replace("\0", "") for payload in payloads]
    rules = [{"pattern": re.escape(text), "by": text.replace("\\", "\\\\")} for text in flat]
    source = {"format": "ego4d_nlq", "files": files, "annotations": {one["path"][:-5]: one["path"] for one in files}}
    grounding = {"task": "grounding", "arm": "asked", "size": "tiny"}
    return {
        "datasets": {"nlq": {"source": source, "licence": flat[0]}},
        "featuresets": {"planted": {"kind": "planted"}, "words": {"kind": "light_text", "rewrite": rules}},
        "shardsets": {"asked": {"kind": "clips", "clips": "planted", "text": "words", "splits": ["train", "val", "test"]}},
        "arms": {"asked": {"shardset": "asked", "background": "all"}},
        "trainings": {"grounding": {"preset": "tiny"}},
        "variants": {"asked": grounding, "ordinal": grounding | {"kind": "floor", "floor": "prior"}},
        "boards": {"asked": {"dataset": "nlq", "variants": ["asked", "ordinal"], "title": flat[0]}},
    }


def _path(text: str) -> str:
    return text.replace("\\", "").replace("..", "")


def _url(text: str) -> str:
    return "".join(letter for letter in text if letter > " " and letter not in "@\x7f")


def dry_run(folder: Path, study: dict[str, Any], *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "study.yaml").write_text(yaml.safe_dump(study, allow_unicode=True), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-n",
        "-p",
        "-c2",
        "--snakefile",
        str(PROJECT / "Snakefile"),
        "--directory",
        str(folder),
    ]
    command += ["--configfile", str(folder / "study.yaml"), *words]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=folder, check=False)


def rules_of(commands: list[list[str]]) -> set[str]:
    """Names of the rules whose command a recorded one is, by program and subcommand."""
    shape = {name: body.partition("    shell:\n")[2].split('"')[1].split()[2:4] for name, body in RULES.items()}
    return {
        name
        for name, (module, *sub) in shape.items()
        for words in commands
        if words[1] == module and (not sub or sub[0].startswith("-") or words[2] == sub[0])
    }


@pytest.mark.slow
def test_no_payload_runs_in_any_rule(tmp_path: Path, monkeypatch, tally: Tally) -> None:
    """Real Snakemake formats every job's command; a real shell runs it, with a program that only records its words."""
    study = study_of(SHELL)
    pictures = ["results/figures/site/full/seed=0/curves.png", "results/comparisons/site/main/hp_lr_scatter.png"]
    pictures += ["results/submissions/nlq/asked/seed=0/tta=none.json", "results/figures/nlq/asked.lengths.png"]
    done = dry_run(tmp_path, study, "--forceall", "--", "all", *pictures)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    commands = _commands(done.stdout + done.stderr)
    bin_folder = tmp_path / "bin"
    write_text(bin_folder / "python", RECORDER.replace("{python}", sys.executable))
    (bin_folder / "python").chmod(0o755)
    recorded = tmp_path / "recorded.jsonl"
    script = "\n".join(f"mkdir -p $(dirname {shlex.quote(log)}); {{ {command}\n}}" for command, log in commands)
    environment = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}", "RECORDED": str(recorded)}
    write_text(tmp_path / "all.sh", script)
    shell = ["bash", str(tmp_path / "all.sh")]
    ran = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    words = [json.loads(line) for line in recorded.read_text().splitlines()]
    assert len(words) == len(commands) > 15 * len(SHELL), ran.stderr[-2000:]
    assert rules_of(words) >= set(RULES), set(RULES) - rules_of(words)
    canaries = [str(path) for path in tmp_path.rglob(f"*{CANARY}*")]
    settings = [json.loads(one[one.index("--settings") + 1]) for one in words]
    arrived = {text for one in settings for text in _texts(one)}
    for payload in SHELL:
        tally.right("payloads in commands", not canaries and payload in arrived, f"{payload!r}: {canaries}")
    tally.count("payloads in commands", "right", len(words) - len(SHELL))


def _commands(text: str) -> list[tuple[str, str]]:
    """(command, its log) of every job that a dry run printed; a payload's line ends stay inside."""
    found = []
    for block in text.split("\nShell command: python")[1:]:
        block = f"python{block}"
        command = block[: block.index(" 2>&1") + 5]
        found.append((command, shlex.split(command.rpartition(" > ")[2].removesuffix("2>&1"))[0]))
    return found


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, one in value.items() for text in (key, *_texts(one))]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []


@pytest.mark.slow
def test_no_payload_runs_from_the_command_line(tmp_path: Path, tally: Tally) -> None:
    """--config and targets: taken as text or refused, without a trace."""
    overrides = [f"description={payload}" for payload in SHELL[:1]] + [f"study={SHELL[2]}"]
    done = dry_run(tmp_path, TINY, "--config", *overrides)
    refused = done.returncode != 0 and "a name holds only lower-case letters" in done.stdout + done.stderr
    tally.count("payloads on the command line", "refused" if refused else "wrong")
    assert refused, done.stderr
    for payload in (SHELL[0], SHELL[8], "../../../etc", "a b"):
        done = dry_run(tmp_path, TINY, "--", f"results/train/site/{payload}/seed=0/model.json")
        refused = done.returncode != 0 and "MissingRuleException" in done.stdout + done.stderr
        tally.count("payloads on the command line", "refused" if refused else "wrong")
        assert refused, done.stderr
    assert not list(tmp_path.rglob(f"*{CANARY}*"))


@pytest.mark.parametrize(
    "table", ["datasets", "weights", "detectors", "trackers", "shardsets", "arms", "variants", "tta", "boards"]
)
def test_no_payload_is_a_name(tmp_path: Path, monkeypatch, tally: Tally, table: str) -> None:
    monkeypatch.chdir(tmp_path)
    entry = next(iter(copy.deepcopy(TINY[table]).values()))
    for payload in [*SHELL, *HTML, *CSV, "..", "a/b", "", "A", "a.b", "a=b", "ä"]:
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(TINY | {table: TINY[table] | {payload: entry}}, allow_unicode=True))
        tally.refused("payloads as names", lambda: load_study([tmp_path / "s.yaml"], {}), table)
    assert os.listdir(tmp_path) == ["s.yaml"]


# What people open


class Live(HTMLParser):
    """Collects what could act: elements and attributes."""

    SAFE = frozenset(
        {
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "h1",
            "small",
            "div",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "ul",
            "li",
            "main",
            "p",
            "dl",
            "dt",
            "dd",
            "h2",
            "caption",
            "br",
            "span",
            "strong",
            "em",
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.live: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        acts = [name for name, _ in attrs if name.startswith("on") or name in ("href", "src", "action", "srcdoc")]
        refresh = tag == "meta" and ("http-equiv", "refresh") in attrs
        if tag not in self.SAFE or acts or refresh:
            self.live.append(f"{tag} {acts}")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Any:
    names = [*HTML, *CSV]
    results = tmp_path_factory.mktemp("board")
    found = {name: list(range(10)) for name in names}
    made.write_cell(results, "a", found, videos=20)
    made.write_cell(results, "prior", {name: [0] for name in names}, videos=20, kind="floor")
    return score_board("main", made.settings({"a": {}, "prior": {"kind": "floor"}}, title=HTML[0]), results)


def test_a_board_shows_payloads_as_text(board: Any, tally: Tally) -> None:
    page = Live()
    page.feed(html(board))
    shown = "\n".join(page.texts)
    for payload in [*HTML, *CSV]:
        tally.right("payloads in HTML", page.live == [] and payload.strip() in shown, f"{payload!r} {page.live}")


@pytest.mark.slow
def test_a_browser_runs_nothing_of_a_board(board: Any, tmp_path: Path, tally: Tally) -> None:
    browser = next((one for one in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if one), None)
    if browser is None:
        pytest.skip("no chromium: the HTML parser's test stands alone")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ]

    def dom(text: str) -> str:
        (tmp_path / "page.html").write_text(text, encoding="utf-8")
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            words = [browser, *flags, f"--user-data-dir={profile}", "--dump-dom", str(tmp_path / "page.html")]
            return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False).stdout

    assert 'id="live"' in dom(f"<body>{HTML[1]}</body>"), "the payload works where nobody escapes it"
    tally.right("payloads in a browser", 'id="live"' not in dom(html(board)))


@pytest.mark.parametrize("payload", CSV)
def test_cells_of_a_table_are_no_formulas(board: Any, tally: Tally, payload: str) -> None:
    cells = [cell for row in csv.reader(io.StringIO(csv_text(board))) for cell in row]
    bare = [
        cell
        for cell in cells
        if cell.startswith(("=", "+", "@", "\t", "\r")) or (cell.startswith("-") and not _number(cell))
    ]
    tally.right("payloads in CSV", bare == [], str(bare))


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_names_of_videos_are_no_formulas_in_quality_csv(tmp_path: Path, tally: Tally) -> None:
    from lib.config.download import Dataset
    from lib.data.ingest import ingest
    from lib.data.sources import read_source
    from tests.workflow.bench import clip

    names = [name.replace("/", "_") for name in CSV]
    for number, name in enumerate(names):
        clip(tmp_path / f"{number}.mp4", 9 * number)
        os.rename(tmp_path / f"{number}.mp4", tmp_path / f"{name}.mp4")
    dataset = Dataset.model_validate({"source": {"format": "folder", "root": str(tmp_path)}})
    try:
        ingest(read_source(tmp_path, dataset.source), dataset, tmp_path / "out", workers=1)
    except Exception as refusal:  # names with line ends may be refused as a whole: then there is no table to open
        assert "name" in str(refusal)
        tally.count("payloads in CSV", "refused")
        return
    rows = list(csv.reader(io.StringIO((tmp_path / "out/quality.csv").read_text(encoding="utf-8"))))
    bare = [
        cell for row in rows[1:] for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not _number(cell)
    ]
    tally.right("payloads in CSV", bare == [], str(bare))


RST = [
    "\n\n.. raw:: html\n\n   <script>1</script>\n",
    "\n\n.. include:: /etc/hostname\n",
    "`x <javascript:alert(1)>`_",
    "|x|",
    ":raw-html:`<b>`",
    "\n\n.. image:: http://127.0.0.1:9/x.png\n",
    "\n\n.. csv-table::\n   :file: /etc/hostname\n",
    "*a",
    "``b",
    "`c",
    "[1]_",
    "x_",
    "\n====\n",
    "http://127.0.0.1:9/",
    *HTML,
]


@pytest.mark.parametrize("caption", ["workflow", "leaderboard"])
def test_captions_of_the_report_show_payloads_as_text(tmp_path: Path, tally: Tally, caption: str) -> None:
    for payload in RST:
        study = copy.deepcopy(TINY) | {"description": payload}
        study["boards"]["main"]["title"] = payload
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(study, allow_unicode=True), encoding="utf-8")
        config = load_study([tmp_path / "s.yaml"], {}).model_dump(mode="json")
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
        template = environment.from_string((PROJECT / "rules/report" / f"{caption}.rst").read_text(encoding="utf-8"))
        wildcards = SimpleNamespace(board="main", dataset="site")
        text = template.render(snakemake=SimpleNamespace(config=config, wildcards=wildcards))
        plain = template.render(
            snakemake=SimpleNamespace(config=config | {"description": ""} | _untitled(config), wildcards=wildcards)
        )
        page, usual = Live(), Live()
        options = {"report_level": 5, "halt_level": 5}
        page.feed(publish_parts(text, writer="html", settings_overrides=options)["body"])
        usual.feed(publish_parts(plain, writer="html", settings_overrides=options)["body"])
        tally.right("payloads in the report", set(page.live) <= set(usual.live), f"{payload!r}: {page.live}")


def _untitled(config: dict[str, Any]) -> dict[str, Any]:
    boards = {name: board | {"title": ""} for name, board in config["boards"].items()}
    return {"boards": boards}
