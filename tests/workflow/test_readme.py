"""The word of README.md and docs/: commands in blocks run as typed on the finished demo, and recipes work as printed."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lib.config.study import load_study
from lib.files import read_json
from lib.tables import WINDOWS, write_table
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow

PAGES = ("README.md", "config/README.md", "docs/data.md", "docs/recipes.md", "docs/runs.md")
STARTERS = ("make", "snakemake", "python", "python3", "source", "export")


def commands(page: str) -> list[str]:
    """Every command line in the indented blocks of a page, and every command in backticks in a row of a table."""
    text = (PROJECT / page).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    lines += [one for row in rows for one in re.findall(r"`([^`]+)`", row) if one.split()[0] in STARTERS and " " in one]
    assignments = re.compile(r"^([A-Z_]+=\S+ +)+")
    return list(dict.fromkeys(line for line in lines if assignments.sub("", line).split()[0] in STARTERS))


ALL = [(page, command) for page in PAGES for command in commands(page)]


def block(heading: str, language: str, number: int = 0) -> str:
    """The n-th fenced block of a language below a heading of one of the pages."""
    text = "".join((PROJECT / page).read_text(encoding="utf-8") for page in PAGES)
    (section,) = re.split(rf"^#+ {re.escape(heading)}$", text, flags=re.MULTILINE)[1:]
    section = re.split(r"^##+ ", section, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)[number]


def typed(words: list[str], folder: Path, *, timeout: int = 600) -> subprocess.CompletedProcess[str]:
    """Run a command as typed in `folder`, with this environment's programs first."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["PYTHONPATH"] = str(folder)
    environment["XDG_CONFIG_HOME"] = str(folder / ".config")
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=timeout, env=environment)


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[None]:
    """The test that runs the demo again has it to itself: beside a living run most commands say so, and do nothing. So has
    `launch`, which takes a dry run of another process for a run that begins.
    """
    alone = request.function is test_recipe_variant or "workflow_scripts.launch" in request.node.name
    base = tmp_path_factory.getbasetemp()
    with open((base if worker_id == "master" else base.parent) / "demo-turn.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def test_there_are_commands_to_test() -> None:
    assert len(ALL) > 15
    assert {command.split()[0] for _, command in ALL} >= {"make", "snakemake", "python"}


@pytest.mark.parametrize(("page", "command"), ALL, ids=[f"{page}: {command}" for page, command in ALL])
def test_command(demo: Path, page: str, command: str) -> None:
    """make, snakemake, launch and tune as a dry run (the demo did run, test_tune.py tunes); everything else for real."""
    words = shlex.split(command, comments=True)
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if words[0] in ("source", "export"):
        assert words[1:] and (words[0] == "export" or words[1].endswith("activate"))
        return
    if words[0] == "make" and shutil.which("make") is None:
        pytest.skip("make is not installed")
    if words[0] == "make" or (words[0] == "snakemake" and "--report" not in words):
        words.insert(1, "-n")
    if "workflow_scripts.tune" in words or words[-3:-1] == ["workflow_scripts.launch", "--"]:
        words.append("-n")
    if "--profile" in words:
        profile = ["--partition", "gpu", "--unchecked", "--folder", str(demo / ".config/snakemake")]
        typed([sys.executable, "-m", "workflow_scripts.slurm_profile", *profile], demo)
    if words[:3] == ["python3", "-m", "venv"]:
        return  # set-up itself; the environment that runs this test came from it
    for mark, write in FILES.items():
        if any(word.endswith(mark) for word in words):
            write(demo)
    done = typed(words, demo)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def own_frames(folder: Path) -> None:
    """The annotation files of one's own site that imbalance.yaml asks for."""
    for split in ("train", "val", "test"):
        path = folder / "crane" / f"{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))


def best_of_a_tuning(folder: Path) -> None:
    """A best.yaml of the form that test_tune.py sees made, in the place that the README names."""
    path = folder / "results/tuning/demo/person-25/best.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    variant = "person-25--lr0-0p005"
    rows = ["person-100", "person-25", "prior", variant]
    values = {
        "variants": {variant: {"arm": "p25", "size": "tiny", "training": {"lr0": 0.005}}},
        "boards": {"imbalance": {"variants": rows}},
    }
    path.write_text(yaml.safe_dump(values))


def test_the_search_block_draws_the_members_that_the_page_names(demo: Path) -> None:
    path = demo / "config/studies/searched.yaml"
    path.write_text(block("Search", "yaml"))
    made = load_study([demo / "config/config.yaml", path])
    path.unlink()
    members = [name for name in made.boards["imbalance"].variants if name.startswith("person-25--")]
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"`(person-25--lr0-\S+--batch-\S+)`", text)
    assert len(members) == 4 and len(named) == 1 and named[0] in members


def official_files(folder: Path) -> None:
    """The COCO and MOTChallenge files that the README's `score` commands name."""
    square = [[10, 10, 40, 10, 40, 50, 10, 50]]
    box = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 30, 40], "segmentation": square}
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [box | {"id": 1, "area": 1200, "iscrowd": 0}],
    }
    (folder / "instances.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps([box | {"score": 0.9}]))
    rows = "".join(f"{frame},1,{10 + frame},20,30,60,1,1,1\n" for frame in range(1, 6))
    sequence = folder / "MOT17/train/walk/gt"
    sequence.mkdir(parents=True, exist_ok=True)
    (folder / "tracks").mkdir(exist_ok=True)
    for file in (folder / "gt.txt", folder / "tracks.txt", folder / "tracks/walk.txt", sequence / "gt.txt"):
        file.write_text(rows)
    windows_in_time(folder)


def own_masks(folder: Path) -> None:
    """Images with masks in RF-DETR's own layout, where sizes.yaml looks for them and where `train --data` is shown, and the
    latter's settings, made small."""
    import cv2
    import numpy as np

    square = {"bbox": [8, 8, 30, 40], "segmentation": [[8, 8, 38, 8, 38, 48, 8, 48]], "area": 1200, "iscrowd": 0}
    for root in ("lars_rfdetr", "data/lars_rfdetr"):
        for split in ("train", "valid", "test"):
            inside = folder / root / split
            inside.mkdir(parents=True, exist_ok=True)
            for number in (1, 2):
                cv2.imwrite(str(inside / f"{number}.jpg"), np.full((60, 80, 3), 60 * number, np.uint8))
            images = [{"id": number, "file_name": f"{number}.jpg", "width": 80, "height": 60} for number in (1, 2)]
            boxes = [square | {"id": number, "image_id": number, "category_id": 1} for number in (1, 2)]
            listed = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "boat"}]}
            (inside / "_annotations.coco.json").write_text(json.dumps(listed))
    training = {"epochs": 1, "imgsz": 72, "num_queries": 10, "group_detr": 1, "batch": 2, "accumulate": 1}
    (folder / "nano.yaml").write_text(yaml.safe_dump({"task": "segmentation", "training": training}))


def windows_in_time(folder: Path) -> None:
    """The files of Ego4D NLQ and QVHighlights that `score grounding` and `submission` name."""
    query = {"query": "Where is it?", "template": "where", "clip_start_sec": 3.0, "clip_end_sec": 7.0}
    for name, asked in (("nlq_val.json", query), ("nlq_test_unannotated.json", {"query": "Where is it?"})):
        clip = {"clip_uid": "c", "video_start_sec": 0.0, "video_end_sec": 480.0}
        clip["annotations"] = [{"annotation_uid": "a", "language_queries": [asked]}]
        (folder / name).write_text(json.dumps({"videos": [{"clips": [clip]}]}))
    answer = {"clip_uid": "c", "annotation_uid": "a", "query_idx": 0, "predicted_times": [[3.0, 6.0]]}
    for name in ("submission.json", "sub.json"):
        entries = {"version": "1.0", "challenge": "ego4d_nlq_challenge", "results": [answer]}
        (folder / name).write_text(json.dumps(entries))
    moment = {"qid": 1, "vid": "v", "query": "A dog", "duration": 150, "relevant_windows": [[0, 10]]}
    (folder / "highlight_val_release.jsonl").write_text(json.dumps(moment))
    (folder / "preds.jsonl").write_text(json.dumps({"qid": 1, "vid": "v", "pred_relevant_windows": [[0, 8, 0.9]]}))
    row = {"video": "c", "query": "a_0", "rank": 0, "start_s": 3.0, "end_s": 6.0, "score": 0.9}
    write_table(folder / "tta=none.parquet", pd.DataFrame([row]), WINDOWS)


FILES = {
    "/best.yaml": best_of_a_tuning,
    "workflow_scripts.score": official_files,
    "studies/imbalance.yaml": own_frames,
    "studies/sizes.yaml": own_masks,
    "nano.yaml": own_masks,
    "workflow_scripts.submission": windows_in_time,
}
"""End of a word of a command → what writes the files that it needs."""


def test_recipe_variant(demo: Path) -> None:
    (demo / "config/studies/mine.yaml").write_text(block("A variant", "yaml"))
    words = ["snakemake", "-c2", "--configfile", "config/config.yaml", "config/studies/mine.yaml"]
    plan = typed([*words, "-n", "-p"], demo).stdout
    made = {path for path in re.findall(r" --output results/(\S+)", plan)}
    new = {path for path in made if "person-50" in path or "p50" in path}
    assert {"subsets/world/p50/seed=0.parquet", "train/world/person-50/seed=0/model.json"} <= new
    boards = {"leaderboards/world/imbalance.csv"}
    shared = {
        path for path in made - new if not path.startswith(("figures/world/frames.arms", "subsets/world/frames.arms"))
    }
    assert shared <= boards, "the other variants are not made again"
    done = typed(words, demo)
    assert done.returncode == 0, done.stderr[-4000:]
    board = pd.read_csv(demo / "results/leaderboards/world/imbalance.csv").set_index("variant")
    assert {"person-100", "person-50", "person-25", "prior"} == set(board.index)
    assert (
        board["frames: person"]["person-25"] < board["frames: person"]["person-50"] < board["frames: person"]["person-100"]
    )
    assert board["above_floor"]["person-50"] == "yes"


def test_recipe_dataset_format(tmp_path: Path, project_copy: Path) -> None:
    heading = "A dataset format"
    settings, reader = block(heading, "python", 0), block(heading, "python", 1)
    (project_copy / "lib/data/sources/boxcsv.py").write_text(reader)
    download = project_copy / "lib/config/download.py"
    text = download.read_text()
    assert "FolderSource | WorldSource" in text, "the recipe names this line"
    text = text.replace("\n\nAnySource", f"\n\n{settings}\n\nAnySource").replace(
        "FolderSource | WorldSource", "FolderSource | WorldSource | BoxCsvSource"
    )
    download.write_text(text)
    data = tmp_path / "photos"
    data.mkdir()
    pictures(data)
    (data / "boxes.csv").write_text("file,split,class,x1,y1,x2,y2\na.png,train,cat,1,2,30,40\nb.png,test,dog,5,5,20,25\n")
    (project_copy / "config/studies/photos.yaml").write_text(block(heading, "yaml").replace("/data/photos", str(data)))
    words = ["snakemake", "-c1", "--configfile", "config/studies/photos.yaml", "--"]
    done = typed([*words, "results/videos/photos/manifest.parquet"], project_copy)
    assert done.returncode == 0, done.stderr[-4000:]
    boxes = pd.read_parquet(project_copy / "results/videos/photos/truth/boxes.parquet")
    assert boxes[["video", "class", "x1", "y1", "x2", "y2"]].to_numpy().tolist() == [
        ["a", "cat", 1.0, 2.0, 30.0, 40.0],
        ["b", "dog", 5.0, 5.0, 20.0, 25.0],
    ]
    assert read_json(project_copy / "results/videos/photos/classes.json")["classes"] == ["cat", "dog"]


def test_recipe_of_queries(tmp_path: Path) -> None:
    """As printed, on three tiny files of the published form; what the paragraph below it says is counted in quality.csv."""
    data = tmp_path / "annotations"
    data.mkdir()
    asked = {
        "train": [{"query": "When?", "clip_start_sec": 2, "clip_end_sec": 21}, {"query": None}],
        "val": [{"query": "Where?", "clip_start_sec": 5, "clip_end_sec": 4}, {"query": "Where?", "clip_start_sec": 0.5}],
        "test_unannotated": [{"query": ""}, {"query": "Who?"}],
    }
    for name, queries in asked.items():
        clips = [
            {
                "clip_uid": f"{name}-{number}",
                **({"video_start_sec": 3.0, "video_end_sec": 23.0} if number == 0 else {}),
                "annotations": [{"annotation_uid": f"{name}-{number}-a", "language_queries": queries}],
            }
            for number in range(2)
        ]
        (data / f"nlq_{name}.json").write_text(json.dumps({"videos": [{"clips": clips}]}))
    study = tmp_path / "questions.yaml"
    study.write_text(block("Queries with windows", "yaml").replace("/data/ego4d/annotations", str(data)))
    words = ["snakemake", "-c1", "--directory", str(tmp_path), "--configfile", str(study), "--"]
    done = typed([*words, "results/videos/nlq/manifest.parquet"], PROJECT)
    assert done.returncode == 0, done.stderr[-4000:]
    folder = tmp_path / "results/videos/nlq"
    queries = pd.read_parquet(folder / "truth/queries.parquet").fillna(-1.0).set_index("query")
    assert queries[["start_s", "end_s"]].T.to_dict("list") == {
        "test_unannotated-0-a_1": [-1.0, -1.0],
        "train-0-a_0": [2.0, 20.0],
    }
    quality = pd.read_csv(folder / "quality.csv", keep_default_na=False).set_index("original")
    assert quality["status"].to_dict() == {f"{name}-{n}": ("ok", "skipped")[n] for name in asked for n in range(2)}
    assert "states no duration" in quality.loc["val-1", "cause"]
    assert quality.loc["val-0", "cause"] == "1 x query: half a window, dropped; 1 x query: ends before it starts, dropped"


def pictures(folder: Path) -> None:
    import cv2
    import numpy as np

    for number, name in enumerate("ab"):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((48, 64, 3), 60 + 90 * number, np.uint8))


def test_the_loop_in_a_program_of_your_own(demo: Path) -> None:
    (demo / "mine.py").write_text(block("The training loop in a program of your own", "python"))
    first, second = (typed([sys.executable, "mine.py"], demo) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout == second.stdout, "started again it only tells how it ended"
    assert float(re.search(r"'val/accuracy': ([0-9.]+)", first.stdout).group(1)) > 0.75  # "none": 0.69
    shutil.rmtree(demo / "state")
    (demo / "mine.py").unlink()
