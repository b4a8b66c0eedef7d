"""The shared reshaping helper: an image as a sequence of rows or of single pixels.

A 28 x 28 image is read from the top left corner in reading order (C order), either as
28 time steps of 28 pixels or as 784 time steps of one. Both are views of the same
memory: nothing is copied.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqmnist.mnist import IMAGE_SIZE


class View(NamedTuple):
    """A way to read an image as a sequence.

    Attributes:
        name: what `--view` calls it.
        time_steps: the number of positions in the sequence.
        input_size: the number of pixels read at each position.
    """

    name: str
    time_steps: int
    input_size: int


VIEWS = {
    "rows": View("rows", time_steps=IMAGE_SIZE, input_size=IMAGE_SIZE),
    "pixels": View("pixels", time_steps=IMAGE_SIZE * IMAGE_SIZE, input_size=1),
}


def as_sequences(images: np.ndarray, view: View) -> np.ndarray:
    """Reads images as sequences.

    Args:
        images: `[num_examples, 28, 28]`, any dtype.
        view: one of `VIEWS`.

    Returns:
        The same values and dtype as `[num_examples, time_steps, input_size]`; a view of
        `images` where NumPy can make one.

    Raises:
        ValueError: `images` is not `[num_examples, 28, 28]`.
    """
    if images.ndim != 3 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(
            f"images of shape {list(images.shape)}; "
            f"expected [num_examples, {IMAGE_SIZE}, {IMAGE_SIZE}]"
        )
    return images.reshape(-1, view.time_steps, view.input_size)
