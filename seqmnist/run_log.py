"""A run's folder: config.json, metrics.csv, TensorBoard events and the result line.

logs/<script>/<time>-seed<seed>/
    config.json      every option, the command, versions, the data's digest
    metrics.csv      one row per split and report, columns as `METRICS` says
    train/ ...       TensorBoard events, one folder per split
    curves.png       drawn at the end (figures.py)
    result.txt       the result line, written when the run is complete
"""

from __future__ import annotations

import csv
import json
import os
import platform
import time
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.errors import UserError
from seqmnist.tally import Tally

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.csv"
RESULT_FILE = "result.txt"

# step: updates done; epoch: passes over the training split done, a fraction; split:
# train (all batches since the row before, each as it was before its update),
# validation or test (the whole split); loss: nats per example; accuracy: correct/count;
# seconds: time spent in training so far, evaluations left out.
METRICS = ("step", "epoch", "split", "loss", "accuracy", "correct", "count", "seconds")


class Result(NamedTuple):
    """What a complete run came to; `str()` gives the result line.

    Attributes:
        script: the script's name without `.py`.
        preset: the preset that the options started from.
        view: `rows` or `pixels`.
        cell: the cell's name.
        units: units of the cell.
        parameters: number of trained weights.
        seed: the run's seed.
        steps: updates done.
        test_accuracy: fraction of the test split, `test_correct` over its size.
        test_correct: correct and all test images, as `9712/10000`.
        test_loss: nats per test image.
        seconds: time spent in training, evaluations left out.
        run: the run folder's name.
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

    def __str__(self) -> str:
        formats = {
            "test_accuracy": "{:.4f}",
            "test_loss": "{:.4f}",
            "seconds": "{:.1f}",
        }
        words = [
            f"{name}={formats.get(name, '{}').format(value)}"
            for name, value in self._asdict().items()
        ]
        return " ".join(["result", *words])

    @classmethod
    def parse(cls, line: str) -> Result:
        """Reads a result line.

        Args:
            line: what `str()` of a `Result` gave.

        Returns:
            The result, its numbers as far as the line has their digits.

        Raises:
            ValueError: it is not a result line.
        """
        head, *words = line.split() or [""]
        pairs = [word.split("=", 1) for word in words]
        if head != "result" or [pair[0] for pair in pairs] != list(cls._fields):
            raise ValueError(f"not a result line: {line!r}")
        types = get_type_hints(cls)
        return cls(**{name: types[name](value) for name, value in pairs})


class RunLog:
    """Writes a run's folder. Closes what it holds when used in a `with` statement.

    Args:
        config: the run's configuration, as options.py parses it.
        facts: what config.json says besides, such as `parameters`.
        graph_def: the graph to show in TensorBoard.

    Raises:
        UserError: the folder cannot be made.
    """

    def __init__(
        self, config: Namespace, facts: dict[str, Any], graph_def: Any
    ) -> None:
        self._writers: dict[str, Any] = {}
        self._events: dict[tuple[str, ...], Any] = {}
        self.folder = _new_folder(Path(config.log_dir) / config.script, config.seed)
        record = {**vars(config), **facts, "environment": environment()}
        write_text(self.folder / CONFIG_FILE, json.dumps(record, indent=2) + "\n")
        self._metrics = (self.folder / METRICS_FILE).open("w", newline="")
        self._rows = csv.writer(self._metrics, lineterminator="\n")
        self._rows.writerow(METRICS)
        self._metrics.flush()
        event = tf.Event(graph_def=graph_def.SerializeToString())
        self._writer("train").add_event(event)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._metrics.close()
        for writer in self._writers.values():
            writer.close()

    def add_metrics(
        self, split: str, step: int, epoch: float, tally: Tally, seconds: float
    ) -> None:
        """Appends a row to metrics.csv; the columns are described at `METRICS`."""
        # Nine digits tell any two float32 apart.
        loss, accuracy = f"{tally.loss:.9g}", f"{tally.accuracy:.6g}"
        counts = (tally.correct, tally.count)
        self._rows.writerow(
            (step, f"{epoch:.6g}", split, loss, accuracy, *counts, f"{seconds:.3f}")
        )
        self._metrics.flush()

    def add_summary(self, split: str, step: int, **scalars: float) -> None:
        """Adds scalars to a split's TensorBoard events, tagged with their names.

        The protocol buffer is filled by hand, as `tf.summary.scalar` would let the name
        scope decide the tag, and would need the loss computed a second time. As this is
        done at every step, a copy of an earlier event is filled: that takes 11 µs,
        where a new one through `FileWriter.add_summary` takes 25.
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
        self._writer(split).add_event(event)

    def _writer(self, split: str) -> Any:
        """The split's event writer, made when it is first used."""
        if split not in self._writers:
            with tf.Graph().as_default():  # a FileWriter refuses eager mode
                writer = tf.summary.FileWriter(str(self.folder / split))
            self._writers[split] = writer
        return self._writers[split]

    def write_result(self, result: Result) -> None:
        """Writes result.txt, by which a run is known to be complete."""
        write_text(self.folder / RESULT_FILE, f"{result}\n")


def _new_folder(parent: Path, seed: int) -> Path:
    """Makes a folder that was not there before, also for runs of the same second."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-seed{seed}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            folder = parent / (name if attempt == 1 else f"{name}-{attempt}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
        raise UserError(f"{parent / name}: a thousand runs of this second exist")
    except OSError as error:
        raise UserError(
            f"--log-dir: cannot make a run folder in {parent} ({error.strerror}); "
            "give a folder that you may write to"
        )


def write_text(path: Path, text: str) -> None:
    """Writes a file in one piece: readers see the old one, or all of the new one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Reads a run's metrics.csv.

    Args:
        folder: the run's folder.

    Returns:
        One dict per row, by the names of `METRICS`, `split` as text and the others as
        numbers. A last row that is still being written is left out.
    """
    rows = []
    with open(folder / METRICS_FILE, newline="") as file:
        lines = [line for line in file if line.endswith("\n")]
    for row in csv.DictReader(lines):
        rows.append({k: v if k == "split" else float(v) for k, v in row.items()})
    return rows


def environment() -> dict[str, Any]:
    """The versions and the machine that a run's numbers depend on."""
    return {
        "tensorflow": tf.VERSION,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
