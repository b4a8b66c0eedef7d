"""What is timed: the notebooks' cells, sizes and batches, and how time grows."""

from typing import NamedTuple, Optional


class Workload(NamedTuple):
    """A network and the batch it is trained with.

    Attributes:
        name: how tables call it.
        title: the same in words.
        script: the training script's module.
        preset: the script's preset with these sizes.
        cell: `rnn`, `lstm` or `gru`.
        units: units of the cell.
        view: `rows` or `pixels`.
        batch_size: images per step.
        steps: steps timed in one turn, a second or two of work.
        time_steps: length of the sequences, if not the view's.
    """

    name: str
    title: str
    script: str
    preset: str
    cell: str
    units: int
    view: str
    batch_size: int
    steps: int
    time_steps: Optional[int] = None


WORKLOADS = [
    Workload(
        "rnn",
        "BasicRNN 150, rows, batch 150",
        "train_rnn",
        "basic-rnn-tensorboard",
        "rnn",
        150,
        "rows",
        150,
        100,
    ),
    Workload(
        "lstm-50",
        "LSTM 50, rows, batch 10",
        "train_lstm",
        "lstm-50",
        "lstm",
        50,
        "rows",
        10,
        500,
    ),
    Workload(
        "lstm-128",
        "LSTM 128, rows, batch 100",
        "train_lstm",
        "lstm-128-prediction",
        "lstm",
        128,
        "rows",
        100,
        80,
    ),
    Workload(
        "gru",
        "GRU 64, 784 pixels, batch 512",
        "train_gru_pixel",
        "gru-pixels",
        "gru",
        64,
        "pixels",
        512,
        3,
    ),
]


def _pixels(units=64, batch_size=128, time_steps=784):
    """The pixel network in another size."""
    return Workload(
        f"gru-{units}-{batch_size}-{time_steps}",
        f"GRU {units}, {time_steps} pixels, batch {batch_size}",
        "train_gru_pixel",
        "gru-pixels",
        "gru",
        units,
        "pixels",
        batch_size,
        2,
        time_steps,
    )


# The pixel network at batch 128, with one size varied.
GROWTH = {
    "time steps": [_pixels(time_steps=n) for n in (98, 196, 392, 784, 1568, 3136)],
    "batch": [_pixels(batch_size=n) for n in (32, 64, 128, 256, 512, 1024)],
    "units": [_pixels(units=n) for n in (16, 32, 64, 128, 256)],
}
