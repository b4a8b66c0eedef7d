"""A thread that ends the process when it has waited too long for another worker."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Callable, Iterator, NamedTuple

from seqmnist.errors import LostWorker, one_line

LOOK_SECONDS = 0.5
PROBE_SECONDS = 3.0  # time in a block before the other workers are checked


class Watched(NamedTuple):
    """A watched block.

    Attributes:
        since: the time at which the block began, by `time.monotonic`.
        timeout: seconds that the block may take.
        find_lost: returns the workers that have ended, in words, or "".
        find_silent: returns the workers that cannot be reached, in words, or "".
    """

    since: float
    timeout: float
    find_lost: Callable[[], str]
    find_silent: Callable[[], str]


class Watchdog:
    """Ends the process if a block takes too long, or if a worker has ended meanwhile.

    The watchdog does not wait for an exception: a call of TensorFlow that waits for a
    lost worker may never return, or take minutes to close the session.

    Args:
        line: takes the lost workers in words; returns the error's line.
    """

    def __init__(self, line: Callable[[str], str]) -> None:
        self._line = line
        self._watched: Watched | None = None
        self._is_closed = threading.Event()
        # A copy, since stderr is held back at times.
        self._stderr = os.dup(2)
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        """Ends the watching."""
        self._is_closed.set()

    @contextlib.contextmanager
    def during(
        self,
        timeout: float,
        find_lost: Callable[[], str],
        find_silent: Callable[[], str],
    ) -> Iterator[None]:
        """Watches a block, with arguments as in `Watched`. Blocks may be nested."""
        outer = self._watched
        self._watched = Watched(time.monotonic(), timeout, find_lost, find_silent)
        try:
            yield
        finally:
            self._watched = outer and outer._replace(since=time.monotonic())

    def _watch(self) -> None:
        """Checks the clock and the other workers, until `close`."""
        while not self._is_closed.wait(LOOK_SECONDS):
            watched = self._watched
            if watched is None:
                continue
            waited = time.monotonic() - watched.since
            lost = watched.find_lost() if waited >= PROBE_SECONDS else ""
            if not lost and waited >= watched.timeout:
                who = watched.find_silent() or "the others"
                lost = (
                    f"{who}: no answer for {watched.timeout:g} seconds (if a step or "
                    "the chief takes longer, give a longer --worker-timeout)"
                )
            if lost and self._watched is watched:  # the block is still waiting
                try:
                    line = f"error: {one_line(self._line(lost))}\n"
                    os.write(self._stderr, line.encode(errors="backslashreplace"))
                finally:
                    os._exit(LostWorker.status)
