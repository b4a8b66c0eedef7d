"""The project's folders, what must be a folder, and how a path is shown."""

from __future__ import annotations

import os
from pathlib import Path

from seqmnist.errors import UserError

PROJECT_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = PROJECT_DIR / "data"
LOG_DIR = PROJECT_DIR / "logs"


def check_folder(path: str | os.PathLike[str], advice: str) -> None:
    """Checks that a folder is there and may be read.

    Args:
        path: the folder.
        advice: what to give instead, the end of the error's line.

    Raises:
        UserError: it cannot be read, or is no folder.
    """
    try:
        os.listdir(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read as a folder ({error.strerror}); {advice}"
        )


def shown(path: str | os.PathLike[str]) -> str:
    """A path as a person would type it: relative to the working folder if below it."""
    relative = os.path.relpath(path)
    return os.fspath(path) if relative.startswith(os.pardir) else relative
