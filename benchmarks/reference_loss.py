"""The first batch's loss, computed plainly by NumPy in float64."""

import numpy as np


def reference_loss(task, resets_after=False):
    """Mean softmax cross-entropy of the first batch.

    Args:
        task: what run.py writes for the peers.
        resets_after: the GRU's reset gate acts behind the product with the state.

    Returns:
        Nats per example.
    """
    names = sorted(name for name in task if name.startswith("weight"))
    weights = [task[name].astype(np.float64) for name in names]
    inputs = task["sequences"][0].astype(np.float64) / 255
    labels = task["labels"][0]
    *cell, kernel, bias = weights
    step = {"rnn": rnn, "lstm": lstm, "gru": gru_after if resets_after else gru}
    state = [np.zeros([len(labels), len(kernel)])] * 2
    for x in inputs.swapaxes(0, 1):
        state = step[task["cell"]](cell, state, x)
    logits = state[-1] @ kernel + bias
    largest = logits.max(1)
    log_sum = np.log(np.exp(logits - largest[:, None]).sum(1)) + largest
    return float(np.mean(log_sum - logits[np.arange(len(labels)), labels]))


def sigmoid(z):
    """The logistic function."""
    return 1 / (1 + np.exp(-z))


def affine(x, h, kernel, bias):
    """The pre-activations of a kernel."""
    return np.concatenate([x, h], 1) @ kernel + bias


def rnn(weights, state, x):
    """One time step of the BasicRNN."""
    return [np.tanh(affine(x, state[-1], *weights))]


def lstm(weights, state, x):
    """One time step of the LSTM, with a forget bias of 1."""
    c, h = state
    i, j, f, o = np.split(affine(x, h, *weights), 4, 1)
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j)
    return [c, sigmoid(o) * np.tanh(c)]


def gru(weights, state, x):
    """One time step of TF1's GRU."""
    h = state[-1]
    r, u = np.split(sigmoid(affine(x, h, *weights[:2])), 2, 1)
    c = np.tanh(affine(x, r * h, *weights[2:]))
    return [u * h + (1 - u) * c]


def gru_after(weights, state, x):
    """One time step of the GRU whose reset gate scales the product."""
    h = state[-1]
    r, u = np.split(sigmoid(affine(x, h, *weights[:2])), 2, 1)
    kernel, bias = weights[2:]
    size = x.shape[1]
    c = np.tanh(x @ kernel[:size] + bias + r * (h @ kernel[size:]))
    return [u * h + (1 - u) * c]
