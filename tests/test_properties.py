"""Whatever a user gives, data file or command line: a value, or one line that says no.

Thousands of generated cases each (hypothesis); derandomized, so that two runs try the
same ones.
"""

import argparse
import contextlib
import gzip
import io
import tracemalloc

import numpy as np
import pytest
from conftest import write_idx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripts import slow_after

import train_gru_pixel
import train_lstm
import train_rnn
from seqmnist.cli import options, parser
from seqmnist.data import mnist
from seqmnist.errors import UserError

# Generated inputs: these are the same ones in each run of the tests.
FEW_OR_MANY = pytest.mark.parametrize(
    "count", slow_after(0, [1_000, 10_000], variant_after=1)
)


def holds(check, count, **strategies):
    """Calls `check` with `count` generated inputs, whose kinds have its names."""
    many = settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    many(given(**strategies)(check))()


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


IMAGES = idx_bytes(np.arange(3 * 28 * 28).reshape(3, 28, 28).astype(np.uint8))
LABELS = idx_bytes(np.arange(10, dtype=np.uint8))
QMNIST = b"\0\0\x0c\x02" + np.array([4, 8] + [7] * 32, ">i4").tobytes()
FILES = [IMAGES, LABELS, QMNIST, gzip.compress(IMAGES), gzip.compress(LABELS)]


@st.composite
def mutated_files(draw):
    """One of the files, with up to four changes that prefer its header."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(0, 4))):
        position = draw(st.integers(0, 24) | st.integers(0, len(data)))
        kind = draw(st.sampled_from(["set", "insert", "delete", "cut", "zip"]))
        some = draw(st.binary(min_size=1, max_size=8))
        if kind == "set":
            data[position : position + len(some)] = some
        elif kind == "insert":
            data[position:position] = some
        elif kind == "delete":
            del data[position : position + len(some)]
        elif kind == "cut":
            del data[position:]
        else:
            data = bytearray(gzip.compress(bytes(data)))
    return bytes(data)


@FEW_OR_MANY
def test_a_mutated_file_reads_whole_or_gives_the_documented_error(count, tmp_path):
    def check(data, name):
        path = tmp_path / name
        path.write_bytes(data)
        for read in (mnist.read_images, mnist.read_labels):
            try:
                array, digest = read(path)
            except UserError as error:
                assert str(error).startswith(f"{path}: ")
                assert str(error).isprintable()
            else:
                assert array.dtype == np.uint8 and len(array) and len(digest) == 64
                if read is mnist.read_images:
                    assert array.shape[1:] == (28, 28)
                else:
                    assert array.ndim == 1 and array.max() <= 255

    names = st.sampled_from(["file", "file.gz"])
    holds(check, count, data=mutated_files(), name=names)


def test_the_reader_does_accept_what_was_not_mutated(tmp_path):
    """Without which the property above could hold for a reader that refuses all."""
    for number, data in enumerate(FILES):
        (tmp_path / str(number)).write_bytes(data)
    assert mnist.read_images(tmp_path / "0")[0].shape == (3, 28, 28)
    assert mnist.read_labels(tmp_path / "1")[0].tolist() == list(range(10))
    assert mnist.read_labels(tmp_path / "2")[0].tolist() == [7] * 4
    assert mnist.read_images(tmp_path / "3")[0].shape == (3, 28, 28)
    assert mnist.read_labels(tmp_path / "4")[0].tolist() == list(range(10))


def bomb(num_images):
    """A small file of very many empty images, its header honest."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb") as file:
        file.write(b"\0\0\x08\x03" + np.array([num_images, 28, 28], ">u4").tobytes())
        for _ in range(num_images // 1000):
            file.write(bytes(1000 * 28 * 28))
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        IMAGES[:4] + b"\xff" * 12 + IMAGES[16:],
        IMAGES[:4] + b"\0\x01\0\0" + IMAGES[8:],
        gzip.compress(IMAGES[:4] + b"\xff" * 12 + IMAGES[16:]),
        gzip.compress(IMAGES[:4] + b"\0\x01\0\0" + IMAGES[8:]),
        bomb(200_000),
        gzip.compress(IMAGES + bytes(100_000_000)),
    ],
    ids=["lie", "smaller lie", "zipped lie", "smaller zipped lie", "bomb", "trailing"],
)
def test_neither_a_lying_header_nor_a_bomb_takes_memory(data, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="truncated|bomb|trailing"):
            mnist.read_images(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


def test_empty_images_are_no_bomb(tmp_path):
    path = tmp_path / "file.gz"
    write_idx(path, np.zeros([60_000, 28, 28], np.uint8))
    assert mnist.read_images(path)[0].shape == (60_000, 28, 28)


SCRIPTS = [train_rnn, train_lstm, train_gru_pixel]
NAMES = sorted(options.BY_NAME)
FLAGS = ["--" + name.replace("_", "-") for name in [*NAMES, "preset"]]
WORDS = [
    *("rows", "pixels", "0", "1", "7", "-1", "0.5", "1e3", "1e999", "nan", "never"),
    *(
        "2epochs",
        "30s",
        "none",
        "uniform",
        "exponential",
        "cosine",
        "all",
        "chrono",
        "orthogonal",
        "standard",
        "best",
        "quick",
        "test",
        "validation",
    ),
    *("", "-", "--", "=", "a\nb", "\udcff", "٣", "１", "9" * 40, "auto", "plain"),
]


@st.composite
def command_lines(draw):
    """Up to six words: options, misspelt ones too, and values that may not fit."""
    argv = []
    for _ in range(draw(st.integers(0, 6))):
        flag = draw(st.sampled_from(FLAGS))
        if draw(st.integers(0, 4)) == 0:
            cut = draw(st.integers(0, len(flag)))
            flag = flag[:cut] + draw(st.text(max_size=2)) + flag[cut + 1 :]
        value = draw(st.sampled_from(WORDS) | st.text(max_size=6))
        form = draw(st.sampled_from(["two", "one", "flag", "value"]))
        argv += {
            "two": [flag, value],
            "one": [f"{flag}={value}"],
            "flag": [flag],
            "value": [value],
        }[form]
    # What --resume reads is a matter of files, and tested in test_resume.py.
    return [word for word in argv if not word.startswith("--resume")]


@pytest.fixture(scope="module")
def one_parser_per_script():
    """To make one takes longer than to use it."""
    parsers, make_parser = {}, parser.make_parser

    def make(script, *args):
        if script not in parsers:
            parsers[script] = make_parser(script, *args)
        return parsers[script]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parser, "make_parser", make)
        yield


@FEW_OR_MANY
@pytest.mark.usefixtures("one_parser_per_script")
def test_a_command_line_is_understood_or_refused_in_one_line(count):
    def check(argv, script):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                config = parser.parse(
                    argv,
                    script.__name__,
                    script.__doc__,
                    script.DEFAULTS,
                    script.PRESETS,
                )
            except SystemExit as end:
                if end.code == 0:
                    assert {"-h", "--help"} & set(argv)
                    return
                assert end.code == 2 and not out.getvalue()
                assert err.getvalue().startswith("error: ")
                line = err.getvalue()
                assert line[-1] == "\n" and line[:-1].isprintable()
                return
        assert isinstance(config, argparse.Namespace)
        assert not out.getvalue() and not err.getvalue()
        assert 1 <= config.units <= 4096 and 0 <= config.seed <= options.MAX_SEED
        assert (config.epochs is None) != (config.steps is None)
        assert config.view in ("rows", "pixels")

    holds(check, count, argv=command_lines(), script=st.sampled_from(SCRIPTS))
