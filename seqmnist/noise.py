"""The random numbers of training, from seed, step and an image's place in the batch."""

from __future__ import annotations

import zlib
from typing import Sequence

import numpy as np

from seqmnist import tf1 as tf

# Constants of Threefry-2x32: the rounds' rotations in bits, and the key's parity word.
ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
NUM_ROUNDS = 20
PARITY = 0x1BD11BDA


class Noise:
    """Random numbers for a batch in training, or for a part of it.

    An image's numbers follow from the run's seed, the step and the image's place in the
    whole batch. So a resumed run, several workers, a batch in parts and compiled steps
    draw the same numbers as plain steps of one process. TensorFlow's own random ops,
    even the stateless ones, draw different numbers under XLA than in plain kernels.

    Args:
        seed: the run's seed, 0 to 2**31 - 1.
        step: integer scalar, updates done.
        first: the first image's place in the batch.
    """

    def __init__(self, seed: int, step: tf.Tensor, first: int = 0) -> None:
        self.seed = seed
        self.step = step
        self.first = first

    def uniform(self, like: tf.Tensor, shape: Sequence[int], name: str) -> tf.Tensor:
        """Random numbers, different for each image.

        Args:
            like: a tensor `[num_images, ...]`, which gives the number of images.
            shape: shape of each image's numbers; at most 2**31 numbers in the whole
                batch.
            name: different names give independent numbers.

        Returns:
            float32 `[num_images, *shape]`, uniform in [0, 1).
        """
        per_image = int(np.prod(shape))
        places = self.first + tf.range(tf.shape(like)[0])
        counter = places[:, None] * per_image + tf.range(per_image)
        key = (self.seed ^ zlib.crc32(name.encode()), tf.cast(self.step, tf.int32))
        bits, _ = threefry(key, (counter, tf.zeros_like(counter)))
        # A float32 in [0, 1) holds 24 bits.
        numbers = tf.cast(_shift_right(bits, 8), tf.float32) * 2.0**-24
        return tf.reshape(numbers, [-1, *shape])


def dropout(
    values: tf.Tensor, rate: float, noise: Noise | None, name: str = "dropout"
) -> tf.Tensor:
    """Sets values to zero at random in training; scales the others by 1 / (1 - rate).

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from
    overfitting", JMLR 15, 2014; scaled in training, as in TF1.

    Args:
        values: float32 `[num_images, ...]`; all axes but the first are static.
        rate: the fraction that is set to zero, in [0, 1).
        noise: the `Noise` in training, `None` in evaluation.
        name: as for `Noise.uniform`.

    Returns:
        float32 in the shape of the values; the values themselves in evaluation, and at
        rate 0.
    """
    if noise is None or not rate:
        return values
    return values * _mask(values, values.shape.as_list()[1:], rate, noise, name)


def candidate_mask(
    images: tf.Tensor,
    num_units: int,
    rate: float,
    noise: Noise | None,
    layer: int = 0,
) -> tf.Tensor | None:
    """The mask with which a cell of cells.py drops parts of its candidate.

    The memory itself is never dropped, and the same units at all time steps.

    Sources: Semeniuta, Severyn and Barth, "Recurrent dropout without memory loss",
    arXiv:1603.05118; one mask per sequence as in Gal and Ghahramani, "A theoretically
    grounded application of dropout in recurrent neural networks", arXiv:1512.05287.

    Args:
        images: a tensor `[num_images, ...]`, which gives the number of images.
        num_units: units of the cell.
        rate: the fraction that is dropped, in [0, 1).
        noise: the `Noise` in training, `None` in evaluation.
        layer: the cell's place in a stack; each has a mask of its own.

    Returns:
        float32 `[num_images, num_units]`, each value 0 or 1 / (1 - rate); `None` in
        evaluation, and at rate 0.
    """
    if noise is None or not rate:
        return None
    return _mask(images, [num_units], rate, noise, f"candidate_{layer}")


def _mask(like, shape, rate, noise, name):
    """Factors of dropout, `[num_images, *shape]`."""
    kept = tf.cast(noise.uniform(like, shape, name) >= rate, tf.float32)
    return kept / (1 - rate)


def threefry(
    key: tuple[int | tf.Tensor, int | tf.Tensor], counter: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """64 random bits per counter, from integer additions, rotations and xor only.

    Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2,
    3", SC 2011, Threefry-2x32 with 20 rounds. JAX uses the same generator.

    Args:
        key: two words, integers or int32 tensors.
        counter: two int32 tensors of the same shape.

    Returns:
        Two int32 tensors of the counters' shape.
    """
    keys = [_as_int32(word) for word in key]
    keys.append(_xor(_xor(*keys), _as_int32(PARITY)))
    x, y = counter[0] + keys[0], counter[1] + keys[1]
    for number in range(NUM_ROUNDS):
        x += y
        rotation = ROTATIONS[number % len(ROTATIONS)]
        rotated = tf.bitwise.left_shift(y, rotation)
        y = _xor(rotated + _shift_right(y, 32 - rotation), x)
        injection, last = divmod(number + 1, 4)
        if not last:
            x += keys[injection % 3]
            y += keys[(injection + 1) % 3] + injection
    return x, y


def _as_int32(word: int | tf.Tensor) -> tf.Tensor:
    """The low 32 bits of a number as an int32 tensor."""
    if isinstance(word, int):
        word = np.uint32(word & 0xFFFFFFFF).astype(np.int32)
    return tf.convert_to_tensor(word, tf.int32)


def _xor(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """The bits in which a and b differ."""
    return tf.bitwise.bitwise_xor(a, b)


def _shift_right(bits: tf.Tensor, count: int) -> tf.Tensor:
    """Shifts to the right and fills with zeros, also where the int32 is negative."""
    mask = (1 << (32 - count)) - 1
    return tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, count), mask)
