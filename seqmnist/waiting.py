"""A word on the terminal while nothing seems to happen."""

from __future__ import annotations

import contextlib
import sys
from typing import Iterator

ERASE_LINE = "\x1b[K"


@contextlib.contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Shows what the program does now, until the block ends; only on a terminal.

    Args:
        what: the work, such as "loading TensorFlow".
    """
    stream = sys.stderr
    if stream is None or not stream.isatty():
        yield
        return
    stream.write(f"{what} ...\r")
    stream.flush()
    try:
        yield
    finally:
        stream.write(ERASE_LINE)
        stream.flush()
