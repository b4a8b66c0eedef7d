"""Reads the last rows of a metrics.csv, which may be long, half-written or damaged.

`read_metrics` in record/log.py reads all rows, and raises an error for a damaged one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterable, NamedTuple

from seqmnist.record.folder import METRICS_FILE

# About 60 rows, which mostly include the last row of every split. If not,
# `MAX_METRICS_BYTES` at the end of the file are searched.
TAIL_BYTES = 4096
MAX_METRICS_BYTES = 2**24

MAX_ROW_BYTES = 1000
MAX_WHOLE = 2**63  # counts are smaller
MAX_FLOAT = 1e100


class Figures(NamedTuple):
    """A row of metrics.csv, see `METRICS` in record/log.py.

    Attributes:
        step: updates done.
        epoch: passes over the training split done, a fraction.
        loss: nats per example, or `None` if the loss was not finite.
        correct: number of examples classified correctly.
        total: number of all examples, 1 or more.
        seconds: time spent in training, or `None` if unknown.
    """

    step: int
    epoch: float
    loss: float | None
    correct: int
    total: int
    seconds: float | None

    @property
    def accuracy(self) -> float:
        """`correct / total`, a fraction."""
        return self.correct / self.total


def last_figures(folder: Path, splits: Iterable[str]) -> dict[str, Figures]:
    """Reads the last row of each split.

    Args:
        folder: a run's folder.
        splits: some of `SPLITS` in record/log.py.

    Returns:
        Split -> the last complete row of metrics.csv. A split is left out if it has no
        rows, or if the last one is damaged.
    """
    found: dict[str, Figures | None] = {}
    try:
        for num_bytes in (TAIL_BYTES, MAX_METRICS_BYTES):
            header, data = _read_end(folder / METRICS_FILE, num_bytes)
            for split in set(splits) - set(found):
                line = _last_line(data, split)
                if line:
                    found[split] = _parse(header, line, split)
            if set(splits) == set(found) or len(data) < num_bytes:
                break
    except (OSError, ValueError):
        pass
    return {split: figures for split, figures in found.items() if figures}


def read_curve(folder: Path, split: str) -> list[tuple[float, float]]:
    """Reads a split's accuracies.

    Args:
        folder: a run's folder.
        split: `train`, `validation` or `test`.

    Returns:
        Epoch and accuracy of each undamaged row, in the file's order; empty if the file
        cannot be read.
    """
    try:
        header, data = _read_end(folder / METRICS_FILE, MAX_METRICS_BYTES)
    except (OSError, ValueError):
        return []
    word = f",{split},".encode()
    lines = data[: data.rfind(b"\n") + 1].split(b"\n")
    rows = [_parse(header, line, split) for line in lines if word in line]
    return [(row.epoch, row.accuracy) for row in rows if row]


def _read_end(path: Path, num_bytes: int) -> tuple[bytes, bytes]:
    """The header of a metrics.csv, and the last `num_bytes` bytes."""
    if not path.is_file():
        raise ValueError("no file")
    with open(path, "rb") as file:
        header = file.readline(MAX_ROW_BYTES)
        file.seek(max(0, file.seek(0, os.SEEK_END) - num_bytes))
        return header, file.read(num_bytes)


def _last_line(data: bytes, split: str) -> bytes:
    """The last complete line of a split in these bytes, or b"" if there is none."""
    at = data.rfind(f",{split},".encode(), 0, data.rfind(b"\n") + 1)
    start = data.rfind(b"\n", 0, max(at, 0))
    return data[start + 1 : data.find(b"\n", at)] if start >= 0 else b""


def _parse(header: bytes, line: bytes, split: str) -> Figures | None:
    """The row in a line, or `None` if the line is not a row of this split."""
    if len(line) > MAX_ROW_BYTES:
        return None
    names, fields = (part.decode("ascii", "replace") for part in (header, line))
    row = dict(zip(names.strip().split(","), fields.strip().split(",")))
    try:
        step, correct, count = (int(row[n]) for n in ("step", "correct", "count"))
        epoch, loss, seconds = (finite(row[n]) for n in ("epoch", "loss", "seconds"))
    except (KeyError, ValueError):
        return None
    if row.get("split") != split or epoch is None:
        return None
    if not (0 <= step < MAX_WHOLE and 0 <= correct <= count < MAX_WHOLE and count):
        return None
    return Figures(step, epoch, loss, correct, count, seconds)


def finite(number: str | float) -> float | None:
    """Reads a number.

    Args:
        number: the number, or its text.

    Returns:
        The number, or `None` if it is infinite, NaN, or too large to be squared.

    Raises:
        ValueError: the text is not a number.
    """
    value = float(number)
    return value if abs(value) < MAX_FLOAT else None
