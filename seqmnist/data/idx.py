"""The IDX file format, gzip or raw.

The authors of MNIST describe the format with the data set (LeCun, Cortes and Burges,
"The MNIST database of handwritten digits", 1998): a big-endian header (two zero bytes,
a type code, the number of dimensions, each dimension as uint32), then the values.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import os
import re
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from seqmnist.errors import UserError

# Magic numbers: type code and number of dimensions.
UINT8_VECTOR = 0x00000801
UINT8_CUBE = 0x00000803
INT32_MATRIX = 0x00000C02
DTYPES: dict[int, np.dtype] = {0x08: np.dtype("u1"), 0x0C: np.dtype(">i4")}
# The names of all type codes, for messages.
TYPES = {
    **{0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32"},
    **{0x0D: "float32", 0x0E: "float64"},
}

GZIP_MAGIC = b"\x1f\x8b"
# gzip shrinks MNIST's images to a fifth, and empty images to a thousandth (deflate's
# limit). A large file whose header announces a hundred times its size is damaged or a
# bomb.
MAX_GZIP_RATIO = 100
ALWAYS_READ = 1 << 26  # bytes
# Files may take less room on the disk than their size. EMNIST's largest array, of
# 698,000 images, has an eighth of this.
MAX_BYTES = 1 << 32
CHUNK_SIZE = 1 << 20  # bytes per read, so that a wrong header allocates no memory

# The first bytes of what is found in place of a data file.
FOREIGN = {
    rb"\s*<": "an HTML page, as a download that failed",
    rb"version https://git-lfs": "a pointer of Git LFS (fetch the file: git lfs pull)",
    rb"PK\x03\x04": "a ZIP archive (unpack it)",
    rb"\x1f\x8b": "gzip within gzip (unpack it once)",
    rb"BZh": "a bzip2 file (unpack it)",
    rb"\xfd7zXZ": "an xz file (unpack it)",
    rb"\x93NUMPY": "a file of NumPy",
}


def read_idx(path: Path, kinds: dict[int, str]) -> tuple[np.ndarray, str]:
    """Reads an IDX file.

    Args:
        path: the file, gzip or raw.
        kinds: the allowed contents: magic number -> name, for messages.

    Returns:
        The values, read-only, in the header's shape, uint8 or big-endian int32; and the
        SHA-256 of the decompressed file in hexadecimal.

    Raises:
        UserError: the file cannot be read, is not one complete IDX file, not of one of
            the `kinds`, or holds no items.
    """
    try:
        with open(path, "rb") as raw:
            file_size = os.fstat(raw.fileno()).st_size
            if not file_size:
                raise UserError(f"{path}: the file is empty; expected IDX data")
            is_gzip = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            if not is_gzip:  # whatever the name says: browsers unpack what they fetch
                return _parse_idx(path, raw, min(file_size, MAX_BYTES), kinds)
            return _parse_idx(path, _Unzipped(raw), max_unpacked(file_size), kinds)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})")
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path}: broken gzip data ({error}); fetch the file again")


def max_unpacked(file_size: int) -> int:
    """The most bytes that are unpacked from a compressed file of this size."""
    return min(max(file_size * MAX_GZIP_RATIO, ALWAYS_READ), MAX_BYTES)


class _Unzipped:
    """A gzip file's contents. What follows them in the file is not read.

    `gzip.GzipFile` would read on, and zeros byte by byte.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._ahead = b""  # bytes of the file that are not decompressed yet
        self._stream = zlib.decompressobj(wbits=31)  # of gzip, with its checksum

    def read(self, size: int) -> bytes:
        """The next bytes: `size` of them, or fewer at the end."""
        found = b""
        while len(found) < size:
            if self._stream.eof:  # perhaps another stream, as bgzip writes
                self._ahead = self._stream.unused_data or self._raw.read(CHUNK_SIZE)
                if not self._ahead.startswith(GZIP_MAGIC[:1]):
                    break
                self._stream = zlib.decompressobj(wbits=31)
            compressed = self._ahead or self._raw.read(CHUNK_SIZE)
            data = self._stream.decompress(compressed, size - len(found))
            self._ahead = self._stream.unconsumed_tail
            if not (compressed or data or self._stream.eof):
                raise EOFError("the file ends within it")
            found += data
        return found


def _parse_idx(
    path: Path, stream: IO[bytes] | _Unzipped, max_size: int, kinds: dict[int, str]
) -> tuple[np.ndarray, str]:
    """Parses an open IDX file; reads at most `max_size` bytes of values."""
    header, shape, dtype, name = _read_header(path, stream, kinds)
    num_bytes = functools.reduce(operator.mul, shape, dtype.itemsize)
    announced = f"{num_bytes} bytes for {' x '.join(map(str, shape))} {name}"
    if num_bytes > max_size:
        raise UserError(
            f"{path}: truncated, or a bomb: the header announces {announced}; at most "
            f"{max_size} bytes are read from a file of this size"
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
            f"{path}: trailing bytes after the {announced} that the header announces"
        )
    return np.frombuffer(b"".join(chunks), dtype).reshape(shape), digest.hexdigest()


def _describe(start: bytes) -> str:
    """What a file is that begins with these bytes."""
    for pattern, name in FOREIGN.items():
        if re.match(pattern, start):
            return name
    if start.startswith(bytes(2)) and len(start) > 3 and start[2] in TYPES:
        return f"an IDX file of {form(*start[2:4])}"
    return f"a file that begins with {start[:12]!r}" if start else "an empty file"


def form(code: int, num_axes: int) -> str:
    """The type and the number of axes in a magic number, in words."""
    return f"{TYPES[code]} with {num_axes} {'axis' if num_axes == 1 else 'axes'}"


def _read_header(
    path: Path, stream: IO[bytes] | _Unzipped, kinds: dict[int, str]
) -> tuple[bytes, tuple[int, ...], np.dtype, str]:
    """Reads the header; returns its bytes, and shape, dtype and kind of the values."""
    start = stream.read(4)
    magic = int.from_bytes(start, "big")
    if len(start) < 4 or magic not in kinds:
        expected = " or ".join(
            f"{form(magic >> 8, magic & 0xFF)} ({kinds[magic]})" for magic in kinds
        )
        found = _describe(start + stream.read(60))
        raise UserError(
            f"{path}: {found}, not the IDX file that its name says; expected {expected}"
        )
    code, num_dimensions = magic >> 8, magic & 0xFF
    dimensions = stream.read(4 * num_dimensions)
    if len(dimensions) < 4 * num_dimensions:
        raise UserError(
            f"{path}: truncated within the header; "
            f"expected a header of {4 + 4 * num_dimensions} bytes"
        )
    shape = tuple(int(n) for n in np.frombuffer(dimensions, ">u4"))
    if shape[0] == 0:
        raise UserError(f"{path}: the header announces 0 {kinds[magic]}; expected some")
    return start + dimensions, shape, DTYPES[code], kinds[magic]
