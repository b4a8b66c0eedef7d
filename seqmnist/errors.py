"""What ends a run early, and the one line each of it is told in."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from typing import Any, Callable, Iterator, Mapping


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is one line that says what was found, what is allowed and what to do.
    """

    status = 2  # which argparse uses for a bad command line


class CannotWrite(UserError):
    """A run's files cannot be written: disk full, folder gone, not allowed."""


class Diverged(UserError):
    """Loss, gradient or weights are no longer finite numbers."""

    status = 3


class LostWorker(UserError):
    """Another worker has gone, or does not answer any more."""

    status = 75  # EX_TEMPFAIL of sysexits.h: it may work when all are started again


class Interrupted(Exception):
    """A signal ended the run.

    Args:
        number: the signal's.
        message: where the run stands, and how to go on with it.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an `OSError` within the block into a `CannotWrite` that names `path`."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"{path}: cannot be written ({error.strerror or error})")


def one_line(text: str) -> str:
    """The text with everything escaped that would not show, line ends included."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def differences(
    there: Mapping[str, Any], here: Mapping[str, Any], place: str = "here"
) -> list[str]:
    """What differs between two mappings, by name, in words.

    Args:
        there: what was found.
        here: what it should be.
        place: where that is.

    Returns:
        A text "name is 1 there and 2 here" for each name with other values.
    """
    return [
        f"{name} is {there.get(name, 'missing')} there and "
        f"{here.get(name, 'missing')} {place}"
        for name in sorted({*there, *here})
        if there.get(name, "missing") != here.get(name, "missing")
    ]


def tensorflow_reason(error: Exception) -> str:
    """The operating system's words in an error of TensorFlow's, or its first line."""
    match = re.search(r"; ([^;\[\n]+)", str(error))
    return match.group(1) if match else str(error).splitlines()[0]


def one_line_errors(main: Callable[..., int]) -> Callable[..., int]:
    """Makes `main(argv)` end a script with an exit status instead of a traceback.

    A `UserError` prints its line on stderr and gives its status, 2, 3 or 75. A signal
    gives 128 and its number, as in the shell: 130 for Ctrl-C, 143 for SIGTERM; and a
    reader that closed the pipe (`| head`) 141, as SIGPIPE would.

    Args:
        main: a function of the command line that returns an exit status.

    Returns:
        The same function, which now returns a status in these cases too.
    """

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None) -> int:
        _make_printable()
        try:
            status = main(argv)
            sys.stdout.flush()
            return status
        except UserError as error:
            print(f"error: {one_line(str(error))}", file=sys.stderr)
            return error.status
        except Interrupted as interrupted:
            print(f"interrupted {one_line(str(interrupted))}", file=sys.stderr)
            return 128 + interrupted.number
        except KeyboardInterrupt:  # before the training: nothing is there to be saved
            print("\ninterrupted", file=sys.stderr)
            return 130
        except OSError as error:  # of stdout: what a run writes is a CannotWrite
            # So that Python does not fail again when it flushes stdout at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                return 141
            print(f"error: {one_line(str(error))}", file=sys.stderr)
            return 2

    return wrapped


def _make_printable() -> None:
    """Makes sure that whatever is printed can be: to nowhere, or in any encoding."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
