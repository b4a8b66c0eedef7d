"""The scripts' command line: presets, one-line errors, options that exclude others.

An option's value is the one on the command line, else the preset's, else the script's
default, else the one in options.py.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
import sys
import textwrap
from typing import Any, Mapping, NoReturn, Sequence

from seqmnist.cli.options import (
    BY_NAME,
    DEFAULTS,
    OPTIONS,
    PRESET_HELP,
    Option,
    as_text,
    flag,
    label,
)
from seqmnist.cli.resume import merged, recorded_options
from seqmnist.cli.types import ALL, NEVER
from seqmnist.errors import UserError, brief


class _PlainHelp(argparse.RawDescriptionHelpFormatter):
    """Prints help texts as they are; argparse would replace what follows a `%`."""

    def _expand_help(self, action):
        return action.help


class OneLineParser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line, with the nearest option's name.

    Options cannot be abbreviated, and descriptions are printed as they are.

    Args:
        kwargs: as for `argparse.ArgumentParser`.

    Attributes:
        source: the beginning of an error's line, if the arguments are not from the
            command line, else "".
    """

    source = ""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(formatter_class=_PlainHelp, allow_abbrev=False, **kwargs)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        """Parses as argparse does, but refuses `--option=--`.

        argparse would take `--option=--` for an empty list.
        """
        for word in sys.argv[1:] if args is None else args:
            if word.startswith("--") and word.endswith("=--"):
                self.error(f"argument {word[:-3]}: found '--'; expected a value")
        return super().parse_known_args(args, namespace)

    def parse_from(self, source: str, words: Sequence[str]) -> dict[str, Any]:
        """Parses words from a source other than the command line."""
        self.source, before = source, self.source
        found = vars(self.parse_args(words))
        self.source = before
        return found

    def error(self, message: str) -> NoReturn:
        match = re.match(r"unrecognized arguments: (-[^\s=]+)", message)
        if match:
            known = [s for action in self._actions for s in action.option_strings]
            # --lr is --learning-rate; else the name that is spelt most alike.
            initials = [word for word in known if _initials(word) == match.group(1)]
            near = initials or difflib.get_close_matches(match.group(1), known, n=1)
            if match.group(1) in [option.flag for option in BY_NAME.values()]:
                message += f"; {self.prog} does not have this option, others do"
            elif near:
                message += f"; did you mean {near[0]}?"
        if message.endswith("expected one argument"):
            message += " (one that begins with - is given as --option=-1e-3)"
        message = brief(f"{self.source}{message}")
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def _initials(word: str) -> str:
    """An option of its words' first letters: --lr for --learning-rate."""
    parts = word.strip("-").split("-")
    return "--" + "".join(part[0] for part in parts) if len(parts) > 1 else ""


def make_parser(
    script: str,
    description: str,
    defaults: Mapping[str, Any],
    presets: Mapping[str, Mapping[str, Any]],
) -> OneLineParser:
    """Builds a script's parser.

    The parser's result has only the options on the command line, so that `parse` can
    fill in the preset's values.

    Args:
        script: the script's name without `.py`.
        description: the description of the script in the help text.
        defaults: the script's own defaults.
        presets: the presets' names and values; the first is the default.

    Returns:
        The parser.
    """
    first = next(iter(presets))
    values = _values(defaults, presets[first])
    parser = OneLineParser(
        prog=f"{script}.py",
        usage=f"{script}.py [--preset NAME] [options]",
        description=description,
        epilog=_describe_presets(presets),
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--preset",
        choices=list(presets),
        help=f"{PRESET_HELP} (default: {first})",
    )
    for title, options in OPTIONS.items():
        group = parser.add_argument_group(title)
        length = group.add_mutually_exclusive_group()
        for option in options:
            if option.name in values:
                target = length if option.name in ("epochs", "steps") else group
                _add_option(target, option, values[option.name])
    return parser


def _add_option(
    group: argparse._ArgumentGroup, option: Option, default: object
) -> None:
    """Adds an option to a group of the parser."""
    if option.is_flag:
        group.add_argument(option.flag, help=option.help, action="store_true")
        return
    is_said = default is not None
    group.add_argument(
        option.flag,
        help=option.help + (f" (default: {as_text(default)})" if is_said else ""),
        **{
            name: getattr(option, name)
            for name in ("type", "metavar", "choices", "nargs", "const")
            if getattr(option, name) is not None
        },
    )


def _values(defaults: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each of a script's options, with one of the presets."""
    general = {n: v for n, v in DEFAULTS.items() if not BY_NAME[n].is_rare}
    return {**general, **defaults, **preset}


def parse(
    argv: Sequence[object] | str | None,
    script: str,
    description: str | None,
    defaults: Mapping[str, Any],
    presets: Mapping[str, Mapping[str, Any]],
    source: str = "",
    parser: OneLineParser | None = None,
) -> argparse.Namespace:
    """Parses a script's command line.

    Args:
        argv: the arguments, also in one text; `None` for those of the process.
        script: the script's name without `.py`.
        description: the script's docstring, for the help text.
        defaults: the script's own defaults.
        presets: the presets' names and values; the first is the default.
        source: the beginning of an error's line, if the arguments are not from the
            command line.
        parser: the script's parser, of `make_parser`, if there is one already.

    Returns:
        The configuration: `script`, `command`, `preset`, `label` and every option by
        name. One of `epochs` and `steps` is `None`. With `--resume`, the values are the
        run's own, except options that may change, and there is no `label`.

    Raises:
        UserError: the script's name would not be readable in a result line; or the run
            to resume has no readable configuration, is another script's,
            or was started with other options than those given.
        SystemExit: with status 2 and one line on stderr if an option is unknown or has
            a value that is not allowed; with status 0 after the help text.
    """
    if not re.fullmatch(r"[\w.-]+", script, re.ASCII):
        raise UserError(
            f"{script!r} as the name of a script; expected letters, digits, '_', '-' "
            "and '.'"
        )
    argv = sys.argv[1:] if argv is None else argv
    # In a notebook, all may be in one text, and numbers be numbers.
    argv = shlex.split(argv) if isinstance(argv, str) else list(map(str, argv))
    if parser is None:
        parser = make_parser(script, description or "", defaults, presets)
    parser.source = source
    given = vars(parser.parse_args(argv))
    command = " ".join(shlex.quote(word) for word in [f"{script}.py", *argv])
    known = {"script": script, "command": command}
    if "resume" in given:
        values = _values(defaults, presets[next(iter(presets))])
        values = recorded_options(parser.parse_from, script, given["resume"], values)
        return argparse.Namespace(**{**known, **merged(values, given)})
    chosen = given.pop("preset", None)
    preset = chosen or next(iter(presets))
    values = _values(defaults, presets[preset])
    if "epochs" in given or "steps" in given:
        values.update(epochs=None, steps=None)
    schedule = values["schedule"]
    values.update(given)
    # A preset's decay steps apply to the preset's own schedule only.
    told = {**presets[preset], **given} if values["schedule"] == schedule else given
    if values["schedule"] == "cosine" and "decay_steps" not in told:
        values["decay_steps"] = ALL
    if "coarse_part" not in given and _no_coarse_steps(values):
        values["coarse_part"] = 0.0  # a preset's applies to the preset's own view only
    values["evaluate_splits"] = list(dict.fromkeys(values["evaluate_splits"]))
    _check_combinations(parser, given, values)
    known.update(preset=preset, label=label(chosen, given, values["seed"]))
    return argparse.Namespace(**known, **values)


def _check_combinations(
    parser: argparse.ArgumentParser, given: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    """Refuses options without effect in combination with the others."""
    for name, schedules in (
        ("decay_rate", ["exponential"]),
        ("decay_steps", ["exponential", "cosine"]),
    ):
        if name in given and values["schedule"] not in schedules:
            parser.error(
                f"argument {flag(name)}: does nothing with --schedule "
                f"{values['schedule']}; add --schedule {' or '.join(schedules)}"
            )
    for name in ("recurrent_init", "bias_init", "readout_init", "readout_bias"):
        if name in given and values["init_checkpoint"] is not None:
            parser.error(
                f"argument {flag(name)}: does nothing with --init-checkpoint, which "
                "sets all weights; leave out one of them"
            )
    if "forget_bias" in given and values.get("bias_init", "default") != "default":
        parser.error(
            "argument --forget-bias: does nothing with --bias-init "
            f"{values['bias_init']}, which sets the sum of both; leave out one of them"
        )
    if "coarse_part" in given and _no_coarse_steps(values):
        parser.error(
            "argument --coarse-part: images can be read at half their height and width "
            f"pixel by pixel only, in reading order; {_no_coarse_steps(values)}"
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


def _no_coarse_steps(values: Mapping[str, Any]) -> str:
    """Why a run cannot have coarse steps, as advice; "" if it can, or has none."""
    if not values.get("coarse_part"):
        return ""
    if values["view"] != "pixels":
        return "add --view pixels"
    return "leave out --permute" if values["permute"] is not None else ""


def _describe_presets(presets: Mapping[str, Mapping[str, Any]]) -> str:
    """The presets as the last paragraph of the help text."""
    lines = ["presets:"]
    for name, values in presets.items():
        words = [f"{flag(k)} {as_text(v)}" for k, v in values.items()]
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
