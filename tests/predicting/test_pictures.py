"""pictures.py: any picture of a digit, as MNIST would have it."""

import os

import numpy as np
import pytest
from PIL import Image

from seqmnist.errors import UserError
from seqmnist.predicting.pictures import Form, _is_in_place, normalize, read_picture

PAPER, INK = 235, 25  # grey levels of a photograph


def resized(image, factor, filter=Image.Resampling.BICUBIC):
    side = round(28 * factor)
    return np.asarray(Image.fromarray(image).resize((side, side), filter))


def padded(image, top, bottom, left, right):
    return np.pad(image, ((top, bottom), (left, right)), mode="constant")


def photographed(image, dark_side=PAPER, noise=0):
    """A light-on-dark image as ink on paper, with the light falling from the left."""
    coverage = image / 255.0
    paper = np.linspace(PAPER, dark_side, image.shape[1])[None]
    grey = paper * (1 - coverage) + INK * coverage
    grey = grey + np.random.RandomState(0).normal(0, noise, image.shape)
    return np.clip(grey, 0, 255).astype(np.uint8)


def test_a_picture_of_mnists_size_is_converted_if_the_digit_is_elsewhere(splits):
    original = splits.test.images[0]
    for moved in (
        np.roll(original, (4, -3), (0, 1)),
        padded(resized(original, 0.5), 0, 14, 14, 0),
        resized(original[4:24, 4:24], 1.4)[:28, :28].copy(),
    ):
        image = np.asarray(Image.fromarray(moved).resize((28, 28)))
        picture = normalize(image)
        assert "digit scaled to" in picture.description
        assert abs(centre_of_mass(picture.pixels) - 14).max() < 1
        as_it_is = normalize(image, form=Form(is_mnist=False))
        assert as_it_is.description.endswith("taken as it is")
        np.testing.assert_array_equal(as_it_is.pixels, image)


def test_a_picture_of_mnists_size_that_cannot_be_converted_is_taken_as_it_is():
    noise = np.random.RandomState(0).randint(0, 220, (28, 28)).astype(np.uint8)
    noise[6:22, 6:22] = 255
    assert normalize(noise).description.endswith("taken as it is")
    with pytest.raises(UserError, match="its border is too uneven"):
        normalize(np.pad(noise, 1, mode="edge"))


def test_mnists_images_are_in_place(splits):
    in_place = [_is_in_place(image.astype(np.float32)) for image in splits.test.images]
    assert np.mean(in_place) == 1


def test_a_row_of_digits_is_asked_about(splits):
    images = splits.test.images[[0, 2, 1, 4]]  # 7, 1, 2, 4
    row = np.hstack([image[:, 5:23] for image in images])
    assert "ink far wider than high (is it one digit?)" in normalize(row).description
    single = normalize(resized(images[0], 3)).description
    assert "is it one digit" not in single


def centre_of_mass(pixels):
    places = np.indices(pixels.shape)
    return (places * pixels).sum((1, 2)) / pixels.sum()


def longer_side(pixels):
    rows, columns = (np.flatnonzero(pixels.any(axis)) for axis in (1, 0))
    return max(np.ptp(rows), np.ptp(columns)) + 1


# What becomes of MNIST's images -> the mean distance from the original that is allowed
# in grey levels, some of which is a shift by one pixel where the centre of mass is
# half way between two.
CHANGES = {
    "inverted": (lambda image: 255 - image, 2.5),
    "enlarged 3 times": (lambda i: resized(i, 3, Image.Resampling.NEAREST), 5),
    "enlarged 10 times": (lambda image: resized(image, 10), 9),
    "enlarged 3.7 times, inverted": (lambda image: 255 - resized(image, 3.7), 9),
    "off the centre": (lambda i: padded(resized(i, 4), 150, 3, 0, 77), 9),
    "larger than is computed with": (lambda image: resized(image, 80), 9),
    "a photograph": (lambda i: photographed(resized(i, 5), 120, 6), 12),
    "with noise": (lambda i: photographed(resized(i, 6), PAPER, 20), 12),
    "pencil": (lambda i: (200 - resized(i, 6) * 0.15).astype(np.uint8), 10),
}


@pytest.mark.parametrize("change", CHANGES)
def test_mnists_images_come_back_whatever_was_done_to_them(change, splits):
    function, allowed = CHANGES[change]
    originals = splits.test.images[: 12 if "larger" in change else 40]
    found = np.stack([normalize(function(image)).pixels for image in originals])
    assert found.dtype == np.uint8
    distances = np.abs(found.astype(int) - originals).mean((1, 2))
    assert distances.mean() < allowed
    for pixels in found:
        assert np.abs(centre_of_mass(pixels) - 14).max() < 0.75
        assert longer_side(pixels) in (19, 20)
        assert pixels.max() >= 250


def test_what_is_written_in_the_changed_images_is_read_as_before(splits):
    """A classifier by the nearest class mean stands in for a network."""
    train, test = splits.train, splits.test
    means = np.stack([train.images[train.labels == d].mean(0) for d in range(10)])

    def count_correct(images):
        distances = ((images[:, None] - means[None]) ** 2).sum((2, 3))
        return (distances.argmin(1) == test.labels[: len(images)]).sum()

    originals = test.images[:200]
    before = count_correct(originals.astype(float))
    assert before > 140
    for change in ("enlarged 3.7 times, inverted", "off the centre", "a photograph"):
        function = CHANGES[change][0]
        images = np.stack([normalize(function(image)).pixels for image in originals])
        assert abs(count_correct(images.astype(float)) - before) <= 6


def test_a_28_x_28_image_that_is_light_on_dark_is_taken_pixel_for_pixel(splits):
    for image in splits.test.images[:50]:
        pixels, description = normalize(image)
        np.testing.assert_array_equal(pixels, image)
        assert description == (
            "28 x 28 pixels, light on dark (guessed by the border); taken as it is"
        )


def test_the_polarity_is_guessed_and_told_or_taken_as_given(splits):
    image = resized(splits.test.images[0], 2)
    light, dark = normalize(image), normalize(255 - image)
    assert "light on dark (guessed by the border)" in light.description
    assert "dark on light (guessed by the border)" in dark.description
    np.testing.assert_allclose(light.pixels, dark.pixels, atol=1)
    given = normalize(255 - image, "dark-on-light")
    np.testing.assert_array_equal(given.pixels, dark.pixels)
    assert "56 x 56 pixels, dark on light; digit scaled to " in given.description


def test_a_digit_cut_out_along_its_ink_is_read_with_the_polarity_given():
    one = np.full([60, 12], 240, np.uint8)  # a bar that fills the border but a corner
    one[:5, :5] = 20
    assert "dark on light" in normalize(one).description
    pixels = normalize(one, "light-on-dark").pixels
    assert longer_side(pixels) == 20
    assert pixels.sum() == pytest.approx(20 * 4 * 255, rel=0.1)


def test_a_long_line_keeps_its_shape_and_a_thin_one_gets_all_of_the_ink():
    picture = np.full([400, 500], 255, np.uint8)
    picture[50:350, 249:251] = 0  # a one of two pixels' width
    pixels = normalize(picture).pixels
    rows, columns = (np.flatnonzero(pixels.any(axis)) for axis in (1, 0))
    assert (len(rows), len(columns)) == (20, 1)
    assert pixels.max() == 255


def test_the_ink_is_moved_but_never_cut_off():
    picture = np.zeros([200, 200], np.uint8)
    picture[20:180, 20:60] = 255  # heavy at the left
    picture[100:102, 20:180] = 255  # light as far as to the right
    pixels = normalize(picture).pixels
    assert longer_side(pixels) == 20
    assert np.flatnonzero(pixels.any(0))[-1] == 27


def test_specks_and_jpegs_rings_do_not_widen_the_box(splits, tmp_path):
    image = 255 - padded(resized(splits.test.images[0], 5), 40, 60, 60, 40)
    clean = normalize(image).pixels
    Image.fromarray(image).save(str(tmp_path / "rings.jpg"), quality=15)
    specks = image.copy()
    specks[3, 3] = specks[-9, 7] = specks[120, -3] = 0
    for pixels in (
        read_picture(str(tmp_path / "rings.jpg")).pixels,
        normalize(specks).pixels,
    ):
        assert np.abs(pixels.astype(int) - clean).mean() < 3
        assert longer_side(pixels) == 20


@pytest.fixture
def seven(splits):
    """A test image, enlarged, as light on dark."""
    return Image.fromarray(padded(resized(splits.test.images[0], 4), 10, 20, 30, 5))


def saved(image, path, **kwargs):
    image.save(str(path), **kwargs)
    return read_picture(str(path)).pixels.astype(int)


def with_colors(seven, paper, ink):
    """The picture in two colours."""
    image = Image.new("RGB", seven.size, paper)
    image.paste(Image.new("RGB", seven.size, ink), mask=seven)
    return image


def test_files_of_all_kinds_hold_the_same_digit(seven, tmp_path):
    expected = saved(seven, tmp_path / "L.png")
    blank = Image.new("L", seven.size, 255)
    wide = np.asarray(seven).astype(np.uint16) * 257
    transparent = Image.new("RGBA", seven.size, (0, 0, 0, 0))
    transparent.putalpha(seven)
    light = Image.new("RGBA", seven.size, (255, 255, 255, 0))
    light.putalpha(seven)
    files = {
        "1.png": (seven.convert("1", dither=Image.Dither.NONE), {}),
        "P.gif": (seven.convert("P"), {}),
        "palette.png": (with_colors(seven, "white", "navy").quantize(16), {}),
        "blue.png": (with_colors(seven, (255, 250, 230), (20, 30, 120)), {}),
        "yellow.webp": (with_colors(seven, "black", "yellow"), {"lossless": True}),
        "cmyk.jpg": (with_colors(seven, "white", "black").convert("CMYK"), {}),
        "16.png": (Image.fromarray(wide), {}),
        "16.tif": (Image.fromarray(wide), {}),
        "alpha.png": (transparent, {}),
        "light.png": (light, {}),
        "LA.png": (Image.merge("LA", [blank, seven]), {}),
        "bits.pbm": (seven.point(lambda v: 255 * (v > 127)).convert("1"), {}),
        "moving.gif": (seven, {"save_all": True, "append_images": [blank]}),
        "rotated.jpg": (seven.transpose(Image.Transpose.ROTATE_90), {"exif": turned()}),
    }
    for name, (image, options) in files.items():
        distance = np.abs(saved(image, tmp_path / name, **options) - expected).mean()
        is_bilevel = name in ("1.png", "bits.pbm")
        assert distance < (12 if is_bilevel else 4), (name, distance)


def turned():
    """EXIF data that say: to be turned by 90 degrees, clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def write_bad_files(folder, seven):
    Image.new("L", (40, 30), 180).save(str(folder / "blank.png"))
    Image.new("RGB", (28, 28)).save(str(folder / "black.png"))
    noise = np.random.RandomState(0).normal(200, 2, [90, 90]).astype(np.uint8)
    Image.fromarray(noise).save(str(folder / "paper.png"))
    Image.fromarray(np.eye(9, dtype=np.float32)).save(str(folder / "float.tif"))
    seven.save(str(folder / "whole.png"))
    content = (folder / "whole.png").read_bytes()
    (folder / "cut.png").write_bytes(content[: len(content) // 2])
    (folder / "text.png").write_text("not a picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "drawing.eps").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9"
    )
    (folder / "bomb.pgm").write_bytes(b"P5 7300 7300 255\n")
    with open(str(folder / "holes.webp"), "wb") as file:
        file.truncate(1 << 40)
    (folder / "phone.jpg").write_bytes(b"\0\0\0\x24ftypheic" + bytes(90))
    (folder / "folder.png").mkdir()
    os.mkfifo(str(folder / "pipe.png"))
    (folder / "large_bomb.pgm").write_bytes(b"P5 60000 60000 255\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blank.png", "no ink in it: its grey levels differ by 0 of 255; expected"),
        ("black.png", "no ink in it"),
        ("paper.png", "no ink in it"),
        ("float.tif", "has grey levels from 0 to 1; expected 8 or 16 bits"),
        ("cut.png", "cannot be read .*; expected a picture, all of it"),
        ("text.png", "is no picture that can be read; expected PNG, JPEG, .* or TGA"),
        ("empty.png", "is no picture"),
        ("drawing.eps", "is no picture"),
        ("bomb.pgm", "has more than 52,000,000 pixels; scale it down"),
        ("large_bomb.pgm", "has more than 52,000,000 pixels; scale it down"),
        ("missing.png", "cannot be read .No such file or directory.; expected"),
        ("holes.webp", "has more than 100,000,000 bytes; scale the picture down"),
        ("phone.jpg", "is a HEIC picture, .*; export it as JPEG or PNG"),
        ("folder.png", "is a folder; expected files of pictures, such as FOLDER/"),
        ("pipe.png", "is no file; expected a picture"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(name, message, seven, tmp_path):
    write_bad_files(tmp_path, seven)
    with pytest.raises(UserError, match=message) as caught:
        read_picture(str(tmp_path / name))
    assert str(caught.value).startswith(str(tmp_path / name).rstrip("/") + ": ")
    assert "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(UserError, match="a.png: cannot be read .Permission denied."):
        read_picture(str(tmp_path / "a.png"))


def test_a_digit_cut_at_its_ink_is_told_to_need_a_margin():
    """Ink all along the border: there is no telling what is paper."""
    grey = 255 * (np.indices([40, 40]).sum(0) // 10 % 2)
    with pytest.raises(UserError, match="border is too uneven .* margin of paper"):
        normalize(grey.astype(np.uint8), "light-on-dark")


def test_a_network_trained_dark_on_light_gets_pictures_so():
    light = np.zeros((28, 28), np.uint8)
    light[4:24, 12:16] = 255
    as_it_is = normalize(
        255 - light, form=Form(polarity="dark-on-light", is_mnist=False)
    )
    np.testing.assert_array_equal(as_it_is.pixels, 255 - light)
    assert as_it_is.description.endswith("taken as it is")
    for picture in (light, 255 - light):
        found = normalize(
            np.kron(picture, np.ones((4, 4), np.uint8)),
            form=Form(polarity="dark-on-light", is_mnist=False),
        )
        expected = normalize(np.kron(picture, np.ones((4, 4), np.uint8)))
        np.testing.assert_array_equal(found.pixels, 255 - expected.pixels)
        assert found.description.endswith("dark-on-light like the training images")


def drawn(image, factor=6):
    """A digit as black ink on white paper, enlarged."""
    return 255 - resized(image, factor)


def test_a_sheet_on_a_table_is_looked_at_within(splits):
    for index in (0, 1, 2, 3):
        paper = drawn(splits.test.images[index])
        expected = normalize(paper).pixels
        table = np.full([260, 300], 60, np.uint8)
        table[24:232, 50:258] = np.pad(paper, 20, "constant", constant_values=255)
        found = normalize(table)
        assert "; a sheet of paper, within it: " in found.description
        distance = np.abs(found.pixels.astype(int) - expected).mean()
        assert distance < 12


def test_a_frame_is_left_out(splits):
    for index in (0, 1, 2, 3):
        paper = drawn(splits.test.images[index])
        expected = normalize(paper).pixels
        framed = np.full([240, 240], 255, np.uint8)
        framed[20:220, 20:220] = 0
        framed[24:216, 24:216] = 255
        framed[36:204, 36:204] = paper
        found = normalize(framed)
        assert "; a frame, within it: " in found.description
        distance = np.abs(found.pixels.astype(int) - expected).mean()
        assert distance < 12


def segments(digit, stroke):
    """0 or 8 of seven segments, dark on light."""
    picture = np.full([260, 200], 255, np.uint8)
    picture[40:220, 50:150] = 0
    picture[40 + stroke : 220 - stroke, 50 + stroke : 150 - stroke] = 255
    if digit == 8:
        picture[130 - stroke // 2 : 130 + stroke // 2, 50:150] = 0
    return picture


@pytest.mark.parametrize("digit", [0, 8])
@pytest.mark.parametrize("stroke", [10, 20, 30])
def test_a_digit_of_segments_is_no_frame(digit, stroke):
    picture = segments(digit, stroke)
    for given in (picture, 255 - picture):
        found = normalize(given)
        assert "within" not in found.description
        assert longer_side(found.pixels) == 20


def test_what_has_no_holes_is_no_sheet():
    bag = np.zeros([200, 200], np.uint8)
    bag[40:160, 30:170] = 200
    bag[60:150, 98:102] = 0  # a seam
    assert "within" not in normalize(bag).description


def test_two_digits_are_said(splits):
    one, two = (drawn(splits.test.images[index]) for index in (2, 1))
    clause = "; two pieces of ink far apart (is it one digit?)"
    for both in (np.hstack([one, two]), np.vstack([one, one])):
        assert clause in normalize(both).description
    for index in range(200):
        image = splits.test.images[index]
        description = normalize(resized(image, 4)).description
        assert "apart" not in description and "within" not in description


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_greys_of_ten_and_twelve_bits_are_read(bits, splits, tmp_path):
    image = splits.test.images[0]
    values = image.astype(np.uint32) * (2**bits - 1) // 255
    path = str(tmp_path / "deep.png")
    Image.fromarray(values.astype(np.uint16)).save(path)
    found = read_picture(path)
    np.testing.assert_allclose(found.pixels, image, atol=1)
