"""The reshaping helper: rows and pixels in reading order."""

import numpy as np
import pytest

from seqmnist import tf1 as tf
from seqmnist.sequences import (
    PERMUTATION_SEED,
    VIEWS,
    as_sequences,
    halved,
    permutation,
    sequence_shape,
)

IMAGES = np.arange(3 * 784, dtype=np.int32).reshape(3, 28, 28)


def sequences_of(images, view, permute=None):
    with tf.Graph().as_default(), tf.Session() as session:
        placeholder = tf.placeholder(tf.int32, [None, *images.shape[1:]])
        sequences = as_sequences(placeholder, view, permute)
        return sequences, session.run(sequences, {placeholder: images})


def test_rows_are_the_images_rows_from_the_top():
    _, sequences = sequences_of(IMAGES, "rows")
    np.testing.assert_array_equal(sequences, IMAGES)


def test_pixels_are_read_left_to_right_then_down():
    _, sequences = sequences_of(IMAGES, "pixels")
    assert sequences.shape == (3, 784, 1)
    assert sequences[2, 30, 0] == IMAGES[2, 1, 2]
    assert (np.diff(sequences[:, :, 0]) == 1).all()


@pytest.mark.parametrize("view", VIEWS)
def test_permuted_pixels_are_the_fields_usual_ones(view):
    """np.random.RandomState(92916).permutation(784), on NumPy 1.18 and 2.4 alike."""
    order = permutation(PERMUTATION_SEED, 784)
    assert order[:5].tolist() == [319, 576, 323, 107, 355]
    assert sorted(order) == list(range(784))
    _, sequences = sequences_of(IMAGES, view, PERMUTATION_SEED)
    for sequence, image in zip(sequences, IMAGES):
        np.testing.assert_array_equal(sequence.ravel(), image.ravel()[order])
    _, others = sequences_of(IMAGES, view, 1)
    assert (others != sequences).any()


@pytest.mark.parametrize("view", VIEWS)
def test_shapes_are_known_before_the_graph_is_run(view):
    tensor, empty = sequences_of(IMAGES[:0], view)
    expected = list(sequence_shape(view, 28, 28))
    assert tensor.shape.as_list() == [None, *expected]
    assert list(empty.shape) == [0, *expected]


def test_images_of_any_size_are_read():
    images = IMAGES[:, :9, :20]
    _, rows = sequences_of(images, "rows")
    np.testing.assert_array_equal(rows, images)
    _, pixels = sequences_of(images, "pixels", permute=3)
    order = np.random.RandomState(3).permutation(180)
    np.testing.assert_array_equal(pixels[..., 0], images.reshape(3, 180)[:, order])


@pytest.mark.parametrize("shape", [(3, 784), (3, None, 28), (3, 28, 28, 1)])
def test_other_shapes_are_refused(shape):
    with tf.Graph().as_default():
        with pytest.raises(ValueError, match=r"expected \[None, height, width\]"):
            as_sequences(tf.placeholder(tf.uint8, shape), "rows")


def test_halved_images_have_the_means_of_four_pixels():
    images = (IMAGES[:, :6, :10] % 251).astype(np.uint8)
    images[0, :2, :2] = [[0, 1], [1, 1]]  # 0.75
    with tf.Graph().as_default(), tf.Session() as session:
        tensor = halved(tf.constant(images))
        found = session.run(tensor)
    assert tensor.shape.as_list() == [len(images), 3, 5] and found.dtype == np.uint8
    assert found[0, 0, 0] == 1
    corners = [images[:, i::2, j::2].astype(float) for i in (0, 1) for j in (0, 1)]
    np.testing.assert_allclose(found, np.mean(corners, axis=0), atol=0.5)
