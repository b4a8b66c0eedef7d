"""Random distortions of training images: shifted, slanted, stretched and bent.

Sources: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 86, 1998, section III; for bends, Simard,
Steinkraus and Platt, "Best practices for convolutional neural networks applied to
visual document analysis", ICDAR 2003, section 2. There, a Gaussian smooths random moves
of all pixels; here, random moves of a few points are interpolated.
"""

from __future__ import annotations

from argparse import Namespace
from typing import NamedTuple

import numpy as np

# A bend moves a grid of this many points per side, which covers the image.
POINTS = 5


class Distortions(NamedTuple):
    """The limits of a run's distortions.

    For each image, each value is random, uniform from minus its limit to plus its
    limit. With a stretch or a bend, the values between pixels are interpolated; without
    them, images are moved by whole pixels.

    Attributes:
        max_shift: pixels down, and to the right; a whole number.
        max_slant: pixels per row.
        max_stretch: the fraction of its height, and of its width, by which an image
            becomes larger; less than 1.
        max_bend: pixels down, and to the right, by which each of the points in a grid
            is moved.
    """

    max_shift: int = 0
    max_slant: float = 0.0
    max_stretch: float = 0.0
    max_bend: float = 0.0

    @classmethod
    def of(cls, config: Namespace) -> Distortions:
        """The distortions that a run's options of the same names give."""
        return cls(*(getattr(config, name) for name in cls._fields))

    def distort(
        self,
        images: np.ndarray,
        generator: np.random.RandomState,
        batch_size: int,
        share: slice = slice(None),
    ) -> np.ndarray:
        """Distorts a share of a batch, each image in its own way.

        Args:
            images: uint8 `[num_images, height, width]`, the share's images.
            generator: draws the values of the whole batch.
            batch_size: images in the whole batch.
            share: the part of the batch.

        Returns:
            uint8 in the shape of the images.
        """
        shifts = generator.randint(-self.max_shift, self.max_shift + 1, [batch_size, 2])
        slants = generator.uniform(-self.max_slant, self.max_slant, batch_size)
        if not self.max_stretch and not self.max_bend:
            return move_images(images, shifts[share], slants[share])
        stretches = generator.uniform(
            -self.max_stretch, self.max_stretch, [batch_size, 2]
        )
        bends = generator.uniform(
            -self.max_bend, self.max_bend, [batch_size, 2, POINTS, POINTS]
        )
        values = (shifts, slants, stretches, bends)
        return warp_images(images, *(value[share] for value in values))


UNDISTORTED = Distortions()


def move_images(
    images: np.ndarray, shifts: np.ndarray, slants: np.ndarray
) -> np.ndarray:
    """Shifts and slants images by whole pixels.

    Pixels that leave an image are lost, and zeros fill in.

    Args:
        images: `[num_images, height, width]`, at least one.
        shifts: int `[num_images, 2]`, pixels down and to the right.
        slants: float `[num_images]`, pixels by which a row is moved further to the
            right than the row below. Moves are rounded to whole pixels; the middle
            stays in place.

    Returns:
        An array with shape and dtype of `images`.
    """
    num_images, height, width = images.shape
    rows = np.arange(height)
    down = shifts[:, :1]
    slanted = np.rint(slants[:, None] * ((height - 1) / 2 - rows)).astype(int)
    right = shifts[:, 1:] + slanted  # [num_images, height]
    above, beside = np.abs(down).max(), np.abs(right).max()
    margins = [(0, 0), (above, above), (beside, beside)]
    padded = np.pad(images, margins, "constant")
    # A view with every window of `width` pixels in each padded row.
    windows = np.lib.stride_tricks.as_strided(
        padded,
        [*padded.shape[:2], 2 * beside + 1, width],
        [*padded.strides, padded.strides[-1]],
        writeable=False,
    )
    numbers = np.arange(num_images)[:, None]
    return windows[numbers, above - down + rows, beside - right]


def warp_images(
    images: np.ndarray,
    shifts: np.ndarray,
    slants: np.ndarray,
    stretches: np.ndarray,
    bends: np.ndarray,
) -> np.ndarray:
    """Stretches, slants, shifts and bends images; interpolates linearly.

    Pixels that leave an image are lost, and zeros fill in.

    Args:
        images: uint8 `[num_images, height, width]`.
        shifts, slants: as for `move_images`, but nothing is rounded.
        stretches: `[num_images, 2]`: height and width are first multiplied by
            1 + stretch; the middle stays in place.
        bends: `[num_images, 2, points, points]`, for a grid of points from corner to
            corner: at each point, the result shows what the image has this many pixels
            further down and to the right. Between the points, bends are interpolated.

    Returns:
        uint8 in the shape of the images.
    """
    _, height, width = images.shape
    shifts, slants, stretches, bends = (
        value.astype(np.float32) for value in (shifts, slants, stretches, bends)
    )
    down, right = shifts.T[..., None, None]
    tall, wide = 1 + stretches.T[..., None, None]
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    y = np.arange(height, dtype=np.float32)[:, None] - middle_row
    x = np.arange(width, dtype=np.float32) - middle_column
    # Where in the image each pixel of the result lies, [num_images, height, width].
    bends = _interpolate(_interpolate(bends, height, axis=2), width, axis=3)
    slanted = slants[:, None, None] * y
    rows = bends[:, 0] + ((y - down) / tall + middle_row)
    columns = bends[:, 1] + ((x - right + slanted) / wide + middle_column)
    return _sample(images, rows, columns)


def _interpolate(values, length, axis):
    """Linear interpolation between the values along an axis, at equal distances."""
    count = values.shape[axis]
    places = np.linspace(0, count - 1, length)
    firsts = np.minimum(places.astype(int), count - 2)
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    parts = (places - firsts).astype(np.float32).reshape(shape)
    before = values.take(firsts, axis)
    return before + (values.take(firsts + 1, axis) - before) * parts


def _sample(images, rows, columns):
    """The images' values at float32 places `[num_images, height, width]`."""
    num_images, height, width = images.shape
    # Wherever a place lies, it has a pixel, and others below and to the right of it.
    padded = np.pad(images, [(0, 0), (1, 2), (1, 2)], "constant")
    line, size = width + 3, (height + 3) * (width + 3)
    rows, columns = np.clip(rows, -1, height) + 1, np.clip(columns, -1, width) + 1
    tops, lefts = rows.astype(np.int64), columns.astype(np.int64)
    places = np.arange(num_images)[:, None, None] * size + tops * line + lefts
    pixels = padded.ravel()
    top_left, top_right, bottom_left, bottom_right = (
        pixels.take(places + offset).astype(np.float32)
        for offset in (0, 1, line, line + 1)
    )
    down, across = rows - tops.astype(np.float32), columns - lefts.astype(np.float32)
    top = top_left + (top_right - top_left) * across
    bottom = bottom_left + (bottom_right - bottom_left) * across
    return np.rint(top + (bottom - top) * down).astype(np.uint8)
