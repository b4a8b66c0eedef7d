"""The project's folders, the user's home, checks and the printed form of a path."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from seqmnist.errors import UserError

PROJECT_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = PROJECT_DIR / "data"
LOG_DIR = PROJECT_DIR / "logs"


def check_folder(path: str | os.PathLike[str], advice: str) -> None:
    """Checks that a folder exists and can be read.

    Args:
        path: the folder.
        advice: what to give instead; the end of the error's line.

    Raises:
        UserError: the path cannot be read, or is not a folder.
    """
    try:
        os.listdir(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read as a folder ({error.strerror}); {advice}"
        )


def shown(path: str | os.PathLike[str]) -> str:
    """The printed form of a path: relative if it is below the working folder."""
    relative = os.path.relpath(path)
    return os.fspath(path) if relative.startswith(os.pardir) else relative


def give_home() -> None:
    """Gives a user without a home folder, as in many containers, a temporary one.

    TensorFlow and matplotlib keep files in the home folder. Without one they make a
    folder named `~`, or fail.
    """
    try:
        home = os.path.expanduser("~")
    except KeyError:  # Python 3.7, for a user without a name
        home = "~"
    if home == "~":
        home = tempfile.mkdtemp(prefix="home-")
        os.environ["HOME"] = home
        atexit.register(shutil.rmtree, home, ignore_errors=True)
