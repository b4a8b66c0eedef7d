"""Loads starting weights from a checkpoint, including the notebooks' checkpoints."""

from __future__ import annotations

import contextlib
import ntpath
import os
import re
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.classifier import Classifier
from seqmnist.errors import UserError, differences
from seqmnist.optimizer import AVERAGE
from seqmnist.record.folder import read_config
from seqmnist.run import checkpoints

# Names of the readout in checkpoints of the notebooks' code in TF 1.15, which uses
# tf.layers.dense; two bare tf.Variable; tf.get_variable in the scope rnn/output.
READOUT_NAMES = (
    {"dense/kernel": "dense/kernel", "dense/bias": "dense/bias"},
    {"dense/kernel": "Variable", "dense/bias": "Variable_1"},
    {"dense/kernel": "rnn/output/w", "dense/bias": "rnn/output/b"},
)

# The variable scopes of TF1's cells; LSTMCell and BasicLSTMCell have equal equations.
CELL_NAMES = ("basic_rnn_cell", "lstm_cell", "basic_lstm_cell", "gru_cell")

# Names of cells' variables before TF 1.2, and what they are called since. In TF 1.0 and
# 1.1, kernels were "weights"; in TF 0.12, classes gave the scopes their names.
OLD_NAMES = (
    (r"\bRNN/", "rnn/"),
    (r"\bMultiRNNCell/Cell(\d+)/", r"multi_rnn_cell/cell_\1/"),
    (r"\bBasicRNNCell/", "basic_rnn_cell/"),
    (r"\bBasicLSTMCell/", "basic_lstm_cell/"),
    (r"\bLSTMCell/", "lstm_cell/"),
    (r"\bGRUCell/", "gru_cell/"),
    (r"(_cell/(?:.*/)?)Gates/", r"\1gates/"),
    (r"(_cell/(?:.*/)?)Candidate/", r"\1candidate/"),
    (r"(_cell/(?:.*/)?)(?:Linear/Matrix|W_0|weights)$", r"\1kernel"),
    (r"(_cell/(?:.*/)?)(?:Linear/Bias|B|biases)$", r"\1bias"),
)

# Options that change what weights of the same shapes compute.
MEANING_OPTIONS = ("view", "permute", "input_scale", "forget_bias")

# Names of the slots that Adam adds to a checkpoint for each weight.
SLOT_NAMES = re.compile(r"/Adam(_\d+)?$")


def check_path(path: str) -> None:
    """Checks, without TensorFlow, that a checkpoint's files exist.

    Args:
        path: as for `load_weights`.

    Raises:
        UserError: the files do not exist.
    """
    if os.path.isdir(path):
        _folder(path)
    else:
        _prefix(path)


def load_weights(
    path: str, classifier: Classifier, cell_name: str, session: tf.Session
) -> None:
    """Sets a session's weights to those of a checkpoint.

    Cell variables are found by the end of their name, from the cell's scope on, under
    `cell_name` or the name of one of TF1's cells: the saved
    `rnn/internal/rnn/gru_cell/gates/kernel` matches `rnn/gru_cell/gates/kernel`. The
    names of TF 0.12 to 1.1 are known too. The readout is found under its names in the
    notebooks, or as the only pair outside of the cell that has its shapes. A running
    average is read in place of its weight. Optimizer slots and the step are not read:
    the training starts at step 0 from the weights.

    Prints a line on stderr about weights that are not read, and about options that are
    others than those of the run that saved the weights.

    Args:
        path: a checkpoint's prefix, one of its files, a folder with the file
            `checkpoint`, which names the latest, or a run's folder.
        classifier: the `Classifier` whose weights, and averages, are set.
        cell_name: the scope of the cell's variables, as `--cell-name` sets it.
        session: the session in which to set the variables, initialized or not.

    Raises:
        UserError: the checkpoint does not exist or cannot be read; it has a variable
            not at all or more than once; a variable has another shape, or values that
            are not finite; or the saved cell has variables that this one lacks.
    """
    saved = _read(path)
    variables = classifier.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
    found = [_find(saved, variable, cell_name, path) for variable in variables]
    values = [value for _, value in found]
    _account_for(saved, [name for name, _ in found], cell_name, path)
    _compare_options(path, classifier.config)
    for variable, value in zip(variables, values):
        if not np.isfinite(value).all():
            raise UserError(
                f"--init-checkpoint {path}: {variable.op.name} holds infinite or "
                "undefined numbers; give an earlier checkpoint"
            )
    averages = [] if classifier.average is None else classifier.average.variables
    for targets in (variables, averages):
        for variable, value in zip(targets, values):
            variable.load(value, session)


def _read(path):
    """Reads the weights, by name, of the checkpoint at a user's path."""
    try:
        prefix = _prefix(path)
        reader = tf.train.NewCheckpointReader(prefix)
        shapes = reader.get_variable_to_shape_map()
        # Scalars are steps and powers of beta, not weights.
        names = sorted(n for n in shapes if shapes[n] and not SLOT_NAMES.search(n))
        return {
            _modern(name): reader.get_tensor(
                name + AVERAGE if name + AVERAGE in names else name
            )
            for name in names
            if not name.endswith(AVERAGE)
        }
    except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--init-checkpoint {path}: cannot be read ({reason})")


def _modern(name):
    """A variable's name as TF 1.2 and later have it."""
    for pattern, replacement in OLD_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _prefix(path):
    """The prefix of the checkpoint's files, such as PREFIX.index."""
    if not os.path.isdir(path):
        prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
        if _is_checkpoint(prefix):
            return prefix
        raise UserError(
            f"--init-checkpoint {path}: no such checkpoint; expected the prefix of a "
            "file PREFIX.index, like model.ckpt-10"
        )
    path = _folder(path)
    state = tf.train.get_checkpoint_state(path)
    if state is None:
        raise _no_latest(path)
    latest = state.model_checkpoint_path
    # If the folder was moved, its file `checkpoint` names the files' old paths; perhaps
    # those of Windows.
    name = ntpath.basename(latest)
    for prefix in (latest, os.path.join(path, name)):
        if _is_checkpoint(prefix):
            return prefix
    raise UserError(
        f"--init-checkpoint {path}: its file `checkpoint` names {latest}, which does "
        "not exist; give a checkpoint's prefix, like model.ckpt-10"
    )


def _folder(path):
    """The folder with the file `checkpoint`: `path`, or the one in a run's folder."""
    for folder in (path, os.path.join(path, checkpoints.FOLDER)):
        if os.path.isfile(os.path.join(folder, checkpoints.LATEST_FILE)):
            return folder
    raise _no_latest(path)


def _no_latest(path):
    """The error for a folder without a usable file `checkpoint`."""
    return UserError(
        f"--init-checkpoint {path}: no readable file `checkpoint` in this folder "
        "names the latest one; give a checkpoint's prefix, like model.ckpt-10"
    )


def _is_checkpoint(prefix):
    """Whether a checkpoint's files exist, in Saver's format V2 or V1."""
    return os.path.isfile(prefix + ".index") or os.path.isfile(prefix)


def _find(saved, variable, cell_name, path):
    """A variable's name in the checkpoint, and its value, checked against its shape."""
    candidates = _candidates(variable, saved, cell_name)
    if len(candidates) != 1:
        found = " and ".join(candidates) if candidates else "nothing"
        raise UserError(
            f"--init-checkpoint {path}: looking for {variable.op.name}, found {found}; "
            f"the checkpoint holds {', '.join(saved)}"
        )
    value = saved[candidates[0]]
    shape = tuple(variable.shape.as_list())
    if variable.op.name == "dense/bias" and value.shape == (len(value), 1):
        # Notebook 3's bias, [10, 1], adds one number to all logits of an example, which
        # does not change the softmax. So zeros give the same predictions.
        return candidates[0], np.zeros(shape, value.dtype)
    if value.shape != shape:
        raise UserError(
            f"--init-checkpoint {path}: {candidates[0]} has shape {list(value.shape)}, "
            f"expected {list(shape)} for {variable.op.name}; "
            "check --units, --view and the script against the checkpoint's network"
        )
    return candidates[0], value


def _account_for(saved, used, cell_name, path):
    """Refuses a cell with further variables; names other variables that are not read.

    A name below that of a used variable is the slot of an optimizer.
    """
    slots = tuple(f"{name}/" for name in used)
    left = [name for name in saved if name not in used and not name.startswith(slots)]
    scopes = tuple(filter(None, (_cell_scope(name, cell_name) for name in used)))
    of_cell = [name for name in left if name.startswith(scopes)]
    if of_cell:
        raise UserError(
            f"--init-checkpoint {path}: the saved network also has "
            f"{', '.join(of_cell)}, which this one lacks; its cell, or its number of "
            "--layers, is another"
        )
    if left:
        print(f"--init-checkpoint: not read: {', '.join(left)}", file=sys.stderr)


def _cell_scope(name, cell_name):
    """The scope, with its slash, of the cell or stack of a variable; else ""."""
    cells = "|".join(map(re.escape, (cell_name, *CELL_NAMES)))
    match = re.match(rf"(.*/)?(multi_rnn_cell|{cells})/", name)
    return match.group() if match else ""


def _compare_options(path: str, config: Namespace) -> None:
    """Prints the options that give a run's weights another meaning here."""
    run = Path(os.path.abspath(_prefix(path))).parent.parent
    with contextlib.suppress(UserError):  # no run's checkpoint
        there = read_config(str(run))
        here = vars(config)
        names = [name for name in MEANING_OPTIONS if name in there and name in here]
        found = differences({n: there[n] for n in names}, {n: here[n] for n in names})
        if found:
            text = "; ".join(found)
            print(f"--init-checkpoint: other options: {text}", file=sys.stderr)


def _candidates(variable, saved, cell_name):
    """The names in a checkpoint that may hold a variable."""
    name = variable.op.name
    if name in saved:
        return [name]
    for readout in READOUT_NAMES:
        if readout.get(name) in saved:
            return [readout[name]]
    if name in READOUT_NAMES[0]:
        shape = tuple(variable.shape.as_list())
        outside = [name for name in saved if not _cell_scope(name, cell_name)]
        return [name for name in outside if saved[name].shape == shape]
    before, within_cell = f"/{name}".split(f"/{cell_name}/", 1)
    in_stack = re.search(r"/cell_\d+$", before)
    layer = in_stack.group() if in_stack else ""
    endings = tuple(
        f"{layer}/{cell}/{within_cell}" for cell in (cell_name, *CELL_NAMES)
    )
    return [n for n in saved if f"/{n}".endswith(endings)]
