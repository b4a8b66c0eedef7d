"""record/reading.py: the picture of how the probabilities move."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from seqmnist.data.class_names import numbered
from seqmnist.record import reading
from seqmnist.record.reading import draw_probabilities, draw_reading, softmax

DIGITS = numbered(10)
TIME_STEPS = 4


def test_softmax_by_hand_and_of_logits_whose_exponential_overflows():
    logits = np.log(np.array([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]]))
    expected = [[0.125, 0.25, 0.625], [0.375, 0.375, 0.25]]
    np.testing.assert_allclose(softmax(logits), expected, rtol=1e-6)
    large = softmax(np.array([[[1000.0, 0.0], [-1000.0, -1000.0]]], np.float32))
    np.testing.assert_allclose(large, [[[1, 0], [0.5, 0.5]]])
    assert large.dtype == np.float32


def towards(digit, other=None, last=0.9):
    """Probabilities that move to `last` for a digit, with the rest for another one."""
    other = (digit + 1) % 10 if other is None else other
    values = np.full([TIME_STEPS, 10], 0.0)
    values[:, digit] = np.linspace(0.1, last, TIME_STEPS)
    values[:, other] = 1 - values[:, digit]
    return values


def drawn(probabilities, label):
    """The axes of ridges; and text to the right of them -> its colour."""
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draw_probabilities(axes, probabilities, label, DIGITS)
    figure.canvas.draw()
    words = {text.get_text(): to_hex(text.get_color()).upper() for text in axes.texts}
    return axes, {text: color for text, color in words.items() if ":" in text}


def ridges(axes):
    """The ten probability lines, of class 0 first: those with a value per time step."""
    return [line for line in axes.lines if len(line.get_xdata()) == TIME_STEPS]


@pytest.mark.parametrize("label", [None, 3])
def test_what_is_predicted_rightly_is_orange_and_the_rest_grey(label):
    axes, texts = drawn(towards(3), label)
    assert texts == {"predicted 3: 0.900": "#D55E00"}
    assert [line.get_color() for line in ridges(axes)] == [
        "#D55E00" if digit == 3 else "#7F8FA3" for digit in range(10)
    ]


def test_what_is_predicted_wrongly_is_told_without_colours_too():
    axes, texts = drawn(towards(3, other=8), 8)
    assert texts == {"predicted 3: 0.900": "#0072B2", "true 8: 0.100": "#D55E00"}
    styles = [line.get_linestyle() for line in ridges(axes)]
    assert [digit for digit in range(10) if styles[digit] == "--"] == [3]
    hatched = [fill for fill in axes.collections if fill.get_hatch()]
    assert len(hatched) == 1


def test_a_ridge_is_the_probability_over_the_part_that_is_read():
    values = towards(7)
    axes, _ = drawn(values, 7)
    for digit, line in enumerate(ridges(axes)):
        np.testing.assert_allclose(line.get_xdata(), [25, 50, 75, 100])
        heights = (digit + 1 - line.get_ydata()) / reading.RIDGE_HEIGHT
        np.testing.assert_allclose(heights, values[:, digit], atol=1e-9)


@pytest.fixture
def figure():
    figure = Figure()
    FigureCanvasAgg(figure)
    return figure


def test_all_images_and_the_accuracy_are_on_one_axis_of_time(figure, splits):
    images, labels = splits.test.images[:3], splits.test.labels[:3].tolist()
    probabilities = np.stack([towards(label) for label in labels])
    draw_reading(
        figure,
        np.array([0.1, 0.2, 0.5, 0.875]),
        images,
        probabilities,
        labels,
        DIGITS,
    )
    accuracy, *strips = figure.axes
    assert len(strips) == 6
    lines = [line for line in accuracy.lines if len(line.get_xdata()) == TIME_STEPS]
    np.testing.assert_allclose(lines[0].get_ydata(), [10, 20, 50, 87.5])
    assert [text.get_text() for text in accuracy.texts] == ["87.5 %"]
    for ridge_axes, image_axes, image in zip(strips[::2], strips[1::2], images):
        np.testing.assert_array_equal(255 - image_axes.images[0].get_array(), image)
        places = (ridge_axes.get_position(), accuracy.get_position())
        assert places[0].x0 == places[1].x0
        assert places[0].x1 == places[1].x1
        assert ridge_axes.get_xlim() == accuracy.get_xlim() == (0, 100)
    labelled = [axes for axes in figure.axes if axes.get_xlabel()]
    assert labelled == [strips[-2]]


@pytest.mark.parametrize(
    ("num_images", "accuracy"), [(0, True), (1, True), (1, False), (9, False)]
)
def test_it_grows_with_the_images_and_is_opaque_white(figure, num_images, accuracy):
    draw_reading(
        figure,
        np.linspace(0, 1, TIME_STEPS) if accuracy else None,
        np.zeros([num_images, 28, 28], np.uint8),
        np.stack([towards(5)] * num_images) if num_images else [],
        [None] * num_images,
        DIGITS,
    )
    figure.set_dpi(50)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    height, width = pixels.shape[:2]
    expected = 1.84 * (num_images + accuracy) + 0.5
    assert width == 450
    assert height == pytest.approx(50 * expected, abs=2)
    assert (pixels[..., 3] == 255).all()
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edge == 255).all()  # nothing is cut off


def test_numbers_that_do_not_belong_together_are_refused(figure):
    with pytest.raises(
        ValueError, match="found 1 images, 2 probabilities and 1 labels"
    ):
        draw_reading(
            figure,
            None,
            np.zeros([1, 28, 28], np.uint8),
            np.zeros([2, 4, 10]),
            [1],
            DIGITS,
        )
