"""TensorBoard event files, with an error if an event is lost."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import Any, Callable

from seqmnist import tf1 as tf
from seqmnist.errors import CannotWrite, tensorflow_reason, writing
from seqmnist.paths import shown

PATTERN = "events.out.tfevents.*"

# A record's length, the length's checksum and the data's (TensorFlow's TFRecord).
RECORD_OVERHEAD = 8 + 4 + 4

FLUSH_SECONDS = 10  # for a TensorBoard that is watching


class EventFile:
    """An event file that knows the size that it has to have.

    `tf.summary.FileWriter` writes the same records, but in a thread, which does not
    report a full disk to its caller; and it names the file by the clock, which may have
    been set back. TensorBoard reads the files of a folder in the order of their names.

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
            times = [path.name.split(".")[3] for path in folder.glob(PATTERN)]
        after = [int(seconds) + 1 for seconds in times if seconds.isdecimal()]
        name = f"{max([int(time.time()), *after]):010d}.{socket.gethostname()}"
        self.path = folder / PATTERN.replace("*", name)
        self._size = 0
        self._flushed = time.monotonic()
        self._writer = self._call(tf.io.TFRecordWriter, str(self.path))
        self.add(tf.Event(wall_time=time.time(), file_version="brain.Event:2"))
        self.flush()

    def add(self, event: tf.Event) -> None:
        """Adds a `tf.Event`.

        Raises:
            CannotWrite: this event, or one before, is lost.
        """
        data = event.SerializeToString()
        self._size += RECORD_OVERHEAD + len(data)
        self._call(self._writer.write, data)
        if time.monotonic() > self._flushed + FLUSH_SECONDS:
            self.flush()

    def flush(self) -> int:
        """Writes all added events to the file; returns the file's size in bytes.

        Raises:
            CannotWrite: an event is lost, or the file is gone.
        """
        self._flushed = time.monotonic()
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
        with contextlib.suppress(tf.errors.OpError):
            self._writer.close()

    def _call(self, method: Callable, *args: object) -> Any:
        """Calls the writer; its errors are those of the operating system."""
        try:
            return method(*args)
        except tf.errors.OpError as error:
            reason = tensorflow_reason(error)
            raise CannotWrite(f"{shown(self.path)}: cannot be written ({reason})")
