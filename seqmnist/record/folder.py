"""A run's folder: its path, its lock, and its configuration.

logs/<script>/<time>-<label>/     such as 20261122-002710-lstm-50-seed0
    config.json      every option, the command, versions, the data's digest, resumptions
    lock             the process that trains here; empty after a run has ended normally
    permutation.txt  with --permute, the pixel that is read at each time step
    metrics.csv      one row per split and report (record/log.py)
    train/ ...       TensorBoard events of train and validation; the events of test and
                     of the whole run are in the run's folder itself (record/log.py)
    checkpoints/     the last few and the best (run/checkpoints.py)
    curves.png ...   figures and their data, written at the end (run/illustrator.py)
    predictions.csv  the prediction for every test image (record/predictions.py)
    result.txt       the result line, written last, so it marks a complete run
    ended-at-N/      what an earlier end wrote, if the run was made longer; ended-at-N-2
                     if somebody has other files of these names there
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import itertools
import json
import os
import platform
import re
import shutil
import time
from pathlib import Path
from typing import Any, Iterator, Sequence

try:
    import fcntl
except ImportError:  # Windows has no fcntl, so folders are not locked there
    fcntl = None  # type: ignore[assignment]

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.cores import num_cores
from seqmnist.errors import CannotWrite, UserError, tell, writing
from seqmnist.paths import read_small, shown

CONFIG_FILE = "config.json"
LOCK_FILE = "lock"
METRICS_FILE = "metrics.csv"
PERMUTATION_FILE = "permutation.txt"
RESULT_FILE = "result.txt"
# What a run's end writes; the last one marks a complete run.
END_FILES = (
    *("confusion.png", "mistakes.png", "reading.png", "reading.csv", "curves.png"),
    *("predictions.csv", RESULT_FILE),
)

# A thousand times the size of config.json; it, and the text of a checkpoint, grow a
# little with each resumption.
MAX_TEXT_BYTES = 2**20

# What a run writes, by path below its folder.
OWN_FOLDERS = re.compile(
    r"train|validation|test|checkpoints(/partial)?|ended-at-\d+(-\d+)?"
)
OWN_FILES = re.compile(
    r"lock|config\.json|permutation\.txt|trace-\d+-\d+\.json"
    r"|checkpoints/(model\.ckpt-\d+\..*|checkpoint|best)"
    r"|(.*/)?(events\.out\.tfevents\..*|metrics\.csv|"
    rf"{'|'.join(map(re.escape, END_FILES))})",
    re.DOTALL,  # a name may have line ends
)

# Seconds to wait for the lock: compare.py holds the lock for an instant to see whether
# a run still trains; a training process holds the lock for much longer.
LOCK_PATIENCE = 0.2

# What a disk answers that cannot flush a folder, or lock a file.
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)

# TensorFlow reads a checkpoint's name as a pattern.
PATTERN_CHARACTERS = set("*?[]\\")


class RunFolder:
    """A run folder, locked for this process until it is closed.

    The operating system releases the lock when the process ends, even by a crash.

    Args:
        path: the folder, which exists.

    Attributes:
        path: the folder.
        left_by: the process that ended without releasing the lock, in words, or "".

    Raises:
        UserError: another process works in the folder, or writing there might lead to
            files elsewhere.
        CannotWrite: the lock's file cannot be written or locked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_own(path)
        with writing(shown(path / LOCK_FILE)):
            self._lock = os.open(str(path / LOCK_FILE), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is not None:
                _take(self._lock)
        except BlockingIOError:
            owner = self._owner() or "another process"
            os.close(self._lock)
            raise UserError(
                f"{shown(path)}: {owner} trains in this folder; wait for its end, or "
                "stop it"
            )
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                os.close(self._lock)
                raise CannotWrite(f"{shown(path)}: cannot be locked ({error.strerror})")
            tell(
                f"{shown(path)}: this disk has no locks; do not train in this folder "
                "with a second process"
            )
        self.left_by = self._owner()
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._write(f"process {os.getpid()} on {platform.node()}, since {since}\n")

    @classmethod
    def create(cls, log_dir: str, script: str, label: str) -> RunFolder:
        """Makes a new folder, with a number if a run of the same second has the name.

        Args:
            log_dir: the folder of all runs.
            script: the script's name without `.py`.
            label: what distinguishes the run, for the name.

        Returns:
            The folder, locked.

        Raises:
            UserError: the folder cannot be made.
        """
        parent = Path(log_dir) / script
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{label}"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(1, 1000):
                path = parent / (name if attempt == 1 else f"{name}-{attempt}")
                try:
                    path.mkdir()
                    synchronize(parent)
                    return cls(path)
                except FileExistsError:
                    continue
        except OSError as error:
            raise _bad_log_dir(parent, error.strerror)
        raise UserError(f"{parent / name}: a thousand runs of this second exist")

    def write_config(self, record: dict[str, Any]) -> None:
        """Writes config.json."""
        write_text(self.path / CONFIG_FILE, json.dumps(record, indent=2) + "\n")

    def write_first_config(self, record: dict[str, Any]) -> None:
        """Writes config.json of a new run; if that fails, removes the folder."""
        try:
            self.write_config(record)
        except CannotWrite as error:
            with contextlib.suppress(OSError):
                (self.path / LOCK_FILE).unlink()
                self.path.rmdir()
            raise CannotWrite(
                f"{error}; nothing was trained: mend that, or give another --log-dir"
            )

    def put_end_away(self, step: int) -> None:
        """Moves what the end of a finished run wrote to a folder, as the run goes on.

        metrics.csv is copied, as rows after the last checkpoint will be cut off. This
        may be done again if a kill came in between. A folder of this name with other
        files is left alone, and the next number is taken.

        Args:
            step: the last step.

        Raises:
            CannotWrite: disk full, not allowed.
        """
        name = f"ended-at-{step}"
        with writing(shown(self.path / name)):
            moved = [end for end in END_FILES if (self.path / end).exists()]
            numbers = itertools.count(2)
            ended = self.path / name
            while _has_others(ended, self.path, [METRICS_FILE, *moved]):
                ended = self.path / f"{name}-{next(numbers)}"
            ended.mkdir(exist_ok=True)
            with replacing(ended / METRICS_FILE) as partial:
                shutil.copyfile(str(self.path / METRICS_FILE), str(partial))
            for end in moved:
                os.replace(str(self.path / end), str(ended / end))

    def close(self) -> None:
        """Releases the lock."""
        self._write("")
        os.close(self._lock)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _owner(self) -> str:
        """The text in the lock's file."""
        os.lseek(self._lock, 0, os.SEEK_SET)
        return os.read(self._lock, 1000).decode(errors="replace").strip()

    def _write(self, owner: str) -> None:
        """Replaces the text in the lock's file, as far as the disk has room."""
        with contextlib.suppress(OSError):  # the lock does not depend on the text
            os.ftruncate(self._lock, 0)
            os.lseek(self._lock, 0, os.SEEK_SET)
            os.write(self._lock, owner.encode())


def _has_others(folder: Path, source: Path, names: Sequence[str]) -> bool:
    """Whether a folder has files of these names with other contents than the source."""
    return any(
        os.path.lexists(folder / name)
        and not filecmp.cmp(str(folder / name), str(source / name), shallow=False)
        for name in names
    )


def check_own(folder: Path, below: str = "") -> None:
    """Checks that what a run writes in its folder stays there.

    The folder itself may be a link, and so may a folder above it. A hard link cannot be
    told from a file.

    Args:
        folder: the run's folder.
        below: "", or the name of a folder in it and a slash, to check only what is
            there.

    Raises:
        UserError: an entry that a run writes is a link, or of another kind.
        CannotWrite: the folder cannot be read.
    """
    with writing(shown(folder)):
        entries = sorted(os.scandir(folder / below), key=lambda entry: entry.name)
    for entry in entries:
        name = below + entry.name
        if OWN_FOLDERS.fullmatch(name):
            kind, is_right = "folder", entry.is_dir(follow_symlinks=False)
        elif OWN_FILES.fullmatch(name):
            kind, is_right = "file", entry.is_file(follow_symlinks=False)
        else:
            continue
        if entry.is_symlink():
            raise UserError(
                f"{shown(entry.path)}: is a link, and a run writes nothing outside its "
                f"folder; put the {kind} itself there (the whole run folder may be a "
                "link)"
            )
        if not is_right:
            raise UserError(
                f"{shown(entry.path)}: is no {kind}, and a run writes one of this "
                "name; move it away"
            )
        if kind == "folder" and not below:
            check_own(folder, f"{name}/")


def _take(lock: int) -> None:
    """Takes a lock; waits a moment, since compare.py may hold the lock briefly."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def check_name(option: str, path: Path) -> None:
    """Raises a `UserError` if TensorFlow could not read checkpoints below a path."""
    if PATTERN_CHARACTERS & set(str(path)):
        raise UserError(
            f"{option}: TensorFlow reads no checkpoint below {path}, as it takes the "
            "name for a pattern; give a folder without * ? [ ] \\ in its path"
        )


def check_log_dir(log_dir: str, script: str) -> None:
    """Checks that runs can be logged below a folder, without making anything.

    Args:
        log_dir: the folder of all runs, which need not exist yet.
        script: the script's name without `.py`.

    Raises:
        UserError: the folder cannot be written, or TensorFlow could not read
            checkpoints below it.
    """
    path = Path(log_dir).absolute() / script
    check_name("--log-dir", path)
    while not path.exists() and path != path.parent:
        path = path.parent
    if not path.is_dir():
        raise _bad_log_dir(path, "Not a directory")
    if not os.access(path, os.W_OK | os.X_OK):
        raise _bad_log_dir(path, "Permission denied")


def read_config(
    path: str, complaint: str = "--resume {}: no run to go on with"
) -> dict[str, Any]:
    """Reads the configuration of a run.

    Args:
        path: the run's folder.
        complaint: the beginning of the error's line, with {} for the folder.

    Returns:
        The contents of config.json.

    Raises:
        UserError: the path is not a run folder, or config.json cannot be read.
    """
    try:
        content = read_small(Path(path) / CONFIG_FILE, MAX_TEXT_BYTES)
        record = json.loads(content.decode())
        kinds = {"environment": dict, "resumed": list}
        if not isinstance(record, dict) or not all(
            isinstance(record.get(name, kind()), kind) for name, kind in kinds.items()
        ):
            raise ValueError("not what a run writes")
        return record
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"{complaint.format(path)}, as {CONFIG_FILE} cannot be read ({reason}); "
            "expected what a run printed as its run folder"
        )


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replaces a file in one piece: readers see the old file or the complete new one.

    Args:
        path: the file.

    Yields:
        The path at which to write the new file.

    Raises:
        CannotWrite: disk full, folder gone, not allowed; the old file is unchanged.
    """
    partial = path.with_name(path.name + ".partial")
    with writing(shown(path)):
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()  # a kill left it; if it is a link, it is not followed
        _make(partial)
        try:
            yield partial
            synchronize(partial)
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()
            raise
        synchronize(path.parent)


@contextlib.contextmanager
def creating(path: Path) -> Iterator[Path]:
    """Makes a new file in one piece, in a folder of the user's.

    Args:
        path: the file.

    Yields:
        The path at which to write the file: a new, empty file next to it.

    Raises:
        CannotWrite: disk full, folder gone, not allowed, or the file exists by now;
            nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(shown(path)):
        _make(partial)
        try:
            yield partial
            synchronize(partial)
            if path.exists():
                raise CannotWrite(f"{shown(path)}: is there by now; give another name")
            os.replace(partial, path)
        except BaseException:
            partial.unlink()
            raise


def _make(path: Path) -> None:
    """Makes an empty file; raises an `OSError` if there is anything, even a link."""
    os.close(os.open(str(path), os.O_CREAT | os.O_EXCL, 0o666))


def write_text(path: Path, text: str) -> None:
    """Writes a text file in one piece; see `replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(text.encode())


def synchronize(path: Path) -> None:
    """Flushes a file's contents, or a folder's entries, to the disk (fsync).

    Some shared disks cannot do this for folders; there, a crash of the machine may lose
    the latest changes.
    """
    descriptor = os.open(str(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def environment() -> dict[str, str | int]:
    """The versions and the machine that a run's numbers depend on."""
    return {
        "tensorflow": tf.VERSION,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": num_cores(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _bad_log_dir(path: Path, reason: str | None) -> UserError:
    """The error for a `--log-dir` that cannot be written."""
    return UserError(
        f"--log-dir: cannot make a run folder in {path} ({reason}); "
        "give a folder that you may write to"
    )
