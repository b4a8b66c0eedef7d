"""Types of the options' values: text to value, or one line that says what is allowed.

Each is an argparse `type`: it raises `argparse.ArgumentTypeError`, which argparse
prefixes with the option's name.
"""

from __future__ import annotations

import argparse
import math
import re
from typing import Any, Callable

NEVER = "never"


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """A whole number from `minimum` to `maximum`."""
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


def number(above: float | None = None, maximum: float = math.inf) -> Callable[..., Any]:
    """A finite number, above `above` and at most `maximum` where these are given."""
    limits = "" if above is None else f" above {above:g}"
    limits += "" if maximum == math.inf else f", at most {maximum:g}"

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        is_above = above is None or value > above
        if not (math.isfinite(value) and is_above and value <= maximum):
            raise argparse.ArgumentTypeError(
                f"found {text!r}; expected a number{limits}"
            )
        return value

    return convert


def interval(text: str) -> str:
    """`50steps` (or `50`), `1epoch`, or `never`; returned in its one form."""
    if text == NEVER:
        return NEVER
    match = re.fullmatch(r"([0-9]{1,18}) ?(steps?|epochs?)?", text)
    if not match or not int(match.group(1)):
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected 50steps, 1epoch or the like, or never"
        )
    count, unit = int(match.group(1)), (match.group(2) or "step").rstrip("s")
    return f"{count}{unit}" + ("s" if count > 1 else "")


def interval_in_steps(text: str, steps_per_epoch: int) -> int:
    """The number of steps in an interval.

    Args:
        text: what `interval` returned.
        steps_per_epoch: steps in an epoch.

    Returns:
        The steps, or 0 for never.
    """
    if text == NEVER:
        return 0
    count = int(re.sub("[a-z]", "", text))
    return count * steps_per_epoch if "epoch" in text else count


def number_or_uniform(text: str) -> float | str:
    """A finite number, or `uniform`."""
    return text if text == "uniform" else number()(text)


def index_or_none(text: str) -> int | None:
    """A whole number of at least 0, or `none`."""
    return None if text == "none" else whole_number(0)(text)


def scope_name(text: str) -> str:
    """A name that TensorFlow takes for one variable scope."""
    if not re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.\-]*", text):
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected letters, digits, '_', '.' and '-'"
        )
    return text
