"""The fast path through a recurrence: hand-derived gradients, compiled by XLA.

`cells.py` says what the cells compute; this module computes the same, faster than
`tf.nn.dynamic_rnn` and `tf.gradients` do, for these three reasons:

-   Each cell's gradient is derived by hand, so that the loop backwards in time has only
    the steps that wait for one another. With `z` the pre-activations of a time step,
    every cell has the form `dz = d · q`: gradients `d` that come from the future, times
    coefficients `q` that depend on the forward pass alone.
-   What does not wait is taken out of the loops, or laid out for fast matrix products.
    Short sequences are computed `BatchMajor`: the products with the inputs and the
    weights' gradients are one large operation each, before or behind the loop. Long
    ones, whose history does not fit the cache, are computed `UnitsMajor`: everything in
    one pass over the history, in the layout in which all products, that of the weights'
    gradient included, run at full speed.
-   The history lives in variables that XLA updates in place; a `tf.TensorArray` of its
    own would be filled with zeros and copied at every step of training.

All of it is meant to be traced within `tf.function(jit_compile=True)`, with static
shapes.
"""

from __future__ import annotations

import itertools
from typing import Any, Callable, Sequence

from seqmnist import tf1 as tf
from seqmnist.cells import BasicRNNCell, GRUCell, LSTMCell, StackedCell

# More pre-activations than this do not stay in a core's cache with the rest of the
# history: from 1.2 million on, the pixel network was measured faster in `UnitsMajor`.
MAX_HOISTED = 1_000_000

# Below this many values per gate and time step, the number of operations costs more
# than their size.
MIN_APART = 2_000

Tensors = Sequence[Any]


class Recurrence:
    """A cell unrolled over a batch of sequences, forwards and backwards in time.

    The gates of a kernel, the tensors of its z and dz, are kept as a list of blocks:
    one block per gate where they are computed apart, else one for all.

    Args:
        cell: one of the cells of cells.py.
        time_steps: T, at least 1.
        batch_size: B, at least 1.
        input_size: D, at least 1.
        dtype: of all tensors, float32 unless given.

    Attributes:
        apart: whether gates are computed apart. What XLA generates for joining and
            splitting tensors among other operations is slow if they are large.
        axis: of the units, counted from the end.
    """

    axis: int
    apart = True

    def __init__(
        self,
        cell: Any,
        time_steps: int,
        batch_size: int,
        input_size: int,
        dtype: Any = None,
    ) -> None:
        self.dtype = dtype or tf.float32
        self.time_steps = time_steps
        self.batch_size = batch_size
        self.input_size = input_size
        self.num_units = cell.num_units
        self.equations = make_equations(cell, self)

    def make_scratch(self, name: str) -> list[Any]:
        """Makes the variables that hold the history between forward and backward pass.

        Their first time step stays zero: it stands for the initial state.
        """
        sizes = self.equations.saved_sizes
        return self._variables(name + "_saved", self.time_steps + 1, sizes)

    def final_output(self, weights: Tensors, inputs: Any) -> Any:
        """Reads the sequences.

        Args:
            weights: the cell's, kernels and biases in turn, as cells.py shapes them.
            inputs: `[B, T, D]`.

        Returns:
            The output after the last time step, `[B, num_units]`.
        """
        product = self._forward_product(weights, inputs)

        def step(t, *before):
            state, _ = self.equations.forward(_at(product, t), before)
            return [t + 1, *state]

        _, *state = tf.while_loop(
            lambda t, *_: t < self.time_steps, step, [0, *self._zero_state()]
        )
        return self._from_layout(state[-1])

    def train(
        self, weights: Tensors, inputs: Any, scratch: Tensors, head: Callable
    ) -> tuple[Any, Tensors]:
        """Reads the sequences, and computes the weights' gradients.

        Args:
            weights: as for `final_output`.
            inputs: `[B, T, D]`.
            scratch: what `make_scratch` made, for this recurrence alone.
            head: takes the output after the last time step, `[B, num_units]`; returns
                any results, and the loss's gradient with respect to the output.

        Returns:
            The head's results, and the loss's gradients in the order of the weights.
        """
        product = self._forward_product(weights, inputs)
        num_states = self.equations.num_states
        variables = scratch[: len(self.equations.saved_sizes)]

        def step(t, *loop):
            before, history = loop[:num_states], loop[num_states:]
            state, saved = self.equations.forward(_at(product, t), before)
            return [t + 1, *state, *_write(history, t + 1, saved)]

        _, *loop = tf.while_loop(
            lambda t, *_: t < self.time_steps,
            step,
            [0, *self._zero_state(), *map(_array, variables)],
        )
        history = _assign(variables, loop[num_states:])
        results, d_output = head(self._from_layout(loop[num_states - 1]))
        d_state = [*self._zero_state()[:-1], self._to_layout(d_output)]
        return results, self._gradients(weights, inputs, history, d_state, scratch)

    def sizes(self, num_gates: int) -> list[int]:
        """The sizes of the blocks of so many gates, in multiples of the units."""
        return [1] * num_gates if self.apart else [num_gates]

    def blocks(self, gates: Tensors) -> Tensors:
        """Gates as a list of blocks."""
        if self.apart or len(gates) == 1:
            return gates
        return [tf.concat(gates, self.axis)]

    def gates(self, blocks: Tensors, num_gates: int) -> Tensors:
        """The reverse of `blocks`."""
        return blocks if self.apart else tf.split(blocks[0], num_gates, self.axis)

    def scale(self, gradients: Tensors, coefficients: Tensors) -> Tensors:
        """A kernel's dz: each gate's gradient times the blocks of coefficients."""
        return [d * q for d, q in zip(self.blocks(gradients), coefficients)]

    def activate(self, z: Any, gates: Sequence[tuple[float, float]]) -> Tensors:
        """The activations of a kernel's gates.

        Args:
            z: the pre-activations of all gates.
            gates: per gate `TANH` or `SIGMOID`, and a number to add to z.

        Returns:
            Blocks. As σ(z) = ½ tanh(½ z) + ½, gates that are not computed apart are
            one tanh, scaled and shifted by constants.
        """
        if self.apart:
            z_gates = tf.split(z, len(gates), self.axis)
            return [
                scale * tf.tanh(scale * (z_gate + shift)) + (1 - scale)
                if scale != TANH
                else tf.tanh(z_gate + shift)
                for z_gate, (scale, shift) in zip(z_gates, gates)
            ]
        scale = self._per_gate([scale for scale, _ in gates])
        shift = self._per_gate([scale * shift for scale, shift in gates])
        return [scale * tf.tanh(scale * z + shift) + (1 - scale)]

    def _shape(self, multiple):
        """The shape of so many times the units at one time step."""
        raise NotImplementedError

    def _to_layout(self, units):
        """Turns `[B, num_units]` into the layout."""
        raise NotImplementedError

    def _from_layout(self, units):
        """Turns the layout into `[B, num_units]`."""
        raise NotImplementedError

    def _forward_product(self, weights, inputs):
        """Makes `product(t, k, h)`, the pre-activations of kernel k at time t."""
        raise NotImplementedError

    def _gradients(self, weights, inputs, history, d_state, scratch):
        """The backward pass; see `train`."""
        raise NotImplementedError

    def _zero_state(self):
        """The state before the first time step."""
        return [tf.zeros(self._shape(1), self.dtype)] * self.equations.num_states

    def _kernels(self, weights):
        """Each kernel's rows for the inputs, its rows for the units, and its bias.

        The first are `None` where a kernel does not read the inputs.
        """
        kernels = list(zip(weights[::2], weights[1::2]))
        reading = self.equations.num_reading
        return [
            *[
                (w[: self.input_size], w[self.input_size :], b)
                for w, b in kernels[:reading]
            ],
            *[(None, w, b) for w, b in kernels[reading:]],
        ]

    def _per_gate(self, values):
        """A constant that holds a value for all units of each gate."""
        constant = [value for value in values for _ in range(self.num_units)]
        return tf.constant(constant, self.dtype)

    def _variables(self, name, length, multiples):
        """Variables over time that no checkpoint holds and no optimizer sees."""
        return [
            tf.get_variable(
                f"{name}{i}",
                [length, *self._shape(multiple)],
                self.dtype,
                initializer=tf.zeros_initializer(),
                trainable=False,
                collections=[tf.GraphKeys.LOCAL_VARIABLES],
                use_resource=True,
            )
            for i, multiple in enumerate(multiples)
        ]


class BatchMajor(Recurrence):
    """For short sequences: tensors are `[batch_size, units]`, as in cells.py.

    The loops have a handful of operations per time step. That matters twice: each one
    costs a fraction of a microsecond, and XLA runs a loop body of up to eight in order,
    a longer one through a scheduler that costs more than small operations take.
    """

    axis = -1

    def __init__(self, cell, time_steps, batch_size, input_size, dtype=None):
        self.apart = batch_size * cell.num_units >= MIN_APART
        super().__init__(cell, time_steps, batch_size, input_size, dtype)

    def make_scratch(self, name):
        sizes = [n for gates in self.equations.gates for n in self.sizes(gates)]
        dz = self._variables(name + "_dz", self.time_steps + 1, sizes)
        return super().make_scratch(name) + dz

    def _shape(self, multiple):
        return [self.batch_size, multiple * self.num_units]

    def _to_layout(self, units):
        return units

    def _from_layout(self, units):
        return units

    def _forward_product(self, weights, inputs):
        inputs = _flat(tf.transpose(inputs, [1, 0, 2]))
        kernels = self._kernels(weights)
        from_inputs = [
            tf.reshape(
                tf.matmul(inputs, of_inputs), [self.time_steps, self.batch_size, -1]
            )
            for of_inputs, _, _ in kernels
            if of_inputs is not None
        ]

        def product(t, k, h):
            of_inputs, of_units, bias = kernels[k]
            from_units = tf.matmul(h, of_units) + bias
            if of_inputs is None:
                return from_units
            return tf.gather(from_inputs[k], t) + from_units

        return product

    def _gradients(self, weights, inputs, history, d_state, scratch):
        sizes = [self.sizes(gates) for gates in self.equations.gates]
        num_states = self.equations.num_states
        variables = scratch[len(self.equations.saved_sizes) :]
        coefficients = self._coefficients(history)
        back_product = self._back_product(weights)

        def step(t, *loop):
            d_after, arrays = loop[:num_states], loop[num_states:]
            d_before, dz = self.equations.backward(
                back_product, coefficients(t), d_after
            )
            return [t - 1, *d_before, *_write(arrays, t, tf.nest.flatten(dz))]

        _, *loop = tf.while_loop(
            lambda t, *_: t >= 0,
            step,
            [self.time_steps - 1, *d_state, *map(_array, variables)],
        )
        arrays = map(_flat, _assign(variables, loop[num_states:]))
        # All arrays have one time step more than the sequence, as the history has. At
        # the last one dz is zero, so what it is multiplied with does not matter, and
        # no array has to be cut, which would copy it.
        inputs = tf.pad(tf.transpose(inputs, [1, 0, 2]), [[0, 1], [0, 0], [0, 0]])
        saved = [tf.pad(array[1:], [[0, 1], [0, 0], [0, 0]]) for array in history]
        before = self.equations.after(history)
        gradients = []
        dz = tf.nest.pack_sequence_as(sizes, list(arrays))
        operands = self.equations.operands(saved, before)
        for k, (operand, blocks) in enumerate(zip(operands, dz)):
            if k < self.equations.num_reading:
                operand = tf.concat([inputs, operand], 2)
            operand = _flat(operand)
            products = [tf.matmul(operand, block, transpose_a=True) for block in blocks]
            sums = [tf.reduce_sum(block, 0) for block in blocks]
            gradients += [tf.concat(products, 1), tf.concat(sums, 0)]
        return gradients

    def _coefficients(self, history):
        """Makes the function of time that gives the backward pass its coefficients.

        Large ones are computed where they are used, small ones for all times at once.
        """
        equations = self.equations
        if self.apart:
            return lambda t: equations.coefficients(
                _read(history, t + 1), equations.after(_read(history, t))
            )
        before = [array[:-1] for array in equations.after(history)]
        hoisted = equations.coefficients([array[1:] for array in history], before)
        return lambda t: _read(hoisted, t)

    def _back_product(self, weights):
        """Makes `product(k, dz)`, the gradient of kernel k's operand."""
        transposed = [
            [tf.transpose(w) for w in tf.split(of_units, len(self.sizes(gates)), 1)]
            for (_, of_units, _), gates in zip(
                self._kernels(weights), self.equations.gates
            )
        ]
        return lambda k, dz: tf.add_n(
            [tf.matmul(block, w) for block, w in zip(dz, transposed[k])]
        )


class UnitsMajor(Recurrence):
    """For long sequences: tensors are `[units, batch_size]`.

    In this layout the products of both passes and that of the weights' gradient,
    `dz hᵀ`, all read their operands in the order of memory.
    """

    axis = -2

    def _shape(self, multiple):
        return [multiple * self.num_units, self.batch_size]

    def _to_layout(self, units):
        return tf.transpose(units)

    def _from_layout(self, units):
        return tf.transpose(units)

    def _inputs_and_one(self, inputs):
        """`[T, D + 1, B]`: the inputs, and ones by which the biases are multiplied."""
        ones = tf.ones([self.time_steps, 1, self.batch_size], self.dtype)
        return tf.concat([tf.transpose(inputs, [1, 2, 0]), ones], 1)

    def _forward_product(self, weights, inputs):
        inputs = self._inputs_and_one(inputs)
        kernels = self._kernels(weights)
        of_units = [tf.transpose(w) for _, w, _ in kernels]
        of_inputs = [
            b[:, None] if w is None else tf.transpose(tf.concat([w, b[None]], 0))
            for w, _, b in kernels
        ]

        def product(t, k, h):
            from_units = tf.matmul(of_units[k], h)
            if kernels[k][0] is None:
                return from_units + of_inputs[k]
            return from_units + tf.matmul(of_inputs[k], tf.gather(inputs, t))

        return product

    def _gradients(self, weights, inputs, history, d_state, scratch):
        inputs = self._inputs_and_one(inputs)
        one = tf.ones([1, self.batch_size], self.dtype)
        reading = self.equations.num_reading
        kernels = self._kernels(weights)
        of_units = [
            tf.split(w, gates, 1)
            for (_, w, _), gates in zip(kernels, self.equations.gates)
        ]
        num_states = self.equations.num_states

        def step(t, *loop):
            d_after, sums = loop[:num_states], loop[num_states:]
            saved = _read(history, t + 1)
            before = self.equations.after(_read(history, t))
            d_before, dz = self.equations.backward(
                lambda k, dz: tf.add_n(
                    [tf.matmul(w, d) for w, d in zip(of_units[k], dz)]
                ),
                self.equations.coefficients(saved, before),
                d_after,
            )
            operands = self.equations.operands(saved, before)
            terms = [
                tf.matmul(gate, factor, transpose_b=True)
                for k, (operand, gates) in enumerate(zip(operands, dz))
                for gate in gates
                for factor in (tf.gather(inputs, t) if k < reading else one, operand)
            ]
            return [t - 1, *d_before, *[a + b for a, b in zip(sums, terms)]]

        sums = [
            tf.zeros([self.num_units, columns], self.dtype)
            for k, gates in enumerate(self.equations.gates)
            for _ in range(gates)
            for columns in (
                self.input_size + 1 if k < reading else 1,
                kernels[k][1].shape[0],
            )
        ]
        _, *loop = tf.while_loop(
            lambda t, *_: t >= 0, step, [self.time_steps - 1, *d_state, *sums]
        )
        sums = loop[num_states:]
        gradients = []
        for gates in self.equations.gates:
            of_kernel, sums = sums[: 2 * gates], sums[2 * gates :]
            d_inputs = tf.transpose(tf.concat(of_kernel[::2], 0))
            d_units = tf.transpose(tf.concat(of_kernel[1::2], 0))
            gradients += [tf.concat([d_inputs[:-1], d_units], 0), d_inputs[-1]]
        return gradients


def make_recurrence(
    cell: Any, time_steps: int, batch_size: int, input_size: int, dtype: Any = None
) -> Recurrence:
    """Chooses the layout for a recurrence's sizes; see `Recurrence`."""
    cells = layers_of(cell)
    num_gates = sum(EQUATIONS[type(cells[0])].gates) * len(cells)
    hoisted = time_steps * batch_size * num_gates * cell.num_units
    layout = BatchMajor if hoisted <= MAX_HOISTED else UnitsMajor
    return layout(cell, time_steps, batch_size, input_size, dtype)


TANH, SIGMOID = 1.0, 0.5  # the scale of `Recurrence.activate`


class Equations:
    """One cell's forward and backward equations, whatever the layout.

    A kernel computes the pre-activations z of one or more gates, from the inputs and
    from one vector of units, its operand. The methods are elementwise but for the
    products passed in, and work on one time step as on all at once.

    Attributes:
        gates: gates per kernel.
        saved: what the forward pass saves: so many gates, and so many other tensors.
        num_states: tensors of the state; the last one is the output.
        num_reading: kernels that read the inputs, the first ones; all of them, but for
            a stack.
        saved_sizes: the sizes of what is saved, in multiples of the units.
    """

    gates: tuple[int, ...]
    saved: tuple[int, int]
    num_states = 1

    def __init__(self, cell: Any, layout: Recurrence) -> None:
        self.layout = layout
        self.num_reading = len(self.gates)
        num_gates, num_others = self.saved
        of_gates = layout.sizes(num_gates) if num_gates else []
        self.saved_sizes = [*of_gates, *[1] * num_others]

    def forward(self, product: Callable, state: Tensors) -> tuple[Tensors, Tensors]:
        """One time step.

        Args:
            product: `product(k, h)` gives the pre-activations of kernel k.
            state: before the time step.

        Returns:
            The state after it, and what to save for the backward pass.
        """
        raise NotImplementedError

    def after(self, saved: Tensors) -> Tensors:
        """The state after a time step, from what the step saved.

        Of zeros it makes the initial state, zero.
        """
        raise NotImplementedError

    def operands(self, saved: Tensors, before: Tensors) -> Tensors:
        """What each kernel was multiplied with, from saved values and state before."""
        return [before[-1]]

    def coefficients(self, saved: Tensors, before: Tensors) -> list[Any]:
        """All that the backward pass needs of the forward pass."""
        raise NotImplementedError

    def backward(
        self, product: Callable, coefficients: list[Any], d_state: Tensors
    ) -> tuple[Tensors, Sequence[Tensors]]:
        """One time step backwards.

        Args:
            product: `product(k, dz)` gives the gradient of kernel k's operand.
            coefficients: of this time step.
            d_state: the loss's gradient with respect to the state after it.

        Returns:
            The gradient with respect to the state before, and each kernel's dz as
            blocks.
        """
        raise NotImplementedError


class BasicRNNEquations(Equations):
    """h' = tanh(z); dz = dh' · (1 - h'²)."""

    gates = (1,)
    saved = (0, 1)

    def forward(self, product, state):
        h = tf.tanh(product(0, state[0]))
        return [h], [h]

    def after(self, saved):
        return saved

    def coefficients(self, saved, before):
        return [[1 - saved[0] * saved[0]]]

    def backward(self, product, coefficients, d_state):
        dz = self.layout.scale(d_state, coefficients[0])
        return [product(0, dz)], [dz]


class LSTMEquations(Equations):
    """The gates i, j, f, o and the memory c as in `LSTMCell`.

    dc' += dh' · o (1 - tanh²(c'))
    dz = [dc', dc', dc', dh'] · [j i(1-i), i(1-j²), c f(1-f), tanh(c') o(1-o)]
    dc = dc' · f
    """

    gates = (4,)
    saved = (4, 1)
    num_states = 2

    def __init__(self, cell, layout):
        super().__init__(cell, layout)
        self.forget_bias = cell.forget_bias

    def forward(self, product, state):
        c, h = state
        functions = [(SIGMOID, 0), (TANH, 0), (SIGMOID, self.forget_bias), (SIGMOID, 0)]
        blocks = self.layout.activate(product(0, h), functions)
        i, j, f, o = self.layout.gates(blocks, 4)
        c = f * c + i * j
        return [c, o * tf.tanh(c)], [*blocks, c]

    def after(self, saved):
        *blocks, c = saved
        return [c, self.layout.gates(blocks, 4)[3] * tf.tanh(c)]

    def coefficients(self, saved, before):
        *blocks, c = saved
        i, j, f, o = self.layout.gates(blocks, 4)
        tanh_c = tf.tanh(c)
        for_gates = [
            j * i * (1 - i),
            i * (1 - j * j),
            before[0] * f * (1 - f),
            tanh_c * o * (1 - o),
        ]
        return [o * (1 - tanh_c * tanh_c), self.layout.blocks(for_gates), f]

    def backward(self, product, coefficients, d_state):
        from_output, for_gates, f = coefficients
        dc, dh = d_state
        dc = dc + dh * from_output
        dz = self.layout.scale([dc, dc, dc, dh], for_gates)
        return [dc * f, product(0, dz)], [dz]


class GRUEquations(Equations):
    """The gates r, u and the candidate c as in `GRUCell`.

    dz_c = dh' · (1 - u) (1 - c²)
    d(r·h) = dz_c W_cᵀ
    dz_ru = [d(r·h), dh'] · [h r(1-r), (h - c) u(1-u)]
    dh = dh' · u + d(r·h) · r + dz_ru W_gᵀ
    """

    gates = (2, 1)
    saved = (2, 2)

    def forward(self, product, state):
        h = state[0]
        blocks = self.layout.activate(product(0, h), [(SIGMOID, 0), (SIGMOID, 0)])
        r, u = self.layout.gates(blocks, 2)
        c = tf.tanh(product(1, r * h))
        h = c + u * (h - c)
        return [h], [*blocks, c, h]

    def after(self, saved):
        return [saved[-1]]

    def operands(self, saved, before):
        *blocks, _, _ = saved
        return [before[0], self.layout.gates(blocks, 2)[0] * before[0]]

    def coefficients(self, saved, before):
        *blocks, c, _ = saved
        r, u = self.layout.gates(blocks, 2)
        h = before[0]
        for_gates = [h * r * (1 - r), (h - c) * u * (1 - u)]
        return [[(1 - u) * (1 - c * c)], self.layout.blocks(for_gates), r, u]

    def backward(self, product, coefficients, d_state):
        for_candidate, for_gates, r, u = coefficients
        dh = d_state[0]
        dz_candidate = self.layout.scale([dh], for_candidate)
        d_reset = product(1, dz_candidate)
        dz_gates = self.layout.scale([d_reset, dh], for_gates)
        dh = dh * u + d_reset * r + product(0, dz_gates)
        return [dh], [dz_gates, dz_candidate]


class StackEquations(Equations):
    """Cells on top of one another, of one kind and size, as in `StackedCell`.

    The operand of an upper cell's kernel is what comes from below, and the cell's own.
    """

    def __init__(self, cell, layout):
        self.layout = layout
        self.layers = [make_equations(layer, layout) for layer in cell.cells]
        self.gates = tuple(n for layer in self.layers for n in layer.gates)
        self.num_reading = self.layers[0].num_reading
        self.num_states = sum(layer.num_states for layer in self.layers)
        self.saved_sizes = [n for layer in self.layers for n in layer.saved_sizes]

    def forward(self, product, state):
        states: list[Any] = []
        saved: list[Any] = []
        below: list[Any] = []
        for n, (layer, before) in enumerate(zip(self.layers, self._states(state))):
            after, kept = layer.forward(self._above(below, product, n), before)
            states, saved, below = [*states, *after], [*saved, *kept], [after[-1]]
        return states, saved

    def after(self, saved):
        return [
            state
            for layer, kept in zip(self.layers, self._saved(saved))
            for state in layer.after(kept)
        ]

    def operands(self, saved, before):
        operands: list[Any] = []
        below: list[Any] = []
        for layer, kept, state in zip(
            self.layers, self._saved(saved), self._states(before)
        ):
            for operand in layer.operands(kept, state):
                operands.append(tf.concat([*below, operand], self.layout.axis))
            below = [layer.after(kept)[-1]]
        return operands

    def coefficients(self, saved, before):
        return [
            layer.coefficients(kept, state)
            for layer, kept, state in zip(
                self.layers, self._saved(saved), self._states(before)
            )
        ]

    def backward(self, product, coefficients, d_state):
        d_before: list[Any] = []
        dz: list[Any] = []
        from_above: list[Any] = []
        d_states = self._states(d_state)
        for n in reversed(range(len(self.layers))):
            *others, d_output = d_states[n]
            below: list[Any] = []
            d_layer, dz_layer = self.layers[n].backward(
                self._below(below, product, n),
                coefficients[n],
                [*others, tf.add_n([d_output, *from_above])],
            )
            d_before, dz, from_above = [*d_layer, *d_before], [*dz_layer, *dz], below
        return d_before, dz

    def _above(self, below, product, layer):
        """A layer's product, with what comes from below in front of its operand."""
        first = layer * self.num_reading
        axis = self.layout.axis
        return lambda k, h: product(first + k, tf.concat([*below, h], axis))

    def _below(self, below, product, layer):
        """A layer's product backwards; adds the gradient of what came from below."""

        def layer_product(k, dz):
            gradient = product(layer * self.num_reading + k, dz)
            if not layer:
                return gradient
            of_below, of_own = tf.split(gradient, 2, self.layout.axis)
            below.append(of_below)
            return of_own

        return layer_product

    def _states(self, tensors):
        """Tensors of the states, for each layer."""
        return self._split(tensors, [layer.num_states for layer in self.layers])

    def _saved(self, tensors):
        """Tensors of what was saved, for each layer."""
        return self._split(tensors, [len(layer.saved_sizes) for layer in self.layers])

    def _split(self, tensors, counts):
        """A list of tensors cut into lists of so many."""
        rest = iter(tensors)
        return [list(itertools.islice(rest, count)) for count in counts]


EQUATIONS = {
    BasicRNNCell: BasicRNNEquations,
    LSTMCell: LSTMEquations,
    GRUCell: GRUEquations,
}


def layers_of(cell: Any) -> list[Any]:
    """The cells of a stack, or the cell itself."""
    return list(cell.cells) if isinstance(cell, StackedCell) else [cell]


def has_equations(cell: Any) -> bool:
    """Whether a cell has a fast path."""
    kinds = {(type(layer), layer.num_units) for layer in layers_of(cell)}
    return len(kinds) == 1 and next(iter(kinds))[0] in EQUATIONS


def make_equations(cell: Any, layout: Recurrence) -> Equations:
    """The equations of a cell."""
    if isinstance(cell, StackedCell):
        return StackEquations(cell, layout)
    return EQUATIONS[type(cell)](cell, layout)


def _at(product, t):
    """The product of one time step."""
    return lambda k, h: product(t, k, h)


def _flat(sequence):
    """Merges time and batch, the first two axes."""
    return tf.reshape(sequence, [-1, sequence.shape[2]])


def _array(variable):
    """A variable as a `TensorArray` over its first axis, not copied."""
    shape = variable.shape.as_list()
    array = tf.TensorArray(variable.dtype, shape[0], element_shape=shape[1:])
    return array.unstack(variable.read_value())


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
