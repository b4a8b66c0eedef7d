"""Recurrent cells in plain TensorFlow ops: BasicRNN, LSTM, GRU, and stacks of them.

Each cell is one time step of a recurrence and follows TF1's RNNCell protocol, so that

    outputs, final_state = tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)

works in TensorFlow 1.15 and also in 2.x, which no longer has `tf.nn.rnn_cell`.
`static_rnn`, `raw_rnn` and the bidirectional functions work too; docs/migrating.md maps
the old names to the new ones. Names, shapes, gate order and initial values of the
variables are those of TF 1.15's own cells, so checkpoints of TF 1.15 load. `bias_init`
and `recurrent_init` choose other initial values; see initializers.py. In the equations
`[x, h]` is the concatenation along the units, `·` the element-wise product and `σ` the
logistic function.
"""

import contextlib
import math
from collections import namedtuple

from seqmnist import tf1 as tf
from seqmnist.initializers import BIAS_INITS, RECURRENT_INITS, Kernel, MemoryBias

LSTMState = namedtuple("LSTMState", "c h")
LSTMState.__doc__ = """State of an LSTM: memory `c` and output `h`.

Both are float32 `[batch_size, num_units]`. TF1's name: `LSTMStateTuple`.
"""


class RecurrentCell:
    """The base class of the cells: TF1's RNNCell protocol.

    Args:
        num_units: size of the output.
        name: the variable scope of the cell's variables, within the recurrence's scope:
            `rnn/<name>/kernel`.
        recurrent_init: initial values of the kernels' rows for the state: "glorot" as
            in TF1, "orthogonal" or "identity".
        bias_init: initial values of the gates' biases: "default" as in TF1, "chrono" or
            "uniform".
        time_steps: length of the sequences; "chrono" needs it.
        candidate_mask: factors for the candidate, the tanh of the equations: float
            `[batch_size, num_units]`, the same at all time steps; a constant to
            gradients. `None` for none. See `candidate_mask` in noise.py.
        step_length: the time steps that one time step stands for. A gate that keeps the
            share σ(b) of the state forgets within about 1 + exp(b) time steps, and in
            longer steps it has to forget within fewer: log(step_length) is subtracted
            from b, outside the variables (Tallec and Ollivier, arXiv:1804.11188,
            section 2, on rescaled time).

    Raises:
        TypeError: the name is not a string. TF1's cells take an `activation` in this
            position; these cells do not.
        ValueError: an initial value is unknown, "chrono" has no `time_steps`, or the
            mask does not have two axes.
    """

    def __init__(
        self,
        num_units,
        name,
        recurrent_init="glorot",
        bias_init="default",
        time_steps=None,
        candidate_mask=None,
        step_length=1,
    ):
        if not isinstance(name, str):
            raise TypeError(
                f"{type(self).__name__}: name is {name!r}, expected a string; the "
                "activation is tanh, without an argument `activation`"
            )
        for argument, value, known in (
            ("recurrent_init", recurrent_init, RECURRENT_INITS),
            ("bias_init", bias_init, BIAS_INITS),
        ):
            if value not in known:
                allowed = ", ".join(known)
                raise ValueError(f"{argument} is {value!r}, expected one of: {allowed}")
        if bias_init == "chrono" and time_steps is None:
            raise ValueError("bias_init 'chrono' needs the number of time_steps")
        self.num_units = num_units
        self.name = name
        self.recurrent_init = recurrent_init
        self.bias_init = bias_init
        self.time_steps = time_steps
        self.candidate_mask = candidate_mask
        self.step_length = step_length
        if candidate_mask is not None:
            tf.TensorShape(candidate_mask.shape).assert_has_rank(2)
        self._built = None  # (graph, scope) of the variables, once they are made

    @property
    def output_size(self):
        """Units of the output of one time step."""
        return self.num_units

    @property
    def state_size(self):
        """Units of each tensor of the state, in the structure of the state."""
        return self.num_units

    def zero_state(self, batch_size, dtype):
        """The state before the first time step: zeros `[batch_size, num_units]`."""
        return tf.zeros([batch_size, self.num_units], dtype)

    def last_output(self, state):
        """The output `[batch_size, num_units]` that belongs to a state."""
        return state

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        """The zero state, under TensorFlow 2's name for it."""
        if inputs is not None:
            batch_size, dtype = tf.shape(inputs)[0], inputs.dtype
        if batch_size is None or dtype is None:
            raise ValueError(
                "batch_size and dtype cannot be None while constructing initial "
                f"state: batch_size={batch_size}, dtype={dtype}"
            )
        return self.zero_state(batch_size, dtype)

    @property
    def trainable_variables(self):
        """The trainable variables in the current graph; empty before the first call."""
        if self._built is None or self._built[0] is not _outermost_graph():
            return []
        return self._built[1].trainable_variables()

    def __call__(self, inputs, state, scope=None):
        """Computes one time step.

        Args:
            inputs: x, float `[batch_size, input_size]`.
            state: the state of the time step before, in the shapes of `zero_state`.
            scope: the variable scope of the cell's variables; `None` for the cell's
                name. Calls after the first ignore it.

        Returns:
            The output `[batch_size, num_units]` and the new state.

        Raises:
            ValueError: the inputs are not floating-point, or their size is unknown.
        """
        inputs, state = tf.nest.map_structure(tf.convert_to_tensor, (inputs, state))
        if not inputs.dtype.is_floating:
            raise ValueError(
                "RNN cell only supports floating point inputs, but saw dtype: "
                f"{inputs.dtype}"
            )
        with self._scope(scope):
            return self.call(inputs, state)

    def call(self, inputs, state):
        """Computes one time step within the cell's variable scope.

        Args:
            inputs, state: as for `__call__`.

        Returns:
            As `__call__`.
        """
        raise NotImplementedError

    def weights(self, input_size, dtype, scope=None):
        """Gets the cell's variables, within the current variable scope.

        Args:
            input_size: size of the inputs.
            dtype: dtype of the variables.
            scope: as for `__call__`.

        Returns:
            Pairs of kernel and bias, one for each matrix product.
        """
        with self._scope(scope):
            return self._weights(input_size, dtype)

    @contextlib.contextmanager
    def _scope(self, scope):
        """The cell's variable scope: the first use makes variables, later ones share.

        As in TF1, a cell keeps its variables wherever it is called next. Another cell
        of the same name in the same scope gets a scope with a number.
        `tf.get_variable` refuses a cell that would share variables by accident.
        """
        graph = _outermost_graph()
        if self._built is not None and self._built[0] is graph:
            with tf.variable_scope(self._built[1], reuse=True) as used:
                yield used
            return
        with tf.variable_scope(scope, default_name=self.name) as used:
            # `tf.nn.dynamic_rnn` sets a caching device. A cached value would date from
            # before the function was called, also in a loop of updates.
            used.set_caching_device(None)
            yield used
        self._built = graph, used

    def _weights(self, input_size, dtype):
        """See `weights`."""
        raise NotImplementedError

    def _masked(self, candidate):
        """The candidate times the mask, if there is one."""
        mask = self.candidate_mask
        return candidate if mask is None else candidate * tf.stop_gradient(mask)

    def _kernel_and_bias(
        self, input_size, dtype, num_gates, prefix="", bias_initializer=None
    ):
        """The variables `<prefix>kernel` and `<prefix>bias`.

        As in TF1, the kernel starts Glorot-uniform (the default of `tf.get_variable`)
        and the bias at zero, unless `recurrent_init` or `bias_initializer` differ.
        """
        columns = num_gates * self.num_units
        kernel_initializer = None
        if self.recurrent_init != "glorot":
            kernel_initializer = Kernel(self.num_units, self.recurrent_init)
        kernel = tf.get_variable(
            prefix + "kernel",
            [input_size + self.num_units, columns],
            dtype,
            initializer=kernel_initializer,
        )
        bias = tf.get_variable(
            prefix + "bias",
            [columns],
            dtype,
            initializer=bias_initializer or tf.zeros_initializer(),
        )
        return kernel, bias

    def _rescaled(self, weights, signs):
        """A kernel and its bias, which keeps the state for fewer but longer steps.

        Args:
            weights: the variables kernel and bias.
            signs: for each gate, -1 if it keeps the state, 1 if it lets in the new,
                else 0.
        """
        if self.step_length == 1:
            return weights
        kernel, bias = weights
        shifts = [sign * math.log(self.step_length) for sign in signs]
        shifts = [shift for shift in shifts for _ in range(self.num_units)]
        return kernel, bias + tf.constant(shifts, bias.dtype.base_dtype)

    def _memory_bias(self, to_gates):
        """The initializer of all gates' biases; see `MemoryBias`."""
        return MemoryBias(self.bias_init, self.time_steps, self.num_units, to_gates)


class BasicRNNCell(RecurrentCell):
    """The simplest recurrence: the output is the state.

        h' = tanh([x, h] W + b)

    Variables: `kernel` W `[input_size + num_units, num_units]`, `bias` b `[num_units]`.

    The cell has no gates, so it takes no `bias_init` and no `step_length`.

    Source: Elman, "Finding structure in time", Cognitive Science 14, 1990.
    """

    def __init__(
        self,
        num_units,
        name="basic_rnn_cell",
        recurrent_init="glorot",
        candidate_mask=None,
    ):
        super().__init__(num_units, name, recurrent_init, candidate_mask=candidate_mask)

    def call(self, inputs, state):
        ((kernel, bias),) = self._weights(_size(inputs), inputs.dtype)
        output = self._masked(tf.tanh(_affine([inputs, state], kernel, bias)))
        return output, output

    def _weights(self, input_size, dtype):
        return [self._kernel_and_bias(input_size, dtype, 1)]


class LSTMCell(RecurrentCell):
    """A memory `c` and an output `h`; three gates control writing and reading.

        i, j, f, o = split([x, h] W + b, 4)
        c' = σ(f + forget_bias) · c + σ(i) · tanh(j)
        h' = σ(o) · tanh(c')

    `forget_bias` is added at each time step and is not part of the stored bias. TF1's
    `LSTMCell` and `BasicLSTMCell` both have these equations and differ in name only.

    Variables: `kernel` W `[input_size + num_units, 4 * num_units]`, `bias` b
    `[4 * num_units]`, the gates in the order i, j, f, o.

    Source: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9,
    1997; with the forget gate of Gers, Schmidhuber and Cummins, "Learning to forget",
    Neural Computation 12, 2000, in the form of arXiv:1409.2329, section 3.1.
    """

    def __init__(
        self,
        num_units,
        forget_bias=1.0,
        name="lstm_cell",
        recurrent_init="glorot",
        bias_init="default",
        time_steps=None,
        candidate_mask=None,
        step_length=1,
    ):
        super().__init__(
            num_units,
            name,
            recurrent_init,
            bias_init,
            time_steps,
            candidate_mask,
            step_length,
        )
        self.forget_bias = forget_bias

    @property
    def state_size(self):
        """Units of `c` and of `h`."""
        return LSTMState(self.num_units, self.num_units)

    def zero_state(self, batch_size, dtype):
        """`LSTMState` of two tensors of zeros, `[batch_size, num_units]` each."""
        zeros = super().zero_state(batch_size, dtype)
        return LSTMState(zeros, zeros)

    def last_output(self, state):
        """`h` of the state."""
        return state.h

    def call(self, inputs, state):
        c, h = state
        ((kernel, bias),) = self._weights(_size(inputs), inputs.dtype)
        i, j, f, o = tf.split(_affine([inputs, h], kernel, bias), 4, axis=1)
        candidate = self._masked(tf.tanh(j))
        c = tf.sigmoid(f + self.forget_bias) * c + tf.sigmoid(i) * candidate
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, LSTMState(c, h)

    def _weights(self, input_size, dtype):
        initializer = self._bias_initializer()
        weights = self._kernel_and_bias(input_size, dtype, 4, "", initializer)
        return [self._rescaled(weights, [1, 0, -1, 0])]

    def _bias_initializer(self):
        """Zeros by default; else f keeps the state as `bias_init` says, i = 1 - f."""
        if self.bias_init == "default":
            return None

        def to_gates(b):
            zeros = tf.zeros_like(b)
            return tf.concat([-b, zeros, b - self.forget_bias, zeros], 0)

        return self._memory_bias(to_gates)


class GRUCell(RecurrentCell):
    """Two gates, one state: reset `r` for the candidate, update `u` for the mix.

        r, u = split(σ([x, h] W_g + b_g), 2)
        c = tanh([x, r · h] W_c + b_c)
        h' = u · h + (1 - u) · c

    This is TF1's form. The paper and other libraries swap `u` and `1 - u`, or apply `r`
    after the matrix product. The gates' bias starts at one, so the cell keeps its state
    at first.

    Variables: `gates/kernel` W_g `[input_size + num_units, 2 * num_units]`,
    `gates/bias` b_g `[2 * num_units]`, in the order r, u; `candidate/kernel` W_c
    `[input_size + num_units, num_units]`, `candidate/bias` b_c `[num_units]`.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder for
    statistical machine translation", arXiv:1406.1078, equations 5 to 8.
    """

    def __init__(
        self,
        num_units,
        name="gru_cell",
        recurrent_init="glorot",
        bias_init="default",
        time_steps=None,
        candidate_mask=None,
        step_length=1,
    ):
        super().__init__(
            num_units,
            name,
            recurrent_init,
            bias_init,
            time_steps,
            candidate_mask,
            step_length,
        )

    def call(self, inputs, state):
        of_gates, of_candidate = self._weights(_size(inputs), inputs.dtype)
        gates = tf.sigmoid(_affine([inputs, state], *of_gates))
        r, u = tf.split(gates, 2, axis=1)
        candidate = self._masked(tf.tanh(_affine([inputs, r * state], *of_candidate)))
        output = u * state + (1 - u) * candidate
        return output, output

    def _weights(self, input_size, dtype):
        initializer = self._bias_initializer()
        of_gates = self._kernel_and_bias(input_size, dtype, 2, "gates/", initializer)
        return [
            self._rescaled(of_gates, [0, -1]),
            self._kernel_and_bias(input_size, dtype, 1, "candidate/"),
        ]

    def _bias_initializer(self):
        """Ones by default; else 1 for r, and u keeps the state as `bias_init` says."""
        if self.bias_init == "default":
            return tf.ones_initializer()
        return self._memory_bias(lambda b: tf.concat([tf.ones_like(b), b], 0))


class StackedCell(RecurrentCell):
    """Cells on top of one another: each reads the outputs of the cell below.

    Variables: those of the cells, in the scopes of TF1's `MultiRNNCell`, from the
    bottom: `multi_rnn_cell/cell_0/<name>/kernel` and so on.

    Source: Graves, Mohamed and Hinton, "Speech recognition with deep recurrent neural
    networks", arXiv:1303.5778, section 2.

    Args:
        cells: one or more, from the bottom. A cell that occurs twice uses the same
            weights in both places.

    Raises:
        ValueError: there are no cells.
    """

    def __init__(self, cells):
        if not cells:
            raise ValueError("a stack of no cells; expected one or more")
        super().__init__(cells[-1].output_size, "multi_rnn_cell")
        self.cells = cells

    @property
    def state_size(self):
        """Each cell's state size, as a tuple from the bottom."""
        return tuple(cell.state_size for cell in self.cells)

    def zero_state(self, batch_size, dtype):
        """Each cell's zero state, as a tuple from the bottom."""
        return tuple(cell.zero_state(batch_size, dtype) for cell in self.cells)

    def last_output(self, state):
        """The output of the cell on top."""
        return self.cells[-1].last_output(state[-1])

    def call(self, inputs, state):
        states = []
        for layer, (cell, before) in enumerate(zip(self.cells, state)):
            with tf.variable_scope(f"cell_{layer}"):
                inputs, after = cell(inputs, before)
            states.append(after)
        return inputs, tuple(states)

    def weights(self, input_size, dtype, scope=None):
        """Gets the variables of all cells; see `RecurrentCell.weights`.

        Returns:
            For each cell, from the bottom, a list of pairs of kernel and bias.
        """
        return super().weights(input_size, dtype, scope)

    def _weights(self, input_size, dtype):
        weights = []
        for layer, cell in enumerate(self.cells):
            with tf.variable_scope(f"cell_{layer}"):
                weights.append(cell.weights(input_size, dtype))
            input_size = cell.output_size
        return weights


def stack(cells):
    """Makes one cell of several.

    Args:
        cells: one or more, from the bottom.

    Returns:
        The cell itself if it is the only one, else a `StackedCell`.
    """
    return cells[0] if len(cells) == 1 else StackedCell(cells)


def _size(inputs):
    """The size of the inputs of a time step."""
    size = inputs.shape.as_list()[-1]
    if size is None:
        raise ValueError(
            f"Expected inputs.shape[-1] to be known, saw shape: {inputs.shape}"
        )
    return size


def _affine(parts, kernel, bias):
    """`[x, h] W + b`, where `parts` is `[x, h]`."""
    return tf.nn.bias_add(tf.matmul(tf.concat(parts, 1), kernel), bias)


def _outermost_graph():
    """The graph that holds the variables, also while a function in it is traced."""
    with tf.init_scope():
        return tf.get_default_graph()
