"""The update of the weights: schedule, clipping, Adam's step, running averages."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from typing import Callable, Iterator, NamedTuple, Sequence

from seqmnist import tf1 as tf
from seqmnist.errors import UserError

AVERAGE = "/ExponentialMovingAverage"

# What `--decay-steps` means for each is in cli/parser.py and run/plan.py.
SCHEDULES = ("constant", "exponential", "cosine")


class Step(NamedTuple):
    """An update in the graph. The scalars have their values from before the update.

    Attributes:
        train_op: the op that does the update.
        learning_rate: float32 scalar, the learning rate of the update.
        gradient_norm: float32 scalar, Euclidean norm of all gradients together, before
            clipping.
    """

    train_op: tf.Operation
    learning_rate: tf.Tensor
    gradient_norm: tf.Tensor


class Optimizer:
    """Builds the update of the weights from the gradients.

    An update has five parts, in this order:

    -   the learning rate follows its schedule;
    -   clipping multiplies all gradients by min(1, `max_grad_norm` / their norm
        together) (Pascanu, Mikolov and Bengio, arXiv:1211.5063, algorithm 1);
    -   kernels decay, W ← W - rate · `weight_decay` · W, and biases do not (Loshchilov
        and Hutter, arXiv:1711.05101, algorithm 2; their λ is the option
        `learning_rate` times `weight_decay`, as in PyTorch's AdamW);
    -   TF1's optimizer applies the gradients;
    -   the running average of the weights moves.

    Args:
        config: a configuration with `max_grad_norm`, a number or `None`,
            `weight_decay`, and the schedule; see `scheduled_learning_rate`.
        make: takes a callable that returns the learning rate, float32 scalar; returns a
            `tf.train.Optimizer`.
        average: the running average of the weights, or `None`.

    Attributes:
        global_step: the variable that counts the updates.
        weights: the trained variables; set by `minimize`.

    Raises:
        UserError: `make` returns no `tf.train.Optimizer`.
    """

    def __init__(
        self,
        config: Namespace,
        make: Callable[[Callable[[], tf.Tensor]], tf.train.Optimizer],
        average: WeightAverage | None,
    ) -> None:
        self.config = config
        self.average = average
        self.global_step = tf.train.get_or_create_global_step()
        self.weights: list[tf.Variable] = []
        self._learning_rate: tf.Tensor | None = None
        self._optimizer = make(lambda: self._learning_rate)
        if not isinstance(self._optimizer, tf.train.Optimizer):
            raise UserError(
                f"the script's optimizer() returns {type(self._optimizer).__name__}; "
                "expected a tf.train.Optimizer, such as tf.train.AdamOptimizer"
            )

    def minimize(
        self, loss: tf.Tensor, before: Sequence[tf.Tensor] = ()
    ) -> tuple[Step, list[tf.Tensor]]:
        """Makes the update that reduces a loss.

        Args:
            loss: float32 scalar, computed before the update. The update trains the
                trainable variables that the loss depends on.
            before: further tensors that are computed before the update.

        Returns:
            The `Step`, and the gradients in the order of `weights`.

        Raises:
            UserError: the loss depends on no trainable variable.
        """
        variables = tf.trainable_variables()
        found = zip(tf.gradients(loss, variables), variables)
        pairs = [(gradient, v) for gradient, v in found if gradient is not None]
        if not pairs:
            names = ", ".join(v.op.name for v in variables) or "none"
            raise UserError(
                "nothing can be trained: the loss depends on no trainable variable "
                f"(those of the network: {names})"
            )
        gradients, self.weights = map(list, zip(*pairs))
        return self.apply(gradients, [loss, *before]), gradients

    def apply(
        self, gradients: Sequence[tf.Tensor], before: Sequence[tf.Tensor] = ()
    ) -> Step:
        """Makes the update from gradients.

        Args:
            gradients: dense tensors, in the order of `weights`.
            before: tensors that are computed before the update. In a plain graph, other
                tensors may see the weights from before or from after it.

        Returns:
            The `Step`.
        """
        config = self.config
        self._learning_rate = scheduled_learning_rate(config, self.global_step)
        if config.max_grad_norm is None:
            gradient_norm = tf.global_norm(gradients)
        else:
            gradients, gradient_norm = _clip(gradients, config.max_grad_norm)
        before = [*before, self._learning_rate, gradient_norm]
        if self.average is not None:
            decay = self.average.decay_after(self.global_step)
            before.append(decay)
        with tf.control_dependencies(before):
            decay_op = _decay(self.weights, self._learning_rate, config.weight_decay)
        with tf.control_dependencies([decay_op]):
            train_op = self._optimizer.apply_gradients(
                zip(gradients, self.weights), self.global_step
            )
        if self.average is not None:
            with tf.control_dependencies([train_op]):
                train_op = self.average.update(decay)
        return Step(train_op, self._learning_rate, gradient_norm)


def scheduled_learning_rate(config: Namespace, global_step: tf.Tensor) -> tf.Tensor:
    """The learning rate of the next step.

    After s steps it is the product of `learning_rate`, of min(1, (s + 1) /
    `warmup_steps`) (Goyal et al., arXiv:1706.02677, section 2.2) and of

    -   "constant": 1;
    -   "exponential": `decay_rate` ** (s / `decay_steps`);
    -   "cosine": ½ + ½ cos(π s / `decay_steps`), and zero after that (Loshchilov and
        Hutter, arXiv:1608.03983, equation 5, without restarts).

    Args:
        config: a configuration with the values named above, and `schedule`.
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
    """A running average of the weights; evaluations use it in place of the weights.

        average = d · average + (1 - d) · weight,  d = min(decay, (1 + s) / (10 + s))

    after each update, where s counts the updates before it, from `restart` on. The
    small d at first lets the average forget the beginning soon. Formula and variable
    names are those of TF1's `ExponentialMovingAverage`; with that class it is left open
    whether TensorFlow 1's variables are read before or after an update.

    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by
    averaging", SIAM Journal on Control and Optimization 30, 1992. Their average weights
    all steps equally; this one forgets the first steps.

    Args:
        decay: a number from 0 to 1.
        weights: the `tf.Variable`s to average.
        restart: the number of updates after which the average begins anew; 0 for none.

    Attributes:
        variables: the variables of the averages, in the order of the weights.
    """

    def __init__(
        self, decay: float, weights: Sequence[tf.Variable], restart: int = 0
    ) -> None:
        self.decay = decay
        self.restart = restart
        self.weights = weights
        self.variables = [
            tf.get_variable(
                weight.op.name + AVERAGE,
                initializer=weight.initial_value,
                trainable=False,
            )
            for weight in weights
        ]

    def decay_after(self, step: tf.Tensor) -> tf.Tensor:
        """d, float32 scalar, for the update after `step` updates."""
        with tf.name_scope("average"):
            step = tf.cast(step, tf.float32)
            if self.restart:
                step = tf.where(step < self.restart, step, step - self.restart)
            return tf.minimum(self.decay, (1 + step) / (10 + step))

    def update(self, decay: tf.Tensor) -> tf.Operation:
        """The op that moves the averages towards the weights at the time it runs."""
        with tf.name_scope("average"):
            assignments = [
                tf.assign(
                    average,
                    decay * average.read_value() + (1 - decay) * weight.read_value(),
                )
                for average, weight in zip(self.variables, self.weights)
            ]
            return tf.group(*assignments)


def average_weights(decay: float, restart: int = 0) -> WeightAverage | None:
    """The `WeightAverage` of all trainable variables in the graph.

    Args:
        decay: a number from 0 to 1; 0 for no average.
        restart: the step at which the average begins anew, as s is counted from it; 0
            for none.

    Returns:
        The average; `None` if the decay is zero.
    """
    if not decay:
        return None
    return WeightAverage(decay, tf.trainable_variables(), restart)


def _clip(gradients, max_norm):
    """Clips the gradients to a norm of `max_norm`; returns them and their norm before.

    Over 784 time steps gradients may grow by many orders of magnitude, and float32
    cannot hold the square of 1e20. So the norm is computed from the gradients divided
    by their largest entry.
    """
    largest = tf.reduce_max([tf.reduce_max(tf.abs(g)) for g in gradients])
    scale = tf.maximum(largest, 1.0)
    norm = scale * tf.global_norm([g / scale for g in gradients])
    factor = max_norm * tf.minimum(1.0 / norm, 1.0 / max_norm)
    return [g * factor for g in gradients], norm


def _decay(weights, learning_rate, weight_decay):
    """The op of the weight decay: it shrinks the kernels; no op without decay."""
    if not weight_decay:
        return tf.no_op()
    kept = 1 - learning_rate * weight_decay
    kernels = [weight for weight in weights if len(weight.shape) > 1]
    return tf.group(*[tf.assign(w, kept * w.read_value()) for w in kernels])


@contextlib.contextmanager
def averaged_weights(
    average: WeightAverage | None, session: tf.Session
) -> Iterator[None]:
    """Replaces the weights in a session by their averages, within a block.

    Args:
        average: the averages; with `None`, the weights stay as they are.
        session: a session with the variables.
    """
    if average is None:
        yield
        return
    trained = session.run(average.weights)
    _load(average.weights, session.run(average.variables), session)
    try:
        yield
    finally:
        _load(average.weights, trained, session)


def _load(variables, values, session):
    """Sets variables to values."""
    for variable, value in zip(variables, values):
        variable.load(value, session)
