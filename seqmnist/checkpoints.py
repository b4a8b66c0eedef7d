"""Starting weights from a checkpoint, the notebooks' own ones included."""

import os
import re

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.errors import UserError

# Where the notebooks' code, run in TF 1.15, leaves the readout: tf.layers.dense; two
# bare tf.Variable; tf.get_variable in the scope rnn/output.
READOUT_NAMES = (
    {"dense/kernel": "dense/kernel", "dense/bias": "dense/bias"},
    {"dense/kernel": "Variable", "dense/bias": "Variable_1"},
    {"dense/kernel": "rnn/output/w", "dense/bias": "rnn/output/b"},
)

# The scopes TF1's cells write under; LSTMCell and BasicLSTMCell share their equations.
CELL_NAMES = (
    ("basic_rnn_cell",),
    ("lstm_cell", "basic_lstm_cell"),
    ("gru_cell",),
)

# What Adam adds to a checkpoint; never a weight.
OPTIMIZER_NAMES = re.compile(r"/Adam(_\d+)?$|(^|/)beta[12]_power$")


def load_weights(path, variables, cell_name, session):
    """Sets a session's weights to those of a checkpoint.

    Cell variables are found by the end of their name, from the cell's scope on
    (`rnn/internal/rnn/gru_cell/gates/kernel` serves `rnn/gru_cell/gates/kernel`),
    under `cell_name` or TF1's name of the same cell; the readout under the names the
    notebooks gave it. Optimizer slots and the step are not read: training starts anew
    from the weights.

    Args:
        path: a checkpoint's prefix, one of its files, or a folder with the file
            `checkpoint`, which names the latest.
        variables: the `tf.Variable`s to set.
        cell_name: the scope of the cell's variables, as `--cell-name` sets it.
        session: where to set them; they need not be initialized.

    Returns:
        The checkpoint's prefix.

    Raises:
        UserError: there is no readable checkpoint; a variable is not in it, or there
            more than once; or it has another shape.
    """
    prefix, reader = _open(path)
    shapes = reader.get_variable_to_shape_map()
    weight_names = sorted(n for n in shapes if not OPTIMIZER_NAMES.search(n))
    names = {}
    for variable in variables:
        name = variable.op.name
        candidates = _candidates(name, weight_names, cell_name)
        if len(candidates) != 1:
            found = " and ".join(candidates) if candidates else "nothing"
            raise UserError(
                f"--init-checkpoint {path}: looking for {name}, found {found}; "
                f"the checkpoint holds {', '.join(weight_names)}"
            )
        names[variable] = candidates[0]
    values = {v: _value(reader, names[v], v, path) for v in names}
    for variable, value in values.items():
        variable.load(value, session)
    return prefix


def _open(path):
    """The prefix and a reader of the checkpoint that a user's path means."""
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
    if os.path.isdir(path):
        prefix = tf.train.latest_checkpoint(path)
        if prefix is None:
            raise UserError(
                f"--init-checkpoint {path}: the folder names no checkpoint "
                "(no file `checkpoint`); give a checkpoint's prefix, like model.ckpt-10"
            )
    if not tf.train.checkpoint_exists(prefix):
        raise UserError(
            f"--init-checkpoint {path}: no such checkpoint; expected the prefix of a "
            "file PREFIX.index, like model.ckpt-10"
        )
    try:
        return prefix, tf.train.NewCheckpointReader(prefix)
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--init-checkpoint {path}: cannot be read ({reason})")


def _candidates(name, weight_names, cell_name):
    """The names in a checkpoint that may hold the variable `name`."""
    if name in weight_names:
        return [name]
    for readout in READOUT_NAMES:
        if readout.get(name) in weight_names:
            return [readout[name]]
    scope, _, rest = name.partition(f"{cell_name}/")
    aliases = {cell_name}
    for group in CELL_NAMES:
        if cell_name in group:
            aliases.update(group)
    endings = tuple(f"/{alias}/{rest}" for alias in aliases)
    return [n for n in weight_names if ("/" + n).endswith(endings) and rest]


def _value(reader, name, variable, path):
    """The value for a variable, checked against its shape."""
    value = reader.get_tensor(name)
    shape = tuple(variable.shape.as_list())
    is_bias_per_example = variable.op.name == "dense/bias" and value.ndim == 2
    if is_bias_per_example and value.shape[1] == 1:
        # Notebook 3's bias, [10, 1], adds one number to all logits of an example. The
        # softmax does not see it, so its gradient is zero, and zeros predict the same.
        return np.zeros(shape, value.dtype)
    if value.shape != shape:
        raise UserError(
            f"--init-checkpoint {path}: {name} has shape {list(value.shape)}, "
            f"expected {list(shape)} for {variable.op.name}; "
            "check --units, --view and the script against the checkpoint's network"
        )
    return value
