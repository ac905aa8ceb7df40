"""Which files each job reads, where that depends on the study: the rules' input functions, one method an input.

Fixed inputs stand as literal paths in the rules. Every method looks names up in the study, so that an unknown one is
answered with what is known, and takes no time worth naming: Snakemake calls them for every job of a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lib.config.base import ConfigError
from lib.config.detect import ModelDetector
from lib.config.embed import Objects, TextSection
from lib.config.embed_common import GridSection
from lib.config.embed_wording import phrases_digest
from lib.config.feature_files import FeatureFiles, features_digest
from lib.config.jobs import Jobs, Wildcards
from lib.config.paraphrase_references import check_views
from lib.config.raw import RawInputs, raw_inputs, without_pictures
from lib.config.shard import ClipShardset
from lib.config.study import Study
from lib.config.targets import is_exported
from lib.config.tasks import TASKS
from lib.config.track import needs_pixels, pixels_for, without_pixels
from lib.files import sha256_file, sha256_text


class Inputs:
    """Input functions of one study (functions of the wildcards); `project` is the folder of the Snakefile."""

    def __init__(self, study: Study, project: str | Path) -> None:
        self.study = study
        self.project = Path(project)
        self._raw: dict[str, RawInputs] = {}  # looking through a folder of thousands of files once is enough
        self._without_pictures: dict[str, str] = {}

    def code(self, *files: str) -> str:
        """Digest of the project's own files, a param of the cheap stages: editing the code reruns them.

        By content, so that dates and the checkout's place do not count. Costly stages carry a `recipe` instead (jobs.py).
        """
        return sha256_text("".join(sha256_file(self.project / file) for file in files))[:16]

    def all_chunks(self, pattern: str) -> Callable[[Any], list[str]]:
        """An input function: `pattern` for every chunk of the job's dataset."""

        def chunk_files(wildcards: Any) -> list[str]:
            chunks = self.study.find("datasets", wildcards.dataset).chunks
            return [pattern.format(**dict(wildcards.items()), chunk=chunk) for chunk in range(chunks)]

        return chunk_files

    def annotations(self, wildcards: Wildcards) -> list[str]:
        return self._raw_of(wildcards.dataset).files

    def raw_digest(self, wildcards: Wildcards) -> str:
        """Digest of the folders that a dataset is read from: a param, because their files are not inputs."""
        return self._raw_of(wildcards.dataset).digest

    def _raw_of(self, dataset: str) -> RawInputs:
        if dataset not in self._raw:
            self._raw[dataset] = raw_inputs(self.study, dataset)
        return self._raw[dataset]

    def trained_weights(self, wildcards: Wildcards) -> str | list[str]:
        """Model that a `weights:` entry takes from this same DAG."""
        entry = self.study.find("weights", wildcards.weights)
        return _model(entry.dataset, entry.variant, entry.seed) if entry.variant else []

    def detector_weights(self, wildcards: Wildcards) -> str | list[str]:
        detector = self.study.find("detectors", wildcards.detector)
        if not isinstance(detector, ModelDetector):
            return []
        place = f"detectors.{wildcards.detector}: kind {detector.kind}"
        self._refuse_without_pictures(wildcards.dataset, place, "use kind given or truth")
        return f"results/weights/{detector.weights}/weights.json"

    def looked_at_frames(self, wildcards: Wildcards) -> str | list[str]:
        """The labelled frames, where the detector is the truth and has therefore looked at no others.

        Raises ConfigError for a tracker that needs pixels where there are none.
        """
        detector = self.study.find("detectors", wildcards.detector)
        tracker = self.study.find("trackers", wildcards.tracker)
        if needs_pixels(tracker):
            place = f"trackers.{wildcards.tracker}: kind {tracker.kind} with {pixels_for(tracker)}"
            self._refuse_without_pictures(wildcards.dataset, place, without_pixels(tracker))
        return f"results/videos/{wildcards.dataset}/truth/frames.parquet" if detector.kind == "truth" else []

    def _refuse_without_pictures(self, dataset: str, place: str, remedy: str) -> None:
        """Raise ConfigError when the plan already shows that a sequence of the dataset has no pictures to look at."""
        if dataset not in self._without_pictures:
            self._without_pictures[dataset] = without_pictures(self.study, dataset)
        if blind := self._without_pictures[dataset]:
            raise ConfigError(
                f"{place} looks at pixels, but {blind}. Hint: {remedy}, or keep it off this dataset's boards."
            )

    def embedded_queries(self, wildcards: Wildcards) -> str | list[str]:
        """The texts of a featureset that is about texts."""
        featureset = self.study.find("featuresets", wildcards.featureset)
        table = getattr(featureset, "table", None)
        return f"results/videos/{wildcards.dataset}/truth/{table}.parquet" if table else []

    def features_digest(self, wildcards: Wildcards) -> str:
        """Digest of what a featureset reads of this site: a folder of features, or a table of phrases; "" without any.

        A param, because thousands of files as inputs would slow every plan.
        """
        featureset = self.study.find("featuresets", wildcards.featureset)
        if isinstance(featureset, TextSection):
            return phrases_digest(featureset, self.study.paths.resolved("raw"))
        is_files = isinstance(featureset, FeatureFiles)
        return features_digest(featureset, self.study.paths.resolved("features")) if is_files else ""

    def embedded_tracks(self, wildcards: Wildcards) -> str | list[str]:
        """The tracks of a featureset that is about objects. ConfigError where it looks at pixels and there are none."""
        featureset = self.study.find("featuresets", wildcards.featureset)
        if isinstance(featureset, GridSection):
            place = f"featuresets.{wildcards.featureset}: kind {featureset.kind}"
            self._refuse_without_pictures(wildcards.dataset, place, "take features that stand as files")
        if not isinstance(featureset, Objects):
            return []
        folder = f"results/tracks/{wildcards.dataset}/{featureset.detector}/{featureset.tracker}"
        return f"{folder}/chunk={wildcards.chunk}.parquet"

    def shard_tracks(self, wildcards: Wildcards) -> list[str]:
        tracks = getattr(self.study.find("shardsets", wildcards.shardset), "tracks", None)
        if tracks is None:
            return []
        chunks = self.study.find("datasets", wildcards.dataset).chunks
        folder = f"results/tracks/{wildcards.dataset}/{tracks.detector}/{tracks.tracker}"
        return [f"{folder}/chunk={chunk}.parquet" for chunk in range(chunks)]

    def clip_shardsets(self) -> list[str]:
        """Names of the shardsets of kind clips, which a rule of their own packs."""
        return sorted(name for name, one in self.study.shardsets.items() if isinstance(one, ClipShardset))

    def shard_features(self, role: str) -> Callable[[Any], list[str]]:
        """An input function: all chunks of what plays a role (clips, text, objects) in a shardset, one featureset after
        the other. Paraphrases are texts too, and follow the words that were asked."""

        def feature_files(wildcards: Any) -> list[str]:
            featuresets = self.study.find("shardsets", wildcards.shardset).featuresets(role)
            chunks = range(self.study.find("datasets", wildcards.dataset).chunks)
            folder = f"results/features/{wildcards.dataset}"
            return [f"{folder}/{name}/chunk={chunk}.safetensors" for name in featuresets for chunk in chunks]

        return feature_files

    def shard_sources(self, wildcards: Wildcards) -> list[str]:
        """All that the settings choose for a shardset of either kind."""
        if wildcards.shardset not in self.clip_shardsets():
            return self.shard_tracks(wildcards)
        return [file for role in ("clips", "text", "objects") for file in self.shard_features(role)(wildcards)]

    def arm_index(self, wildcards: Wildcards) -> str:
        shardset = self.study.find("arms", wildcards.arm).shardset
        return f"results/shards/{wildcards.dataset}/{shardset}/index.parquet"

    def arm_matched(self, wildcards: Wildcards) -> str | list[str]:
        """Frames of the arm whose size a control takes."""
        other = self.study.find("arms", wildcards.arm).size_of
        return f"results/subsets/{wildcards.dataset}/{other}/seed={wildcards.seed}.parquet" if other else []

    def arm_counts(self, wildcards: Wildcards) -> list[str]:
        """Counts of all arms of the study that are drawn from one shardset."""
        arms = Jobs(self.study).arms_on(wildcards.dataset, wildcards.shardset)
        return [f"results/subsets/{wildcards.dataset}/{arm}/seed={wildcards.seed}.counts.json" for arm in arms]

    def train_subset(self, wildcards: Wildcards) -> str | list[str]:
        arm = self.study.find("variants", wildcards.variant).arm
        return f"results/subsets/{wildcards.dataset}/{arm}/seed={wildcards.seed}.parquet" if arm else []

    def train_shards(self, wildcards: Wildcards) -> str | list[str]:
        shardset = self._shardset(wildcards.variant)
        return f"results/shards/{wildcards.dataset}/{shardset}/manifest.json" if shardset else []

    def train_weights(self, wildcards: Wildcards) -> str | list[str]:
        variant = self.study.find("variants", wildcards.variant)
        weights = (
            variant.weights
            if variant.kind == "pretrained"
            else getattr(self.study.training_of(wildcards.variant), "weights", None)
        )
        return f"results/weights/{weights}/weights.json" if weights else []

    def member_models(self, wildcards: Wildcards) -> list[str]:
        """Cards of the members of an ensemble that is tested on this dataset."""
        members = self.study.members_of(wildcards.variant)
        return [_model(self.study.trained_on(name, wildcards.dataset), name, seed) for name, seed in members]

    def member_predictions(self, wildcards: Wildcards) -> list[str]:
        """Predictions of the members of an ensemble, in the same views."""
        folder = f"results/predictions/{wildcards.dataset}"
        members = self.study.members_of(wildcards.variant)
        return [f"{folder}/{name}/seed={seed}/tta={wildcards.tta}.parquet" for name, seed in members]

    def tested_model(self, wildcards: Wildcards) -> str:
        on = self.study.trained_on(wildcards.variant, wildcards.dataset)
        return _model(on, wildcards.variant, wildcards.seed)

    def tested_counts(self, wildcards: Wildcards) -> str | list[str]:
        """Counts of the arm that the tested model was trained on."""
        arm = self.study.find("variants", wildcards.variant).arm
        on = self.study.trained_on(wildcards.variant, wildcards.dataset)
        return f"results/subsets/{on}/{arm}/seed={wildcards.seed}.counts.json" if arm else []

    def tested_exports(self, wildcards: Wildcards) -> str | list[str]:
        """Index of what is drawn of the tested model; of floors nothing is."""
        variant = self.study.find("variants", wildcards.variant)
        if not is_exported(variant):
            return []
        place = f"{wildcards.dataset}/{wildcards.variant}/seed={wildcards.seed}/tta={wildcards.tta}"
        return f"results/exports/{place}/index.json"

    def tested_shards(self, wildcards: Wildcards) -> str | list[str]:
        """Shards whose samples are predicted, for a task that reads those: its arm's shardset, of the tested dataset.

        ConfigError when no split of the prediction is packed in them, or a view looks with words that they lack.
        """
        variant = self.study.find("variants", wildcards.variant)
        if not TASKS[variant.task].shards or variant.kind == "ensemble":
            return []
        shardset = self._shardset(wildcards.variant)
        if shardset is None:
            raise ConfigError(
                f"variants.{wildcards.variant}: task {variant.task} predicts samples; state the `arm` they are of."
            )
        missing = set(self.study.predict.splits) - set(self.study.shardsets[shardset].splits)
        if missing:
            raise ConfigError(
                f"shardsets.{shardset}.splits: {', '.join(sorted(missing))} of predict.splits is not packed, which task "
                f"{variant.task} of variant {wildcards.variant!r} predicts. Hint: add it to `splits`."
            )
        check_views(self.study, wildcards.variant, wildcards.tta)
        return f"results/shards/{wildcards.dataset}/{shardset}/manifest.json"

    def truths(self, wildcards: Wildcards) -> list[str]:
        """The truth tables that a variant's task is scored with."""
        names = TASKS[self.study.find("variants", wildcards.variant).task].truths
        return [f"results/videos/{wildcards.dataset}/truth/{name}.parquet" for name in names]

    def scoring_code(self, wildcards: Wildcards) -> str:
        """Digest of the code that a variant's task is scored by."""
        return self.code("workflow_scripts/evaluate.py", *TASKS[self.study.find("variants", wildcards.variant).task].code)

    def board_cells(self, wildcards: Wildcards) -> list[str]:
        """All that one board shows: scores, units, model cards, arm counts, the check of the arms; or metrics of tracks."""
        board = self.study.find("boards", wildcards.board)
        if board.kind == "tracks":
            folder = f"results/metrics/{wildcards.dataset}"
            pairs = [(detector, tracker) for detector in board.detectors for tracker in board.trackers]
            return [f"{folder}/{one}/{other}/tracks.{kind}" for one, other in pairs for kind in ("json", "units.parquet")]
        files = [file for variant in board.variants for file in self._row_files(wildcards.dataset, variant, board.tta)]
        return list(dict.fromkeys(files))  # two rows may share an arm

    def board_predictions(self, wildcards: Wildcards) -> list[str]:
        """Windows that the rows of a board predict, seed by seed, in the order of Jobs.lengths."""
        folder = f"results/predictions/{wildcards.dataset}"
        rows = Jobs(self.study).window_rows(wildcards)
        return [f"{folder}/{row['variant']}/seed={seed}/tta={row['tta']}.parquet" for row in rows for seed in row["seeds"]]

    def _row_files(self, dataset: str, variant: str, ttas: Sequence[str]) -> list[str]:
        on, arm = self.study.trained_on(variant, dataset), self.study.variants[variant].arm
        files = []
        for seed in self.study.seeds_of(variant):
            cell = f"results/metrics/{dataset}/{variant}/seed={seed}"
            files += [f"{cell}/tta={tta}.{kind}" for tta in ttas for kind in ("json", "units.parquet")]
            files.append(_model(on, variant, seed))
            if arm:
                files += [f"results/subsets/{on}/{arm}/seed={seed}.counts.json", self._arms_differ(on, arm, seed)]
        return files

    def _trainings(self, wildcards: Wildcards) -> list[tuple[str, str, int]]:
        """(dataset, variant, seed) of what a board of scores trains. ConfigError where that is nothing."""
        board = self.study.find("boards", wildcards.board)
        models = [name for name in board.variants or () if self.study.variants[name].kind == "model"]
        if board.dataset != wildcards.dataset or not models:
            raise ConfigError(
                f"comparisons/{wildcards.dataset}/{wildcards.board}: the board is about {board.dataset!r} and trains "
                f"{len(models)} variants. Hint: a comparison takes a board's own dataset, and trained variants on it."
            )
        pairs = [(self.study.trained_on(name, board.dataset), name) for name in models]
        return [(on, name, seed) for on, name in pairs for seed in self.study.seeds_of(name)]

    def compared_ids(self, wildcards: Wildcards) -> list[str]:
        """Names of the trainings of one board, as registry.json has them."""
        return [f"{on}/{variant}/seed={seed}" for on, variant, seed in self._trainings(wildcards)]

    def compared_files(self, wildcards: Wildcards) -> list[str]:
        """Cards, courses and scores on test of the trainings of one board."""
        files = []
        for on, variant, seed in self._trainings(wildcards):
            card = _model(on, variant, seed)
            scores = f"results/metrics/{wildcards.dataset}/{variant}/seed={seed}/tta=none.json"
            files += [card, card.replace("model.json", "history.csv")]
            files += [scores] if "none" in (self.study.boards[wildcards.board].tta or ()) else []
        return files

    def _arms_differ(self, dataset: str, arm: str, seed: int) -> str:
        """The check that no two arms of a shardset are the same frames: two rows would compare a model with itself."""
        return f"results/subsets/{dataset}/{self.study.arms[arm].shardset}.arms/seed={seed}.json"

    def _shardset(self, variant: str) -> str | None:
        arm = self.study.find("variants", variant).arm
        return self.study.find("arms", arm).shardset if arm else None


def _model(dataset: str, variant: str, seed: int | str) -> str:
    return f"results/train/{dataset}/{variant}/seed={seed}/model.json"
