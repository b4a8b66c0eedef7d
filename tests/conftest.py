"""Fixtures: the shipped MNIST, a small copy of it, and parsed configurations."""

import gzip
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

PROJECT_DIR = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT_DIR))

# Tests compile the same small networks again and again. Not in the user's cache.
os.environ["SEQMNIST_CACHE"] = str(PROJECT_DIR / ".pytest_cache" / "compiled")

from seqmnist import tf1 as tf  # noqa: E402
from seqmnist.cli import parser  # noqa: E402
from seqmnist.data import mnist  # noqa: E402

with warnings.catch_warnings():
    # TensorFlow 1.15.5 warns of much while it is imported, which is not ours to mend.
    warnings.simplefilter("ignore")
    TENSORFLOW_VERSION = tf.VERSION


def pytest_report_header():
    """Says which TensorFlow the tests run on."""
    return f"TensorFlow {TENSORFLOW_VERSION}"


NUM_SMALL_TRAIN = 620  # 600 behind a validation split of 20
NUM_SMALL_TEST = 130


@pytest.fixture(scope="session")
def splits():
    """The MNIST that ships in data/."""
    return mnist.load_splits()


def write_idx(path, array):
    """Writes a uint8 array as an IDX file, gzipped if the name says so."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    data = header + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory, splits):
    """A folder with the first few of MNIST's images, for runs of seconds."""
    folder = tmp_path_factory.mktemp("small")
    write_small_data(folder, splits)
    return folder


def write_small_data(folder, splits, suffix=".gz"):
    """Writes the four files of the small data set into a folder."""
    train, test = splits.train, splits.test
    arrays = {
        "train-images-idx3-ubyte": train.images[:NUM_SMALL_TRAIN],
        "train-labels-idx1-ubyte": train.labels[:NUM_SMALL_TRAIN],
        "t10k-images-idx3-ubyte": test.images[:NUM_SMALL_TEST],
        "t10k-labels-idx1-ubyte": test.labels[:NUM_SMALL_TEST],
    }
    for name, array in arrays.items():
        write_idx(folder / (name + suffix), array)


@pytest.fixture
def small(small_data, tmp_path):
    """Arguments for a run of a second or two on little data, without compiling."""
    return small_arguments(small_data, tmp_path)


def small_arguments(small_data, tmp_path):
    """The arguments of `small`, for fixtures that several tests share."""
    return [
        *("--data-dir", str(small_data), "--validation-size", "20"),
        *("--log-dir", str(tmp_path / "logs")),
        *("--units", "5", "--batch-size", "50", "--view", "rows"),
        *("--steps", "12", "--report-every", "6", "--evaluate-every", "12"),
        *("--summaries", "scalars", "--recurrence", "plain"),
    ]


@pytest.fixture
def parse():
    """Parses a script's command line, given as (module, arguments)."""

    def parse_for(script, argv):
        return parser.parse(
            argv, script.__name__, script.__doc__, script.DEFAULTS, script.PRESETS
        )

    return parse_for
