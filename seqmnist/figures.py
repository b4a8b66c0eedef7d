"""Figures of a run, drawn with matplotlib from its metrics.csv."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from seqmnist.run_folder import replacing
from seqmnist.run_log import read_metrics

CURVES_FILE = "curves.png"

# Okabe and Ito's palette, which colour-blind readers can tell apart; beside the colour,
# each split has its own line style and marker, hollow so that none hides another.
STYLES = {
    "train": {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    "validation": {"color": "#E69F00", "linestyle": "--", "marker": "s"},
    "test": {"color": "#009E73", "linestyle": ":", "marker": "^"},
}


def prepare() -> None:
    """Imports matplotlib, so that a run fails at its start if it cannot be imported.

    A Jupyter kernel passes the name of its own backend on to what it starts, where it
    means nothing and makes the import fail; it is dropped.
    """
    if os.environ.get("MPLBACKEND", "").startswith("module://"):
        del os.environ["MPLBACKEND"]
    import matplotlib.figure  # noqa: F401


def save_curves(folder: Path) -> Path:
    """Draws curves.png: accuracy and cross-entropy against epochs.

    Needs no display.

    Args:
        folder: a run's folder, with metrics.csv.

    Returns:
        The path of the figure.

    Raises:
        CannotWrite: disk full, folder gone, not allowed.
        UserError: metrics.csv was changed to something else.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5))
    FigureCanvasAgg(figure)
    _draw_curves(figure, folder)
    path = folder / CURVES_FILE
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=100)
    return path


def show_curves(folder: Path) -> None:
    """Opens the same figure in a window and waits until it is closed.

    Where there is no screen, says where the figure is instead.

    Args:
        folder: a run's folder, with metrics.csv.
    """
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(12, 4.5))
    if figure.canvas.required_interactive_framework is None:
        path = folder / CURVES_FILE
        print(f"--show: no screen found; the curves are in {path}", file=sys.stderr)
    else:
        _draw_curves(figure, folder)
        plt.show()
    plt.close(figure)


def _draw_curves(figure: Any, folder: Path) -> None:
    """Two panels, accuracy and cross-entropy against epochs, a line per split."""
    rows = read_metrics(folder)
    panels = {"accuracy": "accuracy (fraction)", "loss": "cross-entropy (nats)"}
    for position, (column, label) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, 2, position)
        for split, style in STYLES.items():
            points = [(r["epoch"], r[column]) for r in rows if r["split"] == split]
            if points:
                size = 6 if len(points) < 30 else 0
                axes.plot(*zip(*points), label=split, mfc="none", ms=size, **style)
        axes.set_xlabel("epochs")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if rows:
            axes.legend()
    figure.suptitle(f"{folder.parent.name} {folder.name}")
    figure.tight_layout()
