"""Reads MNIST digits pixel by pixel with a GRU, and classifies them.

Sequence  784 time steps of 1 pixel, in reading order
Cell      r, u = split(sigmoid([x, h] W_g + b_g), 2), 64 units
          c = tanh([x, r h] W_c + b_c)
          h' = u h + (1 - u) c                            (Cho et al. 2014)
Readout   dense layer on the state after the last pixel, softmax cross-entropy

    python train_gru_pixel.py --preset best      train to the highest accuracy
    python train_gru_pixel.py                    train as the notebook did, 10,000 steps
    python train_gru_pixel.py --view rows        train the same cell on rows: minutes
    python train_gru_pixel.py --resume RUN_DIR   continue a stopped run
    tensorboard --logdir logs                    watch the training

Test accuracy with --preset best: 0.9928 (mean of seeds 0 to 4) in 27 minutes on one
core. As the notebook: 0.8946 in one run (40 minutes), 0.3470 in another (78 minutes).
"""

import sys

from seqmnist import tf1 as tf
from seqmnist.cells import GRUCell, stack
from seqmnist.classifier import Outputs, Readout, mean_cross_entropy, scale_pixels
from seqmnist.cli.parser import parse
from seqmnist.data import mnist
from seqmnist.errors import one_line_errors
from seqmnist.noise import candidate_mask, dropout
from seqmnist.rnn import dynamic_rnn
from seqmnist.run.training import train_and_evaluate
from seqmnist.sequences import as_sequences

CELL_OPTIONS = {
    "recurrent_init": "glorot",
    "bias_init": "default",
    "coarse_part": 0.0,
}
DEFAULTS = {"view": "pixels", "units": 64, "cell_name": "gru_cell", **CELL_OPTIONS}
# With these settings every run learned, and early; results/ has the runs.
RECIPE = {
    "input_scale": "standard",
    "recurrent_init": "identity",
    "bias_init": "chrono",
    "batch_size": 128,
    "learning_rate": 0.02,
    "schedule": "cosine",
    "warmup_steps": 100,
    "max_grad_norm": 1.0,
    "weight_decay": 0.02,
}
BEST = {
    **RECIPE,
    "coarse_part": 0.5,
    "max_shift": 2,
    "max_slant": 0.5,
    "weight_decay": 0.1,
    "ema_decay": 0.9995,
    "epochs": 40,
}
PRESETS = {
    # Notebook 5.
    "gru-pixels": {
        "readout_init": "normal",
        "batch_size": 512,
        "steps": 10000,
        "report_every": "50steps",
        "evaluate_every": "500steps",
    },
    "best": BEST,
    "best-large": {
        **BEST,
        "max_stretch": 0.1,
        "max_bend": 1.0,
        "units": 128,
        "learning_rate": 0.01,
    },
    # A first look, in a minute or two.
    "quick": {
        **RECIPE,
        "coarse_part": 0.8,
        "learning_rate": 0.03,
        "ema_decay": 0.99,
        "epochs": 4,
        "evaluate_every": "2epochs",
        "report_every": "20steps",
    },
}


def network(images, config, noise):
    """Builds the network; training, evaluation and export trace this function.

    Args:
        images: uint8 `[batch_size, height, width]`, 0 to 255.
        config: the run's configuration; seqmnist/cli/options.py lists its options.
        noise: the `Noise` for dropout and the like in training, else `None`.
    """
    with tf.name_scope("view"):
        sequences = as_sequences(images, config.view, config.permute)
        inputs = scale_pixels(sequences, config.input_scale)
        # inputs       [batch_size, time_steps, input_size]
        _, time_steps, _ = inputs.shape.as_list()

    with tf.name_scope("cell"):
        rate = config.recurrent_dropout
        cells = [
            GRUCell(
                config.units,
                name=config.cell_name,
                recurrent_init=config.recurrent_init,
                bias_init=config.bias_init,
                time_steps=time_steps,
                candidate_mask=candidate_mask(images, config.units, rate, noise, layer),
                step_length=config.step_length,
            )
            for layer in range(config.layers)
        ]
        cell = stack(cells)
        # As in TF1; in compiled steps, the faster seqmnist/fast/recurrence.py.
        outputs, final_state = dynamic_rnn(cell, inputs, dtype=tf.float32)
        # outputs      [batch_size, time_steps, num_units]
        # final_state  [batch_size, num_units] per layer

    with tf.name_scope("readout"):
        readout = Readout(config.num_classes, config.readout_init, config.readout_bias)
        state = dropout(cell.last_output(final_state), config.dropout, noise)
        logits = readout(state)  # [batch_size, num_classes]
        logits_per_step = readout(outputs)  # [batch_size, time_steps, num_classes]

    return Outputs(inputs, logits, logits_per_step)


def loss(labels, outputs, config):
    """Computes the loss: float32 scalar, mean over the batch, nats per example."""
    return mean_cross_entropy(labels, outputs.logits, config.label_smoothing)


def optimizer(learning_rate):
    """Makes the `tf.train.Optimizer` that applies the gradients."""
    return tf.train.AdamOptimizer(learning_rate)


def train(argv=()):
    """Trains with these options, as on the command line; returns the `Result`."""
    config = parse(argv, "train_gru_pixel", __doc__, DEFAULTS, PRESETS)
    splits = mnist.load_splits(
        config.data_dir, config.validation_size, config.emnist_split, config.class_names
    )
    return train_and_evaluate(config, splits, network, loss, optimizer)


main = one_line_errors(train)  # returns the exit status

if __name__ == "__main__":
    sys.exit(main())
