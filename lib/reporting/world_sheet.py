"""Contact sheets of the synthetic world: a picture that tells what happens in some videos of a split. Not here: the world.

A row per video: frames with boxes, then events and queries over time above the sound, beside them captions and questions
with their answers. Everything is placed in inches and every text is measured before it is set, so that nothing overlaps
and no word is cut, however much happens in a video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lib.reporting import style

COLOURS = {
    "person": style.LINES[0],
    "crane hook": "#c25e00",
    "vehicle": "#00785a",
    "load": "#86489a",
    "sound": "#4f6377",
    "query": "#b0405f",
}
"""Class of what acts -> its colour, in frames and on the time line alike."""
_WIDTH, _MARGIN, _GAP, _DPI = 17.0, 0.4, 0.12, 110  # inches, px per inch
_TIMES_W, _LABELS_W = 9.1, 1.65  # inches: the time line with its names; the names alone
_LANE, _SOUND = 0.205, 0.62  # inches
_SIZE, _SMALL, _TITLE = 8.5, 7.2, 10.5  # points
_LINE = 1.42  # line spacing


@dataclass(frozen=True)
class Box:
    """One object in one shown frame: edges in px, its class, and the text of its label."""

    kind: str
    label: str
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Bar:
    """A span of time in s: who (the lane), what (the text at the bar, "" for being seen at all), and the class that colours
    it."""

    lane: str
    label: str
    kind: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Row:
    """What the sheet shows of one video.

    title: its name and numbers; pictures: uint8 RGB (H, W, 3), shown at `times_s` with their boxes; duration_s: its length;
    bars: events, in the order of their lanes; texts: paragraphs as (heading, lines); sound: (N,) float32 in -1..1 at `rate`
    samples/s, empty where there is none.
    """

    title: str
    pictures: list[np.ndarray]
    times_s: list[float]
    boxes: list[list[Box]]
    duration_s: float
    bars: list[Bar]
    texts: list[tuple[str, list[str]]]
    sound: np.ndarray
    rate: int


class _Ruler:
    """Measures text in inches, and breaks it into lines that fit."""

    def __init__(self) -> None:
        self._figure = Figure(dpi=_DPI)
        self._renderer = FigureCanvasAgg(self._figure).get_renderer()

    def width(self, text: str, size: float, weight: str = "normal") -> float:
        """Inches that one line of text takes at `size` points."""
        drawn = self._figure.text(0, 0, text, fontsize=size, fontweight=weight)
        extent = drawn.get_window_extent(self._renderer).width / _DPI
        drawn.remove()
        return float(extent)

    def lines(self, text: str, width: float, size: float) -> list[str]:
        """The text in lines of at most `width` inches, broken at spaces."""
        lines: list[str] = []
        for word in text.split():
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and self.width(longer, size) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines


@dataclass(frozen=True)
class _Block:
    """One row with its texts broken and its bars stacked. lanes: (name, bar, line within the picture of time)."""

    row: Row
    paragraphs: list[tuple[str, list[str]]]
    bars: list[tuple[Bar, int, bool]]
    lanes: list[tuple[str, int]]
    depth: int
    height: float


def draw(path: Path, title: str, note: str, rows: Sequence[Row]) -> None:
    """Write the sheet of one split as a PNG. title, note: what the page is, above it; rows: its videos, top to bottom."""
    with mpl.rc_context({**style.FONT, **style.LOOK}):
        ruler = _Ruler()
        blocks = [_block(ruler, row) for row in rows]
    height = 1.0 + sum(block.height for block in blocks)
    with style.figure(path, width=_WIDTH, height=height, dpi=_DPI) as page:
        page.set_layout_engine("none")  # everything has its place already
        top = height - 0.42
        page.text(_MARGIN / _WIDTH, top / height, title, fontsize=14, fontweight="bold", color=style.DARK)
        page.text(_MARGIN / _WIDTH, (top - 0.26) / height, note, fontsize=_SIZE, color=style.MUTED)
        top -= 0.5
        for block in blocks:
            _Sheet(page, height, ruler, block, top).draw()
            top -= block.height


def _block(ruler: _Ruler, row: Row) -> _Block:
    width = _WIDTH - 2 * _MARGIN - _TIMES_W - 0.45
    paragraphs = []
    for heading, texts in row.texts:
        lines: list[str] = []
        for text in texts:
            first, *more = ruler.lines(text, width - 0.15, _SIZE)
            lines += [first, *(f"\N{FIGURE SPACE}\N{FIGURE SPACE}{line}" for line in more)]
        paragraphs.append((heading, lines))
    bars, lanes, depth = _stack(ruler, row)
    text_height = sum(_line(_SIZE) * (len(lines) + 1) + 0.08 for _, lines in paragraphs)
    times_height = depth * _LANE + (_SOUND + 0.1 if len(row.sound) else 0.0) + 0.5
    return _Block(row, paragraphs, bars, lanes, depth, 0.34 + _picture(row)[1] + 0.3 + max(text_height, times_height) + 0.2)


def _picture(row: Row) -> tuple[float, float]:
    """(width, height) in inches of one shown frame."""
    count = max(4, len(row.pictures))
    width = (_WIDTH - 2 * _MARGIN - (count - 1) * _GAP) / count
    high, wide = row.pictures[0].shape[:2]
    return width, width * high / wide


def _line(size: float) -> float:
    return size * _LINE / 72


def _stack(ruler: _Ruler, row: Row) -> tuple[list[tuple[Bar, int, bool]], list[tuple[str, int]], int]:
    """Bars with the line that each is drawn in and whether its label fits inside it; lanes with their first line; lines in
    all. Bars of one lane share a line unless they, or their labels, would meet."""
    scale = (_TIMES_W - _LABELS_W) / row.duration_s  # inches per s
    placed: list[tuple[Bar, int, bool]] = []
    lanes: list[tuple[str, int]] = []
    first = 0
    for lane in dict.fromkeys(bar.lane for bar in row.bars):
        ends: list[float] = []
        mine = [bar for bar in row.bars if bar.lane == lane]
        placed += [(bar, first, True) for bar in mine if not bar.label]
        for bar in sorted((bar for bar in mine if bar.label), key=lambda bar: bar.start_s):
            needs = ruler.width(bar.label, _SMALL) + 0.08
            start, end = bar.start_s * scale, bar.end_s * scale
            inside = needs <= end - start
            before = not inside and end + needs > _TIMES_W - _LABELS_W
            left, right = (start - needs, end) if before else (start, end if inside else end + needs)
            line = next((number for number, taken in enumerate(ends) if taken <= left), len(ends))
            ends[line:] = [right + 0.04, *ends[line + 1 :]]
            placed.append((bar, first + line, inside))
        lanes.append((lane, first))
        first += max(1, len(ends))
    return placed, lanes, max(1, first)


class _Sheet:
    """Draws one block of the page, downwards from `top` inches."""

    def __init__(self, page: Figure, height: float, ruler: _Ruler, block: _Block, top: float) -> None:
        self._page, self._height, self._ruler, self._block, self._top = page, height, ruler, block, top

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Axes placed in inches from the page's lower left corner."""
        box = (left / _WIDTH, bottom / self._height, width / _WIDTH, height / self._height)
        axes = self._page.add_axes(box)
        axes.grid(False)
        return axes

    def _text(self, left: float, y: float, text: str, **look: object) -> None:
        self._page.text(left / _WIDTH, y / self._height, text, **{"fontsize": _SIZE, "color": style.DARK, **look})

    def draw(self) -> None:
        """Draw the row's parts from top to bottom."""
        row = self._block.row
        rule = self._axes(_MARGIN, self._top, _WIDTH - 2 * _MARGIN, 0.01)
        rule.set_axis_off()
        rule.axhline(0.5, color="#d5d5d5", linewidth=1)
        self._text(_MARGIN, self._top - 0.23, row.title, fontsize=_TITLE, fontweight="bold")
        width, height = _picture(row)
        below = self._top - 0.34 - height
        for number, picture in enumerate(row.pictures):
            left = _MARGIN + number * (width + _GAP)
            self._frame(left, below, (width, height), picture, row.boxes[number])
            self._text(left, below - 0.16, f"{row.times_s[number]:.1f} s", fontsize=_SMALL, color=style.MUTED)
        self._times(below - 0.3)
        self._paragraphs(_MARGIN + _TIMES_W + 0.45, below - 0.3)

    def _frame(self, left: float, bottom: float, size: tuple[float, float], picture: np.ndarray, boxes: list[Box]) -> None:
        axes = self._axes(left, bottom, *size)
        axes.imshow(picture, interpolation="bicubic", aspect="auto")
        axes.set_axis_off()
        high, wide = picture.shape[:2]
        scale = wide / size[0]  # px per inch
        taken = [(box.x1, box.y1, box.x2, box.y2) for box in boxes]
        labels: list[tuple[float, float, float, float]] = []
        for box in boxes:
            colour = COLOURS.get(box.kind, style.MUTED)
            edges = (box.x1, box.y1), box.x2 - box.x1, box.y2 - box.y1
            axes.add_patch(Rectangle(*edges, fill=False, edgecolor=colour, linewidth=1.4))
            needs = (self._ruler.width(box.label, _SMALL) + 0.06) * scale, (_line(_SMALL) - 0.01) * scale
            place = min(_places(box, needs, (wide, high)), key=lambda spot: _cost(spot, labels, taken))
            labels.append(place)
            axes.add_patch(
                Rectangle(place[:2], place[2] - place[0], place[3] - place[1], color=colour, linewidth=0, zorder=3)
            )
            middle = (place[0] + place[2]) / 2, (place[1] + place[3]) / 2
            axes.text(*middle, box.label, fontsize=_SMALL, color="white", ha="center", va="center_baseline", zorder=4)
        axes.set_xlim(0, wide)
        axes.set_ylim(high, 0)

    def _times(self, top: float) -> None:
        """Events and queries over time; the sound below on the same axis."""
        block, row = self._block, self._block.row
        left, width = _MARGIN + _LABELS_W, _TIMES_W - _LABELS_W
        axes = self._axes(left, top - block.depth * _LANE, width, block.depth * _LANE)
        axes.set_xlim(0, row.duration_s)
        axes.set_ylim(block.depth, 0)
        axes.set_yticks([])
        scale = row.duration_s / width  # s per inch
        for number, (lane, first) in enumerate(block.lanes):
            after = block.lanes[number + 1][1] if number + 1 < len(block.lanes) else block.depth
            axes.axhspan(first, after, color="#f6f6f4" if number % 2 == 0 else "white", zorder=0, linewidth=0)
            self._text(left - 0.1, top - (first + 0.68) * _LANE, lane, ha="right", fontsize=_SMALL + 0.3)
        for time in row.times_s:
            axes.axvline(time, color="#c9c9c9", linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
        for bar, line, inside in block.bars:
            colour = COLOURS.get(bar.kind, style.MUTED)
            look = {"zorder": 2} if bar.label else {"zorder": 1.5, "alpha": 0.22}
            axes.barh(line + 0.5, bar.end_s - bar.start_s, 0.76, bar.start_s, color=colour, linewidth=0, **look)
            beyond = bar.end_s / scale + self._ruler.width(bar.label, _SMALL) + 0.08 > width
            x, side = (bar.start_s - 0.04 * scale, "right") if beyond else (bar.end_s + 0.04 * scale, "left")
            x, side, ink = (bar.start_s + 0.04 * scale, "left", "white") if inside else (x, side, style.DARK)
            axes.text(x, line + 0.5, bar.label, ha=side, va="center_baseline", fontsize=_SMALL, color=ink, zorder=3)
        last = axes if not len(row.sound) else self._spectrum(left, top - block.depth * _LANE - 0.08 - _SOUND, width)
        if last is not axes:
            axes.set_xticks([])
        last.set_xlabel("time (s)", fontsize=_SMALL, labelpad=1.5)
        last.set_xticks(np.arange(0, row.duration_s, 1.0))
        last.tick_params(axis="x", labelsize=_SMALL, length=2.5, pad=2)

    def _spectrum(self, left: float, bottom: float, width: float) -> Axes:
        """The sound as a spectrogram: time to the right, frequency upwards, darker = louder."""
        row = self._block.row
        axes = self._axes(left, bottom, width, _SOUND)
        window = 2 ** int(np.log2(max(64, row.rate / 25)))
        power, frequencies, times = _spectrogram(row.sound, row.rate, window)
        floor = power.max() - 38.0  # dB: the noise beneath stays light
        axes.imshow(
            np.clip(power, floor, None),
            origin="lower",
            aspect="auto",
            cmap="Purples",
            extent=(times[0], times[-1], frequencies[0] / 1000, frequencies[-1] / 1000),
            interpolation="bilinear",
        )
        axes.set_xlim(0, row.duration_s)
        axes.set_yticks([])
        self._text(left - 0.1, bottom + _SOUND / 2 + 0.03, "sound", ha="right", fontsize=_SMALL + 0.3)
        reach = f"0 to {frequencies[-1] / 1000:.1f} kHz"
        self._text(left - 0.1, bottom + _SOUND / 2 - 0.12, reach, ha="right", fontsize=_SMALL - 0.7, color=style.MUTED)
        return axes

    def _paragraphs(self, left: float, top: float) -> None:
        y = top - _line(_SIZE) * 0.75
        for heading, lines in self._block.paragraphs:
            self._text(left, y, heading, color=style.MUTED, fontsize=_SMALL + 0.3, fontweight="bold")
            y -= _line(_SIZE)
            for line in lines:
                self._text(left, y, line)
                y -= _line(_SIZE)
            y -= 0.08


def _places(box: Box, needs: tuple[float, float], size: tuple[int, int]) -> Iterator[tuple[float, float, float, float]]:
    """Spots for a label at its box, the best first: above, below, inside at the top, beside; all inside the picture."""
    wide, high = needs
    for x in (box.x1, box.x2 - wide):
        for y in (box.y1 - high, box.y2, box.y1, box.y2 - high, box.y1 - 2 * high, box.y2 + high):
            left, top = float(np.clip(x, 0, size[0] - wide)), float(np.clip(y, 0, size[1] - high))
            yield left, top, left + wide, top + high
    for x in (box.x1 - wide, box.x2):
        for y in (box.y1, box.y2 - high):
            left, top = float(np.clip(x, 0, size[0] - wide)), float(np.clip(y, 0, size[1] - high))
            yield left, top, left + wide, top + high


def _cost(
    spot: tuple[float, float, float, float],
    labels: list[tuple[float, float, float, float]],
    boxes: list[tuple[float, float, float, float]],
) -> float:
    """How much a spot for a label hides: other labels above all, then boxes (px²)."""
    return 100 * sum(_shared(spot, other) for other in labels) + sum(_shared(spot, other) for other in boxes)


def _shared(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _spectrogram(sound: np.ndarray, rate: int, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(power in dB (F, T), frequencies in Hz (F,), times in s (T,)) with a Hann window moved by a quarter of itself."""
    from scipy.signal import spectrogram

    frequencies, times, power = spectrogram(sound, fs=rate, nperseg=window, noverlap=window * 3 // 4, window="hann")
    return 10 * np.log10(power + 1e-12), frequencies, times
