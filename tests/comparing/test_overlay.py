"""compare.py --plot: what is drawn, and that nothing is overwritten."""

from made_runs import error_of, lines_of, make_run

import compare
from seqmnist.comparing import overlay


def drawn(monkeypatch):
    """Keeps the figures that are drawn; returns the list of their only panels."""
    panels = []
    draw = overlay._draw

    def keep(figure, *args):
        draw(figure, *args)
        panels.extend(figure.axes)

    monkeypatch.setattr(overlay, "_draw", keep)
    return panels


def test_plot_draws_the_rows_over_each_other(tmp_path, capsys, monkeypatch):
    for seed in range(3):
        folder = make_run(tmp_path, seed, 190)
        text = (folder / "metrics.csv").read_text()
        text = text.replace("validation,0.3,0.9,45", f"validation,0.3,0.9,{40 + seed}")
        (folder / "metrics.csv").write_text(text)
    make_run(tmp_path, 3, None, script="train_lstm", name="$x_$")
    folder = make_run(tmp_path, 4, None, units=7)
    text = (folder / "metrics.csv").read_text().replace("validation", "nothing")
    (folder / "metrics.csv").write_text(text)
    (make_run(tmp_path, 5, None) / "metrics.csv").unlink()
    panels = drawn(monkeypatch)
    path = tmp_path / "curves.png"
    lines, err = lines_of(tmp_path, capsys, "--plot", str(path))
    note = "the first 3 of 4 rows that have curves"
    assert err == f"curves: {path} ({note})\n" and len(lines) == 5
    assert path.read_bytes().startswith(b"\x89PNG")
    (axes,) = panels
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    labelled = {k: v for k, v in lines.items() if not k.startswith("_")}
    assert labelled == {
        "train_rnn, units 150\nseeds 0-2, validation": [[1, 41 / 50], [2, 47 / 50]],
        "train_lstm\n\\$x_\\$, validation": [[1, 0.9], [2, 0.94]],
        "train_rnn, units 7\n20260101-000000-seed4, train": [[1, 0.85], [2, 0.925]],
    }
    assert len(axes.lines) == 3 + 3  # and those of the group's runs
    assert axes.get_ylabel() == "train or validation accuracy (fraction)"
    assert axes.get_title() == note


def test_plot_labels_fourteen_rows_that_can_be_told_apart(
    tmp_path, capsys, monkeypatch
):
    for seed in range(16):
        make_run(tmp_path, seed, 190 - seed, units=10 + seed)
    panels = drawn(monkeypatch)
    path = tmp_path / "curves.svg"
    _, err = lines_of(tmp_path, capsys, "--plot", str(path))
    assert err == f"curves: {path} (the first 14 of 16 rows)\n"
    (axes,) = panels
    assert len(axes.lines) == 14
    for looks in (
        [(line.get_color(), line.get_linestyle()) for line in axes.lines],
        [line.get_marker() for line in axes.lines],
    ):
        assert len(set(looks)) == 14
    assert axes.lines[0].get_label() == "train_rnn, units 10\n20260101-000000-seed0"
    assert b"<svg" in path.read_bytes()


def test_plot_overwrites_nothing(tmp_path, capsys, monkeypatch):
    make_run(tmp_path, 1, 190)
    path = tmp_path / "curves.png"
    path.write_text("mine")
    monkeypatch.setattr(compare, "find_runs", None)  # before anything is read
    assert "is there already" in error_of(tmp_path, capsys, "--plot", str(path))
    assert path.read_text() == "mine"
    (tmp_path / "link.png").symlink_to("nowhere")
    line = error_of(tmp_path, capsys, "--plot", str(tmp_path / "link.png"))
    assert "is there already" in line


def test_plot_of_nothing_is_told_and_leaves_no_file(tmp_path, capsys):
    (make_run(tmp_path, 1, 190) / "metrics.csv").unlink()
    path = tmp_path / "curves.pdf"
    assert compare.main(["--log-dir", str(tmp_path), "--plot", str(path)]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err == f"error: --plot {path}: no run shown has accuracies in metrics.csv\n"
    assert not path.exists()
