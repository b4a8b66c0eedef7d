"""The graph's parts: seeded initial values, readout, loss, count."""

import numpy as np
import pytest

from seqmnist import tf1 as tf
from seqmnist.classifier import (
    INPUT_SCALES,
    Readout,
    count_correct,
    mean_cross_entropy,
    scale_pixels,
    seeded_graph,
)


def run(build):
    """Evaluates what `build()` returns in a graph of its own."""
    with tf.Graph().as_default(), tf.Session() as session:
        result = build()
        session.run(tf.global_variables_initializer())
        return session.run(result)


def initial_values(seed, names):
    """Initial values of 2 x 3 variables, made in the given order."""
    with seeded_graph(seed) as graph:
        variables = {name: tf.get_variable(name, [2, 3]) for name in names}
        init_op = tf.global_variables_initializer()
        with tf.Session(graph=graph) as session:
            session.run(init_op)
            return session.run(variables)


def test_initial_values_follow_from_seed_and_name():
    first = initial_values(1, ["a", "b"])
    again = initial_values(1, ["c", "b", "a"])
    np.testing.assert_array_equal(first["a"], again["a"])
    np.testing.assert_array_equal(first["b"], again["b"])
    assert (first["a"] != first["b"]).all()
    assert (first["a"] != initial_values(2, ["a"])["a"]).all()


def test_initial_values_are_the_same_in_both_tensorflows():
    found = initial_values(7, ["a"])["a"]
    np.testing.assert_array_equal(found, GOLDEN_INITIAL_VALUES)


# As TF 1.15.5 and 2.21 both give them for seed 7.
GOLDEN_INITIAL_VALUES = np.float32(
    [
        [-1.044613242149353, 0.15865302085876465, -0.8644373416900635],
        [0.796146035194397, 0.2586630582809448, 0.4620025157928467],
    ]
)


def test_two_names_of_one_seed_draw_independently():
    values = initial_values(0, [f"v{i}" for i in range(50)])
    stacked = np.stack(list(values.values())).reshape(50, 6)
    correlation = np.corrcoef(stacked.T) - np.eye(6)
    assert np.abs(correlation).max() < 0.5


def test_pixels_are_scaled_to_the_unit_interval():
    scaled = run(lambda: scale_pixels(tf.constant([[0, 51, 255]], tf.uint8)))
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, np.float32([[0, 51, 255]]) / 255)


def test_pixels_are_scaled_as_told(splits):
    symmetric = run(lambda: scale_pixels(tf.constant([0, 255], tf.uint8), "symmetric"))
    np.testing.assert_allclose(symmetric, [-1, 1], atol=1e-6)
    # All 60,000, in float64.
    images = np.concatenate([splits.validation.images, splits.train.images]) / 255
    offset, scale = INPUT_SCALES["standard"]
    assert (round(images.mean(), 4), round(images.std(), 4)) == (offset, scale)
    standard = run(lambda: scale_pixels(tf.constant([0, 255], tf.uint8), "standard"))
    np.testing.assert_allclose(standard, [-0.4242, 2.8215], atol=1e-4)


@pytest.mark.parametrize("kernel_init", ["glorot", "uniform", "normal"])
def test_readout_kernel_starts_as_it_is_told(kernel_init):
    with seeded_graph(0) as graph:
        Readout(10, kernel_init)(tf.zeros([1, 400]))
        kernel, _ = tf.trainable_variables()
        init_op = tf.global_variables_initializer()
        with tf.Session(graph=graph) as session:
            session.run(init_op)
            value = session.run(kernel)
    expected = {  # minimum, maximum, mean, standard deviation
        "glorot": (-np.sqrt(6 / 410), np.sqrt(6 / 410), 0, np.sqrt(2 / 410)),
        "uniform": (0, 1, 0.5, np.sqrt(1 / 12)),
        "normal": (-0.2, 0.2, 0, 0.088),  # of a normal truncated at 2 stddev
    }[kernel_init]
    found = (value.min(), value.max(), value.mean(), value.std())
    np.testing.assert_allclose(found, expected, atol=0.02 * np.ptp(expected[:2]))


def test_readout_bias_starts_as_it_is_told():
    for bias_init, low, high in ((0.1, 0.1, 0.1), (0.0, 0, 0), ("uniform", 0, 1)):
        with seeded_graph(0) as graph:
            Readout(10, "glorot", bias_init)(tf.zeros([1, 4]))
            _, bias = tf.trainable_variables()
            init_op = tf.global_variables_initializer()
            with tf.Session(graph=graph) as session:
                session.run(init_op)
                value = session.run(bias)
        assert value.shape == (10,)
        assert (np.float32(low) <= value).all() and (value <= np.float32(high)).all()
        assert len(set(value)) == (10 if bias_init == "uniform" else 1)


def test_readout_of_every_time_step_is_the_readout_of_each():
    states = np.random.RandomState(0).randn(3, 5, 4).astype(np.float32)
    with seeded_graph(0) as graph:
        readout = Readout(num_classes=2)
        every, last = readout(tf.constant(states)), readout(tf.constant(states[:, -1]))
        assert [v.op.name for v in tf.trainable_variables()] == [
            "dense/kernel",
            "dense/bias",
        ]
        init_op = tf.global_variables_initializer()
        with tf.Session(graph=graph) as session:
            session.run(init_op)
            every, last = session.run([every, last])
    assert every.shape == (3, 5, 2)
    np.testing.assert_allclose(every[:, -1], last, rtol=1e-6)


def test_loss_is_the_mean_negative_log_probability():
    logits = np.float32([[2, -1, 0], [0, 0, 3], [1, 1, 1]])
    labels = np.int32([0, 1, 2])
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(probabilities[np.arange(3), labels]).mean()
    assert run(lambda: mean_cross_entropy(labels, logits)) == pytest.approx(expected)


@pytest.mark.parametrize("smoothing", [0.1, 1.0])
def test_smoothed_labels_are_those_of_tf1(smoothing):
    logits = np.float32([[2, -1, 0], [0, 0, 3], [1, 1, 1]])
    labels = np.int32([0, 1, 2])
    expected = run(
        lambda: tf.losses.softmax_cross_entropy(
            np.eye(3)[labels], logits, label_smoothing=smoothing
        )
    )
    found = run(lambda: mean_cross_entropy(labels, logits, smoothing))
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_tie_is_not_counted_as_a_hit():
    logits = np.float32([[2, -1, 0], [0, 0, 3], [1, 1, 1], [1, 1, 1]])
    labels = np.int32([0, 1, 2, 0])
    assert run(lambda: count_correct(labels, logits)) == 2
