"""Arrays in a .npz file of NumPy, as Keras and KMNIST publish them."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np

from seqmnist.data.idx import ALWAYS_READ, DTYPES, MAX_GZIP_RATIO
from seqmnist.errors import UserError

# What zipfile and NumPy raise for a damaged, encrypted or foreign file. RuntimeError
# includes NotImplementedError.
BROKEN = (KeyError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path, key: str, kinds: dict[int, str]) -> tuple[np.ndarray, str]:
    """Reads an array as `read_idx` would, if it were in an IDX file.

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
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(f"{key}.npy").file_size
        if size > max(path.stat().st_size * MAX_GZIP_RATIO, ALWAYS_READ):
            raise UserError(f"{path}: a bomb: array {key} announces {size} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            array = arrays[key]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})")
    except BROKEN as error:
        raise UserError(f"{path}: broken .npz file ({error}); fetch the file again")
    for magic in kinds:
        dtype = DTYPES[magic >> 8]
        if array.dtype == dtype and array.ndim == magic & 0xFF and len(array):
            header = magic.to_bytes(4, "big") + np.array(array.shape, ">u4").tobytes()
            digest = hashlib.sha256(header)
            digest.update(np.ascontiguousarray(array).data)
            return array, digest.hexdigest()
    expected = " or ".join(
        f"{name}, {DTYPES[magic >> 8]} with {magic & 0xFF} axes"
        for magic, name in kinds.items()
    )
    raise UserError(
        f"{path}: array {key} is {array.dtype} of shape {list(array.shape)}; expected "
        f"{expected}"
    )
