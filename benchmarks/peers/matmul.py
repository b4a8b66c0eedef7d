"""Matrix products by NumPy's BLAS on all cores: the floor under every step.

One "step" is one product of two square matrices; run.py turns its time into the time
that a step's products would take at the same rate.
"""

import numpy as np

NAME = "matrix product"
SIZE = 2048
OPERATIONS = 2 * SIZE**3


class Peer:
    """Multiplies."""

    def __init__(self, task):
        self.left, self.right = (
            np.random.RandomState(0).randn(2, SIZE, SIZE).astype("f")
        )

    def train(self, num_steps):
        """Does `num_steps` products."""
        for _ in range(num_steps):
            self.left @ self.right
