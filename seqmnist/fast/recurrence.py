"""The fast path through a recurrence: a loop each way in time, compiled by XLA.

`cells.py` defines the cells, `equations.py` their gradients. This module runs these
equations over sequences, faster than `tf.nn.dynamic_rnn` and `tf.gradients`. z are the
pre-activations, q the coefficients of equations.py, d a gradient of the loss.

                         before the loop  in the loop                after the loop
    Hoisted, forwards    z of the inputs  z of the state, gates
    Hoisted, backwards   q, if small      q, if large; dz = d q;     gradients of
                                          d of the state before      weights, inputs
    Streamed, forwards                    z, gates
    Streamed, backwards                   q; dz = d q; d of the
                                          state before; gradients
                                          of weights, inputs

`Hoisted` is for short sequences: work that does not depend on the previous time step
leaves the loops, and becomes a few large operations. `Streamed` is for long sequences,
whose history does not fit the cache: it makes one pass over the history. Its layout is
units-major, in which all products, including those of the weights' gradients, read
their operands in memory order.

The gates of all time steps are the history. It is kept in variables, which XLA updates
in place, and so is the dz of `Hoisted`. A plain `tf.TensorArray` would be filled with
zeros and copied at every step of training. Without a gradient, neither exists.
"""

from __future__ import annotations

from functools import partial
from typing import Callable, NamedTuple, Sequence

from seqmnist import tf1 as tf
from seqmnist.cells import RecurrentCell
from seqmnist.fast.equations import EQUATIONS
from seqmnist.fast.layout import Layout, Tensors

# The most pre-activations that stay in a core's cache with the rest of the history:
# with 1.2 million and more, the pixel network was measured to be faster `Streamed`.
MAX_HOISTED = 1_000_000

# Values per gate and time step. Below this, the time depends more on the number of
# operations than on their size.
MIN_BLOCK = 2_000

# A graph collection: the variables that hold a history.
SCRATCH = "scratch"


class Kernel(NamedTuple):
    """The weights that give the pre-activations of one or more gates.

    Attributes:
        of_inputs: `[input_size, num_gates * num_units]`.
        of_units: `[num_units, num_gates * num_units]`.
        bias: `[num_gates * num_units]`.
    """

    of_inputs: tf.Tensor
    of_units: tf.Tensor
    bias: tf.Tensor


class Gradients(NamedTuple):
    """A loss's gradients.

    Attributes:
        inputs: with respect to the inputs, `[B, T, D]`.
        state: with respect to the initial state, tensors `[B, H]`.
        weights: with respect to the cell's weights, kernels and biases in turn.
    """

    inputs: tf.Tensor
    state: Tensors
    weights: Tensors


class History(NamedTuple):
    """The tensors that the forward loop saves at each time step.

    Attributes:
        starts: the arrays of zeros with which the loop begins. Each has passed through
            `identity()`, an op whose input `keep_in_place` can replace.
        saved: the arrays at the end of the loop, `[T + 1, ...]`. Entry 0 stands for the
            initial state and stays zero.
    """

    starts: Sequence[tf.TensorArray]
    saved: Tensors

    def keep_in_place(self) -> None:
        """Puts the arrays into variables, which XLA updates in place.

        When the loop is built, it is unknown whether a gradient will be needed. Without
        a gradient, XLA drops the arrays. When a gradient is built, this method makes
        the finished loop begin with variables instead of zeros. TensorFlow also changes
        its finished loops when it builds a gradient.
        """
        if self.starts[0].flow.op.inputs[0].op.type == "TensorListFromTensor":
            return  # a second gradient of the same loop
        for start, saved in zip(self.starts, self.saved):
            variable = scratch(saved.shape.as_list(), saved.dtype)
            start.flow.op._update_input(0, _array(variable.read_value()).flow)
            variable.assign(saved)


class Recurrence:
    """A cell unrolled over a batch of sequences, forwards and backwards in time.

    Args:
        cell: one of those in `EQUATIONS`.
        layout: the layout of all tensors.
        time_steps: T, at least 1.

    Attributes:
        equations: the cell's `Equations`.
    """

    def __init__(self, cell: RecurrentCell, layout: Layout, time_steps: int) -> None:
        self.layout = layout
        self.equations = EQUATIONS[type(cell)](cell, layout)
        self.time_steps = time_steps

    def read(
        self, kernels: Sequence[Kernel], inputs: tf.Tensor, initial: Tensors | None
    ) -> tuple[tf.Tensor, Tensors, History]:
        """Reads the sequences.

        Args:
            kernels: the cell's kernels.
            inputs: `[B, T, D]`.
            initial: the state before the first time step, tensors `[B, H]`, or `None`
                for zeros.

        Returns:
            The outputs, `[B, T, H]`; the state after the last time step; and the
            history. XLA drops unused parts of the history.
        """
        product = self._forward_product(kernels, inputs)
        num_states = self.equations.num_states
        starts = [
            _empty(self._shape_in_time(size), self.layout.dtype).identity()
            for size in self.equations.saved_sizes
        ]

        def step(t, *loop):
            before, arrays = loop[:num_states], loop[num_states:]
            state, saved = self.equations.forward(partial(product, t), before)
            return [t + 1, *state, *_write(arrays, t + 1, saved)]

        _, *loop = tf.while_loop(
            lambda t, *_: t < self.time_steps,
            step,
            [
                0,
                *self._packed_state(initial or [None] * num_states),
                *starts,
            ],
        )
        state = [self.layout.unpack(s) for s in loop[:num_states]]
        history = [array.stack() for array in loop[num_states:]]
        outputs = self.equations.state([saved[1:] for saved in history])[-1]
        outputs = self.layout.unpack_sequence(outputs)
        return outputs, state, History(starts, history)

    def gradients(
        self,
        kernels: Sequence[Kernel],
        inputs: tf.Tensor,
        initial: Tensors | None,
        history: Tensors,
        d_outputs: tf.Tensor | None,
        d_state: Sequence[tf.Tensor | None],
    ) -> Gradients:
        """Goes backwards in time.

        Args:
            kernels, inputs, initial: as for `read`.
            history: the tensors that `read` saved.
            d_outputs: the loss's gradient with respect to the outputs, `None` for zero.
            d_state: the loss's gradient with respect to each tensor of the final state,
                `None` for zero.

        Returns:
            The loss's gradients.
        """
        raise NotImplementedError

    def _forward_product(
        self, kernels: Sequence[Kernel], inputs: tf.Tensor
    ) -> Callable:
        """Makes `product(t, k, h)`, the pre-activations of kernel k at time t."""
        raise NotImplementedError

    def _backward(self, d_outputs, d_state, arrays, step):
        """Runs the loop backwards.

        `step(t, d_state, arrays)` takes the gradient of the state after time step t. It
        returns the gradient of the state before time step t, and the arrays.
        """
        num_states = self.equations.num_states
        if d_outputs is not None:
            d_outputs = self.layout.pack_sequence(d_outputs)

        def whole_step(t, *loop):
            *d_state, d_output = loop[:num_states]
            if d_outputs is not None:
                d_output += tf.gather(d_outputs, t)
            d_state, arrays = step(t, [*d_state, d_output], loop[num_states:])
            return [t - 1, *d_state, *arrays]

        _, *loop = tf.while_loop(
            lambda t, *_: t >= 0,
            whole_step,
            [self.time_steps - 1, *self._packed_state(d_state), *arrays],
        )
        d_state, arrays = loop[:num_states], loop[num_states:]
        return [self.layout.unpack(d) for d in d_state], arrays

    def _before(self, history, initial, t):
        """The state before time step t."""
        state = self.equations.state(_read(history, t))
        if initial is None:
            return state
        is_first = tf.equal(t, 0)
        return [
            tf.where(is_first, self.layout.pack(i), s) for i, s in zip(initial, state)
        ]

    def _packed_state(self, state):
        """A state in the layout; `None` stands for zeros."""
        zeros = tf.zeros(self.layout.shape(), self.layout.dtype)
        return [zeros if s is None else self.layout.pack(s) for s in state]

    def _shape_in_time(self, num_gates):
        """The shape of an array over the initial state and all time steps."""
        return [self.time_steps + 1, *self.layout.shape(num_gates)]


class Hoisted(Recurrence):
    """A recurrence for short sequences; see the module's docstring.

    The loops have a handful of operations per time step, for two reasons. Each
    operation costs a fraction of a microsecond. XLA runs a loop body of up to eight
    operations in order, and a longer one through a scheduler, which takes longer than
    small operations do.
    """

    def _forward_product(self, kernels, inputs):
        inputs = _flat(self.layout.pack_sequence(inputs))
        of_inputs = [
            tf.reshape(
                tf.matmul(inputs, kernel.of_inputs),
                [self.time_steps, self.layout.batch_size, -1],
            )
            for kernel in kernels
        ]

        def product(t, k, h):
            of_units = tf.matmul(h, kernels[k].of_units) + kernels[k].bias
            return tf.gather(of_inputs[k], t) + of_units

        return product

    def gradients(self, kernels, inputs, initial, history, d_outputs, d_state):
        sizes = [
            self.layout.block_sizes(num) for num in self.equations.gates_per_kernel
        ]
        variables = [
            scratch(self._shape_in_time(size), self.layout.dtype)
            for size in tf.nest.flatten(sizes)
        ]
        coefficients = self._coefficients(history, initial)
        product = self._backward_product(kernels)

        def step(t, d_state, arrays):
            d_state, dz = self.equations.backward(product, coefficients(t), d_state)
            return d_state, _write(arrays, t, tf.nest.flatten(dz))

        d_initial, arrays = self._backward(
            d_outputs, d_state, [_array(v.read_value()) for v in variables], step
        )
        # Like the history, all arrays have one time step more than the sequence. In the
        # last one dz is zero, so any factor will do. Cutting an array would copy it.
        arrays = [_flat(array) for array in _assign(variables, arrays)]
        dz = tf.nest.pack_sequence_as(sizes, arrays)
        inputs = _with_last_step(self.layout.pack_sequence(inputs))
        saved = [_with_last_step(array[1:]) for array in history]
        operands = self.equations.operands(saved, self._all_before(history, initial))
        of_weights, of_inputs = [], []
        for kernel, operand, blocks in zip(kernels, operands, dz):
            read = _flat(tf.concat([inputs, operand], 2))
            products = [tf.matmul(read, block, transpose_a=True) for block in blocks]
            sums = [tf.reduce_sum(block, 0) for block in blocks]
            of_weights += [tf.concat(products, 1), tf.concat(sums, 0)]
            of_inputs += [
                tf.matmul(block, w, transpose_b=True)
                for block, w in zip(blocks, tf.split(kernel.of_inputs, len(blocks), 1))
            ]
        d_inputs = tf.reshape(tf.add_n(of_inputs), inputs.shape)[:-1]
        return Gradients(self.layout.unpack_sequence(d_inputs), d_initial, of_weights)

    def _coefficients(self, history, initial):
        """Makes the function from time step to the backward pass's coefficients.

        Large coefficients are computed step by step, small ones for all steps at once.
        """
        equations = self.equations
        if self.layout.has_blocks:
            return lambda t: equations.coefficients(
                _read(history, t + 1), self._before(history, initial, t)
            )
        before = [array[:-1] for array in self._all_before(history, initial)]
        hoisted = equations.coefficients([array[1:] for array in history], before)
        return lambda t: _read(hoisted, t)

    def _all_before(self, history, initial):
        """The state before each time step, and the state after the last one."""
        states = self.equations.state(history)
        if initial is None:
            return states
        return [tf.concat([i[None], s[1:]], 0) for i, s in zip(initial, states)]

    def _backward_product(self, kernels):
        """Makes `product(k, dz)`, the gradient of kernel k's operand."""
        transposed = []
        for kernel, num_gates in zip(kernels, self.equations.gates_per_kernel):
            num_blocks = len(self.layout.block_sizes(num_gates))
            blocks = tf.split(kernel.of_units, num_blocks, 1)
            transposed.append([tf.transpose(block) for block in blocks])
        return lambda k, dz: tf.add_n(
            [tf.matmul(block, w) for block, w in zip(dz, transposed[k])]
        )


class Streamed(Recurrence):
    """A recurrence for long sequences; see the module's docstring."""

    def _forward_product(self, kernels, inputs):
        inputs = self.layout.pack_sequence(inputs)
        of_units = [tf.transpose(kernel.of_units) for kernel in kernels]
        of_inputs = [tf.transpose(kernel.of_inputs) for kernel in kernels]
        biases = [kernel.bias[:, None] for kernel in kernels]
        # With one input, the product is elementwise, and fuses with the activations.
        multiply = tf.multiply if inputs.shape[1] == 1 else tf.matmul

        def product(t, k, h):
            from_inputs = multiply(of_inputs[k], tf.gather(inputs, t)) + biases[k]
            return tf.matmul(of_units[k], h) + from_inputs

        return product

    def gradients(self, kernels, inputs, initial, history, d_outputs, d_state):
        layout, input_size = self.layout, inputs.shape[2]
        inputs = layout.pack_sequence(inputs)
        one = tf.ones([1, layout.batch_size], layout.dtype)  # its weights are the bias
        num_gates = self.equations.gates_per_kernel
        of_inputs, of_units = (
            [tf.split(kernel[i], n, 1) for kernel, n in zip(kernels, num_gates)]
            for i in (0, 1)
        )

        def step(t, d_state, arrays):
            *sums, d_inputs = arrays
            saved = _read(history, t + 1)
            before = self._before(history, initial, t)
            coefficients = self.equations.coefficients(saved, before)
            d_before, dz = self.equations.backward(
                lambda k, dz: _product(of_units[k], dz), coefficients, d_state
            )
            operands = self.equations.operands(saved, before)
            factors = [tf.concat([tf.gather(inputs, t), o, one], 0) for o in operands]
            terms = [
                tf.matmul(factor, d, transpose_b=True)
                for factor, ds in zip(factors, dz)
                for d in ds
            ]
            d_input = _product(tf.nest.flatten(of_inputs), tf.nest.flatten(dz))
            sums = [total + term for total, term in zip(sums, terms)]
            return d_before, [*sums, d_inputs.write(t, d_input)]

        shape = [input_size + layout.num_units + 1, layout.num_units]
        sums = [tf.zeros(shape, layout.dtype) for _ in range(sum(num_gates))]
        d_inputs = tf.TensorArray(
            layout.dtype, self.time_steps, element_shape=[input_size, layout.batch_size]
        )
        d_initial, (*sums, d_inputs) = self._backward(
            d_outputs, d_state, [*sums, d_inputs], step
        )
        of_weights = []
        for gates in tf.nest.pack_sequence_as([[0] * n for n in num_gates], sums):
            of_gates = tf.concat(gates, 1)
            of_weights += [of_gates[:-1], of_gates[-1]]
        d_inputs = layout.unpack_sequence(d_inputs.stack())
        return Gradients(d_inputs, d_initial, of_weights)


def make_recurrence(
    cell: RecurrentCell, time_steps: int, batch_size: int, dtype: tf.DType
) -> Recurrence:
    """Chooses the kind and the layout of a recurrence by its sizes."""
    size = batch_size * cell.num_units
    num_gates = sum(EQUATIONS[type(cell)].gates_per_kernel)
    is_long = time_steps * num_gates * size > MAX_HOISTED
    layout = Layout(
        cell.num_units,
        batch_size,
        dtype,
        is_units_major=is_long,
        has_blocks=is_long or size >= MIN_BLOCK,
    )
    return (Streamed if is_long else Hoisted)(cell, layout, time_steps)


def recur(
    cell: RecurrentCell, weights: Tensors, inputs: tf.Tensor, initial: Tensors | None
) -> tuple[tf.Tensor, Tensors]:
    """Reads sequences; differentiable with respect to all arguments but the cell.

    Args:
        cell: one of the cells in `EQUATIONS`.
        weights: the cell's kernels and biases in turn, in the shapes of cells.py.
        inputs: `[B, T, D]`, of static shape.
        initial: the state before the first time step, tensors `[B, H]`, or `None` for
            zeros.

    Returns:
        The outputs, `[B, T, H]`, and the state after the last time step.
    """
    batch_size, time_steps, input_size = inputs.shape.as_list()
    recurrence = make_recurrence(cell, time_steps, batch_size, inputs.dtype)
    num_initial = 0 if initial is None else len(initial)

    @tf.custom_gradient
    def read(inputs, *tensors):
        initial, weights = tensors[:num_initial] or None, tensors[num_initial:]
        kernels = [
            Kernel(kernel[:input_size], kernel[input_size:], bias)
            for kernel, bias in zip(weights[::2], weights[1::2])
        ]
        outputs, state, history = recurrence.read(kernels, inputs, initial)

        def gradients(d_outputs, *d_state):
            if outputs.graph is tf.get_default_graph():
                history.keep_in_place()
            found = recurrence.gradients(
                kernels,
                inputs,
                initial,
                history.saved,
                _none_if_zero(d_outputs),
                [_none_if_zero(d) for d in d_state],
            )
            return [found.inputs, *found.state[:num_initial], *found.weights]

        return [outputs, *state], gradients

    outputs, *state = read(inputs, *(initial or []), *weights)
    return outputs, state


def _product(matrices, vectors):
    """The sum over the products of each matrix with its vectors, which are columns."""
    return tf.add_n([tf.matmul(m, v) for m, v in zip(matrices, vectors)])


def _none_if_zero(gradient):
    """A gradient, or `None` for the zeros of `tf.gradients` for an unused output.

    In the body of a loop, these zeros are a constant.
    """
    value = tf.get_static_value(gradient)
    is_zero = gradient.op.type == "ZerosLike" or (value is not None and not value.any())
    return None if is_zero else gradient


def _flat(sequence):
    """Merges the first two axes, time and batch."""
    return tf.reshape(sequence, [-1, sequence.shape[2]])


def _with_last_step(sequence):
    """Appends a time step of zeros to a sequence."""
    return tf.pad(sequence, [[0, 1], [0, 0], [0, 0]])


def _empty(shape, dtype):
    """Makes a `TensorArray` of zeros over the first axis of a shape."""
    return tf.TensorArray(dtype, shape[0], element_shape=shape[1:])


def _array(tensor):
    """Turns a tensor into a `TensorArray` over its first axis, without a copy."""
    return _empty(tensor.shape.as_list(), tensor.dtype).unstack(tensor)


def scratch(shape: Sequence[int], dtype: tf.DType) -> tf.Variable:
    """Makes a variable for a history: local, so that checkpoints leave it out."""
    with tf.init_scope():  # makes the variable outside of functions
        return tf.Variable(
            # TensorFlow would fold `tf.zeros` into a constant, and keep that as well.
            lambda: tf.raw_ops.Empty(shape=shape, dtype=dtype, init=True),
            trainable=False,
            collections=[tf.GraphKeys.LOCAL_VARIABLES, SCRATCH],
            use_resource=True,
            name="scratch",
        )


def _read(arrays, t):
    """The values of one time step, in the structure of the arrays."""
    return tf.nest.map_structure(lambda array: tf.gather(array, t), arrays)


def _write(arrays, t, values):
    """Writes the values of one time step."""
    return [array.write(t, value) for array, value in zip(arrays, values)]


def _assign(variables, arrays):
    """Assigns `TensorArray`s to variables; returns them as tensors."""
    tensors = [array.stack() for array in arrays]
    for variable, tensor in zip(variables, tensors):
        variable.assign(tensor)
    return tensors
