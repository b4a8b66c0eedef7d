"""Figures of a run, drawn with matplotlib without a display.

The backgrounds are opaque white, so that axes and text are legible on a dark page too.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import os
import re
import sys
from logging import LogRecord, getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

from seqmnist.data.class_names import numbered
from seqmnist.data.mnist import Split
from seqmnist.errors import UserError
from seqmnist.paths import give_home
from seqmnist.record.folder import replacing
from seqmnist.record.log import read_metrics
from seqmnist.record.reading import Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES_FILE = "curves.png"

DOTS_PER_INCH = 100

# Okabe and Ito's palette, which colour-blind readers can distinguish. Each split also
# has its own line style and marker; hollow markers do not hide one another.
STYLES: dict[str, Style] = {
    "train": {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    "validation": {"color": "#E69F00", "linestyle": "--", "marker": "s"},
    "test": {"color": "#009E73", "linestyle": ":", "marker": "^"},
}

# The grid of mistakes, one image each.
MISTAKE_ROWS, MISTAKE_COLUMNS = 4, 6
MAX_MISTAKEN = 12  # characters of a name in it

# Classes up to which a confusion matrix has all its numbers, and all names.
MAX_NUMBERED, MAX_NAMED = 50, 100


def prepare() -> None:
    """Prepares the import of matplotlib, which the first figure does: half a second.

    A Jupyter kernel passes the name of its backend to the processes that it starts,
    where the name makes the import fail. So the name is dropped.

    The first import stores a list of the machine's fonts in the user's home folder.
    Messages about this list (slow, or the disk is full) are dropped, as the figures do
    not depend on it.

    Raises:
        UserError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError(
            "matplotlib is not installed for this Python; run: pip install -r "
            "requirements.txt"
        )
    if os.environ.get("MPLBACKEND", "").startswith("module://"):
        del os.environ["MPLBACKEND"]
    getLogger("matplotlib.font_manager").addFilter(_is_not_of_cache)
    give_home()


def _is_not_of_cache(record: LogRecord) -> bool:
    """Drops "building the font cache" and "Could not save font_manager cache"."""
    return re.search("font(_manager)? cache", record.getMessage()) is None


def in_own_style(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function draw as matplotlib does by default.

    The user's matplotlibrc and `rcParams` do not change the figures, and the function
    does not change `rcParams`.

    Args:
        draw: a function that makes figures and writes them.

    Returns:
        The function in matplotlib's default style.
    """

    @functools.wraps(draw)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        import matplotlib

        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            return draw(*args, **kwargs)

    return wrapped


def new_figure(width: float, height: float) -> Figure:
    """Makes an empty figure that needs no display.

    Args:
        width, height: in inches.

    Returns:
        A matplotlib figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def as_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DOTS_PER_INCH)
    return file.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure as a PNG file, in one piece.

    Args:
        figure: a matplotlib figure.
        path: the file; an existing file is replaced.

    Returns:
        The path.

    Raises:
        CannotWrite: disk full, folder gone, not allowed.
    """
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=DOTS_PER_INCH)
    return path


@in_own_style
def save_curves(folder: Path) -> Path:
    """Draws curves.png: accuracy and cross-entropy against epochs.

    Args:
        folder: a run's folder, with metrics.csv.

    Returns:
        The path of the figure.

    Raises:
        CannotWrite: disk full, folder gone, not allowed.
        UserError: metrics.csv has a row that a run does not write.
    """
    figure = new_figure(12, 4.5)
    _draw_curves(figure, folder)
    return save(figure, folder / CURVES_FILE)


@in_own_style
def show_curves(folder: Path) -> None:
    """Opens the figure of `save_curves` in a window and waits until it is closed.

    Without a screen, prints the path of the figure instead.

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


def _draw_curves(figure: Figure, folder: Path) -> None:
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
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.12, top=0.9, wspace=0.18)


def drawable(names: Sequence[str]) -> Sequence[str]:
    """Makes the names of classes ready to be drawn.

    Args:
        names: the names.

    Returns:
        The names, or the classes' numbers if matplotlib's font lacks a character.
    """
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    if not all(font.get_char_index(ord(c)) for c in set("".join(names))):
        return numbered(len(names))
    return [name.replace("$", r"\$") for name in names]  # a formula otherwise


def confusion(
    labels: np.ndarray, logits: np.ndarray, title: str, names: Sequence[str]
) -> Figure:
    """Draws the confusion matrix.

    Args:
        labels: whole numbers `[num_images]`, 0 to `num_classes - 1`.
        logits: float32 `[num_images, num_classes]`.
        title: the name of the images in the figure's title.
        names: the classes' names, as `drawable` returns them.

    Returns:
        A figure with the number of images of each label (row) and prediction (column).
        The shade is the square root of the fraction of the row, which makes rare
        mistakes visible. For many classes it has shades only.
    """
    counts = confusion_counts(labels, logits)
    shades = np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1))
    # In inches: the matrix, a class in it, and the longest name beside it.
    side = min(5.33 + max(0, len(names) - 10) * 0.2, 14)
    cell = side / len(names)
    text = 0.07 * max(map(len, names))
    width, height = side + text + 0.6, side + text + 0.8
    figure = new_figure(width, height)
    axes = figure.add_axes(
        ((text + 0.5) / width, 0.1 / height, side / width, side / height)
    )
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1)
    style: Style = {"ha": "center", "va": "center"}
    has_numbers = len(names) <= MAX_NUMBERED
    for label, prediction in np.argwhere(counts) if has_numbers else ():
        number = str(counts[label, prediction])
        color = "white" if shades[label, prediction] > 0.6 else "black"
        size = min(9, 22 * cell)
        axes.text(*(prediction, label, number), **style, color=color, fontsize=size)
    ticks = range(0, len(names), 1 if len(names) <= MAX_NAMED else 10)
    chosen = [names[tick] for tick in ticks]
    size = 10 if len(names) <= 10 else 7
    is_long = max(map(len, names)) > 2
    axes.set_xticks(ticks)
    axes.set_xticklabels(chosen, fontsize=size, rotation=90 if is_long else 0)
    axes.set_yticks(ticks)
    axes.set_yticklabels(chosen, fontsize=size)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xlabel("predicted")
    axes.xaxis.set_label_position("top")
    axes.set_ylabel("label")
    correct = int(counts.trace())
    figure.suptitle(
        f"{title}: {correct} of {len(labels)} correct", fontsize=11, y=1 - 0.1 / height
    )
    return figure


def confusion_counts(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Counts images by label and prediction.

    Args:
        labels: whole numbers `[num_images]`, 0 to `num_classes - 1`.
        logits: float32 `[num_images, num_classes]`.

    Returns:
        int64 `[num_classes, num_classes]`: the number of images per label (row) and
        prediction (column).
    """
    num_classes = logits.shape[1]
    pairs = labels.astype(np.int64) * num_classes + logits.argmax(1)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, -1)


def most_confident_mistakes(
    labels: np.ndarray, probabilities: np.ndarray, count: int
) -> np.ndarray:
    """Finds the wrong predictions with the largest probabilities.

    Args:
        labels: whole numbers `[num_images]`.
        probabilities: float `[num_images, num_classes]`.
        count: the most indices to return.

    Returns:
        The indices of the images, the most confident first.
    """
    (wrong,) = np.nonzero(probabilities.argmax(1) != labels)
    order = np.argsort(-probabilities[wrong].max(1), kind="stable")
    return wrong[order[:count]]


def mistakes(
    split: Split, probabilities: np.ndarray, title: str, names: Sequence[str]
) -> Figure:
    """Draws the most confident mistakes, each with its label and prediction.

    Args:
        split: images uint8 `[num_images, height, width]` and labels `[num_images]`.
        probabilities: float `[num_images, num_classes]`, of the same images.
        title: the name of the images in the figure's title.
        names: the classes' names, as `drawable` returns them.

    Returns:
        A figure.
    """
    chosen = most_confident_mistakes(
        split.labels, probabilities, MISTAKE_ROWS * MISTAKE_COLUMNS
    )
    image_height, image_width = split.images.shape[1:]
    unit = image_width / 28  # pixels; the figure's width gives their size
    above, beside = round(12 * unit), round(2 * unit)
    height, width = image_height + above + beside, image_width + 2 * beside
    num_rows = max(1, -(-len(chosen) // MISTAKE_COLUMNS))
    field = np.full([num_rows * height, MISTAKE_COLUMNS * width], 255, np.uint8)
    figure = new_figure(8, 8 * len(field) / len(field[0]) + 0.4)
    figure_height = figure.get_size_inches()[1]
    axes = figure.add_axes((0, 0, 1, 1 - 0.4 / figure_height))
    for position, index in enumerate(chosen):
        row, column = divmod(position, MISTAKE_COLUMNS)
        top, left = row * height + above, column * width + beside
        area = (slice(top, top + image_height), slice(left, left + image_width))
        field[area] = 255 - split.images[index]
        prediction = probabilities[index].argmax()
        pair = names[split.labels[index]], names[prediction]
        words = "{} taken for {}" if max(map(len, pair)) <= 2 else "{}\ntaken for {}"
        text = f"image {index}: {probabilities[index, prediction]:.4f}\n"
        text += words.format(*(name[:MAX_MISTAKEN] for name in pair))
        axes.text(left, top - beside, text, fontsize=8, va="bottom")
    axes.imshow(field, cmap="gray", vmin=0, vmax=255)
    axes.axis("off")
    what = "the most confident mistakes" if len(chosen) else "no mistakes"
    figure.suptitle(f"{title}: {what}", fontsize=11, y=1 - 0.15 / figure_height)
    return figure


def inputs(images: np.ndarray, values: np.ndarray, view: str) -> Figure:
    """Draws images next to the sequences that the network reads.

    Args:
        images: uint8 `[num_images, height, width]`.
        values: float32 `[num_images, time_steps, input_size]`.
        view: the name of the view.

    Returns:
        A figure with a row per image; time runs from left to right.
    """
    figure = new_figure(8, 1.2 * len(images) + 0.7)
    figure.suptitle(f"what the network reads: {view}", fontsize=11)
    grid = figure.add_gridspec(
        *(len(images), 2), width_ratios=[1, 6], hspace=0.12, wspace=0.1
    )
    grid.update(left=0.01, right=0.98, top=0.92, bottom=0.11)
    limits = (min(0, values.min()), max(1, values.max()))
    for row, (image, sequence) in enumerate(zip(images, values)):
        axes = figure.add_subplot(grid[row, 0])
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        axes.axis("off")
        axes = figure.add_subplot(grid[row, 1])
        if sequence.shape[1] == 1:
            axes.plot(sequence[:, 0], color="#0072B2", linewidth=0.6)
            axes.set_ylim(limits)
        else:
            vmin, vmax = limits
            axes.imshow(sequence.T, "gray_r", vmin=vmin, vmax=vmax, aspect="auto")
            axes.set_yticks([])
        axes.set_xlim(-0.5, len(sequence) - 0.5)
        if row < len(images) - 1:
            axes.set_xticks([])
    axes.set_xlabel("time step")
    return figure
