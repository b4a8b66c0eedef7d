"""Converts a picture of a digit, of any size and colour, to MNIST's form.

For networks of images of another size, the form is the same in proportion.

MNIST's images are "size normalized to fit in a 20x20 pixel box while preserving their
aspect ratio", with grey levels "as a result of the anti-aliasing technique", and
"centered in a 28x28 image by computing the center of mass of the pixels, and
translating the image so as to position this point at the center of the 28x28 field":
light ink, 255, on dark paper, 0. In each of the 10,000 published test images, the
centre of mass is within half a pixel of row and column 14, counted from 0. The longer
side of the ink is 20 pixels in all but three test images.

Source: Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits,
yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import numpy as np

from seqmnist.data.mnist import DARK_ON_LIGHT, LIGHT_ON_DARK
from seqmnist.errors import UserError
from seqmnist.paths import shown
from seqmnist.predicting.picture_files import read_grey

BOX = 20 / 28  # the part of the image's height and width that the ink may fill

POLARITIES = ("auto", LIGHT_ON_DARK, DARK_ON_LIGHT)

# Pixels; a larger picture is averaged down first. The result needs a 50th of this.
MAX_SIDE = 1000

# Of MNIST's 70,000 images, all but one have a centre of mass within half a pixel of row
# and column 14, and the longer side of all but one is 19 or 20 pixels (ink above
# `NO_INK`). A little more is allowed for.
MAX_DISTANCE = 1.0
DIGIT_SIDES = (18, 19, 20, 21)
# Six of MNIST's digits are more than twice as wide as high.
WIDEST = 2.0

# The smallest difference between paper and ink, in grey levels of 255. The noise in a
# photograph of blank paper is smaller, and a pencil's faintest line is larger.
MIN_CONTRAST = 24

# Fractions of the contrast between paper and ink. Pixels below `NO_INK` are paper: JPEG
# has artefacts up to this level next to an edge. Pixels above `SURE_INK` determine the
# digit's place: the middle of a blurred edge is 0.5, but a pencil's lines are uneven.
# For uneven paper, both limits are higher.
NO_INK = 0.1
SURE_INK = 0.35

# Ink is a sheet of paper or a frame if its box is this wide, or high, and it goes along
# this part of each of its edges: at most 0.65 in 30,000 of MNIST's images, enlarged.
MIN_ASPECT = 0.5
FRAMED = 0.8
SHEET = 0.98  # the least part of a line within a sheet that is not of the digit
MIN_TABLE = 16  # grey levels
# The least gap between pieces of ink that are far apart: side by side, in heights of
# the ink (at most 0.29 in these images); above one another, in widths (at most 0.5).
GAPS = (0.35, 0.55)


class Picture(NamedTuple):
    """A picture in the form that the networks read.

    Attributes:
        pixels: uint8 `[height, width]`; for light on dark, 0 (paper) to 255 (ink).
        description: size, polarity and conversion of the picture, in a few words.
    """

    pixels: np.ndarray
    description: str


class Form(NamedTuple):
    """The images that a network was trained on.

    Attributes:
        height, width: in pixels.
        polarity: light on dark or dark on light.
        is_mnist: whether the images are MNIST's, with the digit in its place.
    """

    height: int = 28
    width: int = 28
    polarity: str = LIGHT_ON_DARK
    is_mnist: bool = True


MNIST_FORM = Form()


def read_picture(path: str, polarity: str = "auto", form: Form = MNIST_FORM) -> Picture:
    """Reads a picture and converts it to MNIST's form.

    Args:
        path: the file, in one of the formats of picture_files.py.
        polarity: "light-on-dark", "dark-on-light", or "auto", which takes most of the
            picture's border for paper.
        form: size and polarity of the result, those of the images of the training.

    Returns:
        The picture.

    Raises:
        UserError: the file cannot be read, or has no ink that differs from the paper.
    """
    try:
        return normalize(read_grey(path), polarity, form)
    except UserError as error:
        raise UserError(f"{shown(path)}: {error}")


def normalize(
    grey: np.ndarray,
    polarity: str = "auto",
    form: Form = MNIST_FORM,
) -> Picture:
    """Converts a picture to the form of the training images.

    A picture that has their size and polarity is not changed, unless they are MNIST's
    and the digit is not in its place. If the ink found is a frame, or a sheet of paper
    on a table, the digit is looked for within it, unless the polarity is given.

    Args:
        grey: uint8 or float32 `[height, width]`, 0 (black) to 255 (white).
        polarity, form: as for `read_picture`.

    Returns:
        The picture.

    Raises:
        UserError: the picture has no ink that differs from the paper.
    """
    height, width = grey.shape
    words = f"{width} x {height} pixels"
    grey = _reduced(grey).astype(np.float32)
    _check_contrast(float(grey.max() - grey.min()))
    border_says = _guess_polarity(grey)
    is_guessed = polarity == "auto"
    if is_guessed:
        polarity = border_says
        words += f", {polarity.replace('-', ' ')} (guessed by the border)"
    else:
        words += f", {polarity.replace('-', ' ')}"
    has_form = grey.shape == form[:2] and polarity == form.polarity
    as_it_is = Picture(np.rint(grey).astype(np.uint8), f"{words}; taken as it is")
    if has_form and (_is_in_place(grey) or not form.is_mnist):
        return as_it_is
    light = grey if polarity == LIGHT_ON_DARK else 255 - grey
    try:
        ink, is_sure = _find_ink(light, has_paper_border=polarity == border_says)
    except UserError:
        if has_form:
            return as_it_is
        raise
    top, bottom, left, right = _bounding_box(is_sure)
    inner = _find_inner(is_sure[top:bottom, left:right], light) if is_guessed else None
    if inner is not None:
        place = grey[top:bottom, left:right][inner.place]
        with contextlib.suppress(UserError):  # nothing is within
            other = DARK_ON_LIGHT if polarity == LIGHT_ON_DARK else LIGHT_ON_DARK
            found = normalize(place, other if inner.is_sheet else polarity, form)
            words += f"; {inner.name}, within it: {found.description}"
            return found._replace(description=words)
    small = _resized(ink[top:bottom, left:right], form)
    if _has_gap(is_sure[top:bottom, left:right]):
        words += "; two pieces of ink far apart (is it one digit?)"
    elif right - left > WIDEST * (bottom - top):
        words += "; ink far wider than high (is it one digit?)"
    words += f"; digit scaled to {small.shape[1]} x {small.shape[0]} and centred"
    pixels = _centred(small, form)
    if form.polarity == DARK_ON_LIGHT:
        words += f", {form.polarity} like the training images"
        return Picture(255 - pixels, words)
    return Picture(pixels, words)


def _is_in_place(grey: np.ndarray) -> bool:
    """Whether a digit has the place that it has in MNIST's images: see above.

    A JPEG file of such an image has artefacts around the ink, so faint ink is left out.
    """
    places = [np.flatnonzero((grey > NO_INK * 255).any(axis)) for axis in (1, 0)]
    sides = [place[-1] - place[0] + 1 for place in places]
    centre = np.array([grey.sum(1 - axis) @ np.arange(28) for axis in (0, 1)])
    is_centred = np.abs(centre / grey.sum() - 14).max() <= MAX_DISTANCE
    return is_centred and max(sides) in DIGIT_SIDES


def _reduced(grey: np.ndarray) -> np.ndarray:
    """The picture, averaged down if it is larger than `MAX_SIDE`."""
    factor = -(-max(grey.shape) // MAX_SIDE)
    if factor == 1:
        return grey
    from PIL import Image

    return np.asarray(Image.fromarray(grey).reduce(factor))


def _border(grey: np.ndarray) -> np.ndarray:
    """The pixels along the four edges."""
    return np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])


def _guess_polarity(grey: np.ndarray) -> str:
    """The polarity by which most of the border is paper."""
    middle = (float(grey.min()) + float(grey.max())) / 2
    return DARK_ON_LIGHT if np.median(_border(grey)) > middle else LIGHT_ON_DARK


def _check_contrast(contrast: float) -> None:
    """Raises a `UserError` if the contrast is too small."""
    if contrast < MIN_CONTRAST:
        raise UserError(
            f"no ink in it: its grey levels differ by {contrast:.0f} of 255; expected "
            f"at least {MIN_CONTRAST:.0f}"
        )


def _find_ink(
    grey: np.ndarray, has_paper_border: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The ink of a light-on-dark picture, 0 to 1, and the mask of sure ink."""
    if has_paper_border:
        paper, unevenness = _find_paper(grey)
    else:
        paper, unevenness = np.percentile(grey, 1), 0.0
    ink = np.maximum(grey - paper, 0)
    # The median of the upper half, since the maximum may belong to a single speck.
    contrast = float(np.median(ink[ink >= ink.max() / 2]))
    _check_contrast(contrast)
    if contrast < 3 * unevenness:
        raise UserError(
            "its border is too uneven to tell paper from ink; give a picture with a "
            "margin of paper around the digit"
        )
    ink = np.minimum(ink / contrast, 1).astype(np.float32)
    noise = unevenness / contrast
    is_sure = ink >= max(SURE_INK, min(4 * noise, 0.6))
    return np.where(ink < max(NO_INK, min(2 * noise, 0.5)), 0, ink), is_sure


def _find_paper(grey: np.ndarray) -> tuple[np.ndarray, float]:
    """The paper's grey levels, and the standard deviation of the border from them.

    The levels are a plane fitted to the border's pixels, since light may fall from one
    side.
    """
    rows, columns = np.indices(grey.shape, np.float32)
    places = np.stack([np.ones_like(grey), rows, columns], axis=-1)
    border, values = _border(places), _border(grey)
    is_paper = np.ones(len(values), bool)
    for _ in range(3):  # each fit leaves out more of the ink that touches the border
        plane = np.linalg.lstsq(border[is_paper], values[is_paper], rcond=None)[0]
        distances = np.abs(values - border @ plane)
        is_paper = distances <= max(3 * np.median(distances), 3)
    # 1.4826 times the median distance is the standard deviation of normal noise.
    return places @ plane, 1.4826 * float(np.median(distances))


def _bounding_box(is_ink: np.ndarray) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the ink without specks; ends excluded."""
    # A speck is a pixel of ink with fewer than two other ink pixels around it. A pixel
    # within a line has two; the end of a line is kept as the neighbour of such a pixel.
    is_digit = is_ink & _spread(is_ink & (_neighbours(is_ink) >= 3))
    if not is_digit.any():
        is_digit = is_ink
    rows, columns = (np.flatnonzero(is_digit.any(axis)) for axis in (1, 0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


class _Inner(NamedTuple):
    """The part of a picture within a sheet of paper or a frame."""

    name: str
    is_sheet: bool
    place: tuple[slice, slice]


def _find_inner(is_ink: np.ndarray, light: np.ndarray) -> _Inner | None:
    """Finds what is within, if the ink is a sheet of paper on a table, or a frame.

    Args:
        is_ink: the mask of the ink in its bounding box.
        light: the whole picture, light on dark.

    Returns:
        The `_Inner`; `None` if the ink is a digit, as far as can be told.
    """
    height, width = is_ink.shape
    rows, columns = height // 12, width // 12
    if min(height, width) < MIN_ASPECT * max(height, width) or not min(rows, columns):
        return None
    edges = [is_ink[:rows], is_ink[-rows:]]
    edges += [is_ink[:, :columns].T, is_ink[:, -columns:].T]
    if min(edge.any(0).mean() for edge in edges) <= FRAMED:
        return None
    place = slice(rows, -rows), slice(columns, -columns)
    around = _border(is_ink[place])
    if not around.any():
        return _Inner("a frame", False, place)
    # A bold digit of light on black may look so too; but a table is not black.
    if around.mean() > SHEET and np.median(_border(light)) > MIN_TABLE:
        return _Inner("a sheet of paper", True, place)
    return None


def _has_gap(is_ink: np.ndarray) -> bool:
    """Whether the ink is in two parts, beside or above one another, far apart.

    Args:
        is_ink: the mask of the ink in its bounding box.
    """
    for axis, least in enumerate(GAPS):
        counts = is_ink.sum(axis)
        places = np.flatnonzero(counts)
        for before, after in zip(places, places[1:]):
            share = counts[:after].sum() / counts.sum()
            is_far = after - before - 1 > least * is_ink.shape[axis]
            if is_far and min(share, 1 - share) > 0.1:
                return True
    return False


def _neighbours(mask: np.ndarray) -> np.ndarray:
    """The number of set pixels in the 3 x 3 square around each pixel."""
    height, width = mask.shape
    padded = np.pad(mask.astype(np.uint8), 1, mode="constant")
    count = np.zeros(mask.shape, np.uint8)
    for row in range(3):
        for column in range(3):
            count += padded[row : row + height, column : column + width]
    return count


def _spread(mask: np.ndarray) -> np.ndarray:
    """The mask and the pixels that touch it."""
    return _neighbours(mask) > 0


def _resized(ink: np.ndarray, form: Form) -> np.ndarray:
    """Scales the ink to fit in the box, and to a maximum of 1."""
    from PIL import Image

    box = (round(BOX * form.height), round(BOX * form.width))
    scale = min(box[0] / ink.shape[0], box[1] / ink.shape[1])
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    image = Image.fromarray(ink.astype(np.float32))
    small = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    # Without this division, a line much thinner than a new pixel would be grey.
    return np.clip(small / min(1.0, float(small.max())), 0, 1)


def _centred(small: np.ndarray, form: Form) -> np.ndarray:
    """Moves the ink by whole pixels, so that its centre of mass is in the middle."""
    pixels = np.zeros(form[:2], np.uint8)
    mass = float(small.sum())
    start = []
    for axis, (size, whole) in enumerate(zip(small.shape, form[:2])):
        centre = float(small.sum(1 - axis) @ np.arange(size)) / mass
        start.append(min(max(round(whole // 2 - centre), 0), whole - size))
    (top, left), (height, width) = start, small.shape
    pixels[top : top + height, left : left + width] = np.rint(small * 255)
    return pixels
