"""How the weights change: schedules, clipping, running averages."""

from argparse import Namespace

import numpy as np
import pytest
from scripts import classifier_of, slow_after

import train_lstm
from seqmnist import tf1 as tf
from seqmnist.data import mnist
from seqmnist.data.batches import training_batches
from seqmnist.optimizer import Optimizer, averaged_weights, scheduled_learning_rate
from seqmnist.run.engine import make_engine
from seqmnist.run.plan import make_plan, planned

CONFIG = {"learning_rate": 0.5, "warmup_steps": 0}


def learning_rates(steps, **options):
    """The learning rates of the updates after so many steps."""
    config = Namespace(**{**CONFIG, **options})
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.placeholder(tf.int64, [])
        learning_rate = scheduled_learning_rate(config, step)
        return [session.run(learning_rate, {step: value}) for value in steps]


def test_a_constant_learning_rate_is_constant():
    assert learning_rates([0, 250], schedule="constant") == [0.5, 0.5]


def test_an_exponential_one_decays_with_the_steps():
    steps = np.array([0, 50, 100, 250])
    found = learning_rates(
        steps, schedule="exponential", decay_rate=0.9, decay_steps=100
    )
    np.testing.assert_allclose(found, 0.5 * 0.9 ** (steps / 100), rtol=1e-6)


def test_a_cosine_falls_to_zero_and_stays_there():
    steps = [0, 25, 50, 75, 100, 130]
    found = learning_rates(steps, schedule="cosine", decay_steps=100)
    expected = 0.25 + 0.25 * np.cos(np.pi * np.minimum(steps, 100) / 100)
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_warmup_rises_to_the_schedule(schedule):
    steps = np.array([0, 4, 9, 10, 50])
    options = {"schedule": schedule, "decay_steps": 100}
    found = learning_rates(steps, warmup_steps=10, **options)
    factors = np.minimum(1, (steps + 1) / 10)
    np.testing.assert_allclose(found, factors * learning_rates(steps, **options))
    assert found[0] == pytest.approx(0.05)


@pytest.fixture
def train(parse, small_data):
    """Trains some steps; returns updates, weights after each of them, and averages."""

    def train_for(num_steps, *argv):
        argv = ["--units", "5", "--batch-size", "50", *argv]
        config = parse(train_lstm, argv)
        classifier = classifier_of(train_lstm, config)
        engine = make_engine(classifier)
        train = mnist.load_splits(small_data, 20).train
        updates, history = [], []
        with tf.Session(
            graph=classifier.graph, config=engine.session_config
        ) as session:
            session.run(classifier.init_op)
            engine.initialize(session)
            weights = classifier.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
            history.append(session.run(weights))
            for batch in training_batches(train, 50, 0, num_steps):
                updates += engine.update(session, [batch])
                history.append(session.run(weights))
            averages = None
            if classifier.average is not None:
                averages = session.run(classifier.average.variables)
                with averaged_weights(classifier.average, session):
                    within = session.run(weights)
                    with averaged_weights(classifier.average, session):
                        pass
                    np.testing.assert_equal(session.run(weights), within)
                np.testing.assert_equal(within, averages)
                np.testing.assert_equal(session.run(weights), history[-1])
        return updates, history, averages

    return train_for


BOTH_PATHS = pytest.mark.parametrize(
    "recurrence", slow_after(1, ["plain", "auto"], variant_after=1)
)


@BOTH_PATHS
def test_the_average_follows_its_recursion(recurrence, train):
    """In float64, from the weights after each update; and it is what is exchanged."""
    argv = ["--recurrence", recurrence, "--learning-rate", "0.01"]
    _, history, averages = train(12, *argv, "--ema-decay", "0.5")
    expected = [value.astype(np.float64) for value in history[0]]
    for step, weights in enumerate(history[1:]):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, weights)]
    for found, value, last in zip(averages, expected, history[-1]):
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)
        assert np.abs(found - last).max() > 1e-4


def test_the_average_begins_anew_after_the_coarse_steps(parse):
    argv = ["--view", "pixels", "--steps", "20", "--coarse-part", "0.25"]
    argv += ["--ema-decay", "0.4", "--recurrence", "plain"]
    config = parse(train_lstm, argv)
    config = planned(config, make_plan(config, 1000))
    average = classifier_of(train_lstm, config).average
    assert average.restart == 5
    with tf.Graph().as_default(), tf.Session() as session:
        found = [session.run(average.decay_after(tf.constant(s))) for s in range(9)]
    first = [0.1, 2 / 11, 3 / 12, 4 / 13]
    np.testing.assert_allclose(found, [*first, 5 / 14, *first], rtol=1e-6)


@BOTH_PATHS
def test_the_average_leaves_the_training_as_it_is(recurrence, train):
    argv = ["--recurrence", recurrence, "--learning-rate", "0.01"]
    _, expected, none = train(6, *argv)
    _, found, _ = train(6, *argv, "--ema-decay", "0.9")
    assert none is None
    for value, other in zip(found[-1], expected[-1]):
        np.testing.assert_allclose(value, other, rtol=1e-5, atol=1e-7)


def descend(gradients, max_grad_norm, is_compiled=False):
    """What one update of learning rate 1 adds to weights, and the norm it tells."""
    options = {"schedule": "constant", "max_grad_norm": max_grad_norm}
    config = Namespace(**CONFIG, **options, weight_decay=0.0)
    gradients = [np.float32(gradient) for gradient in gradients]
    with tf.Graph().as_default(), tf.Session() as session:
        weights = [
            tf.get_variable(name, g.shape, initializer=tf.zeros_initializer())
            for name, g in zip("ab", gradients)
        ]
        optimizer = Optimizer(
            config, lambda _: tf.train.GradientDescentOptimizer(1.0), None
        )
        optimizer.weights = weights

        def update(*values):
            step = optimizer.apply(values)
            with tf.control_dependencies([step.train_op]):
                return tf.identity(step.learning_rate), tf.identity(step.gradient_norm)

        if is_compiled:
            update = tf.function(update, jit_compile=True, autograph=False)
        told = update(*map(tf.constant, gradients))
        session.run(tf.global_variables_initializer())
        learning_rate, norm = session.run(told)
        assert learning_rate == 0.5 and session.run(optimizer.global_step) == 1
        return session.run(weights), norm


@pytest.mark.parametrize("max_grad_norm, factor", [(None, 1), (6.0, 1), (0.5, 0.1)])
def test_gradients_are_clipped_by_the_norm_of_all_together(max_grad_norm, factor):
    """Gradients (3, 0) and 4: their norm is 5, told as it was before."""
    gradients = [[3, 0], [4]]
    found, norm = descend(gradients, max_grad_norm)
    assert norm == 5
    for change, gradient in zip(found, gradients):
        np.testing.assert_allclose(change, -factor * np.array(gradient), rtol=1e-6)


COMPILED = [False] if tf.VERSION.startswith("1.") else [False, True]


@pytest.mark.parametrize("is_compiled", COMPILED)
def test_a_gradient_whose_square_is_no_float32_is_clipped(is_compiled):
    found, norm = descend([[3e30, 0], [-4e30]], 0.5, is_compiled)
    assert norm == pytest.approx(5e30)
    np.testing.assert_allclose(found[0], [-0.3, 0], rtol=1e-6)
    np.testing.assert_allclose(found[1], [0.4], rtol=1e-6)


def test_kernels_decay_beside_the_gradient_and_biases_do_not():
    """AdamW: W (1 - 0.5 · 0.2) - gradient, the gradient being of the W before."""
    options = {"schedule": "constant", "max_grad_norm": None, "weight_decay": 0.2}
    config = Namespace(**CONFIG, **options)
    kernel, bias = np.float32([[1, -2]]), np.float32([3, 4])
    with tf.Graph().as_default(), tf.Session() as session:
        weights = [
            tf.get_variable(name, initializer=value)
            for name, value in zip("kb", [kernel, bias])
        ]
        loss = tf.add_n([tf.reduce_sum(weight**2) for weight in weights])
        optimizer = Optimizer(
            config, lambda _: tf.train.GradientDescentOptimizer(0.1), None
        )
        step, _ = optimizer.minimize(loss)
        session.run(tf.global_variables_initializer())
        session.run(step.train_op)
        found = session.run(weights)
    np.testing.assert_allclose(found[0], 0.9 * kernel - 0.1 * 2 * kernel, rtol=1e-6)
    np.testing.assert_allclose(found[1], bias - 0.1 * 2 * bias, rtol=1e-6)


def test_what_an_update_tells_is_computed_before_it(parse):
    """A loss may read a variable by itself, as L2 does."""
    classifier = classifier_of(train_lstm, parse(train_lstm, []))
    waiting, seen = [classifier.update.train_op], set()
    while waiting:
        op = waiting.pop()
        seen.add(op.name)
        parents = [*op.control_inputs, *(tensor.op for tensor in op.inputs)]
        waiting += [parent for parent in parents if parent.name not in seen]
    step, trace = classifier.update, classifier.training
    told = [trace.loss, trace.correct_count, step.learning_rate, step.gradient_norm]
    assert {tensor.op.name for tensor in told} <= seen
