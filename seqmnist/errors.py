"""The errors that end a run early, each printed as one line."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from typing import Callable, Iterator, Mapping, Sequence

MAX_LINE = 1000  # characters of a line that quotes values, which may be long
END_OF_LINE = 300  # characters kept of a longer line's end, which says what to do


class UserError(Exception):
    """An option, a file or a folder that the user gave cannot be used.

    The message is one line: what was found, what is allowed and what to do.
    """

    status = 2  # as argparse has for a bad command line


class CannotWrite(UserError):
    """A run's files cannot be written: disk full, folder gone, not allowed."""


class Diverged(UserError):
    """Loss, gradient or weights are no longer finite numbers."""

    status = 3


class TryAgain(UserError):
    """What may be gone when all workers are started again, on new ports."""

    status = 75  # EX_TEMPFAIL of sysexits.h


class LostWorker(TryAgain):
    """Another worker has ended, or no longer answers."""


class Interrupted(Exception):
    """A signal ended the run.

    Args:
        number: the signal's number.
        message: the step that the run has reached, and how to continue the run.
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
    """The text with all unprintable characters escaped, line ends included."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def brief(text: str) -> str:
    """The text as `one_line`, without the middle if it is long."""
    line = one_line(text)
    if len(line) <= MAX_LINE:
        return line
    return f"{line[: MAX_LINE - END_OF_LINE]} ... {line[-END_OF_LINE:]}"


def tell(text: str) -> None:
    """Prints a text on stderr, `brief`: it may quote what a file says."""
    print(brief(text), file=sys.stderr, flush=True)


def differences(
    there: Mapping[str, object], here: Mapping[str, object], place: str = "here"
) -> list[str]:
    """Describes the differences between two mappings.

    Args:
        there: the values that were found.
        here: the values that are expected.
        place: the word for the place of the expected values.

    Returns:
        A text "name is 1 there and 2 here" for each name whose values differ.
    """
    return [
        f"{name} is {there.get(name, 'missing')} there and "
        f"{here.get(name, 'missing')} {place}"
        for name in sorted({*there, *here})
        if there.get(name, "missing") != here.get(name, "missing")
    ]


def tensorflow_reason(error: Exception) -> str:
    """The operating system's message in a TensorFlow error, or the first line."""
    match = re.search(r"; ([^;\[\n]+)", str(error))
    return match.group(1) if match else str(error).splitlines()[0]


def one_line_errors(run: Callable[[Sequence[str]], object]) -> Callable[..., int]:
    """Makes the `main(argv)` of a program: a function that returns its exit status.

    A `UserError` prints its line on stderr and returns its status, 2, 3 or 75. A signal
    returns 128 plus its number, as in the shell: 130 for Ctrl-C, 143 for SIGTERM. A
    reader that closed the pipe (`| head`) returns 141, as SIGPIPE would.

    Args:
        run: a function of the command line's arguments.

    Returns:
        The function, with the arguments of the process if none are given. It returns a
        status in all these cases; else what `run` returned, if that is a number; else
        0.
    """

    @functools.wraps(run)
    def main(argv: Sequence[str] | None = None) -> int:
        _make_printable()
        try:
            status = run(sys.argv[1:] if argv is None else argv)
            sys.stdout.flush()
            return status if isinstance(status, int) else 0
        except UserError as error:
            tell(f"error: {error}")
            return error.status
        except Interrupted as interrupted:
            print(f"interrupted {one_line(str(interrupted))}", file=sys.stderr)
            return 128 + interrupted.number
        except KeyboardInterrupt:  # before the training: nothing to save
            print("\ninterrupted", file=sys.stderr)
            return 130
        except OSError as error:  # of stdout; a run's files raise CannotWrite
            # Python flushes stdout at exit, and must not fail again then.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                return 141
            tell(f"error: {error}")
            return 2

    return main


def _make_printable() -> None:
    """Lets any text be printed: to a closed stream, and in any encoding."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
