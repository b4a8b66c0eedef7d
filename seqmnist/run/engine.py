"""Updates and evaluations of a classifier, as its graph has them.

Where TensorFlow compiles functions, fast/engine.py has a faster kind, which trains the
same variables with the same optimizer and counts the same things. With several workers,
each computes the gradients of its share of a batch, and all make the same update with
the sum.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Sequence

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.classifier import Classifier
from seqmnist.data.batches import Batch
from seqmnist.errors import UserError
from seqmnist.run.one_worker import OneWorker


class Update(NamedTuple):
    """What an update saw, as it was before the update.

    Attributes:
        loss: mean over the batch, nats per example.
        correct: how many of the batch were classified correctly.
        learning_rate: of this update.
        gradient_norm: Euclidean norm of all gradients together.
    """

    loss: float
    correct: int
    learning_rate: float
    gradient_norm: float

    @property
    def flaw(self) -> str:
        """Which of loss and gradient norm is infinite or not a number, or ""."""
        for name in ("loss", "gradient_norm"):
            value = getattr(self, name)
            if not math.isfinite(value):
                return f"{name.replace('_', ' ')} is {value}"
        return ""


class PlainEngine:
    """Runs the classifier's own ops, one update at a time.

    Args:
        classifier: the `Classifier`.
        workers: who make the updates together.
        reason: why the network is not compiled, for the user.

    Attributes:
        max_updates: how many updates one call of `update` can do.
        session_config: for the `tf.Session` to be used.
        description: for the user.
    """

    max_updates = 1
    session_config = None

    def __init__(self, classifier: Classifier, workers: OneWorker, reason: str) -> None:
        self.classifier = classifier
        self.workers = workers
        self.description = f"plain ({reason})"
        training, step = classifier.training, classifier.update
        loss, correct = training.loss, training.correct_count
        if workers.size > 1:
            with classifier.graph.as_default(), tf.variable_scope("workers"):
                loss, correct, step = self._shared_update()
        self._update = [loss, correct, step.learning_rate, step.gradient_norm]
        self._train_op = step.train_op

    def initialize(self, session: Any) -> PlainEngine:
        """Prepares what is not a part of the classifier; returns the engine to use."""
        return self

    def update(self, session: Any, batches: Sequence[Batch]) -> list[Update]:
        """Does one update per batch, of which it gets this worker's share.

        There are at most `max_updates` batches.
        """
        fetches = [self._update, self._train_op]
        return [
            Update(*self.workers.run(session, fetches, self._feed(batch))[0])
            for batch in batches
        ]

    def evaluate(self, session: Any, batch: Batch) -> tuple[float, int, np.ndarray]:
        """Mean loss of a batch, how many are classified correctly, and the logits."""
        trace = self.classifier.evaluation
        fetches = [trace.loss, trace.correct_count, trace.logits]
        return tuple(session.run(fetches, self._feed(batch)))

    def _shared_update(self):
        """The update with the gradients of all workers: loss, count and `Step`."""
        classifier, batch_size = self.classifier, self.classifier.config.batch_size
        share = self.workers.share(batch_size)
        # The mean over a share counts in the mean over the batch by its size.
        weight = (share.stop - share.start) / batch_size
        terms = [
            weight * classifier.training.loss,
            tf.cast(classifier.training.correct_count, tf.float32),
            *[weight * gradient for gradient in classifier.gradients],
        ]
        loss, correct, *gradients = self.workers.all_reduce(terms)
        return loss, correct, classifier.optimizer.apply(gradients)

    def _feed(self, batch):
        """The feed for a batch."""
        classifier = self.classifier
        return {classifier.images: batch.images, classifier.labels: batch.labels}


def make_engine(
    classifier: Classifier, workers: OneWorker | None = None
) -> PlainEngine:
    """Chooses how to train.

    Args:
        classifier: the `Classifier`, whose configuration has `recurrence`: "fast",
            "plain", or "auto" for fast where possible.
        workers: who train together; `None` for this process alone.

    Returns:
        `PlainEngine`, or the `CompiledEngine` of fast/engine.py.

    Raises:
        UserError: the fast path is asked for and cannot run.
    """
    workers = workers or OneWorker()
    if classifier.config.recurrence == "plain":
        return PlainEngine(classifier, workers, "as asked for")
    from seqmnist.fast.engine import CannotCompile, CompiledEngine  # TF 2 only

    try:
        engine = CompiledEngine(classifier, workers)
    except CannotCompile as error:
        return plain_engine(classifier, workers, str(error))
    if engine.slow_recurrences:
        _check_not_wanted(classifier.config, engine.slow_recurrences)
    return engine


def plain_engine(
    classifier: Classifier, workers: OneWorker, obstacle: str
) -> PlainEngine:
    """A `PlainEngine`, as no other is possible.

    Args:
        classifier: the `Classifier`.
        workers: who train together.
        obstacle: why the network is not compiled.

    Raises:
        UserError: compiled ones are asked for.
    """
    _check_not_wanted(classifier.config, obstacle)
    return PlainEngine(classifier, workers, obstacle)


def _check_not_wanted(config, obstacle):
    """Raises a `UserError` if the fast path is asked for, which there is not."""
    if config.recurrence == "fast":
        raise UserError(
            f"--recurrence fast: {obstacle}; expected plain, or auto for the faster of "
            "what is possible"
        )
