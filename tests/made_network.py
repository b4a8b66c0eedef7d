"""A graph with a few variables, in place of a network, whose checkpoints are quick."""

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.run.checkpoints import Variables


class Network:
    """A graph with two variables and a step; `value` fills them all."""

    def __init__(self, units=3, dtype=tf.float32):
        with tf.Graph().as_default() as graph:
            tf.get_variable("kernel", [2, units])
            tf.get_variable("bias", [units], dtype)
            tf.train.get_or_create_global_step()
            self.session = tf.Session(graph=graph)
            self.variables = Variables(graph, self.session)
            self.all = tf.global_variables()

    def fill(self, value):
        for variable in self.all:
            dtype = variable.dtype.base_dtype.as_numpy_dtype
            self.load(variable, np.full(variable.shape.as_list(), value, dtype))
        return self

    def load(self, variable, values):
        with self.session.graph.as_default():
            variable.load(values, self.session)

    def values(self):
        return [np.unique(value).tolist() for value in self.session.run(self.all)]
