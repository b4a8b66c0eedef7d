"""The curves of several runs in one figure, drawn with matplotlib."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Sequence

from seqmnist.comparing.metrics_tail import read_curve
from seqmnist.comparing.rows import NOT_DECIDING, Row
from seqmnist.comparing.table import seeds
from seqmnist.errors import UserError, one_line
from seqmnist.paths import shown
from seqmnist.record import figures
from seqmnist.record.folder import creating

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg")

# Okabe and Ito's palette, which colour-blind readers can distinguish, without yellow,
# which is too pale for a line on white.
COLORS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000"),
)
LINES = ("-", "--")
MARKERS = "os^Dv<>pXP*hd8"
MAX_CURVES = len(COLORS) * len(LINES)  # more curves could not be distinguished
MAX_LABEL = 60  # characters

# Options for the labels of curves: the most important ones first, and the ones to leave
# out, which are visible in the curve, follow from others or do not affect the curve.
TOLD_FIRST = ("view", "units", "learning_rate", "batch_size", "epochs", "steps")
NOT_TOLD = {
    *NOT_DECIDING,
    *("parameters", "report_every", "evaluate_every", "evaluate_splits"),
    *("summary_every", "evaluation_batch_size"),
}


class Curves(NamedTuple):
    """The curves of a row.

    Attributes:
        row: the row.
        split: the split of the accuracies.
        mean: epochs and accuracies; for a group, means at the epochs of all runs.
        runs: for a group, epochs and accuracies of each run; else empty.
    """

    row: Row
    split: str
    mean: list[tuple[float, float]]
    runs: list[list[tuple[float, float]]]


def check_plot(path: str) -> Path:
    """Checks that a figure can be written.

    Args:
        path: the file, which must not exist yet.

    Returns:
        The path.

    Raises:
        UserError: the file exists, its folder cannot be written, or its name has
            another ending.
    """
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"--plot: found {path!r}; expected a name that ends in "
            f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        )
    if os.path.lexists(path):
        raise UserError(
            f"--plot {path}: is there already and is left as it is; give a new name"
        )
    if not file.parent.is_dir() or not os.access(str(file.parent), os.W_OK | os.X_OK):
        raise UserError(
            f"--plot {path}: {shown(file.parent)} is no folder that can be written to"
        )
    return file


def save_overlay(path: Path, rows: Sequence[Row]) -> str:
    """Draws the rows' validation accuracy against epochs; without it, the train one.

    A group is drawn as its mean, with its runs as thin lines. Needs no display.

    Args:
        path: the file, with one of `SUFFIXES`.
        rows: the rows; the first `MAX_CURVES` rows with a curve are drawn.

    Returns:
        A line with the path and the number of rows drawn.

    Raises:
        UserError: no row has a curve, or matplotlib is missing.
        CannotWrite: disk full, folder gone, not allowed.
    """
    try:
        figures.prepare()
    except ImportError as error:
        raise UserError(
            f"--plot needs matplotlib: {error}; run: pip install matplotlib"
        )
    curves = [curves for row in rows for curves in [_read(row)] if curves.mean]
    if not curves:
        raise UserError(f"--plot {path}: no run shown has accuracies in metrics.csv")
    drawn = curves[:MAX_CURVES]
    note = ""
    if len(drawn) < len(rows):
        note = f"the first {len(drawn)} of {len(rows)} rows"
        note += " that have curves" if len(curves) < len(rows) else ""
    with creating(path) as partial:
        _save(partial, path.suffix[1:].lower(), drawn, note)
    return f"curves: {shown(path)}" + (f" ({note})" if note else "")


@figures.in_own_style
def _save(path: Path, kind: str, drawn: Sequence[Curves], note: str) -> None:
    """Draws the curves into a file of this kind."""
    figure = figures.new_figure(11, 6)
    _draw(figure, drawn, note)
    figure.savefig(path, format=kind, dpi=120, facecolor="white", bbox_inches="tight")


def _read(row: Row) -> Curves:
    """A row's curves: of validation if it has any, else of train."""
    for split in ("validation", "train"):
        parts = row.parts or (row,)
        runs = [read_curve(part.run.folder, split) for part in parts]
        mean = _mean([dict(run) for run in runs]) if row.parts else runs[0]
        if mean:
            break
    return Curves(row, split, mean, runs if row.parts else [])


def _mean(runs: Sequence[dict[float, float]]) -> list[tuple[float, float]]:
    """Means over the runs at the epochs that all of them have."""
    epochs = [epoch for epoch in runs[0] if all(epoch in run for run in runs)]
    return [(e, sum(run[e] for run in runs) / len(runs)) for e in epochs]


def _draw(figure: Figure, drawn: Sequence[Curves], note: str) -> None:
    """Draws one panel with a colour, line style and marker per row, and a legend."""
    axes = figure.add_subplot(1, 1, 1)
    splits = {curves.split for curves in drawn}
    labels = _labels([curves.row for curves in drawn])
    for index, (curves, label) in enumerate(zip(drawn, labels)):
        color = COLORS[index % len(COLORS)]
        for run in curves.runs:
            axes.plot(*zip(*run), color=color, linewidth=0.6, alpha=0.5)
        if len(splits) > 1:
            label += f", {curves.split}"
        axes.plot(
            *zip(*curves.mean),
            color=color,
            linestyle=LINES[index // len(COLORS)],
            marker=MARKERS[index],
            markevery=max(1, len(curves.mean) // 12),
            markersize=5,
            markerfacecolor="none",
            label=label,
        )
    axes.set_xlabel("epochs")
    axes.set_ylabel(f"{' or '.join(sorted(splits))} accuracy (fraction)")
    axes.grid(alpha=0.3)
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, handlelength=4
    )
    axes.set_title(note)


def _labels(rows: Sequence[Row]) -> list[str]:
    """The label of each row: script, differing options, and seeds or run."""
    labels = []
    for row in rows:
        script = row.values["script"]
        others = [other.options for other in rows if other.values["script"] == script]
        names = [*TOLD_FIRST, *sorted(set(row.options) - {*TOLD_FIRST, *NOT_TOLD})]
        differing = [
            f"{name} {row.options[name]}"
            for name in names
            if row.options.get(name) is not None
            and any(other.get(name) != row.options[name] for other in others)
        ]
        name = f"seeds {seeds(row)}" if row.parts else row.values["run"]
        labels.append(f"{_cut(', '.join([script, *differing]))}\n{_cut(name)}")
    return labels


def _cut(text: str) -> str:
    """Shortens a text and escapes it for matplotlib."""
    text = one_line(text).encode("ascii", "backslashreplace").decode()
    if len(text) > MAX_LABEL:
        text = text[: MAX_LABEL - 3] + "..."
    # A $ would begin a formula, and a label that begins with _ is left out.
    text = text.replace("$", "\\$")
    return f" {text}" if text.startswith("_") else text
