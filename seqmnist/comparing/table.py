"""Rows of runs as a table, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any, Callable, NamedTuple, Sequence

from seqmnist.cli.options import NUMBERS, as_text
from seqmnist.comparing.best_two import Finding
from seqmnist.comparing.rows import (
    DIGESTS,
    FIELDS,
    MEASURED,
    Row,
    differing_options,
    option_values,
)
from seqmnist.errors import one_line

FORMULA = tuple("=+-@\t\r")  # what a spreadsheet computes begins with one of these
MAX_TEXT = 60  # characters of a column, more than any name of the suite has


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        heading: the text above the column.
        is_number: whether the column is aligned to the right.
        form: takes a row; returns the text in the column.
        importance: a narrow terminal leaves out the columns with the lowest importance.
    """

    heading: str
    is_number: bool
    form: Callable[[Row], str]
    importance: int


def _accuracy(split: str) -> Callable[[Row], str]:
    """Makes `0.9712 (9712/10000)`, or mean ± standard deviation (number of runs)."""

    def form(row: Row) -> str:
        name = f"{split}_accuracy"
        value, correct = row.values[name], row.values[f"{split}_correct"]
        if value is None:
            return "-"
        if name in row.spread:
            return f"{value:.4f} ± {row.spread[name]:.4f} ({row.values['n']})"
        return f"{value:.4f} ({correct}/{row.values[f'{split}_count']})"

    return form


def _value(name: str, form: str = "{}") -> Callable[[Row], str]:
    """Makes the text of a row's value, or "-" if the value is unknown."""

    def text(row: Row) -> str:
        value = row.values[name]
        return "-" if value is None else _cut(form.format(value))

    return text


def _option(name: str) -> Callable[[Row], str]:
    """Makes the text of an option's value; "-" if the runs of a row differ in it."""

    def text(row: Row) -> str:
        first, *others = option_values(row, name)
        if any(value != first for value in others):
            return "-"
        text = as_text(first)
        if name not in DIGESTS:
            return _cut(text)
        # Runs of the same data may have read them in different folders.
        folder = row.options.get("data_dir") if name == "data_sha256" else None
        place = os.path.basename(folder) if isinstance(folder, str) else ""
        return _cut(f"{place} {text[:8]}".strip())

    return text


def _cut(text: str) -> str:
    """A text as one short line."""
    text = one_line(text)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def seeds(row: Row) -> str:
    """A row's seeds.

    Args:
        row: the row.

    Returns:
        `3`, `0-2,7`, or "-" if the seed is unknown.
    """
    if not row.parts:
        return _value("seed")(row)
    ranges: list[list[int]] = []
    for seed in (part.values["seed"] for part in row.parts):
        if ranges and ranges[-1][1] == seed - 1:
            ranges[-1][1] = seed
        else:
            ranges.append([seed, seed])
    return ",".join(f"{a}-{b}" if a < b else f"{a}" for a, b in ranges)


def _seeds(row: Row) -> str:
    """A row's seeds, shortened to 9 characters."""
    text = seeds(row)
    return text if len(text) <= 9 else f"{text[:7]}.."


def _run(row: Row) -> str:
    """The run's name, or the number of runs."""
    return f"{len(row.parts)} runs" if row.parts else _value("run")(row)


STEPS = Column("steps", True, _value("steps"), 9)
DIFFERING_IMPORTANCE = 12

# The importance is chosen for terminals of 80 columns and more; a pipe gets them all.
COLUMNS = (
    Column("test accuracy", False, _accuracy("test"), 14),
    Column("validation", False, _accuracy("validation"), 11),
    Column("train", False, _accuracy("train"), 5),
    Column("loss", True, _value("test_loss", "{:.4f}"), 7),
    Column("script", False, _value("script"), 13),
    Column("cell", False, _value("cell"), 3),
    Column("view", False, _value("view"), 2),
    Column("units", True, _value("units"), 10),
    Column("parameters", True, _value("parameters"), 4),
    STEPS,
    Column("seconds", True, _value("seconds", "{:.1f}"), 8),
    Column("examples/s", True, _value("examples_per_second", "{:.0f}"), 1),
    Column("seed", True, _seeds, 6),
    Column("status", False, _value("status"), 11),
    Column("run", False, _run, 15),
)


def format_table(rows: Sequence[Row], width: int | None = None) -> list[str]:
    """The table as lines of aligned columns.

    Args:
        rows: the rows.
        width: characters of a line; the least important columns are left out until the
            table fits. `None` for all columns.

    Returns:
        The lines, the headings first; if columns were left out, the last line names
        them.
    """
    columns = _columns(rows)
    table = {column: [column.heading, *map(column.form, rows)] for column in columns}
    widths = {column: max(map(len, cells)) for column, cells in table.items()}
    left_out = []
    for column in sorted(columns, key=lambda column: column.importance)[:-1]:
        if width is None or sum(widths.values()) + 2 * (len(widths) - 1) <= width:
            break
        left_out.append(column.heading)
        del widths[column]
    lines = []
    for index in range(len(rows) + 1):
        cells = [
            table[column][index].rjust(width)
            if column.is_number
            else table[column][index].ljust(width)
            for column, width in widths.items()
        ]
        lines.append("  ".join(cells).rstrip())
    if left_out:
        lines += ["", f"left out, as the terminal is narrow: {', '.join(left_out)}"]
    return lines


def format_markdown(rows: Sequence[Row]) -> list[str]:
    """The table in Markdown.

    Args:
        rows: the rows.

    Returns:
        The lines.
    """
    columns = _columns(rows)
    lines = [
        [column.heading for column in columns],
        ["---:" if column.is_number else "---" for column in columns],
        *([escaped(column.form(row)) for column in columns] for row in rows),
    ]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def escaped(text: str) -> str:
    """Escapes a text for Markdown.

    Args:
        text: the text of a cell or a line.

    Returns:
        The text, which Markdown shows as it is.
    """
    for character in "\\|`*_<[":
        # Underscores within a word have no meaning in Markdown.
        if character != "_" or text.startswith("_"):
            text = text.replace(character, "\\" + character)
    return text


def format_csv(rows: Sequence[Row]) -> str:
    """All fields and options of the rows, with all digits.

    Args:
        rows: the rows.

    Returns:
        A header and a line per row. `..._std` are a group's standard deviations,
        `option_...` the entries of config.json. A value is empty if it is unknown or
        differs between the runs of a group. A text is one line, and begins with an
        apostrophe if a spreadsheet would take it for a formula.
    """
    names = sorted({name for row in rows for name in row.options})
    header = [*FIELDS, *(f"{name}_std" for name in MEASURED), "seeds"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*header, *(_cell(f"option_{name}") for name in names)])
    for row in rows:
        values = [row.values[name] for name in FIELDS]
        values += [row.spread.get(name) for name in MEASURED]
        values += [seeds(row), *(row.options.get(name) for name in names)]
        writer.writerow(map(_cell, values))
    return file.getvalue()


def _cell(value: object) -> object:
    """A value for CSV: a number, or one line of text that is no formula."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    is_formula = text.startswith(FORMULA) and len(text) > 1
    return f"'{one_line(text)}" if is_formula else one_line(text)


def format_json(rows: Sequence[Row], comparison: Finding | None) -> str:
    """All data of the rows as JSON, with all digits.

    Args:
        rows: the rows.
        comparison: the comparison of the best two rows, or `None`.

    Returns:
        The text of an object with `rows` and `comparison`. A row has the keys of
        `FIELDS`; `std` with the same keys; `options`, the entries of config.json that
        all runs share; and `runs`, the rows of a group's runs.
    """
    content = {"rows": [_as_object(row) for row in rows], "comparison": comparison}
    return json.dumps(content, indent=1)


def _as_object(row: Row) -> dict[str, Any]:
    """A row as a JSON object."""
    return {
        **row.values,
        "std": row.spread,
        "options": row.options,
        "repeats": row.repeats,
        "runs": [_as_object(part) for part in row.parts],
    }


def _columns(rows: Sequence[Row]) -> list[Column]:
    """The columns, with one for each option in which rows of one script differ.

    The status is left out if all runs are finished.
    """
    all_finished = all(row.values["status"] == "finished" for row in rows)
    columns = [c for c in COLUMNS if c.heading != "status" or not all_finished]
    differing = [
        Column(name, name in NUMBERS, _option(name), DIFFERING_IMPORTANCE)
        for name in differing_options(rows)
    ]
    place = columns.index(STEPS)
    return [*columns[:place], *differing, *columns[place:]]
