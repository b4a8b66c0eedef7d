"""A run's folder: where it is, who works in it, and its configuration.

logs/<script>/<time>-seed<seed>/
    config.json      every option, the command, versions, the data's digest, resumptions
    lock             who trains here now; empty when the run was left in order
    permutation.txt  with --permute, which pixel is read at which time step
    metrics.csv      one row per split and report (record/log.py)
    train/ ...       TensorBoard events, one folder per split, the run's own beside them
                     (record/log.py)
    checkpoints/     the last few and the best (run/checkpoints.py)
    curves.png ...   figures and what they show, written at the end (run/illustrator.py)
    predictions.csv  of every test image (record/predictions.py)
    result.txt       the result line, written last: by it a run is known to be complete
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from pathlib import Path
from typing import Any, Iterator

try:
    import fcntl
except ImportError:  # not on Windows, where two processes are not told apart
    fcntl = None  # type: ignore[assignment]

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.cores import num_cores
from seqmnist.errors import CannotWrite, UserError, writing
from seqmnist.paths import shown

CONFIG_FILE = "config.json"
LOCK_FILE = "lock"
METRICS_FILE = "metrics.csv"
PERMUTATION_FILE = "permutation.txt"
RESULT_FILE = "result.txt"

# Seconds to wait for the lock: compare.py holds it for an instant to see whether a run
# still trains, and who trains holds it for much longer.
LOCK_PATIENCE = 0.2

# TensorFlow reads a checkpoint's name as a pattern.
PATTERN_CHARACTERS = set("*?[]\\")


class RunFolder:
    """A run folder that this process alone works in, until it is closed.

    The operating system takes the lock back when the process ends, however it ends.

    Args:
        path: the folder, which exists.

    Attributes:
        path: the folder.
        left_by: who held the lock and ended without giving it back, or "".

    Raises:
        UserError: another process works in the folder.
        CannotWrite: the lock's file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(shown(path / LOCK_FILE)):
            self._lock = os.open(str(path / LOCK_FILE), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is not None:
                _take(self._lock)
        except OSError as error:
            owner = self._owner() or "another process"
            os.close(self._lock)
            if isinstance(error, BlockingIOError):
                problem = f"{owner} trains in this folder; wait for its end, or stop it"
            else:
                problem = f"cannot be locked ({error.strerror}); use another disk"
            raise UserError(f"{shown(path)}: {problem}")
        self.left_by = self._owner()
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._write(f"process {os.getpid()} on {platform.node()}, since {since}\n")

    @classmethod
    def create(cls, log_dir: str, script: str, seed: int) -> RunFolder:
        """Makes a folder that was not there before, also for runs of the same second.

        Args:
            log_dir: the folder of all runs.
            script: the script's name without `.py`.
            seed: the run's seed.

        Returns:
            The folder, locked.

        Raises:
            UserError: it cannot be made.
        """
        parent = Path(log_dir) / script
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-seed{seed}"
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
        """Writes config.json of a new run; if that fails, the folder goes again."""
        try:
            self.write_config(record)
        except CannotWrite as error:
            with contextlib.suppress(OSError):
                (self.path / LOCK_FILE).unlink()
                self.path.rmdir()
            raise CannotWrite(
                f"{error}; nothing was trained: mend that, or give another --log-dir"
            )

    def close(self) -> None:
        """Lets another process work here."""
        self._write("")
        os.close(self._lock)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _owner(self) -> str:
        """What the lock's file says."""
        os.lseek(self._lock, 0, os.SEEK_SET)
        return os.read(self._lock, 1000).decode(errors="replace").strip()

    def _write(self, owner: str) -> None:
        """Replaces what the lock's file says, as far as the disk has room for it."""
        with contextlib.suppress(OSError):  # the lock itself does not depend on it
            os.ftruncate(self._lock, 0)
            os.lseek(self._lock, 0, os.SEEK_SET)
            os.write(self._lock, owner.encode())


def _take(lock: int) -> None:
    """Takes a lock, which may be refused for as long as compare.py looks at it."""
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
    """Checks, before anything is made, that runs can be logged below a folder.

    Args:
        log_dir: the folder of all runs, which need not exist yet.
        script: the script's name without `.py`.

    Raises:
        UserError: it cannot be written, or checkpoints below it could not be read.
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
        complaint: how the error begins, with {} for the folder.

    Returns:
        What its config.json holds.

    Raises:
        UserError: it is no run folder, or its config.json cannot be read.
    """
    file = Path(path) / CONFIG_FILE
    try:
        record = json.loads(file.read_bytes().decode())
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
    """Replaces a file in one piece: readers see the old one, or all of the new one.

    Args:
        path: the file.

    Yields:
        Where to write the new one.

    Raises:
        CannotWrite: disk full, folder gone, not allowed; the old file is as it was.
    """
    partial = path.with_name(path.name + ".partial")
    with writing(shown(path)):
        try:
            yield partial
            synchronize(partial)
            os.replace(partial, path)
        except BaseException:
            if partial.exists():
                partial.unlink()
            raise
        synchronize(path.parent)


@contextlib.contextmanager
def creating(path: Path) -> Iterator[Path]:
    """Makes a file in one piece where there is none, in a folder that is the user's.

    Args:
        path: the file.

    Yields:
        Where to write it, a file of a name that was not there before.

    Raises:
        CannotWrite: disk full, folder gone, not allowed, or it is there by now; nothing
            is left behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(shown(path)):
        os.close(os.open(str(partial), os.O_CREAT | os.O_EXCL, 0o666))
        try:
            yield partial
            synchronize(partial)
            if path.exists():
                raise CannotWrite(f"{shown(path)}: is there by now; give another name")
            os.replace(partial, path)
        except BaseException:
            partial.unlink()
            raise


def write_text(path: Path, text: str) -> None:
    """Writes a text file in one piece; see `replacing`."""
    with replacing(path) as partial:
        partial.write_text(text)


def synchronize(path: Path) -> None:
    """Makes what was written to a file, or renamed in a folder, outlast a power cut."""
    descriptor = os.open(str(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def environment() -> dict[str, Any]:
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
