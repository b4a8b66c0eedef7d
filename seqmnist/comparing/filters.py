"""Filters and order of compare.py's rows."""

from __future__ import annotations

import argparse
import difflib
import operator
import re
from typing import Any, Iterable, NamedTuple, Sequence

from seqmnist.cli.options import BY_NAME
from seqmnist.comparing.rows import FIELDS, MEASURED, Row
from seqmnist.errors import UserError

OPERATORS = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
}

# Headings of the table that are not the names of their fields with spaces.
ALIASES = {
    "validation": "validation_accuracy",
    "train": "train_accuracy",
    "test": "test_accuracy",
    "loss": "test_loss",
    "examples/s": "examples_per_second",
}

# Fields of whole groups, which are filtered after the grouping. Before the grouping, a
# limit on the accuracy would select the luckiest seeds of a group.
OF_GROUPS = (*MEASURED, "n")

MISSING = object()


class Filter(NamedTuple):
    """A condition on a row.

    Attributes:
        name: name of a field or an option.
        operator: one of `OPERATORS`.
        value: the text to compare with.
    """

    name: str
    operator: str
    value: str

    def __str__(self) -> str:
        return "".join(self)


def filter_expression(text: str) -> Filter:
    """Reads `units>=64` or the like; an argparse type.

    Args:
        text: name, operator and value.

    Returns:
        The filter.

    Raises:
        ArgumentTypeError: the text is not of this form, or compares a text with < or
            the like.
    """
    match = re.fullmatch(r"\s*([^=!<>]+?)\s*(<=|>=|!=|==|<|>|=)\s*(.*?)\s*", text)
    if not match:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected a name, one of = != < <= > >= and a value, in "
            "quotes because of the shell: 'units>=64'"
        )
    found = Filter(*match.groups())
    if found.operator in ("<", "<=", ">", ">=") and _number(found.value) is None:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; {found.operator} compares numbers; expected a number "
            "after it, or = or != instead"
        )
    return found


def resolve(option: str, name: str, rows: Iterable[Row]) -> str:
    """Finds the field or option that a user's name means.

    Args:
        option: the command line's option with the name, for the error's line.
        name: a name or a heading of the table; spaces and dashes stand for underscores.
        rows: the rows; configurations of older runs may hold other options.

    Returns:
        The name of the field or option.

    Raises:
        UserError: the name is unknown; the line suggests similar names.
    """
    plain = re.sub(r"[ -]", "_", name.strip().lower())
    known = {*FIELDS, *BY_NAME}
    known.update(*(row.options for row in rows))
    for found in (name, plain, ALIASES.get(plain, "")):
        if found in known:
            return found
    near = difflib.get_close_matches(plain, sorted(known | set(ALIASES)), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "see --help for some"
    raise UserError(
        f"{option}: no column of the table and no option in config.json is called "
        f"{name!r}; {hint}"
    )


def filter_rows(rows: Sequence[Row], filters: Iterable[Filter]) -> list[Row]:
    """Keeps the rows that fulfil all conditions.

    Args:
        rows: the rows.
        filters: the conditions, with names from `resolve`.

    Returns:
        The rows that fulfil all conditions; a row without the value does not.

    Raises:
        UserError: < or the like is used for a value that is text in all rows.
    """
    kept = list(rows)
    for condition in filters:
        values = [value_of(row, condition.name) for row in rows]
        is_text = any(value is not MISSING for value in values) and not any(
            _is_number(value) for value in values
        )
        if is_text and condition.operator in ("<", "<=", ">", ">="):
            example = next(_as_text(v) for v in values if v is not MISSING)
            raise UserError(
                f"--filter {condition}: {condition.name} is no number but, for "
                f"example, {example}; compare it with = or !="
            )
        kept = [row for row in kept if _fulfils(row, condition)]
    return kept


def sort_rows(rows: Sequence[Row], name: str, reverse: bool) -> list[Row]:
    """Sorts rows by a value: accuracies highest first, everything else lowest first.

    Args:
        rows: the rows.
        name: name of a field or an option, from `resolve`.
        reverse: whether to sort in the reverse order.

    Returns:
        The rows, rows without the value last. Rows with the same value are ordered by
        test accuracy, best first, and then by folder.
    """

    def best_first(row: Row) -> tuple[bool, float, str]:
        accuracy = row.values["test_accuracy"]
        return accuracy is None, -(accuracy or 0), str(row.run.folder)

    rows = sorted(rows, key=best_first)
    there = [row for row in rows if value_of(row, name) is not MISSING]
    rest = [row for row in rows if value_of(row, name) is MISSING]
    downwards = name.endswith("accuracy") != reverse
    there.sort(key=lambda row: _sort_key(value_of(row, name)), reverse=downwards)
    return there + rest


def value_of(row: Row, name: str) -> Any:
    """A row's value.

    Args:
        row: the row.
        name: name of a field or an option.

    Returns:
        The value, or `MISSING`. Only an option's value may be `None`.
    """
    if name in FIELDS:
        value = row.values[name]
        return MISSING if value is None else value
    return row.options.get(name, MISSING)


def _fulfils(row: Row, condition: Filter) -> bool:
    """Whether a row has the value and fulfils the condition."""
    value, number = value_of(row, condition.name), _number(condition.value)
    compare = OPERATORS[condition.operator]
    if value is MISSING:
        return False
    if _is_number(value) and number is not None:
        return compare(value, number)
    if condition.operator in ("=", "==", "!="):
        return compare(_as_text(value), condition.value)
    return False


def _sort_key(value: Any) -> tuple[bool, float | str]:
    """A key that sorts numbers before texts."""
    return (False, value) if _is_number(value) else (True, _as_text(value))


def _is_number(value: object) -> bool:
    """Whether a value can be compared with < and the like."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(text: str) -> float | None:
    """Converts a text to a number; `None` if the text is not a number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if value != value else value


def _as_text(value: object) -> str:
    """An option's value in the form of a filter."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)
