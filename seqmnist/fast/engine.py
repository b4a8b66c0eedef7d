"""Updates and evaluations that XLA compiles, in batches of static size."""

from __future__ import annotations

import contextlib
import re
import sys
from functools import partial
from typing import Callable, Sequence

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.classifier import Classifier
from seqmnist.compile_cache import CompileCache
from seqmnist.cores import num_cores
from seqmnist.data.batches import Batch
from seqmnist.errors import UserError
from seqmnist.fast.recurrence import SCRATCH, scratch
from seqmnist.noise import Noise
from seqmnist.rnn import slow_recurrences
from seqmnist.run.engine import PlainEngine, Update, plain_engine
from seqmnist.run.one_worker import OneWorker

# The fewest values per time step for which a part of a batch is worth its own core.
MIN_PART = 4_000

# Floating-point operations per Session.run: about 20 milliseconds of one core, compared
# with 0.2 milliseconds of overhead per call.
RUN_OPERATIONS = 3e9
MAX_UPDATES = 20


# Errors for a network that runs as a plain graph, but cannot be traced or compiled.
NOT_TRACED = (ValueError, TypeError, LookupError, NotImplementedError)
# Lines on stderr with which TensorFlow reports the same failure, or reads its cache. It
# takes LLVM's preferences on some Intel processors for features that these lack.
COMPILER_WARNINGS = re.compile(
    r"XLA_CPU_JIT|tf2xla|The op is created at|dummy_function_name|^\s*(\[\[.*)?$"
    r"|XlaSerializedCacheEntry|Target machine feature \+prefer-no-(scatter|gather) is"
)
UNSUPPORTED_OPERATION = re.compile(r"XLA_CPU_JIT: (\w+)")


class CannotCompile(Exception):
    """The network cannot be compiled; the message says why."""


class CompiledEngine(PlainEngine):
    """Trains and evaluates with traces of the network that XLA compiles.

    A large batch is split over the cores, and the gradients of its parts are added. A
    small batch is computed in one piece, and the whole update is one compiled function.
    One call does several updates if they are short. Evaluations of an unusual batch
    size run plain.

    Args:
        classifier: the `Classifier`.
        workers: the workers that share each update.

    Attributes:
        max_updates, session_config, description: as for `PlainEngine`.
        slow_recurrences: why some recurrences of the network are not fast, or "".

    Raises:
        CannotCompile: this TensorFlow cannot compile functions, or cannot compile this
            network.
    """

    def __init__(self, classifier: Classifier, workers: OneWorker) -> None:
        self.classifier = classifier
        self.workers = workers
        # One thread per core, and one thread per operation: the parts fill the cores.
        self.session_config = session_config = tf.ConfigProto(
            intra_op_parallelism_threads=1, inter_op_parallelism_threads=num_cores()
        )
        # XLA optimizes. TensorFlow's own optimizer only takes half a second before it.
        session_config.graph_options.rewrite_options.disable_meta_optimizer = True
        config = classifier.config
        self.max_updates = 1  # with several workers, each waits for the others
        if workers.size == 1:
            self.max_updates = _updates_per_call(classifier)
        share = workers.share(config.batch_size)
        self._first = share.start
        self._part_sizes = _part_sizes(share.stop - share.start, config.units)
        self._evaluation_sizes = _part_sizes(config.evaluation_batch_size, config.units)
        self._already_compiled: set[str] = set()
        sizes = self._part_sizes, self._evaluation_sizes
        shapes = [weight.shape.as_list() for weight in classifier.optimizer.weights]
        self._cache = CompileCache(f"{sizes} {shapes} {self.max_updates}")
        with self._compiling("check"):
            _check_compiler()
        self._slow: set[str] = set()
        try:
            with classifier.graph.as_default(), tf.name_scope("fast"):
                self._build_updates()
                self._build_evaluation()
                self._initializer = tf.local_variables_initializer()
        except NOT_TRACED as error:
            raise CannotCompile(f"TensorFlow cannot compile it: {_first_line(error)}")
        self.slow_recurrences = "; ".join(sorted(self._slow))
        images = " + ".join(map(str, self._part_sizes))
        plural = "" if self.max_updates == 1 else "s"
        kind = "compiled" if self._slow else "fast"
        reason = f"{self.slow_recurrences}; " if self._slow else ""
        self.description = (
            f"{kind} ({reason}{images} images, {self.max_updates} update{plural} per "
            "call)"
        )

    def initialize(self, session: tf.Session) -> PlainEngine:
        """Initializes the local variables, and compiles the update.

        Returns:
            The engine to use: a `PlainEngine` if XLA cannot compile the network.

        Raises:
            UserError: XLA cannot compile it, and the user asked for the fast path.
        """
        session.run(self._initializer)
        try:
            with self._compiling("trial"):
                session.run(self._trial, self._feed_updates([]))
        except CannotCompile as error:
            return plain_engine(self.classifier, self.workers, str(error))
        return self

    def update(
        self, session: tf.Session, batches: Sequence[Batch], is_coarse: bool = False
    ) -> list[Update]:
        feed = self._feed_updates(batches)
        try:
            with self._compiling("coarse update" if is_coarse else "update"):
                fetches = self._updates[is_coarse]
                values = self.workers.run(session, fetches, feed, is_coarse)
        except CannotCompile as error:
            raise UserError(f"the optimizer: {error}; use --recurrence plain")
        return [Update(*row) for row in zip(*(v[: len(batches)] for v in values))]

    def evaluate(
        self, session: tf.Session, batch: Batch
    ) -> tuple[float, int, np.ndarray]:
        if len(batch.labels) != sum(self._evaluation_sizes):
            return super().evaluate(session, batch)
        feed = {
            self._evaluation_images: batch.images,
            self._evaluation_labels: batch.labels,
        }
        try:
            with self._compiling("evaluation"):
                return tuple(session.run(self._evaluation, feed))
        except CannotCompile as error:
            print(f"evaluation runs plain: {error}", file=sys.stderr)
            self._evaluation_sizes = []  # no batch has this size
            return super().evaluate(session, batch)

    @contextlib.contextmanager
    def _compiling(self, part):
        """Raises `CannotCompile` when XLA refuses an operation within the block.

        XLA compiles a part in its first block; later blocks with its name do nothing.
        """
        if part in self._already_compiled:
            yield
            return
        self._already_compiled.add(part)
        try:
            with tf.stderr_held_back(lambda line: not COMPILER_WARNINGS.search(line)):
                with self._cache.filled():
                    yield
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            found = UNSUPPORTED_OPERATION.search(error.message)
            what = found.group(1) if found else _first_line(error.message)
            raise CannotCompile(f"XLA cannot compile {what}")

    def _feed_updates(self, batches):
        """The feed for at most `max_updates` updates; unused places are zero."""
        images, labels = (
            np.zeros(placeholder.shape.as_list(), placeholder.dtype.as_numpy_dtype)
            for placeholder in (self._images, self._labels)
        )
        for k, batch in enumerate(batches):
            images[k], labels[k] = batch.images, batch.labels
        return {
            self._images: images,
            self._labels: labels,
            self._num_updates: len(batches),
        }

    def _build_updates(self):
        """Builds the graph of up to `max_updates` updates, and that of coarse ones."""
        sizes = self._part_sizes
        shape = [self.max_updates, sum(sizes)]
        self._images = tf.placeholder(
            tf.uint8, [*shape, *self.classifier.config.image_shape], "images"
        )
        self._labels = tf.placeholder(tf.int32, shape, "labels")
        self._num_updates = tf.placeholder(tf.int32, [], "num_updates")
        kinds = range(len(self.classifier.trainings))
        self._updates, trials = zip(*[self._build_update(bool(k)) for k in kinds])
        self._trial = trials[0]

    def _build_update(self, is_coarse):
        """The values of up to `max_updates` updates, and those of a trial.

        The trial changes nothing and shows whether XLA can compile the network.
        """
        sizes = self._part_sizes
        is_shared = self.workers.size > 1
        is_whole = len(sizes) == 1 and not is_shared
        starts = np.cumsum([self._first, *sizes[:-1]]).tolist()

        def part(images, labels, first, step):
            return self._part(images, labels, first, step, is_coarse)

        parts, apply = [part] * len(sizes), self._apply
        if not is_whole:
            parts, apply = self._compiled_parts(part, sizes), _compiled(apply)

        def compute(images, labels):
            step = self.classifier.optimizer.global_step.read_value()
            images, labels = tf.split(images, sizes), tf.split(labels, sizes)
            arguments = zip(images, labels, starts)
            values = [part(*args, step) for part, args in zip(parts, arguments)]
            return [_add(terms) for terms in zip(*values)]

        def update(images, labels):
            return apply(*compute(images, labels))

        if not is_whole:
            trial = compute(self._images[0], self._labels[0])
        if is_shared:
            loss, correct, *gradients = trial
            terms = [loss, tf.cast(correct, tf.float32), *gradients]
            values = apply(*self.workers.all_reduce(terms, is_coarse))
            return [tf.expand_dims(value, 0) for value in values], trial
        repeated = tf.function(
            partial(_repeat, update), jit_compile=is_whole, autograph=False
        )
        updates = repeated(self._images, self._labels, self._num_updates)
        # The trial of a whole batch is fed with zero updates. Shapes do not depend on
        # the feed, so XLA compiles once.
        return updates, updates if is_whole else trial

    def _part(self, images, labels, first, step, is_coarse):
        """Computes a part's loss, count and gradients.

        `first` is the place in the batch of the part's first image.
        """
        classifier = self.classifier
        config = classifier.config
        noise = Noise(config.seed, step, first)
        trace = classifier.trace(images, labels, noise, is_coarse)
        self._slow.update(slow_recurrences())
        # Weights the part's mean by part size / batch size.
        loss = trace.loss * (images.shape.as_list()[0] / config.batch_size)
        gradients = tf.gradients(loss, classifier.optimizer.weights)
        return [loss, trace.correct_count, *gradients]

    def _compiled_parts(self, part, sizes):
        """A function per part. XLA compiles one program for all parts of a size."""
        programs: dict[int, Callable] = {}
        parts = []
        step = self.classifier.optimizer.global_step
        for size in sizes:
            if size in programs:
                parts.append(_with_own_scratch(programs[size]))
            else:
                programs[size] = _compiled(part).get_concrete_function(
                    images=tf.TensorSpec(
                        [size, *self.classifier.config.image_shape], tf.uint8
                    ),
                    labels=tf.TensorSpec([size], tf.int32),
                    first=tf.TensorSpec([], tf.int32),
                    step=tf.TensorSpec([], step.dtype),
                )
                parts.append(programs[size])
        return parts

    def _apply(self, loss, correct, *gradients):
        """Makes the update; returns the fields of `Update`."""
        step = self.classifier.optimizer.apply(gradients)
        with tf.control_dependencies([step.train_op]):
            values = (loss, correct, step.learning_rate, step.gradient_norm)
            return [tf.identity(value) for value in values]

    def _build_evaluation(self):
        """Builds the graph that evaluates a batch."""
        sizes = self._evaluation_sizes
        num_images = sum(sizes)
        shape = [num_images, *self.classifier.config.image_shape]
        self._evaluation_images = tf.placeholder(tf.uint8, shape, "images")
        self._evaluation_labels = tf.placeholder(tf.int32, [num_images], "labels")

        def part(images, labels):
            trace = self.classifier.trace(images, labels)
            weight = images.shape.as_list()[0] / num_images
            return trace.loss * weight, trace.correct_count, trace.logits

        compiled = _compiled(part)
        images = tf.split(self._evaluation_images, sizes)
        labels = tf.split(self._evaluation_labels, sizes)
        losses, correct, logits = zip(*map(compiled, images, labels))
        self._evaluation = [_add(losses), _add(correct), tf.concat(logits, 0)]


def _check_compiler() -> None:
    """Raises `CannotCompile` where no function can be compiled."""
    if int(tf.VERSION.split(".")[0]) < 2:
        raise CannotCompile(f"TensorFlow {tf.VERSION} does not compile functions")
    try:
        with tf.Graph().as_default(), tf.Session() as session:
            session.run(_compiled(tf.tanh)(tf.zeros([])))
    except tf.errors.OpError as error:
        raise CannotCompile(f"XLA cannot compile here: {_first_line(error.message)}")


def _updates_per_call(classifier: Classifier) -> int:
    """The number of updates that take about as long as `RUN_OPERATIONS`."""
    weights = classifier.optimizer.weights
    num_values = sum(weight.shape.num_elements() for weight in weights)
    time_steps = classifier.training.inputs.shape.as_list()[1] or 1
    # Two operations per multiply-add; the backward pass has twice as many as the
    # forward pass.
    operations = 3 * 2 * num_values * time_steps * classifier.config.batch_size
    return int(max(1, min(MAX_UPDATES, RUN_OPERATIONS // operations)))


def _part_sizes(batch_size: int, num_units: int) -> list[int]:
    """Splits a batch over the cores, as evenly as possible."""
    most = min(num_cores(), batch_size, batch_size * num_units // MIN_PART)
    num_parts = max(1, most)
    return [(batch_size + i) // num_parts for i in reversed(range(num_parts))]


def _compiled(function):
    """Lets XLA compile the function."""
    return tf.function(function, jit_compile=True, autograph=False)


def _with_own_scratch(program):
    """A function that runs the same program with scratch variables of its own.

    The parts of a batch are computed at the same time, and each has its own history.
    """
    own_of = {
        id(variable.handle): scratch(variable.shape.as_list(), variable.dtype).handle
        for variable in tf.get_collection(SCRATCH)
        if any(variable.handle is capture for capture in program.captured_inputs)
    }
    own = [own_of.get(id(capture), capture) for capture in program.captured_inputs]

    def run(*arguments):
        captures = program.captured_inputs
        program.set_external_captures(own)
        try:
            return program(*arguments)
        finally:
            program.set_external_captures(captures)

    return run


def _first_line(message):
    """A message's first line, at most 100 characters of it."""
    return str(message).splitlines()[0][:100]


def _repeat(update, images, labels, num_updates):
    """Does the first `num_updates` updates; returns the fields of `Update`, stacked."""

    def step(k, *arrays):
        values = update(tf.gather(images, k), tf.gather(labels, k))
        return [k + 1, *[array.write(k, v) for array, v in zip(arrays, values)]]

    arrays = [
        tf.TensorArray(dtype, images.shape.as_list()[0], element_shape=[])
        for dtype in (tf.float32, tf.int32, tf.float32, tf.float32)
    ]
    _, *arrays = tf.while_loop(
        lambda k, *_: k < num_updates, step, [0, *arrays], parallel_iterations=1
    )
    return [array.stack() for array in arrays]


def _add(terms):
    """The sum of one term or more."""
    return terms[0] if len(terms) == 1 else tf.add_n(list(terms))
