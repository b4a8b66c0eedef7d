"""The scripts' options: one record each; parser, checks and columns derive from it.

An option is `--batch-size` on the shell, and `batch_size` in Python and in config.json.
A new option needs a record here, and a line of code that reads its value.
"""

from __future__ import annotations

import os
import re
from argparse import Namespace
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from seqmnist.classifier import INPUT_SCALES
from seqmnist.cli.types import (
    ALL,
    interval,
    interval_or_time,
    number,
    or_word,
    path,
    scope_name,
    steps_in_a_row,
    whole_number,
)
from seqmnist.data.files import EMNIST_SPLITS
from seqmnist.data.mnist import MAX_SIDE, VALIDATION_SIZE
from seqmnist.initializers import BIAS_INITS, RECURRENT_INITS
from seqmnist.optimizer import SCHEDULES
from seqmnist.paths import DATA_DIR, LOG_DIR, shown
from seqmnist.sequences import PERMUTATION_SEED, VIEWS

MAX_SEED = 2**31 - 1  # the largest seed that both NumPy and TensorFlow take
OF_SCRIPT = "the script or its presets have to say"  # there is no common default

MAX_LABEL = 32  # letters; a longer run name would fill compare.py's table

PRESET_HELP = "a named set of values; options given with it win"


class Option(NamedTuple):
    """An option.

    Attributes:
        name: the name in Python and in config.json.
        help: effect, unit and range, for the help text.
        default: the value if neither script nor preset has one, or `OF_SCRIPT`.
        type: converts the text to the value; see types.py.
        metavar: the placeholder of the value in the help text.
        choices: the allowed values, in place of a type.
        nargs, const: as for `argparse`.
        is_flag: whether the option has no value and is true if given.
        is_number: whether the value is a number or `None`, for TensorBoard's HPARAMS.
        is_path: whether config.json records the value as an absolute path.
        is_rare: whether a script has the option only if its own defaults name it.
        may_change: whether --resume takes another value, since no number of the run
            depends on it. (--data-dir may change, as data are compared by contents.)
        may_grow: whether --resume takes a larger value, for a longer run.
        watches: whether the option says when and how the training is watched, on which
            the weights do not depend.
        says_where: whether the option gives a run's place, not a property of the run.
        chief_only: whether only the chief's value matters in a run of several workers.
        shapes_weights: whether names or shapes of a checkpoint's variables depend on
            the value.
    """

    name: str
    help: str
    default: Any = OF_SCRIPT
    type: Callable[[str], Any] | None = None
    metavar: str | None = None
    choices: Sequence[str] | None = None
    nargs: str | None = None
    const: Any = None
    is_flag: bool = False
    is_number: bool = False
    is_path: bool = False
    is_rare: bool = False
    may_change: bool = False
    may_grow: bool = False
    watches: bool = False
    says_where: bool = False
    chief_only: bool = False
    shapes_weights: bool = False

    @property
    def flag(self) -> str:
        """The option in the form of the command line."""
        return flag(self.name)

    @property
    def decides(self) -> bool:
        """Whether a run's numbers depend on the option."""
        return not (self.may_change or self.says_where)

    @property
    def decides_weights(self) -> bool:
        """Whether a run's weights depend on the option."""
        return self.decides and not self.watches


# Group -> options, in the order of the help text.
OPTIONS: dict[str, list[Option]] = {
    "data": [
        Option(
            "data_dir",
            "folder with the four IDX files, gzip or raw, of MNIST or a set like it",
            default=str(DATA_DIR),
            type=path,
            metavar="DIR",
            is_path=True,
            may_change=True,
        ),
        Option(
            "emnist_split",
            "the split to read in a folder with several of EMNIST's",
            default=None,
            choices=EMNIST_SPLITS,
        ),
        Option(
            "class_names",
            "file with a line per class, its name in figures and predictions; without "
            "this option the classes.txt beside the data, if there is one",
            default=None,
            type=path,
            metavar="FILE",
            is_path=True,
            may_change=True,
        ),
        Option(
            "validation_size",
            "training images held out for validation, from the front, 0 or more",
            default=VALIDATION_SIZE,
            type=whole_number(0),
            metavar="N",
            is_number=True,
        ),
        Option(
            "view",
            "read an image row by row or pixel by pixel, MNIST's as 28 rows of 28 "
            "pixels or as 784 single pixels",
            choices=list(VIEWS),
            shapes_weights=True,
        ),
        Option(
            "permute",
            "read the pixels in the permuted order of this seed "
            f"({PERMUTATION_SEED} if no number is given, as in many papers), or none",
            default=None,
            type=or_word("none", whole_number(0, MAX_SEED)),
            nargs="?",
            const=PERMUTATION_SEED,
            metavar="SEED",
        ),
        Option(
            "input_scale",
            "pixels in [0, 1], in [-1, 1], or with MNIST's mean at 0 and its standard "
            "deviation at 1",
            default="unit",
            choices=list(INPUT_SCALES),
        ),
        Option(
            "max_shift",
            "move each training image by up to N pixels down or up and right or left, "
            "anew each time, 0 to the images' shorter side",
            default=0,
            type=whole_number(0, MAX_SIDE),
            metavar="N",
            is_number=True,
        ),
        Option(
            "max_slant",
            "slant each training image by up to X pixels per row to either side, anew "
            "each time, 0 to 1",
            default=0.0,
            type=number(minimum=0, maximum=1),
            metavar="X",
            is_number=True,
        ),
        Option(
            "max_stretch",
            "stretch or squeeze each training image by up to the fraction X of its "
            "height and of its width, anew each time, 0 to 0.5",
            default=0.0,
            type=number(minimum=0, maximum=0.5),
            metavar="X",
            is_number=True,
        ),
        Option(
            "max_bend",
            "bend each training image, by up to X pixels down or up and right or left "
            "at each point of a 5 x 5 grid, anew each time, 0 to 8",
            default=0.0,
            type=number(minimum=0, maximum=8),
            metavar="X",
            is_number=True,
        ),
    ],
    "model": [
        Option(
            "units",
            "units of the cell, 1 to 4096",
            type=whole_number(1, 4096),
            metavar="N",
            is_number=True,
            shapes_weights=True,
        ),
        Option(
            "layers",
            "cells on top of one another, 1 to 16",
            default=1,
            type=whole_number(1, 16),
            metavar="N",
            is_number=True,
        ),
        Option(
            "recurrent_init",
            "initial kernel rows for the state: Glorot-uniform as in TF1; or, for each "
            "gate, orthogonal or the identity",
            default="glorot",
            choices=list(RECURRENT_INITS),
            is_rare=True,
        ),
        Option(
            "bias_init",
            "initial bias of the gates that keep the state: as in TF1, or spread by "
            "the chrono or the uniform rule",
            default="default",
            choices=list(BIAS_INITS),
            is_rare=True,
        ),
        Option(
            "coarse_part",
            "part of the run, from its start, in which training reads images at half "
            "their height and width, in a quarter of the time steps, 0 or more, below "
            "1",
            default=0.0,
            type=number(minimum=0, below=1),
            metavar="X",
            is_number=True,
            is_rare=True,
        ),
        Option(
            "forget_bias",
            "of an LSTM: added to the forget gate before the sigmoid",
            type=number(),
            metavar="X",
            is_number=True,
            is_rare=True,
        ),
        Option(
            "cell_name",
            "scope of the cell's variables in checkpoints, rnn/NAME/...",
            type=scope_name,
            metavar="NAME",
            shapes_weights=True,
        ),
        Option(
            "readout_init",
            "initial readout kernel: Glorot-uniform, U[0, 1), or normal with stddev "
            "0.1 truncated at 0.2",
            default="glorot",
            choices=["glorot", "uniform", "normal"],
        ),
        Option(
            "readout_bias",
            "initial readout bias: a number, or 'uniform' for U[0, 1)",
            default=0.0,
            type=or_word("uniform", number()),
            metavar="BIAS",
        ),
        Option(
            "dropout",
            "part of the readout's inputs that training drops, 0 or more, below 1",
            default=0.0,
            type=number(minimum=0, below=1),
            metavar="X",
            is_number=True,
        ),
        Option(
            "recurrent_dropout",
            "part of the cells' candidates that training drops, the same part at all "
            "time steps of an image, 0 or more, below 1",
            default=0.0,
            type=number(minimum=0, below=1),
            metavar="X",
            is_number=True,
        ),
        Option(
            "label_smoothing",
            "part of each label that the loss spreads evenly over all classes, in "
            "training and evaluation, 0 to 1",
            default=0.0,
            type=number(minimum=0, maximum=1),
            metavar="X",
            is_number=True,
        ),
        Option(
            "init_checkpoint",
            "start from the weights of this TensorFlow checkpoint, such as one that a "
            "TF1 notebook wrote",
            default=None,
            type=path,
            metavar="PATH",
            is_path=True,
            chief_only=True,
        ),
    ],
    "optimizer (Adam)": [
        Option(
            "batch_size",
            "images per step, 1 or more",
            type=whole_number(1),
            metavar="N",
            is_number=True,
        ),
        Option(
            "learning_rate",
            "Adam's step size, before schedule and warm-up, above 0",
            default=0.001,
            type=number(above=0),
            metavar="X",
            is_number=True,
        ),
        Option(
            "schedule",
            "keep the learning rate, multiply it by decay rate ^ (step / decay steps), "
            "or let it fall to zero along a cosine",
            default="constant",
            choices=list(SCHEDULES),
        ),
        Option(
            "decay_rate",
            "for --schedule exponential, above 0, at most 1",
            default=0.9,
            type=number(above=0, maximum=1),
            metavar="X",
            is_number=True,
        ),
        Option(
            "decay_steps",
            "for --schedule exponential and cosine: 1 or more, or all: the length of "
            "the run, the default for cosine",
            default=10000,
            type=or_word(ALL, whole_number(1)),
            metavar="N",
            is_number=True,
        ),
        Option(
            "warmup_steps",
            "steps in which the learning rate rises to the schedule's, 0 or more",
            default=0,
            type=whole_number(0),
            metavar="N",
            is_number=True,
        ),
        Option(
            "max_grad_norm",
            "clip the gradient to this Euclidean norm, all weights together, above 0, "
            "or none",
            default=None,
            type=or_word("none", number(above=0)),
            metavar="X",
            is_number=True,
        ),
        Option(
            "weight_decay",
            "decoupled weight decay of kernels, not of biases (AdamW), 0 or more",
            default=0.0,
            type=number(minimum=0),
            metavar="X",
            is_number=True,
        ),
        Option(
            "ema_decay",
            "evaluate a running average of the weights with this decay per step, 0 for "
            "none, below 1",
            default=0.0,
            type=number(minimum=0, below=1),
            metavar="X",
            is_number=True,
        ),
    ],
    "schedule": [
        Option(
            "epochs",
            "passes over the training split, 0 or more; 0 only evaluates",
            default=None,
            type=whole_number(0),
            metavar="N",
            is_number=True,
            may_grow=True,
        ),
        Option(
            "steps",
            "updates, 0 or more, instead of --epochs; 0 only evaluates",
            default=None,
            type=whole_number(0),
            metavar="N",
            is_number=True,
            may_grow=True,
        ),
        Option(
            "report_every",
            "print a line and add a training row to metrics.csv: 50steps (and after "
            "the first step), 1epoch, never, ...",
            default="1epoch",
            type=interval,
            metavar="EVERY",
            chief_only=True,
            watches=True,
        ),
        Option(
            "evaluate_every",
            "evaluate while training: 50steps, 1epoch, never, ...",
            default="1epoch",
            type=interval,
            metavar="EVERY",
            watches=True,
        ),
        Option(
            "evaluate_splits",
            "splits to evaluate while training; the test split is always evaluated at "
            "the end",
            default=["validation"],
            choices=["validation", "test"],
            nargs="+",
            watches=True,
        ),
    ],
    "computation": [
        Option(
            "recurrence",
            "compute with the compiled, hand-derived recurrence (fast), with "
            "tf.nn.dynamic_rnn (plain), or fast where it can run (auto)",
            default="auto",
            choices=["auto", "fast", "plain"],
        ),
        Option(
            "evaluation_batch_size",
            "images evaluated at once, 1 or more; changes memory, speed and rounding",
            default=500,
            type=whole_number(1),
            metavar="N",
            is_number=True,
            watches=True,
        ),
        Option(
            "worker_timeout",
            "in a run of several workers (TF_CONFIG): seconds to wait for another "
            "worker, at the start and in each step, 1 or more",
            default=60,
            type=whole_number(1),
            metavar="N",
            is_number=True,
            may_change=True,
        ),
    ],
    "output": [
        Option(
            "seed",
            f"of initial weights and batches, 0 to {MAX_SEED}",
            default=0,
            type=whole_number(0, MAX_SEED),
            metavar="N",
            is_number=True,
        ),
        Option(
            "log_dir",
            "the run gets a new folder in DIR/SCRIPT/",
            default=str(LOG_DIR),
            type=path,
            metavar="DIR",
            is_path=True,
            says_where=True,
        ),
        Option(
            "resume",
            "go on with the run in this folder, with the options it was started with",
            default=None,
            type=path,
            metavar="RUN_DIR",
            says_where=True,
        ),
        Option(
            "checkpoint_every",
            "save the run's state: 30seconds, 500steps, 1epoch, never, ...; it is also "
            "saved at the start, at the end, and after the best evaluation on "
            "validation so far",
            default="30seconds",
            type=interval_or_time,
            metavar="EVERY",
            may_change=True,
        ),
        Option(
            "summary_every",
            "steps between scalar summaries of the training, 0 for none",
            default=1,
            type=whole_number(0),
            metavar="N",
            is_number=True,
            chief_only=True,
            watches=True,
        ),
        Option(
            "summaries",
            "all: also histograms and images at evaluations, and figures and "
            "predictions at the end; scalars: scalars only",
            default="all",
            choices=["all", "scalars"],
            may_change=True,
        ),
        Option(
            "trace_steps",
            "write a timeline of these training steps, such as 101:105, or none",
            default=None,
            type=or_word("none", steps_in_a_row),
            metavar="FIRST:LAST",
            may_change=True,
        ),
        Option(
            "predict",
            "show label, logits and prediction of this test image at the end: 0 or "
            "more, or none",
            default=None,
            type=or_word("none", whole_number(0)),
            metavar="INDEX",
            may_change=True,
        ),
        Option(
            "show",
            "open the curves in a window at the end",
            default=False,
            may_change=True,
            is_flag=True,
        ),
    ],
}

BY_NAME = {option.name: option for group in OPTIONS.values() for option in group}
DEFAULTS = {o.name: o.default for o in BY_NAME.values() if o.default != OF_SCRIPT}

# The options that distinguish runs: the columns of TensorBoard's HPARAMS page.
DISTINGUISHING = [o.name for o in BY_NAME.values() if not o.says_where]
NUMBERS = {o.name for o in BY_NAME.values() if o.is_number}
MAY_CHANGE = {o.name for o in BY_NAME.values() if o.may_change}
MAY_GROW = {o.name for o in BY_NAME.values() if o.may_grow}


def flag(name: str) -> str:
    """An option in the form of the command line."""
    return "--" + name.replace("_", "-")


def recorded(config: Namespace) -> dict[str, Any]:
    """A configuration in the form of config.json, with absolute paths."""
    known = vars(config).items()
    values = {name: v for name, v in known if name not in ("resume", "label")}
    for name, value in values.items():
        if value and name in BY_NAME and BY_NAME[name].is_path:
            values[name] = os.path.abspath(value)
    return values


def deciding(config: Namespace) -> dict[str, Any]:
    """The options that decide a run's numbers, to be compared with a checkpoint's.

    Options that shape the weights are left out: if they differ, the weights do not fit,
    which is reported as another network. So is the length of the run, which may grow.
    """
    values = recorded(config)
    names = [
        option.name
        for option in BY_NAME.values()
        if option.decides and not option.shapes_weights and not option.may_grow
    ]
    return {name: values[name] for name in ("preset", *names) if name in values}


def shared(config: Namespace) -> dict[str, Any]:
    """The options that all workers must share, by their form on the command line.

    Left out are paths, options that may change, and options that matter to the chief
    only: those for the starting weights and for the run's files.
    """
    values = recorded(config)
    options = [o for o in BY_NAME.values() if o.decides and not o.chief_only]
    found = {o.flag: values[o.name] for o in options if o.name in values}
    return {"script": config.script, **found}


def label(preset: str | None, given: Mapping[str, Any], seed: int) -> str:
    """What distinguishes a run, for its folder's name.

    Args:
        preset: the preset on the command line, if any.
        given: the options on the command line, and their values.
        seed: the run's seed.

    Returns:
        Such as `lstm-50-units-128-seed0`: the preset, the options on which the weights
        depend, and the seed. Left out are paths, the length, which may grow, and what
        would make the label longer than `MAX_LABEL`.
    """
    last = f"seed{seed}"
    words = [preset] if preset is not None else []
    for name, value in given.items():
        option = BY_NAME[name]
        is_left_out = option.is_path or option.may_grow or name == "seed"
        if option.decides_weights and not is_left_out:
            is_bare = option.const is not None and value == option.const
            word = name if is_bare else f"{name} {as_text(value)}"
            if len("-".join([*words, word, last])) <= MAX_LABEL:
                words.append(word)
    return re.sub(r"[^A-Za-z0-9.-]+", "-", "-".join([*words, last]))


def as_text(value: object) -> str:
    """A value in the form of the command line."""
    if value is None:
        return "none"
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, str) and os.path.isabs(value):
        return shown(value)
    return str(value)
