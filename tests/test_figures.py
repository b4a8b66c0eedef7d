"""curves.png: two panels, a line per split, of what metrics.csv holds."""

import pytest

from seqmnist import figures

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


def test_a_run_without_rows_still_has_a_figure(run_folder):
    (run_folder / "metrics.csv").write_text(METRICS.splitlines()[0] + "\n")
    assert figures.save_curves(run_folder).exists()
