"""The fast path: outputs and gradients, of all kinds of recurrences."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scripts import slow_after

from seqmnist import rnn
from seqmnist import tf1 as tf
from seqmnist.cells import BasicRNNCell, GRUCell, LSTMCell, StackedCell

if tf.VERSION.startswith("1."):
    pytest.skip("TF 1.15 does not compile functions", allow_module_level=True)

from seqmnist.fast import recurrence

STATM = Path("/proc/self/statm")  # the second number: pages in memory

# name -> makes the cell of a number of units, for a batch of this size
CELLS = {
    "rnn": lambda units, batch: BasicRNNCell(units),
    "lstm": lambda units, batch: LSTMCell(units, forget_bias=0.7),
    "gru": lambda units, batch: GRUCell(units),
    "2 rnn": lambda units, batch: StackedCell([BasicRNNCell(units) for _ in range(2)]),
    "masked lstm, gru": lambda units, batch: StackedCell(
        [
            LSTMCell(units + 1, candidate_mask=random(batch, units + 1)),
            GRUCell(units, candidate_mask=random(batch, units)),
        ]
    ),
    "long steps": lambda units, batch: StackedCell(
        [LSTMCell(units + 1, step_length=4), GRUCell(units, step_length=3)]
    ),
    "masked rnn": lambda units, batch: BasicRNNCell(
        units, candidate_mask=random(batch, units)
    ),
}
# kind -> MAX_HOISTED, MIN_BLOCK
KINDS = {
    "hoisted": (10**6, 10**6),
    "hoisted, a block per gate": (10**6, 0),
    "streamed": (0, 0),
}
# time steps, batch size, input size, units
SIZES = [(7, 5, 3, 4), (1, 3, 2, 5), (4, 1, 1, 3), (3, 2, 5, 1)]


def compiled(function):
    return tf.function(function, autograph=False, jit_compile=True)


def random(*shape):
    """Float64 from a normal distribution, the same ones at every call."""
    return np.random.RandomState(list(shape)).randn(*shape)


def initialized_session():
    session = tf.Session()
    session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
    return session


def weighted(tensor):
    """A sum of all values, each with a weight of its own."""
    return tf.reduce_sum(tensor * random(*tensor.shape.as_list()))


# What a loss may be made of: of outputs `[B, T, H]`, and of the final state's tensors.
LOSSES = {
    "last output": lambda outputs, state: weighted(state[-1]),
    "all outputs": lambda outputs, state: weighted(outputs),
    "some outputs": lambda outputs, state: weighted(tf.sin(outputs[:, ::2])),
    "outputs and state": lambda outputs, state: (
        weighted(outputs) + tf.add_n([weighted(s) for s in state])
    ),
}


class Network:
    """A recurrence in float64 with a loss, plain and fast.

    Attributes:
        variables: the cell's.
        plain, fast: the loss, and its gradients with respect to inputs, initial state
            and variables.
        read: the loss, from a function that is not differentiated.
    """

    def __init__(self, cell, sizes, loss, has_initial, time_major=False):
        time_steps, batch_size, input_size, units = sizes
        shape = [batch_size, time_steps, input_size]
        inputs = tf.constant(random(*shape))
        make, loss = CELLS[cell], LOSSES[loss]
        sizes = (
            tf.nest.flatten(make(units, batch_size).state_size) if has_initial else []
        )
        initial = [tf.constant(random(batch_size, size) / 2) for size in sizes]

        def losses(inputs, *initial):
            cell = make(units, batch_size)
            if time_major:
                inputs = tf.transpose(inputs, [1, 0, 2])
            state = None
            if initial:
                state = tf.nest.pack_sequence_as(cell.state_size, initial)
            with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
                outputs, state = rnn.dynamic_rnn(
                    *(cell, inputs, None, state, tf.float64), time_major=time_major
                )
            assert rnn.slow_recurrences() == []
            if time_major:
                outputs = tf.transpose(outputs, [1, 0, 2])
            return loss(outputs, tf.nest.flatten(state))

        def train(*tensors):
            value = losses(*tensors)
            self.variables = tf.trainable_variables()
            return [value, *tf.gradients(value, [*tensors, *self.variables])]

        self.plain = train(inputs, *initial)
        self.fast = compiled(train)(inputs, *initial)
        before = len(tf.local_variables())
        self.read = compiled(losses)(inputs, *initial)
        assert len(tf.local_variables()) == before  # nothing is kept for a gradient
        self.session = initialized_session()
        for variable in self.variables:
            variable.load(random(*variable.shape.as_list()), self.session)


@pytest.fixture(params=KINDS)
def network(request, monkeypatch):
    """Makes a `Network` in a graph of its own, of each kind."""
    max_hoisted, min_block = KINDS[request.param]
    monkeypatch.setattr(recurrence, "MAX_HOISTED", max_hoisted)
    monkeypatch.setattr(recurrence, "MIN_BLOCK", min_block)
    with tf.Graph().as_default():
        yield Network


@pytest.mark.parametrize(
    "cell, sizes, loss, has_initial",
    slow_after(
        3,
        [
            ("masked rnn", SIZES[0], "outputs and state", True),
            ("masked lstm, gru", SIZES[0], "outputs and state", True),
            ("lstm", SIZES[0], "last output", False),
            ("long steps", SIZES[0], "last output", False),
            ("gru", SIZES[1], "last output", False),
            ("lstm", SIZES[2], "all outputs", False),
            ("gru", SIZES[3], "some outputs", True),
            *[
                (cell, SIZES[0], "outputs and state", True)
                for cell in CELLS
                if "masked" not in cell and cell != "long steps"  # those are above
            ],
        ],
        variant_after=6,
    ),
)
def test_outputs_and_gradients_are_those_of_the_plain_path(
    cell, sizes, loss, has_initial, network
):
    network = network(cell, sizes, loss, has_initial)
    found, expected, read = network.session.run(
        [network.fast, network.plain, network.read]
    )
    for value, plain in zip(found, expected):
        np.testing.assert_allclose(value, plain, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(read, expected[0], rtol=1e-10)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("network", ["hoisted"], indirect=True)
def test_gradients_agree_with_central_differences(cell, network):
    network = network(cell, (3, 2, 2, 3), "outputs and state", False)
    session, step = network.session, 1e-5
    loss, _, *gradients = network.fast
    for variable, gradient in zip(network.variables, session.run(gradients)):
        value = session.run(variable)
        differences = np.zeros_like(value)
        for index in np.ndindex(*value.shape):
            losses = []
            for sign in (1, -1):
                changed = value.copy()
                changed[index] += sign * step
                variable.load(changed, session)
                losses.append(session.run(loss))
            differences[index] = (losses[0] - losses[1]) / (2 * step)
        variable.load(value, session)
        np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "network", slow_after(1, ["streamed", "hoisted"], variant_after=1), indirect=True
)
def test_a_second_call_is_not_touched_by_the_first_ones_history(network):
    network = network("lstm", (4, 3, 2, 3), "all outputs", True)
    first, second = (network.session.run(network.fast) for _ in range(2))
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "network", slow_after(1, ["streamed", "hoisted"], variant_after=1), indirect=True
)
def test_time_may_come_first(network):
    network = network("gru", SIZES[0], "all outputs", True, time_major=True)
    found, expected = network.session.run([network.fast, network.plain])
    for value, plain in zip(found, expected):
        np.testing.assert_allclose(value, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "network", slow_after(1, ["streamed", "hoisted"], variant_after=1), indirect=True
)
def test_a_gradient_of_another_function_is_right_too(network):
    """The loss is one function's, its gradient is taken where that is called."""
    inputs = tf.constant(random(3, 4, 2))

    def loss(inputs):
        with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
            outputs, _ = rnn.dynamic_rnn(GRUCell(5), inputs, dtype=tf.float64)
        return weighted(outputs)

    expected = tf.gradients(loss(inputs), inputs)
    value = compiled(loss)

    def train(inputs):
        return tf.gradients(value(inputs), inputs)

    found = compiled(train)(inputs)
    with initialized_session() as session:
        found, expected = session.run([found, expected])
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("is_in_loop", [False, True])
def test_unused_outputs_cost_nothing_backwards(is_in_loop, monkeypatch):
    """Their gradient is zero: no tensor `[T, B, H]` of zeros is read at each step."""
    gradients_of_outputs = []
    backward = recurrence.Recurrence._backward

    def spy(self, d_outputs, *arguments):
        gradients_of_outputs.append(d_outputs)
        return backward(self, d_outputs, *arguments)

    monkeypatch.setattr(recurrence.Recurrence, "_backward", spy)

    def gradient(use_outputs, inputs):
        with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
            outputs, state = rnn.dynamic_rnn(GRUCell(5), inputs, dtype=tf.float64)
        used = outputs if use_outputs else state
        return tf.gradients(tf.reduce_sum(used), inputs)[0]

    def in_loop(use_outputs, inputs):
        def step(k, total):
            return k + 1, total + gradient(use_outputs, inputs)

        return tf.while_loop(lambda k, _: k < 2, step, [0, tf.zeros_like(inputs)])[1]

    function = in_loop if is_in_loop else gradient
    with tf.Graph().as_default():
        for use_outputs in [False, True]:
            compiled(partial(function, use_outputs))(tf.constant(random(3, 4, 2)))
            assert (gradients_of_outputs.pop() is not None) == use_outputs


@pytest.mark.parametrize(
    "network", slow_after(1, ["streamed", "hoisted"], variant_after=1), indirect=True
)
def test_two_gradients_of_one_recurrence_share_its_history(network):
    inputs = tf.constant(random(3, 4, 2))

    def train(inputs):
        with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
            outputs, _ = rnn.dynamic_rnn(GRUCell(5), inputs, dtype=tf.float64)
        losses = weighted(outputs), weighted(outputs**2)
        return [tf.gradients(loss, inputs)[0] for loss in losses]

    plain, fast = train(inputs), compiled(train)(inputs)
    with initialized_session() as session:
        for _ in range(2):
            for found, expected in zip(*session.run([fast, plain])):
                np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_weights_are_read_anew_in_a_loop():
    """Also those that `tf.nn.dynamic_rnn` made, which would be cached."""
    with tf.Graph().as_default():
        inputs = tf.constant(random(3, 4, 2))

        def loss(inputs):
            with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
                outputs, _ = rnn.dynamic_rnn(GRUCell(5), inputs, dtype=tf.float64)
            return tf.reduce_sum(outputs)

        loss(inputs)
        weights = tf.trainable_variables()

        def two_steps(inputs):
            def step(k, array):
                value = loss(inputs)
                doubled = [w.assign(2 * w.read_value()) for w in weights]
                with tf.control_dependencies(doubled):
                    return k + 1, array.write(k, value)

            array = tf.TensorArray(tf.float64, 2, element_shape=[])
            return tf.while_loop(lambda k, _: k < 2, step, [0, array])[1].stack()

        losses = compiled(two_steps)(inputs)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            first, second = session.run(losses)
            third = session.run(loss(inputs))
    assert len({first, second, third}) == 3


@pytest.mark.parametrize(
    "cell, lengths, expected",
    [
        (type("OtherCell", (GRUCell,), {}), None, "OtherCell has no fast path"),
        (GRUCell, [1, 2, 3, 4, 4], "sequences of several lengths have no fast path"),
    ],
)
def test_what_has_no_fast_path_is_tf1s_own(cell, lengths, expected):
    reasons = []

    def read(inputs):
        with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
            outputs, _ = rnn.dynamic_rnn(cell(3), inputs, lengths, dtype=tf.float64)
        reasons.extend(rnn.slow_recurrences())
        return outputs

    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.constant(random(5, 4, 2))
        values = [read(inputs), compiled(read)(inputs)]
        session.run(tf.global_variables_initializer())
        np.testing.assert_allclose(*session.run(values), rtol=1e-12)
    assert reasons == [expected]


def test_long_sequences_are_streamed_and_short_ones_hoisted():
    with tf.Graph().as_default():
        notebooks = {
            "rnn": (BasicRNNCell(150), 28, 75),
            "lstm": (LSTMCell(128), 28, 50),
            "pixels": (GRUCell(64), 784, 256),
        }
        found = {
            name: type(recurrence.make_recurrence(*sizes, tf.float32)).__name__
            for name, sizes in notebooks.items()
        }
    assert found == {"rnn": "Hoisted", "lstm": "Hoisted", "pixels": "Streamed"}


@pytest.mark.skipif(not STATM.exists(), reason="Linux tells how much memory is used")
def test_a_history_is_in_memory_once():
    """TensorFlow keeps what it folds into a constant as long as the session lives."""

    def resident():
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with tf.Graph().as_default(), tf.Session() as session:
        variable = recurrence.scratch([25, 1_000_000], tf.float32)
        before = resident()
        session.run(tf.local_variables_initializer())
        used = resident() - before
        assert not session.run(tf.math.count_nonzero(variable))
    assert 95e6 < used < 150e6
