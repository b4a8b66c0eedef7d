"""Finds the four arrays of a data set in a folder, under the names that people have.

    MNIST, Fashion-MNIST, KMNIST  train-images-idx3-ubyte, t10k-labels-idx1-ubyte, ...
    converters of other sets      test-images-idx3-ubyte, train-images.idx3-ubyte, ...
    QMNIST, EMNIST                the same names after qmnist-, emnist-digits-, ...
    KMNIST for NumPy              kmnist-train-imgs.npz, kmnist-test-labels.npz, ...
    Keras                         mnist.npz with x_train, y_train, x_test and y_test

IDX files may be gzip or raw. A file of class names may lie beside them: classes.txt, or
EMNIST's own, such as emnist-letters-mapping.txt. The files may be up to two folders
below the given one: torchvision has them in MNIST/raw, and some archives have a folder
per file.
"""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import Dict, Iterator, NamedTuple

from seqmnist.errors import UserError

KINDS = ("train-images", "train-labels", "test-images", "test-labels")
MAX_DEPTH = 2  # folders below the given one
MAX_LISTED = 5  # names in a message

IDX_NAME = re.compile(
    r"(?P<set>(?:.*[-_.])?)(?P<part>train|t10k|test)-(?P<what>images|labels)"
    r"[-.]idx\d-(?:ubyte|int)(?P<gz>\.gz)?"
)
NPZ_NAME = re.compile(
    r"(?P<set>(?:.*[-_.])?)(?P<part>train|test)-(?P<what>imgs|labels)\.npz"
)
EMNIST_SPLITS = ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")
CLASSES_FILE = "classes.txt"
NPZ_OF_ONE = "arr_0"  # the name that NumPy gives an array without a name
NPZ_OF_FOUR = dict(zip(KINDS, ("x_train", "y_train", "x_test", "y_test")))


class Source(NamedTuple):
    """The place of an array.

    Attributes:
        path: an IDX file, or a .npz file of NumPy.
        key: the array's name in a .npz file, else `None`.
    """

    path: Path
    key: str | None = None


Sources = Dict[str, Source]  # by kind


def find_sources(folder: Path, emnist_split: str | None = None) -> Sources:
    """Finds a data set in a folder, or in the folders below it.

    Args:
        folder: the folder, which exists.
        emnist_split: one of `EMNIST_SPLITS`, to look for nothing else.

    Returns:
        The `Source` of each of `KINDS`.

    Raises:
        UserError: there is no complete data set, or more than one.
    """
    partial: Sources = {}
    for depth in range(MAX_DEPTH + 1):
        found = _sets(_files(folder, depth))
        if emnist_split is not None:
            wanted = f"emnist-{emnist_split}-"
            found = {key: value for key, value in found.items() if key[1] == wanted}
        complete = {name: s for name, s in found.items() if len(s) == len(KINDS)}
        if len(complete) > 1:
            names = ", ".join(f"{place}/{prefix}*" for place, prefix in complete)
            remedy = "--data-dir takes a folder with one"
            if all(prefix.startswith("emnist-") for _, prefix in complete):
                remedy = "choose one with --emnist-split"
            raise UserError(f"{folder}: {len(complete)} data sets ({names}); {remedy}")
        for sources in complete.values():
            return sources
        partial = max([partial, *found.values()], key=len)
    what = "data set"
    if emnist_split is not None:
        what = f"EMNIST split {emnist_split} (--emnist-split)"
    raise UserError(
        f"{folder}: no {what}: {_what_is_missing(folder, partial)}; --data-dir takes a "
        "folder with the four IDX files (see data/README.md; docs/options.md converts "
        "other forms)"
    )


def find_class_names(sources: Sources) -> Path | None:
    """The file with the names of a data set's classes, if one lies beside the data."""
    path = sources["train-images"].path
    if path.parent.name == path.name:
        path = path.parent
    names = [CLASSES_FILE]
    if path.name.startswith("emnist-"):
        names.insert(0, path.name.split("train-images")[0] + "mapping.txt")
    beside = [path.with_name(name) for name in names]
    return next((file for file in beside if file.is_file()), None)


def _files(folder: Path, depth: int) -> Iterator[Path]:
    """The files that are this many folders below, without hidden ones.

    Links to folders are followed, as people link what is large. Folders that cannot be
    read are passed over.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue  # such as the "._" files of macOS
        if depth and entry.is_dir():
            yield from _files(Path(entry.path), depth - 1)
        elif not depth and entry.is_file():
            yield Path(entry.path)


def _sets(paths: Iterator[Path]) -> dict[tuple[Path, str], Sources]:
    """The data sets, complete or not, of some files; by folder and prefix."""
    found: dict[tuple[Path, str], Sources] = {}
    for path in paths:
        match = IDX_NAME.fullmatch(path.name) or NPZ_NAME.fullmatch(path.name)
        if match:
            # Some archives have a folder per file, of the file's name.
            place = path.parent
            if place.name == path.name:
                place = place.parent
            part = "train" if match.group("part") == "train" else "test"
            what = "labels" if match.group("what") == "labels" else "images"
            sources = found.setdefault((place, match.group("set")), {})
            key = NPZ_OF_ONE if path.suffix == ".npz" else None
            # Of a raw file and its gzip, the raw one, which comes first.
            sources.setdefault(f"{part}-{what}", Source(path, key))
        elif path.suffix == ".npz" and _has_four(path):
            sources = {kind: Source(path, key) for kind, key in NPZ_OF_FOUR.items()}
            found[path.parent, path.stem] = sources
    return found


def _has_four(path: Path) -> bool:
    """Whether a .npz file has the arrays of Keras' mnist.npz."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
    return {f"{key}.npy" for key in NPZ_OF_FOUR.values()} <= names


def _what_is_missing(folder: Path, partial: Sources) -> str:
    """What the most complete set lacks, or what the folder has in place of a set."""
    if partial:
        missing = " and ".join(kind for kind in KINDS if kind not in partial)
        there = next(iter(partial.values())).path
        return f"{there} is there, but no file of the {missing.replace('-', ' ')}"
    names = sorted(os.listdir(folder))
    listed = ", ".join(names[:MAX_LISTED])
    if len(names) > MAX_LISTED:
        listed += f" and {len(names) - MAX_LISTED} more"
    return f"it has {listed}" if names else "it is empty"
