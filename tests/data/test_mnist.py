"""The IDX reader: what it returns, and one clear line for everything else."""

import gzip
import hashlib
import shutil
import zipfile

import numpy as np
import pytest
from conftest import write_idx, write_small_data

from seqmnist.data import mnist
from seqmnist.data.files import find_sources
from seqmnist.errors import UserError


def test_shipped_data_splits_as_the_tutorials_reader_did(splits):
    assert splits.train.images.shape == (55000, 28, 28)
    assert splits.validation.images.shape == (5000, 28, 28)
    assert splits.test.images.shape == (10000, 28, 28)
    for split in splits[:3]:
        assert split.images.dtype == split.labels.dtype == np.uint8
        assert len(split.labels) == len(split.images)
    assert splits.validation.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits.train.labels[:5].tolist() == [7, 3, 4, 6, 1]
    assert splits.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_shipped_files_have_the_documented_digests():
    sources = find_sources(mnist.DATA_DIR)
    for kind, digest in mnist.SHIPPED_SHA256.items():
        with gzip.open(sources[kind].path) as file:
            assert hashlib.sha256(file.read()).hexdigest() == digest
        assert digest in (mnist.DATA_DIR / "README.md").read_text()


def test_validation_size_moves_the_border(splits):
    other = mnist.load_splits(validation_size=1)
    assert len(other.validation.labels) == 1
    assert other.train.labels[:4].tolist() == [0, 4, 1, 9]
    assert len(mnist.load_splits(validation_size=0).validation.labels) == 0
    assert other.digest == splits.digest


def test_raw_files_read_like_gzip_ones(tmp_path, small_data, splits):
    write_small_data(tmp_path, splits, suffix="")
    raw, zipped = mnist.load_splits(tmp_path, 20), mnist.load_splits(small_data, 20)
    assert raw.digest == zipped.digest
    np.testing.assert_array_equal(raw.train.images, zipped.train.images)
    np.testing.assert_array_equal(raw.test.labels, zipped.test.labels)


def test_qmnist_files_read_by_their_first_label_column(tmp_path, splits):
    extended = np.arange(8 * 30, dtype=">i4").reshape(30, 8)
    extended[:, 0] = splits.test.labels[:30]
    header = bytes.fromhex("00000c02") + np.array([30, 8], ">u4").tobytes()
    for name in ("train", "test"):
        images = tmp_path / f"qmnist-{name}-images-idx3-ubyte.gz"
        write_idx(images, splits.test.images[:30])
        labels = tmp_path / f"qmnist-{name}-labels-idx2-int"
        labels.write_bytes(header + extended.tobytes())
    found = mnist.load_splits(tmp_path, 10)
    assert found.test.labels.tolist() == splits.test.labels[:30].tolist()
    assert found.train.labels.dtype == np.uint8


def damaged(small_data, tmp_path, name, change):
    """A copy of the small data in which `change` was applied to one file's bytes."""
    folder = tmp_path / "damaged"
    shutil.copytree(str(small_data), str(folder))
    path = folder / name
    change(path)
    return folder


def rewrite(change):
    """Applies `change` to the decompressed bytes of a gzip file."""

    def apply(path):
        path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))

    return apply


IMAGES, LABELS = "train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


@pytest.mark.parametrize(
    "name, change, finding",
    [
        (IMAGES, lambda path: path.unlink(), "no file of the train images"),
        (IMAGES, lambda path: path.write_bytes(b""), "the file is empty"),
        (IMAGES, lambda path: path.write_bytes(b"Not Found\n"), "b'Not Found\\n', not"),
        (IMAGES, lambda path: path.write_bytes(b"\n<!DOCTYPE html>"), "HTML page"),
        (IMAGES, lambda path: path.write_bytes(b"version https://git-lfs.github"),
         "git lfs pull"),
        (IMAGES, rewrite(gzip.compress), "gzip within gzip"),
        (IMAGES, rewrite(lambda data: b""), "an empty file, not the IDX file"),
        (IMAGES, rewrite(lambda data: b"\0\0\x08\x01" + data[4:]),
         "IDX file of uint8 with 1 axis, not"),
        (IMAGES, rewrite(lambda data: b"\0\0\x0d\x04" + data[4:]),
         "float32 with 4 axes, not the IDX file that its name says; expected uint8"),
        (IMAGES, rewrite(lambda data: data[:9]), "truncated within the header"),
        (IMAGES, rewrite(lambda data: data[:-1]), "found 486079"),
        (IMAGES, rewrite(lambda data: data + b"x"), "trailing bytes"),
        (IMAGES, rewrite(lambda data: data[:4] + bytes(4) + data[8:]), "0 images"),
        (IMAGES, rewrite(lambda d: d[:4] + b"\xff" * 4 + d[8:]), "or a bomb: the"),
        (IMAGES, rewrite(lambda d: d[:11] + b"\x07" + d[12:15] + b"\x70" + d[16:]),
         "images of 7 x 112 pixels; expected 8 to 64"),
        (IMAGES, rewrite(lambda d: d[:11] + b"\x0e" + d[12:15] + b"\x38" + d[16:]),
         "images of 14 x 56 pixels and test images of 28 x 28"),
        (IMAGES, lambda p: p.write_bytes(p.read_bytes()[:5000]), "broken gzip data"),
        (IMAGES, lambda p: p.write_bytes(p.read_bytes()[:-8] + bytes(8)),
         "incorrect data check"),
        (LABELS, rewrite(lambda data: data[:8]), "truncated"),
        (LABELS, rewrite(lambda data: data[:7] + b"\x81" + data[8:-1]),
         "130 test images but 129 test labels"),
    ],
)  # fmt: skip
def test_bad_data_gets_one_line_that_names_it(
    small_data, tmp_path, name, change, finding
):
    folder = damaged(small_data, tmp_path, name, change)
    with pytest.raises(UserError) as error:
        mnist.load_splits(folder, 20)
    message = str(error.value)
    assert finding in message
    assert "\n" not in message
    assert str(folder) in message


def test_what_follows_gzip_data_is_not_read(small_data, tmp_path):
    def pad(path):
        data = gzip.decompress(path.read_bytes())
        halves = gzip.compress(data[:1000]) + gzip.compress(data[1000:])  # as of bgzip
        path.write_bytes(halves)
        with open(str(path), "r+b") as file:
            file.truncate(1 << 40)  # a hole, which takes no room on the disk

    folder = damaged(small_data, tmp_path, IMAGES, pad)
    assert (
        mnist.load_splits(folder, 20).digest == mnist.load_splits(small_data, 20).digest
    )


def test_a_file_of_holes_is_not_read(small_data, tmp_path):
    def hollow(path):
        count = 1 << 23
        header = bytes([0, 0, 8, 3]) + np.array([count, 28, 28], ">u4").tobytes()
        path.write_bytes(header)
        with open(str(path), "r+b") as file:
            file.truncate(len(header) + count * 784)

    folder = damaged(small_data, tmp_path, IMAGES, hollow)
    with pytest.raises(UserError, match="at most 4294967296 bytes are read"):
        mnist.load_splits(folder, 20)


def test_files_are_read_by_content_and_not_by_name(small_data, tmp_path):
    def unpack(path):
        path.write_bytes(gzip.decompress(path.read_bytes()))

    folder = damaged(small_data, tmp_path, IMAGES, unpack)
    assert (
        mnist.load_splits(folder, 20).digest == mnist.load_splits(small_data, 20).digest
    )


NAMES = [
    f"{part}-{what}" for part in ("train", "test") for what in ("images", "labels")
]


IDX_FILE = "{part}-{what}-idx{axes}-ubyte"


def write_set(folder, arrays, form=IDX_FILE, test="test"):
    """Writes the arrays, in the order of `NAMES`, under names of this form."""
    paths = []
    for name, array in zip(NAMES, arrays):
        part, what = name.replace("test", test).split("-")
        path = folder / form.format(part=part, what=what, axes=array.ndim)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_idx(path, array)
        paths.append(path)
    return paths


def arrays_of(splits):
    """The arrays of the small data set, in the order of `NAMES`."""
    train, test = splits.train, splits.test
    return [train.images[:40], train.labels[:40], test.images[:30], test.labels[:30]]


@pytest.mark.parametrize(
    "names",
    [
        # Beneath torchvision's root; of converters; of Kaggle, with a folder per file.
        "MNIST/raw/{part}-{what}-idx{axes}-ubyte",
        "{part}-{what}-idx{axes}-ubyte.gz",
        "{part}-{what}.idx{axes}-ubyte/{part}-{what}.idx{axes}-ubyte",
        "kmnist-{part}-{what}-idx{axes}-ubyte.gz",
        "MNIST_{part}_{what}.idx{axes}-ubyte",
        "{part}_{what}_IDX{axes}_UBYTE.GZ",
        "{part}/{part}-{what}-idx{axes}-ubyte",
        "{what}/{part}-{what}-idx{axes}-ubyte",
    ],
)
@pytest.mark.parametrize("test", ["test", "t10k"])
def test_folders_are_read_as_people_have_them(names, test, splits, tmp_path):
    for path in write_set(tmp_path, arrays_of(splits), names, test):
        (path.parent / f"._{path.name}").write_text("of macOS")
    check_small(mnist.load_splits(tmp_path, 10), splits)


def check_small(found, splits):
    expected = arrays_of(splits)
    np.testing.assert_array_equal(found.train.images, expected[0][10:])
    np.testing.assert_array_equal(found.validation.labels, expected[1][:10])
    np.testing.assert_array_equal(found.test.images, expected[2])
    np.testing.assert_array_equal(found.test.labels, expected[3])


def test_files_of_numpy_are_read_and_known_as_the_same_data(splits, tmp_path):
    arrays = arrays_of(splits)
    for name in ("keras", "kmnist"):
        (tmp_path / name).mkdir()
    np.savez_compressed(
        str(tmp_path / "keras" / "mnist.npz"), **dict(zip(KERAS, arrays))
    )
    for name, array in zip(NAMES, arrays):
        part, what = name.split("-")
        short = "imgs" if what == "images" else what
        np.savez(str(tmp_path / "kmnist" / f"kmnist-{part}-{short}.npz"), array)
    write_set(tmp_path / "idx", arrays)
    digests = set()
    for name in ("keras", "kmnist", "idx"):
        found = mnist.load_splits(tmp_path / name, 10)
        check_small(found, splits)
        digests.add(found.digest)
    assert len(digests) == 1


KERAS = ("x_train", "y_train", "x_test", "y_test")
MEDMNIST = ("train_images", "train_labels", "test_images", "test_labels")


def test_arrays_of_numpy_in_other_types_are_the_same_data(splits, tmp_path):
    images, labels, *test = arrays_of(splits)
    digests = set()
    for number, train in enumerate(
        [
            (images, labels),
            (images.astype(np.float32), labels.astype(np.int64)),
            (images[..., None], labels[:, None]),
            (np.asfortranarray(images), labels.astype(">i4")[:, None]),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, keys in (("a", KERAS), ("b", MEDMNIST)):
            path = folder / f"{name}.npz"
            np.savez(str(path), val_images=images, **dict(zip(keys, [*train, *test])))
            found = mnist.load_splits(folder, 10)
            path.unlink()
            check_small(found, splits)
            digests.add(found.digest)
    assert len(digests) == 1


def write_npz(path, members, **options):
    """Writes a .npz file of bytes by name."""
    with zipfile.ZipFile(str(path), "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def npy_header(shape, descr="|u1"):
    """The first bytes of a .npy file; the shape is a text."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "member, finding",
    [
        (b"no array", "magic string"),
        (npy_header("(12755102040, 28, 28)"), "announces more than there is"),
        (npy_header("(-1, 28, 28)"), "announces more than there is"),
        (npy_header("-" * 9000 + "1"), "broken .npz file ("),
        (npy_header("(" + "9" * 5000 + ",)"), "broken .npz file ("),
        (npy_header("(1, 28, 28)"), "announces more than there is"),
        (npy_header("(1, 8, 8)") + bytes(65), "cannot reshape"),
        (npy_header("(2,)", "|V1000000000"), "array x_train is |V1000000000; expected"),
        (npy_header("(2, 28, 28"), "broken .npz file ("),
    ],
)
def test_a_member_that_is_no_array_gets_one_short_line(member, finding, tmp_path):
    path = tmp_path / "mnist.npz"
    write_npz(path, {"x_train.npy": member})
    with pytest.raises(UserError) as error:
        mnist.read_images(path, "x_train")
    assert finding in str(error.value)
    assert len(str(error.value)) < 400 and "\n" not in str(error.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_what_numpy_writes_is_unpacked(method, tmp_path):
    path = tmp_path / "mnist.npz"
    write_npz(path, {"x_train.npy": npy_header("(1, 8, 8)") + bytes(64)})
    assert mnist.read_images(path, "x_train")[0].shape == (1, 8, 8)
    write_npz(path, {"x_train.npy": b"x"}, compression=method)
    with pytest.raises(UserError, match=f"compression method {int(method)}"):
        mnist.read_images(path, "x_train")


def test_a_second_member_of_the_name_is_not_read(splits, tmp_path):
    path = tmp_path / "mnist.npz"
    np.savez(str(path), **dict(zip(KERAS, arrays_of(splits))))
    with zipfile.ZipFile(str(path), "a") as archive:
        archive.writestr("x_train", b"no array")
    check_small(mnist.load_splits(tmp_path, 10), splits)


def test_a_damaged_directory_of_a_npz_file_is_no_data_set(splits, tmp_path):
    path = tmp_path / "mnist.npz"
    np.savez(str(path), **dict(zip(KERAS, arrays_of(splits))))
    good = path.read_bytes()
    at = good.index(b"PK\1\2")
    for offset, value in ((6, 200), (9, 8)):  # version 20.0; names in UTF-8
        bad = bytearray(good)
        bad[at + offset], bad[at + 46] = value, 0xFF
        path.write_bytes(bytes(bad))
        with pytest.raises(UserError, match="no data set: it has mnist.npz;"):
            mnist.load_splits(tmp_path, 10)


@pytest.mark.parametrize(
    "change, finding",
    [
        (
            lambda arrays: {"x_train": arrays["x_train"] / 255},
            "x_train is float64 of sh",
        ),
        (
            lambda arrays: {"y_test": arrays["y_test"].astype(int) + 256},
            "labels, uint8 with 1 axis or QMNIST labels, int32 with 2 axes, or whole",
        ),
        (
            lambda arrays: {"x_test": arrays["x_test"][:, 21:]},
            "images of 7 x 28 pixels",
        ),
        (lambda arrays: {"y_train": np.array([None] * 40)}, "y_train is object; exp"),
        (
            lambda arrays: {"x_train": np.zeros([99999, 28, 28], np.uint8)},
            "a bomb: array",
        ),
    ],
)
def test_bad_files_of_numpy_get_one_line(change, finding, splits, tmp_path):
    arrays = dict(zip(KERAS, arrays_of(splits)))
    path = tmp_path / "mnist.npz"
    np.savez_compressed(str(path), **{**arrays, **change(arrays)})
    with pytest.raises(UserError) as error:
        mnist.load_splits(tmp_path, 10)
    assert finding in str(error.value) and str(path) in str(error.value)


def test_what_is_there_in_place_of_a_data_set_is_said(small_data, tmp_path):
    with pytest.raises(UserError, match="no data set: it is empty"):
        mnist.load_splits(tmp_path)
    for name in "abcdefg":
        (tmp_path / name).write_text("")
    with pytest.raises(UserError, match="it has a, b, c, d, e and 2 more"):
        mnist.load_splits(tmp_path)
    np.savez(str(tmp_path / "a.npz"), images=np.zeros(3), labels=np.zeros(3))
    with pytest.raises(UserError, match="it has a, a.npz with images, labels, b, c"):
        mnist.load_splits(tmp_path)
    for name in ("one", "two"):
        shutil.copytree(str(small_data), str(tmp_path / name))
    with pytest.raises(UserError, match=r"2 data sets \(.*/one/\*, .*/two/\*\)"):
        mnist.load_splits(tmp_path)


def test_emnists_images_are_turned_upright(splits, tmp_path):
    lying = [a.swapaxes(1, 2).copy() if a.ndim == 3 else a for a in arrays_of(splits)]
    write_set(tmp_path, lying, f"emnist-digits-{IDX_FILE}.gz")
    found = mnist.load_splits(tmp_path, 10)
    check_small(found, splits)
    assert found.remark == "EMNIST's images lie transposed and are turned upright"


def test_the_polarity_is_noticed(splits, tmp_path, small_data):
    assert mnist.load_splits(small_data, 20).polarity == mnist.LIGHT_ON_DARK
    write_set(tmp_path, [255 - a if a.ndim == 3 else a for a in arrays_of(splits)])
    found = mnist.load_splits(tmp_path, 10)
    assert found.polarity == mnist.DARK_ON_LIGHT
    assert found.remark == "the images are dark on light, unlike MNIST's"


def test_a_directory_in_a_files_place_is_a_missing_file(small_data, tmp_path):
    def replace(path):
        path.unlink()
        path.mkdir()

    folder = damaged(small_data, tmp_path, IMAGES, replace)
    with pytest.raises(UserError, match="no file of the train images"):
        mnist.load_splits(folder, 20)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: cannot be read as a folder \(No"):
        mnist.load_splits(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"file: is a file; .* in, {tmp_path}"):
        mnist.load_splits(tmp_path / "file")
    with pytest.raises(UserError, match=r"cannot be read as a folder \(File name too"):
        mnist.load_splits(tmp_path / ("n" * 300))


def test_links_among_folders_are_followed_once(small_data, tmp_path):
    for number in range(150):
        (tmp_path / f"link{number}").symlink_to(".")
    with pytest.raises(UserError, match="no data set: it has link0"):
        mnist.load_splits(tmp_path, 20)
    (tmp_path / "link149").unlink()
    (tmp_path / "link149").symlink_to(str(small_data))
    found = mnist.load_splits(tmp_path, 20)
    assert found.digest == mnist.load_splits(small_data, 20).digest


@pytest.mark.parametrize("size", [620, 5000])
def test_validation_must_leave_a_training_image(small_data, size):
    with pytest.raises(UserError, match="expected 0 to 619"):
        mnist.load_splits(small_data, size)


def test_other_images_in_the_projects_own_folder_are_noticed(small_data, monkeypatch):
    monkeypatch.setattr(mnist, "DATA_DIR", small_data.resolve())
    with pytest.raises(UserError, match="SHA-256 of the contents is .*--data-dir"):
        mnist.load_splits(small_data, 20)
