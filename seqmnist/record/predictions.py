"""predictions.csv: a finished run's prediction for every test image."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path
from typing import Sequence

import numpy as np

from seqmnist.data.class_names import numbered
from seqmnist.errors import UserError
from seqmnist.paths import shown
from seqmnist.record.folder import write_text
from seqmnist.record.reading import softmax

PREDICTIONS_FILE = "predictions.csv"

# index: index of the test image, from 0; label: its class; prediction: the class with
# the largest logit; probability: softmax probability of the predicted class.
HEADER = "index,label,prediction,probability"
NAMES = ",label_name,prediction_name"  # if classes have names other than their numbers
ROW = re.compile(r"([0-9]{1,9}),([0-9]{1,3}),([0-9]{1,3}),[0-9.e+\-naif]+(,.*)?")

# A few times the size for 100,000 images; a larger file is not a predictions.csv.
MAX_BYTES = 2 * 10**7


def write_predictions(
    folder: Path, labels: np.ndarray, logits: np.ndarray, names: Sequence[str]
) -> Path:
    """Writes predictions.csv in one piece.

    Args:
        folder: the run's folder.
        labels: whole numbers `[num_images]`, 0 to `num_classes - 1`, in the test
            split's order.
        logits: float32 `[num_images, num_classes]`.
        names: the classes' names.

    Returns:
        The path of the file.

    Raises:
        ValueError: the shapes do not fit.
        CannotWrite: disk full, folder gone, not allowed; an old file is unchanged.
    """
    if labels.ndim != 1 or logits.shape != (len(labels), len(names)):
        raise ValueError(
            f"found labels {labels.shape} and logits {logits.shape}; expected [n] and "
            f"[n, {len(names)}]"
        )
    predictions = logits.argmax(axis=1)
    probabilities = softmax(logits).max(axis=1)
    rows = zip(labels.tolist(), predictions.tolist(), probabilities.tolist())
    has_names = names != numbered(len(names))
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow((HEADER + NAMES if has_names else HEADER).split(","))
    for index, (label, prediction, probability) in enumerate(rows):
        named = [names[label], names[prediction]] if has_names else []
        table.writerow([index, label, prediction, f"{probability:.6g}", *named])
    path = folder / PREDICTIONS_FILE
    write_text(path, file.getvalue())
    return path


def read_predictions(folder: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Reads predictions.csv.

    Args:
        folder: the run's folder.

    Returns:
        Labels and predictions, each int64 `[num_images]` with classes from 0.

    Raises:
        UserError: the file is not in the form that a run writes.
        OSError: the file is missing or cannot be read.
    """
    path = Path(folder) / PREDICTIONS_FILE
    if path.exists() and not path.is_file():
        raise UserError(f"{shown(path)}: is no file")
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    lines = content[:MAX_BYTES].decode("utf-8", "replace").split("\n")
    is_headed = lines[0] in (HEADER, HEADER + NAMES)
    if not is_headed or lines.pop() or len(lines) == 1 or len(content) > MAX_BYTES:
        raise UserError(
            f"{shown(path)}: not what a run writes: {HEADER!r}, a row per test image "
            "and a line end"
        )
    rows = [ROW.fullmatch(line) for line in lines[1:]]
    for index, row in enumerate(rows):
        if row is None or int(row.group(1)) != index:
            raise UserError(
                f"{shown(path)}: line {index + 2} is not the row of test image {index}"
            )
    pairs = [row.group(2, 3) for row in rows if row is not None]
    labels, predictions = np.array(pairs, np.int64).T
    return labels, predictions
