"""Initial values of a cell's variables that TF1 does not have.

Each class is an initializer for `tf.get_variable`, with a `seed` that the graph sets;
see `classifier.seeded_graph`.
"""

from __future__ import annotations

from typing import Callable, Sequence

from seqmnist import tf1 as tf

BIAS_INITS = ("default", "chrono", "uniform")
RECURRENT_INITS = ("glorot", "orthogonal", "identity")


class Kernel:
    """Initializes a cell's kernel, with a square matrix per gate for the state.

    The rows for the inputs are Glorot-uniform with the limit of the whole kernel, as in
    TF1 (Glorot and Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", AISTATS 2010, equation 16). The rows for the state are a square
    matrix for each gate:

    -   "orthogonal": random with orthonormal rows, so a product with the matrix keeps
        a vector's length (Saxe, McClelland and Ganguli, arXiv:1312.6120);
    -   "identity": ones on the diagonal (Le, Jaitly and Hinton, arXiv:1504.00941).

    Args:
        num_units: units of the cell.
        recurrent_init: "orthogonal" or "identity".
        seed: seed of the random numbers.
    """

    def __init__(
        self, num_units: int, recurrent_init: str, seed: int | None = None
    ) -> None:
        self.num_units = num_units
        self.recurrent_init = recurrent_init
        self.seed = seed

    def __call__(
        self,
        shape: Sequence[int],
        dtype: tf.DType | None = None,
        partition_info: object = None,
    ) -> tf.Tensor:
        """Makes the initial kernel.

        Args:
            shape: `[input_size + num_units, num_gates * num_units]`.
            dtype: a floating type; `None` for float32.
            partition_info: ignored; `tf.get_variable` may pass it.

        Returns:
            A tensor of this shape and dtype.
        """
        dtype = dtype or tf.float32
        num_rows, num_columns = (int(size) for size in shape)
        glorot = tf.glorot_uniform_initializer(self.seed)(shape, dtype)
        gates = [
            self._square(gate, dtype) for gate in range(num_columns // self.num_units)
        ]
        of_inputs = glorot[: num_rows - self.num_units]
        return tf.concat([of_inputs, tf.concat(gates, 1)], 0)

    def _square(self, gate, dtype):
        """The square block of one gate: its columns, in the rows for the state."""
        shape = [self.num_units, self.num_units]
        if self.recurrent_init == "identity":
            return tf.eye(self.num_units, dtype=dtype)
        seed = None if self.seed is None else self.seed + 1 + gate
        return tf.orthogonal_initializer(seed=seed)(shape, dtype)


class MemoryBias:
    """Initializes gate biases; the units keep their state for different times.

    A gate with bias b keeps the share σ(b) of a unit's state at each time step. The
    unit forgets within about 1 / (1 - σ(b)) time steps.

    -   "chrono": b = log(U[1, time_steps - 1]), which spreads these times evenly over
        the sequence (Tallec and Ollivier, arXiv:1804.11188, equation 16);
    -   "uniform": σ(b) = U[1 / num_units, 1 - 1 / num_units] (Gu et al.,
        arXiv:1910.09890, "uniform gate initialization"); 1/2 for a single unit.

    Args:
        bias_init: "chrono" or "uniform".
        time_steps: length of the sequences.
        num_units: units of the cell.
        to_gates: takes b, float32 `[num_units]`; returns the biases of all gates, in
            the cell's order.
        seed: seed of the random numbers.
    """

    def __init__(
        self,
        bias_init: str,
        time_steps: int,
        num_units: int,
        to_gates: Callable[[tf.Tensor], tf.Tensor],
        seed: int | None = None,
    ) -> None:
        self.bias_init = bias_init
        self.time_steps = time_steps
        self.num_units = num_units
        self.to_gates = to_gates
        self.seed = seed

    def __call__(
        self,
        shape: Sequence[int],
        dtype: tf.DType | None = None,
        partition_info: object = None,
    ) -> tf.Tensor:
        """Makes the initial biases of all gates.

        Args:
            shape: `[num_gates * num_units]`.
            dtype: a floating type; `None` for float32.
            partition_info: ignored; `tf.get_variable` may pass it.

        Returns:
            A tensor of this shape and dtype.
        """
        if self.bias_init == "chrono":
            lower, upper = 1.0, max(2.0, self.time_steps - 1.0)
        else:
            lower = min(0.5, 1 / self.num_units)
            upper = 1 - lower
        random = tf.random_uniform(
            [self.num_units], lower, upper, dtype or tf.float32, self.seed
        )
        if self.bias_init == "uniform":
            random = random / (1 - random)
        return self.to_gates(tf.log(random))
