"""Runs one peer in a process of its own: sets it up, then trains when told to.

    python benchmarks/peer.py MODULE TASK.npz

prints one line of JSON after the first update, then one for each line on stdin that
holds a number of updates.

    python benchmarks/peer.py MODULE TASK.npz --whole

trains on each batch of the task once, and prints the accuracy on its test images. Runs
in the peer's own environment, Python 3.7 included.
"""

import importlib
import json
import os
import sys
import time

import numpy as np


class Task:
    """What to train, as run.py wrote it.

    Attributes:
        script, preset: where the suite has this task.
        cell, num_units, time_steps, input_size, batch_size, learning_rate: the sizes.
        batches: pairs of float32 `[batch_size, time_steps, input_size]` in [0, 1] and
            int32 `[batch_size]`.
        test: such a pair of all test images, or `None`.
        weights: the suite's initial weights, in TF1's order and shapes.
        readout: the last two of them, kernel and bias.
    """

    def __init__(self, path):
        with np.load(path) as arrays:
            self.cell = str(arrays["cell"])
            self.script = str(arrays["script"])
            self.preset = str(arrays["preset"])
            self.learning_rate = float(arrays["learning_rate"])
            inputs, labels = self._examples_of(arrays, "")
            self.test = None
            if "test_labels" in arrays.files:
                self.test = self._examples_of(arrays, "test_")
            count = sum(name.startswith("weight") for name in arrays.files)
            self.weights = [arrays["weight" + str(i)] for i in range(count)]
        self.batches = list(zip(inputs, labels))
        self.batch_size, self.time_steps, self.input_size = inputs.shape[1:]
        self.readout = self.weights[-2:]
        self.num_units = len(self.readout[0])

    @staticmethod
    def _examples_of(arrays, prefix):
        """The sequences, in [0, 1], and the labels with this prefix."""
        inputs = arrays[prefix + "sequences"].astype(np.float32) / 255
        return inputs, arrays[prefix + "labels"].astype(np.int32)

    def gates(self):
        """Kernel `[input_size + num_units, num_units]` and bias of every gate.

        LSTM i, j, f, o, its forget bias of 1 within the bias; GRU r, u, candidate.
        """
        cell = self.weights[:-2]
        kernels = np.concatenate(cell[::2], 1)
        biases = np.concatenate(cell[1::2])
        count = len(biases) // self.num_units
        kernels, biases = np.split(kernels, count, 1), np.split(biases, count)
        if self.cell == "lstm":
            biases[2] = biases[2] + np.float32(1)
        return kernels, biases

    def keras_weights(self, order):
        """Input kernel, recurrent kernel and bias with the gates in this order."""
        kernels, biases = self.gates()
        kernel = np.concatenate([kernels[i] for i in order], 1)
        bias = np.concatenate([biases[i] for i in order])
        return [kernel[: self.input_size], kernel[self.input_size :], bias]

    def examples(self, num_steps):
        """Inputs and labels of `num_steps` batches in a row."""
        chosen = [self.batches[step % len(self.batches)] for step in range(num_steps)]
        return tuple(np.concatenate(arrays) for arrays in zip(*chosen))


def peak_megabytes():
    """The largest resident size so far; unlike getrusage's not the parent's."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return None


def main():
    """Sets the peer up and trains it."""
    module, path = sys.argv[1:3]
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a framework prints does not mix with the replies
    sys.path.insert(
        0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
    )

    def reply(**values):
        values["peak_megabytes"] = peak_megabytes()
        replies.write(json.dumps(values) + "\n")
        replies.flush()

    started = time.perf_counter()
    imported = importlib.import_module(module)
    import_seconds = time.perf_counter() - started
    started = time.perf_counter()
    task = Task(path)
    peer = imported.Peer(task)
    if sys.argv[3:]:
        peer.train(len(task.batches))
        inputs, labels = task.test
        accuracy = float(np.mean(np.asarray(peer.logits(inputs)).argmax(1) == labels))
        return reply(name=imported.NAME, accuracy=accuracy)
    loss = peer.train(1)
    reply(
        name=imported.NAME,
        loss=loss,
        import_seconds=import_seconds,
        first_step_seconds=time.perf_counter() - started,
    )
    for line in sys.stdin:
        started = time.perf_counter()
        peer.train(int(line))
        reply(milliseconds=1e3 * (time.perf_counter() - started) / int(line))


if __name__ == "__main__":
    main()
