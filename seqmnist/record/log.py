"""The log of a run: metrics.csv, TensorBoard events and the result line."""

from __future__ import annotations

import contextlib
import csv
import os
import time
from pathlib import Path
from typing import NamedTuple, Sequence, get_type_hints

from seqmnist import tf1 as tf
from seqmnist.errors import CannotWrite, UserError, writing
from seqmnist.paths import shown
from seqmnist.record.events import PATTERN, EventFile
from seqmnist.record.folder import METRICS_FILE, RESULT_FILE, synchronize, write_text
from seqmnist.record.tally import Tally

# step: updates done; epoch: passes over the training split done, a fraction; split:
# train (all batches since the last row, each evaluated before its update), validation
# or test (the whole split); loss: nats per example; accuracy: correct/count; seconds:
# time spent in training so far, without evaluations.
METRICS = ("step", "epoch", "split", "loss", "accuracy", "correct", "count", "seconds")

MAX_QUOTED = 200  # characters of a line in a message

SPLITS = ("train", "validation", "test")
WHOLE_RUN = "whole run"
# Folders of TensorBoard events, relative to the run's folder. TensorBoard lists each as
# a run of its own. The events of test tell the outcome, so they are the whole run's.
EVENT_FOLDERS = {
    "train": "train",
    "validation": "validation",
    "test": ".",
    WHOLE_RUN: ".",
}
# Older runs have a folder for test; it is cut when such a run is resumed.
OLD_FOLDERS = ("test",)


class Result(NamedTuple):
    """The result of a complete run; `str()` gives the result line.

    The line has all but `folder`.

    Attributes:
        script: the script's name without `.py`.
        preset: the preset that the options started from.
        view: `rows` or `pixels`.
        cell: the cell's name.
        units: units of the cell.
        parameters: number of trained weights.
        seed: the run's seed.
        steps: updates done.
        test_accuracy: fraction of the test images that are classified correctly.
        test_correct: number of correct and of all test images, as `9712/10000`.
        test_loss: nats per test image.
        seconds: time spent in training, without evaluations.
        run: the run folder's name.
        folder: the run folder's path, if known.
    """

    script: str
    preset: str
    view: str
    cell: str
    units: int
    parameters: int
    seed: int
    steps: int
    test_accuracy: float
    test_correct: str
    test_loss: float
    seconds: float
    run: str
    folder: str = ""

    def __str__(self) -> str:
        formats = {
            "test_accuracy": "{:.4f}",
            "test_loss": "{:.4f}",
            "seconds": "{:.1f}",
        }
        words = [
            f"{name}={formats.get(name, '{}').format(value)}"
            for name, value in self._asdict().items()
            if name != "folder"
        ]
        return " ".join(["result", *words])

    @classmethod
    def parse(cls, line: str) -> Result:
        """Reads a result line.

        Args:
            line: `str()` of a `Result`.

        Returns:
            The result, with numbers to the digits that the line has.

        Raises:
            ValueError: the text is not a result line.
        """
        head, *words = line.split() or [""]
        pairs = [word.split("=", 1) for word in words]
        if head != "result" or [pair[0] for pair in pairs] != list(cls._fields[:-1]):
            raise ValueError(f"not a result line: {line[:MAX_QUOTED]!r}")
        types = get_type_hints(cls)
        result = cls(**{name: types[name](value) for name, value in pairs})
        if result.steps < 0:
            raise ValueError("its numbers cannot be a result's")
        return result


class RunLog:
    """Writes a run's metrics and events. A `with` statement closes the files.

    Args:
        folder: the run's folder, which exists.
        graph_def: the graph to show in TensorBoard; written to a new log only.
        sizes: the value of `sizes()` in the checkpoint from which the run continues:
            all files are cut to these sizes, and files without a size are emptied.
            `None` for a new log.
        step: updates done at the resumption. A TensorBoard that is running drops the
            events of later steps.

    Raises:
        CannotWrite: a file cannot be written.
        UserError: a file is shorter than `sizes` says, or a file of a new log has
            contents already; nothing is changed.
    """

    def __init__(
        self,
        folder: Path,
        graph_def: tf.GraphDef,
        sizes: dict[str, int] | None = None,
        step: int = 0,
    ) -> None:
        self.folder = folder
        self._resumed_at = None if sizes is None else step
        self._files: dict[str, EventFile] = {}
        self._events: dict[tuple[str, ...], tf.Event] = {}
        path = folder / METRICS_FILE
        if sizes is None:
            event = tf.Event(graph_def=graph_def.SerializeToString())
            _check_unused(folder, event.ByteSize())
        else:
            problem = too_short(folder, sizes)
            if problem:
                raise UserError(f"{shown(folder)}: {problem}")
        _cut(folder, sizes or {})
        with writing(shown(path)):
            self._metrics = path.open("a", newline="")
        self._rows = csv.writer(self._metrics, lineterminator="\n")
        if sizes is None:
            self._add_row(METRICS)
            self._file("train").add(event)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for file in self._files.values():
            file.close()
        with contextlib.suppress(OSError):  # every row was flushed, or raised an error
            self._metrics.close()

    def add_metrics(
        self, split: str, step: int, epoch: float, tally: Tally, seconds: float
    ) -> None:
        """Appends a row to metrics.csv; the columns are described at `METRICS`."""
        # Nine digits distinguish any two float32 numbers.
        loss, accuracy = f"{tally.loss:.9g}", f"{tally.accuracy:.6g}"
        counts = (tally.correct, tally.count)
        self._add_row(
            (step, f"{epoch:.6g}", split, loss, accuracy, *counts, f"{seconds:.3f}")
        )

    def add_summary(self, split: str, step: int, **scalars: float) -> None:
        """Adds scalars to a split's TensorBoard events, tagged with their names.

        The code fills the protocol buffer itself: `tf.summary.scalar` would put the
        name scope into the tag, and would need the loss computed a second time. Since
        events are added at every step, a copy of an earlier event is filled.
        """
        key = (split, *scalars)
        if key not in self._events:
            values = [tf.Summary.Value(tag=tag) for tag in scalars]
            self._events[key] = tf.Event(summary=tf.Summary(value=values))
        event = tf.Event()
        event.CopyFrom(self._events[key])
        event.step = step
        event.wall_time = time.time()
        for value, scalar in zip(event.summary.value, scalars.values()):
            value.simple_value = scalar
        self._file(split).add(event)

    def add(
        self, split: str, step: int, *summaries: tf.Summary | tf.RunMetadata
    ) -> None:
        """Adds summaries other than scalars.

        Args:
            split: `train`, `validation` or `test`, or `WHOLE_RUN`.
            step: updates done.
            summaries: `tf.Summary` messages, or a `tf.RunMetadata` for the GRAPHS page.
        """
        for summary in summaries:
            event = tf.Event(step=step, wall_time=time.time())
            if isinstance(summary, tf.Summary):
                if not summary.value:
                    continue
                event.summary.CopyFrom(summary)
            else:
                event.tagged_run_metadata.tag = f"step {step}"
                event.tagged_run_metadata.run_metadata = summary.SerializeToString()
            self._file(split).add(event)

    def sizes(self) -> dict[str, int]:
        """Writes all added rows and events to the disk.

        Returns:
            Each file's size in bytes, by its path within the folder.

        Raises:
            CannotWrite: disk full, or a file is gone or was changed.
        """
        written = {file.path: file.flush() for file in self._files.values()}
        with writing(shown(self.folder / METRICS_FILE)):
            written[self.folder / METRICS_FILE] = self._metrics.tell()
        found = {}
        for path in _log_files(self.folder):
            with writing(shown(path)):
                synchronize(path)
                size = path.stat().st_size
            if written.get(path, size) != size:
                raise CannotWrite(f"{shown(path)}: was changed by somebody else")
            found[str(path.relative_to(self.folder))] = size
        return found

    def _file(self, split: str) -> EventFile:
        """The split's event file; the first use makes the file."""
        folder = EVENT_FOLDERS[split]
        if folder not in self._files:
            file = self._files[folder] = EventFile(self.folder / folder)
            if self._resumed_at is not None:
                start = tf.SessionLog(status=tf.SessionLog.START)
                file.add(tf.Event(step=self._resumed_at + 1, session_log=start))
        return self._files[folder]

    def _add_row(self, row: Sequence[object]) -> None:
        """Appends a row to metrics.csv and flushes it, for readers at the same time."""
        with writing(shown(self.folder / METRICS_FILE)):
            self._rows.writerow(row)
            self._metrics.flush()

    def write_result(self, result: Result) -> None:
        """Writes result.txt, which marks the run as complete."""
        self.sizes()
        write_text(self.folder / RESULT_FILE, f"{result}\n")


def _log_files(folder: Path) -> list[Path]:
    """metrics.csv and the event files of a run."""
    names = {*EVENT_FOLDERS.values(), *OLD_FOLDERS}
    events = [path for name in names for path in (folder / name).glob(PATTERN)]
    return [folder / METRICS_FILE, *sorted(events)]


def are_sizes(sizes: dict[str, int]) -> bool:
    """Whether this can be a value of `RunLog.sizes`, as read from a checkpoint."""
    return all(
        name.isprintable()
        and not os.path.isabs(name)
        and os.pardir not in Path(name).parts
        and type(size) is int
        and size >= 0
        for name, size in sizes.items()
    )


def too_short(folder: Path, sizes: dict[str, int]) -> str:
    """Names a log file that is shorter than its size in a checkpoint, or ""."""
    for name, size in sizes.items():
        path = folder / name
        found = path.stat().st_size if path.exists() else 0
        if found < size:
            return f"{name} has {found} bytes, of {size} when it was saved"
    return ""


def _cut(folder: Path, sizes: dict[str, int]) -> None:
    """Cuts a run's log files to these sizes; empties files without a size."""
    for path in _log_files(folder):
        if path.exists():
            with writing(shown(path)):
                os.truncate(path, sizes.get(str(path.relative_to(folder)), 0))


def _check_unused(folder: Path, num_bytes: int) -> None:
    """Raises a `UserError` if a file of a new log has contents already."""
    limits = {folder / METRICS_FILE: len(",".join(METRICS)) + 1}
    for path in _log_files(folder):
        limit = limits.get(path, num_bytes + 1000)  # the graph with its framing
        if path.exists() and path.stat().st_size > limit:
            raise UserError(
                f"{shown(path)}: holds what was logged, but there is no checkpoint to "
                "go on from; start a new run"
            )


def read_metrics(folder: Path) -> list[dict[str, str | float]]:
    """Reads a run's metrics.csv.

    Args:
        folder: the run's folder.

    Returns:
        One dict per row with the keys of `METRICS`; `split` is a text, the others are
        numbers. A last row that is still being written is left out.

    Raises:
        UserError: a line is not a row of metrics.
        OSError: the file cannot be read.
    """
    rows = []
    with open(folder / METRICS_FILE, newline="") as file:
        lines = [line for line in file if line.endswith("\n")]
    for row in csv.DictReader(lines):
        try:
            rows.append({k: v if k == "split" else float(v) for k, v in row.items()})
        except (TypeError, ValueError):
            raise UserError(
                f"{shown(folder / METRICS_FILE)}: line {len(rows) + 2} is not a row of "
                "metrics; was the file edited?"
            )
    return rows
