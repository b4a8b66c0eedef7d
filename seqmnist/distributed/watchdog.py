"""A thread that ends the process when another worker is waited for too long."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Callable, Iterator, NamedTuple

from seqmnist.errors import LostWorker, one_line

LOOK_SECONDS = 0.5
PROBE_SECONDS = 3.0  # how long is waited before the others are looked at


class Watched(NamedTuple):
    """A block that is watched.

    Attributes:
        since: when it began.
        timeout: seconds that it may take.
        find_lost: says who has gone, or "".
        find_silent: says who cannot be reached, or "".
    """

    since: float
    timeout: float
    find_lost: Callable[[], str]
    find_silent: Callable[[], str]


class Watchdog:
    """Ends the process if a block takes too long, or a worker has gone meanwhile.

    It does not wait for an exception: TensorFlow may never come back from what waits
    for a worker that has gone, or take minutes to close its session.

    Args:
        line: makes the line to say of what was lost.
    """

    def __init__(self, line: Callable[[str], str]) -> None:
        self._line = line
        self._watched: Watched | None = None
        self._is_closed = threading.Event()
        # Of its own, as stderr is held back now and then.
        self._stderr = os.dup(2)
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        """Watches no more."""
        self._is_closed.set()

    @contextlib.contextmanager
    def during(
        self,
        timeout: float,
        find_lost: Callable[[], str],
        find_silent: Callable[[], str],
    ) -> Iterator[None]:
        """Watches a block; its arguments are as in `Watched`. Blocks may be nested."""
        outer = self._watched
        self._watched = Watched(time.monotonic(), timeout, find_lost, find_silent)
        try:
            yield
        finally:
            self._watched = outer and outer._replace(since=time.monotonic())

    def _watch(self) -> None:
        """Looks at the clock."""
        while not self._is_closed.wait(LOOK_SECONDS):
            watched = self._watched
            if watched is None:
                continue
            waited = time.monotonic() - watched.since
            lost = watched.find_lost() if waited >= PROBE_SECONDS else ""
            if not lost and waited >= watched.timeout:
                who = watched.find_silent() or "the others"
                lost = (
                    f"{who}: no answer for {watched.timeout:g} seconds (where a step "
                    "or the chief takes longer, give a longer --worker-timeout)"
                )
            if lost and self._watched is watched:  # it still waits
                try:
                    line = f"error: {one_line(self._line(lost))}\n"
                    os.write(self._stderr, line.encode(errors="backslashreplace"))
                finally:
                    os._exit(LostWorker.status)
