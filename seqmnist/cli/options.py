"""The command line: the options that the scripts share, presets, and their checks.

An option is `--batch-size` on the shell, and `batch_size` in Python and in config.json.
Its value is the one on the command line, else the preset's, else the script's default,
else the one in `DEFAULTS`.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import sys
import textwrap
from typing import Any, Mapping, NoReturn, Sequence

from seqmnist.classifier import INPUT_SCALES
from seqmnist.cli.types import (
    ALL,
    NEVER,
    interval,
    interval_or_time,
    number,
    or_word,
    path,
    scope_name,
    steps_in_a_row,
    whole_number,
)
from seqmnist.data.mnist import IMAGE_SIZE, VALIDATION_SIZE
from seqmnist.errors import UserError, one_line
from seqmnist.initializers import BIAS_INITS, RECURRENT_INITS
from seqmnist.optimizer import SCHEDULES
from seqmnist.paths import DATA_DIR, LOG_DIR, shown
from seqmnist.record.folder import CONFIG_FILE, read_config
from seqmnist.sequences import PERMUTATION_SEED, VIEWS

MAX_SEED = 2**31 - 1  # the largest that both NumPy and TensorFlow take

# What a script or preset need not say.
DEFAULTS: dict[str, Any] = {
    "data_dir": str(DATA_DIR),
    "validation_size": VALIDATION_SIZE,
    "permute": None,
    "input_scale": "unit",
    "max_shift": 0,
    "max_slant": 0.0,
    "layers": 1,
    "recurrent_init": "glorot",
    "bias_init": "default",
    "readout_init": "glorot",
    "readout_bias": 0.0,
    "init_checkpoint": None,
    "learning_rate": 0.001,
    "schedule": "constant",
    "decay_rate": 0.9,
    "decay_steps": 10000,
    "warmup_steps": 0,
    "max_grad_norm": None,
    "weight_decay": 0.0,
    "ema_decay": 0.0,
    "epochs": None,
    "steps": None,
    "report_every": "1epoch",
    "evaluate_every": "1epoch",
    "evaluate_splits": ["validation"],
    "evaluation_batch_size": 500,
    "recurrence": "auto",
    "worker_timeout": 60,
    "seed": 0,
    "log_dir": str(LOG_DIR),
    "resume": None,
    "checkpoint_every": "30seconds",
    "summary_every": 1,
    "summaries": "all",
    "trace_steps": None,
    "predict": None,
    "show": False,
}

# Options that not all scripts have, and the script that has them.
ONLY_IN = {"--forget-bias": "train_lstm.py"}

# What may be given beside --resume with another value than the run was started with,
# as it changes none of the run's numbers. The data are compared themselves.
MAY_CHANGE = {
    *("data_dir", "checkpoint_every", "predict", "show", "summaries", "trace_steps"),
    "worker_timeout",
}

# Options that are files and folders. They are recorded as absolute paths.
PATHS = {"data_dir", "log_dir", "init_checkpoint"}

PRESET_HELP = "a named set of values; options given beside it win"

# Group -> option -> help text and what argparse needs to know. An option without a
# value in `DEFAULTS`, the script or its presets is not an option of that script.
OPTIONS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "data": {
        "data_dir": (
            "folder with the four IDX files, gzip or raw, of MNIST or a set like it",
            {"type": path, "metavar": "DIR"},
        ),
        "validation_size": (
            "training images held out for validation, from the front, 0 or more",
            {"type": whole_number(0), "metavar": "N"},
        ),
        "view": (
            "read an image as 28 rows of 28 pixels or as 784 single pixels",
            {"choices": list(VIEWS)},
        ),
        "permute": (
            "read the pixels in the permuted order that follows from this seed "
            f"({PERMUTATION_SEED} if none is given, as in many papers), or none",
            {
                "type": or_word("none", whole_number(0, MAX_SEED)),
                "nargs": "?",
                "const": PERMUTATION_SEED,
                "metavar": "SEED",
            },
        ),
        "input_scale": (
            "pixels in [0, 1], in [-1, 1], or with MNIST's mean at 0 and its standard "
            "deviation at 1",
            {"choices": list(INPUT_SCALES)},
        ),
        "max_shift": (
            "move each training image by up to so many pixels down or up and right or "
            "left, each time anew, 0 to 28",
            {"type": whole_number(0, IMAGE_SIZE), "metavar": "N"},
        ),
        "max_slant": (
            "slant each training image by up to so many pixels per row either way, "
            "each time anew, 0 to 1",
            {"type": number(minimum=0, maximum=1), "metavar": "X"},
        ),
    },
    "model": {
        "units": (
            "units of the cell, 1 to 4096",
            {"type": whole_number(1, 4096), "metavar": "N"},
        ),
        "layers": (
            "cells on top of one another, 1 to 16",
            {"type": whole_number(1, 16), "metavar": "N"},
        ),
        "recurrent_init": (
            "initial kernel rows for the state: Glorot-uniform as in TF1; or, for each "
            "gate, orthogonal or the identity",
            {"choices": list(RECURRENT_INITS)},
        ),
        "bias_init": (
            "initial bias of the gates that keep the state: TF1's, or spread by the "
            "chrono or the uniform rule; a BasicRNN has no gates",
            {"choices": list(BIAS_INITS)},
        ),
        "forget_bias": (
            "train_lstm.py only: added to the forget gate before the sigmoid",
            {"type": number(), "metavar": "X"},
        ),
        "cell_name": (
            "scope of the cell's variables in checkpoints, rnn/NAME/...",
            {"type": scope_name, "metavar": "NAME"},
        ),
        "readout_init": (
            "initial readout kernel: Glorot-uniform, U[0, 1), or normal with stddev "
            "0.1 truncated at 0.2",
            {"choices": ["glorot", "uniform", "normal"]},
        ),
        "readout_bias": (
            "initial readout bias: a number, or 'uniform' for U[0, 1)",
            {"type": or_word("uniform", number()), "metavar": "BIAS"},
        ),
        "init_checkpoint": (
            "start from the weights of this TensorFlow checkpoint, such as one that a "
            "TF1 notebook wrote",
            {"type": path, "metavar": "PATH"},
        ),
    },
    "optimizer (Adam)": {
        "batch_size": (
            "images per step, 1 or more",
            {"type": whole_number(1), "metavar": "N"},
        ),
        "learning_rate": (
            "Adam's step size, before schedule and warm-up, above 0",
            {"type": number(above=0), "metavar": "X"},
        ),
        "schedule": (
            "keep the learning rate, multiply it by decay rate ^ (step / decay steps), "
            "or let it fall to zero along a cosine",
            {"choices": list(SCHEDULES)},
        ),
        "decay_rate": (
            "for --schedule exponential, above 0, at most 1",
            {"type": number(above=0, maximum=1), "metavar": "X"},
        ),
        "decay_steps": (
            "for --schedule exponential and cosine, 1 or more, or all of the run's, "
            "which is what a cosine has unless told",
            {"type": or_word(ALL, whole_number(1)), "metavar": "N"},
        ),
        "warmup_steps": (
            "steps in which the learning rate rises to the schedule's, 0 or more",
            {"type": whole_number(0), "metavar": "N"},
        ),
        "max_grad_norm": (
            "clip the gradient to this Euclidean norm, all weights together, above 0, "
            "or none",
            {"type": or_word("none", number(above=0)), "metavar": "X"},
        ),
        "weight_decay": (
            "in each step kernels, not biases, lose learning rate x this of themselves "
            "(AdamW), 0 or more",
            {"type": number(minimum=0), "metavar": "X"},
        ),
        "ema_decay": (
            "evaluate a running average of the weights, of this decay per step: 0 for "
            "none, below 1",
            {"type": number(minimum=0, below=1), "metavar": "X"},
        ),
    },
    "schedule": {
        "epochs": (
            "passes over the training split, 0 or more; 0 only evaluates",
            {"type": whole_number(0), "metavar": "N"},
        ),
        "steps": (
            "updates, 0 or more, instead of --epochs; 0 only evaluates",
            {"type": whole_number(0), "metavar": "N"},
        ),
        "report_every": (
            "print a line and keep the training figures: 50steps (and after the first "
            "step), 1epoch, never, ...",
            {"type": interval, "metavar": "EVERY"},
        ),
        "evaluate_every": (
            "evaluate while training: 50steps, 1epoch, never, ...",
            {"type": interval, "metavar": "EVERY"},
        ),
        "evaluate_splits": (
            "splits to evaluate while training; test always is at the end",
            {"choices": ["validation", "test"], "nargs": "+"},
        ),
    },
    "computation": {
        "recurrence": (
            "compute with the compiled, hand-derived recurrence (fast), with "
            "tf.nn.dynamic_rnn (plain), or fast where it can run (auto)",
            {"choices": ["auto", "fast", "plain"]},
        ),
        "evaluation_batch_size": (
            "images evaluated at once, 1 or more; changes memory and speed only",
            {"type": whole_number(1), "metavar": "N"},
        ),
        "worker_timeout": (
            "of several workers (TF_CONFIG): seconds to wait for another one, at the "
            "start and in each step, 1 or more",
            {"type": whole_number(1), "metavar": "N"},
        ),
    },
    "output": {
        "seed": (
            f"of initial weights and batches, 0 to {MAX_SEED}",
            {"type": whole_number(0, MAX_SEED), "metavar": "N"},
        ),
        "log_dir": (
            "the run gets a new folder in DIR/SCRIPT/",
            {"type": path, "metavar": "DIR"},
        ),
        "resume": (
            "go on with the run in this folder, with the options it was started with",
            {"type": path, "metavar": "RUN_DIR"},
        ),
        "checkpoint_every": (
            "save the run's state: 30seconds, 500steps, 1epoch, never, ...; it is also "
            "saved at the start, at the end, and after the best evaluation on "
            "validation so far",
            {"type": interval_or_time, "metavar": "EVERY"},
        ),
        "summary_every": (
            "steps between scalar summaries of the training, 0 for none",
            {"type": whole_number(0), "metavar": "N"},
        ),
        "summaries": (
            "beside scalars, write histograms and images at evaluations, and figures "
            "and predictions at the end (all), or do not (scalars)",
            {"choices": ["all", "scalars"]},
        ),
        "trace_steps": (
            "write a timeline of these training steps, such as 101:105, or none",
            {"type": or_word("none", steps_in_a_row), "metavar": "FIRST:LAST"},
        ),
        "predict": (
            "show label, logits and prediction of this test image at the end: 0 or "
            "more, or none",
            {"type": or_word("none", whole_number(0)), "metavar": "INDEX"},
        ),
        "show": (
            "open the curves in a window at the end",
            {"action": "store_true"},
        ),
    },
}


class OneLineParser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line, with the nearest option's name.

    Attributes:
        source: what the arguments come from if not from the command line, or "".
    """

    source = ""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        """As argparse's, which takes `--option=--` for an empty list."""
        for word in sys.argv[1:] if args is None else args:
            if word.startswith("--") and word.endswith("=--"):
                self.error(f"argument {word[:-3]}: found '--'; expected a value")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        match = re.match(r"unrecognized arguments: (-[^\s=]+)", message)
        if match:
            known = [s for action in self._actions for s in action.option_strings]
            near = difflib.get_close_matches(match.group(1), known, n=1)
            if match.group(1) in ONLY_IN:
                message += f"; only {ONLY_IN[match.group(1)]} has this one"
            elif near:
                message += f"; did you mean {near[0]}?"
        if message.endswith("expected one argument"):
            message += " (one that begins with - is given as --option=-1e-3)"
        message = one_line(f"{self.source}{message}")
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def make_parser(
    script: str,
    description: str,
    defaults: Mapping[str, Any],
    presets: Mapping[str, Mapping[str, Any]],
) -> OneLineParser:
    """Builds a script's parser.

    What is not given on the command line is left out of the result, so that presets can
    be told from it.

    Args:
        script: the script's name without `.py`.
        description: what the script does.
        defaults: the script's own defaults.
        presets: the presets' names and values; the first is the default.

    Returns:
        The parser.
    """
    first = next(iter(presets))
    values = {**DEFAULTS, **defaults, **presets[first]}
    parser = OneLineParser(
        prog=f"{script}.py",
        usage=f"{script}.py [--preset NAME] [options]",
        description=description,
        epilog=_describe_presets(presets),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--preset",
        choices=list(presets),
        help=f"{PRESET_HELP} (default: {first})",
    )
    for title, options in OPTIONS.items():
        group = parser.add_argument_group(title)
        if "epochs" in options:
            length = group.add_mutually_exclusive_group()
        for name, (text, kwargs) in options.items():
            if name not in values:
                continue
            if values[name] is not None and name != "show":
                text += f" (default: {_as_text(values[name])})"
            target = length if name in ("epochs", "steps") else group
            target.add_argument(_flag(name), help=text, **kwargs)
    return parser


def parse(
    argv: Sequence[str] | None,
    script: str,
    description: str | None,
    defaults: Mapping[str, Any],
    presets: Mapping[str, Mapping[str, Any]],
    source: str = "",
) -> argparse.Namespace:
    """Parses a script's command line.

    Args:
        argv: the arguments; `None` for those of the process.
        script: the script's name without `.py`.
        description: what the script does, its docstring.
        defaults: the script's own defaults.
        presets: the presets' names and values; the first is the default.
        source: what an error's line begins with, if it is not the command line.

    Returns:
        The configuration: `script`, `command`, `preset` and every option by name. One
        of `epochs` and `steps` is `None`. With `--resume`, it is the run's own, but for
        what may change.

    Raises:
        UserError: the run to resume has no readable configuration, is another script's,
            or was started with other options than those given.
        SystemExit: with status 2 and one line on stderr, an option is unknown or has a
            value that is not allowed; with status 0, help was asked for.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = make_parser(script, description or "", defaults, presets)
    parser.source = source
    given = vars(parser.parse_args(argv))
    command = " ".join(shlex.quote(word) for word in [f"{script}.py", *argv])
    known = {"script": script, "command": command}
    if "resume" in given:
        values = {**DEFAULTS, **defaults, **presets[next(iter(presets))]}
        values = _recorded(parser, script, given["resume"], values)
        return argparse.Namespace(**{**known, **_merged(values, given)})
    preset = given.pop("preset", next(iter(presets)))
    values = {**DEFAULTS, **defaults, **presets[preset]}
    if "epochs" in given or "steps" in given:
        values.update(epochs=None, steps=None)
    schedule = values["schedule"]
    values.update(given)
    # A preset's decay steps are of its own schedule.
    told = {**presets[preset], **given} if values["schedule"] == schedule else given
    if values["schedule"] == "cosine" and "decay_steps" not in told:
        values["decay_steps"] = ALL
    values["evaluate_splits"] = list(dict.fromkeys(values["evaluate_splits"]))
    _check_combinations(parser, given, values)
    return argparse.Namespace(**known, preset=preset, **values)


def recorded(config: argparse.Namespace) -> dict[str, Any]:
    """A configuration as config.json keeps it, which does not depend on the folder."""
    values = {name: v for name, v in vars(config).items() if name != "resume"}
    for name in PATHS & set(values):
        values[name] = values[name] and os.path.abspath(values[name])
    return values


def deciding(config: argparse.Namespace) -> dict[str, Any]:
    """The options that decide a run's numbers, beside those that shape its variables.

    The latter are told by the variables themselves.
    """
    shapes = {"script", "view", "units", "cell_name"}
    others = {*MAY_CHANGE, *shapes, "command", "log_dir"}
    return {name: v for name, v in recorded(config).items() if name not in others}


def shared(config: argparse.Namespace) -> dict[str, Any]:
    """The options that all workers must have alike.

    Weights are the chief's, wherever it has them from, and so is all that is written.
    """
    chief = {*MAY_CHANGE, "command", "preset", "log_dir", "init_checkpoint"}
    chief |= {"report_every", "summary_every"}
    return {
        _flag(name) if name in telling() else name: value
        for name, value in recorded(config).items()
        if name not in chief
    }


def telling() -> list[str]:
    """The options that may tell runs from one another, and do not say where one is."""
    known = [name for options in OPTIONS.values() for name in options]
    return [name for name in known if name not in ("log_dir", "resume")]


def numbers() -> set[str]:
    """The options whose values always are numbers, or none."""
    return {
        name
        for options in OPTIONS.values()
        for name, (_, kwargs) in options.items()
        if kwargs.get("metavar") in ("N", "X")
    }


def _check_combinations(
    parser: argparse.ArgumentParser, given: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    """Refuses options that would do nothing beside the others."""
    for name, schedules in (
        ("decay_rate", ["exponential"]),
        ("decay_steps", ["exponential", "cosine"]),
    ):
        if name in given and values["schedule"] not in schedules:
            parser.error(
                f"argument {_flag(name)}: does nothing with --schedule "
                f"{values['schedule']}; add --schedule {' or '.join(schedules)}"
            )
    for name in ("recurrent_init", "bias_init", "readout_init", "readout_bias"):
        if name in given and values["init_checkpoint"] is not None:
            parser.error(
                f"argument {_flag(name)}: does nothing with --init-checkpoint, which "
                "sets all weights; leave out one of them"
            )
    if values["bias_init"] != "default" and parser.prog == "train_rnn.py":
        parser.error(
            f"argument --bias-init: found {values['bias_init']!r}; expected default, "
            "as a BasicRNN has no gates"
        )
    if values["bias_init"] != "default" and "forget_bias" in given:
        parser.error(
            "argument --forget-bias: does nothing with --bias-init "
            f"{values['bias_init']}, which sets the sum of both; leave out one of them"
        )
    if "evaluate_splits" in given:
        if values["evaluate_every"] == NEVER:
            parser.error(
                "argument --evaluate-splits: does nothing with --evaluate-every never; "
                "add --evaluate-every 1epoch or the like"
            )
        if "validation" in given["evaluate_splits"] and not values["validation_size"]:
            parser.error(
                "argument --evaluate-splits: with --validation-size 0 there is no "
                "validation split; leave out validation"
            )


def _recorded(
    parser: OneLineParser, script: str, folder: str, values: Mapping[str, Any]
) -> dict[str, Any]:
    """The options in a run's config.json, checked as if they were typed.

    An option that is not in it, as the run is older than the option, has its default.
    """
    record = read_config(folder)
    if record.get("script") != script:
        raise UserError(
            f"--resume {folder}: a run of {record.get('script')}.py; resume it with "
            "that script"
        )
    found = {name: record.get(name, value) for name, value in values.items()}
    # These depend on the run alone: its folder, its length, who looks at it.
    found.update(
        {"resume": None, "show": False},
        epochs=record.get("epochs"),
        steps=record.get("steps"),
    )
    words = [f"--preset={record.get('preset')}"]
    for name, value in found.items():
        if isinstance(value, list) and isinstance(values[name], list):
            words += [_flag(name), *map(str, value)]
        elif name != "show" and (
            value is not None or DEFAULTS.get(name, "") is not None
        ):
            words.append(f"{_flag(name)}={value}")
    parser.source = f"{os.path.join(folder, CONFIG_FILE)}: "
    parsed = vars(parser.parse_args(words))
    parser.source = ""
    if (parsed.get("epochs") is None) == (parsed.get("steps") is None):
        raise UserError(f"--resume {folder}: {CONFIG_FILE} has no length of the run")
    return {**found, **parsed}


def _merged(values: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A run's options and those given beside --resume, if they leave the run as it is.

    Raises:
        UserError: they do not; the line names them all.
    """
    given = dict(given)
    if "evaluate_splits" in given:
        given["evaluate_splits"] = list(dict.fromkeys(given["evaluate_splits"]))
    for name in PATHS & set(given):
        given[name] = os.path.abspath(given[name])
    changed = [
        f"{_flag(name)} {_as_text(value)} (the run has {_as_text(values[name])})"
        for name, value in given.items()
        if name not in MAY_CHANGE
        and name != "resume"
        and value != values[name]
        # The length of the run, once that is known, has to be the checkpoint's number.
        and (name, value) != ("decay_steps", ALL)
    ]
    if changed:
        raise UserError(
            f"--resume {given['resume']}: would be another run with "
            f"{', '.join(changed)}; leave out what differs, or start a new run with "
            "--init-checkpoint"
        )
    return {**values, **given}


def _flag(name: str) -> str:
    """An option as it is typed."""
    return "--" + name.replace("_", "-")


def _describe_presets(presets: Mapping[str, Mapping[str, Any]]) -> str:
    """The presets as the last paragraph of the help text."""
    lines = ["presets:"]
    for name, values in presets.items():
        words = [f"{_flag(k)} {_as_text(v)}" for k, v in values.items()]
        # An option and its value stay on one line.
        text = textwrap.fill(
            " ".join(word.replace(" ", "\0") for word in words),
            width=79,
            initial_indent=" " * 4,
            subsequent_indent=" " * 4,
            break_on_hyphens=False,
        )
        lines += [f"  {name}", text.replace("\0", " ")]
    return "\n".join(lines)


def _as_text(value: Any) -> str:
    """A value as one would type it."""
    if value is None:
        return "none"
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, str) and os.path.isabs(value):
        return shown(value)
    return str(value)
