"""The task grounding from clips to scores: it learns what is planted, goes on after a kill bit for bit, looks in views and
pieces without moving a window, and its floors see nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lib.config.base import ConfigError, identity
from lib.config.predict import PredictSettings, Tta, told_of_windows
from lib.config.train_grounding import GroundingSettings
from lib.files import DataError, write_json
from lib.tables import write_table
from lib.tasks import PredictJob, ScoreJob, Trained, TrainJob, grounding
from tests.lib.tasks.clips import clip, pack, videos

TINY = {"preset": "tiny", "batch": 8, "budget": {"steps": 120, "evaluate_every_steps": 40}}


def clips(**how: Any) -> list[Any]:
    counts = {"train": 32, "val": 6, "test": 12}
    splits = [split for split, count in counts.items() for _ in range(count)]
    return [clip(number, split, **how) for number, split in enumerate(splits)]


class Bench:
    """Training, prediction and scoring of variants on shards of clips."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, samples: list[Any]) -> None:
        self.folder = folder
        monkeypatch.setenv("VIPERSIGHT_RUNNING", '{"device": "cpu", "workers": 0, "loggers": {"tensorboard": false}}')
        self.take(samples)
        self.manifest = videos(samples)
        keys = self.manifest.loc[self.manifest["split"] == "train", ["video"]]
        self.subset = folder / "subset.parquet"
        write_table(self.subset, keys.assign(key=keys["video"], frame=0, reason="clip"), "subset")

    def take(self, samples: list[Any]) -> None:
        """Shards of other clips from here on; the arm stays."""
        self.samples, self.packed = samples, getattr(self, "packed", 0) + 1
        self.shards = pack(samples, self.folder / f"packed-{self.packed}")

    def job(self, name: str = "model", *, kind: str = "model", floor: str | None = None, **training: Any) -> TrainJob:
        values = identity(GroundingSettings.model_validate(TINY | training))
        return TrainJob(
            settings={"task": "grounding", "kind": kind, "floor": floor, "training": values, "members": ["a/seed=0"]},
            seed=0, subset=self.subset, shards=self.shards, weights=None, folder=self.folder / name,
            threads=1, time_budget_s=None, fingerprint=name, on_progress=lambda **facts: None,
        )  # fmt: skip

    def predict(self, trained: Trained, *, members: Any = (), views: Any = ({},), **windows: Any) -> pd.DataFrame:
        told = told_of_windows(PredictSettings.model_validate({"windows": windows}), Tta.model_validate({"views": views}))
        return grounding.predict(
            PredictJob(
                settings={"task": "grounding"} | told, seed=0, manifest=self.manifest, classes=[],
                shards=self.shards, model=trained.weights, card=trained.card, members=tuple(members),
            )
        )  # fmt: skip

    def truth(self) -> pd.DataFrame:
        from lib.tasks.grounding_batches import queries_table

        return queries_table(self.samples)

    def score(self, predictions: pd.DataFrame, *, by: str = "template") -> dict[str, Any]:
        settings = {"splits": ["test"], "evaluate": {"queries_by": by}}
        truth = {"queries": self.truth()}
        job = ScoreJob(settings=settings, manifest=self.manifest, classes=[], truth=truth, predictions=predictions)
        return grounding.score(job).scores


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch, clips())


def weights_of(trained: Trained) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(trained.weights)


@pytest.mark.parametrize("model", ["mvp", "ogsf", "groundnlq"])
def test_every_model_learns_what_is_planted(bench: Bench, model: str) -> None:
    trained = grounding.train(bench.job(model=model, budget={"steps": 240, "evaluate_every_steps": 80}))
    table = bench.predict(trained)
    scores = bench.score(table)
    floor = bench.score(bench.predict(grounding.train(bench.job("floor", kind="floor", floor="prior"))))
    assert scores["metrics"]["R1@0.5"] > 0.45 > floor["metrics"]["R1@0.5"] + 0.2
    assert scores["coverage"] == 1.0 and scores["counts"]["n_truth"] == 36
    assert {"val/loss", "val/R1@0.3", "val/mIoU"} <= set(trained.history.columns)
    assert trained.card["network"]["d_v"] == 12 and trained.card["status"] == "finished"
    assert (table.groupby(["video", "query"]).size() <= 5).all() and (table["end_s"] > table["start_s"]).all()
    per_evidence = bench.score(table, by="evidence")
    assert per_evidence["classes"] == ["video"] and per_evidence["metrics"] == scores["metrics"]


def test_killed_it_goes_on_and_ends_the_same(bench: Bench) -> None:
    whole = grounding.train(bench.job("whole", queries_per_clip=2, dropout=0.1))

    class Killed(Exception):
        pass

    def dies(**facts: Any) -> None:
        if facts["steps"] >= 80:
            raise Killed

    job = replace(bench.job("broken", queries_per_clip=2, dropout=0.1), on_progress=dies)
    with pytest.raises(Killed):
        grounding.train(job)
    again = grounding.train(replace(job, on_progress=lambda **facts: None))
    assert again.card["resumed_from_step"] >= 40
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(again)[name]), name


def test_ogsf_without_objects_is_its_path_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, monkeypatch, clips(objects=True))
    trained = grounding.train(bench.job(model="ogsf", budget={"steps": 20, "evaluate_every_steps": 20}))
    assert trained.card["network"]["use_objects"]
    with_them = bench.predict(trained)
    for sample in bench.samples:
        sample.objects_mask[:] = False
    bench.take(bench.samples)
    masked = bench.predict(trained)
    bench.take([replace(sample, objects=None, objects_mask=None) for sample in bench.samples])
    pd.testing.assert_frame_equal(masked, bench.predict(trained))
    assert not masked.equals(with_them), "objects are looked at where there are any"


def test_views_and_pieces(bench: Bench) -> None:
    trained = grounding.train(bench.job(budget={"steps": 60, "evaluate_every_steps": 60}))
    plain = bench.predict(trained)
    pd.testing.assert_frame_equal(plain, bench.predict(trained, views=[{"every": 1, "phase": 0}]))
    pd.testing.assert_frame_equal(plain, bench.predict(trained, views=[{"slide": 24}]))  # one piece: the clip
    pd.testing.assert_frame_equal(plain, bench.predict(trained, slide=500))
    one, other = [{"every": 2}, {"every": 2, "phase": 1}, {}], [{}, {"every": 2, "phase": 1}, {"every": 2}]
    pd.testing.assert_frame_equal(bench.predict(trained, views=one), bench.predict(trained, views=other))
    pieces = bench.predict(trained, slide=16)
    score = bench.score(pieces)["metrics"]["R1@0.3"]
    assert score > 0.7 * bench.score(plain)["metrics"]["R1@0.3"] and not pieces.equals(plain)
    assert len(bench.predict(trained, keep=1)) == len(bench.truth()[bench.truth()["video"].isin(plain["video"])])


def test_an_ensemble_of_one_is_its_member(bench: Bench) -> None:
    member = grounding.train(bench.job(budget={"steps": 20, "evaluate_every_steps": 20}))
    table = bench.predict(member)
    card = bench.folder / "member.json"
    write_json(card, member.card | {"sha256": "0", "parameters": 7})
    ensemble = grounding.train(replace(bench.job("ensemble", kind="ensemble"), members=(card, card)))
    assert ensemble.card["format"] == "ensemble" and ensemble.card["parameters"] == 14
    pd.testing.assert_frame_equal(bench.predict(ensemble, members=[table]), table)
    pd.testing.assert_frame_equal(bench.predict(ensemble, members=[table, table]), table)
    other = bench.predict(
        grounding.train(bench.job("other", model="ogsf", budget={"steps": 20, "evaluate_every_steps": 20}))
    )
    both = bench.predict(ensemble, members=[table, other])
    pd.testing.assert_frame_equal(both, bench.predict(ensemble, members=[other, table]))
    assert both["rank"].max() == 4 and both["score"].max() <= max(table["score"].max(), other["score"].max())


def test_floors_do_not_look(bench: Bench) -> None:
    for floor in ("prior", "chance", "untrained"):
        fitted = grounding.train(bench.job(floor, kind="floor", floor=floor))
        table = bench.predict(fitted)
        assert bench.score(table)["coverage"] == 1.0 and fitted.card["iterations"] == 0
        if floor != "untrained":
            bench.take([replace(sample, features=0 * sample.features) for sample in bench.samples])
            pd.testing.assert_frame_equal(table, bench.predict(fitted))


def test_untrained_is_what_a_training_starts_from(bench: Bench) -> None:
    fitted = grounding.train(bench.job("untrained", kind="floor", floor="untrained"))
    trained = grounding.train(bench.job(budget={"steps": 1, "evaluate_every_steps": 1}, optimizer={"lr": 1e-9}))
    for name, tensor in weights_of(trained).items():
        torch.testing.assert_close(weights_of(fitted)[name], tensor, rtol=0, atol=1e-7)


def test_what_cannot_be_is_refused(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"38 of 38 .*max_steps = 16 steps.*Hint: max_steps: 24"):
        grounding.train(bench.job(max_steps=16))
    trained = grounding.train(bench.job(budget={"steps": 2, "evaluate_every_steps": 2}))
    bench.take([replace(sample, features=np.pad(sample.features, ((0, 0), (0, 1)))) for sample in bench.samples])
    with pytest.raises(ConfigError, match="video features are 13 wide, the model was trained on 12"):
        bench.predict(trained)
    bare = Bench(tmp_path, monkeypatch, clips(annotated=False))
    with pytest.raises(DataError, match="none of the 18 queries of split val has a window"):
        grounding.train(bare.job("bare"))
    answered = [clip(number, "val") for number in range(90, 93)]
    bare.take([sample for sample in bare.samples if sample.split != "val"] + answered)
    with pytest.raises(DataError, match="none of the 96 queries of the arm's 32 clips has a window to learn"):
        grounding.train(bare.job("learner"))
    predictions = bare.predict(grounding.train(bare.job("prior", kind="floor", floor="prior")))
    with pytest.raises(DataError, match=r"unannotated split .package its predictions as a submission"):
        bare.score(predictions)
    with pytest.raises(DataError, match="no training query has a window"):
        grounding.train(bare.job("chance", kind="floor", floor="chance"))
    bare.take([sample for sample in bare.samples if sample.split != "test"])
    with pytest.raises(ConfigError, match="no sample of splits"):
        bare.predict(trained)


def test_a_video_without_features_is_told_and_counted(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    fitted = grounding.train(bench.job("prior", kind="floor", floor="prior"))
    truth = bench.truth()
    *kept, gone = bench.samples
    bench.take(kept)
    bench.truth = lambda: truth  # type: ignore[method-assign]
    scores = bench.score(bench.predict(fitted))
    said = capsys.readouterr().err
    assert f"1 of 12 videos have no clip in {bench.shards}, so that their queries get no window: " in said
    assert said.rstrip().endswith(gone.video)
    assert scores["counts"]["n_without_windows"] == 3 and scores["coverage"] == pytest.approx(33 / 36)


def test_annotated_and_bare_queries_of_one_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One query of each clip is annotated, and none of the first: no step of one drawn query is without a target."""
    samples = clips()
    for sample in samples[:32]:
        for query in sample.queries[sample is not samples[0] :]:
            query["windows"] = []
    bench = Bench(tmp_path, monkeypatch, samples)
    trained = grounding.train(bench.job(budget={"steps": 40, "evaluate_every_steps": 40}, batch=1, queries_per_clip=1))
    assert "1 of 32 clips have no annotated query: left out" in capsys.readouterr().err
    assert np.isfinite(trained.history["train/loss"].dropna().astype(float)).all()
