"""What is random in training, from the run's seed, the step and the image's place."""

from __future__ import annotations

import zlib
from typing import Any, Sequence

from seqmnist import tf1 as tf


class Noise:
    """Random numbers for a batch in training, or for a part of it.

    An image's numbers follow from the run's seed, the step and the image's place in the
    whole batch. So a resumed run, several workers and a batch in parts draw the numbers
    that one process in one piece would; `tf.nn.dropout` would draw others.

    Args:
        seed: of the run, 0 to 2**31 - 1.
        step: int64 scalar, updates done.
        batch_size: images in the whole batch.
        first: the place in it of the first image.
    """

    def __init__(self, seed: int, step: Any, batch_size: int, first: int = 0) -> None:
        self.seed = seed
        self.step = step
        self.batch_size = batch_size
        self.first = first

    def uniform(self, like: Any, name: str, shape: Sequence[int]) -> Any:
        """Random numbers, different ones for each image.

        Args:
            like: a tensor `[part_size, ...]`, by which it is known how many images.
            name: numbers of other names are independent of these.
            shape: of each image's numbers.

        Returns:
            float32 `[part_size, *shape]`, uniform in [0, 1).
        """
        seed = [self.seed ^ zlib.crc32(name.encode()) & 0x7FFFFFFF, self.step]
        numbers = tf.random.stateless_uniform(
            [self.batch_size, *shape], tf.cast(tf.stack(seed), tf.int64)
        )
        return numbers[self.first : self.first + tf.shape(like)[0]]

    def dropout(self, values: Any, rate: float, name: str = "dropout") -> Any:
        """Sets values to zero at random, and enlarges the others in turn.

        Source: Srivastava et al., "Dropout: a simple way to prevent neural networks
        from overfitting", JMLR 15, 2014; scaled in training, as in TF1.

        Args:
            values: float32 `[part_size, ...]`.
            rate: the fraction that is set to zero, 0 to 1.
            name: as for `uniform`.

        Returns:
            float32 like the values.
        """
        random = self.uniform(values, name, values.shape.as_list()[1:])
        kept = tf.cast(random >= rate, values.dtype)
        return values * kept / (1 - rate)
