"""The shared reshaping helper: an image as a sequence of rows or of single pixels.

An image is read from the top left corner in reading order (C order), either as rows or
as single pixels: MNIST's, of 28 x 28 pixels, as 28 time steps of 28 pixels or as 784
time steps of 1 pixel. In the permuted task, one fixed permutation of the pixels is
applied to every image first, which places neighbouring pixels far apart in time (Le,
Jaitly and Hinton, arXiv:1504.00941, section 4.2).
"""

from __future__ import annotations

import numpy as np

from seqmnist import tf1 as tf

VIEWS = ("rows", "pixels")
HALVING = 2 * 2  # pixels of an image for each pixel of the halved one

# The seed of the permutation that many papers on permuted MNIST use.
PERMUTATION_SEED = 92916


def sequence_shape(view: str, height: int, width: int) -> tuple[int, int]:
    """The shape of the sequence that an image is read as.

    Args:
        view: one of `VIEWS`.
        height, width: of the image, in pixels.

    Returns:
        The number of time steps, and the number of pixels read at each of them.
    """
    return {"rows": (height, width), "pixels": (height * width, 1)}[view]


def permutation(seed: int, num_pixels: int) -> np.ndarray:
    """The order in which the permuted task reads the pixels.

    Args:
        seed: seed of NumPy's legacy generator, 0 to 2**31 - 1.
        num_pixels: pixels of an image.

    Returns:
        int64 `[num_pixels]`: entry i is the place in the image, in reading order, of
        the pixel that is read at time step i.
    """
    return np.random.RandomState(seed).permutation(num_pixels)


def as_sequences(images: tf.Tensor, view: str, permute: int | None = None) -> tf.Tensor:
    """Reads images as sequences.

    Args:
        images: tensor `[batch_size, height, width]`, any dtype; height and width are
            static.
        view: one of `VIEWS`.
        permute: the seed of a `permutation` of the pixels; `None` for reading order.

    Returns:
        A tensor `[batch_size, time_steps, input_size]` with the same values and dtype.

    Raises:
        ValueError: `images` is not `[batch_size, height, width]`.
    """
    shape = images.shape.as_list()
    if len(shape) != 3 or None in shape[1:]:
        raise ValueError(f"images of shape {shape}; expected [None, height, width]")
    _, height, width = shape
    if permute is not None:
        pixels = tf.reshape(images, [-1, height * width])
        images = tf.gather(pixels, permutation(permute, height * width), axis=1)
    return tf.reshape(images, [-1, *sequence_shape(view, height, width)])


def halved(images: tf.Tensor) -> tf.Tensor:
    """Halves the height and the width of images: each pixel is the mean of four.

    Args:
        images: uint8 `[batch_size, height, width]`; height and width are static and
            even.

    Returns:
        uint8 `[batch_size, height / 2, width / 2]`, rounded.
    """
    _, height, width = images.shape.as_list()
    squares = tf.reshape(images, [-1, height // 2, 2, width // 2, 2])
    means = tf.reduce_mean(tf.cast(squares, tf.float32), axis=[2, 4])
    return tf.cast(tf.round(means), tf.uint8)
