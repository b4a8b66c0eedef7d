"""Keras 3: SimpleRNN, LSTM or GRU and Dense under Model.fit, on TensorFlow."""

import keras

NAME = "Keras 3 on TensorFlow"


class _FirstLoss(keras.callbacks.Callback):
    """Keeps the loss of the first batch."""

    first = None

    def on_train_batch_end(self, batch, logs=None):
        if self.first is None:
            self.first = float(logs["loss"])


class Peer:
    """Trains on the task's batches in turn."""

    def __init__(self, task):
        cells = {
            "rnn": lambda n: keras.layers.SimpleRNN(n),
            "lstm": lambda n: keras.layers.LSTM(n, unit_forget_bias=False),
            "gru": lambda n: keras.layers.GRU(n, reset_after=False),
        }
        layer = cells[task.cell](task.num_units)
        readout = keras.layers.Dense(10)
        shape = (task.time_steps, task.input_size)
        self.model = keras.Sequential([keras.Input(shape), layer, readout])
        self.model.compile(
            keras.optimizers.Adam(task.learning_rate),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        # Keras' order of the gates: LSTM i, f, j, o; GRU u, r, candidate.
        order = {"lstm": [0, 2, 1, 3], "gru": [1, 0, 2]}.get(task.cell, [0])
        layer.set_weights(task.keras_weights(order))
        readout.set_weights(task.readout)
        self.task = task
        self.examples = {}

    def train(self, num_steps):
        """Does `num_steps` updates; returns the first one's loss."""
        if num_steps not in self.examples:
            self.examples[num_steps] = self.task.examples(num_steps)
        inputs, labels = self.examples[num_steps]
        first_loss = _FirstLoss()
        self.model.fit(
            inputs,
            labels,
            batch_size=self.task.batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[first_loss],
        )
        return first_loss.first

    def logits(self, inputs):
        """The logits of all images, `[num_images, 10]`."""
        return self.model.predict(inputs, batch_size=1000, verbose=0)
