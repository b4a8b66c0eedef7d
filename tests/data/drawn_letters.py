"""Sets like EMNIST's letters and balanced split, drawn in the fonts of matplotlib.

    PYTHONPATH=tests python tests/data/drawn_letters.py FOLDER

writes both to a folder, from which `--emnist-split` chooses one.
"""

import glob
import os
import string
import sys
from pathlib import Path

import matplotlib
import numpy as np
from conftest import write_idx
from PIL import Image, ImageDraw, ImageFont

# The characters of each class; labels of EMNIST's letters begin at 1.
LETTERS = [upper + upper.lower() for upper in string.ascii_uppercase]
BALANCED = [*string.digits, *string.ascii_uppercase, *"abdefghnqrt"]

FONTS = "DejaVuS*[!y].ttf"  # sans, mono and serif; "Display" has no letters
SIDE = 28


def draw(characters, count, seed):
    """Draws characters, turned, slanted and moved a little, in random fonts.

    Args:
        characters: the characters of each class.
        count: the number of images.
        seed: of fonts, characters and distortions.

    Returns:
        uint8 `[count, 28, 28]`, ink bright, and the classes, int64 `[count]`.
    """
    random = np.random.RandomState(seed)
    folder = os.path.join(matplotlib.get_data_path(), "fonts", "ttf")
    paths = sorted(glob.glob(os.path.join(folder, FONTS)))
    fonts = [ImageFont.truetype(path, 2 * SIDE) for path in paths]
    classes = random.randint(0, len(characters), count)
    images = np.zeros([count, SIDE, SIDE], np.uint8)
    for image, number in zip(images, classes):
        sheet = Image.new("L", (4 * SIDE, 4 * SIDE))
        middle = (2 * SIDE, 2 * SIDE)
        character = random.choice(list(characters[number]))
        font = fonts[random.randint(len(fonts))]
        ImageDraw.Draw(sheet).text(middle, character, 255, font, anchor="mm")
        turn, slant = random.uniform(-0.2, 0.2, 2)
        x, y = random.uniform(-4, 4, 2)
        scale = 2 * random.uniform(1.2, 1.6)
        matrix = scale * np.array(
            [[np.cos(turn), slant - np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        )
        start = 2 * SIDE - matrix @ [SIDE / 2, SIDE / 2] + [x, y]
        rows = np.c_[matrix, start].ravel()
        image[:] = sheet.transform((SIDE, SIDE), Image.AFFINE, rows, Image.BILINEAR)
    return images, classes


def write(folder, num_train=6000, num_test=1000):
    """Writes both sets in EMNIST's form: images that lie, letters' labels from 1."""
    for split, characters, first in (
        ("letters", LETTERS, 1),
        ("balanced", BALANCED, 0),
    ):
        for seed, (part, count) in enumerate(
            [("train", num_train), ("test", num_test)]
        ):
            images, classes = draw(characters, count, seed)
            lying = images.swapaxes(1, 2).copy()
            labels = (classes + first).astype(np.uint8)
            for what, array in (("images", lying), ("labels", labels)):
                name = f"emnist-{split}-{part}-{what}-idx{array.ndim}-ubyte.gz"
                write_idx(Path(folder) / name, array)


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    write(sys.argv[1])
