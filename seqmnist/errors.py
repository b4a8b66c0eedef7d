"""Errors a user can mend, and the one line each of them is told in."""

from __future__ import annotations

import functools
import os
import sys
from typing import Callable


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is one line that says what was found, what is allowed and what to do.
    """


def one_line_errors(main: Callable[..., int]) -> Callable[..., int]:
    """Makes `main(argv)` end a script with an exit status instead of a traceback.

    A `UserError` prints its line on stderr and gives 2, the status that argparse uses
    for a bad command line; Ctrl-C gives 130 and a reader that closed the pipe
    (`| head`) 141, the shell's statuses for SIGINT and SIGPIPE.

    Args:
        main: a function of the command line that returns an exit status.

    Returns:
        The same function, which now returns 2, 130 or 141 in these cases.
    """

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None) -> int:
        try:
            status = main(argv)
            sys.stdout.flush()
            return status
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as interrupt:
            # training.py raises it again with the step and the folder in its message.
            print(f"\ninterrupted {interrupt}".rstrip(), file=sys.stderr)
            return 130
        except BrokenPipeError:
            # So that Python does not fail again when it flushes stdout at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141

    return wrapped
