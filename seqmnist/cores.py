"""The processor cores that a process may use, and how several processes share them."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator, Sequence

CAN_CHOOSE = hasattr(os, "sched_getaffinity")  # on Linux


def num_cores() -> int:
    """The number of cores that this process may use, 1 or more."""
    return len(os.sched_getaffinity(0)) if CAN_CHOOSE else os.cpu_count() or 1


def cores_of(index: int, count: int) -> list[int]:
    """The cores for one of `count` processes that run at the same time.

    Args:
        index: index of the process, 0 to `count - 1`.
        count: the number of processes.

    Returns:
        The process's part of the cores that this process may use, at least one core;
        with fewer cores than processes, some processes share a core. Empty if cores
        cannot be chosen.
    """
    if not CAN_CHOOSE:
        return []
    cores = sorted(os.sched_getaffinity(0))
    if count > len(cores):
        return [cores[index % len(cores)]]
    return cores[index * len(cores) // count : (index + 1) * len(cores) // count]


@contextlib.contextmanager
def running_on(cores: Sequence[int]) -> Iterator[None]:
    """Runs this thread, and processes that it starts, on these cores within a block.

    Args:
        cores: the cores' numbers; if empty, nothing changes.
    """
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
