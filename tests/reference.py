"""What genuine TF 1.15.5 computed for the notebooks' graphs (tf115_seed7.npz).

For each network the file holds initial weights, the first batch's gradients, the losses
of Adam's first steps, the weights after them and the logits of 200 test images. Pixels
were float32 / 255; batch i was training images [7000 + i B, 7000 + (i + 1) B) of the
55,000 behind the validation split, with B as below.
"""

from collections import namedtuple
from pathlib import Path

import numpy as np

import train_gru_pixel
import train_lstm
import train_rnn

FIRST_IMAGE = 7000
NUM_TEST = 200

Network = namedtuple("Network", "script preset batch_size names")
CELL = "rnn/{0}/kernel rnn/{0}/bias"
PIXELS = "rnn/internal/rnn/gru_cell/"

# names: this suite's variable -> the notebook's.
NETWORKS = {
    "rnn_rows": Network(
        train_rnn,
        "basic-rnn-tensorboard",
        150,
        {
            "rnn/basic_rnn_cell/kernel": "rnn/basic_rnn_cell/kernel",
            "rnn/basic_rnn_cell/bias": "rnn/basic_rnn_cell/bias",
            "dense/kernel": "dense/kernel",
            "dense/bias": "dense/bias",
        },
    ),
    "lstm50_rows": Network(
        train_lstm,
        "lstm-50",
        10,
        {
            "rnn/lstm_cell/kernel": "rnn/lstm_cell/kernel",
            "rnn/lstm_cell/bias": "rnn/lstm_cell/bias",
            "dense/kernel": "Variable",
            "dense/bias": "Variable_1",
        },
    ),
    "lstm128_rows": Network(
        train_lstm,
        "lstm-128-prediction",
        100,
        {
            "rnn/basic_lstm_cell/kernel": "rnn/basic_lstm_cell/kernel",
            "rnn/basic_lstm_cell/bias": "rnn/basic_lstm_cell/bias",
            "dense/kernel": "Variable",
            "dense/bias": "Variable_1",
        },
    ),
    "gru_pixels": Network(
        train_gru_pixel,
        "gru-pixels",
        64,
        {
            "rnn/gru_cell/gates/kernel": PIXELS + "gates/kernel",
            "rnn/gru_cell/gates/bias": PIXELS + "gates/bias",
            "rnn/gru_cell/candidate/kernel": PIXELS + "candidate/kernel",
            "rnn/gru_cell/candidate/bias": PIXELS + "candidate/bias",
            "dense/kernel": "rnn/output/w",
            "dense/bias": "rnn/output/b",
        },
    ),
}


def load(network):
    """The arrays of one network: `init/VARIABLE`, `losses`, ... by name."""
    with np.load(Path(__file__).with_name("tf115_seed7.npz")) as arrays:
        prefix = network + "/"
        return {
            name[len(prefix) :]: arrays[name]
            for name in arrays.files
            if name.startswith(prefix)
        }
