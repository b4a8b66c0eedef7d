"""The graph's parts around the recurrence: input, readout, loss, count."""

import contextlib
import copy
import zlib
from collections import namedtuple

from seqmnist import tf1 as tf
from seqmnist.mnist import NUM_CLASSES

MAX_PIXEL = 255.0

# What training, evaluation and prediction need of a graph. All are tensors or ops of
# `graph`; shapes are given where they are made, in the scripts' `build_graph`.
Classifier = namedtuple(
    "Classifier",
    "graph images labels inputs cell logits logits_per_step loss correct_count "
    "optimizer average learning_rate gradients gradient_norm train_op init_op",
)


@contextlib.contextmanager
def seeded_graph(seed):
    """Opens a new graph whose random numbers all follow from one seed.

    The initial value of a variable depends on `seed` and on the variable's own name
    and shape only, not on the order in which the graph is built. So it is the same in
    both TensorFlows, and stays the same when another part of the graph changes.

    Args:
        seed: int, 0 to 2**31 - 1.

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
    return getter(name, *args, **kwargs)


def scale_pixels(sequences, input_scale="unit"):
    """Pixels as the network computes with them.

    Args:
        sequences: uint8 of any shape, 0 to 255.
        input_scale: "unit" for [0, 1]; "symmetric" for [-1, 1]; "standard" for MNIST's
            mean at zero and its standard deviation at one, [-0.424, 2.821].

    Returns:
        float32 of the same shape.
    """
    pixels = tf.cast(sequences, tf.float32) / MAX_PIXEL
    if input_scale == "unit":
        return pixels
    offset, scale = INPUT_SCALES[input_scale]
    return (pixels - offset) / scale


# What is taken from a pixel in [0, 1], and by what the rest is divided. The last are
# mean and standard deviation of MNIST's 60,000 training images.
INPUT_SCALES = {
    "unit": (0.0, 1.0),
    "symmetric": (0.5, 0.5),
    "standard": (0.1307, 0.3081),
}


class Readout:
    """A dense layer from the state to one logit per class: `state · kernel + bias`.

    The variables are named as `tf.layers.dense` named them: `dense/kernel`
    `[num_units, num_classes]` and `dense/bias` `[num_classes]`. Calls share them.

    Args:
        kernel_init: "glorot" for Glorot's uniform distribution (Glorot and Bengio
            2010; the default of `tf.layers.dense`), "uniform" for U[0, 1), "normal" for
            a normal distribution of stddev 0.1 truncated at two stddev.
        bias_init: a number, or "uniform" for U[0, 1).
        num_classes: number of logits.
    """

    def __init__(self, kernel_init="glorot", bias_init=0.0, num_classes=NUM_CLASSES):
        self.kernel_init = kernel_init
        self.bias_init = bias_init
        self.num_classes = num_classes

    def __call__(self, states):
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


def cross_entropy(labels, logits):
    """Softmax cross-entropy against the labels.

    Args:
        labels: int32 `[batch_size]`, 0 to `num_classes - 1`.
        logits: float32 `[batch_size, num_classes]`.

    Returns:
        float32 `[batch_size]`, nats.
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def mean_cross_entropy(labels, logits):
    """The loss: `cross_entropy`, averaged over the batch.

    Args:
        labels: int32 `[batch_size]`, 0 to `num_classes - 1`.
        logits: float32 `[batch_size, num_classes]`.

    Returns:
        float32 scalar, nats per example.
    """
    return tf.reduce_mean(cross_entropy(labels, logits))


def count_correct(labels, logits):
    """How many examples have their label's logit as the largest.

    `tf.nn.in_top_k`, which some of the notebooks use, counts a tie as a hit, so a
    network of equal logits would be right every time; the argmax is right once in ten.

    Args:
        labels: int32 `[batch_size]`.
        logits: float32 `[batch_size, num_classes]`.

    Returns:
        int32 scalar, 0 to `batch_size`.
    """
    predictions = tf.argmax(logits, axis=1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(tf.equal(predictions, labels), tf.int32))
