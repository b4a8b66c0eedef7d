"""The rows of compare.py: one run each, or the runs that differ only in seed."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple, Sequence

from seqmnist.cli.options import BY_NAME, DEFAULTS, MAY_CHANGE
from seqmnist.comparing.metrics_tail import MAX_WHOLE
from seqmnist.comparing.runs import FINISHED, Run
from seqmnist.paths import shown

# Fields measured in every run; a group has the mean and the standard deviation.
MEASURED = (
    *("test_accuracy", "validation_accuracy", "train_accuracy"),
    *("test_loss", "validation_loss", "train_loss"),
    *("seconds", "examples_per_second"),
)

# Fields that are summed in a group.
COUNTED = (
    *("test_correct", "test_count", "validation_correct", "validation_count"),
    *("train_correct", "train_count"),
)

# Fields from config.json or the run's folder; a group has values that all runs share.
DESCRIBED = (
    *("script", "preset", "cell", "view", "units", "parameters", "steps", "seed"),
    *("status", "run", "folder", "started"),
)

# All values of a row, by name; `n` is the number of runs.
FIELDS = (*MEASURED, *COUNTED, *DESCRIBED, "n")

# Entries of config.json that are ignored when runs are grouped: the seed, and entries
# that do not affect accuracies. Data are compared by their digest, `data_sha256`.
NOT_DECIDING = MAY_CHANGE | {
    *("seed", "preset", "command", "log_dir", "recurrence_used", "workers"),
    *("polarity", "image_shape", "num_classes", "classes"),  # follow from the data
    "coarse_steps",  # follows from the options
}

# Options without a column of their own: `FIELDS` has them in some form, or the digest
# of the data.
NO_COLUMN = {
    *("view", "permute", "units", "layers", "cell_name", "epochs", "steps", "seed"),
    "emnist_split",
}
DIGESTS = ("data_sha256", "script_sha256")


class Row(NamedTuple):
    """A row: one run, or several that differ only in seed.

    Attributes:
        run: the run; for several, the run with the median test accuracy, for an even
            number the lower of the middle two.
        values: name in `FIELDS` -> value; `None` if unknown or different between runs.
        spread: name in `MEASURED` -> standard deviation over the runs (n - 1); empty
            for one run.
        options: the entries of config.json that all runs share.
        parts: the rows of the single runs, by seed; empty for one run.
        repeats: number of earlier runs with the options and a seed of this row.
    """

    run: Run
    values: dict[str, Any]
    spread: dict[str, float]
    options: dict[str, Any]
    parts: tuple[Row, ...]
    repeats: int

    @property
    def typical(self) -> Row:
        """The row of `run` alone."""
        return next((part for part in self.parts if part.run is self.run), self)


def option_values(row: Row, name: str) -> list[Any]:
    """The values of an option in a row's runs; older runs have the default."""
    default = DEFAULTS.get(name)
    return [part.options.get(name, default) for part in row.parts or (row,)]


def differing_options(rows: Sequence[Row]) -> list[str]:
    """The options in which rows of one script differ, beyond what `FIELDS` has.

    Args:
        rows: the rows.

    Returns:
        Names of options that decide a run's weights, in the order of the help text; and
        of `DIGESTS`, if data or script are not the same.
    """
    deciding = [option.name for option in BY_NAME.values() if option.decides_weights]
    names = [name for name in deciding if name not in NO_COLUMN]
    names += DIGESTS
    found = []
    for name in names:
        values: dict[str | None, set[str]] = {}
        for row in rows:
            seen = values.setdefault(row.values["script"], set())
            seen.update(json.dumps(value) for value in option_values(row, name))
        if any(len(seen) > 1 for seen in values.values()):
            found.append(name)
    return found


def single_row(run: Run) -> Row:
    """Makes the row of a run.

    Args:
        run: the run.

    Returns:
        The row.
    """
    values: dict[str, Any] = dict.fromkeys(FIELDS)
    for split, figures in run.figures.items():
        values[f"{split}_accuracy"] = figures.accuracy
        values[f"{split}_loss"] = figures.loss
        values[f"{split}_correct"] = figures.correct
        values[f"{split}_count"] = figures.total
    for name in ("script", "preset", "view"):
        values[name] = _text(run.options.get(name))
    for name in ("units", "parameters", "seed"):
        values[name] = _whole(run.options.get(name))
    batch_size = _whole(run.options.get("batch_size"))
    if run.steps and run.seconds and run.seconds > 0 and batch_size:
        speed = run.steps * batch_size / run.seconds
        values["examples_per_second"] = speed if math.isfinite(speed) else None
    if values["view"] and run.options.get("permute") is not None:
        values["view"] += ", permuted"
    cell, layers = _text(run.options.get("cell_name")), run.options.get("layers", 1)
    values.update(
        cell=cell if layers == 1 or cell is None else f"{layers} x {cell}",
        steps=run.steps,
        seconds=run.seconds,
        status=run.status,
        run=run.folder.name,
        folder=shown(run.folder),
        started=run.started or None,
        n=1,
    )
    return Row(run, values, {}, run.options, (), 0)


def group_rows(rows: Sequence[Row]) -> list[Row]:
    """Puts finished runs that differ only in seed into one row.

    Among runs with the same seed, which repeat one run, only the last one counts:
    counted as independent runs, repeats would make the spread too small.

    Args:
        rows: the rows of single runs.

    Returns:
        The rows, in the order of their first runs.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_key(row), []).append(row)
    return [_grouped(group) for group in groups.values()]


def _key(row: Row) -> str:
    """The key of a run's group; for a run without a group, the run's folder."""
    options = row.options
    has_seed = row.values["seed"] is not None
    if row.values["status"] != FINISHED or not has_seed or not _digest(row):
        return row.values["folder"]
    # An option missing in config.json, since the run is older, has its default.
    deciding = {**DEFAULTS, **options}
    for name in NOT_DECIDING:
        deciding.pop(name, None)
    return json.dumps(deciding, sort_keys=True)


def _digest(row: Row) -> str | None:
    """The SHA-256 of the run's data, or `None` if unknown."""
    return _text(row.options.get("data_sha256"))


def _grouped(group: Sequence[Row]) -> Row:
    """The row of a group, with the newest run of each seed."""
    newest = sorted(group, key=lambda r: (r.values["started"] or "", r.values["run"]))
    by_seed = {row.values["seed"]: row for row in newest}
    repeats = len(group) - len(by_seed)
    parts = tuple(by_seed[seed] for seed in sorted(by_seed)) if len(group) > 1 else ()
    if len(by_seed) == 1:
        return newest[-1]._replace(repeats=repeats)
    values = dict.fromkeys(FIELDS, None)
    spread = {}
    for name in DESCRIBED:
        values[name] = _common([part.values[name] for part in parts])
    for name in (*MEASURED, *COUNTED):
        found = [part.values[name] for part in parts]
        if None not in found and name in COUNTED:
            values[name] = sum(found)
        elif None not in found:
            values[name], spread[name] = _mean_and_spread(found)
    values["n"] = len(parts)
    by_accuracy = sorted(parts, key=lambda part: part.values["test_accuracy"])
    return Row(
        run=by_accuracy[(len(parts) - 1) // 2].run,
        values=values,
        spread=spread,
        options=_common_options(parts),
        parts=parts,
        repeats=repeats,
    )


def _mean_and_spread(numbers: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of two numbers or more."""
    mean = sum(numbers) / len(numbers)
    squares = sum((number - mean) * (number - mean) for number in numbers)
    return mean, math.sqrt(squares / (len(numbers) - 1))


def _common(values: Sequence[Any]) -> Any:
    """The value if all values are the same, else `None`."""
    return values[0] if all(value == values[0] for value in values) else None


def _common_options(parts: Sequence[Row]) -> dict[str, Any]:
    """The options that have the same value in all configurations."""
    first, *others = (part.options for part in parts)
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }


def _text(value: object) -> str | None:
    """A value of config.json if it is a text, else `None`."""
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    """A value of config.json if it is a whole number from 0 on, else `None`."""
    return value if type(value) is int and 0 <= value < MAX_WHOLE else None
