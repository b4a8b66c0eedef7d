"""Types of the options' values: each converts a text, or names the allowed values.

Each is an argparse `type`: it raises `argparse.ArgumentTypeError`, which argparse
prefixes with the option's name.
"""

from __future__ import annotations

import argparse
import math
import os
import re
from typing import Any, Callable

NEVER = "never"
ALL = "all"
MAX_FLOAT32 = 3.4028234e38
MIN_FLOAT32 = 1.1754944e-38  # float32 loses digits of smaller numbers, or is zero
MAX_TRACED = 100  # steps; a timeline with more steps is too large to open


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """The type of a whole number from `minimum` to `maximum`."""
    limits = f"from {minimum} to {maximum}" if maximum else f"of at least {minimum}"

    def convert(text: str) -> int:
        is_number = re.fullmatch(r"[+-]?[0-9]{1,18}", text)
        value = int(text) if is_number else minimum - 1
        if value < minimum or (maximum is not None and value > maximum):
            raise argparse.ArgumentTypeError(
                f"found {text!r}; expected a whole number {limits}"
            )
        return value

    return convert


def number(
    above: float | None = None,
    maximum: float = MAX_FLOAT32,
    minimum: float = -MAX_FLOAT32,
    below: float = math.inf,
) -> Callable[[str], float]:
    """The type of a number that float32 can hold, within these limits."""
    limits = [] if above is None else [f" above {above:g}"]
    limits += [f" at least {minimum:g}"] if minimum > -MAX_FLOAT32 else []
    limits += [f" at most {maximum:g}" if below > maximum else f" below {below:g}"]

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if 0 < abs(value) < MIN_FLOAT32:
            raise argparse.ArgumentTypeError(
                f"found {text!r}; expected a number that float32 can tell from 0, "
                f"{MIN_FLOAT32} or more"
            )
        is_above = above is None or value > above
        if not (is_above and minimum <= value <= maximum and value < below):
            raise argparse.ArgumentTypeError(
                f"found {text!r}; expected a number{','.join(limits)}"
            )
        return value

    return convert


def or_word(word: str, convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """The type of another type's values, or of a word; "none" becomes `None`."""

    def convert_or_word(text: str) -> Any:
        if text == word:
            return None if word == "none" else word
        try:
            return convert(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}, or {word}")

    return convert_or_word


def interval(text: str) -> str:
    """Normalizes an interval: `50steps` (or `50`), `1epoch`, or `never`."""
    if text == NEVER:
        return NEVER
    match = re.fullmatch(r"([0-9]{1,18}) ?(steps?|epochs?)?", text)
    if not match or not int(match.group(1)):
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected 50steps, 1epoch or the like, or never"
        )
    count, unit = int(match.group(1)), (match.group(2) or "step").rstrip("s")
    return f"{count}{unit}" + ("s" if count > 1 else "")


def interval_or_time(text: str) -> str:
    """Normalizes `30seconds` (or `30s`), or an interval that `interval` takes."""
    match = re.fullmatch(r"([0-9]{1,9}) ?(s|seconds?)", text)
    if match and int(match.group(1)):
        count = int(match.group(1))
        return f"{count}second" + ("s" if count > 1 else "")
    try:
        return interval(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected 30seconds, 50steps, 1epoch or the like, or never"
        )


def interval_in_seconds(text: str) -> int | None:
    """The seconds in an interval from `interval_or_time`; `None` for other units."""
    return int(re.sub("[a-z]", "", text)) if "second" in text else None


def interval_in_steps(text: str, steps_per_epoch: int) -> int:
    """The number of steps in an interval.

    Args:
        text: an interval from `interval` or `interval_or_time`.
        steps_per_epoch: steps in an epoch.

    Returns:
        The number of steps; 0 for `never` and for an interval in seconds.
    """
    if text == NEVER or "second" in text:
        return 0
    count = int(re.sub("[a-z]", "", text))
    return count * steps_per_epoch if "epoch" in text else count


def steps_in_a_row(text: str) -> str:
    """Checks and normalizes a range of steps, first:last, such as `101:105`."""
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text)
    first, last = map(int, match.groups()) if match else (0, 0)
    if not 1 <= first <= last < first + MAX_TRACED:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected first:last, such as 101:105, at most "
            f"{MAX_TRACED} steps"
        )
    return f"{first}:{last}"


def first_and_last(text: str) -> tuple[int, int]:
    """The first and the last step in a range from `steps_in_a_row`."""
    first, last = map(int, text.split(":"))
    return first, last


def path(text: str) -> str:
    """Checks a path, and expands `~` as the shell does.

    The path is valid UTF-8, as TensorFlow requires. An address such as gs://bucket is
    refused, as it would become a folder of that name.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected a path in UTF-8 (check the locale)"
        )
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a path")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected a path of this machine's own, such as where the "
            "address is mounted"
        )
    return os.path.expanduser(text)


def scope_name(text: str) -> str:
    """Checks a name for a single variable scope of TensorFlow."""
    if not re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.\-]*", text):
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected letters, digits, '_', '.' and '-'"
        )
    return text
