"""What the two peers that build a TF1 graph with TensorFlow's own cells share."""

import tensorflow.compat.v1 as tf

tf.disable_eager_execution()
tf.logging.set_verbosity(tf.logging.ERROR)


class GraphPeer:
    """A graph with placeholders, one Session.run per update."""

    def __init__(self, task):
        self.task = task
        self.inputs = tf.placeholder(
            tf.float32, [None, task.time_steps, task.input_size]
        )
        self.labels = tf.placeholder(tf.int32, [None])
        cells = {
            "rnn": tf.nn.rnn_cell.BasicRNNCell,
            "lstm": tf.nn.rnn_cell.LSTMCell,
            "gru": tf.nn.rnn_cell.GRUCell,
        }
        with tf.variable_scope("rnn"):
            state = self.recurrence(cells[task.cell](task.num_units), self.inputs)
        readout = [
            tf.get_variable(name, array.shape)
            for name, array in zip(("kernel", "bias"), task.readout)
        ]
        self.all_logits = logits = tf.matmul(state, readout[0]) + readout[1]
        self.loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=self.labels, logits=logits
            )
        )
        self.train_op = tf.train.AdamOptimizer(task.learning_rate).minimize(self.loss)
        self.session = tf.Session()
        self.session.run(tf.global_variables_initializer())
        for variable, value in zip(tf.trainable_variables(), task.weights):
            variable.load(value, self.session)

    def logits(self, inputs):
        """The logits of all images, `[num_images, 10]`."""
        return self.session.run(self.all_logits, {self.inputs: inputs})

    def recurrence(self, cell, inputs):
        """The output after the last time step, `[batch_size, num_units]`."""
        raise NotImplementedError

    def train(self, num_steps):
        """Does `num_steps` updates; returns the first one's loss."""
        for step in range(num_steps):
            inputs, labels = self.task.batches[step % len(self.task.batches)]
            _, loss = self.session.run(
                [self.train_op, self.loss], {self.inputs: inputs, self.labels: labels}
            )
            if step == 0:
                first = loss
        return float(first)
