"""curves.png: two panels, a line per split, of what metrics.csv holds."""

import numpy as np
import pytest

from seqmnist.data.class_names import numbered
from seqmnist.data.mnist import Split
from seqmnist.record import figures

METRICS = """step,epoch,split,loss,accuracy,correct,count,seconds
366,1,train,0.5,0.85,85,100,3.1
366,1,validation,0.25,0.94,94,100,3.1
366,1,test,0.3,0.93,93,100,3.1
732,2,train,0.2,0.9,90,100,6.1
732,2,test,0.2,0.95,95,100,6.1
"""


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "train_rnn" / "20260101-000000-seed0"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(METRICS)
    return folder


def test_curves_show_every_split_against_epochs(run_folder):
    from matplotlib.figure import Figure

    figure = Figure()
    figures._draw_curves(figure, run_folder)
    accuracy, loss = figure.axes
    assert (accuracy.get_ylabel(), loss.get_ylabel()) == (
        "accuracy (fraction)",
        "cross-entropy (nats)",
    )
    lines = {line.get_label(): line.get_xydata().tolist() for line in accuracy.lines}
    assert lines == {
        "train": [[1, 0.85], [2, 0.9]],
        "validation": [[1, 0.94]],
        "test": [[1, 0.93], [2, 0.95]],
    }
    losses = {line.get_label(): line.get_ydata().tolist() for line in loss.lines}
    assert losses == {"train": [0.5, 0.2], "validation": [0.25], "test": [0.3, 0.2]}


def test_the_figure_is_a_png_and_nothing_is_left_beside_it(run_folder):
    path = figures.save_curves(run_folder)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in run_folder.iterdir()) == ["curves.png", "metrics.csv"]


def test_show_opens_a_window_where_there_is_a_screen(run_folder, monkeypatch, capsys):
    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    plt.switch_backend("agg")
    monkeypatch.setattr(FigureCanvasAgg, "required_interactive_framework", "a screen")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(len(plt.gcf().axes)))
    figures.show_curves(run_folder)
    assert shown == [2]
    assert not capsys.readouterr().err


def test_the_users_style_changes_no_figure(run_folder):
    """With settings that would fail, or print a line per character."""
    import matplotlib

    expected = figures.save_curves(run_folder).read_bytes()
    settings = {
        "text.usetex": True,
        "font.family": "No Such Font",
        "lines.linewidth": 9,
    }
    with matplotlib.rc_context(settings):
        assert figures.save_curves(run_folder).read_bytes() == expected
        assert matplotlib.rcParams["text.usetex"]


def test_a_run_without_rows_still_has_a_figure(run_folder):
    (run_folder / "metrics.csv").write_text(METRICS.splitlines()[0] + "\n")
    assert figures.save_curves(run_folder).exists()


LABELS = np.array([0, 1, 1, 9, 9, 9])
LOGITS = np.eye(10, dtype=np.float32)[[0, 1, 7, 9, 4, 4]]


def test_confusion_counts_labels_in_rows_and_predictions_in_columns():
    counts = figures.confusion_counts(LABELS, LOGITS)
    expected = np.zeros([10, 10], int)
    expected[0, 0] = expected[1, 1] = expected[1, 7] = expected[9, 9] = 1
    expected[9, 4] = 2
    np.testing.assert_array_equal(counts, expected)


def test_the_confusion_matrix_shows_every_count():
    figure = figures.confusion(LABELS, LOGITS, "some", numbered(10))
    (axes,) = figure.axes
    found = {(*text.get_position(), text.get_text()) for text in axes.texts}
    expected = {(0, 0, "1"), (1, 1, "1"), (7, 1, "1"), (9, 9, "1"), (4, 9, "2")}
    assert found == expected  # (column, row, count)
    assert "some: 3 of 6 correct" in [text.get_text() for text in figure.texts]


def test_mistakes_are_the_most_confident_first():
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    labels = np.array([1, 1, 1, 0])
    chosen = figures.most_confident_mistakes(labels, probabilities, 2)
    assert chosen.tolist() == [1, 3]


def test_mistakes_are_shown_with_label_and_prediction(splits):
    few = Split(splits.test.images[:6], LABELS)
    probabilities = 0.01 + 0.9 * LOGITS
    probabilities[2, 7] = 0.95
    figure = figures.mistakes(few, probabilities, "some", numbered(10))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == [
        "image 2: 0.9500\n1 taken for 7",
        "image 4: 0.9100\n9 taken for 4",
        "image 5: 0.9100\n9 taken for 4",
    ]
    shown = axes.images[0].get_array()[12 : 12 + 28, 2 : 2 + 28]
    np.testing.assert_array_equal(shown, 255 - few.images[2])


def test_no_mistakes_are_a_figure_too(splits):
    few = Split(splits.test.images[:6], LOGITS.argmax(1))
    figure = figures.mistakes(few, LOGITS, "some", numbered(10))
    assert "some: no mistakes" in [text.get_text() for text in figure.texts]
    assert figures.as_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("shape, view", [((28, 28), "rows"), ((784, 1), "pixels")])
def test_inputs_are_shown_over_time(shape, view, splits):
    images = splits.test.images[:2]
    values = images.reshape(2, *shape) / 255
    figure = figures.inputs(images, values, view)
    assert len(figure.axes) == 4
    sequence = figure.axes[1]
    if view == "pixels":
        found = sequence.lines[0].get_ydata()[:, None]
    else:
        found = sequence.images[0].get_array().T
    np.testing.assert_array_equal(found, values[0])
