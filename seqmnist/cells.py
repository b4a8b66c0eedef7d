"""Recurrent cells in plain TensorFlow ops: BasicRNN, LSTM and GRU.

Each cell is one time step of a recurrence and follows TF1's RNNCell protocol, so that

    outputs, final_state = tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)

works with it in TensorFlow 1.15 and 2.x alike, where `tf.nn.rnn_cell` is gone. Names,
shapes, gate order and initial values of the variables are those of TF 1.15's own cells,
so their checkpoints load. In the equations `[x, h]` is the concatenation along the
units, `·` the element-wise product and `σ` the logistic function.
"""

from collections import namedtuple

from seqmnist import tf1 as tf

LSTMState = namedtuple("LSTMState", "c h")
LSTMState.__doc__ = """State of an LSTM: memory `c` and output `h`.

Both are float32 `[batch_size, num_units]`; TF1's `LSTMStateTuple`.
"""


class RecurrentCell:
    """What the three cells have in common: the RNNCell protocol.

    Attributes:
        num_units: size of the output.
        name: the variable scope of the cell's variables, under the recurrence's own:
            `rnn/<name>/kernel`.
    """

    def __init__(self, num_units, name):
        self.num_units = num_units
        self.name = name

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


def _affine(inputs, num_units, prefix="", bias_initializer=None):
    """`inputs · kernel + bias` with the variables `<prefix>kernel` and `<prefix>bias`.

    As in TF1 the kernel starts Glorot-uniform (the default of `tf.get_variable`) and
    the bias at zero, unless an initializer is given.
    """
    input_size = inputs.shape.as_list()[-1]
    kernel = tf.get_variable(prefix + "kernel", [input_size, num_units], inputs.dtype)
    bias = tf.get_variable(
        prefix + "bias",
        [num_units],
        inputs.dtype,
        initializer=bias_initializer or tf.zeros_initializer(),
    )
    return tf.nn.bias_add(tf.matmul(inputs, kernel), bias)


class BasicRNNCell(RecurrentCell):
    """The simplest recurrence: the output is the state.

        h' = tanh([x, h] W + b)

    Variables: `kernel` W `[input_size + num_units, num_units]`, `bias` b `[num_units]`.

    Source: Elman, "Finding structure in time", Cognitive Science 14, 1990.
    """

    def __init__(self, num_units, name="basic_rnn_cell"):
        super().__init__(num_units, name)

    def __call__(self, inputs, state, scope=None):
        with self._scope():
            output = tf.tanh(_affine(tf.concat([inputs, state], 1), self.num_units))
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

    def __init__(self, num_units, forget_bias=1.0, name="lstm_cell"):
        super().__init__(num_units, name)
        self.forget_bias = forget_bias

    @property
    def state_size(self):
        """Units of `c` and of `h`."""
        return LSTMState(self.num_units, self.num_units)

    def zero_state(self, batch_size, dtype):
        """`LSTMState` of two tensors of zeros, `[batch_size, num_units]` each."""
        zeros = super().zero_state(batch_size, dtype)
        return LSTMState(zeros, zeros)

    def __call__(self, inputs, state, scope=None):
        c, h = state
        with self._scope():
            gates = _affine(tf.concat([inputs, h], 1), 4 * self.num_units)
        i, j, f, o = tf.split(gates, 4, axis=1)
        c = tf.sigmoid(f + self.forget_bias) * c + tf.sigmoid(i) * tf.tanh(j)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, LSTMState(c, h)


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

    def __init__(self, num_units, name="gru_cell"):
        super().__init__(num_units, name)

    def __call__(self, inputs, state, scope=None):
        with self._scope():
            gates = _affine(
                tf.concat([inputs, state], 1),
                2 * self.num_units,
                "gates/",
                tf.ones_initializer(),
            )
            r, u = tf.split(tf.sigmoid(gates), 2, axis=1)
            candidate = tf.tanh(
                _affine(tf.concat([inputs, r * state], 1), self.num_units, "candidate/")
            )
        output = u * state + (1 - u) * candidate
        return output, output
