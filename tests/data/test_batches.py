"""Batches: each epoch a permutation, each evaluation every example once."""

import numpy as np
import pytest

from seqmnist.data.batches import (
    distort_images,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from seqmnist.data.mnist import Split
from seqmnist.errors import UserError

NUM_EXAMPLES = 23


@pytest.fixture
def split():
    """Examples that can be told apart: image i is filled with i and labelled i."""
    numbers = np.arange(NUM_EXAMPLES, dtype=np.uint8)
    return Split(np.tile(numbers[:, None, None], (1, 28, 28)), numbers)


def labels_of(batches):
    return [batch.labels.tolist() for batch in batches]


def test_an_epoch_sees_no_example_twice(split):
    batches = list(training_batches(split, 4, seed=0, num_steps=10))
    for epoch in (batches[:5], batches[5:]):
        seen = np.concatenate([batch.labels for batch in epoch])
        assert len(seen) == len(set(seen)) == 20
    assert labels_of(batches[:5]) != labels_of(batches[5:])


def test_images_keep_their_labels(split):
    for batch in training_batches(split, 4, seed=3, num_steps=7):
        assert batch.images.shape == (4, 28, 28)
        np.testing.assert_array_equal(batch.images[:, 9, 9], batch.labels)


def test_over_epochs_every_example_has_its_turn(split):
    batches = training_batches(split, 4, seed=0, num_steps=50)
    seen = np.concatenate([batch.labels for batch in batches])
    assert set(seen) == set(range(NUM_EXAMPLES))


def test_the_seed_decides_the_order(split):
    def order(seed):
        return labels_of(training_batches(split, 4, seed, num_steps=9))

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(2**31 - 1)  # the largest that the option allows


def test_the_order_is_the_same_in_every_numpy_version(split):
    batches = training_batches(split, 5, seed=7, num_steps=6)
    assert labels_of(batches)[::5] == GOLDEN_BATCHES


# Batches 0 and 5 of seed 7, as NumPy 1.18 and 2.4 both give them.
GOLDEN_BATCHES = [[20, 7, 15, 9, 17], [12, 18, 7, 17, 13]]


def test_images_are_shifted_and_what_comes_in_is_paper():
    images = np.arange(1, 1 + 3 * 28 * 28).reshape(3, 28, 28)
    moved = distort_images(images, np.array([[0, 0], [2, -1], [-28, 3]]), np.zeros(3))
    np.testing.assert_array_equal(moved[0], images[0])
    np.testing.assert_array_equal(moved[1, 2:, :-1], images[1, :-2, 1:])
    assert not moved[1, :2].any() and not moved[1, :, -1].any()
    assert not moved[2].any()
    assert moved.dtype == images.dtype


def test_a_slant_moves_rows_and_leaves_the_middle():
    """By 0.3 pixels per row to the right above the middle, to the left below it."""
    images = np.arange(1, 1 + 2 * 28 * 28).reshape(2, 28, 28)
    slanted = distort_images(images, np.array([[0, 0], [1, 2]]), np.array([0.3, 0]))
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
        return [b.images for b in training_batches(train, 20, 5, 4, 0, 0, max_slant)]

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
        return list(training_batches(train, 20, 5, 30, first_step, max_shift))

    shifts = []
    for plain, distorted in zip(batches(0), batches(2)):
        np.testing.assert_array_equal(plain.labels, distorted.labels)
        for image, other in zip(plain.images, distorted.images):
            for down, right in np.ndindex(5, 5):
                shift = np.array([[down - 2, right - 2]])
                moved = distort_images(image[None], shift, np.zeros(1))[0]
                if (moved == other).all():
                    shifts.append((down - 2, right - 2))
                    break
    assert len(shifts) == 600  # all were found
    assert len(set(shifts)) == 25
    np.testing.assert_allclose(np.mean(shifts, 0), 0, atol=0.2)
    for batch, other in zip(batches(2)[17:], batches(2, first_step=17)):
        np.testing.assert_array_equal(batch.images, other.images)


def test_evaluation_sees_every_example_once_in_order(split):
    for size in (1, 4, 22, 23, 24, 500):
        batches = list(evaluation_batches(split, size))
        assert [x for b in labels_of(batches) for x in b] == list(range(NUM_EXAMPLES))
        assert all(len(batch.labels) == size for batch in batches[:-1])
        np.testing.assert_array_equal(batches[-1].images[:, 0, 0], batches[-1].labels)


def test_an_epoch_is_the_full_batches():
    assert steps_per_epoch(55000, 150) == 366
    assert steps_per_epoch(55000, 512) == 107
    assert steps_per_epoch(10, 10) == 1


def test_a_batch_larger_than_the_split_is_refused():
    with pytest.raises(UserError, match="--batch-size 11: .* expected 1 to 10"):
        steps_per_epoch(10, 11)
