"""The reshaping helper: rows and pixels in reading order, without a copy."""

import numpy as np
import pytest

from seqmnist.sequences import VIEWS, as_sequences

IMAGES = np.arange(3 * 784, dtype=np.uint16).reshape(3, 28, 28)


def test_rows_are_the_images_rows_from_the_top():
    sequences = as_sequences(IMAGES, VIEWS["rows"])
    assert sequences.shape == (3, 28, 28)
    np.testing.assert_array_equal(sequences[1, 5], IMAGES[1, 5, :])


def test_pixels_are_read_left_to_right_then_down():
    sequences = as_sequences(IMAGES, VIEWS["pixels"])
    assert sequences.shape == (3, 784, 1)
    assert sequences[2, 30, 0] == IMAGES[2, 1, 2]


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
def test_views_share_the_images_memory(view):
    sequences = as_sequences(IMAGES, view)
    assert sequences.shape[1:] == (view.time_steps, view.input_size)
    assert np.shares_memory(sequences, IMAGES)
    assert sequences.dtype == IMAGES.dtype


def test_no_images_are_no_sequences():
    assert as_sequences(IMAGES[:0], VIEWS["pixels"]).shape == (0, 784, 1)


@pytest.mark.parametrize("shape", [(3, 784), (3, 28, 27), (28, 28)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \[num_examples, 28, 28\]"):
        as_sequences(np.zeros(shape, np.uint8), VIEWS["rows"])
