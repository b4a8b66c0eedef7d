"""MNIST's IDX files as verified NumPy splits.

The file format is described by its authors beside the data set (LeCun, Cortes and
Burges, "The MNIST database of handwritten digits", 1998): a big-endian header (two zero
bytes, a type code, the number of dimensions, each dimension as int32), then the values.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from seqmnist.errors import UserError
from seqmnist.paths import DATA_DIR

IMAGE_SIZE = 28  # pixels, height and width
NUM_CLASSES = 10
VALIDATION_SIZE = 5000  # as the TensorFlow tutorials' reader split it

# SHA-256 of the four decompressed files that ship in data/.
SHIPPED_SHA256 = {
    "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

# The names under which MNIST, Fashion-MNIST, KMNIST and QMNIST are published; each is
# looked for as it stands and with ".gz" behind it. "." for "-" is what some unpackers
# make of "-idx3-ubyte".
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

# Type code and number of dimensions, the third and fourth byte of an IDX file.
IMAGES_MAGIC = 0x00000803  # uint8 [n, 28, 28]
LABELS_MAGIC = 0x00000801  # uint8 [n]
QMNIST_LABELS_MAGIC = 0x00000C02  # int32 [n, 8]; the first column is the class
QMNIST_COLUMNS = 8

GZIP_MAGIC = b"\x1f\x8b"
# Deflate cannot expand a byte to more than 1,032 (zlib's technical details), so a
# header that promises more than that lies.
MAX_GZIP_RATIO = 1032
CHUNK_SIZE = 1 << 20  # bytes read at a time, so that a lying header allocates nothing


class Split(NamedTuple):
    """Images and their labels.

    Attributes:
        images: uint8 `[num_examples, 28, 28]`, 0 (paper) to 255 (ink).
        labels: uint8 `[num_examples]`, 0 to 9.
    """

    images: np.ndarray
    labels: np.ndarray


class Splits(NamedTuple):
    """The three splits of a data set, and the digest that names it.

    Attributes:
        train: the training files' examples behind the first `validation_size`.
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
    """Reads the four IDX files of a folder and splits them as the TF tutorials did.

    Args:
        data_dir: folder with the training and test images and labels, gzip or raw,
            under the names of `FILE_NAMES`. The files of the project's own `data/` are
            checked against their known digests.
        validation_size: number of training examples to hold out, from the front.

    Returns:
        `Splits`; the images stay uint8 and are not copied.

    Raises:
        UserError: a file is missing, unreadable, not what its header says, or holds
            labels outside 0 to 9; images and labels differ in number; or
            `validation_size` leaves nothing to train on.
    """
    folder = Path(data_dir)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; --data-dir takes a folder with the four IDX "
            "files of MNIST or of a set like it (see data/README.md)"
        )
    digests = {}
    arrays = {}
    for kind in FILE_NAMES:
        path = find_file(folder, kind)
        read = read_images if kind.endswith("images") else read_labels
        arrays[kind], digests[kind] = read(path)
        is_shipped = folder.resolve() == DATA_DIR
        if is_shipped and digests[kind] != SHIPPED_SHA256[kind]:
            raise UserError(
                f"{path}: SHA-256 of the contents is {digests[kind]}, expected "
                f"{SHIPPED_SHA256[kind]}; restore the file (git checkout data/), and "
                "keep other data sets in a folder of their own (--data-dir)"
            )
    for name in ("train", "test"):
        num_images = len(arrays[f"{name}-images"])
        num_labels = len(arrays[f"{name}-labels"])
        if num_images != num_labels:
            raise UserError(
                f"{folder}: {num_images} {name} images but {num_labels} {name} labels; "
                "both files must come from the same data set"
            )
    num_train = len(arrays["train-images"])
    if not 0 <= validation_size < num_train:
        raise UserError(
            f"--validation-size {validation_size}: expected 0 to {num_train - 1}, as "
            f"{folder} holds {num_train} training images and one must remain"
        )
    images, labels = arrays["train-images"], arrays["train-labels"]
    digest = hashlib.sha256("".join(digests[k] for k in sorted(digests)).encode())
    return Splits(
        train=Split(images[validation_size:], labels[validation_size:]),
        validation=Split(images[:validation_size], labels[:validation_size]),
        test=Split(arrays["test-images"], arrays["test-labels"]),
        digest=digest.hexdigest(),
    )


def find_file(folder: Path, kind: str) -> Path:
    """The path of one of the four files.

    Args:
        folder: where to look.
        kind: a key of `FILE_NAMES`.

    Returns:
        The first of the kind's names that exists, raw before gzip.

    Raises:
        UserError: none of them exists.
    """
    for name in FILE_NAMES[kind]:
        for candidate in (folder / name, folder / (name + ".gz")):
            if candidate.is_file():
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
    shape, values, digest = _read_idx(path, {IMAGES_MAGIC: "images"})
    if shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise UserError(
            f"{path}: images of {shape[1]} x {shape[2]} pixels; "
            f"expected {IMAGE_SIZE} x {IMAGE_SIZE}"
        )
    return np.frombuffer(values, np.uint8).reshape(shape), digest


def read_labels(path: Path) -> tuple[np.ndarray, str]:
    """Reads an IDX file of labels, or QMNIST's, whose first column is the class.

    Args:
        path: the file, gzip or raw.

    Returns:
        The labels, uint8 `[num_examples]`, 0 to 9, and the SHA-256 of the decompressed
        file in hexadecimal.

    Raises:
        UserError: the file is not a complete IDX file of labels from 0 to 9.
    """
    shape, values, digest = _read_idx(
        path, {LABELS_MAGIC: "labels", QMNIST_LABELS_MAGIC: "QMNIST labels"}
    )
    if len(shape) == 1:
        labels = np.frombuffer(values, np.uint8)
    else:
        if shape[1] != QMNIST_COLUMNS:
            raise UserError(
                f"{path}: {shape[1]} columns; expected QMNIST's {QMNIST_COLUMNS}"
            )
        labels = np.frombuffer(values, ">i4").reshape(shape)[:, 0]
    wrong = np.flatnonzero((labels < 0) | (labels >= NUM_CLASSES))
    if wrong.size:
        raise UserError(
            f"{path}: label {labels[wrong[0]]} at position {wrong[0]}; "
            f"expected labels from 0 to {NUM_CLASSES - 1}"
        )
    return labels.astype(np.uint8), digest


def _read_idx(path: Path, kinds: dict[int, str]) -> tuple[tuple[int, ...], bytes, str]:
    """Reads shape, value bytes and digest of an IDX file of one of the given kinds."""
    try:
        with open(path, "rb") as raw:
            file_size = os.fstat(raw.fileno()).st_size
            if not file_size:
                raise UserError(f"{path}: the file is empty; expected IDX data")
            is_gzip = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            if path.suffix == ".gz" and not is_gzip:
                raise UserError(f"{path}: not a gzip file, although its name says so")
            if not is_gzip:
                return _parse_idx(path, raw, file_size, kinds)
            with gzip.GzipFile(fileobj=raw) as unzipped:
                max_size = file_size * MAX_GZIP_RATIO
                return _parse_idx(path, cast(IO[bytes], unzipped), max_size, kinds)
    except (EOFError, zlib.error, OSError) as error:
        # The gzip module reports what is wrong in its data as an OSError without errno.
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{path}: cannot be read ({error.strerror})")
        raise UserError(f"{path}: broken gzip data ({error}); fetch the file again")


def _parse_idx(
    path: Path, stream: IO[bytes], max_size: int, kinds: dict[int, str]
) -> tuple[tuple[int, ...], bytes, str]:
    """Parses an open IDX file that can hold no more than `max_size` bytes."""
    expected = " or ".join(f"0x{magic:08x} ({kinds[magic]})" for magic in kinds)
    header = stream.read(4)
    magic = int.from_bytes(header, "big")
    if len(header) < 4 or magic not in kinds:
        raise UserError(
            f"{path}: magic number 0x{header.hex()}; expected {expected}: "
            "this is not the IDX file its name says"
        )
    num_dimensions = magic & 0xFF
    dimensions = stream.read(4 * num_dimensions)
    if len(dimensions) < 4 * num_dimensions:
        raise UserError(
            f"{path}: truncated within the header; "
            f"expected {4 + 4 * num_dimensions} bytes of it"
        )
    header += dimensions
    shape = tuple(int(n) for n in np.frombuffer(dimensions, ">u4"))
    item_size = 4 if magic == QMNIST_LABELS_MAGIC else 1
    num_bytes = item_size
    for n in shape:
        num_bytes *= n
    if shape[0] == 0:
        raise UserError(f"{path}: the header announces 0 {kinds[magic]}; expected some")
    announced = f"{num_bytes} bytes for {' x '.join(map(str, shape))} {kinds[magic]}"
    if num_bytes > max_size:
        raise UserError(
            f"{path}: truncated: the header announces {announced}, "
            "more than the file can hold"
        )
    digest = hashlib.sha256(header)
    chunks = []
    remaining = num_bytes
    while remaining:
        chunk = stream.read(min(remaining, CHUNK_SIZE))
        if not chunk:
            raise UserError(
                f"{path}: truncated: the header announces {announced}, "
                f"found {num_bytes - remaining}"
            )
        digest.update(chunk)
        chunks.append(chunk)
        remaining -= len(chunk)
    if stream.read(1):
        raise UserError(
            f"{path}: trailing bytes behind the {announced} that the header announces"
        )
    return shape, b"".join(chunks), digest.hexdigest()
