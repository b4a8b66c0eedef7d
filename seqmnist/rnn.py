"""`dynamic_rnn` as TF1 has it, with a fast path where XLA compiles it."""

from seqmnist import tf1 as tf
from seqmnist.cells import StackedCell

# The collection that says of each compiled recurrence why it is no fast one, or "".
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

    Arguments, results, errors and variables are those of `tf.nn.dynamic_rnn`, which is
    what runs in most places. Where XLA compiles the graph, within
    `tf.function(..., jit_compile=True)`, and all shapes are static, a cell of cells.py
    or a stack of them is unrolled by fast/recurrence.py instead: with gradients derived
    by hand, several times as fast. Those are with respect to weights, inputs and
    initial state, of all outputs and of the final state. What is not asked for is not
    computed: neither outputs that nobody reads, nor a gradient, nor what is kept for
    it. What is kept lives in local variables: run `tf.local_variables_initializer()`.

    Args:
        cell: a cell of cells.py, or any that keeps to TF1's RNNCell protocol.
        inputs: `[batch_size, time_steps, input_size]`, float.
        sequence_length: int `[batch_size]`, time steps of each sequence; outputs after
            them are zero, and the state stays. `None` for all. Not on the fast path.
        initial_state: in the structure of `cell.state_size`; `None` for zeros.
        dtype: of the zeros; not needed with an `initial_state`.
        parallel_iterations, swap_memory: as for `tf.while_loop`, whose results they do
            not change; the fast path has no use for them.
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
    """Why recurrences in the function that is being built are no fast ones.

    Returns:
        A list of reasons; empty if all are fast, or if there are none.
    """
    return list(filter(None, tf.get_collection(OBSTACLES)))


def _is_compiled():
    """Whether XLA compiles the graph that is being built."""
    if int(tf.VERSION.split(".")[0]) < 2:
        return False
    # The question that TensorFlow itself asks, as its loops differ by it too.
    from tensorflow.python.ops import control_flow_util

    return control_flow_util.GraphOrParentsInXlaContext(tf.get_default_graph())


def _obstacle(cell, inputs, sequence_length, initial_state, dtype):
    """Why there is no fast path, or ""."""
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
        return "wrong arguments have no fast path"  # tf.nn.dynamic_rnn says which
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
    """Unrolls a cell, or one after the other those of a stack."""
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
    """The value of a variable, or of what a custom getter gave in its place.

    `tf.nn.dynamic_rnn` lets variables that it makes be cached, and a cached value is
    the one from before the function is called.
    """
    return weight.read_value() if hasattr(weight, "read_value") else weight
