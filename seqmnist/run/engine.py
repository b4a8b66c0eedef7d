"""Updates and evaluations of a classifier, with the ops of its graph.

Where TensorFlow compiles functions, fast/engine.py has a faster engine, which trains
the same variables with the same optimizer and returns the same values. In a run of
several workers, each worker computes the gradients of its share of a batch, and all
workers make the same update with the sum.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Sequence

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.classifier import Classifier
from seqmnist.data.batches import Batch
from seqmnist.errors import UserError
from seqmnist.run.one_worker import OneWorker


class Update(NamedTuple):
    """The values of an update, computed before the weights changed.

    Attributes:
        loss: mean over the batch, nats per example.
        correct: the number of examples in the batch that were classified correctly.
        learning_rate: the learning rate of this update.
        gradient_norm: Euclidean norm of all gradients together.
    """

    loss: float
    correct: int
    learning_rate: float
    gradient_norm: float

    @property
    def flaw(self) -> str:
        """Names the loss or the gradient norm if it is infinite or NaN; else ""."""
        for name in ("loss", "gradient_norm"):
            value = getattr(self, name)
            if not math.isfinite(value):
                return f"{name.replace('_', ' ')} is {value}"
        return ""


class PlainEngine:
    """Runs the classifier's own ops, one update at a time.

    Args:
        classifier: the `Classifier`.
        workers: the workers that share each update.
        reason: why the network is not compiled; a part of `description`.

    Attributes:
        max_updates: the most updates that one call of `update` can do.
        session_config: the `tf.ConfigProto` for the session, or `None`.
        description: the engine in words, for the user.
    """

    max_updates = 1
    session_config = None

    def __init__(self, classifier: Classifier, workers: OneWorker, reason: str) -> None:
        self.classifier = classifier
        self.workers = workers
        self.description = f"plain ({reason})"
        with classifier.graph.as_default():
            self._fetches = [
                self._fetches_of(training, bool(k))
                for k, training in enumerate(classifier.trainings)
            ]

    def initialize(self, session: tf.Session) -> PlainEngine:
        """Prepares the engine's own parts of the graph; returns the engine to use."""
        return self

    def update(
        self, session: tf.Session, batches: Sequence[Batch], is_coarse: bool = False
    ) -> list[Update]:
        """Does one update per batch.

        Args:
            session: a session with the variables.
            batches: this worker's shares of at most `max_updates` batches.
            is_coarse: whether to read the images at half their height and width.

        Returns:
            One `Update` per batch.
        """
        fetches = self._fetches[is_coarse]
        return [
            Update(*self.workers.run(session, fetches, self._feed(batch), is_coarse)[0])
            for batch in batches
        ]

    def evaluate(
        self, session: tf.Session, batch: Batch
    ) -> tuple[float, int, np.ndarray]:
        """Mean loss of a batch, number of correct examples, and the logits."""
        trace = self.classifier.evaluation
        fetches = [trace.loss, trace.correct_count, trace.logits]
        return tuple(session.run(fetches, self._feed(batch)))

    def _fetches_of(self, training, is_coarse):
        """The fields of `Update`, and the op that makes it."""
        step = training.step
        loss, correct = training.trace.loss, training.trace.correct_count
        if self.workers.size > 1:
            with tf.variable_scope("workers"):
                loss, correct, step = self._shared_update(training, is_coarse)
        values = [loss, correct, step.learning_rate, step.gradient_norm]
        return values, step.train_op

    def _shared_update(self, training, is_coarse):
        """The update with the gradients of all workers: loss, count and `Step`."""
        batch_size = self.classifier.config.batch_size
        share = self.workers.share(batch_size)
        # Weights the share's mean by share size / batch size.
        weight = (share.stop - share.start) / batch_size
        terms = [
            weight * training.trace.loss,
            tf.cast(training.trace.correct_count, tf.float32),
            *[weight * gradient for gradient in training.gradients],
        ]
        loss, correct, *gradients = self.workers.all_reduce(terms, is_coarse)
        return loss, correct, self.classifier.optimizer.apply(gradients)

    def _feed(self, batch):
        """The feed for a batch."""
        classifier = self.classifier
        return {classifier.images: batch.images, classifier.labels: batch.labels}


def make_engine(
    classifier: Classifier, workers: OneWorker | None = None
) -> PlainEngine:
    """Chooses the engine for the configured `recurrence`.

    Args:
        classifier: the `Classifier`. Its configuration has `recurrence`: "fast",
            "plain", or "auto" for fast where possible.
        workers: the workers of the run; `None` for this process alone.

    Returns:
        A `PlainEngine`, or the `CompiledEngine` of fast/engine.py.

    Raises:
        UserError: the user asked for the fast path, and it cannot run.
    """
    workers = workers or OneWorker()
    if classifier.config.recurrence == "plain":
        return PlainEngine(classifier, workers, "as asked for")
    from seqmnist.fast.engine import CannotCompile, CompiledEngine

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
    """Makes a `PlainEngine` for a network that cannot be compiled.

    Args:
        classifier: the `Classifier`.
        workers: the workers of the run.
        obstacle: why the network is not compiled.

    Raises:
        UserError: the user asked for the fast path.
    """
    _check_not_wanted(classifier.config, obstacle)
    return PlainEngine(classifier, workers, obstacle)


def _check_not_wanted(config, obstacle):
    """Raises a `UserError` if the user asked for the fast path, which cannot run."""
    if config.recurrence == "fast":
        raise UserError(
            f"--recurrence fast: {obstacle}; expected plain, or auto, which is fast "
            "where possible"
        )
