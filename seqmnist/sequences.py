"""The shared reshaping helper: an image as a sequence of rows or of single pixels.

A 28 x 28 image is read from the top left corner in reading order (C order), either as
28 time steps of 28 pixels or as 784 time steps of 1 pixel. In the permuted task, one
fixed permutation of the pixels is applied to every image first, which places
neighbouring pixels far apart in time (Le, Jaitly and Hinton, arXiv:1504.00941, section
4.2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.data import mnist


class View(NamedTuple):
    """A way to read an image as a sequence.

    Attributes:
        name: the value of `--view`.
        time_steps: the number of positions in the sequence.
        input_size: the number of pixels read at each position.
    """

    name: str
    time_steps: int
    input_size: int


VIEWS = {
    "rows": View("rows", time_steps=mnist.IMAGE_SIZE, input_size=mnist.IMAGE_SIZE),
    "pixels": View("pixels", time_steps=mnist.IMAGE_SIZE**2, input_size=1),
}


# The seed of the permutation that many papers on permuted MNIST use.
PERMUTATION_SEED = 92916


def permutation(seed: int) -> np.ndarray:
    """The order in which the permuted task reads the pixels.

    Args:
        seed: seed of NumPy's legacy generator, 0 to 2**31 - 1.

    Returns:
        int64 `[784]`: entry i is the place in the image, in reading order, of the pixel
        that is read at time step i.
    """
    return np.random.RandomState(seed).permutation(mnist.IMAGE_SIZE**2)


def as_sequences(
    images: tf.Tensor, view: View, permute: int | None = None
) -> tf.Tensor:
    """Reads images as sequences.

    Args:
        images: tensor `[batch_size, 28, 28]`, any dtype.
        view: one of `VIEWS`.
        permute: the seed of a `permutation` of the pixels; `None` for reading order.

    Returns:
        A tensor `[batch_size, time_steps, input_size]` with the same values and dtype.

    Raises:
        ValueError: `images` is not `[batch_size, 28, 28]`.
    """
    shape = images.shape.as_list()
    expected = list(mnist.IMAGE_SHAPE)
    if shape[1:] != expected:
        raise ValueError(f"images of shape {shape}; expected [None, *{expected}]")
    if permute is not None:
        pixels = tf.reshape(images, [-1, mnist.IMAGE_SIZE**2])
        images = tf.gather(pixels, permutation(permute), axis=1)
    return tf.reshape(images, [-1, view.time_steps, view.input_size])
