"""Runs side by side: order, seeds, what is not ranked, the table, the pictures. Reference: worked out by hand, and the
drawn figure itself.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Sequence
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import made
import pytest

from lib.registry.entry import OURS, REGISTRY, Entry
from lib.reporting import comparison_bars, comparison_curves, style
from lib.reporting.comparison import Comparison, compared, notes, rows, too_few_rates, write_leaderboard
from lib.reporting.comparison_text import comparison_text
from lib.reporting.published import FAMILIES, SIZES, family_of, published

SETTINGS = {"lr": 1e-4, "lr_scheduler": "step", "batch": 4, "accumulate": 4}


def entry(name: str, masks: float | None, boxes: float | None = None, *, seed: int = 0, **more: Any) -> Entry:
    """A completed run with these scores of masks and boxes."""
    best = {"mask_mAP": masks, "box_mAP": boxes, "epoch": 3, "source": "ema"}
    facts: dict[str, Any] = {"id": f"site/{name}/seed={seed}", "name": name, "seed": seed, "status": "completed"}
    facts |= {"model": "rfdetr-seg-nano", "size": "nano", "task": "segmentation", "dataset": "site", "batch": 16}
    facts |= {"best": {key: value for key, value in best.items() if value is not None}, "hyperparameters": SETTINGS}
    return Entry(**facts | more)


def with_courses(entries: Sequence[Entry], folder: Path, epochs: int = 6) -> Comparison:
    """The same with a history.csv each, which rises to the best score at epoch 3."""
    draw, placed = random.Random(0), []
    for number, one in enumerate(entries):
        place = folder / f"{number}"
        place.mkdir()
        top = one.score or 0.1
        lines = ["epoch,train/loss,val/AP,val/box_AP"]
        for epoch in range(1, epochs + 1):
            now = top * min(1.0, epoch / 3) - (0.01 * draw.random() if epoch != 3 else 0)
            lines.append(f"{epoch},{5 - 3 * now:.4f},{now:.4f},{1.2 * now:.4f}")
        (place / "history.csv").write_text("\n".join(lines) + "\n")
        placed.append(Entry.of(one.plain() | {"output": str(place)}))
    return compared(placed)


def text_of(comparison: Comparison) -> str:
    from rich.console import Console

    console = Console(width=240)
    with console.capture() as caught:
        console.print(comparison_text(comparison), soft_wrap=True)
    return caught.get()


def test_order_is_masks_then_boxes_then_the_earlier_run() -> None:
    found = compared(
        [
            entry("boxes_only", None, 0.9),
            entry("late", 0.3, 0.4, started="2026-11-02T00:00:00"),
            entry("early", 0.3, 0.4, started="2026-11-01T00:00:00"),
            entry("better_boxes", 0.3, 0.5, started="2026-11-03T00:00:00"),
            entry("best", 0.4, 0.1),
        ]
    )
    assert [run.entry.name for run in found.ranked] == ["best", "better_boxes", "early", "late", "boxes_only"]
    assert [row["rank"] for row in rows(found)] == [1, 2, 3, 4, 5]


def test_what_has_not_ended_well_stands_below_with_its_reason() -> None:
    found = compared(
        [
            entry("alive", 0.8, status="running"),
            entry("gone", None, status="failed", why="CUDA out of memory"),
            entry("spoilt", 0.7, status="diverged", why="diverged at step 61"),
            entry("done", 0.2),
            entry("silent", None),
            entry("other", None, task="grounding"),
            entry("floor", 0.9, kind="prior"),
        ]
    )
    assert [run.entry.name for run in found.ranked] == ["done"]
    assert [run.entry.name for run in found.runs] == ["done", "alive", "spoilt", "gone", "other", "silent"]
    why = {run.entry.name: run.why for run in found.runs}
    assert why["alive"].startswith("running") and "CUDA out of memory" in why["gone"] and "diverged" in why["spoilt"]
    assert "no score on val" in why["silent"] and "task grounding has no mAP" in why["other"]
    told = text_of(found)
    assert "site/alive/seed=0: running (best so far 0.800)" in told and "site/gone/seed=0: failed; CUDA out" in told


def test_seeds_are_one_group_with_mean_and_deviation() -> None:
    seeds = [entry("a", value, 2 * value, seed=seed) for seed, value in enumerate((0.2, 0.3, 0.4))]
    found = compared([*seeds, entry("b", 0.35, 0.5), entry("c", 0.1, hyperparameters=SETTINGS | {"lr": 2e-4})])
    assert [(group.label, len(group.runs)) for group in found.groups] == [("b", 1), ("a", 3), ("c", 1)]
    group = found.groups[1]
    assert group.mean("mask_mAP") == pytest.approx(0.3) and group.deviation("mask_mAP") == pytest.approx(0.1)
    assert found.groups[0].deviation("mask_mAP") is None and group.mean("mask_mAP50") is None
    table = {row["id"]: row for row in rows(found)}
    assert table["site/a/seed=0"]["mask_mAP_mean"] == pytest.approx(0.3) and table["site/a/seed=0"]["runs_alike"] == 3
    assert "0.300 ± 0.100" in text_of(found) and any(line.startswith("±") for line in notes(found))


def test_runs_of_another_tool_are_alike_by_their_settings_whatever_their_name() -> None:
    told = {"origin": REGISTRY, "hyperparameters": SETTINGS}
    runs = [
        entry(f"r{seed}", 0.3, hyperparameters=SETTINGS | {"seed": seed}, origin=REGISTRY, seed=seed) for seed in (1, 2)
    ]
    found = compared([*runs, entry("r3", 0.2, **told | {"dataset": "other"}), entry("r4", 0.1, hyperparameters={})])
    assert [group.label for group in found.groups] == ["r1 and 1 alike", "r3", "r4"]


def test_two_groups_of_one_name_have_different_labels() -> None:
    found = compared([entry("a", 0.3), entry("a", 0.2, id="away/a/seed=0", dataset="away")])
    assert [group.label for group in found.groups] == ["site/a", "away/a"]
    assert any("2 sets of data" in line for line in notes(found))


def test_the_table_holds_every_run_and_no_formula(tmp_path: Path) -> None:
    found = compared([entry("a", 0.31234567, 0.4, description="=cmd()", wall_s=90.0), entry("b", None, status="failed")])
    write_leaderboard(found, tmp_path / "leaderboard.csv")
    with open(tmp_path / "leaderboard.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["rank"], first["mask_mAP"], first["lr"], first["batch"]) == ("1", "0.312346", "0.0001", "16")
    assert (first["description"], first["wall_s"]) == ("'=cmd()", "90.0")
    assert (second["rank"], second["status"], second["mask_mAP"]) == ("", "failed", "")
    write_leaderboard(compared([]), tmp_path / "empty.csv")
    assert (tmp_path / "empty.csv").read_text().startswith("rank,id,name,") and text_of(compared([])) == "No run is here.\n"


def test_three_learning_rates_are_needed_for_their_picture() -> None:
    runs = [entry(f"r{rate}", 0.3, hyperparameters={"lr": rate}) for rate in (1e-4, 1e-4, 5e-5, 2e-4)]
    assert too_few_rates(compared(runs)) is None
    assert too_few_rates(compared(runs[:3])) == "the ranked runs have fewer than 3 learning rates (5e-05, 0.0001)"
    assert "(none)" in str(too_few_rates(compared([])))


def draw_all(found: Comparison, folder: Path) -> list[Path]:
    makers = {
        "curves": comparison_curves.curves_figure,
        "rates": comparison_curves.rates_figure,
        "bars": comparison_bars.bars_figure,
        "sizes": comparison_bars.sizes_figure,
    }
    folder.mkdir(exist_ok=True)
    for name, make in makers.items():
        make(found, folder / f"{name}.png", dpi=60)
    return sorted(folder.iterdir())


def many() -> list[Entry]:
    runs = [entry("nano_baseline", 0.3 + 0.01 * seed, 0.4, seed=seed) for seed in range(3)]
    models = {"small": 1e-4, "medium": 5e-5, "large": 3e-4}
    for number, (model, rate) in enumerate(models.items()):
        settings = SETTINGS | {"lr": rate, "lr_scheduler": "cosine"}
        runs.append(entry(f"{model}_{'long_' * number}x", 0.2, 0.3, model=f"rfdetr-seg-{model}", hyperparameters=settings))
    return [*runs, entry("boxes", None, 0.5, model="rfdetr-nano", task="detection"), entry("half", 0.1, status="failed")]


def test_pictures_are_the_same_bytes_for_the_same_runs(tmp_path: Path) -> None:
    found = with_courses(many(), tmp_path)
    first, second = draw_all(found, tmp_path / "one"), draw_all(found, tmp_path / "two")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("count", [0, 1])
def test_pictures_of_next_to_nothing(tmp_path: Path, count: int) -> None:
    draw_all(compared([entry("a", 0.3, hyperparameters={})][:count]), tmp_path / "drawn")
    draw_all(compared([entry("a", None, status="failed")]), tmp_path / "failed")


def test_curves_show_seeds_their_mean_and_the_kept_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = made.captured(monkeypatch)
    comparison_curves.curves_figure(with_courses(many()[:4], tmp_path), tmp_path / "curves.png", dpi=60)
    loss, masks, boxes = figures[0].axes
    titles = [ax.get_title(loc="left") for ax in (loss, masks, boxes)]
    assert titles == ["loss of training", "mAP of masks, val", "mAP of boxes, val"]
    drawn = [line for line in masks.lines if len(line.get_xdata()) == 6]
    assert len(drawn) == 3 + 1 + 1, "three seeds, their mean, the other run"
    strong = max(drawn, key=lambda line: line.get_linewidth())
    assert strong.get_ydata()[2] == pytest.approx(0.31, abs=1e-4), "the mean of 0.30, 0.31, 0.32"
    dots = [(line.get_xdata()[0], line.get_ydata()[0]) for line in masks.lines if line.get_marker() == "o"]
    assert {x for x, _ in dots} == {3} and sorted(y for _, y in dots) == pytest.approx([0.2, 0.3, 0.31, 0.32])


def test_an_epoch_that_is_no_number_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r").mkdir()
    lines = ["epoch,train/loss,val/AP", "1,5,0.1", "2,nan,nan", "3,4,0.2"]
    (tmp_path / "r/history.csv").write_text("\n".join(lines) + "\n")
    found = compared([entry("a", 0.2, output=str(tmp_path / "r"))])
    assert found.runs[0].why == "a value of epoch 2 is no number"
    figures = made.captured(monkeypatch)
    comparison_curves.curves_figure(found, tmp_path / "curves.png", dpi=60)
    values = next(line.get_ydata() for line in figures[0].axes[1].lines if len(line.get_xdata()) == 3)
    assert [value if math.isfinite(value) else None for value in values] == [0.1, None, 0.2]


def test_many_long_names_do_not_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"nano-baseline--lr-5e-{number}--a-name-that-goes-on-for-long" for number in range(34)]
    found = compared([entry(name, 0.5 - 0.01 * number, 0.4) for number, name in enumerate(names)])
    figures = made.captured(monkeypatch)
    comparison_bars.bars_figure(found, tmp_path / "bars.png", dpi=60)
    labels = figures[0].axes[0].get_yticklabels()
    boxes = [label.get_window_extent() for label in labels]
    assert len(labels) == 30 and min(box.x0 for box in boxes) >= 0
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))
    assert "the best 30 of 34" in figures[0].get_suptitle()


def test_sizes_stand_beside_what_was_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = made.captured(monkeypatch)
    comparison_bars.sizes_figure(compared(many()), tmp_path / "sizes.png", dpi=60)
    masks, boxes = figures[0].axes
    titles = [ax.get_title(loc="left") for ax in (masks, boxes)]
    assert titles == ["rfdetr-seg: mAP of masks", "rfdetr: mAP of boxes"]
    told = [text.get_text() for text in masks.texts]
    assert {"0.310", "0.403", "0.431", "0.499"} <= set(told) and told.count("no run") == 2
    labels = masks.get_xticklabels()
    assert labels[0].get_text().split("\n") == ["nano", "nano_baseline", "3 seeds"]
    extents = [label.get_window_extent() for label in labels]
    assert all(left.x1 <= right.x0 for left, right in pairwise(extents))


def test_learning_rates_close_to_each_other_are_told_by_ticks_with_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = (1e-4, 1.01e-4, 1.5e-4, 1e-3, 3e-5)
    runs = [entry(f"r{rate}", 0.3, hyperparameters={"lr": rate}) for rate in rates]
    figures = made.captured(monkeypatch)
    comparison_curves.rates_figure(compared(runs), tmp_path / "rates.png", dpi=60)
    labels = [label for label in figures[0].axes[0].get_xticklabels() if label.get_text()]
    assert [label.get_text() for label in labels] == ["3e-5", "1e-4", "1.5e-4", "1e-3"]
    extents = [label.get_window_extent() for label in labels]
    assert all(left.x1 <= right.x0 for left, right in pairwise(extents))


@pytest.mark.parametrize(
    ("model", "place"),
    [
        ("rfdetr-seg-2xlarge", ("rfdetr-seg", "2xlarge")),
        ("rfdetr-base", ("rfdetr", "base")),
        ("yolo11x", ("yolo11", "xlarge")),
        ("yolo26n", ("yolo26", "nano")),
        ("yolo11", None),
        ("recurrent", None),
    ],
)
def test_families_and_sizes_by_a_models_title(model: str, place: tuple[str, str] | None) -> None:
    assert family_of(model) == place


def test_published_figures_are_those_of_the_installed_package() -> None:
    try:
        page = metadata.metadata("rfdetr").get_payload()
    except metadata.PackageNotFoundError:
        pytest.skip("rfdetr is not installed")
    marks = dict(zip(SIZES, ("N", "S", "M", "L", "XL", "2XL"), strict=True))
    heads = {"rfdetr-seg": "RF-DETR-Seg-", "rfdetr": "RF-DETR-", "yolo11": "YOLO11-", "yolo26": "YOLO26-"}
    table = {}
    for line in str(page).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) > 3 and cells[0].split(" ")[0] not in table:
            table[cells[0].split(" ")[0]] = cells[2]
    seen = 0
    for family in FAMILIES:
        for size, value in published(family).items():
            mark = "X" if family.startswith("yolo") and size == "xlarge" else marks[size]
            assert float(table[heads[family] + mark]) / 100 == pytest.approx(value), (family, size)
            seen += 1
    assert seen == 22 and OURS not in FAMILIES and style.LINES
