"""Distortions: what each does to an image, and that seed and step alone decide it."""

import zlib

import numpy as np
import pytest

from seqmnist.data.batches import training_batches
from seqmnist.data.distortions import (
    POINTS,
    Distortions,
    move_images,
    warp_images,
)
from seqmnist.data.mnist import Split


def test_images_are_shifted_and_what_comes_in_is_paper():
    images = np.arange(1, 1 + 3 * 28 * 28).reshape(3, 28, 28)
    moved = move_images(images, np.array([[0, 0], [2, -1], [-28, 3]]), np.zeros(3))
    np.testing.assert_array_equal(moved[0], images[0])
    np.testing.assert_array_equal(moved[1, 2:, :-1], images[1, :-2, 1:])
    assert not moved[1, :2].any() and not moved[1, :, -1].any()
    assert not moved[2].any()
    assert moved.dtype == images.dtype


def test_a_slant_moves_rows_and_leaves_the_middle():
    """By 0.3 pixels per row to the right above the middle, to the left below it."""
    images = np.arange(1, 1 + 2 * 28 * 28).reshape(2, 28, 28)
    slanted = move_images(images, np.array([[0, 0], [1, 2]]), np.array([0.3, 0]))
    for y in range(28):
        offset = round(0.3 * (13.5 - y))
        assert -4 <= offset <= 4
        row = np.zeros(28, int)
        row[max(0, offset) : 28 + min(0, offset)] = images[
            0, y, max(0, -offset) : 28 - max(0, offset)
        ]
        np.testing.assert_array_equal(slanted[0, y], row)
    np.testing.assert_array_equal(slanted[1, 1:, 2:], images[1, :-1, :-2])


def test_max_slant_slants_each_training_image_anew(splits):
    train = Split(splits.train.images[:40], splits.train.labels[:40])

    def images(max_slant):
        return [
            b.images
            for b in training_batches(train, 20, 5, 4, 0, Distortions(0, max_slant))
        ]

    for plain, once, again, other in zip(
        images(0), images(0.5), images(0.5), images(1)
    ):
        np.testing.assert_array_equal(once, again)
        np.testing.assert_array_equal(once[:, 13:15], plain[:, 13:15])
        assert (once != plain).any() and (once != other).any()
    assert (images(0.5)[0] != images(0.5)[2]).any()


def test_max_shift_moves_each_training_image_anew(splits):
    """By -2 to 2 pixels each way; which way, follows from seed and step alone."""
    train = Split(splits.train.images[:40], splits.train.labels[:40])

    def batches(max_shift, first_step=0):
        return list(
            training_batches(train, 20, 5, 30, first_step, Distortions(max_shift))
        )

    shifts = []
    for plain, distorted in zip(batches(0), batches(2)):
        np.testing.assert_array_equal(plain.labels, distorted.labels)
        for image, other in zip(plain.images, distorted.images):
            for down, right in np.ndindex(5, 5):
                shift = np.array([[down - 2, right - 2]])
                moved = move_images(image[None], shift, np.zeros(1))[0]
                if (moved == other).all():
                    shifts.append((down - 2, right - 2))
                    break
    assert len(shifts) == 600  # all were found
    assert len(set(shifts)) == 25
    np.testing.assert_allclose(np.mean(shifts, 0), 0, atol=0.2)
    for batch, other in zip(batches(2)[17:], batches(2, first_step=17)):
        np.testing.assert_array_equal(batch.images, other.images)


def warped(images, shift=(0, 0), slant=0, stretch=(0, 0), bend=(0, 0)):
    """All images warped alike; `bend` is of all points, or `[2, points, points]`."""
    bends = np.zeros([POINTS, POINTS, 2]) + np.transpose(bend)
    values = (shift, slant, stretch, bends.T)
    return warp_images(images, *(np.array([value] * len(images)) for value in values))


@pytest.fixture
def digits(splits):
    return splits.train.images[:30]


@pytest.mark.parametrize("rows", [28, 20])
def test_warps_of_whole_pixels_are_moves(rows, digits):
    digits = digits[:, :rows]
    np.testing.assert_array_equal(warped(digits), digits)
    for shift, slant in (((3, -2), 0), ((0, 0), 2), ((-1, 0), -2)):
        expected = move_images(
            digits, np.array([shift] * len(digits)), np.full(len(digits), slant)
        )
        np.testing.assert_array_equal(warped(digits, shift, slant), expected)
    expected = move_images(digits, np.array([[-2, 1]] * len(digits)), np.zeros(30))
    np.testing.assert_array_equal(warped(digits, bend=(2, -1)), expected)


def test_what_lies_between_pixels_is_interpolated():
    """In an image whose values grow by 8 per row, each value tells its place."""
    image = np.tile(8 * np.arange(28, dtype=np.uint8)[:, None], (1, 1, 28))
    rows = np.arange(28)
    found = warped(image, stretch=(0.25, 0))[0, :, 5]
    np.testing.assert_allclose(found, 8 * (13.5 + (rows - 13.5) / 1.25), atol=0.5)
    found = warped(image, stretch=(-0.2, 0))[0, 3:-3, 5]
    np.testing.assert_allclose(found, 8 * (13.5 + (rows - 13.5) / 0.8)[3:-3], atol=0.5)
    slanted = warped(np.swapaxes(image, 1, 2), slant=0.5, stretch=(0, 0.25))[0, 4]
    places = 13.5 + (rows - 13.5 - 0.5 * (13.5 - 4)) / 1.25  # the slant is after
    np.testing.assert_allclose(slanted, 8 * np.clip(places, 0, 27), atol=0.5)
    one_point = np.zeros([2, POINTS, POINTS])
    one_point[0, 1, 2] = 4  # in row 6.75 and column 13.5
    found = warped(image, bend=one_point)[0]
    far = np.maximum(0, 1 - np.abs(rows - 6.75) / 6.75)
    np.testing.assert_allclose(
        (found - image[0].astype(int))[:, 14], 8 * 4 * far * (1 - 0.5 / 6.75), atol=0.5
    )
    np.testing.assert_array_equal(found[:, :7], image[0, :, :7])
    columns = np.swapaxes(image, 1, 2)
    found = warped(columns, stretch=(0, 0.25), bend=np.swapaxes(one_point, 1, 2)[::-1])
    expected = warped(image, stretch=(0.25, 0), bend=one_point)
    np.testing.assert_array_equal(found, np.swapaxes(expected, 1, 2))


def test_what_leaves_an_image_is_lost_and_zeros_fill_in(digits):
    assert not warped(digits + 1, shift=(28, 0)).any()
    assert not warped(digits, shift=(0, -1e6)).any()
    smaller = warped(np.full_like(digits, 9), stretch=(-0.5, -0.5))
    assert not smaller[:, :6].any() and not smaller[:, :, -6:].any()
    assert (smaller[:, 7:-7, 7:-7] == 9).all()


@pytest.mark.parametrize("distortions", [(2, 0.5), (2, 0.5, 0.2, 2.0)])
def test_a_share_of_a_batch_is_distorted_as_in_the_whole(digits, distortions):
    def draw(share):
        generator = np.random.RandomState(4)
        return Distortions(*distortions).distort(
            digits[share], generator, len(digits), share
        )

    whole, share = draw(slice(None)), slice(7, 19)
    np.testing.assert_array_equal(draw(share), whole[share])
    assert (whole != digits).any(axis=(1, 2)).all()
    assert whole.dtype == np.uint8 and whole.shape == digits.shape


def test_warps_are_the_same_in_every_numpy_version(digits):
    """As NumPy 1.18 and 2.4 both give them."""
    distortions = Distortions(2, 0.5, 0.2, 2.0)
    images = distortions.distort(digits, np.random.RandomState(4), len(digits))
    assert zlib.crc32(images.tobytes()) == 2623022144
