"""The cells' equations, forwards and, derived by hand, backwards in time.

Let z be the pre-activations of one time step. Every cell's gradient has the form
`dz = d · q`: gradients d from later time steps, times coefficients q that depend only
on the forward pass. Only d has to be computed step by step. m is the cell's candidate
mask, one where it has none.
"""

from __future__ import annotations

from typing import Any, Callable

from seqmnist import tf1 as tf
from seqmnist.cells import BasicRNNCell, GRUCell, LSTMCell, RecurrentCell
from seqmnist.fast.layout import SIGMOID, TANH, Activation, Layout, Tensors


class Equations:
    """One cell's equations, in any layout.

    A kernel gives the pre-activations of one or more gates: z = inputs · W +
    operand · U + b. The operand is h, or r · h for the candidate of a GRU. Except for
    the products that are passed in, the methods are elementwise, so they work on one
    time step or on all at once.

    Args:
        cell: the cell.
        layout: the layout of all tensors.

    Attributes:
        gates_per_kernel: the number of gates of each kernel.
        num_states: the number of tensors in the state; the last one is the output.
        saved_sizes: the number of gates in each tensor that the forward pass saves.
    """

    gates_per_kernel: tuple[int, ...]
    num_states = 1

    def __init__(self, cell: RecurrentCell, layout: Layout) -> None:
        self.layout = layout
        self.saved_sizes = [1]
        mask = cell.candidate_mask
        self._mask = None if mask is None else layout.pack(tf.stop_gradient(mask))

    def _masked(self, values: tf.Tensor) -> tf.Tensor:
        """The values times the mask, if there is one."""
        return values if self._mask is None else values * self._mask

    def forward(self, product: Callable, state: Tensors) -> tuple[Tensors, Tensors]:
        """Computes one time step.

        Args:
            product: `product(k, h)` gives the pre-activations of kernel k with operand
                h.
            state: the state before the time step.

        Returns:
            The state after the time step, and the tensors to save for the backward
            pass.
        """
        raise NotImplementedError

    def state(self, saved: Tensors) -> Tensors:
        """The state after a time step, from the tensors that the step saved.

        Zeros give the zero state.
        """
        raise NotImplementedError

    def operands(self, saved: Tensors, before: Tensors) -> Tensors:
        """Each kernel's operand, from the saved tensors and the state before."""
        return [before[-1]]

    def coefficients(self, saved: Tensors, before: Tensors) -> list[Any]:
        """The tensors of the forward pass that the backward pass needs."""
        raise NotImplementedError

    def backward(
        self, product: Callable, coefficients: list[Any], d_state: Tensors
    ) -> tuple[Tensors, list[Tensors]]:
        """Computes one time step backwards.

        Args:
            product: `product(k, dz)` gives the gradient of kernel k's operand.
            coefficients: the coefficients of this time step.
            d_state: the loss's gradient with respect to the state after the time step.

        Returns:
            The gradient with respect to the state before the time step, and each
            kernel's dz, in blocks.
        """
        raise NotImplementedError


class BasicRNNEquations(Equations):
    """h' = m · c with c = tanh(z); dz = dh' · m (1 - c²)."""

    gates_per_kernel = (1,)

    def forward(self, product, state):
        c = tf.tanh(product(0, state[0]))
        return self.state([c]), [c]

    def state(self, saved):
        return [self._masked(saved[0])]

    def coefficients(self, saved, before):
        return [[self._masked(1 - saved[0] * saved[0])]]

    def backward(self, product, coefficients, d_state):
        dz = self.layout.multiply(d_state, coefficients[0])
        return [product(0, dz)], [dz]


class LSTMEquations(Equations):
    """The gates i, j, f, o and the memory c as in `LSTMCell`.

    dc' += dh' · o (1 - tanh²(c'))
    dz = [dc', dc', dc', dh'] · [m j i(1-i), m i(1-j²), c f(1-f), tanh(c') o(1-o)]
    dc = dc' · f
    """

    gates_per_kernel = (4,)
    num_states = 2

    def __init__(self, cell, layout):
        super().__init__(cell, layout)
        self.saved_sizes = [*layout.block_sizes(4), 1]
        self.activations = [
            Activation(SIGMOID),
            Activation(TANH),
            Activation(SIGMOID, cell.forget_bias),
            Activation(SIGMOID),
        ]

    def forward(self, product, state):
        c, h = state
        blocks = self.layout.activate(product(0, h), self.activations)
        i, j, f, o = self.layout.split(blocks, 4)
        c = f * c + i * self._masked(j)
        return [c, o * tf.tanh(c)], [*blocks, c]

    def state(self, saved):
        *blocks, c = saved
        return [c, self.layout.split(blocks, 4)[3] * tf.tanh(c)]

    def coefficients(self, saved, before):
        *blocks, c = saved
        i, j, f, o = self.layout.split(blocks, 4)
        tanh_c = tf.tanh(c)
        of_gates = [
            self._masked(j) * i * (1 - i),
            self._masked(i) * (1 - j * j),
            before[0] * f * (1 - f),
            tanh_c * o * (1 - o),
        ]
        return [o * (1 - tanh_c * tanh_c), self.layout.join(of_gates), f]

    def backward(self, product, coefficients, d_state):
        of_output, of_gates, f = coefficients
        dc, dh = d_state
        dc = dc + dh * of_output
        dz = self.layout.multiply([dc, dc, dc, dh], of_gates)
        return [dc * f, product(0, dz)], [dz]


class GRUEquations(Equations):
    """The gates r, u and the candidate c as in `GRUCell`.

    dz_c = dh' · (1 - u) m (1 - c²)
    d(r·h) = dz_c W_cᵀ
    dz_ru = [d(r·h), dh'] · [h r(1-r), (h - m c) u(1-u)]
    dh = dh' · u + d(r·h) · r + dz_ru W_gᵀ
    """

    gates_per_kernel = (2, 1)

    def __init__(self, cell, layout):
        super().__init__(cell, layout)
        self.saved_sizes = [*layout.block_sizes(2), 1, 1]
        self.activations = [Activation(SIGMOID), Activation(SIGMOID)]

    def forward(self, product, state):
        h = state[0]
        blocks = self.layout.activate(product(0, h), self.activations)
        r, u = self.layout.split(blocks, 2)
        c = tf.tanh(product(1, r * h))
        masked = self._masked(c)
        h = masked + u * (h - masked)
        return [h], [*blocks, c, h]

    def state(self, saved):
        return [saved[-1]]

    def operands(self, saved, before):
        *blocks, _, _ = saved
        return [before[0], self.layout.split(blocks, 2)[0] * before[0]]

    def coefficients(self, saved, before):
        *blocks, c, _ = saved
        r, u = self.layout.split(blocks, 2)
        h = before[0]
        of_gates = [h * r * (1 - r), (h - self._masked(c)) * u * (1 - u)]
        of_candidate = self._masked(1 - u) * (1 - c * c)
        return [[of_candidate], self.layout.join(of_gates), r, u]

    def backward(self, product, coefficients, d_state):
        of_candidate, of_gates, r, u = coefficients
        dh = d_state[0]
        dz_candidate = self.layout.multiply([dh], of_candidate)
        d_reset = product(1, dz_candidate)
        dz_gates = self.layout.multiply([d_reset, dh], of_gates)
        dh = dh * u + d_reset * r + product(0, dz_gates)
        return [dh], [dz_gates, dz_candidate]


EQUATIONS = {
    BasicRNNCell: BasicRNNEquations,
    LSTMCell: LSTMEquations,
    GRUCell: GRUEquations,
}
