"""`--config set= new= only=` through real Snakemake: what is planned, what is said, and what a cluster's jobs are told.

References: the rows and cells of the tiny study, and the files that a payload would leave behind if anything ran it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from snakemake.cli import parse_config

from lib.files import read_json
from tests.conftest import PROJECT
from tests.workflow.conftest import Tree
from tests.workflow.test_rerun_truth import cell_outputs

pytestmark = pytest.mark.slow

CHUNK = "results/detections/site/truth/chunk=0.parquet"
CARD = "results/train/site/plain/seed=0/model.json"
PAYLOADS = (
    "$(touch pwned1)",
    "`touch pwned2`",
    "'; touch pwned3; '",
    '"; touch pwned4; "',
    "a\ntouch pwned5\n",
    "{input} {{x}} ${IFS}touch${IFS}pwned6",
    "\\$(touch pwned7) \\",
)
"""Each leaves a file `pwned…` if a shell runs it."""
PAYLOAD = " | ".join(PAYLOADS)


def said(tree: Tree, *words: str) -> str:
    """What a dry run prints."""
    done = tree.snakemake("--dry-run", *words)
    return done.stdout + done.stderr


def replaced_outputs(text: str) -> int:
    return int(re.search(r"replaces (\d+) finished result", text)[1])


# set


def test_set_says_how_many_results_it_replaces_and_the_plan_makes_just_these(finished: Tree) -> None:
    words = ("--config", "set=variants.less.training.epochs=3")
    text = said(finished, *words)
    planned = finished.planned(*words)
    assert planned == cell_outputs("less") | {"leaderboards/site/main.csv"}
    counted = {output for output in planned if not output.startswith(("figures/", "leaderboards/", "summaries/"))}
    assert (
        f"set: variants.less.training.epochs=3 replaces {len(counted)} finished results: 1 training (less seed 0); " in text
    )
    assert "Hint: Ctrl-C keeps them; new='NAME=BASE …' makes a variant of its own beside them." in text


@pytest.mark.parametrize(
    "override",
    [
        "training.epochs=3",  # the detector too, and all that hangs on its boxes
        "variants.less.arm=all allow_equal_arms=true",  # other files, the same settings
        "arms.half.fractions.person=0.25",
        "trackers.bytetrack.track_buffer=9",
        "evaluate.f1_threshold=0.4",
        "datasets.site.source.seed=9",
        "boards.main.title=other",
        "seeds=[0,1]",
    ],
)
def test_the_count_is_that_of_the_plan(finished: Tree, override: str) -> None:
    words = ("--config", f"set={override}")
    text = said(finished, *words)
    made = {output for output in finished.planned(*words) if (finished.folder / "results" / output).exists()}
    plain = ("figures/", "leaderboards/", "summaries/")
    counted = {output for output in made if not output.startswith(plain) and ".arms/" not in output}
    assert (replaced_outputs(text) if counted else 0) == len(counted)
    assert counted or "replaces no finished result" in text


def test_a_named_file_counts_only_what_is_behind_it(finished: Tree) -> None:
    text = said(finished, "--config", "set=training.lr0=0.1", "--", "results/train/site/detector/seed=0/model.json")
    assert "replaces 1 finished result: 1 training (detector seed 0)" in text


def test_set_is_refused_before_anything_with_the_override_and_the_nearest_name(finished: Tree) -> None:
    for override, says in [
        (
            "trainign.epochs=3",
            "with trainign.epochs=3\nthe settings: unknown key 'trainign'. Hint: did you mean",
        ),
        ("training.epochs", "set: 'training.epochs' has no `=`"),
        ("arms.halff.fractions.person=1", "no 'halff' in arms. Hint: did you mean 'half'?"),
        ("training.lr0=7", "training.lr0: must be less than or equal to 1 (given: 7)"),
    ]:
        done = finished.snakemake("--dry-run", "--config", f"set={override}", check=False)
        assert done.returncode == 1 and says in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


# Sweeps and new variants


def test_a_comma_list_adds_members_and_replaces_nothing(finished: Tree) -> None:
    words = ("--config", "set=training.epochs=1,2")
    planned = finished.planned(*words)
    members = [f"{base}--epochs-{number}" for base in ("full", "less") for number in (1, 2)]
    assert planned == set().union(*map(cell_outputs, members)) | {"leaderboards/site/main.csv"}
    assert "set: training.epochs=1,2 replaces no finished result." in said(finished, *words)


SEARCH = "variants.less.search={n: %d, space: {training.lr0: {low: 1e-4, high: 1e-2, log: true}}}"


def test_a_search_adds_members_and_a_larger_one_makes_only_the_new_ones(tree: Tree) -> None:
    few = tree.planned("--config", f"set={SEARCH % 2}")
    members = {output.split("/")[2] for output in few if output.startswith("train/")}
    assert len(members) == 2 and all(re.fullmatch(r"less--lr0-[0-9pe-]+", name) for name in members)
    assert few == set().union(*map(cell_outputs, members)) | {"leaderboards/site/main.csv"}, "what there is stays"
    cards = [f"train/site/{name}/seed=0/model.json" for name in sorted(members)]
    tree.snakemake("--config", f"set={SEARCH % 2}", "--", *(f"results/{card}" for card in cards))
    more = {output for output in tree.planned("--config", f"set={SEARCH % 4}") if output.startswith("train/")}
    assert len(more) == 2 and not more & set(cards)


def test_new_adds_a_variant_and_its_boards(finished: Tree) -> None:
    planned = finished.planned("--config", "new=small=full training.imgsz=32 arm=half; again=prior")
    scores = {"metrics/site/again/seed=0/tta=none.json", "train/site/again/seed=0/model.json"}
    floor = scores | {
        "predictions/site/again/seed=0/tta=none.parquet", "summaries/site/again/seed=0/tta=none/summary.json",
    }  # fmt: skip
    assert planned == cell_outputs("small") | floor | {f"leaderboards/site/{board}.csv" for board in ("main", "floors")}


def test_another_arm_for_a_variant_trains_it_again_also_while_the_arms_change(tree: Tree) -> None:
    """Snakemake does not look at jobs behind a changed one, even behind an `ancient` input (9.27)."""
    tree.study["arms"]["d2"] = {"shardset": "full", "background": "none"}
    words = ("--config", "set=variants.less.arm=all allow_equal_arms=true", "new=other=full arm=d2")
    assert cell_outputs("less") <= tree.planned(*words)


# only


def test_only_leaves_out_rows_and_never_draws_a_board_with_fewer(finished: Tree) -> None:
    planned = finished.planned("--forceall", "--config", "only=less")
    assert cell_outputs("less") <= planned
    assert not any("/full/seed=" in output and not output.startswith("shards") for output in planned)
    assert not any(output.startswith("leaderboards/") for output in planned)
    assert finished.planned("--config", "only=less") == set(), "results are never changed by `only`"


def test_only_with_all_rows_or_a_boards_name_makes_the_board(finished: Tree) -> None:
    for only in ("main", "full,less,prior", "main,flo*,!floors"):
        boards = {
            output for output in finished.planned("--forceall", "--config", f"only={only}") if "leaderboards" in output
        }
        assert boards == {"leaderboards/site/main.csv"}


def test_only_holds_for_named_targets_and_refuses_what_matches_nothing(finished: Tree) -> None:
    planned = finished.planned("--forceall", "--config", "only=!prior,!taken,!followed", "--", "models")
    trained = {output.split("/")[2] for output in planned if output.startswith("train/")}
    assert trained == {"detector", "full", "less", "chance", "untrained"}, "the detector is behind the shards"
    done = finished.snakemake("--dry-run", "--config", "only=ful", check=False)
    assert done.returncode == 1
    says = "only: 'ful' matches no board and no variant on a board. Hint: did you mean 'full'? Known: "
    assert says in done.stdout + done.stderr


# Lineage, other files, jobs of a cluster


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Words that run every job as a new Snakemake, behind the shells of a cluster."""
    places = [str(PROJECT), str(PROJECT / "tests" / "workflow" / "cluster"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
    return ("--executor", "wrapped", "--jobs", "1")


def test_a_clusters_job_sees_the_same_study_and_its_record_makes_the_same(tree: Tree, cluster: tuple[str, ...]) -> None:
    label = 'it\'s a "test", $(touch pwned)'
    words = ["set=predict.conf=0.01 boards.main.title=" + shlex.quote(label), "new=plain=prior arm=half", "only=plain"]
    tree.snakemake(*cluster, "--config", *words, "--", CARD)
    meta = read_json(tree.folder / "results/train/site/plain/seed=0/meta.json")
    subset = read_json(tree.folder / "results/subsets/site/half/seed=0.meta.json")
    assert subset["identity"] in meta["inputs"].values(), "trained on the arm that `new` names"
    rebuild = shlex.split(meta["rebuild"])
    assert rebuild[rebuild.index("--config") + 1 : rebuild.index("--")] == words[:2]
    assert tree.planned("--config", *words[:2], "--", CARD) == set(), "the recorded command makes the same"
    assert yaml.safe_load((tree.folder / "results/run_config.yaml").read_text())["boards"]["main"]["title"] == label
    assert not left_behind(tree.folder)


def left_behind(folder: Path) -> list[Path]:
    return [*folder.rglob("pwned*"), *PROJECT.glob("pwned*")]


def test_payloads_in_settings_are_text(fresh: Callable[..., Tree], cluster: tuple[str, ...]) -> None:
    """In `set`, and in an ordinary key, which Snakemake alone would hand to a shell."""
    tree = fresh({})
    words = [f"set=detectors.truth.stride=3 boards.main.title={shlex.quote(PAYLOAD)}", f"description=x{PAYLOAD}x"]
    tree.snakemake(*cluster, "--config", *words, "--", CHUNK)
    ran = yaml.safe_load((tree.folder / "results/run_config.yaml").read_text())
    assert ran["boards"]["main"]["title"] == PAYLOAD
    assert ran["description"] == parse_config(words)["description"], "as Snakemake reads it"
    made = read_json(tree.folder / "results/detections/site/truth/chunk=0.meta.json")
    assert made["settings"]["detector"]["stride"] == 3
    assert not left_behind(tree.folder)


@pytest.mark.parametrize("key", ["set", "new", "only"])
def test_payloads_as_names_are_refused(fresh: Callable[..., Tree], key: str) -> None:
    tree = fresh({})
    done = tree.snakemake("--dry-run", "--config", f"{key}={PAYLOAD}", check=False)
    assert done.returncode == 1 and f"{key}: " in done.stdout + done.stderr
    assert "Traceback" not in done.stderr and not left_behind(tree.folder)


def test_overrides_lie_over_all_settings_files(finished: Tree, tmp_path: Path) -> None:
    later = tmp_path / "later.yaml"
    later.write_text("training: {epochs: 9}\n")
    both = (
        "--configfile",
        str(finished.settings),
        str(later),
        "--config",
        "set=training.budget={iterations: 4, evaluations: 2}",
    )
    assert finished.planned(*both) == set(), "the override states what the finished study was made with"
