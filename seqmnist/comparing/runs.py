"""Finds the runs below a folder, and reads them in any state.

A run that still trains, that was killed, or whose files are damaged is read as far as
possible. A folder that cannot be read as a run gives one line of text.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from seqmnist.comparing.metrics_tail import MAX_WHOLE, Figures, finite, last_figures
from seqmnist.errors import one_line
from seqmnist.paths import read_small, shown
from seqmnist.record.folder import (
    CONFIG_FILE,
    LOCK_FILE,
    MAX_TEXT_BYTES,
    RESULT_FILE,
)
from seqmnist.record.log import SPLITS, Result

# finished: the run has a result. running: a process trains in the folder now. stopped:
# the run was interrupted or killed, and may be resumed. unknown: none of these is sure.
STATUSES = ("finished", "running", "stopped", "unknown")
FINISHED, RUNNING, STOPPED, UNKNOWN = STATUSES


class Run(NamedTuple):
    """A run as read from its folder.

    Attributes:
        folder: the run's folder.
        status: one of `STATUSES`.
        options: the entries of config.json that are plain values or lists of them.
        started: the time of the start in config.json, or "".
        figures: split -> the last row of the split, if any. Only a finished run has a
            row for test.
        steps: updates done, or `None` if unknown.
        seconds: time spent in training, without evaluations, or `None` if unknown.
        problem: one line on a part that could not be read, or "".
    """

    folder: Path
    status: str
    options: dict[str, Any]
    started: str
    figures: dict[str, Figures]
    steps: int | None
    seconds: float | None
    problem: str


def find_runs(log_dir: str | os.PathLike[str]) -> tuple[list[Run], list[str]]:
    """Reads all runs below a folder.

    Args:
        log_dir: the folder.

    Returns:
        The runs, by path; and a line for each folder and file that cannot be read.
    """
    runs: list[Run] = []
    problems: list[tuple[str, str]] = []
    walk = os.walk(
        os.fspath(log_dir),
        onerror=lambda e: problems.append((str(e.filename), _reason(e))),
    )
    for folder, subfolders, files in walk:
        if CONFIG_FILE not in files:
            continue
        try:
            run = read_run(Path(folder))
        except (OSError, ValueError, RecursionError) as error:
            problems.append((folder, _reason(error)))
            continue
        subfolders.clear()  # subfolders of a run hold no runs
        runs.append(run)
        if run.problem:
            problems.append((folder, run.problem))
    runs.sort(key=lambda run: str(run.folder))
    lines = [f"{shown(path)}: not read ({what})" for path, what in sorted(problems)]
    return runs, [one_line(line) for line in lines]


def read_run(folder: Path) -> Run:
    """Reads a run's folder.

    Args:
        folder: the folder, with a config.json.

    Returns:
        The run.

    Raises:
        ValueError, RecursionError: config.json is not a run's configuration.
        OSError: config.json cannot be read.
    """
    record = json.loads(
        read_small(folder / CONFIG_FILE, MAX_TEXT_BYTES).decode(),
        parse_float=finite,
        parse_constant=lambda name: None,  # NaN and Infinity are not JSON
    )
    if not isinstance(record, dict) or not isinstance(record.get("script"), str):
        raise ValueError(f"{CONFIG_FILE} is not a run's configuration")
    environment = record.get("environment")
    started = environment.get("started") if isinstance(environment, dict) else ""
    status = _status(folder)
    # Test rows of an unfinished run are not final.
    figures = last_figures(folder, SPLITS if status == FINISHED else SPLITS[:2])
    problem = ""
    if status == FINISHED:
        try:
            figures["test"] = _read_result(folder / RESULT_FILE, figures.get("test"))
        except (OSError, ValueError) as error:
            status, problem = UNKNOWN, f"{RESULT_FILE}: {_reason(error)}"
    latest = max(figures.values(), key=lambda f: (f.step, f.seconds or 0), default=None)
    if status == FINISHED:
        latest = figures["test"]
    return Run(
        folder=folder,
        status=status,
        options={name: v for name, v in record.items() if _is_plain(v)},
        started=started if isinstance(started, str) else "",
        figures=figures,
        steps=latest and latest.step,
        seconds=latest and latest.seconds,
        problem=problem,
    )


def _status(folder: Path) -> str:
    """One of `STATUSES`; a run that ends during the check is finished."""
    result = folder / RESULT_FILE
    if result.exists():
        return FINISHED
    status = _lock_status(folder / LOCK_FILE)
    return FINISHED if result.exists() else status


def _lock_status(path: Path) -> str:
    """The status by a run's lock, which this function holds for an instant.

    A run that starts in that instant waits for the lock, see `RunFolder`.
    """
    try:
        # An empty lock file: no process came, or the last one ended normally.
        if not path.is_file() or not path.stat().st_size:
            return STOPPED
        lock = os.open(str(path), os.O_RDONLY)
    except OSError:
        return UNKNOWN
    try:
        if fcntl is None:
            return UNKNOWN
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return STOPPED
    except BlockingIOError:
        return RUNNING
    except OSError:  # a disk without locks
        return UNKNOWN
    finally:
        os.close(lock)


def _read_result(path: Path, row: Figures | None) -> Figures:
    """The test row of result.txt, or the row of metrics.csv if both agree."""
    result = Result.parse(read_small(path, MAX_TEXT_BYTES).decode())
    match = re.fullmatch(r"([0-9]{1,18})/([0-9]{1,18})", result.test_correct)
    correct, total = map(int, match.groups()) if match else (1, 0)
    if not (correct <= total and total and result.steps < MAX_WHOLE):
        raise ValueError("its numbers cannot be a result's")
    if row and (row.step, row.correct, row.total) == (result.steps, correct, total):
        return row
    loss, seconds = finite(result.test_loss), finite(result.seconds)
    return Figures(result.steps, 0.0, loss, correct, total, seconds)


def _is_plain(value: object) -> bool:
    """Whether a value of config.json can be the value of an option."""
    plain = (str, int, float, bool, type(None))
    if isinstance(value, list):
        return all(isinstance(item, plain) for item in value)
    return isinstance(value, plain)


def _reason(error: Exception) -> str:
    """An error in a few words."""
    words = error.strerror if isinstance(error, OSError) else str(error)
    return str(words or error)[:200]
