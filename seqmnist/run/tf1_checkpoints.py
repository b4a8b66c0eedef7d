"""Loads starting weights from a checkpoint, including the notebooks' checkpoints."""

from __future__ import annotations

import contextlib
import glob
import ntpath
import os
import re
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.classifier import Classifier
from seqmnist.errors import UserError, differences, tell
from seqmnist.optimizer import AVERAGE
from seqmnist.paths import read_small
from seqmnist.record.folder import read_config
from seqmnist.run import checkpoints

# Names of the readout in checkpoints of the notebooks' code in TF 1.15, which uses
# tf.layers.dense; two bare tf.Variable; tf.get_variable in the scope rnn/output.
READOUT_NAMES = (
    {"dense/kernel": "dense/kernel", "dense/bias": "dense/bias"},
    {"dense/kernel": "Variable", "dense/bias": "Variable_1"},
    {"dense/kernel": "rnn/output/w", "dense/bias": "rnn/output/b"},
)

# The scope of tf.contrib.cudnn_rnn.CudnnCompatibleLSTMCell, an LSTM that adds 0 to the
# forget gate.
CUDNN_LSTM = "cudnn_compatible_lstm_cell"

# The variable scopes of TF1's cells; LSTMCell and BasicLSTMCell have equal equations.
CELL_NAMES = ("basic_rnn_cell", "lstm_cell", "basic_lstm_cell", "gru_cell", CUDNN_LSTM)

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

# Names of the slots, of a weight's shape, that optimizers add to a checkpoint. They lie
# below the weight's name, except if the optimizer was built in a scope.
SLOT_NAMES = re.compile(
    r"/(Adam|RMSProp|Momentum|Adagrad|Adadelta|Ftrl|AddSign|PowerSign)(_\d+)?$"
)

MAX_STATE = 1 << 16  # bytes of a file `checkpoint`; one that lists 100 has some 5,000


class Saved(NamedTuple):
    """A tensor in a checkpoint.

    Attributes:
        key: its name there.
        shape: its axes.
        dtype: its `tf.DType`.
    """

    key: str
    shape: tuple[int, ...]
    dtype: tf.DType


def check_path(path: str) -> None:
    """Checks, without TensorFlow, that a checkpoint's files exist.

    Args:
        path: as for `load_weights`.

    Raises:
        UserError: the files do not exist.
    """
    if not os.path.isdir(path):
        _prefix(path)
    elif not _is_checkpoint(_exported(path)):
        _folder(path)


def load_weights(
    path: str, classifier: Classifier, cell_name: str, session: tf.Session
) -> None:
    """Sets a session's weights to those of a checkpoint.

    Cell variables are found by the end of their name, from the cell's scope on, under
    `cell_name` or the name of one of TF1's cells: the saved
    `rnn/internal/rnn/gru_cell/gates/kernel` matches `rnn/gru_cell/gates/kernel`. The
    names of TF 0.12 to 1.1 are known too. The readout is found under its names in the
    notebooks, if these have its shapes, or as the only pair outside of the cell that
    has them. A running average is read in place of its weight. Optimizer slots and the
    step are not read: the training starts at step 0 from the weights.

    Prints a line on stderr about weights that are not read, and about options that are
    others than those of the run that saved the weights.

    Args:
        path: a checkpoint's prefix, one of its files, a folder with the file
            `checkpoint`, which names the latest of this folder, a run's folder, or that
            of a SavedModel.
        classifier: the `Classifier` whose weights, and averages, are set.
        cell_name: the scope of the cell's variables, as `--cell-name` sets it.
        session: the session in which to set the variables, initialized or not.

    Raises:
        UserError: the checkpoint does not exist or cannot be read; it has a variable
            not at all or more than once; a variable has another shape, is not of
            floating-point numbers, or not finite; the saved cell has variables that
            this one lacks, or another forget bias.
    """
    with _reading(path):
        reader = tf.train.NewCheckpointReader(_prefix(path))
        saved = _list(reader)
    variables = classifier.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
    names = [_find(saved, variable, cell_name, path) for variable in variables]
    _account_for(saved, names, cell_name, path)
    _compare_options(path, names, classifier.config)
    values = []
    for variable, name in zip(variables, names):
        value = _read(reader, saved[name], variable, path)
        if not np.isfinite(value).all():
            raise UserError(
                f"--init-checkpoint {path}: {variable.op.name} holds infinite or "
                "undefined numbers; give an earlier checkpoint"
            )
        values.append(value)
    averages = [] if classifier.average is None else classifier.average.variables
    for targets in (variables, averages):
        for variable, value in zip(targets, values):
            variable.load(value, session)


@contextlib.contextmanager
def _reading(path):
    """Turns TensorFlow's errors within the block into one line."""
    try:
        yield
    except (
        *(tf.errors.OpError, LookupError, RuntimeError, ValueError),
        *(SystemError, MemoryError),  # damaged sizes
    ) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise UserError(f"--init-checkpoint {path}: cannot be read ({reason})")


def _list(reader):
    """The weights in a checkpoint, by name, each the average if there is one."""
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    saved = {}
    for name in sorted(shapes):
        parts = name.split("/")
        above = ["/".join(parts[:number]) for number in range(1, len(parts))]
        is_slot = any(shapes.get(weight) == shapes[name] for weight in above)
        is_slot = is_slot or bool(SLOT_NAMES.search(name)) or name.endswith(AVERAGE)
        # Scalars are steps and powers of beta, not weights.
        if shapes[name] and not is_slot:
            key = name + AVERAGE if name + AVERAGE in shapes else name
            saved[_modern(name)] = Saved(key, tuple(shapes[key]), dtypes[key])
    return saved


def _read(reader, saved, variable, path):
    """The value of a variable."""
    shape = variable.shape.as_list()
    if list(saved.shape) != shape:
        # Notebook 3's bias, [10, 1], adds one number to all logits of an example, which
        # does not change the softmax. So zeros give the same predictions.
        return np.zeros(shape, np.float32)
    with _reading(path), np.errstate(over="ignore"):  # infinity is refused
        return np.asarray(reader.get_tensor(saved.key), np.float32)


def _modern(name):
    """A variable's name as TF 1.2 and later have it."""
    for pattern, replacement in OLD_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _prefix(path):
    """The prefix of the checkpoint's files, such as PREFIX.index."""
    if not os.path.isdir(path):
        prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
        if path.endswith((".pb", ".pbtxt")):
            raise UserError(
                f"--init-checkpoint {path}: a graph has no variables to load; give the "
                "checkpoint that it was made from"
            )
        if _is_checkpoint(prefix):
            return prefix
        steps = glob.glob(f"{glob.escape(prefix)}-*.index")
        latest = max(steps, key=lambda name: (len(name), name), default=None)
        beside = latest[: -len(".index")] if latest else "model.ckpt-10"
        raise UserError(
            f"--init-checkpoint {path}: no such checkpoint; expected the prefix of a "
            f"file PREFIX.index, like {beside}"
        )
    if _is_checkpoint(_exported(path)):
        return _exported(path)
    path = _folder(path)
    text = read_small(os.path.join(path, checkpoints.LATEST_FILE), MAX_STATE).decode()
    is_text = text.replace("\n", "").isprintable()
    state = tf.train.get_checkpoint_state(path) if is_text else None
    if state is None:
        raise _no_latest(path)
    # Not further than its name: a folder that was moved or copied has the old paths,
    # perhaps those of Windows.
    name = ntpath.basename(state.model_checkpoint_path)
    prefix = os.path.join(path, name)
    if name and _is_checkpoint(prefix):
        return prefix
    raise UserError(
        f"--init-checkpoint {path}: its file `checkpoint` names {name}, which does "
        "not exist in this folder; give a checkpoint's prefix, like model.ckpt-10"
    )


def _exported(path):
    """The prefix of the checkpoint in a SavedModel's folder."""
    return os.path.join(path, "variables", "variables")


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
    """A variable's name in the checkpoint, checked against its shape and type."""
    candidates = _candidates(variable, saved, cell_name)
    if len(candidates) != 1:
        found = " and ".join(candidates) if candidates else "nothing"
        raise UserError(
            f"--init-checkpoint {path}: looking for {variable.op.name}, found {found}; "
            f"the checkpoint holds {', '.join(saved)}"
        )
    name = candidates[0]
    found = saved[name]
    if not found.dtype.is_floating:
        raise UserError(
            f"--init-checkpoint {path}: {name} holds {found.dtype.name}; expected "
            f"floating-point numbers for {variable.op.name}"
        )
    if not _fits(found, variable):
        raise UserError(
            f"--init-checkpoint {path}: {name} has shape {list(found.shape)}, "
            f"expected {variable.shape.as_list()} for {variable.op.name}; "
            "check --units, --view and the script against the checkpoint's network"
        )
    return name


def _fits(saved, variable):
    """Whether a saved tensor has a variable's shape, or is notebook 3's bias."""
    shapes = [tuple(variable.shape.as_list())]
    if variable.op.name == "dense/bias":
        shapes.append((*shapes[0], 1))
    return saved.shape in shapes


def _account_for(saved, used, cell_name, path):
    """Refuses a cell with further variables; names others that are not read."""
    left = [name for name in saved if name not in used]
    scopes = tuple(filter(None, (_cell_scope(name, cell_name) for name in used)))
    of_cell = [name for name in left if name.startswith(scopes)]
    if of_cell:
        raise UserError(
            f"--init-checkpoint {path}: the saved network also has "
            f"{', '.join(of_cell)}, which this one lacks; its cell, or its number of "
            "--layers, is another"
        )
    if left:
        tell(f"--init-checkpoint: not read: {', '.join(left)}")


def _cell_scope(name, cell_name):
    """The scope, with its slash, of the cell or stack of a variable; else ""."""
    cells = "|".join(map(re.escape, (cell_name, *CELL_NAMES)))
    match = re.match(rf"(.*/)?(multi_rnn_cell|{cells})/", name)
    return match.group() if match else ""


def _compare_options(path: str, names: list[str], config: Namespace) -> None:
    """Prints the options that give a run's weights another meaning here."""
    forget_bias = getattr(config, "forget_bias", 0)
    if forget_bias and any(f"/{CUDNN_LSTM}/" in f"/{name}" for name in names):
        raise UserError(
            f"--init-checkpoint {path}: its {CUDNN_LSTM} adds 0 to the forget gate, "
            f"found --forget-bias {forget_bias:g}; give --forget-bias 0"
        )
    run = Path(os.path.abspath(_prefix(path))).parent.parent
    with contextlib.suppress(UserError):  # no run's checkpoint
        there = read_config(str(run))
        here = vars(config)
        names = [name for name in MEANING_OPTIONS if name in there and name in here]
        found = differences({n: there[n] for n in names}, {n: here[n] for n in names})
        if found:
            tell(f"--init-checkpoint: other options: {'; '.join(found)}")


def _candidates(variable, saved, cell_name):
    """The names in a checkpoint that may hold a variable."""
    name = variable.op.name
    if name in saved:
        return [name]
    if name in READOUT_NAMES[0]:
        named = [r[name] for r in READOUT_NAMES if r[name] in saved]
        fitting = [n for n in named if _fits(saved[n], variable)]
        shape = tuple(variable.shape.as_list())
        others = [n for n in saved if not _cell_scope(n, cell_name)]
        others = [n for n in others if saved[n].shape == shape]
        return fitting[:1] or others or named[:1]
    before, within_cell = f"/{name}".split(f"/{cell_name}/", 1)
    in_stack = re.search(r"/cell_\d+$", before)
    layer = in_stack.group() if in_stack else ""
    endings = tuple(
        f"{layer}/{cell}/{within_cell}" for cell in (cell_name, *CELL_NAMES)
    )
    return [n for n in saved if f"/{n}".endswith(endings)]
