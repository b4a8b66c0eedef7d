"""MNIST, or a data set in its format, as verified NumPy splits."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqmnist.data.idx import INT32_MATRIX, UINT8_CUBE, UINT8_VECTOR, read_idx
from seqmnist.errors import UserError
from seqmnist.paths import DATA_DIR, check_folder

IMAGE_SIZE = 28  # pixels, height and width
IMAGE_SHAPE = (IMAGE_SIZE, IMAGE_SIZE)
NUM_CLASSES = 10
VALIDATION_SIZE = 5000  # as in the TensorFlow tutorials' reader

# SHA-256 of the four decompressed files that ship in data/.
SHIPPED_SHA256 = {
    "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

# The names under which MNIST, Fashion-MNIST, KMNIST and QMNIST are published. Each name
# is looked for as it is and with ".gz" appended. Some unpackers turn "-idx3-ubyte" into
# ".idx3-ubyte".
FILE_NAMES = {
    "train-images": (
        "train-images-idx3-ubyte",
        "train-images.idx3-ubyte",
        "qmnist-train-images-idx3-ubyte",
    ),
    "train-labels": (
        "train-labels-idx1-ubyte",
        "train-labels.idx1-ubyte",
        "qmnist-train-labels-idx2-int",
    ),
    "test-images": (
        "t10k-images-idx3-ubyte",
        "t10k-images.idx3-ubyte",
        "qmnist-test-images-idx3-ubyte",
    ),
    "test-labels": (
        "t10k-labels-idx1-ubyte",
        "t10k-labels.idx1-ubyte",
        "qmnist-test-labels-idx2-int",
    ),
}

QMNIST_COLUMNS = 8  # the first column is the class


class Split(NamedTuple):
    """Images and their labels.

    Attributes:
        images: uint8 `[num_examples, 28, 28]`, 0 (paper) to 255 (ink).
        labels: uint8 `[num_examples]`, 0 to 9.
    """

    images: np.ndarray
    labels: np.ndarray


class Splits(NamedTuple):
    """The three splits of a data set, and the digest that identifies the data.

    Attributes:
        train: the training files' examples after the first `validation_size`.
        validation: the training files' first `validation_size` examples.
        test: the test files' examples.
        digest: SHA-256, in hexadecimal, of the four decompressed files' SHA-256.
    """

    train: Split
    validation: Split
    test: Split
    digest: str


def load_splits(
    data_dir: str | os.PathLike[str] = DATA_DIR, validation_size: int = VALIDATION_SIZE
) -> Splits:
    """Reads the four IDX files of a folder, and splits them as the TF tutorials did.

    Args:
        data_dir: folder with the training and test images and labels, gzip or raw,
            under the names in `FILE_NAMES`. Files in the project's own `data/` are
            checked against their known digests.
        validation_size: number of training examples to hold out, from the front.

    Returns:
        `Splits`; the images stay uint8 and are not copied.

    Raises:
        UserError: a file is missing, cannot be read, does not match its header, or
            holds labels outside 0 to 9; images and labels differ in number; or
            `validation_size` leaves no training examples.
    """
    folder = Path(data_dir)
    if folder == DATA_DIR and not folder.exists():
        raise UserError(
            "seqmnist is installed without MNIST; give load_splits, or --data-dir, the "
            "folder data/ of a clone, or another folder with the four IDX files: "
            + ", ".join(f"{names[0]}.gz" for names in FILE_NAMES.values())
        )
    check_folder(
        folder,
        "--data-dir takes a folder with the four IDX files of MNIST or of a set like "
        "it (see data/README.md)",
    )
    (images, labels), train_digests = _read_pair(folder, "train")
    test, test_digests = _read_pair(folder, "test")
    num_train = len(labels)
    if not 0 <= validation_size < num_train:
        raise UserError(
            f"--validation-size {validation_size}: expected 0 to {num_train - 1}, as "
            f"{folder} holds {num_train} training images and one must remain"
        )
    digest = hashlib.sha256((train_digests + test_digests).encode())
    return Splits(
        train=Split(images[validation_size:], labels[validation_size:]),
        validation=Split(images[:validation_size], labels[:validation_size]),
        test=test,
        digest=digest.hexdigest(),
    )


def _read_pair(folder: Path, name: str) -> tuple[Split, str]:
    """Reads images and labels of "train" or "test", and their joined digests."""
    images, images_digest = read_images(find_file(folder, f"{name}-images"))
    labels, labels_digest = read_labels(find_file(folder, f"{name}-labels"))
    if folder.resolve() == DATA_DIR:
        digests = {f"{name}-images": images_digest, f"{name}-labels": labels_digest}
        for kind, digest in digests.items():
            if digest != SHIPPED_SHA256[kind]:
                raise UserError(
                    f"{find_file(folder, kind)}: SHA-256 of the contents is {digest}, "
                    f"expected {SHIPPED_SHA256[kind]}; restore the file (git checkout "
                    "data/), and keep other data sets in a folder of their own "
                    "(--data-dir)"
                )
    if len(images) != len(labels):
        raise UserError(
            f"{folder}: {len(images)} {name} images but {len(labels)} {name} labels; "
            "both files must come from the same data set"
        )
    return Split(images, labels), images_digest + labels_digest


def find_file(folder: Path, kind: str) -> Path:
    """The path of one of the four files.

    Args:
        folder: the folder to search.
        kind: a key of `FILE_NAMES`.

    Returns:
        The path of the first name of this kind that exists, raw before gzip.

    Raises:
        UserError: no file of this kind exists.
    """
    for name in FILE_NAMES[kind]:
        for candidate in (folder / name, folder / (name + ".gz")):
            if os.path.isfile(candidate):
                return candidate
    raise UserError(
        f"{folder / FILE_NAMES[kind][0]}.gz: no such file, nor without .gz; "
        "--data-dir takes a folder with the four IDX files (see data/README.md)"
    )


def read_images(path: Path) -> tuple[np.ndarray, str]:
    """Reads an IDX file of images.

    Args:
        path: the file, gzip or raw.

    Returns:
        The images, uint8 `[num_examples, 28, 28]`, and the SHA-256 of the
        decompressed file in hexadecimal.

    Raises:
        UserError: the file is not a complete IDX file of 28 x 28 images.
    """
    images, digest = read_idx(path, {UINT8_CUBE: "images"})
    height, width = images.shape[1:]
    if (height, width) != IMAGE_SHAPE:
        raise UserError(
            f"{path}: images of {height} x {width} pixels; "
            f"expected {IMAGE_SIZE} x {IMAGE_SIZE}"
        )
    return images, digest


def read_labels(path: Path) -> tuple[np.ndarray, str]:
    """Reads an IDX file of labels; in QMNIST's files the first column is the class.

    Args:
        path: the file, gzip or raw.

    Returns:
        The labels, uint8 `[num_examples]`, 0 to 9, and the SHA-256 of the decompressed
        file in hexadecimal.

    Raises:
        UserError: the file is not a complete IDX file of labels from 0 to 9.
    """
    labels, digest = read_idx(
        path, {UINT8_VECTOR: "labels", INT32_MATRIX: "QMNIST labels"}
    )
    if labels.ndim == 2:
        if labels.shape[1] != QMNIST_COLUMNS:
            raise UserError(
                f"{path}: {labels.shape[1]} columns; expected QMNIST's {QMNIST_COLUMNS}"
            )
        labels = labels[:, 0]
    wrong = np.flatnonzero((labels < 0) | (labels >= NUM_CLASSES))
    if wrong.size:
        raise UserError(
            f"{path}: label {labels[wrong[0]]} at position {wrong[0]}; "
            f"expected labels from 0 to {NUM_CLASSES - 1}"
        )
    return labels.astype(np.uint8), digest
