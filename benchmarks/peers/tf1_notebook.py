"""Genuine TF 1.15.5 with the notebooks' own graphs.

Rows: dynamic_rnn for the BasicRNN, static_rnn for the LSTMs. Pixels: static_rnn over
784 time steps, whose gradient graph takes minutes to build.
"""

import tensorflow.compat.v1 as tf
from tf1_graph import GraphPeer

NAME = "TF 1.15.5 notebook"


class Peer(GraphPeer):
    """Trains on the task's batches in turn."""

    def recurrence(self, cell, inputs):
        if self.task.cell == "rnn":
            outputs, _ = tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)
            return outputs[:, -1]
        outputs, _ = tf.nn.static_rnn(
            cell, tf.unstack(inputs, axis=1), dtype=tf.float32
        )
        return outputs[-1]
