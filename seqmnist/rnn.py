"""`dynamic_rnn` as TF1 has it, with a fast path where XLA compiles it."""

from seqmnist import tf1 as tf
from seqmnist.cells import StackedCell

# A graph collection: for each compiled recurrence, why it is not fast, or "".
OBSTACLES = "recurrence_obstacles"


def dynamic_rnn(
    cell,
    inputs,
    sequence_length=None,
    initial_state=None,
    dtype=None,
    parallel_iterations=None,
    swap_memory=False,
    time_major=False,
    scope=None,
):
    """Unrolls a cell over sequences, as `tf.nn.dynamic_rnn` does.

    Arguments, results, errors and variables are those of `tf.nn.dynamic_rnn`. This
    function calls `tf.nn.dynamic_rnn`, except on the fast path: where XLA compiles the
    graph, within `tf.function(..., jit_compile=True)`, and all shapes are static,
    fast/recurrence.py unrolls a cell of cells.py or a stack of such cells. The fast
    path has gradients derived by hand and is several times as fast. All outputs and the
    final state are differentiable with respect to weights, inputs and initial state.
    Outputs, gradients and the history for them are computed only where they are used.
    The history is in local variables: run `tf.local_variables_initializer()`.

    Args:
        cell: a cell of cells.py, or any cell with TF1's RNNCell protocol.
        inputs: `[batch_size, time_steps, input_size]`, float.
        sequence_length: int `[batch_size]`, the length of each sequence in time steps;
            later outputs are zero, and the state stays. `None` for the full length. Not
            on the fast path.
        initial_state: in the structure of `cell.state_size`; `None` for zeros.
        dtype: dtype of the initial zeros; not needed with an `initial_state`.
        parallel_iterations, swap_memory: as for `tf.while_loop`; they do not change
            the results, and the fast path ignores them.
        time_major: whether inputs and outputs are `[time_steps, batch_size, ...]`.
        scope: the variable scope of the cell's variables; `None` for "rnn".

    Returns:
        The outputs, `[batch_size, time_steps, num_units]`, and the final state, in the
        structure of `cell.state_size`.

    Raises:
        ValueError: as `tf.nn.dynamic_rnn`, for instance without initial state and
            dtype.
    """
    if _is_compiled():
        if not tf.nest.is_nested(inputs):
            inputs = tf.convert_to_tensor(inputs)
        obstacle = _obstacle(cell, inputs, sequence_length, initial_state, dtype)
        tf.add_to_collection(OBSTACLES, obstacle)
        if not obstacle:
            with tf.variable_scope(scope or "rnn"):
                return _read_fast(cell, inputs, initial_state, time_major)
    return tf.nn.dynamic_rnn(
        cell,
        inputs,
        sequence_length,
        initial_state,
        dtype,
        parallel_iterations,
        swap_memory,
        time_major,
        scope,
    )


def slow_recurrences():
    """Why some recurrences in the function that is being built are not fast.

    Returns:
        A list of reasons. Within a compiled function it is empty if all recurrences are
        fast; elsewhere it is always empty.
    """
    return list(filter(None, tf.get_collection(OBSTACLES)))


def _is_compiled():
    """Whether XLA compiles the graph that is being built."""
    if int(tf.VERSION.split(".")[0]) < 2:
        return False
    # TensorFlow itself uses this test when it builds a loop.
    from tensorflow.python.ops import control_flow_util

    return control_flow_util.GraphOrParentsInXlaContext(tf.get_default_graph())


def _obstacle(cell, inputs, sequence_length, initial_state, dtype):
    """Why the fast path cannot be used, or ""."""
    from seqmnist.fast.equations import EQUATIONS

    cells = cell.cells if type(cell) is StackedCell else [cell]
    for one in cells:
        if type(one) not in EQUATIONS:
            return f"{type(one).__name__} has no fast path"
    if sequence_length is not None:
        return "sequences of several lengths have no fast path"
    if tf.nest.is_nested(inputs):
        return "inputs of several tensors have no fast path"
    if not inputs.shape.is_fully_defined():
        return f"inputs of shape {inputs.shape} have no fast path"
    if not _are_right(cell, inputs, initial_state, dtype):
        return "wrong arguments have no fast path"  # tf.nn.dynamic_rnn names them
    with tf.init_scope():
        if tf.executing_eagerly():
            return "functions called eagerly have no fast path"
    return ""


def _are_right(cell, inputs, initial_state, dtype):
    """Whether `tf.nn.dynamic_rnn` would take these arguments."""
    if inputs.shape.rank != 3 or not inputs.dtype.is_floating:
        return False
    if initial_state is None:
        return dtype == inputs.dtype
    try:
        tf.nest.assert_same_structure(initial_state, cell.state_size)
    except (TypeError, ValueError):
        return False
    return True


def _read_fast(cell, inputs, initial_state, time_major):
    """Unrolls a cell, or the cells of a stack one after the other."""
    from seqmnist.fast.recurrence import recur

    if time_major:
        inputs = tf.transpose(inputs, [1, 0, 2])
    size, dtype = inputs.shape.as_list()[2], inputs.dtype
    if type(cell) is StackedCell:
        cells, states = cell.cells, initial_state or [None] * len(cell.cells)
        weights = cell.weights(size, dtype)
    else:
        cells, states, weights = [cell], [initial_state], [cell.weights(size, dtype)]
    outputs, after = inputs, []
    for layer, before, pairs in zip(cells, states, weights):
        initial = None if before is None else tf.nest.flatten(before)
        tensors = [_value(weight) for pair in pairs for weight in pair]
        outputs, final = recur(layer, tensors, outputs, initial)
        after.append(tf.nest.pack_sequence_as(layer.state_size, final))
    if time_major:
        outputs = tf.transpose(outputs, [1, 0, 2])
    return outputs, tuple(after) if type(cell) is StackedCell else after[0]


def _value(weight):
    """The value of a variable, or of the tensor that a custom getter returned.

    `tf.nn.dynamic_rnn` may cache the variables that it makes, and a cached value dates
    from before the function is called.
    """
    return weight.read_value() if hasattr(weight, "read_value") else weight
