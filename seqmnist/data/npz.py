"""Arrays in a .npz file of NumPy, as Keras, KMNIST and MedMNIST publish them."""

from __future__ import annotations

import functools
import hashlib
import operator
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from seqmnist.data.idx import CHUNK_SIZE, DTYPES, form, max_unpacked
from seqmnist.errors import UserError

SUFFIX = ".npy"  # of an array's file within the archive
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes
READ_HEADER = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}
MAX_TEXT = 100  # characters of a foreign text in a message


def array_names(path: Path) -> list[str]:
    """The names of the arrays in a .npz file; none if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # as in read_npz
        return []
    return [name[: -len(SUFFIX)] for name in names if name.endswith(SUFFIX)]


def read_npz(path: Path, key: str, kinds: dict[int, str]) -> tuple[np.ndarray, str]:
    """Reads an array as `read_idx` would, if it were in an IDX file.

    Whole numbers from 0 to 255 of any type are read as uint8; a last axis of size 1 is
    left out.

    Args:
        path: the .npz file.
        key: the array's name in the file.
        kinds: the allowed contents: magic number of IDX -> name, for messages.

    Returns:
        The array; and the SHA-256 of its IDX file in hexadecimal, so that a data set
        is recognized in both formats.

    Raises:
        UserError: the file cannot be read, or the array is not of one of the `kinds`.
    """
    try:
        max_size = max_unpacked(path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(key + SUFFIX)
            if info.file_size > max_size:
                raise UserError(
                    f"{path}: a bomb: array {key} announces {info.file_size} bytes; at "
                    f"most {max_size} are read from a file of this size"
                )
            if info.compress_type not in METHODS:
                raise ValueError(f"compression method {info.compress_type}")
            with archive.open(info) as member:
                array = _read_array(member, info.file_size, f"{path}: array {key}")
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})")
    except Exception as error:  # zipfile and NumPy raise errors of any kind
        reason = (str(error) or repr(error))[:MAX_TEXT]
        raise UserError(f"{path}: broken .npz file ({reason}); fetch the file again")
    if array.ndim > 1 and array.shape[-1] == 1:
        array = array[..., 0]
    for candidate in (array, _as_bytes(array)):
        for magic in kinds:
            dtype = DTYPES[magic >> 8]
            is_kind = candidate.dtype == dtype and candidate.ndim == magic & 0xFF
            if is_kind and len(candidate):
                sizes = np.array(candidate.shape, ">u4")
                digest = hashlib.sha256(magic.to_bytes(4, "big") + sizes.tobytes())
                digest.update(np.ascontiguousarray(candidate).data)
                return candidate, digest.hexdigest()
    expected = " or ".join(
        f"{name}, {form(magic >> 8, magic & 0xFF)}" for magic, name in kinds.items()
    )
    raise UserError(
        f"{path}: array {key} is {array.dtype} of shape {list(array.shape)}; expected "
        f"{expected}, or whole numbers from 0 to 255 of another type; docs/options.md "
        "converts"
    )


def _read_array(member: IO[bytes], size: int, name: str) -> np.ndarray:
    """Reads an array of numbers from its file of `size` bytes; allocates no more."""
    shape, is_fortran, dtype = READ_HEADER[npy.read_magic(member)](member)
    if dtype.kind not in "biuf":
        raise UserError(f"{name} is {str(dtype)[:MAX_TEXT]}; expected numbers")
    num_bytes = functools.reduce(operator.mul, shape, dtype.itemsize)
    if not 0 <= num_bytes <= size:
        raise ValueError("the header announces more than there is")
    chunks = iter(lambda: member.read(CHUNK_SIZE), b"")  # to the end, with its checksum
    data = b"".join(chunks)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


def _as_bytes(array: np.ndarray) -> np.ndarray:
    """The same numbers as uint8, if they fit."""
    with np.errstate(invalid="ignore"):  # of infinite and undefined numbers
        as_bytes = array.astype(np.uint8)
    return as_bytes if np.array_equal(as_bytes, array) else array
