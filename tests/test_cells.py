"""The same battery for every cell: names, shapes, values against NumPy, protocol."""

import numpy as np
import pytest

from seqmnist import tf1 as tf
from seqmnist.cells import (
    BasicRNNCell,
    GRUCell,
    LSTMCell,
    LSTMState,
    StackedCell,
    stack,
)
from seqmnist.classifier import seeded_graph

# Unequal on purpose, so that no two axes can be mistaken for each other.
BATCH_SIZE, TIME_STEPS, INPUT_SIZE, NUM_UNITS = 3, 5, 4, 6

VARIABLES = {
    BasicRNNCell: {
        "rnn/basic_rnn_cell/kernel": [INPUT_SIZE + NUM_UNITS, NUM_UNITS],
        "rnn/basic_rnn_cell/bias": [NUM_UNITS],
    },
    LSTMCell: {
        "rnn/lstm_cell/kernel": [INPUT_SIZE + NUM_UNITS, 4 * NUM_UNITS],
        "rnn/lstm_cell/bias": [4 * NUM_UNITS],
    },
    GRUCell: {
        "rnn/gru_cell/gates/kernel": [INPUT_SIZE + NUM_UNITS, 2 * NUM_UNITS],
        "rnn/gru_cell/gates/bias": [2 * NUM_UNITS],
        "rnn/gru_cell/candidate/kernel": [INPUT_SIZE + NUM_UNITS, NUM_UNITS],
        "rnn/gru_cell/candidate/bias": [NUM_UNITS],
    },
}
CELLS = pytest.mark.parametrize("cell_class", VARIABLES)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def basic_rnn_step(weights, x, h, mask=1):
    kernel, bias = weights
    h = mask * np.tanh(np.hstack([x, h]) @ kernel + bias)
    return h, h


def lstm_step(weights, x, state, mask=1, forget_bias=1.0):
    kernel, bias = weights
    c, h = state if isinstance(state, tuple) else (state, state)
    gates = np.hstack([x, h]) @ kernel + bias
    i, j, f, o = (gates[:, n * NUM_UNITS : (n + 1) * NUM_UNITS] for n in range(4))
    c = sigmoid(f + forget_bias) * c + sigmoid(i) * mask * np.tanh(j)
    h = sigmoid(o) * np.tanh(c)
    return h, (c, h)


def gru_step(weights, x, h, mask=1):
    gates_kernel, gates_bias, candidate_kernel, candidate_bias = weights
    gates = sigmoid(np.hstack([x, h]) @ gates_kernel + gates_bias)
    r, u = gates[:, :NUM_UNITS], gates[:, NUM_UNITS:]
    c = mask * np.tanh(np.hstack([x, r * h]) @ candidate_kernel + candidate_bias)
    h = u * h + (1 - u) * c
    return h, h


NUMPY_STEP = {BasicRNNCell: basic_rnn_step, LSTMCell: lstm_step, GRUCell: gru_step}


def random_weights(cell_class):
    """Weights for a cell, biases included, so that a swap of gates cannot hide."""
    generator = np.random.RandomState(5)
    return [generator.randn(*shape) for shape in VARIABLES[cell_class].values()]


def random_inputs():
    return np.random.RandomState(6).randn(BATCH_SIZE, TIME_STEPS, INPUT_SIZE)


def run_dynamic_rnn(cell, weights, inputs, dtype):
    """Outputs and final state of `tf.nn.dynamic_rnn` with the given weights."""
    with tf.Graph().as_default(), tf.Session() as session:
        placeholder = tf.placeholder(dtype, [None, None, INPUT_SIZE])
        results = tf.nn.dynamic_rnn(cell, placeholder, dtype=dtype)
        session.run(tf.global_variables_initializer())
        if weights:
            for variable, value in zip(tf.trainable_variables(), weights):
                variable.load(value, session)
        return session.run(results, {placeholder: inputs})


@CELLS
def test_variables_have_tf1s_names_and_shapes(cell_class):
    with tf.Graph().as_default():
        inputs = tf.placeholder(tf.float32, [None, TIME_STEPS, INPUT_SIZE])
        tf.nn.dynamic_rnn(cell_class(NUM_UNITS), inputs, dtype=tf.float32)
        found = {v.op.name: v.shape.as_list() for v in tf.trainable_variables()}
    assert found == VARIABLES[cell_class]


@CELLS
def test_initial_values_are_tf1s(cell_class):
    """Kernels Glorot-uniform, biases zero, but one for the GRU's gates."""
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.placeholder(tf.float32, [None, TIME_STEPS, INPUT_SIZE])
        tf.nn.dynamic_rnn(cell_class(50), inputs, dtype=tf.float32)
        session.run(tf.global_variables_initializer())
        for variable in tf.trainable_variables():
            value = session.run(variable)
            if variable.op.name.endswith("bias"):
                expected = 1.0 if "gates" in variable.op.name else 0.0
                assert (value == expected).all()
            else:
                limit = np.sqrt(6.0 / sum(value.shape))
                assert 0.9 * limit < np.abs(value).max() <= limit
                assert abs(value.mean()) < 0.1 * limit


def initial_values(cell):
    """Initial values of a cell's variables, by the last parts of their names."""
    with seeded_graph(3) as graph, tf.Session(graph=graph) as session:
        inputs = tf.placeholder(tf.float32, [None, TIME_STEPS, INPUT_SIZE])
        tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)
        session.run(tf.global_variables_initializer())
        variables = tf.trainable_variables()
        values = session.run(variables)
    return {v.op.name.split("/", 2)[-1]: x for v, x in zip(variables, values)}


@CELLS
@pytest.mark.parametrize("recurrent_init", ["orthogonal", "identity"])
def test_recurrent_init_is_that_of_each_gates_rows_for_the_state(
    cell_class, recurrent_init
):
    units = 40
    found = initial_values(cell_class(units, recurrent_init=recurrent_init))
    default = initial_values(cell_class(units))
    squares = []
    for name, value in found.items():
        if not name.endswith("kernel"):
            np.testing.assert_array_equal(value, default[name])
            continue
        of_inputs = value[:INPUT_SIZE]
        np.testing.assert_array_equal(of_inputs, default[name][:INPUT_SIZE])
        squares += np.split(value[INPUT_SIZE:], value.shape[1] // units, axis=1)
    for square in squares:
        np.testing.assert_allclose(square @ square.T, np.eye(units), atol=1e-5)
        assert (square == np.eye(units)).all() == (recurrent_init == "identity")
    if recurrent_init == "orthogonal":  # no two alike
        sums = [round(float(square.sum()), 4) for square in squares]
        assert len(set(sums)) == len(squares)


def kept(cell):
    """What share of its state each unit keeps at first, at zero input and state."""
    biases = initial_values(cell)
    if isinstance(cell, GRUCell):
        return sigmoid(biases["gates/bias"][cell.num_units :])
    return sigmoid(np.split(biases["bias"], 4)[2] + cell.forget_bias)


@pytest.mark.parametrize("cell_class", [LSTMCell, GRUCell])
def test_chrono_spreads_the_memory_over_the_sequence(cell_class):
    """1 / (1 - kept) is 1 + U[1, 783]."""
    shares = kept(cell_class(2000, bias_init="chrono", time_steps=784))
    times = np.sort(1 / (1 - shares.astype(np.float64))) - 1
    assert 1 <= times[0] < 5 and 778 < times[-1] < 783.1
    np.testing.assert_allclose(times, np.linspace(1, 783, 2000), atol=25)


@pytest.mark.parametrize("cell_class", [LSTMCell, GRUCell])
def test_uniform_spreads_the_shares_that_are_kept(cell_class):
    shares = np.sort(kept(cell_class(2000, bias_init="uniform")))
    np.testing.assert_allclose(shares, np.linspace(0, 1, 2000), atol=0.04)
    assert shares[0] > 1 / 2001 and shares[-1] < 2000 / 2001


@pytest.mark.parametrize("bias_init", ["chrono", "uniform"])
def test_the_other_gates_biases_go_with_it(bias_init):
    gru = initial_values(GRUCell(30, bias_init=bias_init, time_steps=784))
    assert (gru["gates/bias"][:30] == 1).all() and not gru["candidate/bias"].any()
    lstm = LSTMCell(30, 0.5, bias_init=bias_init, time_steps=784)
    i, j, f, o = np.split(initial_values(lstm)["bias"], 4)
    np.testing.assert_allclose(i, -(f + 0.5), atol=1e-6)
    assert not j.any() and not o.any()


@pytest.mark.parametrize(
    "cell_class, shifts",
    [
        (LSTMCell, {"lstm_cell/bias": [1, 0, -1, 0]}),
        (GRUCell, {"gru_cell/gates/bias": [0, -1], "gru_cell/candidate/bias": [0]}),
    ],
)
def test_a_longer_step_keeps_the_state_for_fewer_steps(cell_class, shifts):
    """Outside the variables: shifted by log(4), they do the same with a step of 1."""
    inputs = random_inputs().astype(np.float32)
    outputs = []
    for step_length in (4, 1):
        with seeded_graph(0) as graph, tf.Session(graph=graph) as session:
            cell = cell_class(NUM_UNITS, step_length=step_length)
            found, _ = tf.nn.dynamic_rnn(cell, tf.constant(inputs), dtype=tf.float32)
            session.run(tf.global_variables_initializer())
            biases = {
                v.op.name: v for v in cell.trainable_variables if "bias" in v.name
            }
            assert biases.keys() == {f"rnn/{name}" for name in shifts}
            if step_length == 1:
                before = session.run(found)
                for name, signs in shifts.items():
                    bias = biases[f"rnn/{name}"]
                    value = session.run(bias)
                    value += np.repeat(signs, NUM_UNITS) * np.float32(np.log(4))
                    bias.load(value, session)
                assert np.abs(session.run(found) - before).max() > 0.01
            outputs.append(session.run(found))
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)


def test_a_stack_reads_the_outputs_of_the_cell_below():
    """Against the two cells one after the other; TF1's names."""
    inputs = random_inputs().astype(np.float32)
    lower, upper = LSTMCell(NUM_UNITS), GRUCell(3)
    with seeded_graph(0) as graph, tf.Session(graph=graph) as session:
        stacked = StackedCell([lower, upper])
        found = tf.nn.dynamic_rnn(stacked, tf.constant(inputs), dtype=tf.float32)
        names = [v.op.name for v in tf.trainable_variables()]
        scope = tf.get_variable_scope()
        scope.reuse_variables()
        with tf.variable_scope("rnn/multi_rnn_cell/cell_0") as scope:
            below, low = tf.nn.dynamic_rnn(
                lower, tf.constant(inputs), dtype=tf.float32, scope=scope
            )
        with tf.variable_scope("rnn/multi_rnn_cell/cell_1") as scope:
            above, high = tf.nn.dynamic_rnn(upper, below, dtype=tf.float32, scope=scope)
        session.run(tf.global_variables_initializer())
        (outputs, states), expected = session.run([found, (above, (low, high))])
        last = session.run(stacked.last_output(found[1]))
    np.testing.assert_array_equal(outputs, expected[0])
    for state, other in zip(states, expected[1]):
        np.testing.assert_array_equal(state, other)
    np.testing.assert_array_equal(last, outputs[:, -1])
    stack_names = ("cell_0/lstm_cell/kernel", "cell_1/gru_cell/candidate/bias")
    assert {f"rnn/multi_rnn_cell/{name}" for name in stack_names} <= set(names)
    assert len(names) == 6
    assert stacked.state_size == ((NUM_UNITS, NUM_UNITS), 3)
    assert stack([lower]) is lower and stack([lower, upper]).cells == [lower, upper]


@pytest.mark.skipif(
    not tf.VERSION.startswith("1."), reason="TensorFlow 2 has no tf.nn.rnn_cell"
)
def test_a_stack_is_tf1s_multi_rnn_cell():
    cells = tf.nn.rnn_cell

    def theirs():
        return cells.MultiRNNCell([cells.LSTMCell(NUM_UNITS), cells.LSTMCell(3)])

    def ours():
        return StackedCell([LSTMCell(NUM_UNITS), LSTMCell(3)])

    inputs = random_inputs()
    results = []
    for make in (ours, theirs):  # a cell of TF1's serves one graph only
        cell = make()
        with tf.Graph().as_default():
            placeholder = tf.placeholder(tf.float64, [None, None, INPUT_SIZE])
            tf.nn.dynamic_rnn(make(), placeholder, dtype=tf.float64)
            variables = tf.trainable_variables()
            shapes = [v.shape.as_list() for v in variables]
            names = [v.op.name for v in variables]
        weights = [np.random.RandomState(i).randn(*s) for i, s in enumerate(shapes)]
        outputs, _ = run_dynamic_rnn(cell, weights, inputs, tf.float64)
        results.append((names, outputs))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])


@CELLS
@pytest.mark.parametrize("is_masked", [False, True])
def test_dynamic_rnn_matches_numpy_in_float64(cell_class, is_masked):
    weights, inputs = random_weights(cell_class), random_inputs()
    mask = np.random.RandomState(7).randn(BATCH_SIZE, NUM_UNITS) if is_masked else None
    state = np.zeros([BATCH_SIZE, NUM_UNITS])
    expected = []
    for t in range(TIME_STEPS):
        factor = mask if is_masked else 1
        output, state = NUMPY_STEP[cell_class](weights, inputs[:, t], state, factor)
        expected.append(output)
    cell = cell_class(NUM_UNITS, candidate_mask=mask)
    outputs, final_state = run_dynamic_rnn(cell, weights, inputs, tf.float64)
    np.testing.assert_allclose(outputs, np.stack(expected, 1), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(final_state, state, rtol=1e-12, atol=1e-14)


@CELLS
def test_static_rnn_matches_dynamic_rnn(cell_class):
    weights, inputs = random_weights(cell_class), random_inputs()
    expected, _ = run_dynamic_rnn(cell_class(NUM_UNITS), weights, inputs, tf.float64)
    with tf.Graph().as_default(), tf.Session() as session:
        steps = [tf.constant(inputs[:, t]) for t in range(TIME_STEPS)]
        outputs, _ = tf.nn.static_rnn(cell_class(NUM_UNITS), steps, dtype=tf.float64)
        session.run(tf.global_variables_initializer())
        for variable, value in zip(tf.trainable_variables(), weights):
            variable.load(value, session)
        found = np.stack(session.run(outputs), 1)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@CELLS
def test_gradients_agree_with_central_differences(cell_class):
    """d sum(final output²) / d weight in float64, for some weights of each variable."""
    weights, inputs = random_weights(cell_class), random_inputs()
    step = 1e-6
    with tf.Graph().as_default(), tf.Session() as session:
        constant = tf.constant(inputs)
        outputs, _ = tf.nn.dynamic_rnn(
            cell_class(NUM_UNITS), constant, dtype=tf.float64
        )
        loss = tf.reduce_sum(outputs[:, -1] ** 2)
        variables = tf.trainable_variables()
        gradients = tf.gradients(loss, variables)
        session.run(tf.global_variables_initializer())
        for variable, value in zip(variables, weights):
            variable.load(value, session)
        for variable, value, gradient in zip(
            variables, weights, session.run(gradients)
        ):
            for index in (0, value.size // 2, value.size - 1):
                losses = []
                for sign in (1, -1):
                    moved = value.copy()
                    moved.flat[index] += sign * step
                    variable.load(moved, session)
                    losses.append(session.run(loss))
                variable.load(value, session)
                difference = (losses[0] - losses[1]) / (2 * step)
                assert gradient.flat[index] == pytest.approx(difference, abs=1e-8)


@CELLS
def test_calls_share_their_variables(cell_class):
    with tf.Graph().as_default():
        cell = cell_class(NUM_UNITS)
        inputs = tf.placeholder(tf.float32, [None, INPUT_SIZE])
        state = cell.zero_state(tf.shape(inputs)[0], tf.float32)
        for _ in range(3):
            _, state = cell(inputs, state)
        assert len(tf.trainable_variables()) == len(VARIABLES[cell_class])


@CELLS
def test_state_has_the_shape_the_protocol_says(cell_class):
    with tf.Graph().as_default(), tf.Session() as session:
        cell = cell_class(NUM_UNITS)
        inputs = tf.zeros([BATCH_SIZE, INPUT_SIZE])
        states = [
            cell.zero_state(BATCH_SIZE, tf.float32),
            cell.get_initial_state(inputs),
            cell.get_initial_state(batch_size=BATCH_SIZE, dtype=tf.float32),
        ]
        for state in session.run(states):
            parts = state if isinstance(state, tuple) else (state,)
            sizes = cell.state_size
            sizes = sizes if isinstance(sizes, tuple) else (sizes,)
            assert type(state) is type(states[0]) or not isinstance(state, tuple)
            for part, size in zip(parts, sizes):
                assert part.shape == (BATCH_SIZE, size)
                assert not part.any()
        assert cell.output_size == NUM_UNITS


@CELLS
def test_the_name_is_the_variables_scope(cell_class):
    with tf.Graph().as_default():
        inputs = tf.placeholder(tf.float32, [None, TIME_STEPS, INPUT_SIZE])
        cell = cell_class(NUM_UNITS, name="other")
        tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)
        names = [v.op.name for v in tf.trainable_variables()]
    assert all(name.startswith("rnn/other/") for name in names)


def test_arguments_that_are_not_known_are_refused():
    with pytest.raises(
        ValueError, match="recurrent_init is 'typo', expected one of: gl"
    ):
        GRUCell(3, recurrent_init="typo")
    with pytest.raises(
        ValueError, match="bias_init is 'ones', expected one of: default"
    ):
        LSTMCell(3, bias_init="ones")
    with pytest.raises(ValueError, match="'chrono' needs the number of time_steps"):
        LSTMCell(3, bias_init="chrono")
    with pytest.raises(ValueError, match="rank 2"):
        GRUCell(3, candidate_mask=np.ones(3))


def test_lstm_state_is_memory_then_output():
    assert LSTMState._fields == ("c", "h")
    assert LSTMCell(NUM_UNITS).state_size == (NUM_UNITS, NUM_UNITS)


def test_forget_bias_is_added_before_the_sigmoid():
    weights, inputs = random_weights(LSTMCell), random_inputs()
    state = np.zeros([BATCH_SIZE, NUM_UNITS])
    for t in range(TIME_STEPS):
        _, state = lstm_step(weights, inputs[:, t], state, forget_bias=-2.5)
    cell = LSTMCell(NUM_UNITS, forget_bias=-2.5)
    _, found = run_dynamic_rnn(cell, weights, inputs, tf.float64)
    np.testing.assert_allclose(found, state, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "tf1_name, cell_class",
    [
        ("BasicRNNCell", BasicRNNCell),
        ("LSTMCell", LSTMCell),
        ("BasicLSTMCell", LSTMCell),
        ("GRUCell", GRUCell),
    ],
)
def test_outputs_equal_tf1s_own_cells(tf1_name, cell_class):
    if not tf.VERSION.startswith("1."):
        pytest.skip("TensorFlow 2 has no tf.nn.rnn_cell; `make test-tf1` runs this")
    weights, inputs = random_weights(cell_class), random_inputs().astype(np.float32)
    found = run_dynamic_rnn(cell_class(NUM_UNITS), weights, inputs, tf.float32)
    theirs = getattr(tf.nn.rnn_cell, tf1_name)(NUM_UNITS)
    expected = run_dynamic_rnn(theirs, weights, inputs, tf.float32)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(np.array(found[1]), np.array(expected[1]))
