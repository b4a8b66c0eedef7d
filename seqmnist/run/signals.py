"""Ctrl-C and SIGTERM: a first signal ends the run after its step, a second at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import Callable

NUMBERS = (signal.SIGINT, signal.SIGTERM)

# One event may send the same signal several times: `timeout` sends it to the process
# and to its group, and Linux sends SIGTERM for each thread of a launcher that ends.
ECHO_SECONDS = 0.5


class StopSignals:
    """Notes SIGINT and SIGTERM while a `with` block runs.

    Python runs signal handlers only between its own instructions, so a handler would
    wait while TensorFlow computes or compiles. Therefore the handlers do nothing. A
    thread reads the signals' numbers from a pipe (`signal.set_wakeup_fd`), acknowledges
    the first signal at once, and ends the process at the second. The same signal
    again within half a second does not count as a second one.

    Args:
        advice: printed when the process ends at once.
        promise: what happens at the first signal; printed.

    Attributes:
        number: the first signal's number, or `None`.
    """

    def __init__(
        self, advice: str, promise: str = "finishing the step and saving"
    ) -> None:
        self.number: int | None = None
        self._promise = promise
        self._advice = advice
        self._previous: dict[int, Callable | int | None] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread gets signals and may set handlers
        reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._thread = threading.Thread(target=self._watch, args=[reader], daemon=True)
        self._thread.start()
        self._previous_writer = signal.set_wakeup_fd(self._writer)
        for number in NUMBERS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores signals
                self._previous[number] = signal.signal(number, lambda *args: None)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not hasattr(self, "_thread"):
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_writer)
        os.close(self._writer)
        self._thread.join()

    def _watch(self, reader: int) -> None:
        """Reads signal numbers until the pipe is closed."""
        echo_ends = 0.0
        with open(reader, "rb", buffering=0) as pipe:
            while True:
                byte = pipe.read(1)
                if not byte:
                    return
                number = byte[0]
                if number not in NUMBERS:
                    continue
                if number == self.number and time.monotonic() < echo_ends:
                    continue
                if self.number is not None:
                    _say(f"stopped at once; {self._advice}")
                    os._exit(128 + number)
                self.number = number
                echo_ends = time.monotonic() + ECHO_SECONDS
                name = signal.Signals(number).name
                _say(f"{name}: {self._promise}; a second one stops at once")


def _say(text: str) -> None:
    """Prints a line on stderr, if anyone still reads it."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"\n{text}\n")
        sys.stderr.flush()
