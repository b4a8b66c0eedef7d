"""Batches: each epoch a permutation, each evaluation every example once."""

import queue

import numpy as np
import pytest

from seqmnist.data.batches import (
    evaluation_batches,
    made_ahead,
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


@pytest.mark.parametrize("count", [1, 3, 20])
def test_batches_made_ahead_are_the_same(split, count):
    def batches():
        return training_batches(split, 5, seed=1, num_steps=7)

    ahead = list(made_ahead(batches(), count))
    assert len(ahead) == 7
    for batch, expected in zip(ahead, batches()):
        np.testing.assert_array_equal(batch.images, expected.images)
        np.testing.assert_array_equal(batch.labels, expected.labels)


def test_an_error_in_the_making_arrives_where_the_batch_is_used():
    def batches():
        yield "first"
        raise MemoryError("no room for images")

    ahead = made_ahead(batches(), 5)
    assert next(ahead) == "first"
    with pytest.raises(MemoryError, match="no room"):
        next(ahead)


def test_batches_are_made_while_another_is_in_use():
    """The second batch exists before anybody asks for it; the one after, not yet."""
    made = queue.Queue()

    def batches():
        for number in range(9):
            made.put(number)
            yield number

    ahead = made_ahead(batches(), 1)
    assert next(ahead) == 0
    assert [made.get(timeout=60), made.get(timeout=60)] == [0, 1]
    ahead.close()
    assert made.empty()


def test_a_batch_larger_than_the_split_is_refused():
    with pytest.raises(UserError, match="--batch-size 11: .* expected 1 to 10"):
        steps_per_epoch(10, 11)
