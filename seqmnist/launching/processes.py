"""Scripts as processes: their output with a prefix, their signals, their cores."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import IO, Callable, Mapping, Sequence, TextIO

from seqmnist.cores import running_on
from seqmnist.distributed.cluster import VARIABLE
from seqmnist.errors import one_line
from seqmnist.paths import PROJECT_DIR

POLL_SECONDS = 0.05
PR_SET_PDEATHSIG = 1  # of Linux
AS_TERM = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Child:
    """A script that runs as a process of its own.

    The process has its own session, so a Ctrl-C in the terminal reaches it only once,
    through `Signals`. If this process is killed, the child gets SIGTERM.

    Args:
        command: the script and its arguments.
        prefix: the prefix of each line of the process's output.
        cores: the cores of the process; empty for all.
        environ: environment variables in addition to those of this process.
        notice: called with each line of the process's stdout, without the line end.
    """

    def __init__(
        self,
        command: Sequence[str],
        prefix: str,
        cores: Sequence[int],
        environ: Mapping[str, str] | None = None,
        notice: Callable[[str], None] = lambda line: None,
    ) -> None:
        inherited = {k: v for k, v in os.environ.items() if k != VARIABLE}
        settings = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        # A script of one's own may lie anywhere.
        folders = [str(PROJECT_DIR), *filter(None, [inherited.get("PYTHONPATH")])]
        settings["PYTHONPATH"] = os.pathsep.join(folders)
        with running_on(cores):
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**inherited, **settings, **(environ or {})},
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self._copiers = [
            threading.Thread(target=_copy, args=[*pipes, prefix, notice], daemon=True)
            for pipes, notice in (
                ((self._process.stdout, sys.stdout), notice),
                ((self._process.stderr, sys.stderr), lambda line: None),
            )
        ]
        for copier in self._copiers:
            copier.start()

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended the process."""
        return (self._process.poll() or 0) < 0

    @property
    def status(self) -> int | None:
        """The exit status as in the shell, 128 + N for signal N; `None` if running."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def send(self, number: int) -> None:
        """Sends a signal, if the process still runs."""
        self._process.send_signal(number)

    def finish(self) -> None:
        """Waits for the end of the process, and for all of its output."""
        self._process.wait()
        for copier in self._copiers:
            copier.join()


_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # looked up before any fork


def _end_with_parent() -> None:
    """Asks Linux for a SIGTERM when the parent ends, also if it is killed."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


class Signals:
    """Passes signals on to the children while a `with` block runs.

    The children get SIGINT and SIGTERM unchanged; SIGHUP (a closed terminal) and
    SIGQUIT (Ctrl-\\) reach them as SIGTERM.

    Attributes:
        number: the first signal's number, or `None`.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._children: list[Child] = []
        self._previous: dict[int, Callable | int | None] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, *AS_TERM):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores signals
                self._previous[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for child in self._children:  # ends all children, also after an error here
            if child.status is None:
                child.send(signal.SIGKILL)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        passed_on = signal.SIGTERM if number in AS_TERM else number
        self.number = self.number or passed_on
        for child in self._children:
            child.send(passed_on)

    def add(self, child: Child) -> Child:
        """Adds a child, sends it a signal that came before, and returns the child."""
        self._children.append(child)
        if self.number is not None:
            child.send(self.number)
        return child


def wait(is_done: Callable[[], bool], seconds: float = float("inf")) -> bool:
    """Waits until `is_done()`, at most for `seconds`; returns whether it is done."""
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _copy(
    source: IO[bytes], target: TextIO, prefix: str, notice: Callable[[str], None]
) -> None:
    """Copies lines as they come, each in one piece; drops them if the target fails."""
    with source:
        for line in source:
            text = line.decode(errors="replace").rstrip("\n")
            notice(text)
            with contextlib.suppress(OSError, ValueError):
                target.write(f"{prefix}{text}\n" if text else "\n")
                target.flush()


def say(text: str) -> None:
    """Prints a line of the launcher's own on stderr."""
    print(one_line(f"launch: {text}"), file=sys.stderr, flush=True)
