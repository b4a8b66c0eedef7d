"""The memory layout of a recurrence's tensors, and the gates' activations in it.

    batch-major  [batch_size, num_units], as in cells.py
    units-major  [num_units, batch_size]

The pre-activations of a kernel's gates, and their gradients, are a list of tensors, the
blocks: one block per gate, or a single one with all gates side by side along the units.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

from seqmnist import tf1 as tf

Tensors = Sequence["tf.Tensor"]


class Activation(NamedTuple):
    """A gate's function of its pre-activation z: `a · tanh(a (z + shift)) + 1 - a`.

    The function is tanh for a = 1, and the logistic function for a = ½.

    Attributes:
        amplitude: a, see `TANH` and `SIGMOID`.
        shift: a number to add to z.
    """

    amplitude: float
    shift: float = 0.0


TANH, SIGMOID = 1.0, 0.5


class Layout:
    """The layout of one time step.

    Args:
        num_units: H, units of the cell.
        batch_size: B, at least 1.
        dtype: the dtype of all tensors, a floating type.
        is_units_major: whether units come before the batch.
        has_blocks: whether each gate is a block of its own. Separate blocks are faster
            for large tensors, since XLA joins and splits these slowly. One block is
            faster for small tensors, since it needs fewer operations.

    Attributes:
        axis: the axis of the units, counted from the end.
    """

    def __init__(
        self,
        num_units: int,
        batch_size: int,
        dtype: tf.DType,
        is_units_major: bool,
        has_blocks: bool,
    ) -> None:
        self.num_units = num_units
        self.batch_size = batch_size
        self.dtype = dtype
        self.is_units_major = is_units_major
        self.has_blocks = has_blocks
        self.axis = -2 if is_units_major else -1

    def shape(self, num_gates: int = 1) -> list[int]:
        """The shape of a block of `num_gates` gates."""
        shape = [self.batch_size, num_gates * self.num_units]
        return shape[::-1] if self.is_units_major else shape

    def pack(self, units: tf.Tensor) -> tf.Tensor:
        """Turns `[B, H]` into the layout."""
        return tf.transpose(units) if self.is_units_major else units

    def unpack(self, units: tf.Tensor) -> tf.Tensor:
        """Turns a tensor of the layout into `[B, H]`."""
        return self.pack(units)

    def pack_sequence(self, sequence: tf.Tensor) -> tf.Tensor:
        """Turns `[B, T, N]` into time steps of the layout: `[T, B, N]`, `[T, N, B]`."""
        return tf.transpose(sequence, [1, 2, 0] if self.is_units_major else [1, 0, 2])

    def unpack_sequence(self, sequence: tf.Tensor) -> tf.Tensor:
        """Turns time steps of the layout into `[B, T, N]`."""
        return tf.transpose(sequence, [2, 0, 1] if self.is_units_major else [1, 0, 2])

    def block_sizes(self, num_gates: int) -> list[int]:
        """The number of gates in each block of a kernel with `num_gates` gates."""
        return [1] * num_gates if self.has_blocks else [num_gates]

    def join(self, gates: Tensors) -> Tensors:
        """Turns gates into blocks."""
        if self.has_blocks or len(gates) == 1:
            return gates
        return [tf.concat(gates, self.axis)]

    def split(self, blocks: Tensors, num_gates: int) -> Tensors:
        """Turns blocks into gates, the reverse of `join`."""
        return blocks if self.has_blocks else tf.split(blocks[0], num_gates, self.axis)

    def multiply(self, gates: Tensors, blocks: Tensors) -> Tensors:
        """Multiplies each gate with its part of the blocks; returns blocks."""
        return [gate * block for gate, block in zip(self.join(gates), blocks)]

    def activate(self, z: tf.Tensor, activations: Sequence[Activation]) -> Tensors:
        """Computes the activations of a kernel's gates.

        Args:
            z: the pre-activations of all gates, side by side along the units.
            activations: one per gate.

        Returns:
            Blocks of the activations.
        """
        if self.has_blocks:
            gates = tf.split(z, len(activations), self.axis)
            return [_activate(gate, *a) for gate, a in zip(gates, activations)]
        amplitude = self._per_unit([a.amplitude for a in activations])
        shift = self._per_unit([a.shift for a in activations])
        return [_activate(z, amplitude, shift)]

    def _per_unit(self, values):
        """A constant that repeats each gate's value for all units of the gate."""
        constant = [value for value in values for _ in range(self.num_units)]
        shape = [-1, 1] if self.is_units_major else [1, -1]
        return tf.reshape(tf.constant(constant, self.dtype), shape)


def _activate(z, amplitude, shift):
    """See `Activation`."""
    return amplitude * tf.tanh(amplitude * (z + shift)) + (1 - amplitude)
