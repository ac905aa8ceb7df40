"""Which files a study is made of: what `rule all` and the named targets ask for. Not here: how any of them is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lib.config.base import ConfigError, nearest
from lib.config.leaderboard import Board
from lib.config.study import Study
from lib.config.tasks import DRAWN, TASKS, WINDOWS
from lib.config.track import is_floor
from lib.config.variants import Variant

KINDS = (
    *("videos", "tracks", "shards", "arms", "models", "metrics", "leaderboards", "figures", "exports", "summaries"),
    "submissions",
)
LEAST_RATES = 3
"""Learning rates that a picture of scores against them needs."""


@dataclass(frozen=True)
class Chosen:
    """What `only=` chooses: boards that are made, and rows (board, variant) whose own files are made."""

    boards: frozenset[str]
    rows: frozenset[tuple[str, str]]


def choose(study: Study, only: str | None) -> Chosen:
    """What of a study is made: all of it, or what the patterns of `only` match among its boards and the rows of these.

    only: names or glob patterns, comma-separated; `!pattern` leaves out again, and patterns of that kind alone leave out of
    everything. A board's name chooses all its rows. A board itself is made when all its rows are chosen: with fewer it
    would take the place of the whole one. Raises ConfigError for a pattern that matches nothing, with the known names.
    """
    every = [(name, row) for name, board in study.score_boards.items() for row in board.variants]
    known = {row for _, row in every} | set(study.boards)
    wanted, refused = (known, set()) if only is None else _matched(only, known)
    rows = {(board, row) for board, row in every if not {board, row} & refused and {board, row} & wanted}
    boards = {name for name in study.track_boards if name in wanted - refused}
    boards |= {name for name, board in study.score_boards.items() if all((name, row) in rows for row in board.variants)}
    if only is not None and not rows and not boards:
        raise ConfigError(f"only: {only!r} leaves nothing. Known: {', '.join(sorted(known))}.")
    return Chosen(frozenset(boards), frozenset(rows))


def _matched(only: str, known: set[str]) -> tuple[set[str], set[str]]:
    """Of the known names those that patterns choose, and those that `!` patterns leave out."""
    patterns = [one.strip() for one in only.split(",") if one.strip()]
    if not patterns:
        raise ConfigError("only: is empty. Hint: only='person-*', or leave only= out.")
    found: dict[bool, set[str]] = {False: set(), True: set()}
    for pattern in patterns:
        names = {name for name in known if fnmatchcase(name, pattern.removeprefix("!"))}
        if not names:
            raise ConfigError(
                f"only: {pattern!r} matches no board and no variant on a board. {nearest(pattern.strip('!*'), known)} "
                "What no board lists is asked for by its file."
            )
        found[pattern.startswith("!")] |= names
    return found[False] if any(not one.startswith("!") for one in patterns) else known, found[True]


def study_targets(study: Study, kind: str, chosen: Chosen | None = None) -> list[str]:
    """The files of one of KINDS, each once, in the order of the study's boards; of what is chosen, or of all."""
    makers = {
        "videos": _videos,
        "tracks": _tracks,
        "shards": _shards,
        "arms": _arms,
        "models": _models,
        "metrics": _metrics,
        "leaderboards": _leaderboards,
        "figures": _figures,
        "exports": _exports,
        "summaries": _summaries,
        "submissions": _submissions,
    }
    return list(dict.fromkeys(makers[kind](study, chosen or choose(study, None))))


def _cells(study: Study, chosen: Chosen) -> Iterator[tuple[str, str, int, str]]:
    """Every (dataset, variant, seed, tta) that a score board of the study lists, as far as it is chosen."""
    for name, board in study.score_boards.items():
        for variant in [row for row in board.variants if (name, row) in chosen.rows]:
            for seed in study.seeds_of(variant):
                for tta in board.tta:
                    yield board.dataset, variant, seed, tta


def _track_cells(study: Study, chosen: Chosen) -> Iterator[tuple[str, str, str]]:
    for name, board in study.track_boards.items():
        if name in chosen.boards:
            for detector in board.detectors:
                for tracker in board.trackers:
                    yield board.dataset, detector, tracker


def _videos(study: Study, chosen: Chosen) -> Iterator[str]:
    for name, board in study.boards.items():
        if name in chosen.boards or any((name, variant) in chosen.rows for variant in board.variants or ()):
            yield f"results/videos/{board.dataset}/manifest.parquet"


def _tracks(study: Study, chosen: Chosen) -> Iterator[str]:
    for dataset, detector, tracker in _track_cells(study, chosen):
        for chunk in range(study.datasets[dataset].chunks):
            yield f"results/tracks/{dataset}/{detector}/{tracker}/chunk={chunk}.parquet"


def _shards(study: Study, chosen: Chosen) -> Iterator[str]:
    for dataset, variant, _seed, _tta in _cells(study, chosen):
        arm = study.variants[variant].arm
        if arm:
            on = study.trained_on(variant, dataset)
            yield f"results/shards/{on}/{study.arms[arm].shardset}/manifest.json"


def _arms(study: Study, chosen: Chosen) -> Iterator[str]:
    """The checks that no two arms are the same frames."""
    for dataset, variant, seed, _tta in _cells(study, chosen):
        arm = study.variants[variant].arm
        if arm:
            yield f"results/subsets/{study.trained_on(variant, dataset)}/{study.arms[arm].shardset}.arms/seed={seed}.json"


def _models(study: Study, chosen: Chosen) -> Iterator[str]:
    for dataset, variant, seed, _tta in _cells(study, chosen):
        yield f"results/train/{study.trained_on(variant, dataset)}/{variant}/seed={seed}/model.json"


def _metrics(study: Study, chosen: Chosen) -> Iterator[str]:
    for dataset, variant, seed, tta in _cells(study, chosen):
        yield f"results/metrics/{dataset}/{variant}/seed={seed}/tta={tta}.json"
    for dataset, detector, tracker in _track_cells(study, chosen):
        yield f"results/metrics/{dataset}/{detector}/{tracker}/tracks.json"


def _leaderboards(study: Study, chosen: Chosen) -> Iterator[str]:
    for name, board in study.boards.items():
        if name in chosen.boards:
            yield from board_files(name, board)


def board_files(name: str, board: Board) -> list[str]:
    """The four forms of one board."""
    return [f"results/leaderboards/{board.dataset}/{name}.{suffix}" for suffix in ("csv", "md", "png", "html")]


def _figures(study: Study, chosen: Chosen) -> Iterator[str]:
    for dataset, variant, seed, tta in _cells(study, chosen):
        entry = study.variants[variant]
        if entry.kind == "model":
            on, arm = study.trained_on(variant, dataset), study.arms[entry.arm]
            yield f"results/figures/{on}/{variant}/seed={seed}/curves.png"
            yield f"results/figures/{on}/{arm.shardset}.arms/seed={seed}.png"
        if entry.kind == "model" and TASKS[entry.task].predictions == WINDOWS:
            yield f"results/figures/{dataset}/{variant}/seed={seed}/tta={tta}.windows.png"
    for name, board in study.score_boards.items():
        if TASKS[study.task_of(board)].predictions == WINDOWS and name in chosen.boards:
            yield f"results/figures/{board.dataset}/{name}.lengths.png"
        if board.compare and name in chosen.boards:
            yield from comparison_files(study, name, board)


def comparison_files(study: Study, name: str, board: Board) -> list[str]:
    """The table and the pictures of a board's trainings; that of learning rates where it has three."""
    trained = [variant for variant in board.variants or () if study.variants[variant].kind == "model"]
    rates = {study.training_of(variant).learning_rate for variant in trained} - {None}
    files = ["leaderboard.csv", "training_curves.png", "metrics_bar_comparison.png", "model_size_comparison.png"]
    files += ["hp_lr_scatter.png"] if len(rates) >= LEAST_RATES else []
    return [f"results/comparisons/{board.dataset}/{name}/{file}" for file in files] if trained else []


def is_exported(variant: Variant) -> bool:
    """Whether what it predicts is drawn and written for people: boxes and masks, of what has looked at the pixels."""
    return variant.kind != "floor" and TASKS[variant.task].predictions in DRAWN


def _summaries(study: Study, chosen: Chosen) -> Iterator[str]:
    for dataset, variant, seed, tta in _cells(study, chosen):
        yield f"results/summaries/{dataset}/{variant}/seed={seed}/tta={tta}/summary.json"


def _submissions(study: Study, chosen: Chosen) -> Iterator[str]:
    """Of each row that has learnt something about a challenge's dataset."""
    for dataset, variant, seed, tta in _cells(study, chosen):
        entry, source = study.variants[variant], study.datasets[dataset].source
        if source.format == "ego4d_nlq" and TASKS[entry.task].predictions == WINDOWS and entry.kind != "floor":
            yield f"results/submissions/{dataset}/{variant}/seed={seed}/tta={tta}.json"


def _exports(study: Study, chosen: Chosen) -> Iterator[str]:
    for dataset, variant, seed, tta in _cells(study, chosen):
        if is_exported(study.variants[variant]):
            yield f"results/exports/{dataset}/{variant}/seed={seed}/tta={tta}/index.json"
    for dataset, detector, tracker in _track_cells(study, chosen):
        if not is_floor(study.trackers[tracker]):
            yield f"results/exports/{dataset}/{detector}/{tracker}/index.json"
