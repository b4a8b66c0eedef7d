"""Recurrent cells in plain TensorFlow ops: BasicRNN, LSTM, GRU, and stacks of them.

Each cell is one time step of a recurrence and follows TF1's RNNCell protocol, so that

    outputs, final_state = tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)

works with it in TensorFlow 1.15 and 2.x alike, where `tf.nn.rnn_cell` is gone. Names,
shapes, gate order and initial values of the variables are those of TF 1.15's own cells,
so their checkpoints load; `bias_init` and `recurrent_init` choose other initial values,
which initializers.py describes. In the equations `[x, h]` is the concatenation along
the units, `·` the element-wise product and `σ` the logistic function.
"""

from collections import namedtuple

from seqmnist import tf1 as tf
from seqmnist.initializers import Kernel, MemoryBias

LSTMState = namedtuple("LSTMState", "c h")
LSTMState.__doc__ = """State of an LSTM: memory `c` and output `h`.

Both are float32 `[batch_size, num_units]`; TF1's `LSTMStateTuple`.
"""


class RecurrentCell:
    """What the three cells have in common: the RNNCell protocol.

    Args:
        num_units: size of the output.
        name: the variable scope of the cell's variables, under the recurrence's own:
            `rnn/<name>/kernel`.
        recurrent_init: how the kernels' rows for the state start: "glorot" as in TF1,
            "orthogonal" or "identity".
        bias_init: how the gates' biases start: "default" as in TF1, "chrono" or
            "uniform".
        time_steps: length of the sequences, by which "chrono" chooses the biases.
    """

    def __init__(
        self,
        num_units,
        name,
        recurrent_init="glorot",
        bias_init="default",
        time_steps=None,
    ):
        self.num_units = num_units
        self.name = name
        self.recurrent_init = recurrent_init
        self.bias_init = bias_init
        self.time_steps = time_steps

    @property
    def output_size(self):
        """Units of the output of one time step."""
        return self.num_units

    @property
    def state_size(self):
        """Units of the state, in the structure of the state."""
        return self.num_units

    def zero_state(self, batch_size, dtype):
        """The state before the first time step: zeros `[batch_size, num_units]`."""
        return tf.zeros([batch_size, self.num_units], dtype)

    def last_output(self, state):
        """The output `[batch_size, num_units]` that belongs to a state."""
        return state

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        """The same, under the name by which TensorFlow 2 asks for it."""
        if inputs is not None:
            batch_size, dtype = tf.shape(inputs)[0], inputs.dtype
        return self.zero_state(batch_size, dtype)

    def _scope(self):
        """The cell's variable scope, the same variables at every call."""
        return tf.variable_scope(self.name, reuse=tf.AUTO_REUSE)

    def __call__(self, inputs, state, scope=None):
        """Computes one time step.

        Args:
            inputs: x, float32 `[batch_size, input_size]`.
            state: the state of the time step before, as `zero_state` shapes it.
            scope: not used; part of the protocol.

        Returns:
            The output `[batch_size, num_units]` and the new state.
        """
        raise NotImplementedError

    def _affine(self, operand, num_gates, prefix="", bias_initializer=None):
        """`operand · kernel + bias`, with `<prefix>kernel` and `<prefix>bias`.

        As in TF1 the kernel starts Glorot-uniform (the default of `tf.get_variable`)
        and the bias at zero, unless the cell has been given another start.
        """
        size, columns = operand.shape.as_list()[-1], num_gates * self.num_units
        kernel_initializer = None
        if self.recurrent_init != "glorot":
            kernel_initializer = Kernel(self.num_units, self.recurrent_init)
        kernel = tf.get_variable(
            prefix + "kernel",
            [size, columns],
            operand.dtype,
            initializer=kernel_initializer,
        )
        bias = tf.get_variable(
            prefix + "bias",
            [columns],
            operand.dtype,
            initializer=bias_initializer or tf.zeros_initializer(),
        )
        return tf.nn.bias_add(tf.matmul(operand, kernel), bias)

    def _memory_bias(self, to_gates):
        """The initializer of all gates' biases, from that of keeping the state."""
        return MemoryBias(self.bias_init, self.time_steps, self.num_units, to_gates)


class BasicRNNCell(RecurrentCell):
    """The simplest recurrence: the output is the state.

        h' = tanh([x, h] W + b)

    Variables: `kernel` W `[input_size + num_units, num_units]`, `bias` b `[num_units]`.

    It has no gates, so `bias_init` can only be "default".

    Source: Elman, "Finding structure in time", Cognitive Science 14, 1990.
    """

    def __init__(self, num_units, name="basic_rnn_cell", recurrent_init="glorot"):
        super().__init__(num_units, name, recurrent_init)

    def __call__(self, inputs, state, scope=None):
        with self._scope():
            output = tf.tanh(self._affine(tf.concat([inputs, state], 1), 1))
        return output, output


class LSTMCell(RecurrentCell):
    """A memory `c` beside the output `h`, written and read through three gates.

        i, j, f, o = split([x, h] W + b, 4)
        c' = σ(f + forget_bias) · c + σ(i) · tanh(j)
        h' = σ(o) · tanh(c')

    `forget_bias` is added at each time step; it is not part of the stored bias. TF1 has
    these equations twice, as `LSTMCell` and as `BasicLSTMCell`, which differ in name.

    Variables: `kernel` W `[input_size + num_units, 4 * num_units]`, `bias` b
    `[4 * num_units]`, the gates in the order i, j, f, o.

    Source: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9,
    1997; with the forget gate of Gers, Schmidhuber and Cummins, "Learning to forget",
    Neural Computation 12, 2000, in the form of arXiv:1409.2329, section 3.1.
    """

    def __init__(self, num_units, forget_bias=1.0, name="lstm_cell", **initial):
        super().__init__(num_units, name, **initial)
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

    def __call__(self, inputs, state, scope=None):
        c, h = state
        with self._scope():
            gates = self._affine(
                tf.concat([inputs, h], 1), 4, bias_initializer=self._bias_initializer()
            )
        i, j, f, o = tf.split(gates, 4, axis=1)
        c = tf.sigmoid(f + self.forget_bias) * c + tf.sigmoid(i) * tf.tanh(j)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, LSTMState(c, h)

    def _bias_initializer(self):
        """Zeros; or such that f keeps the state as `bias_init` says, and i = 1 - f."""
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

    The paper and other libraries let `u` and `1 - u` change places, or apply `r` behind
    the matrix product; this is TF1's form. The gates' bias starts at one, so that the
    state is kept at first.

    Variables: `gates/kernel` W_g `[input_size + num_units, 2 * num_units]`,
    `gates/bias` b_g `[2 * num_units]`, in the order r, u; `candidate/kernel` W_c
    `[input_size + num_units, num_units]`, `candidate/bias` b_c `[num_units]`.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder for
    statistical machine translation", arXiv:1406.1078, equations 5 to 8.
    """

    def __init__(self, num_units, name="gru_cell", **initial):
        super().__init__(num_units, name, **initial)

    def __call__(self, inputs, state, scope=None):
        with self._scope():
            gates = self._affine(
                tf.concat([inputs, state], 1), 2, "gates/", self._bias_initializer()
            )
            r, u = tf.split(tf.sigmoid(gates), 2, axis=1)
            candidate = tf.tanh(
                self._affine(tf.concat([inputs, r * state], 1), 1, "candidate/")
            )
        output = u * state + (1 - u) * candidate
        return output, output

    def _bias_initializer(self):
        """Ones; or one for r, and such that u keeps the state as `bias_init` says."""
        if self.bias_init == "default":
            return tf.ones_initializer()
        return self._memory_bias(lambda b: tf.concat([tf.ones_like(b), b], 0))


class StackedCell(RecurrentCell):
    """Cells on top of one another: each reads the outputs of the one below.

    Variables: those of the cells, in scopes as TF1's `MultiRNNCell` names them:
    `multi_rnn_cell/cell_0/<name>/kernel` and so on, from the bottom.

    Source: Graves, Mohamed and Hinton, "Speech recognition with deep recurrent neural
    networks", arXiv:1303.5778, section 2.

    Args:
        cells: two or more, from the bottom.
    """

    def __init__(self, cells):
        super().__init__(cells[-1].num_units, "multi_rnn_cell")
        self.cells = cells

    @property
    def state_size(self):
        """Each cell's, as a tuple from the bottom."""
        return tuple(cell.state_size for cell in self.cells)

    def zero_state(self, batch_size, dtype):
        """Each cell's zero state, as a tuple from the bottom."""
        return tuple(cell.zero_state(batch_size, dtype) for cell in self.cells)

    def last_output(self, state):
        """The output of the cell on top."""
        return self.cells[-1].last_output(state[-1])

    def __call__(self, inputs, state, scope=None):
        states = []
        with self._scope():
            for layer, (cell, before) in enumerate(zip(self.cells, state)):
                with tf.variable_scope(f"cell_{layer}"):
                    inputs, after = cell(inputs, before)
                states.append(after)
        return inputs, tuple(states)


def stack(cells):
    """One cell made of several.

    Args:
        cells: one or more, from the bottom.

    Returns:
        The cell itself if it is the only one, else a `StackedCell`.
    """
    return cells[0] if len(cells) == 1 else StackedCell(cells)
