"""Data sets that are not MNIST: other classes, other images, classes with names."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import write_idx
from drawn_letters import write as write_letters
from pages import DOCS_DIR, named_blocks
from PIL import Image
from scripts import VARIANT, exported_probabilities, main, run_folders

import predict
import train_lstm
from seqmnist.data import mnist
from seqmnist.data.class_names import read_class_names
from seqmnist.errors import UserError
from seqmnist.record.log import Result, read_metrics

NUM_TRAIN, NUM_TEST = 300, 90


def write_set(folder, images, labels, prefix=""):
    """Writes a data set, the first `NUM_TRAIN` images for training."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, chosen in (
        ("train", slice(NUM_TRAIN)),
        ("test", slice(NUM_TRAIN, NUM_TRAIN + NUM_TEST)),
    ):
        for what, array in (("images", images), ("labels", labels)):
            name = f"{prefix}{part}-{what}-idx{array.ndim}-ubyte.gz"
            write_idx(folder / name, array[chosen])


@pytest.fixture
def letters(splits, tmp_path):
    """A set as EMNIST's letters: 26 classes from 1, images that lie, a mapping."""
    count = NUM_TRAIN + NUM_TEST
    labels = (np.arange(count) % 26 + 1).astype(np.uint8)
    lying = splits.train.images[:count].swapaxes(1, 2).copy()
    folder = tmp_path / "emnist"
    write_set(folder, lying, labels, "emnist-letters-")
    lines = [f"{number} {number + 64} {number + 96}\n" for number in range(1, 27)]
    (folder / "emnist-letters-mapping.txt").write_text("".join(lines))
    return folder


@pytest.fixture
def small_images(tmp_path):
    """Images of 12 x 20 pixels with a bar in one of three places; named classes."""
    random = np.random.RandomState(0)
    count = NUM_TRAIN + NUM_TEST
    labels = random.randint(0, 3, count).astype(np.uint8)
    images = random.randint(0, 60, [count, 12, 20]).astype(np.uint8)
    for image, label in zip(images, labels):
        image[4 * label : 4 * label + 2, 3:17] = 255
    folder = tmp_path / "bars"
    write_set(folder, images, labels)
    (folder / "classes.txt").write_text("top\nthe middle, $x$\nbottom\n")
    return folder


def test_emnists_letters_are_classes_from_zero_with_their_names(letters, splits):
    found = mnist.load_splits(letters, 40)
    assert found.train.labels[:3].tolist() == [14, 15, 16]
    assert found.class_names[0] == "A/a" and found.class_names[25] == "Z/z"
    np.testing.assert_array_equal(found.validation.images, splits.train.images[:40])
    assert found.remark == (
        "the labels 1 to 26 are the classes 0 to 25; EMNIST's images lie transposed "
        "and are turned upright"
    )
    (letters / "emnist-letters-mapping.txt").unlink()
    assert mnist.load_splits(letters, 40).class_names[25] == "26"


@VARIANT
def test_drawn_letters_are_learnt(tmp_path):
    write_letters(tmp_path, 1500, 300)
    argv = [
        "--data-dir",
        tmp_path,
        "--emnist-split",
        "letters",
        "--validation-size",
        100,
    ]
    argv += ["--preset", "quick", "--steps", 200, "--units", 64]
    argv += ["--log-dir", tmp_path / "logs"]
    argv += ["--evaluate-every", "never", "--summaries", "scalars"]
    result = train_lstm.train(argv)
    config = json.loads((Path(result.folder) / "config.json").read_text())
    assert config["num_classes"] == 26
    assert result.test_accuracy > 0.3  # a guess is right at 0.04


def test_one_of_emnists_splits_is_chosen(letters, splits):
    labels = (np.arange(NUM_TRAIN + NUM_TEST) % 47).astype(np.uint8)
    write_set(letters, splits.test.images, labels, "emnist-balanced-")
    with pytest.raises(UserError, match="2 data sets .* one with --emnist-split"):
        mnist.load_splits(letters, 40)
    assert len(mnist.load_splits(letters, 40, "balanced").class_names) == 47
    assert len(mnist.load_splits(letters, 40, "letters").class_names) == 26
    with pytest.raises(
        UserError, match="EMNIST split digits .--emnist-split.: it has emn"
    ):
        mnist.load_splits(letters, 40, "digits")


def test_what_is_odd_in_the_labels_is_said(splits, tmp_path):
    images = splits.train.images
    labels = np.full(NUM_TRAIN + NUM_TEST, 3, np.uint8)
    write_set(tmp_path / "one", images, np.zeros_like(labels))
    with pytest.raises(UserError, match="all labels are 0; expected two classes"):
        mnist.load_splits(tmp_path / "one", 40)
    labels[::2] = 7
    labels[-1] = 11
    write_set(tmp_path / "few", images, labels)
    found = mnist.load_splits(tmp_path / "few", 40)
    assert len(found.class_names) == 12
    assert found.remark == "no training image is of class 0, 1, 2, 4, 5 and 5 more"


def test_a_file_that_is_sorted_by_class_is_said(splits, tmp_path):
    images = splits.train.images
    labels = np.repeat(np.arange(3), [100, 100, 190]).astype(np.uint8)
    write_set(tmp_path, images, labels)
    shuffle = (
        "; validation is the first --validation-size training images: shuffle a file "
        "that is sorted by class; all test labels are 2"
    )
    for size, classes in (
        (40, ""),  # too few for each class to be among them
        (90, "no validation image is of class 1, 2"),
        (150, "no training image is of class 0; no validation image is of class 2"),
    ):
        found = mnist.load_splits(tmp_path, size).remark
        assert found == (classes + shuffle if classes else "all test labels are 2")
    order = np.random.RandomState(0).permutation(len(labels))
    write_set(tmp_path, images, labels[order])
    assert mnist.load_splits(tmp_path, 100).remark == ""


def test_pixels_of_another_range_are_said(splits, tmp_path):
    for brightest, remark in (
        (64, ""),
        (16, "the brightest training pixel is 16; expected up to 255: multiply them"),
    ):
        labels = np.arange(NUM_TRAIN + NUM_TEST) % 3
        images = np.minimum(splits.train.images, brightest).astype(np.uint8)
        write_set(tmp_path, images, labels.astype(np.uint8))
        found = mnist.load_splits(tmp_path, 40).remark
        assert found.startswith(remark) and bool(found) == bool(remark)


def test_csv_files_become_a_set_by_the_documented_lines(splits, tmp_path, monkeypatch):
    for part, (images, labels) in (("train", splits.train), ("test", splits.test)):
        rows = np.hstack([labels[:30, None], images[:30].reshape(30, -1)])
        header = ",".join(["label", *(f"pixel{i}" for i in range(784))])
        path = str(tmp_path / f"mnist_{part}.csv")
        np.savetxt(path, rows, "%d", delimiter=",", header=header, comments="")
    (tmp_path / "my_data").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="mnist_test.csv, .* docs/options.md con"):
        mnist.load_splits(tmp_path, 10)
    exec(named_blocks(DOCS_DIR / "options.md")["convert"], {})
    found = mnist.load_splits("my_data", 10)
    np.testing.assert_array_equal(found.train.images, splits.train.images[10:30])
    np.testing.assert_array_equal(found.test.labels, splits.test.labels[:30])


@pytest.mark.parametrize(
    "content, finding",
    [
        (b"a\nb\n", "found 2 names; expected a line for each of the labels 0 to 2"),
        (b"a\nb\na\n", "name 'a'; expected different names"),
        (b"a\nb\n" + b"c" * 41, "at most 40 printable"),
        (b"a\nb\nc\x1b[2J\n", r"c\\x1b"),
        (b"\xff\xfe\n", "cannot be read (it is no text)"),
        (b"a\nb\n" + b"c" * 10**5, "cannot be read (names.txt has more than 100000"),
        (b"0 65\n2 66\n1 67\n", "a mapping of the labels 0, 2, 1; expected 0 to 2"),
    ],
)
def test_a_file_that_does_not_name_the_classes_gets_one_line(
    content, finding, tmp_path
):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_class_names(str(path), ("0", "1", "2"))
    assert str(error.value).startswith(f"{path}: ")
    assert finding.replace("\\\\", "\\") in str(error.value)
    path.write_text("\ufeffone\r\n\r\n two \r\nthree", "utf-8")
    assert read_class_names(str(path), ("0", "1", "2")) == ("one", "two", "three")
    path.unlink()
    os.mkfifo(str(path))
    with pytest.raises(UserError, match=r"cannot be read \(names.txt is no file\)"):
        read_class_names(str(path), ("0", "1", "2"))


def test_the_class_map_of_kmnist_names_its_characters(tmp_path):
    path = tmp_path / "kmnist_classmap.csv"
    path.write_text("index,codepoint,char\n0,U+304A,お\n1,U+304D,き\n", "utf-8")
    assert read_class_names(str(path), ("0", "1")) == ("お", "き")
    with pytest.raises(UserError, match="a mapping of the labels 0, 1; expected 1 to"):
        read_class_names(str(path), ("1", "2"))


@pytest.mark.parametrize(
    "name, options",
    [
        ("train_rnn", ["--view", "rows", "--max-shift", "2", "--max-bend", "1"]),
        pytest.param(
            "train_gru_pixel", ["--bias-init", "chrono", "--permute"], marks=VARIANT
        ),
        pytest.param("train_lstm", ["--view", "rows"], marks=VARIANT),
    ],
)
def test_classes_and_size_of_the_data_go_all_the_way(
    name, options, small_images, tmp_path, capsys
):
    """Training, figures, prediction of test images and of a picture, export."""
    argv = ["--data-dir", str(small_images), "--validation-size", "40", *options]
    argv += ["--units", "16", "--batch-size", "20", "--epochs", "8"]
    argv += ["--learning-rate", "0.02", "--evaluate-every", "3epochs"]
    argv += ["--log-dir", str(tmp_path / "logs"), "--predict", "0"]
    assert main(name, argv) == 0
    out = capsys.readouterr().out
    (folder,) = run_folders(tmp_path / "logs", name)
    view = "12 time steps of 20 pixels" if name != "train_gru_pixel" else "240 time"
    assert f": {view}" in out and "actual label " in out
    result = Result.parse((folder / "result.txt").read_text())
    assert result.test_correct.endswith("/90")
    if "rows" in options:
        assert result.test_accuracy > 0.9
    assert {row["count"] for row in read_metrics(folder)} >= {40, 90}
    record = json.loads((folder / "config.json").read_text())
    names = ["top", "the middle, $x$", "bottom"]
    assert (record["image_shape"], record["classes"]) == ([12, 20], names)
    header, first, *_ = (folder / "predictions.csv").read_text().splitlines()
    assert header.endswith("probability,label_name,prediction_name")
    label = mnist.load_splits(small_images, 40).test.labels[0]
    written = ["top", '"the middle, $x$"', "bottom"][label]
    assert f",{written}," in first
    for figure in ("confusion", "mistakes", "reading", "curves"):
        with Image.open(folder / f"{figure}.png") as image:
            assert image.size[0] > 300

    picture = np.full([200, 100], 250, np.uint8)
    picture[90:110, 20:80] = 10
    Image.fromarray(picture).save(str(tmp_path / "bar.png"))
    words = [str(folder), str(tmp_path / "bar.png"), "--test-index", "0"]
    words += ["--export", str(tmp_path / "model")]
    words += ["--figure", str(tmp_path / "reading.png")]
    assert predict.main(words) == 0
    out = capsys.readouterr().out
    assert f"actual label {names[label]}  predicted label " in out
    assert "digit scaled to 14 x 5 and centred" in out
    images = np.zeros([4, 12, 20], np.uint8)
    assert exported_probabilities(tmp_path / "model", images).shape == (4, 3)


def test_a_set_of_many_classes_trains_resumes_and_is_drawn(letters, tmp_path, capsys):
    argv = ["--data-dir", str(letters), "--validation-size", "40", "--steps", "6"]
    argv += ["--units", "8", "--batch-size", "20", "--recurrence", "plain"]
    argv += ["--log-dir", str(tmp_path / "logs")]
    assert main("train_lstm", argv) == 0
    assert "data: the labels 1 to 26 are the classes 0" in capsys.readouterr().out
    (folder,) = run_folders(tmp_path / "logs", "train_lstm")
    assert predict.main([str(folder), "--test-index", "3"]) == 0
    (table,) = [
        line for line in capsys.readouterr().out.splitlines() if "  class " in line
    ]
    assert len(table.split()) == 11 and "/" in table
    (folder / "result.txt").unlink()
    assert main("train_lstm", ["--resume", str(folder)]) == 0
    names = tmp_path / "names.txt"
    names.write_text("".join(f"letter {number}\n" for number in range(26)))
    (folder / "result.txt").unlink()
    words = ["--resume", str(folder), "--class-names", str(names)]
    assert main("train_lstm", words) == 0
    assert ",letter " in (folder / "predictions.csv").read_text()
    # The run knows the names, also when the file has gone.
    names.unlink()
    capsys.readouterr()
    assert predict.main([str(folder), "--test-index", "3"]) == 0
    assert "actual label letter " in capsys.readouterr().out


def test_a_shift_out_of_sight_is_refused(small_images, tmp_path, capsys):
    argv = ["--data-dir", str(small_images), "--validation-size", "40"]
    argv += ["--log-dir", str(tmp_path / "logs"), "--max-shift", "13"]
    assert main("train_rnn", argv) == 2
    assert "expected 0 to 12, as the images have 12 x 20" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changed",
    [
        {"image_shape": [28]},
        {"image_shape": [28, 10**9]},
        {"image_shape": "28 x 28"},
        {"num_classes": -1},
        {"num_classes": 10**9},
        {"num_classes": True},
        {"classes": ["a"] * 9},
        {"classes": 7},
        {"classes": {str(number): 1 for number in range(10)}},
        {"classes": "abcdefghij"},
        {"classes": ["a\n"] * 10},
    ],
)
def test_a_run_with_a_form_that_no_data_has_is_refused(changed, tmp_path, capsys):
    record = json.loads(
        (Path(__file__).parents[2] / "results/rnn-best/seed0/config.json").read_text()
    )
    record.pop("script_sha256", None)  # whatever the script was when it ran
    (tmp_path / "config.json").write_text(json.dumps({**record, **changed}))
    assert predict.main([str(tmp_path), "--test-index", "0"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{tmp_path}: config.json: found image_shape " in err
