"""The fast path's equations: outputs and gradients, in both layouts."""

import numpy as np
import pytest

from seqmnist import recurrence
from seqmnist import tf1 as tf
from seqmnist.cells import BasicRNNCell, GRUCell, LSTMCell, StackedCell

CELLS = {
    "rnn": lambda units: BasicRNNCell(units),
    "lstm": lambda units: LSTMCell(units, forget_bias=0.7),
    "gru": lambda units: GRUCell(units),
    "2 rnn": lambda units: StackedCell([BasicRNNCell(units) for _ in range(2)]),
    "3 lstm": lambda units: StackedCell([LSTMCell(units) for _ in range(3)]),
    "2 gru": lambda units: StackedCell([GRUCell(units) for _ in range(2)]),
}
LAYOUTS = {
    "batch-major": (recurrence.BatchMajor, False),
    "batch-major, gates apart": (recurrence.BatchMajor, True),
    "units-major": (recurrence.UnitsMajor, True),
}
# time steps, batch size, input size, units
SIZES = [(7, 5, 3, 4), (1, 3, 2, 5), (4, 1, 1, 3), (3, 2, 5, 1)]


def compiled(function):
    """The function as XLA compiles it, where this TensorFlow can."""
    options = {} if tf.VERSION.startswith("1.") else {"jit_compile": True}
    return tf.function(function, autograph=False, **options)


def random(*shape):
    """Float64 from a normal distribution, the same ones at every call."""
    return np.random.RandomState(list(shape)).randn(*shape)


class Network:
    """A recurrence in float64 with loss Σ a · output, plain and fast."""

    def __init__(self, cell, layout, sizes, monkeypatch):
        time_steps, batch_size, input_size, units = sizes
        layout, apart = LAYOUTS[layout]
        monkeypatch.setattr(recurrence, "MIN_APART", 0 if apart else 1000)
        self.cell = CELLS[cell](units)
        self.inputs = random(batch_size, time_steps, input_size)
        self.direction = random(batch_size, units)
        _, state = tf.nn.dynamic_rnn(
            self.cell, tf.constant(self.inputs), dtype=tf.float64
        )
        self.plain_output = self.cell.last_output(state)
        self.variables = tf.trainable_variables()
        self.plain_gradients = tf.gradients(
            tf.reduce_sum(self.plain_output * self.direction), self.variables
        )
        fast = layout(self.cell, time_steps, batch_size, input_size, tf.float64)
        assert fast.apart == apart
        scratch = fast.make_scratch("scratch")

        def train(inputs, *weights):
            def head(output):
                loss = tf.reduce_sum(output * self.direction)
                return [loss], tf.constant(self.direction)

            return fast.train(weights, inputs, scratch, head)

        weights = [v.read_value() for v in self.variables]
        (self.loss,), self.gradients = compiled(train)(self.inputs, *weights)
        self.output = compiled(lambda x, *w: fast.final_output(w, x))(
            self.inputs, *weights
        )
        self.session = tf.Session()
        self.session.run(
            [tf.global_variables_initializer(), tf.local_variables_initializer()]
        )
        for variable in self.variables:
            variable.load(random(*variable.shape.as_list()), self.session)


@pytest.fixture
def network(monkeypatch):
    """Makes a `Network` in a graph of its own."""
    with tf.Graph().as_default():
        yield lambda *args: Network(*args, monkeypatch)


@pytest.mark.parametrize(
    "cell, sizes",
    # Stacks add nothing to the odd sizes that their cells have shown.
    [(cell, sizes) for cell in CELLS for sizes in SIZES[: 1 if " " in cell else None]],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_and_gradients_are_those_of_the_plain_equations(
    cell, layout, sizes, network
):
    network = network(cell, layout, sizes)
    found, expected = network.session.run(
        [
            [network.output, *network.gradients],
            [network.plain_output, *network.plain_gradients],
        ]
    )
    for value, plain in zip(found, expected):
        np.testing.assert_allclose(value, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradients_agree_with_central_differences(cell, layout, network):
    network = network(cell, layout, (3, 2, 2, 3))
    session, step = network.session, 1e-5
    gradients = session.run(network.gradients)
    for variable, gradient in zip(network.variables, gradients):
        value = session.run(variable)
        differences = np.zeros_like(value)
        for index in np.ndindex(*value.shape):
            losses = []
            for sign in (1, -1):
                changed = value.copy()
                changed[index] += sign * step
                variable.load(changed, session)
                losses.append(session.run(network.loss))
            differences[index] = (losses[0] - losses[1]) / (2 * step)
        variable.load(value, session)
        np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_second_call_is_not_touched_by_the_first_ones_history(layout, network):
    network = network("lstm", layout, (4, 3, 2, 3))
    first, second = (network.session.run(network.gradients) for _ in range(2))
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)


def test_long_sequences_are_units_major_and_short_ones_batch_major():
    with tf.Graph().as_default():
        notebooks = {
            "rnn": (BasicRNNCell(150), 28, 75, 28),
            "lstm": (LSTMCell(128), 28, 50, 28),
            "pixels": (GRUCell(64), 784, 256, 1),
        }
        found = {
            name: type(recurrence.make_recurrence(*sizes)).__name__
            for name, sizes in notebooks.items()
        }
    assert found == {"rnn": "BatchMajor", "lstm": "BatchMajor", "pixels": "UnitsMajor"}
