"""Which files a study is made of: what `rule all` and the named targets ask for. Not here: how any of them is made."""

from __future__ import annotations

from collections.abc import Iterator

from lib.config.leaderboard import Board
from lib.config.study import Study

KINDS = ("videos", "tracks", "shards", "models", "leaderboards", "figures", "exports")


def study_targets(study: Study, kind: str) -> list[str]:
    """The files of one of KINDS, each once, in the order of the study's boards."""
    makers = {
        "videos": _videos,
        "tracks": _tracks,
        "shards": _shards,
        "models": _models,
        "leaderboards": _leaderboards,
        "figures": _figures,
        "exports": _exports,
    }
    return list(dict.fromkeys(makers[kind](study)))


def cells(study: Study) -> Iterator[tuple[str, str, int, str]]:
    """Every (dataset, variant, seed, tta) that a score board of the study lists."""
    for board in study.score_boards.values():
        for variant in board.variants:
            for seed in study.seeds_of(variant):
                for tta in board.tta:
                    yield board.dataset, variant, seed, tta


def _track_cells(study: Study) -> Iterator[tuple[str, str, str]]:
    for board in study.track_boards.values():
        for detector in board.detectors:
            for tracker in board.trackers:
                yield board.dataset, detector, tracker


def _videos(study: Study) -> Iterator[str]:
    for board in study.boards.values():
        yield f"results/videos/{board.dataset}/manifest.parquet"


def _tracks(study: Study) -> Iterator[str]:
    for dataset, detector, tracker in _track_cells(study):
        for chunk in range(study.datasets[dataset].chunks):
            yield f"results/tracks/{dataset}/{detector}/{tracker}/chunk={chunk}.parquet"


def _shards(study: Study) -> Iterator[str]:
    for dataset, variant, _seed, _tta in cells(study):
        arm = study.variants[variant].arm
        if arm:
            on = study.trained_on(variant, dataset)
            yield f"results/shards/{on}/{study.arms[arm].shardset}/manifest.json"


def _models(study: Study) -> Iterator[str]:
    for dataset, variant, seed, _tta in cells(study):
        yield f"results/train/{study.trained_on(variant, dataset)}/{variant}/seed={seed}/model.json"


def _leaderboards(study: Study) -> Iterator[str]:
    for name, board in study.boards.items():
        yield from board_files(name, board)


def board_files(name: str, board: Board) -> list[str]:
    """The four forms of one board."""
    return [f"results/leaderboards/{board.dataset}/{name}.{suffix}" for suffix in ("csv", "md", "png", "html")]


def _figures(study: Study) -> Iterator[str]:
    for dataset, variant, seed, _tta in cells(study):
        entry = study.variants[variant]
        if entry.kind == "model":
            on, arm = study.trained_on(variant, dataset), study.arms[entry.arm]
            yield f"results/figures/{on}/{variant}/seed={seed}/curves.png"
            yield f"results/figures/{on}/{arm.shardset}.arms/seed={seed}.png"


def _exports(study: Study) -> Iterator[str]:
    for dataset, variant, seed, tta in cells(study):
        if study.variants[variant].kind != "floor":
            yield f"results/exports/{dataset}/{variant}/seed={seed}/tta={tta}/index.json"
    for dataset, detector, tracker in _track_cells(study):
        yield f"results/exports/{dataset}/{detector}/{tracker}/index.json"
