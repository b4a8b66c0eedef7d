"""Finds the four arrays of a data set in a folder, under the names that people have.

    MNIST, Fashion-MNIST, KMNIST  train-images-idx3-ubyte, t10k-labels-idx1-ubyte, ...
    converters of other sets      test-images-idx3-ubyte, train-images.idx3-ubyte, ...
    QMNIST, EMNIST                the same names after qmnist-, emnist-digits-, ...
    KMNIST for NumPy              kmnist-train-imgs.npz, kmnist-test-labels.npz, ...
    Keras                         mnist.npz with x_train, y_train, x_test and y_test
    MedMNIST                      such as pneumoniamnist.npz with train_images, ...

Upper and lower case are the same, and - and _. IDX files may be gzip or raw. A file of
class names may lie beside them: classes.txt, or EMNIST's own, such as
emnist-letters-mapping.txt. The files may be up to two folders below the given one:
torchvision has them in MNIST/raw, some archives have a folder per file, and some people
have folders train and test.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, NamedTuple, Sequence, Tuple

from seqmnist.data.npz import array_names
from seqmnist.errors import UserError

KINDS = ("train-images", "train-labels", "test-images", "test-labels")
MAX_DEPTH = 2  # folders below the given one
MAX_LISTED = 5  # items in a message
MAX_ARRAYS = 6  # names of arrays of a file in a message; MedMNIST has so many

IDX_NAME = re.compile(
    r"(?P<set>(?:.*[-_.])?)(?P<part>train|t10k|test)[-_](?P<what>images|labels)"
    r"[-_.]idx\d[-_](?:ubyte|int)(?P<gz>\.gz)?",
    re.IGNORECASE,
)
NPZ_NAME = re.compile(
    r"(?P<set>(?:.*[-_.])?)(?P<part>train|test)[-_](?P<what>imgs|labels)\.npz",
    re.IGNORECASE,
)
EMNIST_SPLITS = ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")
CLASSES_FILE = "classes.txt"
NPZ_OF_ONE = "arr_0"  # the name that NumPy gives an array without a name
NPZ_OF_FOUR = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)  # by kind, of Keras and of MedMNIST
PART_FOLDERS = ("train", "test", "t10k", "images", "labels")  # with two files each


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
        complete = _complete(found) or _complete(_joined(found))
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
    if is_emnist(sources):
        prefix = path.name[: path.name.lower().rindex("train")]
        names.insert(0, f"{prefix}mapping.txt")
    beside = [path.with_name(name) for name in names]
    return next((file for file in beside if file.is_file()), None)


def is_emnist(sources: Sources) -> bool:
    """Whether a data set is one of EMNIST's, by its name."""
    match = IDX_NAME.fullmatch(sources["train-images"].path.name)
    return match is not None and _prefix(match).startswith("emnist-")


def _prefix(match: re.Match) -> str:
    """The beginning of a file's name that tells its data set."""
    return match.group("set").lower().replace("_", "-")


def _files(
    folder: Path, depth: int, seen: set[tuple[int, int]] | None = None
) -> Iterator[Path]:
    """The files that are this many folders below, without hidden ones.

    Links to folders are followed, as people link what is large, but no folder is
    searched twice. Folders that cannot be read are passed over.
    """
    seen = set() if seen is None else seen
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue  # such as the "._" files of macOS
        if depth and os.path.isdir(entry.path):
            yield from _files(Path(entry.path), depth - 1, seen)
        elif not depth and os.path.isfile(entry.path):
            yield Path(entry.path)


Sets = Dict[Tuple[Path, str], Sources]  # by folder and prefix


def _sets(paths: Iterator[Path]) -> Sets:
    """The data sets, complete or not, of some files."""
    found: Sets = {}
    for path in paths:
        match = IDX_NAME.fullmatch(path.name) or NPZ_NAME.fullmatch(path.name)
        if match:
            # Some archives have a folder per file, of the file's name.
            place = path.parent
            if place.name == path.name:
                place = place.parent
            part = "train" if match.group("part").lower() == "train" else "test"
            what = "labels" if match.group("what").lower() == "labels" else "images"
            sources = found.setdefault((place, _prefix(match)), {})
            key = NPZ_OF_ONE if match.re is NPZ_NAME else None
            # Of a raw file and its gzip, the raw one, which comes first.
            sources.setdefault(f"{part}-{what}", Source(path, key))
        elif path.suffix == ".npz":
            names = array_names(path)
            for keys in NPZ_OF_FOUR:
                if set(keys) <= set(names):
                    sources = {k: Source(path, key) for k, key in zip(KINDS, keys)}
                    found[path.parent, path.stem] = sources
    return found


def _complete(found: Sets) -> Sets:
    """The complete ones of some sets."""
    return {name: s for name, s in found.items() if len(s) == len(KINDS)}


def _joined(found: Sets) -> Sets:
    """The sets whose training and test files, or images and labels, lie apart."""
    joined: Sets = {}
    for (place, prefix), sources in found.items():
        if place.name in PART_FOLDERS:
            joined.setdefault((place.parent, prefix), {}).update(sources)
    return joined


def _what_is_missing(folder: Path, partial: Sources) -> str:
    """What the most complete set lacks, or what the folder has in place of a set."""
    if partial:
        missing = " and ".join(kind for kind in KINDS if kind not in partial)
        there = next(iter(partial.values())).path
        return f"{there} is there, but no file of the {missing.replace('-', ' ')}"
    names = sorted(os.listdir(folder))
    what = listed(names, lambda name: _described(folder / name))
    return f"it has {what}" if names else "it is empty"


def listed(items: Sequence, words: Callable[[Any], str] = str) -> str:
    """Lists the first few of some items in a message.

    Args:
        items: the items.
        words: makes the words for an item.

    Returns:
        Such as `a, b and 3 more`.
    """
    first = ", ".join(map(words, items[:MAX_LISTED]))
    more = len(items) - MAX_LISTED
    return f"{first} and {more} more" if more > 0 else first


def _described(path: Path) -> str:
    """A file's name, and the arrays of a .npz file."""
    is_npz = path.suffix == ".npz" and os.path.isfile(path)
    arrays = array_names(path)[:MAX_ARRAYS] if is_npz else []
    return f"{path.name} with {', '.join(arrays)}" if arrays else path.name
