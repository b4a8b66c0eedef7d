"""The names of a data set's classes, for figures and predictions.

A file has a line per class, in the order of the labels:

    T-shirt/top
    Trouser

or, as in EMNIST's mapping files, the label and the character codes that it stands for:

    1 65 97
    2 66 98

or, as in KMNIST's class maps, a heading, then the label, the code and the character:

    index,codepoint,char
    0,U+304A,お
"""

from __future__ import annotations

import re
from typing import Sequence

from seqmnist.errors import UserError
from seqmnist.paths import read_small

MAX_LENGTH = 40  # characters of a name
MAX_BYTES = 100_000  # a larger file has no class names
CLASS_MAP = "index,codepoint,char"
CLASS_MAP_LINE = re.compile(r"([0-9]{1,3}),U\+([0-9A-Fa-f]{1,5}),.*")
MAPPING = re.compile(r"[0-9]{1,3}( [0-9]{1,6})+")  # codes are below 1,114,112


def numbered(num_classes: int, first: int = 0) -> tuple[str, ...]:
    """The names of classes that have only numbers."""
    return tuple(map(str, range(first, first + num_classes)))


def is_name(name: object) -> bool:
    """Whether this is the name of a class, for a line and a figure."""
    return isinstance(name, str) and name.isprintable() and 0 < len(name) <= MAX_LENGTH


def read_class_names(path: str, numbers: Sequence[str]) -> tuple[str, ...]:
    """Reads a file of class names.

    Args:
        path: the file.
        numbers: the labels, as the data set has them.

    Returns:
        A name per label.

    Raises:
        UserError: the file cannot be read, or does not have one name per label.
    """
    try:
        text = read_small(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: cannot be read (it is no text)")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read ({reason})")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines[:1] == [CLASS_MAP]:
        lines = [
            CLASS_MAP_LINE.sub(lambda m: f"{m.group(1)} {int(m.group(2), 16)}", line)
            for line in lines[1:]
        ]
    if lines and all(map(MAPPING.fullmatch, lines)):
        names = _characters(path, lines, numbers)
    else:
        names = lines
    if len(names) != len(numbers):
        raise UserError(
            f"{path}: found {len(names)} names; expected a line for each "
            f"of the labels {numbers[0]} to {numbers[-1]}"
        )
    for name in names:
        if not is_name(name) or names.count(name) > 1:
            raise UserError(
                f"{path}: name {name!r}; expected different names of at "
                f"most {MAX_LENGTH} printable characters"
            )
    return tuple(names)


def _characters(path: str, lines: list[str], numbers: Sequence[str]) -> list[str]:
    """The names in a mapping: A/a for the label that stands for both."""
    rows = {number: codes for number, *codes in map(str.split, lines)}
    if list(rows) != list(numbers):
        raise UserError(
            f"{path}: a mapping of the labels {', '.join(rows)}; expected "
            f"{numbers[0]} to {numbers[-1]} in order, each with its character codes"
        )
    return ["/".join(chr(int(code)) for code in codes) for codes in rows.values()]
