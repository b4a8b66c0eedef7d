"""A script's network as a graph; scaling, readout, loss and count for the networks."""

from __future__ import annotations

import contextlib
import copy
import zlib
from argparse import Namespace
from collections import namedtuple
from typing import Callable, Iterator, NamedTuple

from seqmnist import tf1 as tf
from seqmnist.errors import UserError
from seqmnist.noise import Noise
from seqmnist.optimizer import Optimizer, Step, average_weights
from seqmnist.sequences import HALVING, halved

MAX_PIXEL = 255.0

Outputs = namedtuple("Outputs", "inputs logits logits_per_step")
Outputs.__doc__ = """The outputs of a script's network for a batch of images.

inputs           float32 `[batch_size, time_steps, input_size]`, the cell's inputs
logits           float32 `[batch_size, num_classes]`
logits_per_step  float32 `[batch_size, time_steps, num_classes]`, after each time step
"""

Trace = namedtuple("Trace", "inputs logits logits_per_step loss correct_count")
Trace.__doc__ = """A network's outputs for a batch, the loss, and the correct examples.

loss           float32 scalar, nats per example; a mean over the batch
correct_count  int32 scalar, 0 to batch_size

The other fields are those of `Outputs`.
"""


class Training(NamedTuple):
    """A batch's `Trace` with noise, its gradients, and the `Step` that applies them."""

    trace: Trace
    gradients: list[tf.Tensor]
    step: Step


class Classifier:
    """A script's network in a graph of its own, with placeholders for a batch.

    The script defines the computation in three functions. This graph traces them once
    for training and once for evaluation; the compiled steps (fast/engine.py) and the
    exported model (predicting/export.py) trace them again.

    Args:
        config: the run's configuration, see cli/options.py; with `image_shape` and
            `num_classes`, as in `Splits`.
        network: the script's function: takes images, uint8 `[batch_size, height,
            width]`, the configuration with `step_length`, and the `Noise` in training,
            else `None`; returns `Outputs`.
        loss: the script's function: takes labels, int32 `[batch_size]`, the `Outputs`
            and the configuration; returns a float32 scalar, a mean over the batch.
        optimizer: the script's function: takes a callable that returns the learning
            rate; returns a `tf.train.Optimizer`.

    Attributes:
        config: the run's configuration.
        network: the script's function.
        graph: the `tf.Graph`.
        images: the placeholder of the images.
        labels: the placeholder of the labels.
        training: the `Trace` for training, with noise.
        optimizer: the `Optimizer`.
        gradients: gradients of the training loss, in the order of `optimizer.weights`.
        update: the `Step` that applies the gradients.
        trainings: these three as a `Training`; and that of the coarse steps, which read
            the images at half their height and width, if the run has any.
        evaluation: the `Trace` for evaluation, without noise.
        average: the `WeightAverage` that evaluations use in place of the weights, or
            `None`.
        training_graph_def: the `GraphDef` of the training part, for TensorBoard.
        init_op: the op that initializes all variables.

    Raises:
        UserError: one of the functions returns something else; or the network makes new
            variables in its second trace.
    """

    def __init__(
        self,
        config: Namespace,
        network: Callable,
        loss: Callable,
        optimizer: Callable,
    ) -> None:
        self.config = config
        self.network = network
        self._loss = loss
        with seeded_graph(config.seed) as self.graph:
            with tf.name_scope("input"):
                self.images = tf.placeholder(
                    tf.uint8, [None, *config.image_shape], "images"
                )
                self.labels = tf.placeholder(tf.int32, [None], "labels")
            step = tf.train.get_or_create_global_step()
            noise = Noise(config.seed, step)
            self.training = self._trace(self.images, self.labels, noise)
            with tf.name_scope("optimizer"):
                # None for predict.py, which does not train.
                coarse_steps = getattr(config, "coarse_steps", 0)
                # The average forgets the coarse steps at once.
                self.average = average_weights(config.ema_decay, coarse_steps)
                self.optimizer = Optimizer(config, optimizer, self.average)
                self.update, self.gradients = self.optimizer.minimize(
                    self.training.loss, before=[self.training.correct_count]
                )
            self.training_graph_def = self.graph.as_graph_def(add_shapes=True)
            with tf.name_scope("evaluation"):
                self.evaluation = self.trace(self.images, self.labels)
            self.trainings = [Training(self.training, self.gradients, self.update)]
            if coarse_steps:
                self.trainings.append(self._coarse_training(noise))
            self.init_op = tf.global_variables_initializer()

    def _coarse_training(self, noise):
        """Builds the update on images at half their height and width."""
        with tf.name_scope("coarse"):
            trace = self.trace(self.images, self.labels, noise, is_coarse=True)
            gradients = tf.gradients(trace.loss, self.optimizer.weights)
            before = [trace.loss, trace.correct_count]
            return Training(trace, gradients, self.optimizer.apply(gradients, before))

    def trace(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        noise: Noise | None = None,
        is_coarse: bool = False,
    ) -> Trace:
        """Traces the network again with the same variables, also within a function.

        Args:
            images: uint8 `[batch_size, height, width]`.
            labels: int32 `[batch_size]`.
            noise: the `Noise` in training, else `None`.
            is_coarse: whether the network reads the images at half their height and
                width.

        Returns:
            The `Trace`.
        """
        before = len(self.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES))
        with tf.variable_scope(tf.get_variable_scope(), reuse=True):
            trace = self._trace(images, labels, noise, is_coarse)
        variables = self.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
        if len(variables) > before:
            names = ", ".join(variable.op.name for variable in variables[before:])
            raise UserError(
                f"the network made the variables {names} a second time; make variables "
                "with tf.get_variable, so that training and evaluation share them"
            )
        return trace

    def outputs(
        self,
        images: tf.Tensor,
        noise: Noise | None = None,
        is_coarse: bool = False,
    ) -> Outputs:
        """Calls the script's `network`; arguments as for `trace`."""
        step_length = 1
        if is_coarse:
            images, step_length = halved(images), HALVING
        config = Namespace(**vars(self.config), step_length=step_length)
        return self.network(images, config, noise)

    def _trace(self, images, labels, noise=None, is_coarse=False):
        """Traces the network, the loss and the count of correct examples."""
        outputs = self.outputs(images, noise, is_coarse)
        if not isinstance(outputs, Outputs):
            raise UserError(
                f"the script's network() returns {type(outputs).__name__}; expected "
                "Outputs(inputs, logits, logits_per_step)"
            )
        classes = self.config.num_classes
        _check_shape(
            "the network's logits have",
            outputs.logits,
            [None, classes],
            f"[batch_size, {classes}], as the data has {classes} classes",
        )
        _check_shape(
            "the network's logits_per_step have",
            outputs.logits_per_step,
            [None, None, classes],
            f"[batch_size, time_steps, {classes}]",
        )
        with tf.name_scope("loss"):
            loss = self._loss(labels, outputs, self.config)
            mean = "[], a mean over the batch: tf.reduce_mean"
            _check_shape("the script's loss has", loss, [], mean)
            correct_count = count_correct(labels, outputs.logits)
        return Trace(**outputs._asdict(), loss=loss, correct_count=correct_count)


def _check_shape(name_has, tensor, shape, expected):
    """Raises a `UserError` if a tensor of the script has another shape."""
    found = tf.convert_to_tensor(tensor).shape
    if not found.is_compatible_with(shape):
        raise UserError(f"{name_has} shape {found}; expected {expected}")


@contextlib.contextmanager
def seeded_graph(seed: int) -> Iterator[tf.Graph]:
    """Opens a new graph whose random numbers all follow from one seed.

    A variable's initial value depends only on `seed` and on the variable's name and
    shape, not on the order in which the graph is built. So the value is the same in
    TensorFlow 1 and 2, and stays the same when another part of the graph changes.

    Args:
        seed: 0 to 2**31 - 1.

    Yields:
        The `tf.Graph`, as the default graph.
    """
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(seed)
        with tf.variable_scope(tf.get_variable_scope(), custom_getter=_seeded_getter):
            yield graph


def _seeded_getter(getter, name, *args, **kwargs):
    """`tf.get_variable` with an op seed made of the variable's name."""
    initializer = kwargs["initializer"]
    if initializer is None:
        initializer = tf.glorot_uniform_initializer()
    if hasattr(initializer, "seed"):
        initializer = copy.copy(initializer)
        initializer.seed = zlib.crc32(name.encode()) & 0x7FFFFFFF
    kwargs["initializer"] = initializer
    # Within a function, a cached value would date from before the function is called.
    kwargs["caching_device"] = None
    return getter(name, *args, **kwargs)


def scale_pixels(sequences: tf.Tensor, input_scale: str = "unit") -> tf.Tensor:
    """Scales pixels to the network's inputs.

    Args:
        sequences: uint8 of any shape, 0 to 255.
        input_scale: "unit" for [0, 1]; "symmetric" for [-1, 1]; "standard" for mean 0
            and standard deviation 1 over MNIST, which gives [-0.424, 2.821].

    Returns:
        float32 of the same shape.
    """
    pixels = tf.cast(sequences, tf.float32) / MAX_PIXEL
    if input_scale == "unit":
        return pixels
    offset, scale = INPUT_SCALES[input_scale]
    return (pixels - offset) / scale


# (offset, scale): a pixel p in [0, 1] becomes (p - offset) / scale. "standard" has mean
# and standard deviation of MNIST's 60,000 training images.
INPUT_SCALES = {
    "unit": (0.0, 1.0),
    "symmetric": (0.5, 0.5),
    "standard": (0.1307, 0.3081),
}


class Readout:
    """A dense layer from the state to one logit per class: `state · kernel + bias`.

    The variables have the names of `tf.layers.dense`: `dense/kernel`
    `[num_units, num_classes]` and `dense/bias` `[num_classes]`. All calls share them.

    Args:
        num_classes: number of logits.
        kernel_init: "glorot" for Glorot's uniform distribution (Glorot and Bengio
            2010; the default of `tf.layers.dense`), "uniform" for U[0, 1), "normal" for
            a normal distribution of stddev 0.1 truncated at two stddev.
        bias_init: a number, or "uniform" for U[0, 1).
    """

    def __init__(
        self,
        num_classes: int,
        kernel_init: str = "glorot",
        bias_init: float | str = 0.0,
    ) -> None:
        self.num_classes = num_classes
        self.kernel_init = kernel_init
        self.bias_init = bias_init

    def __call__(self, states: tf.Tensor) -> tf.Tensor:
        """Computes the logits.

        Args:
            states: float32 `[batch_size, num_units]` or
                `[batch_size, time_steps, num_units]`.

        Returns:
            float32 of the same shape, with `num_classes` in place of `num_units`.
        """
        num_units = states.shape.as_list()[-1]
        if self.bias_init == "uniform":
            bias_initializer = tf.random_uniform_initializer(0.0, 1.0)
        else:
            bias_initializer = tf.constant_initializer(self.bias_init)
        with tf.variable_scope(
            "dense", reuse=tf.AUTO_REUSE, auxiliary_name_scope=False
        ):
            kernel = tf.get_variable(
                "kernel",
                [num_units, self.num_classes],
                initializer=KERNEL_INITIALIZERS[self.kernel_init](),
            )
            bias = tf.get_variable(
                "bias", [self.num_classes], initializer=bias_initializer
            )
            return tf.nn.bias_add(tf.tensordot(states, kernel, axes=1), bias)


KERNEL_INITIALIZERS = {
    "glorot": lambda: tf.glorot_uniform_initializer(),
    "uniform": lambda: tf.random_uniform_initializer(0.0, 1.0),
    "normal": lambda: tf.truncated_normal_initializer(stddev=0.1),
}


def mean_cross_entropy(
    labels: tf.Tensor, logits: tf.Tensor, smoothing: float = 0.0
) -> tf.Tensor:
    """Softmax cross-entropy against the labels, averaged over the batch.

    Args:
        labels: int32 `[batch_size]`, 0 to `num_classes - 1`.
        logits: float32 `[batch_size, num_classes]`.
        smoothing: the part of each label that is spread evenly over all classes, 0 to 1
            (Szegedy et al., arXiv:1512.00567, section 7).

    Returns:
        float32 scalar, nats per example.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=labels, logits=logits
    )
    if smoothing:
        of_classes = -tf.nn.log_softmax(logits)
        losses = (1 - smoothing) * losses + smoothing * tf.reduce_mean(of_classes, 1)
    return tf.reduce_mean(losses)


def count_correct(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Counts the examples whose label has the largest logit.

    Some of the notebooks use `tf.nn.in_top_k`, which counts a tie as a hit: a network
    with equal logits would always be correct. With the argmax, one in ten is correct.

    Args:
        labels: int32 `[batch_size]`.
        logits: float32 `[batch_size, num_classes]`.

    Returns:
        int32 scalar, 0 to `batch_size`.
    """
    predictions = tf.argmax(logits, axis=1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(tf.equal(predictions, labels), tf.int32))
