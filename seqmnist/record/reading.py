"""A figure of the classes' probabilities over time, while a network reads an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Sequence

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Style = Dict[str, Any]  # keyword arguments of matplotlib

# In inches.
WIDTH = 9.0  # of the figure; at 100 dots per inch, the width of a README
ACCURACY_HEIGHT = 1.6  # of the accuracy panel
STRIP_HEIGHT = 1.6  # of an image's strip, and the image's width
GAP = 0.24  # above each panel and strip
BOTTOM = 0.5  # for the axis of time
IMAGE_LEFT = 0.55  # from the figure's left edge to the images
RIDGES_LEFT, RIDGES_RIGHT = 2.65, 1.55  # from the figure's edges to the ridges

# Okabe and Ito's palette, which colour-blind readers can distinguish. A wrong
# prediction also has hatches and a dashed line.
TRUE: Style = {"color": "#D55E00", "linestyle": "-", "linewidth": 1.4}
WRONG: Style = {"color": "#0072B2", "linestyle": "--", "linewidth": 1.4}
OTHER: Style = {"color": "#7F8FA3", "linestyle": "-", "linewidth": 0.7}
TEXT = "#333333"
GRID = "#DDE2E8"

# Height of a ridge at probability 1, in distances between ridges. A ridge may hide the
# one above it, since only one probability is large at a time.
RIDGE_HEIGHT = 1.35

MAX_RIDGES = 10  # classes drawn for an image
MAX_NAME = 9  # characters of a class's name at the left of its ridge
# Longer names are drawn in small text, and at the left only.
MAX_LARGE_NAME = 3
LARGE_TEXT, SMALL_TEXT = 8, 6


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities from logits.

    Args:
        logits: float `[..., num_classes]`.

    Returns:
        float32 of the same shape, 0 to 1; sums over the last axis are 1, unless logits
        are infinite or NaN.
    """
    logits = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):  # infinite logits give NaN
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    total = exponentials.sum(axis=-1, keepdims=True)
    return (exponentials / total).astype(np.float32)


def draw_reading(
    figure: Figure,
    accuracy: np.ndarray | None,
    images: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[int | None],
    names: Sequence[str],
    in_order: bool = True,
) -> None:
    """Draws the accuracy on top and a strip per image below, on one axis of time.

    Args:
        figure: an empty matplotlib `Figure`; this function sets its size.
        accuracy: float `[time_steps]`, the fraction of the test images that is
            classified correctly after each time step; `None` for no accuracy panel.
        images: uint8 `[num_images, height, width]`, 0 (paper) to 255 (ink).
        probabilities: float `[num_images, time_steps, num_classes]`, 0 to 1.
        labels: the images' classes, from 0, or `None` for an unknown class.
        names: the classes' names.
        in_order: whether images are read from the top; if so, marks next to an image
            show the part read.

    Raises:
        ValueError: the numbers of images, probabilities and labels differ.
    """
    if not len(images) == len(probabilities) == len(labels):
        raise ValueError(
            f"found {len(images)} images, {len(probabilities)} probabilities and "
            f"{len(labels)} labels; expected one of each per image"
        )
    heights = [STRIP_HEIGHT] * len(images)
    if accuracy is not None:
        heights.insert(0, ACCURACY_HEIGHT)
    figure.set_size_inches(WIDTH, sum(heights) + GAP * len(heights) + BOTTOM)
    figure.set_facecolor("white")  # opaque: it may be shown on a dark page
    edges = np.cumsum([GAP + height for height in heights])  # of bottoms
    if accuracy is not None:
        axes = _ridge_axes(figure, edges[0], ACCURACY_HEIGHT)
        _draw_accuracy(axes, accuracy, num_rows=images.shape[1])
        edges = edges[1:]
    for edge, image, values, label in zip(edges, images, probabilities, labels):
        ridge_axes = _ridge_axes(figure, edge, STRIP_HEIGHT)
        image_axes = _axes(figure, IMAGE_LEFT, edge, STRIP_HEIGHT, STRIP_HEIGHT)
        _draw_image(image_axes, image, in_order)
        _prepare(ridge_axes, num_rows=len(image))
        draw_probabilities(ridge_axes, values, label, names)
    last = figure.axes[-2] if len(images) else figure.axes[-1]
    last.tick_params(labelbottom=True, length=3)
    last.set_xlabel("part of the image read (%)", color=TEXT, fontsize=9)


def draw_probabilities(
    axes: Axes, probabilities: np.ndarray, label: int | None, names: Sequence[str]
) -> None:
    """Draws a ridge per class: the probability over the part read.

    Of many classes, draws those that were the most probable ones at any time, and the
    label.

    Args:
        axes: matplotlib `Axes`.
        probabilities: float `[time_steps, num_classes]`, 0 to 1, after each time step.
        label: the image's class, from 0, or `None` if unknown.
        names: the classes' names.
    """
    predicted = int(probabilities[-1].argmax())
    is_right = label is None or label == predicted
    marks = {} if is_right else {label: (TRUE, "true")}
    marks[predicted] = (TRUE if is_right else WRONG, "predicted")
    peaks = probabilities.max(0)
    peaks[list(marks)] = 2
    chosen = np.sort(np.argsort(-peaks, kind="stable")[:MAX_RIDGES])
    axes.set_ylim(len(chosen) + 0.02, 1 - RIDGE_HEIGHT - 0.05)
    axes.set_yticks([])
    parts = _parts(len(probabilities))
    size = LARGE_TEXT if max(map(len, names)) <= MAX_LARGE_NAME else SMALL_TEXT
    for base, number in enumerate(chosen, 1):
        style, role = marks.get(number, (OTHER, ""))
        values = probabilities[:, number]
        name = names[number]
        if len(name) > MAX_NAME:
            name = name[: MAX_NAME - 1] + "…"
        _draw_ridge(axes, base, name, size, parts, values, style, role)


def _draw_ridge(
    axes: Axes,
    base: int,
    name: str,
    size: int,
    parts: np.ndarray,
    values: np.ndarray,
    style: Style,
    role: str,
) -> None:
    """Draws a class's ridge, with the name at the left and the result at the right."""
    tops = base - RIDGE_HEIGHT * values
    color = style["color"]
    front: Style = {"zorder": base + 1}
    axes.fill_between(parts, base, tops, facecolor="white", linewidth=0, **front)
    axes.plot([0, 100], [base, base], color=GRID, linewidth=0.6, **front)
    hatch = "////" if style is WRONG else None
    axes.fill_between(
        *(parts, base, tops),
        facecolor=color,
        edgecolor=color,
        alpha=0.35 if role else 0.25,
        linewidth=0,
        hatch=hatch,
        **front,
    )
    axes.plot(parts, tops, **style, solid_joinstyle="round", **front)
    weight = "bold" if role else "normal"
    text: Style = {"va": "center", "color": color if role else TEXT, "weight": weight}
    axes.text(-1.3, base - 0.35, name, ha="right", fontsize=size, **text)
    if role:
        words = f"{role}: {values[-1]:.3f}"
        if size == LARGE_TEXT:
            words = f"{role} {name}: {values[-1]:.3f}"
        axes.text(101.3, base - 0.35, words, ha="left", fontsize=8.5, **text)


def _draw_image(axes: Axes, image: np.ndarray, in_order: bool) -> None:
    """Draws the image, dark on light; if read in order, with marks of the part read."""
    axes.imshow(255 - image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    if in_order:
        axes.set_yticks([-0.5, len(image) / 2 - 0.5, len(image) - 0.5])
        axes.set_yticklabels(["0", "50", "100 %"], fontsize=7, color=TEXT)
        axes.tick_params(length=2, color=GRID)
    for spine in axes.spines.values():
        spine.set_color(GRID)


def _draw_accuracy(axes: Axes, accuracy: np.ndarray, num_rows: int) -> None:
    """Draws the accuracy over the part of the images read."""
    _prepare(axes, num_rows)
    percent = 100 * np.asarray(accuracy)
    axes.plot(_parts(len(accuracy)), percent, **TRUE)
    axes.set_ylim(0, 102)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_yticklabels(["0", "25", "50", "75", "100"], color=TEXT, fontsize=8)
    axes.set_ylabel("test images\nclassified correctly (%)", color=TEXT, fontsize=9)
    words = f"{percent[-1]:.1f} %"
    text: Style = {"color": TRUE["color"], "weight": "bold", "fontsize": 8.5}
    axes.text(101.3, percent[-1], words, va="center", **text)


def _prepare(axes: Axes, num_rows: int) -> None:
    """Sets up the axis of time, with a light mark after each row's pixels."""
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.tick_params(labelbottom=False, length=0, labelsize=8, labelcolor=TEXT)
    for row in range(num_rows + 1):
        axes.axvline(100 * row / num_rows, color=GRID, linewidth=0.4, zorder=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _parts(time_steps: int) -> np.ndarray:
    """The part of the image read after each time step, in per cent."""
    return 100 * np.arange(1, time_steps + 1) / time_steps


def _ridge_axes(figure: Figure, bottom: float, height: float) -> Axes:
    """Makes axes right of the images, in inches from the figure's top."""
    width = WIDTH - RIDGES_LEFT - RIDGES_RIGHT
    return _axes(figure, RIDGES_LEFT, bottom, width, height)


def _axes(
    figure: Figure, left: float, bottom: float, width: float, height: float
) -> Axes:
    """Makes axes, in inches from the figure's left and top."""
    total = figure.get_size_inches()[1]
    return figure.add_axes(
        (left / WIDTH, 1 - bottom / total, width / WIDTH, height / total)
    )
