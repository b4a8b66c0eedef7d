"""MNIST, or a data set in its format, as verified NumPy splits.

The number of classes and the size of the images are those of the data.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqmnist.data.class_names import numbered, read_class_names
from seqmnist.data.files import (
    Sources,
    find_class_names,
    find_sources,
    is_emnist,
    listed,
)
from seqmnist.data.idx import INT32_MATRIX, UINT8_CUBE, UINT8_VECTOR, read_idx
from seqmnist.data.npz import read_npz
from seqmnist.errors import UserError
from seqmnist.paths import DATA_DIR, check_folder

MIN_SIDE, MAX_SIDE = 8, 64  # pixels, of an image
MAX_LABEL = 255
VALIDATION_SIZE = 5000  # as in the TensorFlow tutorials' reader

# SHA-256 of the four decompressed files that ship in data/.
SHIPPED_SHA256 = {
    "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

# The digest of the shipped data as a whole, as in `Splits`.
SHIPPED_DIGEST = hashlib.sha256("".join(SHIPPED_SHA256.values()).encode()).hexdigest()

# Ink and paper, in a data set or a picture. MNIST is light on dark.
LIGHT_ON_DARK = "light-on-dark"
DARK_ON_LIGHT = "dark-on-light"

QMNIST_COLUMNS = 8  # the first column is the class
FAINT = 64  # brightest pixel of images whose range is not 0 to 255
EXPECTED = 20  # images of a class; chance leaves out all of them once in 10**8 sets


class Split(NamedTuple):
    """Images and their labels.

    Attributes:
        images: uint8 `[num_examples, height, width]`, 0 (paper) to 255 (ink).
        labels: uint8 `[num_examples]`, 0 to `num_classes - 1`.
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
        class_names: a name per class; the labels as the files have them, if the
            classes have no other names.
        polarity: `LIGHT_ON_DARK` or `DARK_ON_LIGHT`, by the borders of the training
            images. Pixels are not inverted.
        remark: what is unusual in the images, for people, or "".
    """

    train: Split
    validation: Split
    test: Split
    digest: str
    class_names: tuple[str, ...] = numbered(10)
    polarity: str = LIGHT_ON_DARK
    remark: str = ""

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of an image, in pixels."""
        _, height, width = self.train.images.shape
        return height, width


def load_splits(
    data_dir: str | os.PathLike[str] = DATA_DIR,
    validation_size: int = VALIDATION_SIZE,
    emnist_split: str | None = None,
    class_names: str | None = None,
    with_names: bool = True,
) -> Splits:
    """Reads the data set in a folder, and splits it as the TF tutorials did.

    EMNIST's images are turned upright. Labels that begin at 1 are made to begin at 0.

    Args:
        data_dir: folder with the training and test images and labels; files.py has the
            names. Files in the project's own `data/` are checked against their known
            digests.
        validation_size: number of training examples to hold out, from the front.
        emnist_split: the split to read in a folder with several of EMNIST's, such as
            "letters".
        class_names: a file with a name per class; see class_names.py. `None` for the
            one that lies beside the data, if there is one.
        with_names: whether to look for names of the classes at all.

    Returns:
        `Splits`; the images stay uint8 and are not copied.

    Raises:
        UserError: the folder has no data set or several; a file cannot be read, does
            not match its header, or holds what cannot be trained on; files do not
            belong together; or `validation_size` leaves no training examples.
    """
    folder = Path(data_dir)
    if os.path.isfile(folder):
        raise UserError(
            f"{folder}: is a file; --data-dir takes the folder that it is in, "
            f"{folder.parent}"
        )
    if folder == DATA_DIR and not folder.exists():
        raise UserError(
            "seqmnist is installed without MNIST; give load_splits, or --data-dir, the "
            "folder data/ of a clone, or another folder with the four IDX files of a "
            "data set"
        )
    check_folder(
        folder,
        "--data-dir takes a folder with the four IDX files of MNIST or of a set like "
        "it (see data/README.md)",
    )
    sources = find_sources(folder, emnist_split)
    train, train_digests = _read_pair(folder, sources, "train")
    test, test_digests = _read_pair(folder, sources, "test")
    num_train = len(train.labels)
    if not 0 <= validation_size < num_train:
        raise UserError(
            f"--validation-size {validation_size}: expected 0 to {num_train - 1}, as "
            f"{folder} holds {num_train} training images and one must remain"
        )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise UserError(
            f"{folder}: training images of {_size(train.images)} and test images of "
            f"{_size(test.images)}; both must come from the same data set"
        )
    train, test, names, remarks = _classes(folder, train, test)
    names_file = class_names or find_class_names(sources)
    if with_names and names_file is not None:
        names = read_class_names(str(names_file), names)
    if is_emnist(sources):
        remarks.append("EMNIST's images lie transposed and are turned upright")
        train, test = (
            split._replace(images=split.images.swapaxes(1, 2))
            for split in (train, test)
        )
    polarity = _polarity(train.images)
    if polarity == DARK_ON_LIGHT:
        remarks.append("the images are dark on light, unlike MNIST's")
    digest = hashlib.sha256((train_digests + test_digests).encode())
    validation, train = (
        Split(train.images[part], train.labels[part])
        for part in (slice(validation_size), slice(validation_size, None))
    )
    remarks += _odd_classes(train.labels, validation.labels, test.labels, len(names))
    brightest = train.images.max()
    if brightest < FAINT:
        remarks.append(
            f"the brightest training pixel is {brightest}; expected up to 255: "
            "multiply them (see docs/options.md)"
        )
    return Splits(
        train=train,
        validation=validation,
        test=test,
        digest=digest.hexdigest(),
        class_names=names,
        polarity=polarity,
        remark="; ".join(remarks),
    )


def _classes(
    folder: Path, train: Split, test: Split
) -> tuple[Split, Split, tuple[str, ...], list[str]]:
    """The splits with labels from 0, a number per class, and what is unusual."""
    labels = np.concatenate([train.labels, test.labels])
    first = 1 if labels.min() == 1 else 0
    num_classes = int(labels.max()) + 1 - first
    if num_classes < 2:
        raise UserError(
            f"{folder}: all labels are {labels[0]}; expected two classes or more"
        )
    remarks = []
    if first:
        remarks.append(
            f"the labels 1 to {num_classes} are the classes 0 to {num_classes - 1}"
        )
        train, test = (
            split._replace(labels=split.labels - np.uint8(first))
            for split in (train, test)
        )
    return train, test, numbered(num_classes, first), remarks


def _odd_classes(
    train: np.ndarray, validation: np.ndarray, test: np.ndarray, num_classes: int
) -> list[str]:
    """What is odd in the labels of the three splits."""
    counts = np.bincount(train, minlength=num_classes)
    held_out = np.bincount(validation, minlength=num_classes)
    no_training = counts == 0
    # By chance, validation has its share of each class.
    share = len(validation) / (len(train) + len(validation))
    no_validation = (held_out == 0) & (counts * share >= EXPECTED)
    remarks = [
        f"no {name} image is of class {listed(np.flatnonzero(is_missing).tolist())}"
        for name, is_missing in (
            ("training", no_training),
            ("validation", no_validation),
        )
        if is_missing.any()
    ]
    if no_validation.any() or (no_training & (held_out > 0)).any():
        remarks.append(
            "validation is the first --validation-size training images: shuffle a file "
            "that is sorted by class"
        )
    if (test == test[0]).all():
        remarks.append(f"all test labels are {test[0]}")
    return remarks


def _polarity(images: np.ndarray) -> str:
    """The polarity of most pixels at the images' borders, which are paper."""
    top_and_bottom, sides = images[:, [0, -1]], images[:, :, [0, -1]]
    mean = (top_and_bottom.mean() + sides.mean()) / 2
    return DARK_ON_LIGHT if mean > 127 else LIGHT_ON_DARK


def _read_pair(folder: Path, sources: Sources, name: str) -> tuple[Split, str]:
    """Reads images and labels of "train" or "test", and their joined digests."""
    images, images_digest = read_images(*sources[f"{name}-images"])
    labels, labels_digest = read_labels(*sources[f"{name}-labels"])
    if folder.resolve() == DATA_DIR:
        digests = {f"{name}-images": images_digest, f"{name}-labels": labels_digest}
        for kind, digest in digests.items():
            if digest != SHIPPED_SHA256[kind]:
                raise UserError(
                    f"{sources[kind].path}: SHA-256 of the contents is {digest}, "
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


def read_images(path: Path, key: str | None = None) -> tuple[np.ndarray, str]:
    """Reads images.

    Args:
        path: an IDX file, gzip or raw; or a .npz file.
        key: the array's name in a .npz file.

    Returns:
        The images, uint8 `[num_examples, height, width]`, and the SHA-256 of their IDX
        file, decompressed, in hexadecimal.

    Raises:
        UserError: the file is not complete, or its images are too small or too large.
    """
    images, digest = _read(path, key, {UINT8_CUBE: "images"})
    if not MIN_SIDE <= min(images.shape[1:]) <= max(images.shape[1:]) <= MAX_SIDE:
        raise UserError(
            f"{path}: images of {_size(images)}; expected {MIN_SIDE} to {MAX_SIDE} "
            "pixels to a side"
        )
    return images, digest


def _size(images: np.ndarray) -> str:
    """Height and width of images, in words."""
    _, height, width = images.shape
    return f"{height} x {width} pixels"


def read_labels(path: Path, key: str | None = None) -> tuple[np.ndarray, str]:
    """Reads labels; in QMNIST's files the first column is the class.

    Args:
        path, key: as for `read_images`.

    Returns:
        The labels, uint8 `[num_examples]`, and the SHA-256 of their IDX file,
        decompressed, in hexadecimal.

    Raises:
        UserError: the file is not complete, or not of labels from 0 to `MAX_LABEL`.
    """
    kinds = {UINT8_VECTOR: "labels", INT32_MATRIX: "QMNIST labels"}
    labels, digest = _read(path, key, kinds)
    if labels.ndim == 2:
        if labels.shape[1] != QMNIST_COLUMNS:
            raise UserError(
                f"{path}: {labels.shape[1]} columns; expected QMNIST's {QMNIST_COLUMNS}"
            )
        labels = labels[:, 0]
    wrong = np.flatnonzero((labels < 0) | (labels > MAX_LABEL))
    if wrong.size:
        raise UserError(
            f"{path}: label {labels[wrong[0]]} at position {wrong[0]}; "
            f"expected labels from 0 to {MAX_LABEL}"
        )
    return labels.astype(np.uint8), digest


def _read(path: Path, key: str | None, kinds: dict[int, str]) -> tuple[np.ndarray, str]:
    """Reads one array; see `read_idx`."""
    return read_idx(path, kinds) if key is None else read_npz(path, key, kinds)
