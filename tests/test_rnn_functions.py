"""The cells under each of TensorFlow's functions that unroll one.

Each beside a loop in NumPy; in TensorFlow 1.15.5 beside TF1's own cells too, whose
variables must have the same names and shapes.
"""

import functools
import re
import zlib

import numpy as np
import pytest
from test_cells import basic_rnn_step, gru_step, lstm_step

from seqmnist import cells, rnn
from seqmnist import tf1 as tf

IS_TF1 = tf.VERSION.startswith("1.")
# Unequal on purpose, so that no two axes can be mistaken for each other.
BATCH_SIZE, TIME_STEPS, INPUT_SIZE, NUM_UNITS = 2, 3, 4, 6
ALL = [TIME_STEPS] * BATCH_SIZE
FORGET_BIAS = 0.5


class Ours:
    """The cells here, under TF1's names."""

    BasicRNNCell = cells.BasicRNNCell
    LSTMCell = cells.LSTMCell
    BasicLSTMCell = functools.partial(cells.LSTMCell, name="basic_lstm_cell")
    GRUCell = cells.GRUCell
    MultiRNNCell = cells.StackedCell


THEIRS = tf.nn.rnn_cell if IS_TF1 else None

# TF1's name -> a cell of those classes; and of each cell in it the step in NumPy, the
# number of its variables and of the tensors of its state.
CELLS = {
    "BasicRNNCell": lambda of: of.BasicRNNCell(NUM_UNITS),
    "LSTMCell": lambda of: of.LSTMCell(NUM_UNITS, forget_bias=FORGET_BIAS),
    "GRUCell": lambda of: of.GRUCell(NUM_UNITS),
    "MultiRNNCell": lambda of: of.MultiRNNCell(
        [of.BasicLSTMCell(NUM_UNITS, FORGET_BIAS), of.GRUCell(NUM_UNITS)]
    ),
}
LSTM_STEP = (functools.partial(lstm_step, forget_bias=FORGET_BIAS), 2, 2)
LAYERS = {
    "BasicRNNCell": [(basic_rnn_step, 2, 1)],
    "LSTMCell": [LSTM_STEP],
    "GRUCell": [(gru_step, 4, 1)],
    "MultiRNNCell": [LSTM_STEP, (gru_step, 4, 1)],
}


def steps_of(inputs):
    return tf.unstack(inputs, TIME_STEPS, 1)


def run_dynamic_rnn(make, inputs, lengths, initial):
    return tf.nn.dynamic_rnn(make(), inputs, lengths, initial(), tf.float32)


def run_our_dynamic_rnn(make, inputs, lengths, initial):
    return rnn.dynamic_rnn(make(), inputs, lengths, initial(), tf.float32)


def run_time_major(make, inputs, lengths, initial):
    outputs, state = tf.nn.dynamic_rnn(
        *(make(), tf.transpose(inputs, [1, 0, 2]), lengths, initial()),
        dtype=tf.float32,
        time_major=True,
    )
    return tf.transpose(outputs, [1, 0, 2]), state


def run_static_rnn(make, inputs, lengths, initial):
    outputs, state = tf.nn.static_rnn(
        make(), steps_of(inputs), initial(), tf.float32, lengths
    )
    return tf.stack(outputs, 1), state


def run_raw_rnn(make, inputs, lengths, initial):
    """TF1's documentation of `raw_rnn` builds `dynamic_rnn` in this way."""
    cell = make()
    lengths = tf.constant(lengths or ALL)
    arrays = tf.TensorArray(tf.float32, TIME_STEPS).unstack(
        tf.transpose(inputs, [1, 0, 2])
    )

    def loop(time, output, state, loop_state):
        if output is None:
            state = initial()
            if state is None:
                state = cell.zero_state(BATCH_SIZE, tf.float32)
        is_done = time >= lengths
        following = tf.cond(
            tf.reduce_all(is_done),
            lambda: tf.zeros([BATCH_SIZE, INPUT_SIZE]),
            lambda: arrays.read(time),
        )
        following.set_shape([BATCH_SIZE, INPUT_SIZE])
        return is_done, following, state, output, None

    outputs, state, _ = tf.nn.raw_rnn(cell, loop)
    return tf.transpose(outputs.stack(), [1, 0, 2]), state


def run_bidirectional_dynamic_rnn(make, inputs, lengths, initial):
    return tf.nn.bidirectional_dynamic_rnn(
        *(make(), make(), inputs, lengths, initial(), initial(), tf.float32)
    )


def run_static_bidirectional_rnn(make, inputs, lengths, initial):
    outputs, *states = tf.nn.static_bidirectional_rnn(
        *(make(), make(), steps_of(inputs), initial(), initial(), tf.float32, lengths)
    )
    return tuple(tf.split(tf.stack(outputs, 1), 2, 2)), tuple(states)


FUNCTIONS = {
    "dynamic_rnn": run_dynamic_rnn,
    "our dynamic_rnn": run_our_dynamic_rnn,
    "time_major": run_time_major,
    "static_rnn": run_static_rnn,
    "raw_rnn": run_raw_rnn,
    "bidirectional_dynamic_rnn": run_bidirectional_dynamic_rnn,
    "static_bidirectional_rnn": run_static_bidirectional_rnn,
}


def random(*shape):
    """Float32 from a normal distribution, the same ones at every call."""
    return np.random.RandomState(list(shape)).randn(*shape).astype(np.float32)


def initial_state(cell):
    """A state that is not zero, in the cell's own structure."""
    sizes = tf.nest.flatten(cell.state_size)
    values = [random(BATCH_SIZE, n, i + 1)[:, :, 0] for i, n in enumerate(sizes)]
    values = [tf.constant(value) for value in values]
    return tf.nest.pack_sequence_as(cell.state_size, values)


def weights_of(variables):
    """Weights that follow from the variables' names, biases included."""
    return [
        np.random.RandomState(zlib.crc32(v.op.name.encode()))
        .randn(*v.shape.as_list())
        .astype(np.float32)
        / 2
        for v in variables
    ]


def compute(of, function, name, lengths=None, has_initial=False):
    """Variables' names and shapes, their values, and all results as a flat list."""

    def initial():
        return initial_state(CELLS[name](of)) if has_initial else None

    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.constant(random(BATCH_SIZE, TIME_STEPS, INPUT_SIZE))
        results = FUNCTIONS[function](lambda: CELLS[name](of), inputs, lengths, initial)
        variables = tf.trainable_variables()
        weights = weights_of(variables)
        for variable, value in zip(variables, weights):
            variable.load(value, session)
        shapes = [(v.op.name, v.shape.as_list()) for v in variables]
        return shapes, weights, session.run(tf.nest.flatten(results))


def numpy_loop(name, weights, inputs, lengths, state):
    """Outputs and the tensors of the final state."""
    outputs = []
    for t in range(TIME_STEPS):
        goes_on = t < np.array(lengths)[:, None]
        y, after = inputs[:, t], []
        weights_left, state_left = list(weights), list(state)
        for step, num_weights, num_states in LAYERS[name]:
            before = tuple(state_left.pop(0) for _ in range(num_states))
            own = [weights_left.pop(0) for _ in range(num_weights)]
            y, new = step(own, y, before if num_states > 1 else before[0])
            after += new if num_states > 1 else [new]
        assert not weights_left and not state_left
        outputs.append(np.where(goes_on, y, 0))
        state = [np.where(goes_on, n, s) for n, s in zip(after, state)]
    return np.stack(outputs, 1), state


def backwards(sequences, lengths):
    """Each sequence from its last time step to its first; zeros behind."""
    result = np.zeros_like(sequences)
    for row, sequence, length in zip(result, sequences, lengths):
        row[:length] = sequence[:length][::-1]
    return result


def expect(function, name, weights, lengths, has_initial):
    """What `compute` should give as results."""
    inputs = random(BATCH_SIZE, TIME_STEPS, INPUT_SIZE)
    num_states = sum(layer[2] for layer in LAYERS[name])
    state = [random(BATCH_SIZE, NUM_UNITS, i + 1)[:, :, 0] for i in range(num_states)]
    if not has_initial:
        state = [np.zeros_like(s) for s in state]
    if "bidirectional" not in function:
        outputs, state = numpy_loop(name, weights, inputs, lengths, state)
        return [outputs, *state]
    half = len(weights) // 2
    fw, fw_state = numpy_loop(name, weights[:half], inputs, lengths, state)
    inputs = backwards(inputs, lengths)
    bw, bw_state = numpy_loop(name, weights[half:], inputs, lengths, state)
    return [fw, backwards(bw, lengths), *fw_state, *bw_state]


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_unrolls_every_cell(function, name):
    _, weights, found = compute(Ours, function, name)
    assert_close(found, expect(function, name, weights, ALL, False))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_sequences_have_lengths_and_begin_with_a_state(function, name):
    """Here, TF1's own cells are asked too, where there are any."""
    lengths = [TIME_STEPS, 1]
    names, weights, found = compute(Ours, function, name, lengths, True)
    assert_close(found, expect(function, name, weights, lengths, True))
    if IS_TF1:
        their_names, _, theirs = compute(THEIRS, function, name, lengths, True)
        assert names == their_names
        assert_close(found, theirs)


def assert_close(found, expected):
    assert len(found) == len(expected)
    for value, other in zip(found, expected):
        np.testing.assert_allclose(value, other, rtol=1e-6, atol=1e-6)


# What happens to variables when cells are called here and there: a case is a function
# of the classes.
def one_cell_twice(of, inputs):
    cell = of.LSTMCell(NUM_UNITS)
    tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)
    tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)


def one_cell_in_two_scopes(of, inputs):
    cell = of.LSTMCell(NUM_UNITS)
    tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32, scope="a")
    tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32, scope="b")


def one_cell_dynamic_then_static(of, inputs):
    cell = of.GRUCell(NUM_UNITS)
    with tf.variable_scope("first"):
        tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)
    tf.nn.static_rnn(cell, steps_of(inputs), dtype=tf.float32)


def one_cell_in_both_directions(of, inputs):
    cell = of.LSTMCell(NUM_UNITS)
    tf.nn.bidirectional_dynamic_rnn(cell, cell, inputs, dtype=tf.float32)


def one_cell_in_all_layers(of, inputs):
    stacked = of.MultiRNNCell([of.LSTMCell(INPUT_SIZE)] * 3)
    tf.nn.dynamic_rnn(stacked, inputs, dtype=tf.float32)


def one_cell_in_layers_of_two_sizes(of, inputs):
    stacked = of.MultiRNNCell([of.LSTMCell(NUM_UNITS)] * 2)
    tf.nn.dynamic_rnn(stacked, inputs, dtype=tf.float32)


def a_stack_of_stacks(of, inputs):
    lower = of.MultiRNNCell([of.GRUCell(NUM_UNITS)])
    stacked = of.MultiRNNCell([lower, of.GRUCell(2)])
    tf.nn.dynamic_rnn(stacked, inputs, dtype=tf.float32)


def two_cells_in_one_scope(of, inputs):
    for _ in range(2):
        tf.nn.dynamic_rnn(of.LSTMCell(NUM_UNITS), inputs, dtype=tf.float32)


def two_cells_reuse(of, inputs):
    for reuse in (None, True):
        with tf.variable_scope("net", reuse=reuse):
            tf.nn.dynamic_rnn(of.LSTMCell(NUM_UNITS), inputs, dtype=tf.float32)


def two_cells_auto_reuse(of, inputs):
    for _ in range(2):
        with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
            tf.nn.dynamic_rnn(of.GRUCell(NUM_UNITS), inputs, dtype=tf.float32)


def two_cells_reuse_variables(of, inputs):
    with tf.variable_scope("net") as scope:
        tf.nn.dynamic_rnn(of.GRUCell(NUM_UNITS), inputs, dtype=tf.float32)
        scope.reuse_variables()
        tf.nn.dynamic_rnn(of.GRUCell(NUM_UNITS), inputs, dtype=tf.float32)


def reuse_of_what_is_not_there(of, inputs):
    with tf.variable_scope("net", reuse=True):
        tf.nn.dynamic_rnn(of.LSTMCell(NUM_UNITS), inputs, dtype=tf.float32)


def called(of, inputs, scopes, **kwargs):
    for scope in scopes:
        cell = of.GRUCell(NUM_UNITS, **kwargs)
        cell(inputs[:, 0], cell.zero_state(BATCH_SIZE, tf.float32), scope)


def two_cells_called(of, inputs):
    called(of, inputs, [None, None])


def two_cells_of_one_name_called(of, inputs):
    called(of, inputs, [None, None], name="cell")


def two_cells_called_in_auto_reuse(of, inputs):
    with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
        called(of, inputs, [None, None])


def two_cells_called_with_one_scope(of, inputs):
    called(of, inputs, ["here", "here"])


def one_cell_called_with_two_scopes(of, inputs):
    cell = of.GRUCell(NUM_UNITS)
    state = cell.zero_state(BATCH_SIZE, tf.float32)
    cell(inputs[:, 0], state, "here")
    cell(inputs[:, 0], state, scope="there")


def called_with_arrays(of, inputs):
    cell = of.GRUCell(NUM_UNITS)
    cell(random(BATCH_SIZE, INPUT_SIZE), random(BATCH_SIZE, NUM_UNITS))


def below(scope, names):
    return [f"{scope}/{name}" for name in names]


LSTM = ["lstm_cell/kernel", "lstm_cell/bias"]
PARTS = ["gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias"]
GRU, GRU_1 = below("gru_cell", PARTS), below("gru_cell_1", PARTS)
MULTI = "rnn/multi_rnn_cell/cell_0"

# Names of the variables, or words of the ValueError.
SHARING = {
    one_cell_twice: below("rnn", LSTM),
    one_cell_in_two_scopes: below("a", LSTM),
    one_cell_dynamic_then_static: below("first/rnn", GRU),
    one_cell_in_both_directions: below("bidirectional_rnn/fw", LSTM),
    one_cell_in_all_layers: below(MULTI, LSTM),
    one_cell_in_layers_of_two_sizes: "share variable|Dimensions must be equal",
    a_stack_of_stacks: [
        *below(f"{MULTI}/multi_rnn_cell/cell_0", GRU),
        *below("rnn/multi_rnn_cell/cell_1", GRU),
    ],
    two_cells_in_one_scope: "rnn/lstm_cell/kernel already exists",
    two_cells_reuse: below("net/rnn", LSTM),
    two_cells_auto_reuse: below("net/rnn", GRU),
    two_cells_reuse_variables: below("net/rnn", GRU),
    reuse_of_what_is_not_there: "net/rnn/lstm_cell/kernel does not exist",
    two_cells_called: GRU + GRU_1,
    two_cells_of_one_name_called: below("cell", PARTS) + below("cell_1", PARTS),
    two_cells_called_in_auto_reuse: below("net", GRU + GRU_1),
    two_cells_called_with_one_scope: "here/gates/kernel already exists",
    one_cell_called_with_two_scopes: below("here", PARTS),
    called_with_arrays: GRU,
}


@pytest.mark.parametrize("case", SHARING, ids=lambda case: case.__name__)
@pytest.mark.parametrize("of", [Ours, THEIRS] if IS_TF1 else [Ours])
def test_variables_are_shared_as_in_tf1(of, case):
    expected = SHARING[case]
    with tf.Graph().as_default():
        inputs = tf.constant(random(BATCH_SIZE, TIME_STEPS, INPUT_SIZE))
        if isinstance(expected, str):
            with pytest.raises(ValueError, match=expected):
                case(of, inputs)
        else:
            case(of, inputs)
            assert [v.op.name for v in tf.trainable_variables()] == expected


def test_a_cell_that_is_shared_computes_with_the_same_weights():
    """Both directions by one cell: of a palindrome both say the same."""
    half = random(BATCH_SIZE, TIME_STEPS, INPUT_SIZE)
    with tf.Graph().as_default(), tf.Session() as session:
        cell = cells.GRUCell(NUM_UNITS)
        palindrome = tf.constant(np.concatenate([half, half[:, ::-1]], 1))
        (fw, bw), states = tf.nn.bidirectional_dynamic_rnn(
            cell, cell, palindrome, dtype=tf.float32
        )
        session.run(tf.global_variables_initializer())
        fw, bw, states = session.run([fw, bw, states])
    assert np.abs(fw).max() > 0.01
    np.testing.assert_allclose(fw, bw[:, ::-1], rtol=1e-6)
    np.testing.assert_allclose(*states, rtol=1e-6)


def test_a_cell_knows_its_trainable_variables():
    with tf.Graph().as_default():
        lower, upper = cells.LSTMCell(NUM_UNITS), cells.GRUCell(NUM_UNITS)
        stacked = cells.StackedCell([lower, upper])
        assert lower.trainable_variables == stacked.trainable_variables == []
        inputs = tf.zeros([BATCH_SIZE, TIME_STEPS, INPUT_SIZE])
        tf.nn.dynamic_rnn(stacked, inputs, dtype=tf.float32)
        every = tf.trainable_variables()
        tf.get_variable("other", [1])
        assert lower.trainable_variables == every[:2]
        assert upper.trainable_variables == every[2:]
        assert stacked.trainable_variables == every
    with tf.Graph().as_default():  # where it has none yet
        assert lower.trainable_variables == []


@pytest.mark.parametrize("of", [Ours, THEIRS] if IS_TF1 else [Ours])
def test_wrong_cells_and_arguments_are_refused(of):
    with tf.Graph().as_default():
        with pytest.raises(ValueError, match="cell"):
            of.MultiRNNCell([])
        cell = of.GRUCell(NUM_UNITS)
        with pytest.raises(ValueError, match="batch_size and dtype cannot be None"):
            cell.get_initial_state()
        zeros = tf.zeros([BATCH_SIZE, NUM_UNITS])
        with pytest.raises(ValueError, match="only supports floating point inputs"):
            cell(tf.zeros([BATCH_SIZE, INPUT_SIZE], tf.int32), zeros)
        with pytest.raises(ValueError, match=r"inputs.shape\[-1\] to be known|None"):
            cell(tf.placeholder(tf.float32, [BATCH_SIZE, None]), zeros)


def test_an_activation_in_the_names_place_is_refused():
    with pytest.raises(TypeError, match="tanh, without an argument `activation`"):
        cells.GRUCell(NUM_UNITS, tf.nn.relu)


def shape_of(*shape, **kwargs):
    return lambda: tf.placeholder(kwargs.get("dtype", tf.float32), shape)


# name -> cell, inputs and further arguments that `dynamic_rnn` refuses
WRONG = {
    "no dtype": (cells.GRUCell, shape_of(3, 5, 4), {"dtype": None}),
    "no cell": (object, shape_of(3, 5, 4), {}),
    "two axes": (cells.GRUCell, shape_of(3, 5), {}),
    "unknown size": (cells.GRUCell, shape_of(3, 5, None), {}),
    "integers": (cells.GRUCell, shape_of(3, 5, 4, dtype=tf.int32), {}),
    "another dtype": (cells.GRUCell, shape_of(3, 5, 4), {"dtype": tf.float64}),
    "lengths of lengths": (
        cells.GRUCell,
        shape_of(3, 5, 4),
        {"sequence_length": [[1], [2], [3]]},
    ),
    "another structure": (
        cells.LSTMCell,
        shape_of(3, 5, 4),
        {"initial_state": np.zeros([3, 6])},
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("is_compiled", [False] if IS_TF1 else [False, True])
def test_our_dynamic_rnn_refuses_what_tfs_refuses(name, is_compiled):
    make, placeholder, kwargs = WRONG[name]

    def error_of(function):
        with tf.Graph().as_default():
            arguments = {"dtype": tf.float32, **kwargs}
            cell = make() if make is object else make(NUM_UNITS)

            def call(inputs):
                return function(cell, inputs, **arguments)

            if is_compiled:
                call = tf.function(call, jit_compile=True, autograph=False)
            with pytest.raises((TypeError, ValueError)) as info:
                call(placeholder())
            return info.type, re.sub("0x[0-9a-f]+", "", str(info.value))

    found, expected = error_of(rnn.dynamic_rnn), error_of(tf.nn.dynamic_rnn)
    assert found == expected


def test_our_dynamic_rnn_takes_what_tfs_takes():
    """Arrays, a scope, lengths as a tensor, and results of the same static shape."""
    inputs = random(BATCH_SIZE, TIME_STEPS, INPUT_SIZE)
    found = []
    for function in (rnn.dynamic_rnn, tf.nn.dynamic_rnn):
        with tf.Graph().as_default(), tf.Session() as session:
            outputs, state = function(
                cells.LSTMCell(NUM_UNITS),
                inputs,
                tf.constant([1, TIME_STEPS]),
                dtype=tf.float32,
                parallel_iterations=1,
                swap_memory=True,
                scope="elsewhere",
            )
            variables = tf.trainable_variables()
            for variable, value in zip(variables, weights_of(variables)):
                variable.load(value, session)
            shapes = [t.shape.as_list() for t in (outputs, *state)]
            names = [v.op.name for v in variables]
            found.append((names, shapes, session.run([outputs, *state])))
    assert found[0][:2] == found[1][:2]
    assert found[0][0] == below("elsewhere", LSTM)
    assert_close(found[0][2], found[1][2])


@pytest.mark.skipif(IS_TF1, reason="TF 1.15 does not compile functions")
@pytest.mark.parametrize("function", [rnn.dynamic_rnn, tf.nn.dynamic_rnn])
def test_a_compiled_loop_of_updates_sees_each_of_them(function):
    """Where there is no fast path, too; a value that is cached would be stale."""
    inputs = random(BATCH_SIZE, TIME_STEPS, INPUT_SIZE)

    def loss():
        with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
            cell = cells.GRUCell(NUM_UNITS)
            outputs, _ = function(cell, tf.constant(inputs), ALL, dtype=tf.float32)
        return tf.reduce_sum(outputs)

    def two_updates():
        def update(k, array):
            value = loss()
            doubled = [v.assign(2 * v.read_value()) for v in variables]
            with tf.control_dependencies(doubled):
                return k + 1, array.write(k, value)

        array = tf.TensorArray(tf.float32, 2, element_shape=[])
        return tf.while_loop(lambda k, _: k < 2, update, [0, array])[1].stack()

    with tf.Graph().as_default(), tf.Session() as session:
        plain = loss()
        variables = tf.trainable_variables()
        compiled = tf.function(two_updates, jit_compile=True, autograph=False)()
        session.run(tf.global_variables_initializer())
        weights = weights_of(variables)
        expected = []
        for factor in (1, 2, 1):
            for variable, value in zip(variables, weights):
                variable.load(factor * value, session)
            expected.append(session.run(plain))
        np.testing.assert_allclose(session.run(compiled), expected[:2], rtol=1e-5)
    assert abs(expected[0] - expected[1]) > 0.01


class Leaky(cells.RecurrentCell):
    """A cell of one's own, in TF1's way: with `call`."""

    def call(self, inputs, state):
        ((kernel, bias),) = [self._kernel_and_bias(INPUT_SIZE, inputs.dtype, 1)]
        read = tf.matmul(tf.concat([inputs, state], 1), kernel)
        output = (state + tf.tanh(tf.nn.bias_add(read, bias))) / 2
        return output, output


def test_a_cell_of_ones_own_needs_a_call_only():
    inputs = random(BATCH_SIZE, TIME_STEPS, INPUT_SIZE)
    with tf.Graph().as_default(), tf.Session() as session:
        outputs, _ = rnn.dynamic_rnn(
            Leaky(NUM_UNITS, name="leaky"), tf.constant(inputs), dtype=tf.float32
        )
        variables = tf.trainable_variables()
        assert [v.op.name for v in variables] == ["rnn/leaky/kernel", "rnn/leaky/bias"]
        for variable, value in zip(variables, weights_of(variables)):
            variable.load(value, session)
        found, (kernel, bias) = session.run([outputs, variables])
    state = np.zeros([BATCH_SIZE, NUM_UNITS], np.float32)
    for t in range(TIME_STEPS):
        z = np.hstack([inputs[:, t], state]) @ kernel + bias
        state = (state + np.tanh(z)) / 2
        np.testing.assert_allclose(found[:, t], state, rtol=1e-5, atol=1e-6)
