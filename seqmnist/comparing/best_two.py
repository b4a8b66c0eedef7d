"""Whether the best row differs from the next beyond chance, in numbers and words."""

from __future__ import annotations

from typing import Any, Dict, Sequence

import numpy as np

from seqmnist.comparing.rows import Row
from seqmnist.comparing.significance import mcnemar, newcombe
from seqmnist.errors import UserError, one_line
from seqmnist.paths import shown
from seqmnist.record.predictions import PREDICTIONS_FILE, read_predictions

LEVEL = 0.05  # "beyond chance" means p < LEVEL; intervals have the level 1 - LEVEL

Finding = Dict[str, Any]  # key in compare.py's JSON -> value


def compare_best(rows: Sequence[Row]) -> tuple[Finding | None, list[str]]:
    """Compares the row with the best test accuracy with the next one.

    A group is compared by its run with the median test accuracy.

    Args:
        rows: the rows.

    Returns:
        The comparison, in words under `lines`, or `None` if fewer than two rows have a
        test accuracy; and a line for each predictions.csv that cannot be used.
    """
    tested = [row for row in rows if row.values["test_accuracy"] is not None]
    tested.sort(key=lambda row: row.values["test_accuracy"], reverse=True)
    if len(tested) < 2:
        return None, []
    pair = [row.typical for row in tested[:2]]
    problems: list[str] = []
    found = _tested_differently(*pair)
    if found is None:
        predictions = [_read(row, problems) for row in pair]
        found = _by_predictions(predictions) or _by_counts(*pair)
    words = found.pop("words")
    names = [_name(row) for row in tested[:2]]
    return {
        "best": pair[0].values["folder"],
        "next": pair[1].values["folder"],
        **found,
        "lines": [f"best: {names[0]}; next: {names[1]}", words],
    }, problems


def _tested_differently(first: Row, second: Row) -> Finding | None:
    """The finding that two runs cannot be compared, or `None` if they can."""
    digests = [row.options.get("data_sha256") for row in (first, second)]
    same_size = first.values["test_count"] == second.values["test_count"]
    if None not in digests and digests[0] == digests[1] and same_size:
        return None
    why = "they were tested on different data"
    if None in digests:
        why = "config.json does not say whether they were tested on the same data"
    return _finding(None, None, f"{why}: their accuracies cannot be compared")


def _finding(
    test: str | None, beyond: bool | None, words: str, **numbers: float
) -> Finding:
    """A finding, with the keys of compare.py's JSON."""
    return {"test": test, "beyond_chance": beyond, **numbers, "words": words}


def _read(row: Row, problems: list[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """A run's labels and predictions, or `None` if they cannot be used."""
    try:
        labels, predictions = read_predictions(row.run.folder)
    except FileNotFoundError:  # a run of --summaries scalars, or an old one
        return None
    except UserError as error:
        problems.append(f"{one_line(str(error))}; it is not used")
        return None
    except OSError as error:
        problems.append(f"{_file(row)}: not read ({error.strerror})")
        return None
    correct, count = int((labels == predictions).sum()), len(labels)
    if (correct, count) != (row.values["test_correct"], row.values["test_count"]):
        problems.append(
            f"{_file(row)}: has {correct}/{count} right, where the run's result has "
            f"{row.values['test_correct']}/{row.values['test_count']}; it is not used"
        )
        return None
    return labels, predictions


def _file(row: Row) -> str:
    """The printed path of a run's predictions.csv."""
    return one_line(shown(row.run.folder / PREDICTIONS_FILE))


def _by_predictions(
    predictions: Sequence[tuple[np.ndarray, np.ndarray] | None],
) -> Finding | None:
    """The finding of McNemar's test; `None` if a run has no predictions."""
    first, second = predictions
    if first is None or second is None:
        return None
    labels = first[0]
    if not np.array_equal(labels, second[0]):
        why = "the labels in their predictions.csv differ"
        words = f"{why}: their accuracies cannot be compared"
        return _finding(None, None, words)
    right, next_right = first[1] == labels, second[1] == labels
    only_first = int((right & ~next_right).sum())
    only_second = int((next_right & ~right).sum())
    p = mcnemar(only_first, only_second)
    is_ahead = only_first > only_second
    images = "image" if only_first == 1 else "images"
    text = f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"
    words = (
        f"{only_first} test {images} only the best has right, {only_second} only the "
        f"next: {text} (exact McNemar), {_verdict(p < LEVEL, is_ahead)}"
    )
    numbers = {"only_best": only_first, "only_next": only_second, "p": p}
    return _finding("mcnemar", p < LEVEL and is_ahead, words, **numbers)


def _by_counts(first: Row, second: Row) -> Finding:
    """The finding of Newcombe's interval, from the numbers of correct images only."""
    counts = [
        row.values[name]
        for row in (first, second)
        for name in ("test_correct", "test_count")
    ]
    low, high = newcombe(*counts)
    difference = first.values["test_accuracy"] - second.values["test_accuracy"]
    words = (
        f"test accuracies differ by {difference:.4f}, 95 % interval {low:.4f} to "
        f"{high:.4f} (Newcombe), {_verdict(low > 0 or high < 0, difference > 0)}"
    )
    numbers = {"difference": difference, "low": low, "high": high}
    return _finding("newcombe", low > 0, words, **numbers)


def _verdict(is_beyond: bool, is_ahead: bool) -> str:
    """The verdict in words. The order of groups' median runs may be reversed."""
    if not is_beyond:
        return "may be chance"
    beyond = f"beyond chance at the {LEVEL:.0%} level".replace("%", " %")
    return beyond if is_ahead else f"{beyond}, but in favour of the next"


def _name(row: Row) -> str:
    """A row in a few words."""
    run = one_line(f"{row.values['script']} {row.typical.values['run']}")
    if row.parts:
        run += f" (the median of {len(row.parts)} runs)"
    return run
