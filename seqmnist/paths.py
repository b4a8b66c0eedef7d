"""The project's folders, the user's home, and what to know of a path before its use."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
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


def file_size(path: str | os.PathLike[str]) -> int:
    """The size of a file in bytes.

    Args:
        path: the file.

    Raises:
        ValueError: this is a folder, pipe or device; to read it might never end.
        OSError: there is no such file, or it cannot be looked at.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{os.path.basename(path)} is no file")
    return found.st_size


def read_small(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Reads a file that ought to be small.

    Args:
        path: the file.
        max_bytes: the most bytes that are read.

    Returns:
        The contents.

    Raises:
        ValueError: this is no file, or it is larger.
        OSError: the file cannot be read.
    """
    file_size(path)
    with open(path, "rb") as file:
        content = file.read(max_bytes + 1)  # a file of /proc does not tell its size
    if len(content) > max_bytes:
        raise ValueError(f"{os.path.basename(path)} has more than {max_bytes} bytes")
    return content


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
