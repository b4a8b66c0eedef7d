"""Seeded epochs of training batches, and batches that count every example once.

The seed and the step alone determine the examples of a step and their distortions.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Iterator, NamedTuple

import numpy as np

from seqmnist.data.distortions import UNDISTORTED, Distortions
from seqmnist.data.mnist import Split
from seqmnist.errors import UserError


class Batch(NamedTuple):
    """Some examples of a split.

    Attributes:
        images: uint8 `[batch_size, height, width]`, 0 to 255.
        labels: uint8 `[batch_size]`, 0 to `num_classes - 1`.
    """

    images: np.ndarray
    labels: np.ndarray


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """The number of full batches in a split.

    Each epoch leaves out the remaining examples, which do not fill a batch. They change
    with the epoch's permutation.

    Args:
        num_examples: size of the training split.
        batch_size: examples per step.

    Returns:
        `num_examples // batch_size`, at least 1.

    Raises:
        UserError: the split is smaller than one batch.
    """
    if batch_size > num_examples:
        raise UserError(
            f"--batch-size {batch_size}: the training split has only {num_examples} "
            f"examples; expected 1 to {num_examples}"
        )
    return num_examples // batch_size


def training_batches(
    split: Split,
    batch_size: int,
    seed: int,
    num_steps: int,
    first_step: int = 0,
    distortions: Distortions = UNDISTORTED,
    share: slice = slice(None),
) -> Iterator[Batch]:
    """Yields the batches of a run, one per step.

    Each epoch has a new permutation of the split, drawn from `(seed, epoch)` by NumPy's
    legacy generator. Its stream is the same in every NumPy version.

    Args:
        split: the training split.
        batch_size: examples per step, at most the size of the split.
        seed: seed of the run, 0 to 2**32 - 1.
        num_steps: steps of the whole run.
        first_step: steps already done, whose batches are left out.
        distortions: how images are distorted, anew each time.
        share: the part of each batch to yield.

    Yields:
        One `Batch` per step: `batch_size` examples, or the share of them.

    Raises:
        UserError: the split is smaller than one batch.
    """
    num_examples = len(split.labels)
    per_epoch = steps_per_epoch(num_examples, batch_size)
    permutation_epoch = -1
    for step in range(first_step, num_steps):
        epoch, position = divmod(step, per_epoch)
        if epoch != permutation_epoch:
            generator = np.random.RandomState([seed, epoch])
            permutation = generator.permutation(num_examples)
            permutation_epoch = epoch
        chosen = permutation[position * batch_size : (position + 1) * batch_size][share]
        images = split.images[chosen]
        if any(distortions):
            generator = np.random.RandomState([seed, epoch, position])
            images = distortions.distort(images, generator, batch_size, share)
        yield Batch(images, split.labels[chosen])


def made_ahead(batches: Iterator[Batch], count: int) -> Iterator[Batch]:
    """Yields batches that another thread makes while earlier ones are in use.

    Args:
        batches: what to yield.
        count: the most batches to keep waiting, at least 1.

    Yields:
        The same batches in the same order.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, batches, None) for _ in range(count))
        while True:
            batch = waiting.popleft().result()
            if batch is None:
                return
            waiting.append(thread.submit(next, batches, None))
            yield batch


def evaluation_batches(split: Split, batch_size: int) -> Iterator[Batch]:
    """Yields a split in order, each example once; the last batch may be short.

    Args:
        split: the split to evaluate.
        batch_size: examples per batch, at least 1.

    Yields:
        `Batch`es of `batch_size` examples; the last one of 1 to `batch_size`.
    """
    for start in range(0, len(split.labels), batch_size):
        chosen = slice(start, start + batch_size)
        yield Batch(split.images[chosen], split.labels[chosen])
