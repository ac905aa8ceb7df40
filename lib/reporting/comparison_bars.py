"""Pictures of compared runs as bars: final scores side by side, and the best of each model size beside what was published.

Not here: courses and learning rates (comparison_curves.py), the published figures (published.py).
"""

from __future__ import annotations

import re
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lib.registry.entry import SCORES
from lib.reporting.comparison import Comparison, Group
from lib.reporting.published import FAMILIES, SIZES, SOURCE, family_of, published
from lib.reporting.style import COLOURS, DARK, LEAST, MUTED, figure, wrapped

MOST_ROWS, LABEL_WIDTH = 30, 30  # groups, characters
TITLES = dict(zip(SCORES, ("masks: mAP", "masks: mAP50", "boxes: mAP", "boxes: mAP50"), strict=True))
_OF_MASKS, _OF_BOXES, _PUBLISHED = COLOURS["model"], COLOURS["tracker"], "#c9c9c9"


def bars_figure(comparison: Comparison, output: Path, *, dpi: int) -> None:
    """The scores of every group on val side by side, best on top; of several seeds mean, deviation and each seed's dot."""
    groups = comparison.groups[:MOST_ROWS]
    shown = [name for name in SCORES if any(group.values(name) for group in groups)] or ["box_mAP"]
    labels = [wrapped(group.label, LABEL_WIDTH) for group in groups]
    lines = sum(max(1.0, 0.62 * (1 + label.count("\n"))) for label in labels)
    left = 0.075 * max((len(line) for label in labels for line in label.split("\n")), default=0)
    with figure(output, width=0.5 + left + 1.75 * len(shown), height=1.1 + 0.32 * max(lines, 2), dpi=dpi) as drawn:
        axes = list(drawn.subplots(1, len(shown), sharey=True, sharex=True, squeeze=False)[0])
        high = max((value for group in groups for name in shown for value in group.values(name)), default=0.0)
        for ax, name in zip(axes, shown, strict=True):
            for place, group in enumerate(groups):
                _bar(ax, group, name, place)
            ax.set_title(TITLES[name])
            ax.grid(axis="y", visible=False)
            ax.tick_params(axis="y", length=0)
            ax.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
            ax.set_xlim(0, 1.34 * max(high, LEAST))  # room for the figure behind the longest bar
        axes[0].set_yticks(range(len(groups)), labels)
        axes[0].set_ylim(len(groups) - 0.4, -0.6)
        more = len(comparison.groups) - len(groups)
        title = "Best on val" + (f" (the best {MOST_ROWS} of {len(comparison.groups)})" if more > 0 else "")
        drawn.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        if any(len(group.runs) > 1 for group in groups):
            seeds = Line2D([], [], color=DARK, marker="o", markersize=1.8, linestyle="none", label="one seed")
            look = {"marker": "|", "markersize": 5, "linewidth": 1.1}
            spread = Line2D([], [], color=DARK, label="± standard deviation over seeds", **look)
            drawn.legend(handles=[seeds, spread], loc="outside lower left", ncols=2, frameon=False)
        elif not groups:
            _nothing(axes[0])


def _bar(ax: Axes, group: Group, name: str, place: int) -> None:
    mean, deviation = group.mean(name), group.deviation(name)
    if mean is None:
        ax.text(0, place, " n/a", va="center", color=MUTED)
        return
    ax.barh(place, mean, height=0.6, color=_OF_MASKS if name.startswith("mask") else _OF_BOXES)
    end = mean
    if deviation is not None:
        ends = [max(0.0, mean - deviation), mean + deviation]
        ax.plot(ends, [place] * 2, "|-", color=DARK, linewidth=1.1, markersize=5, zorder=3)
        ax.plot(group.values(name), [place + 0.22] * len(group.values(name)), "o", color=DARK, markersize=1.8, zorder=4)
        end = max(mean + deviation, *group.values(name))
    ax.text(end, place, f" {mean:.3f}", va="center", color=DARK)


def sizes_figure(comparison: Comparison, output: Path, *, dpi: int) -> None:
    """Per model family and size the best group, and beside it the published figure, which is of other data.

    Families are those of the ranked runs; sizes that nobody trained show what was published alone.
    """
    found = _best_of_sizes(comparison)
    families = [name for name in FAMILIES if any(family == name for family, _ in found)]
    with figure(output, width=7.2, height=0.4 + 2.7 * max(len(families), 1), dpi=dpi) as drawn:
        axes = list(drawn.subplots(max(len(families), 1), 1, squeeze=False)[:, 0])
        for ax, family in zip(axes, families, strict=False):
            _family(ax, family, {size: group for (one, size), group in found.items() if one == family})
        if not families:
            _nothing(axes[0])
            return
        entries = [Patch(facecolor=_OF_MASKS, label="best of these runs, on val")]
        entries += [Patch(facecolor=_PUBLISHED, label=f"published: {SOURCE}")]
        drawn.legend(handles=entries, loc="outside lower left", ncols=2, frameon=False)


def _best_of_sizes(comparison: Comparison) -> dict[tuple[str, str], Group]:
    """(family, size) → the group with the highest mean of what was published for the family."""
    found: dict[tuple[str, str], Group] = {}
    for group in comparison.groups:
        place = family_of(group.runs[0].entry.model or "")
        if place is None:
            continue
        name = FAMILIES[place[0]]
        mean = group.mean(name)
        if mean is not None and (place not in found or mean > (found[place].mean(name) or 0.0)):
            found[place] = group
    return found


def _family(ax: Axes, family: str, groups: dict[str, Group]) -> None:
    name, theirs = FAMILIES[family], published(family)
    sizes = [size for size in (*SIZES, "base") if size in theirs or size in groups]
    for place, size in enumerate(sizes):
        if size in groups:
            _ours(ax, groups[size], name, place)
        else:
            ax.text(place - 0.2, 0.012, "no run", rotation=90, ha="center", va="bottom", color=MUTED, style="italic")
        if size in theirs:
            ax.bar(place + 0.2, theirs[size], width=0.36, color=_PUBLISHED)
            ax.text(place + 0.2, theirs[size], f"{theirs[size]:.3f}", ha="center", va="bottom", color=MUTED, fontsize=7)
    own = [(group.mean(name) or 0.0) + (group.deviation(name) or 0.0) for group in groups.values()]
    ax.set_ylim(0, 1.12 * max(*own, *theirs.values(), 0.1))
    ax.set_xticks(range(len(sizes)), [_tick(size, groups.get(size)) for size in sizes], fontsize=7.5)
    ax.set_xlim(-0.6, len(sizes) - 0.4)
    ax.grid(axis="x", visible=False)
    ax.set_title(f"{family}: mAP of {'masks' if name == 'mask_mAP' else 'boxes'}")


def _ours(ax: Axes, group: Group, name: str, place: int) -> None:
    mean, deviation = group.mean(name) or 0.0, group.deviation(name)
    ax.bar(place - 0.2, mean, width=0.36, color=_OF_MASKS)
    if deviation is not None:
        ax.plot([place - 0.2] * 2, [max(0.0, mean - deviation), mean + deviation], color=DARK, linewidth=1.1)
    ax.text(place - 0.2, mean + (deviation or 0.0), f"{mean:.3f}", ha="center", va="bottom", color=DARK, fontsize=7)


def _tick(size: str, group: Group | None) -> str:
    if group is None:
        return size
    seeds = f"\n{len(group.runs)} seeds" if len(group.runs) > 1 else ""
    return f"{size}\n{_folded(group.label, 16)}{seeds}"


def _folded(name: str, width: int) -> str:
    """A name over several lines, broken behind `_`, `-`, `/`, `=`."""
    lines = [""]
    for part in re.findall(r"[^_/=-]*[_/=-]?", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _nothing(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    text = "no ranked run of a model whose sizes are known"
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=MUTED, style="italic")
