"""TensorBoard event files, with an error if an event is lost."""

from __future__ import annotations

import contextlib
import threading
from logging import getLogger
from pathlib import Path
from typing import Any, Callable, Iterator

from seqmnist import tf1 as tf
from seqmnist.errors import CannotWrite, tensorflow_reason, writing
from seqmnist.paths import shown

PATTERN = "events.out.tfevents.*"

# A record's length, the length's checksum and the data's (TensorFlow's TFRecord).
RECORD_OVERHEAD = 8 + 4 + 4


class EventFile:
    """A `tf.summary.FileWriter` that knows the size that its file has to have.

    The writer's thread does not report a full disk to its caller: TensorFlow 1.15
    continues and loses events, 2.21 ends the thread with a traceback. Here `flush`
    checks the file's size.

    Args:
        folder: the folder of the file; made if it does not exist.

    Attributes:
        path: the path of the file.

    Raises:
        CannotWrite: the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        with writing(shown(folder)):
            folder.mkdir(exist_ok=True)
            # The name has a time in seconds; the number makes each resumption's unique.
            numbers = [p.suffix[1:] for p in folder.glob(PATTERN)]
            last = max([int(n) for n in numbers if n.isdecimal()], default=0)
            suffix = f".{last + 1}"
            with tf.Graph().as_default():  # a FileWriter refuses eager mode
                self._writer = tf.summary.FileWriter(
                    str(folder), filename_suffix=suffix
                )
            self._writer.flush()
            (self.path,) = folder.glob(PATTERN + suffix)
            self._size = self.path.stat().st_size

    def add(self, event: tf.Event) -> None:
        """Adds a `tf.Event`.

        Raises:
            CannotWrite: an earlier event is lost.
        """
        self._size += RECORD_OVERHEAD + event.ByteSize()
        self._call(self._writer.add_event, event)

    def flush(self) -> int:
        """Writes all added events to the file; returns the file's size in bytes.

        Raises:
            CannotWrite: an event is lost, or the file is gone.
        """
        self._call(self._writer.flush)
        with writing(shown(self.path)):
            size = self.path.stat().st_size
        if size != self._size:
            raise CannotWrite(
                f"{shown(self.path)}: cannot be written ({size} bytes are there, "
                f"expected {self._size}: is the disk full?)"
            )
        return size

    def close(self) -> None:
        """Closes the file without an error; call `flush` first to see errors."""
        with contextlib.suppress(Exception):
            self._writer.close()

    def _call(self, method: Callable, *args: tf.Event) -> None:
        """Calls the writer, which raises its thread's error, of any kind."""
        try:
            method(*args)
        except Exception as error:
            reason = tensorflow_reason(error)
            raise CannotWrite(f"{shown(self.path)}: cannot be written ({reason})")


@contextlib.contextmanager
def quiet_writers() -> Iterator[None]:
    """Silences the writers' threads, since `EventFile` raises their errors."""

    def is_other(record):
        return "EventFileWriter writer thread error" not in record.getMessage()

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.thread is None or args.thread.name != "EventLoggerThread":
            previous(args)

    logger = getLogger("tensorflow")
    logger.addFilter(is_other)
    previous: Any = getattr(threading, "excepthook", None)  # not in Python 3.7
    if previous is not None:
        threading.excepthook = hook
    try:
        yield
    finally:
        logger.removeFilter(is_other)
        if previous is not None:
            threading.excepthook = previous
