"""How the weights change: schedule, clipping, Adam's update, running averages."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from typing import Any, Iterator, NamedTuple, Sequence

from seqmnist import tf1 as tf

AVERAGE = "/ExponentialMovingAverage"

SCHEDULES = ("constant", "exponential", "cosine")


class Step(NamedTuple):
    """An update in the graph.

    Attributes:
        train_op: does the update.
        learning_rate: float32 scalar, that of the update.
        gradient_norm: float32 scalar, Euclidean norm of all gradients together, before
            they are clipped.
    """

    train_op: Any
    learning_rate: Any
    gradient_norm: Any


def scheduled_learning_rate(config: Namespace, global_step: Any) -> Any:
    """The learning rate of the next step.

    With s steps done, it is the product of `learning_rate`, of min(1, (s + 1) /
    `warmup_steps`) (Goyal et al., arXiv:1706.02677, section 2.2) and of

    -   "constant": 1;
    -   "exponential": `decay_rate` ** (s / `decay_steps`);
    -   "cosine": ½ + ½ cos(π s / `decay_steps`), and zero after that (Loshchilov and
        Hutter, arXiv:1608.03983, equation 5, without restarts).

    Args:
        config: with the values named above, and `schedule`.
        global_step: int64 scalar, steps done.

    Returns:
        float32 scalar.
    """
    if config.schedule == "exponential":
        learning_rate = tf.train.exponential_decay(
            config.learning_rate, global_step, config.decay_steps, config.decay_rate
        )
    elif config.schedule == "cosine":
        learning_rate = tf.train.cosine_decay(
            config.learning_rate, global_step, config.decay_steps
        )
    else:
        learning_rate = tf.constant(config.learning_rate, tf.float32)
    if config.warmup_steps:
        step = tf.cast(global_step, tf.float32)
        learning_rate *= tf.minimum(1.0, (step + 1) / config.warmup_steps)
    return learning_rate


class WeightAverage:
    """A running average of the weights, which is what is evaluated.

        average = d · average + (1 - d) · weight,  d = min(decay, (1 + s) / (10 + s))

    after each update, s the updates before it. So it forgets the beginning soon, as
    TF1's `ExponentialMovingAverage` does, whose names the variables have. (That class
    leaves open, for the variables of TensorFlow 1, whether it reads them before or
    after an update.)

    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by
    averaging", SIAM Journal on Control and Optimization 30, 1992, whose average is over
    all steps alike; this one forgets the first ones.

    Args:
        decay: 0 to 1.
        weights: the `tf.Variable`s to average.

    Attributes:
        variables: the averages, in the order of the weights.
    """

    def __init__(self, decay: float, weights: Sequence[Any]) -> None:
        self.decay = decay
        self.variables = [
            tf.get_variable(
                weight.op.name + AVERAGE,
                initializer=weight.initial_value,
                trainable=False,
            )
            for weight in weights
        ]

    def decay_after(self, step: Any) -> Any:
        """d, float32 scalar, for the update after so many."""
        with tf.name_scope("average"):
            step = tf.cast(step, tf.float32)
            return tf.minimum(self.decay, (1 + step) / (10 + step))

    def update(self, weights: Sequence[Any], decay: Any) -> Any:
        """The op that moves the averages towards what the weights are when it runs."""
        with tf.name_scope("average"):
            assignments = [
                tf.assign(
                    average,
                    decay * average.read_value() + (1 - decay) * weight.read_value(),
                )
                for average, weight in zip(self.variables, weights)
            ]
            return tf.group(*assignments)


def average_weights(config: Namespace) -> WeightAverage | None:
    """The `WeightAverage` of all weights in the graph.

    Args:
        config: with `ema_decay`.

    Returns:
        The average; `None` if `ema_decay` is zero.
    """
    if not config.ema_decay:
        return None
    return WeightAverage(config.ema_decay, tf.trainable_variables())


def apply_gradients(
    config: Namespace,
    optimizer: Any,
    average: Any,
    gradients: Sequence[tuple[Any, Any]],
    global_step: Any,
) -> Step:
    """Makes one update: clips the gradients, applies them, and moves the averages.

    All gradients are multiplied by min(1, `max_grad_norm` / their norm together)
    (Pascanu, Mikolov and Bengio, arXiv:1211.5063, algorithm 1). Beside the optimizer's
    own change, kernels W lose learning rate · `weight_decay` · W; biases do not
    (Loshchilov and Hutter, arXiv:1711.05101, algorithm 2, whose λ is `learning_rate` ·
    `weight_decay`, as in PyTorch's AdamW).

    Args:
        config: with `max_grad_norm`, a number or `None`, `weight_decay`, and the
            schedule.
        optimizer: the `tf.train.Optimizer`.
        average: the `WeightAverage`, or `None`.
        gradients: pairs of gradient, a dense tensor, and variable.
        global_step: the variable that counts the steps.

    Returns:
        The `Step`. Its learning rate and norm are those before the update, if they are
        fetched with the update.
    """
    values, weights = zip(*gradients)
    learning_rate = scheduled_learning_rate(config, global_step)
    if config.max_grad_norm is None:
        gradient_norm = tf.global_norm(values)
    else:
        values, gradient_norm = _clip(values, config.max_grad_norm)
    before = [learning_rate, gradient_norm]
    if average is not None:
        decay = average.decay_after(global_step)
        before.append(decay)
    # What is told of a step is read before the step changes it.
    with tf.control_dependencies(before):
        decay_op = _decay(weights, learning_rate, config.weight_decay)
    with tf.control_dependencies([decay_op]):
        train_op = optimizer.apply_gradients(zip(values, weights), global_step)
    if average is not None:
        with tf.control_dependencies([train_op]):
            train_op = average.update(weights, decay)
    return Step(train_op, learning_rate, gradient_norm)


def _clip(gradients, max_norm):
    """Gradients with a norm of `max_norm` at most, and the norm they had.

    Over 784 time steps gradients explode by many orders of magnitude, and the square of
    1e20 is no float32 any more: they are divided by the largest entry before.
    """
    largest = tf.reduce_max([tf.reduce_max(tf.abs(g)) for g in gradients])
    scale = tf.maximum(largest, 1.0)
    norm = scale * tf.global_norm([g / scale for g in gradients])
    factor = max_norm * tf.minimum(1.0 / norm, 1.0 / max_norm)
    return [g * factor for g in gradients], norm


def _decay(weights, learning_rate, weight_decay):
    """The op by which kernels lose a part of themselves, if they are to."""
    if not weight_decay:
        return tf.no_op()
    kept = 1 - learning_rate * weight_decay
    kernels = [weight for weight in weights if len(weight.shape) > 1]
    return tf.group(*[tf.assign(w, kept * w.read_value()) for w in kernels])


@contextlib.contextmanager
def averaged_weights(classifier: Any, session: Any) -> Iterator[None]:
    """Within it, the weights in a session are their averages, if there are any.

    Args:
        classifier: the `Classifier`.
        session: with its variables.
    """
    if classifier.average is None:
        yield
        return
    weights = classifier.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
    trained = session.run(weights)
    averages = session.run(classifier.average.variables)
    _load(weights, averages, session)
    try:
        yield
    finally:
        _load(weights, trained, session)


def _load(variables, values, session):
    """Sets variables to values."""
    for variable, value in zip(variables, values):
        variable.load(value, session)
