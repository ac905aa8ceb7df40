"""Writes a finished board as CSV (every figure), Markdown and HTML (for people). Not here: what it says, and its picture.

Names of classes come from data sets and may hold anything: each form is escaped in its own way, and a text that a
spreadsheet would take for a formula is guarded by an apostrophe.
"""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from lib.config.report import ReportSettings
from lib.files import csv_cell, write_text
from lib.reporting.frames_figure import frames_figure
from lib.reporting.plots import board_figure
from lib.reporting.ranking import Ranking
from lib.reporting.sections import sections

TEMPLATE = Path(__file__).with_name("board.html.j2")
Show = Callable[[dict[str, Any]], str]


@dataclass(frozen=True)
class Column:
    """One column for people: its heading, how a row's cell is shown, and whether it is text (left) or figures (right)."""

    title: str
    show: Show
    text: bool = False


@dataclass(frozen=True)
class Line:
    """One row for people: its cells, and its kind: best, floor, unscored or nothing."""

    cells: list[str]
    kind: str


@dataclass(frozen=True)
class Table:
    """The board for people: columns without any entry are left out."""

    columns: list[Column]
    rows: list[Line]


def write_board(ranking: Ranking, output: Path, settings: ReportSettings) -> None:
    """Write the four forms of a board: `output` (.csv) and .md, .html and .png beside it.

    Where arms differ in frames, also .frames.png, which the page holds too and the Markdown shows.
    """
    picture = output.with_suffix(".frames.png")
    drawn = frames_figure(ranking, picture, settings)
    if not drawn:
        picture.unlink(missing_ok=True)
    write_text(output, csv_text(ranking))
    write_text(output.with_suffix(".md"), markdown(ranking, picture.name if drawn else None))
    write_text(output.with_suffix(".html"), html(ranking, picture.read_bytes() if drawn else None))
    board_figure(ranking, output.with_suffix(".png"), settings)


def csv_text(ranking: Ranking) -> str:
    """All columns; figures with six significant digits, nothing where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_csv_cell(str(column)) for column in ranking.rows.columns])
    for row in ranking.rows.itertuples(index=False, name=None):
        writer.writerow([_csv_cell(value) for value in row])
    return text.getvalue()


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(csv_cell(value))


def text(ranking: Ranking) -> str:
    """Columns for a terminal, the footnotes and the sections; as wide as its rows are."""
    table = _table(ranking)
    parts = [f"{ranking.heading} ({ranking.subject})"]
    sides = [column.text for column in table.columns]
    parts.append(_aligned([[column.title for column in table.columns], *(row.cells for row in table.rows)], sides))
    parts += ["\n".join(f"- {note}" for note in ranking.notes)]
    for section in sections(ranking):
        words = [number < section.text for number in range(len(section.columns))]
        parts.append(f"{section.title}\n{_aligned([section.columns, *section.rows], words)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _aligned(rows: list[list[str]], words: list[bool]) -> str:
    """Rows of cells in columns: words to the left, figures to the right."""
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(len(row[number]) for row in cells) for number in range(len(words))]
    lines = [
        [cell.ljust(width) if word else cell.rjust(width) for cell, width, word in zip(row, widths, words, strict=True)]
        for row in cells
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def markdown(ranking: Ranking, picture: str | None = None) -> str:
    """A GitHub table under a heading, followed by the footnotes, the sections and the picture of that name."""
    table = _table(ranking)
    heads = [_markdown_text(column.title) for column in table.columns]
    lines = [f"## {_markdown_text(ranking.heading)} ({ranking.subject})", ""]
    lines += [f"| {' | '.join(heads)} |", f"|{'|'.join(':--' if one.text else '--:' for one in table.columns)}|"]
    for row in table.rows:
        cells = [_markdown_text(cell) for cell in row.cells]
        if row.kind == "best":
            strong = ("variant", "detector", "tracker", ranking.metric)
            cells = [f"**{cell}**" if one.title in strong else cell for one, cell in zip(table.columns, cells, strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {_markdown_text(note)}" for note in ranking.notes)]
    for section in sections(ranking):
        sides = [":--" if number < section.text else "--:" for number in range(len(section.columns))]
        lines += ["", f"### {_markdown_text(section.title)}", ""]
        lines += [f"| {' | '.join(map(_markdown_text, section.columns))} |", f"|{'|'.join(sides)}|"]
        lines += [f"| {' | '.join(map(_markdown_text, row))} |" for row in section.rows]
    if picture:
        lines += ["", f"![{ranking.metric} against training frames]({picture})"]
    return "\n".join(lines) + "\n"


def _markdown_text(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no end of the cell."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", text)


def html(ranking: Ranking, picture: bytes | None = None) -> str:
    """One self-contained page, a PNG in it; its content policy forbids scripts and everything from elsewhere."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    coded = base64.b64encode(picture).decode("ascii") if picture else None
    return template.render(ranking=ranking, table=_table(ranking), sections=sections(ranking), picture=coded) + "\n"


def _table(ranking: Ranking) -> Table:
    rows = ranking.rows.to_dict("records")
    columns = list(_track_columns(ranking) if ranking.kind == "tracks" else _variant_columns(ranking))
    shown = [column for column in columns if any(column.show(row) for row in rows)]
    if all(row["status"] == "finished" for row in rows):
        shown = [column for column in shown if column.title != "status"]
    return Table(shown, [Line([column.show(row) for column in shown], _kind(row, ranking.metric)) for row in rows])


def _kind(row: dict[str, Any], metric: str) -> str:
    if row[metric] is None and row["status"] != "finished":
        return "unscored"
    if row.get("kind") == "floor":
        return "floor"
    return "best" if row["standing"] == "best" else ""


def _variant_columns(ranking: Ranking) -> Iterable[Column]:
    metric, several_views = ranking.metric, ranking.rows["tta"].nunique() > 1
    yield Column("#", _whole("rank"))
    yield Column("variant", _variant, text=True)
    yield Column("views", lambda row: row["tta"] if several_views or row["tta"] != "none" else "", text=True)
    yield from _score_columns(ranking)
    yield Column("sd", _score(f"{metric}_sd"))
    yield Column("seeds", _seeds)
    yield Column("to best", _to_best)
    yield Column("to floor", _signed("to_floor"))
    yield Column("above floor", _text("above_floor"), text=True)
    yield from (Column(f"{metric} {name}", _score(f"{metric}: {name}")) for name in ranking.classes)
    yield from (Column(key, _score(key)) for key in ranking.metrics if key != metric)
    if "clips" in ranking.rows:
        yield from (Column(key, _whole(key)) for key in ("clips", "queries"))
    else:
        yield Column("frames", _whole("frames"))
        yield from (Column(f"frames {name}", _whole(f"frames: {name}")) for name in ranking.classes)
    yield Column("iterations", _whole("iterations"))
    yield Column("training time", _duration)
    yield Column("status", _text("status"), text=True)


def _track_columns(ranking: Ranking) -> Iterable[Column]:
    yield Column("#", _whole("rank"))
    yield Column("detector", _text("detector"), text=True)
    yield Column("tracker", _tracker, text=True)
    yield from _score_columns(ranking)
    yield Column("to best", _to_best)
    yield Column("to floor", _signed("to_floor"))
    yield Column("above floor", _text("above_floor"), text=True)
    yield from (Column(key, _score(key)) for key in ("HOTA", "DetA", "AssA", "MOTA", "IDF1") if key != ranking.metric)
    yield from (Column(key, _whole(key)) for key in ("IDSW", "videos", "frames", "detections", "tracks"))
    yield from (Column(f"tracks {name}", _whole(f"tracks: {name}")) for name in ranking.classes)
    yield Column("length (frames)", _rate("mean_track_length_frames"))
    yield Column("length (s)", _rate("mean_track_length_s"))
    yield Column("detect frames/s", _rate("frames_per_s_detect"))
    yield Column("track frames/s", _rate("frames_per_s_track"))
    yield Column("status", _text("status"), text=True)


def _score_columns(ranking: Ranking) -> Iterable[Column]:
    metric = ranking.metric
    yield Column(metric, _score(metric))

    def ends(row: dict[str, Any]) -> str:
        low, high = row[f"{metric}_low"], row[f"{metric}_high"]
        return "" if low is None else f"{low:.3f} to {high:.3f}"

    yield Column(f"{100 * ranking.level:g} % interval", ends)


def _score(key: str) -> Show:
    return lambda row: "" if row[key] is None else f"{row[key]:.3f}"


def _rate(key: str) -> Show:
    return lambda row: "" if row[key] is None else f"{row[key]:,.1f}"


def _whole(key: str) -> Show:
    return lambda row: "" if row[key] is None else f"{row[key]:,.0f}"


def _text(key: str) -> Show:
    return lambda row: row[key] or ""


def _signed(key: str) -> Show:
    return lambda row: "" if row[key] is None else f"{row[key]:+.3f}".replace("-", "−")


def _to_best(row: dict[str, Any]) -> str:
    if row["standing"] == "best" or row["to_best"] is None:
        return row["standing"] or ""
    return _signed("to_best")(row) + (" tie" if row["standing"] == "tie" else "")


def _variant(row: dict[str, Any]) -> str:
    return row["variant"] if row["kind"] == "model" else f"{row['variant']} ({row['kind']})"


def _tracker(row: dict[str, Any]) -> str:
    return row["tracker"] if row["kind"] == "tracker" else f"{row['tracker']} ({row['kind']})"


def _seeds(row: dict[str, Any]) -> str:
    return f"{row['seeds']}" if row["seeds"] == row["seeds_planned"] else f"{row['seeds']} of {row['seeds_planned']}"


def _duration(row: dict[str, Any]) -> str:
    """Seconds as people say them; nothing for what is not trained."""
    seconds = row["train_seconds"]
    if not seconds or not row["iterations"]:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


FORMS: dict[str, Callable[[Ranking], str]] = {"text": text, "markdown": markdown, "csv": csv_text}
"""How a board is printed."""
