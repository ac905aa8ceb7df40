"""What each job is told: canonical JSON made from a rule's wildcards only, one method a stage.

Snakemake compares these texts with the ones a result was made with, so they hold what changes results and nothing else:
display fields are left out (base.identity), paths and inputs belong to the rule, resources to rules/resources.smk.
`recipe` numbers belong to the costly stages and to what they are made from: raise one when a code change alters its results
(CHANGELOG says so; tests/test_recipes.py reminds).
"""

from __future__ import annotations

from typing import Any, Protocol

from lib.config.base import ConfigError, canonical, identity
from lib.config.detect import Detector, ModelDetector
from lib.config.predict import told_of_boxes, told_of_windows
from lib.config.study import Study
from lib.config.tasks import DRAWN, TASKS, WINDOWS
from lib.config.track import is_floor

RECIPES = {"download": 2, "detect": 1, "track": 1, "embed": 1, "shard": 2, "subsample": 1, "train": 1, "predict": 1}


class Wildcards(Protocol):
    """Snakemake's wildcards, or any object with the same attributes."""

    dataset: str
    variant: str
    detector: str
    tracker: str
    featureset: str
    shardset: str
    arm: str
    weights: str
    board: str
    tta: str
    seed: str
    chunk: str


def _looked_at(detector: Detector) -> dict[str, str]:
    """True boxes say nothing of frames that nobody labelled: those frames are not looked at."""
    return {"frames": "labelled"} if detector.kind == "truth" else {}


class Jobs:
    """Settings of every job of one study, as the rules' `params: settings=` takes them (functions of the wildcards)."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def _text(self, stage: str, values: dict[str, Any]) -> str:
        recipe = {"recipe": RECIPES[stage]} if stage in RECIPES else {}
        return canonical(recipe | values)

    def _entry(self, table: str, name: str) -> dict[str, Any]:
        return identity(self.study.find(table, name))

    def download(self, wildcards: Wildcards) -> str:
        values = self._entry("datasets", wildcards.dataset)
        values.pop("chunks")  # how many jobs share the work does not change what is downloaded
        return self._text("download", values)

    def chunks(self, wildcards: Wildcards) -> int:
        """Number of chunks of a dataset, refusing a chunk number beyond it."""
        chunks = self.study.find("datasets", wildcards.dataset).chunks
        if int(wildcards.chunk) >= chunks:
            raise ConfigError(f"chunk={wildcards.chunk}: dataset {wildcards.dataset!r} has chunks 0 to {chunks - 1}.")
        return chunks

    def fetch_weights(self, wildcards: Wildcards) -> str:
        return self._text("weights", self._entry("weights", wildcards.weights))

    def detect(self, wildcards: Wildcards) -> str:
        detector = self.study.find("detectors", wildcards.detector)
        return self._text("detect", {"detector": identity(detector)} | _looked_at(detector))

    def track(self, wildcards: Wildcards) -> str:
        detector = self.study.find("detectors", wildcards.detector)
        values = {"tracker": self._entry("trackers", wildcards.tracker), "stride": detector.stride}
        values |= {} if self.study.find("datasets", wildcards.dataset).clip else {"clip": False}
        return self._text("track", values | _looked_at(detector))

    def embed(self, wildcards: Wildcards) -> str:
        return self._text("embed", {"featureset": self._entry("featuresets", wildcards.featureset)})

    def shard(self, wildcards: Wildcards) -> str:
        return self._text("shard", {"shardset": self._entry("shardsets", wildcards.shardset)})

    def subsample(self, wildcards: Wildcards) -> str:
        return self._text("subsample", {"arm": self._entry("arms", wildcards.arm)})

    def arms(self, wildcards: Wildcards) -> str:
        names = self.arms_on(wildcards.dataset, wildcards.shardset)
        return self._text("arms", {"arms": names, "allow_equal_arms": self.study.allow_equal_arms})

    def arms_on(self, dataset: str, shardset: str) -> list[str]:
        """Arms of one shardset that this study's variants are trained on, on one dataset."""
        used = {self.study.variants[name].arm for name, on in self.study.trained_pairs() if on == dataset}
        return sorted(arm for arm in used if arm and self.study.arms[arm].shardset == shardset)

    def train(self, wildcards: Wildcards) -> str:
        variant = self.study.find("variants", wildcards.variant)
        values = {key: getattr(variant, key) for key in ("task", "kind", "floor")}
        training = identity(self.study.training_of(wildcards.variant))
        if variant.kind in ("floor", "pretrained") and variant.floor != "untrained":
            training = {key: training[key] for key in ("imgsz",) if key in training}  # all that reaches a floor
        if variant.kind == "ensemble":
            members = [f"{name}/seed={seed}" for name, seed in self.study.members_of(wildcards.variant)]
            return self._text("train", values | {"training": {}, "weights": None, "members": members})
        return self._text("train", values | {"training": training, "weights": variant.weights})

    def predict(self, wildcards: Wildcards) -> str:
        task = self.study.find("variants", wildcards.variant).task
        told = told_of_windows if self._of_windows(wildcards) else told_of_boxes
        return self._text("predict", {"task": task} | told(self.study.predict, self.study.find("tta", wildcards.tta)))

    def _of_windows(self, wildcards: Wildcards) -> bool:
        return TASKS[self.study.find("variants", wildcards.variant).task].predictions == WINDOWS

    def export_predictions(self, wildcards: Wildcards) -> str:
        predict = self.study.predict
        values = {"export": identity(self.study.export), "splits": predict.splits, "stride": predict.stride}
        task = self.study.find("variants", wildcards.variant).task
        values["table"] = TASKS[task].predictions
        if values["table"] not in DRAWN:
            raise ConfigError(
                f"exports/{wildcards.dataset}/{wildcards.variant}: task {task} predicts {values['table']}; only boxes and "
                "masks are drawn. Hint: results/predictions/ has them, results/figures/ pictures."
            )
        return self._text("export", values)

    def export_tracks(self, wildcards: Wildcards) -> str:
        detector = self.study.find("detectors", wildcards.detector)
        splits = detector.splits if isinstance(detector, ModelDetector) else None
        values = {"export": identity(self.study.export), "splits": splits, "stride": detector.stride}
        return self._text("export", values)

    def evaluate(self, wildcards: Wildcards) -> str:
        predict = self.study.predict
        values: dict[str, Any] = {"task": self.study.find("variants", wildcards.variant).task, "splits": predict.splits}
        if self._of_windows(wildcards):
            return self._text("evaluate", values | {"evaluate": {"queries_by": self.study.evaluate.queries_by}})
        return self._text("evaluate", values | {"stride": predict.stride, "evaluate": self._scoring()})

    def _scoring(self) -> dict[str, Any]:
        """What scores of boxes depend on: the resamples of the intervals belong to the boards."""
        others = ("draws", "level", "seed", "queries_by")
        return {key: value for key, value in identity(self.study.evaluate).items() if key not in others}

    def evaluate_tracks(self, wildcards: Wildcards) -> str:
        stride = self.study.find("detectors", wildcards.detector).stride
        return self._text("evaluate_tracks", {"evaluate": self._scoring(), "stride": stride})

    def leaderboard(self, wildcards: Wildcards) -> str:
        """The titled board, what its variants or trackers are, how intervals are drawn; the files follow from the names."""
        board = self.study.find("boards", wildcards.board)
        if board.dataset != wildcards.dataset:
            raise ConfigError(
                f"board {wildcards.board!r} is about dataset {board.dataset!r}, not {wildcards.dataset!r}. "
                f"Hint: ask for results/leaderboards/{board.dataset}/{wildcards.board}.csv"
            )
        keys = ("kind", "arm", "train_on")
        rows = {
            name: {key: getattr(self.study.variants[name], key) for key in keys} | {"seeds": self.study.seeds_of(name)}
            for name in board.variants or ()
        }
        values = {
            "task": self.study.task_of(board) if board.kind == "scores" else None,
            "board": identity(board) | {"title": board.title},
            "variants": rows,
            "trackers": {name: {"kind": self._kind_of(name)} for name in board.trackers or ()},
            "evaluate": identity(self.study.evaluate),
        }
        values |= {"report": identity(self.study.report)}
        return self._text("leaderboard", values)

    def _kind_of(self, tracker: str) -> str:
        """What a row of a board of trackers is: a tracker, or the floor of its detector."""
        return "floor" if is_floor(self.study.trackers[tracker]) else "tracker"

    def summary(self, wildcards: Wildcards) -> str:
        """What a run is called and was asked; also what is for people: a new description rewrites the summary only."""
        variant = self.study.find("variants", wildcards.variant)
        values: dict[str, Any] = {"name": wildcards.variant, "description": variant.description}
        values |= {"study": self.study.study, "dataset": wildcards.dataset}
        values["trained_on"] = self.study.trained_on(wildcards.variant, wildcards.dataset)
        values |= {
            "task": variant.task,
            "kind": variant.floor or variant.kind,
            "size": self.study.size_of(wildcards.variant),
        }
        values |= {"seed": int(wildcards.seed), "views": wildcards.tta}
        values["arm"] = {"name": variant.arm} | self._entry("arms", variant.arm) if variant.arm else None
        return self._text("summary", values)

    def window_rows(self, wildcards: Wildcards) -> list[dict[str, Any]]:
        """Rows of a board whose task predicts windows; floors that look at nothing once, not in each view.

        ConfigError for any other board.
        """
        board = self.study.find("boards", wildcards.board)
        task = self.study.task_of(board) if board.kind == "scores" else None
        if task is None or TASKS[task].predictions != WINDOWS or board.dataset != wildcards.dataset:
            raise ConfigError(
                f"figures/{wildcards.dataset}/{wildcards.board}.lengths.png: the board is about {board.dataset!r}, and "
                f"{task or 'tracking'} predicts no windows, or others. Hint: a board of task grounding, on its own dataset."
            )
        rows = []
        for name in board.variants or ():
            blind = self.study.variants[name].floor in ("prior", "chance")
            for tta in (board.tta or [])[: 1 if blind else None]:
                row = {"variant": name, "tta": tta, "name": name if blind or tta == "none" else f"{name}, {tta}"}
                rows.append(row | {"kind": self.study.variants[name].kind, "seeds": self.study.seeds_of(name)})
        return rows

    def lengths(self, wildcards: Wildcards) -> str:
        """The picture of recall by length of the answer of one board."""
        evaluate = identity(self.study.evaluate)
        values = {"rows": self.window_rows(wildcards), "splits": self.study.predict.splits}
        values |= {key: evaluate[key] for key in ("draws", "seed", "level")}
        title = self.study.boards[wildcards.board].title or wildcards.board
        return self._text("report", values | {"title": title, "report": identity(self.study.report)})

    def windows(self, wildcards: Wildcards) -> str:
        """The picture of windows of one row. ConfigError for a task that predicts none."""
        if not self._of_windows(wildcards):
            raise ConfigError(f"variant {wildcards.variant!r} predicts no windows in time. Hint: one of task grounding.")
        values = {
            "splits": self.study.predict.splits,
            "seed": self.study.evaluate.seed,
            "title": f"{wildcards.variant}: predicted and true windows",
        }
        return self._text("report", values | {"report": identity(self.study.report)})

    def submission(self, wildcards: Wildcards) -> str:
        """ConfigError for a dataset that no challenge takes submissions of, or a task that predicts no windows."""
        source = self.study.find("datasets", wildcards.dataset).source
        if source.format != "ego4d_nlq" or not self._of_windows(wildcards):
            raise ConfigError(
                f"submissions/{wildcards.dataset}/{wildcards.variant}: dataset {wildcards.dataset!r} is of format "
                f"{source.format}; submissions are of windows on ego4d_nlq. Hint: results/predictions/ has the windows."
            )
        return self._text("submission", {"splits": self.study.predict.splits})

    def figures(self, wildcards: Wildcards) -> str:
        return self._text("report", identity(self.study.report))
