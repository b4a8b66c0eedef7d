"""Updates and evaluations of a classifier: plain, or along the fast path.

Both kinds of steps train the same variables with the same optimizer, and both count the
same things; they differ in how the gradients are computed and in how many updates one
`Session.run` does. With several workers, each computes the gradients of its share of a
batch, and all make the same update with the sum.
"""

from __future__ import annotations

import math
from argparse import Namespace
from typing import Any, NamedTuple, Sequence

import numpy as np

from seqmnist import mnist
from seqmnist import tf1 as tf
from seqmnist.batches import Batch
from seqmnist.classifier import (
    count_correct,
    cross_entropy,
    scale_pixels,
)
from seqmnist.cores import num_cores
from seqmnist.errors import UserError
from seqmnist.one_worker import OneWorker
from seqmnist.optimizer import apply_gradients
from seqmnist.recurrence import has_equations, make_recurrence
from seqmnist.sequences import VIEWS, as_sequences

# A part of a batch with fewer values per time step is not worth a core of its own.
MIN_PART = 4_000

# Floating-point operations after which a Session.run returns: some 20 milliseconds of
# one core, against the 0.2 that it costs.
RUN_OPERATIONS = 3e9
MAX_UPDATES = 20


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


class PlainSteps:
    """Runs the classifier's own ops, one update at a time.

    Args:
        classifier: the `Classifier`.
        config: with `batch_size` and what decides how updates are made.
        workers: who make them together.
        reason: why the fast path is not taken, for the user.

    Attributes:
        max_updates: how many updates one call of `update` can do.
        session_config: for the `tf.Session` to be used.
        description: for the user.
    """

    max_updates = 1
    session_config = None

    def __init__(
        self, classifier: Any, config: Namespace, workers: OneWorker, reason: str
    ) -> None:
        self.classifier = classifier
        self.workers = workers
        self.description = f"plain ({reason})"
        self._update = [
            classifier.loss,
            classifier.correct_count,
            classifier.learning_rate,
            classifier.gradient_norm,
            classifier.train_op,
        ]
        if workers.size > 1:
            with classifier.graph.as_default(), tf.variable_scope("workers"):
                self._update = self._build_shared_update(config)

    def initialize(self, session: Any) -> None:
        """Prepares what is not a part of the classifier."""

    def update(self, session: Any, batches: Sequence[Batch]) -> list[Update]:
        """Does one update per batch, of which it gets this worker's share.

        There are at most `max_updates` batches.
        """
        return [
            Update(*self.workers.run(session, self._update, self._feed(batch))[:4])
            for batch in batches
        ]

    def evaluate(self, session: Any, batch: Batch) -> tuple[float, int, np.ndarray]:
        """Mean loss of a batch, how many are classified correctly, and the logits."""
        classifier = self.classifier
        fetches = [classifier.loss, classifier.correct_count, classifier.logits]
        loss, correct, logits = session.run(fetches, self._feed(batch))
        return loss, correct, logits

    def _build_shared_update(self, config):
        """Builds the update with the gradients of all workers."""
        classifier = self.classifier
        weights = [weight for _, weight in classifier.gradients]
        gradients = [gradient for gradient, _ in classifier.gradients]
        # Of the mean over the batch, that over a share is so large a part.
        share = self.workers.share(config.batch_size)
        part = (share.stop - share.start) / config.batch_size
        terms = [
            part * classifier.loss,
            tf.cast(classifier.correct_count, tf.float32),
            *[part * gradient for gradient in gradients],
        ]
        loss, correct, *gradients = self.workers.all_reduce(terms)
        train_op, learning_rate, norm = apply_gradients(
            config,
            classifier.optimizer,
            classifier.average,
            list(zip(gradients, weights)),
            tf.train.get_global_step(),
        )
        return [loss, correct, learning_rate, norm, train_op]

    def _feed(self, batch):
        """The feed for a batch."""
        classifier = self.classifier
        return {classifier.images: batch.images, classifier.labels: batch.labels}


class FastSteps:
    """Trains and evaluates with compiled recurrences; see recurrence.py.

    A large batch is split over the cores, and the gradients of its parts are added. A
    small one is computed in one piece, and the whole update is compiled, with several
    updates to a call. What is compiled has static shapes: evaluation batches are filled
    up, and what fills them is not counted.

    Args:
        classifier: the `Classifier`.
        config: with `batch_size`, `evaluation_batch_size`, and what decides how images
            are read and updates are made.
        workers: who make them together.

    Attributes:
        max_updates, session_config, description: as for `PlainSteps`.
    """

    def __init__(self, classifier: Any, config: Namespace, workers: OneWorker) -> None:
        self.classifier = classifier
        self.config = config
        self.workers = workers
        cores = num_cores()
        self.session_config = _session_config()
        self._view = view = VIEWS[config.view]
        units = classifier.cell.num_units
        # The cell's, then the readout's kernel and bias, as build_graph makes them.
        self._weights = classifier.graph.get_collection(
            tf.GraphKeys.TRAINABLE_VARIABLES
        )
        # Two operations per multiply-add, forwards and twice that backwards.
        num_values = sum(int(np.prod(w.shape.as_list())) for w in self._weights[:-2])
        operations = 3 * 2 * num_values * view.time_steps * config.batch_size
        self.max_updates = int(max(1, min(MAX_UPDATES, RUN_OPERATIONS // operations)))
        if workers.size > 1:
            self.max_updates = 1  # each waits for the others' gradients
        share = workers.share(config.batch_size)
        self._part_sizes = _part_sizes(share.stop - share.start, units, cores)
        self._evaluation_sizes = _part_sizes(config.evaluation_batch_size, units, cores)
        images = " + ".join(map(str, self._part_sizes))
        plural = "" if self.max_updates == 1 else "s"
        self.description = (
            f"fast ({images} images, {self.max_updates} update{plural} per call)"
        )
        with classifier.graph.as_default(), tf.variable_scope("fast"):
            self._build_update()
            self._build_evaluation()
            self._initializer = tf.variables_initializer(
                tf.get_collection(tf.GraphKeys.LOCAL_VARIABLES, scope="fast/")
            )

    def initialize(self, session: Any) -> None:
        """Prepares what is not a part of the classifier."""
        session.run(self._initializer)

    def update(self, session: Any, batches: Sequence[Batch]) -> list[Update]:
        """Does one update per batch, of which it gets this worker's share.

        There are at most `max_updates` batches.
        """
        images = _filled(np.stack([b.images for b in batches]), self.max_updates)
        labels = _filled(np.stack([b.labels for b in batches]), self.max_updates)
        feed = {
            self._images: images,
            self._labels: labels,
            self._num_updates: len(batches),
        }
        values = self.workers.run(session, self._updates, feed)
        return [Update(*row) for row in zip(*(v[: len(batches)] for v in values))]

    def evaluate(self, session: Any, batch: Batch) -> tuple[float, int, np.ndarray]:
        """Mean loss of a batch, how many are classified correctly, and the logits."""
        count = len(batch.labels)
        size = sum(self._evaluation_sizes)
        feed = {
            self._evaluation_images: _filled(batch.images, size),
            self._evaluation_labels: _filled(batch.labels, size),
            self._evaluation_count: count,
        }
        loss, correct, logits = session.run(self._evaluation, feed)
        return loss / count, correct, logits[:count]

    def _build_update(self):
        """Builds the graph of up to `max_updates` updates."""
        config = self.config
        optimizer, average = self.classifier.optimizer, self.classifier.average
        shape = [self.max_updates, sum(self._part_sizes)]
        self._images = tf.placeholder(tf.uint8, [*shape, *mnist.IMAGE_SHAPE], "images")
        self._labels = tf.placeholder(tf.int32, shape, "labels")
        self._num_updates = tf.placeholder(tf.int32, [], "num_updates")
        is_shared = self.workers.size > 1
        is_whole = len(self._part_sizes) == 1 and not is_shared
        parts = [self._make_part(i, is_whole) for i in range(len(self._part_sizes))]
        global_step = tf.train.get_global_step()

        def apply(*values):
            loss, correct, *gradients = [_add(terms) for terms in zip(*values)]
            pairs = list(zip(gradients, self._weights))
            train_op, learning_rate, norm = apply_gradients(
                config, optimizer, average, pairs, global_step
            )
            with tf.control_dependencies([train_op]):
                return [tf.identity(x) for x in (loss, correct, learning_rate, norm)]

        if not is_whole:
            apply = tf.function(apply, jit_compile=True, autograph=False)

        def compute(images, labels):
            weights = [w.read_value() for w in self._weights]
            images = tf.split(images, self._part_sizes)
            labels = tf.split(labels, self._part_sizes)
            return [part(*args, *weights) for part, *args in zip(parts, images, labels)]

        if is_shared:
            values = compute(self._images[0], self._labels[0])
            loss, correct, *gradients = [_add(terms) for terms in zip(*values)]
            terms = [loss, tf.cast(correct, tf.float32), *gradients]
            values = apply(self.workers.all_reduce(terms))
            self._updates = [tf.expand_dims(value, 0) for value in values]
            return

        def updates(images, labels, num_updates):
            def step(k, *arrays):
                values = apply(*compute(tf.gather(images, k), tf.gather(labels, k)))
                return [k + 1, *[a.write(k, v) for a, v in zip(arrays, values)]]

            arrays = [
                tf.TensorArray(dtype, self.max_updates, element_shape=[])
                for dtype in (tf.float32, tf.int32, tf.float32, tf.float32)
            ]
            _, *arrays = tf.while_loop(
                lambda k, *_: k < num_updates, step, [0, *arrays], parallel_iterations=1
            )
            return [array.stack() for array in arrays]

        compiled = tf.function(updates, jit_compile=is_whole, autograph=False)
        self._updates = compiled(self._images, self._labels, self._num_updates)

    def _make_part(self, index, is_whole):
        """Makes the function that computes a part's share of loss and gradients."""
        recurrence = self._make_recurrence(self._part_sizes[index])
        scratch = recurrence.make_scratch(f"part{index}")
        batch_size = self.config.batch_size

        def part(images, labels, *weights):
            *cell_weights, kernel, bias = weights

            def head(output):
                logits = tf.matmul(output, kernel) + bias
                loss = tf.reduce_sum(cross_entropy(labels, logits)) / batch_size
                gradients = tf.gradients(loss, [output, kernel, bias])
                correct = count_correct(labels, logits)
                return [loss, correct, *gradients[1:]], gradients[0]

            inputs = self._inputs(images)
            results, gradients = recurrence.train(cell_weights, inputs, scratch, head)
            loss, correct, *readout_gradients = results
            return [loss, correct, *gradients, *readout_gradients]

        if is_whole:
            return part
        return tf.function(part, jit_compile=True, autograph=False)

    def _build_evaluation(self):
        """Builds the graph that evaluates a batch."""
        sizes = self._evaluation_sizes
        self._evaluation_images = tf.placeholder(
            tf.uint8, [sum(sizes), *mnist.IMAGE_SHAPE], "images"
        )
        self._evaluation_labels = tf.placeholder(tf.int32, [sum(sizes)], "labels")
        self._evaluation_count = tf.placeholder(tf.int32, [], "count")

        def part(images, labels, count, *weights):
            *cell_weights, kernel, bias = weights
            size = images.shape[0]
            recurrence = self._make_recurrence(size)
            output = recurrence.final_output(cell_weights, self._inputs(images))
            logits = tf.matmul(output, kernel) + bias
            is_counted = tf.range(size) < count
            losses = tf.where(
                is_counted, cross_entropy(labels, logits), tf.zeros([size])
            )
            # No logit is the largest at label -1.
            labels = tf.where(is_counted, labels, tf.fill([size], -1))
            return tf.reduce_sum(losses), count_correct(labels, logits), logits

        compiled = tf.function(part, jit_compile=True, autograph=False)
        weights = [w.read_value() for w in self._weights]
        images = tf.split(self._evaluation_images, sizes)
        labels = tf.split(self._evaluation_labels, sizes)
        starts = np.cumsum([0, *sizes[:-1]])
        values = [
            compiled(*args, self._evaluation_count - start, *weights)
            for start, *args in zip(starts, images, labels)
        ]
        losses, correct, logits = zip(*values)
        self._evaluation = [_add(losses), _add(correct), tf.concat(logits, 0)]

    def _make_recurrence(self, batch_size):
        """The cell's recurrence over so many images."""
        view = self._view
        return make_recurrence(
            self.classifier.cell, view.time_steps, batch_size, view.input_size
        )

    def _inputs(self, images):
        """What the network reads, as `build_graph` has it."""
        sequences = as_sequences(images, self._view, self.config.permute)
        return scale_pixels(sequences, self.config.input_scale)


def _session_config():
    """One thread per core between operations, none within: the parts fill the cores."""
    return tf.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=num_cores()
    )


def make_steps(
    classifier: Any, config: Namespace, workers: OneWorker | None = None
) -> Any:
    """Chooses how to train.

    Args:
        classifier: the `Classifier`.
        config: with `recurrence`: "fast", "plain", or "auto" for fast where possible.
        workers: who train together; `None` for this process alone.

    Returns:
        `FastSteps` or `PlainSteps`.

    Raises:
        UserError: the fast path is asked for and cannot run.
    """
    workers = workers or OneWorker()
    if config.recurrence == "plain":
        return PlainSteps(classifier, config, workers, "as asked for")
    obstacle = _obstacle(classifier.cell)
    if obstacle is None:
        return FastSteps(classifier, config, workers)
    if config.recurrence == "fast":
        raise UserError(
            f"--recurrence fast: {obstacle}; expected plain, or auto for the faster of "
            "what is possible"
        )
    return PlainSteps(classifier, config, workers, obstacle)


def _obstacle(cell):
    """Why the fast path cannot run, or `None`."""
    if int(tf.VERSION.split(".")[0]) < 2:
        return f"TensorFlow {tf.VERSION} does not compile functions"
    if not has_equations(cell):
        return f"{type(cell).__name__} has no fast path"
    try:
        with tf.Graph().as_default(), tf.Session(config=_session_config()) as session:
            session.run(tf.function(tf.tanh, jit_compile=True)(tf.zeros([])))
    except tf.errors.OpError as error:
        return f"XLA cannot compile here: {error.message.splitlines()[0]}"
    return None


def _part_sizes(batch_size, num_units, cores):
    """Splits a batch over the cores, as evenly as possible."""
    num_parts = max(1, min(cores, batch_size, batch_size * num_units // MIN_PART))
    return [(batch_size + i) // num_parts for i in reversed(range(num_parts))]


def _filled(array, length):
    """The array, filled up with zeros to this length."""
    if len(array) == length:
        return array
    filler = np.zeros([length - len(array), *array.shape[1:]], array.dtype)
    return np.concatenate([array, filler])


def _add(terms):
    """The sum of one term or more."""
    return terms[0] if len(terms) == 1 else tf.add_n(list(terms))
