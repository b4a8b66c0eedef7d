"""TF 2.21's compat.v1 dynamic_rnn with the legacy cells, which tf_keras still has."""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow.compat.v1 as tf
from tf1_graph import GraphPeer

NAME = "TF 2.21 dynamic_rnn"


class Peer(GraphPeer):
    """Trains on the task's batches in turn."""

    def recurrence(self, cell, inputs):
        outputs, _ = tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)
        return outputs[:, -1]
