"""Sweeps, new variants and `only`. References: the rows that the boards of a small study list, and products written out."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.config.base import NAME_PATTERN, ConfigError
from lib.config.jobs import Jobs
from lib.config.study import DEFAULT_CONFIG, Study, load_study
from lib.config.targets import KINDS, choose, study_targets
from lib.config.track import is_floor
from tests.lib.config.made import SMALL, changed, load, refusal
from tests.lib.config.test_inputs import wild
from tests.lib.config.test_names import STUDIES

ROWS = {
    "variants": {
        **SMALL["variants"],
        "more": {"arm": "d", "training": {"lr0": 0.02}},
        "taken": {"kind": "pretrained", "weights": "own"},
    },
    "boards": {
        "main": {"dataset": "site", "variants": ["less", "prior", "more"], "tta": ["none"]},
        "side": {"dataset": "site", "variants": ["more", "taken"], "tta": ["none", "flip"]},
        "followed": {
            "kind": "tracks",
            "dataset": "site",
            "detectors": ["nano", "truth"],
            "trackers": ["bytetrack"],
        },
    },
}

THOUSAND = ",".join(f"0.{number:03}" for number in range(1, 1000))


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Study]:
    """A study with three boards, and texts of --config laid over it; `settings` are laid over the file."""

    def make(settings: dict[str, Any] | None = None, **texts: Any) -> Study:
        path = tmp_path / "rows.yaml"
        path.write_text(yaml.safe_dump(copy.deepcopy(SMALL) | copy.deepcopy(ROWS) | (settings or {}), sort_keys=False))
        return load_study([path], texts)

    return make


def refused(make: Callable[..., Study], *settings: dict[str, Any], **texts: Any) -> str:
    with pytest.raises(ConfigError) as error:
        make(*settings, **texts)
    return str(error.value)


# Sweeps


def test_a_sweep_of_training_makes_members_of_every_trained_row(study) -> None:
    made = study(set="training.epochs=25,50")
    assert made.boards["main"].variants == [
        "less--epochs-25",
        "less--epochs-50",
        "prior",
        "more--epochs-25",
        "more--epochs-50",
    ]
    assert made.boards["side"].variants == ["more--epochs-25", "more--epochs-50", "taken"]
    assert made.training_of("less--epochs-50").budget.epochs == 50
    assert made.training_of("less--epochs-50").lr0 == 0.01, "the base's own settings stay"
    assert "detector--epochs-25" not in made.variants, "no board lists the detector"


def test_one_key_of_the_budget_keeps_the_others(study) -> None:
    training = {"training": {**SMALL["training"], "budget": {"iterations": 12, "evaluations": 3}}}
    swept = study(training, set="training.budget.iterations=6,9").training_of("less--iterations-9").budget
    assert (swept.iterations, swept.evaluations, swept.epochs) == (9, 3, None)
    new = study(training, new="long=less training.budget.iterations=30; short=less training.epochs=2")
    assert (new.training_of("long").budget.iterations, new.training_of("long").budget.evaluations) == (30, 3)
    assert new.training_of("short").budget.model_dump() == {"iterations": None, "evaluations": None, "epochs": 2}


def test_base_entries_keep_their_meaning(study) -> None:
    plain, swept = study(), study(set="training.epochs=25,50 arms.half.fractions.person=0.1,0.9")
    for name in plain.variants:
        job = wild(variant=name)
        assert Jobs(plain).train(job) == Jobs(swept).train(job), "a sweep never changes what an existing name means"
    assert plain.arms.items() <= swept.arms.items()


def test_several_lists_make_their_product_in_the_order_given(study) -> None:
    made = study(set="training.lr0=1e-4,5e-5 variants.less.training.optimizer=SGD,AdamW")
    assert made.boards["main"].variants[:4] == [
        "less--lr0-1e-4--optimizer-sgd",
        "less--lr0-1e-4--optimizer-adamw",
        "less--lr0-5e-5--optimizer-sgd",
        "less--lr0-5e-5--optimizer-adamw",
    ]
    assert made.boards["side"].variants == ["more--lr0-1e-4", "more--lr0-5e-5", "taken"]
    training = made.training_of("less--lr0-5e-5--optimizer-sgd")
    assert (training.lr0, training.optimizer) == (5e-5, "SGD")


def test_a_sweep_of_an_arm_makes_arms_and_the_variants_that_are_trained_on_them(study) -> None:
    made = study(set="arms.half.fractions.person=0.25,0.75 training.batch=2,4")
    assert [arm for arm in made.arms if "--" in arm] == ["half--person-0p25", "half--person-0p75"]
    name = "less--person-0p75--batch-2"
    assert made.variants[name].arm == "half--person-0p75" and made.training_of(name).batch == 2
    assert made.arms["half--person-0p75"].fractions == {"person": 0.75}
    assert made.variants["prior"].arm == "half", "a floor stays where it is"
    both = study(set="arms.half.fractions.person=0.25,0.75 arms.half.mode=union,exclusive")
    assert both.variants["less--person-0p75--mode-union"].arm == "half--person-0p75--mode-union"


@pytest.mark.parametrize(
    ("text", "board", "key", "names"),
    [
        ("detectors.nano.conf=0.1,0.3", "followed", "detectors", ["nano--conf-0p1", "nano--conf-0p3", "truth"]),
        (
            "trackers.bytetrack.track_buffer=10,30",
            "followed",
            "trackers",
            [f"bytetrack--track_buffer-{n}" for n in (10, 30)],
        ),
        ("tta.flip.merge.iou=0.5,0.6", "side", "tta", ["none", "flip--iou-0p5", "flip--iou-0p6"]),
        (
            "variants.prior.floor=prior,chance",
            "main",
            "variants",
            ["less", "prior--floor-prior", "prior--floor-chance", "more"],
        ),
    ],
)
def test_other_entries_of_boards_can_be_swept(study, text: str, board: str, key: str, names: list[str]) -> None:
    assert getattr(study(set=text).boards[board], key) == names


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ("0.5,.25", ["0p5", "p25"]),
        ("1e-4,5e-5", ["1e-4", "5e-5"]),
        ("1E-3,1e+0", ["1e-3", "1e0"]),
    ],
)
def test_names_of_values_are_safe_parts_of_paths(study, values: str, names: list[str]) -> None:
    found = [name for name in study(set=f"training.lr0={values}").variants if name.startswith("less--")]
    assert found == [f"less--lr0-{name}" for name in names]


def test_lists_and_quoted_commas_are_one_value(study) -> None:
    assert study(set="seeds=[5,6]").seeds == [5, 6]
    made = study(set="variants.less.seeds=[0,1],[2,3] variants.less.description='a,b'")
    assert [made.seeds_of(name) for name in ("less--seeds-0-1", "less--seeds-2-3")] == [[0, 1], [2, 3]]


def test_the_same_last_key_twice_takes_more_of_the_place(study) -> None:
    classes = {"person": ["person"], "mode": ["load"]}
    named = {"datasets": changed("datasets.site.classes", classes)["datasets"]}
    clash = study(named, set="arms.half.fractions.mode=0.1,0.2 arms.half.mode=union,exclusive")
    assert "half--mode-0p1--half-mode-union" in clash.arms


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seeds=0,1", "can be swept. Hint: one value that is a list stands in brackets: seeds=[0,1]"),
        ("predict.conf=0.1,0.2", "'predict.conf=0.1,0.2': a comma list is a sweep, and only training.*, variants.NAME.*"),
        ("trainign.lr0=1,2", "unknown key 'trainign'. Hint: did you mean 'training'?"),
        ("training.lrr=0.1,0.2", "variants.less--lrr-0p1.training: unknown key 'lrr'. Hint: did you mean"),
        ("training.lr0=0.1,7", "variants.less--lr0-7.training.lr0: must be less than or equal to 1 (given: 7)"),
        ("variants.lss.arm=d,half", "no 'lss' in variants. Hint: did you mean 'less'?"),
        ("variants.detector.arm=d,half", "no board lists 'detector' of variants, so its sweep would make nothing"),
        ("arms.x.mode=union,exclusive", "no 'x' in arms"),
        ("training.lr0=1e-4,0.0001", "0.0001 is the same value twice"),
        ("training.optimizer=SGD,sgd", "the name 'less--optimizer-sgd' is taken. Hint: values of a sweep must differ"),
        ("training.lr0=0.1,0.2 variants.less.training.lr0=0.3,0.4", "less is swept twice: training.lr0=0.1,0.2 "),
        ("variants.less.arm=d,half arms.half.mode=union,exclusive", "less is swept twice"),
        (f"training.model={'x' * 150},y", "letters, more than 150. Hint: give variants short names of their own with new="),
        (f"training.batch={','.join(map(str, range(1, 27)))}", "the sweep makes 52 entries, more than sweep_limit: 50"),
        (" ".join(f"training.{key}={THOUSAND}" for key in ("lr0", "box", "cls", "dfl")), "more than sweep_limit: 50"),
    ],
)
def test_what_cannot_be_swept_is_refused(study, text: str, says: str) -> None:
    assert says in refused(study, set=text)


def test_the_limit_can_be_raised_and_a_taken_name_is_refused(study) -> None:
    text = f"training.batch={','.join(map(str, range(1, 27)))}"
    assert len(study(set=text, sweep_limit=52).boards["main"].variants) == 2 * 26 + 1
    taken = {"variants": {**ROWS["variants"], "less--batch-2": {"arm": "d"}}}
    assert "the name 'less--batch-2' is taken" in refused(study, taken, set="training.batch=2,4")


def test_sweep_in_yaml_is_the_same_as_a_comma_list(study) -> None:
    typed = study(set="training.lr0=1e-4,5e-5 arms.half.fractions.person=0.25,0.75")
    written = study({"sweep": {"training.lr0": ["1e-4", "5e-5"], "arms.half.fractions.'person'": [0.25, 0.75]}})
    assert written.model_dump() == typed.model_dump()
    own = copy.deepcopy(ROWS["variants"])
    own["more"]["sweep"] = {"training.lr0": [0.1], "arm": ["d", "half"]}
    made = study({"variants": own})
    assert made.boards["side"].variants == ["more--lr0-0p1--arm-d", "more--lr0-0p1--arm-half", "taken"]
    assert "sweep" not in made.model_dump() and not made.variants["more"].sweep
    assert "training.lr0 is swept twice" in refused(study, {"sweep": {"training.lr0": [1e-3]}}, set="training.lr0=0.1,0.2")
    assert study({"variants": own}, set="variants.more.sweep=null").boards["side"].variants == ["more", "taken"]


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("sweep", ["training.lr0"], "sweep: must be a block of `place: [values]` lines"),
        ("sweep", {"training.lr0": 0.1}, "sweep.training.lr0: must be a list of values, found 0.1. Hint: training.lr0: ["),
        ("sweep", {"training.lr0": []}, "sweep.training.lr0: must be a list of values"),
        ("sweep", {"a b": [1]}, "sweep: 'a b' is no place"),
        ("variants.less.sweep", {"training": {"lr0": [1]}}, "variants.less.sweep.training: must be a list of values"),
        ("variants.less.sweep", {"training.lrr": [1]}, "variants.less--lrr-1.training: unknown key 'lrr'"),
    ],
)
def test_a_sweep_of_another_shape_is_refused(tmp_path: Path, place: str, value: Any, says: str) -> None:
    assert says in refusal(tmp_path, changed(place, value))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_can_be_swept(path: Path) -> None:
    plain = load_study([path])
    # the floor of trackers has no setting to sweep
    swept = {name for name, tracker in plain.trackers.items() if not is_floor(tracker)}
    trackers = swept & {tracker for board in plain.track_boards.values() for tracker in board.trackers}
    texts = [f"trackers.{tracker}.classes_separately=true,false" for tracker in trackers]
    tasks = {variant.task for variant in plain.variants.values()}
    setting = "hidden" if tasks == {"grounding"} else "epochs"  # of our own loop it is budget.epochs
    made = load_study([path], {"set": " ".join([f"training.{setting}=64,128"] * bool(plain.score_boards) + texts)})
    for board in made.score_boards.values():
        trained = [name for name in board.variants if made.variants[name].kind == "model"]
        knows = [setting == "hidden" or made.variants[name].task != "grounding" for name in trained]
        assert trained and [f"--{setting}-" in name for name in trained] == knows
    for name, board in made.track_boards.items():
        before = plain.boards[name].trackers
        assert len(board.trackers) == sum(2 if tracker in swept else 1 for tracker in before)
    assert all(re.fullmatch(NAME_PATTERN, name) for name in [*made.variants, *made.trackers])


# New variants


def test_new_derives_a_variant_and_joins_the_boards_of_its_base(study) -> None:
    made = study(new="slow=more training.lr0=1e-3 arm=half seeds=[7]; twin=taken; slower=slow training.epochs=3")
    assert made.boards["main"].variants == ["less", "prior", "more", "slow", "slower"]
    assert made.boards["side"].variants == ["more", "taken", "slow", "twin", "slower"]
    assert (made.variants["slow"].arm, made.seeds_of("slow"), made.training_of("slow").lr0) == ("half", [7], 1e-3)
    assert made.training_of("slower").lr0 == 1e-3 and made.training_of("slower").budget.epochs == 3
    assert made.variants["slow"].description == "more with training.lr0=1e-3 arm=half seeds=[7]"
    assert made.training_of("more").lr0 == 0.02, "the base stays"


def test_new_takes_what_set_changed_and_can_be_swept(study) -> None:
    made = study(set="variants.more.training.batch=3", new="slow=more training.lr0=1e-3,1e-4")
    assert made.boards["side"].variants == ["more", "taken", "slow--lr0-1e-3", "slow--lr0-1e-4"]
    assert made.training_of("slow--lr0-1e-4").batch == 3


def test_quotes_keep_semicolons_and_spaces_of_new(study) -> None:
    made = study(new="slow=more 'size'=tiny training.model='yolo11n' ;  b=more arm=\"half\";")
    assert made.variants["slow"].size == "tiny" and made.variants["b"].arm == "half"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("slow", "new: 'slow' has no `=`"),
        ("slow=mroe", "new: 'slow=mroe': unknown variant 'mroe'. Hint: did you mean 'more'?"),
        ("more=less", "new: 'more=less': the name 'more' is taken. Hint: another name; to change that variant use set="),
        ("Slow=more", "new: 'Slow=more': 'Slow' is no name: lower-case letters"),
        ("a.b=more", "must be NAME=BASE. Hint: new='nano-e100=nano training.epochs=100'"),
        ("a=more,less", "must be NAME=BASE"),
        ("a=more trainign.lr0=1", "with trainign.lr0=1"),
        ("a=more arm=hlaf", "variants.a.arm: unknown arm 'hlaf'. Hint: did you mean 'half'?"),
        (" ; ", "new: is empty"),
    ],
)
def test_a_new_variant_that_cannot_be_is_refused(study, text: str, says: str) -> None:
    assert says in refused(study, new=text)


# only


@pytest.mark.parametrize(
    ("only", "rows", "boards"),
    [
        ("less", {"main less"}, set()),
        ("more", {"main more", "side more"}, set()),
        ("mo*,taken", {"main more", "side more", "side taken"}, {"side"}),
        ("side", {"side more", "side taken"}, {"side"}),
        ("followed", set(), {"followed"}),
        ("*", {"main less", "main prior", "main more", "side more", "side taken"}, {"main", "side", "followed"}),
        ("!prior", {"main less", "main more", "side more", "side taken"}, {"side", "followed"}),
        ("main,!prior", {"main less", "main more"}, set()),
        ("!side,!followed", {"main less", "main prior", "main more"}, {"main"}),
        (" less , prior ,more", {"main less", "main prior", "main more", "side more"}, {"main"}),
        ("[lp]*", {"main less", "main prior"}, set()),
    ],
)
def test_only_chooses_rows_and_whole_boards(study, only: str, rows: set[str], boards: set[str]) -> None:
    chosen = choose(study(), only)
    assert {" ".join(pair) for pair in chosen.rows} == rows
    assert chosen.boards == boards


@pytest.mark.parametrize(
    ("only", "says"),
    [
        (
            "lss",
            "only: 'lss' matches no board and no variant on a board. Hint: did you mean 'less'? Known: followed, less",
        ),
        ("less,x*", "only: 'x*' matches no board"),
        ("detector", "What no board lists is asked for by its file."),
        ("!x", "only: '!x' matches no board"),
        ("", "only: is empty"),
        (" , ", "only: is empty"),
        ("less,!less", "only: 'less,!less' leaves nothing. Known: "),
    ],
)
def test_patterns_that_choose_nothing_are_refused(study, only: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        choose(study(), only)
    assert says in str(error.value)


def test_targets_of_what_is_chosen(study) -> None:
    made = study()
    chosen = choose(made, "less,followed")
    wanted = {kind: study_targets(made, kind, chosen) for kind in KINDS}
    assert wanted["models"] == [f"results/train/site/less/seed={seed}/model.json" for seed in (0, 1)]
    assert "results/metrics/site/less/seed=0/tta=none.json" in wanted["metrics"]
    assert {Path(file).stem for file in wanted["leaderboards"]} == {"followed"}
    assert not any("more" in file or "prior" in file for files in wanted.values() for file in files)
    for kind in KINDS:
        assert study_targets(made, kind) == study_targets(made, kind, choose(made, "*"))
        assert set(wanted[kind]) <= set(study_targets(made, kind)), "`only` asks for nothing new"


def test_swept_names_can_be_chosen() -> None:
    made = load_study([DEFAULT_CONFIG], {"set": "training.epochs=25,50"})
    assert {row for _, row in choose(made, "*--epochs-50").rows} == {"person-100--epochs-50", "person-25--epochs-50"}


def test_the_same_study_comes_out_of_a_second_reading(tmp_path: Path) -> None:
    """A cluster's job reads settings files and words again: names, order and meanings are the same."""
    texts = {"set": "training.lr0=1e-4,5e-5", "new": "x=less arm=d"}
    path = tmp_path / "0.yaml"
    load(tmp_path, SMALL)
    assert load_study([path], texts).model_dump_json() == load_study([path], texts).model_dump_json()
