"""Reads the grey levels of a picture file with Pillow."""

from __future__ import annotations

import os
import re
import warnings
from typing import TYPE_CHECKING

import numpy as np

from seqmnist.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

# Pillow's decoders for pictures that people draw, scan and photograph. Another decoder
# passes the file to a program, Ghostscript.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA")

MAX_BYTES = 100_000_000  # some decoders read a whole file before they check it
MAX_PIXELS = 52_000_000  # phones have 50 million; more would use gigabytes of memory

# Bytes 4 to 11 of pictures in the format of phones, which Pillow cannot read.
HEIC = re.compile(rb"ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)")


def read_grey(path: str) -> np.ndarray:
    """Reads a picture's grey levels, upright; of a file with several, the first.

    A transparent picture is laid on white, or on black if the drawing is light.

    Args:
        path: the file, in one of `FORMATS`.

    Returns:
        uint8 or float32 `[height, width]`, 0 (black) to 255 (white).

    Raises:
        UserError: the file cannot be read, or is too large; the message does not name
            the file.
    """
    from PIL import Image, ImageOps

    if os.path.isdir(path):
        raise UserError("is a folder; expected files of pictures, such as FOLDER/*.png")
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError("is no file; expected a picture")
    if os.path.isfile(path) and os.path.getsize(path) > MAX_BYTES:
        raise UserError(f"has more than {MAX_BYTES:,} bytes; scale the picture down")
    with warnings.catch_warnings():
        # Pillow warns about odd files, but reads them.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with open(path, "rb") as file:
                if HEIC.match(file.read(12)[4:]):
                    raise UserError(
                        "is a HEIC picture, which cannot be read; export it as JPEG or "
                        "PNG"
                    )
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                return _as_grey(ImageOps.exif_transpose(image))
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise UserError(
                f"has more than {MAX_PIXELS:,} pixels; scale it down, a few hundred "
                "pixels in height and width are plenty"
            )
        except Image.UnidentifiedImageError:
            raise UserError(
                f"is no picture that can be read; expected {', '.join(FORMATS[:-1])} "
                f"or {FORMATS[-1]}"
            )
        except UserError:
            raise
        except Exception as error:  # decoders raise errors of any kind
            reason = getattr(error, "strerror", None) or str(error) or repr(error)
            raise UserError(f"cannot be read ({reason}); expected a picture, all of it")


def _as_grey(image: Image.Image) -> np.ndarray:
    """Grey levels of a Pillow image of any mode."""
    if image.mode.startswith(("I", "F")):  # 16 bits, in one of several modes
        return _high_depth(image)
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        return _composited(image.convert("RGBA"))
    if image.mode not in ("1", "L", "P", "RGB", "CMYK", "YCbCr"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))  # luminance, by ITU-R 601-2


def _high_depth(image: Image.Image) -> np.ndarray:
    """Grey levels of an image of more than 8 bits per pixel."""
    values = np.asarray(image).astype(np.float32)
    if image.mode.startswith("F") or values.min() < 0 or values.max() > 65535:
        raise UserError(
            f"has grey levels from {values.min():g} to {values.max():g}; expected 8 "
            "or 16 bits per pixel: save it as a PNG of grey levels"
        )
    # Cameras and scanners save 10 or 12 bits in files of 16.
    bits = next(bits for bits in (8, 10, 12, 16) if values.max() < 2**bits)
    return values * np.float32(255 / (2**bits - 1))


def _composited(image: Image.Image) -> np.ndarray:
    """Grey levels of an RGBA image, laid on white; on black if the drawing is light."""
    from PIL import Image

    drawn, alpha = image.convert("RGB").convert("L"), image.getchannel("A")
    every = max(1, max(image.size) // 1000)  # samples a large image
    levels = np.asarray(drawn)[::every, ::every]
    weights = np.asarray(alpha)[::every, ::every].astype(float)
    is_light = (levels * weights).sum() > 127.5 * weights.sum()
    paper = Image.new("L", image.size, 0 if is_light else 255)
    paper.paste(drawn, mask=alpha)
    return np.asarray(paper)
