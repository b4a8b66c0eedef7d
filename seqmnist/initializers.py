"""Initial values of a cell's variables, beside those of TF1.

Each is an initializer as `tf.get_variable` takes it, with a `seed` that the graph sets;
see `classifier.seeded_graph`.
"""

from __future__ import annotations

from typing import Any

from seqmnist import tf1 as tf

BIAS_INITS = ("default", "chrono", "uniform")
RECURRENT_INITS = ("glorot", "orthogonal", "identity")


class Kernel:
    """A cell's kernel, whose rows for the state have a start of their own.

    The rows for the inputs are Glorot-uniform, with the limit of the whole kernel, as
    all of it is in TF1 (Glorot and Bengio, "Understanding the difficulty of training
    deep feedforward neural networks", AISTATS 2010, equation 16). The rows for the
    state are a square matrix for each gate:

    -   "orthogonal": random with orthonormal rows, so that it keeps the length of what
        it is multiplied with (Saxe, McClelland and Ganguli, arXiv:1312.6120);
    -   "identity": ones on the diagonal (Le, Jaitly and Hinton, arXiv:1504.00941).

    Args:
        num_units: of the cell.
        recurrent_init: "orthogonal" or "identity".
        seed: of the random numbers.
    """

    def __init__(
        self, num_units: int, recurrent_init: str, seed: int | None = None
    ) -> None:
        self.num_units = num_units
        self.recurrent_init = recurrent_init
        self.seed = seed

    def __call__(
        self, shape: Any, dtype: Any = None, partition_info: Any = None
    ) -> Any:
        """Returns a tensor `[input_size + num_units, num_gates * num_units]`.

        Args:
            shape: that shape.
            dtype: a floating type; float32 unless told.
            partition_info: not used; `tf.get_variable` may give it.
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
        """The rows for the state and the columns of one gate."""
        shape = [self.num_units, self.num_units]
        if self.recurrent_init == "identity":
            return tf.eye(self.num_units, dtype=dtype)
        seed = None if self.seed is None else self.seed + 1 + gate
        return tf.orthogonal_initializer(seed=seed)(shape, dtype)


class MemoryBias:
    """Biases by which each unit keeps its state for another length of time.

    A unit whose gate keeps the share σ(b) of its state at each time step, b its bias,
    forgets within some 1 / (1 - σ(b)) time steps.

    -   "chrono": b = log(U[1, time_steps - 1]), so that those times are spread evenly
        over the sequence (Tallec and Ollivier, arXiv:1804.11188, equation 16);
    -   "uniform": σ(b) = U[1 / num_units, 1 - 1 / num_units] (Gu et al.,
        arXiv:1910.09890, "uniform gate initialization"); of a single unit 1/2.

    Args:
        bias_init: "chrono" or "uniform".
        time_steps: length of the sequences.
        to_gates: takes b, float32 `[num_units]`; returns the biases of all gates, as
            the cell orders them.
        num_units: of the cell.
        seed: of the random numbers.
    """

    def __init__(
        self,
        bias_init: str,
        time_steps: int,
        num_units: int,
        to_gates: Any,
        seed: int | None = None,
    ) -> None:
        self.bias_init = bias_init
        self.time_steps = time_steps
        self.num_units = num_units
        self.to_gates = to_gates
        self.seed = seed

    def __call__(
        self, shape: Any, dtype: Any = None, partition_info: Any = None
    ) -> Any:
        """Returns a tensor of the biases of all gates, `[num_gates * num_units]`.

        Args:
            shape: that shape.
            dtype: a floating type; float32 unless told.
            partition_info: not used; `tf.get_variable` may give it.
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
