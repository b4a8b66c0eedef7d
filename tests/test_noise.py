"""Random numbers of training: by seed, step and place, whatever computes them."""

import numpy as np
import pytest

from seqmnist import tf1 as tf
from seqmnist.noise import Noise, candidate_mask, dropout, threefry


def uniform(seed=1, step=2, first=0, size=6, name="dropout", is_compiled=False):
    """The numbers of images of a batch, two for each."""

    def draw(like, step):
        return Noise(seed, step, first).uniform(like, [2], name)

    with tf.Graph().as_default(), tf.Session() as session:
        if is_compiled:
            draw = tf.function(draw, jit_compile=True, autograph=False)
        fed = tf.placeholder(tf.int64, [])  # a constant would be folded
        return session.run(draw(tf.zeros([size, 3]), fed), {fed: step})


@pytest.mark.parametrize(
    "word, expected",
    [
        ([0x00000000] * 4, (0x6B200159, 0x99BA4EFE)),
        ([0xFFFFFFFF] * 4, (0x1CB996FC, 0xBB002BE7)),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xC4923A9C, 0x483DF7A0),
        ),
    ],
)
def test_threefry_gives_the_known_answers(word, expected):
    """Of the authors' own tests, Random123: two words of counter, two of key."""
    with tf.Graph().as_default(), tf.Session() as session:
        words = [tf.constant(np.array(w, np.uint32).astype(np.int32)) for w in word]
        found = session.run(threefry(words[2:], words[:2]))
    assert tuple(np.array(found).astype(np.uint32)) == expected


def test_parts_draw_what_the_whole_batch_draws():
    whole = uniform()
    assert whole.shape == (6, 2) and whole.dtype == np.float32
    np.testing.assert_array_equal(uniform(first=2, size=3), whole[2:5])


def test_numbers_follow_from_seed_step_place_and_name():
    whole = uniform()
    np.testing.assert_array_equal(uniform(), whole)
    for other in (uniform(seed=3), uniform(step=3), uniform(name="other")):
        assert (other != whole).all()
    assert len(np.unique(whole)) == whole.size


def test_both_tensorflows_draw_the_same():
    expected = GOLDEN
    np.testing.assert_array_equal(uniform()[0], np.float32(expected))


# As TF 1.15.5 and 2.21 both give them.
GOLDEN = [0.02751326560974121, 0.8452411890029907]


@pytest.mark.skipif(tf.VERSION.startswith("1."), reason="compiles no functions")
def test_compiled_steps_draw_what_plain_ones_draw():
    np.testing.assert_array_equal(uniform(is_compiled=True), uniform())


def test_dropout_drops_the_rate_and_keeps_the_mean():
    with tf.Graph().as_default(), tf.Session() as session:
        noise = Noise(0, tf.constant(0, tf.int64))
        values = session.run(dropout(tf.ones([100, 50]), 0.3, noise))
    assert set(np.unique(values)) == {0, np.float32(1 / 0.7)}
    assert dropout(values, 0.3, None) is values
    assert dropout(values, 0.0, noise) is values
    # 5,000 draws: 4 standard deviations.
    assert np.mean(values == 0) == pytest.approx(0.3, abs=0.026)


def test_each_image_and_each_layer_has_a_candidate_mask_of_its_own():
    images = np.zeros([100, 28, 28], np.uint8)
    with tf.Graph().as_default(), tf.Session() as session:
        noise = Noise(0, tf.constant(0, tf.int64))
        masks = [candidate_mask(images, 50, 0.3, noise, layer) for layer in (0, 1)]
        first, second = session.run(masks)
    assert first.shape == (100, 50)
    assert set(np.unique(first)) == {0, np.float32(1 / 0.7)}
    assert np.mean(first == 0) == pytest.approx(0.3, abs=0.026)
    assert len(np.unique(first, axis=0)) == 100
    assert np.mean(first == second) == pytest.approx(0.3**2 + 0.7**2, abs=0.03)
    assert candidate_mask(images, 50, 0.3, None) is None
    assert candidate_mask(images, 50, 0.0, noise) is None
