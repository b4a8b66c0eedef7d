"""compare.py: a table of what is there, whatever is there."""

import json

import pytest

import compare
from seqmnist.run_log import Result


def make_run(log_dir, seed, accuracy, script="train_rnn"):
    """Writes a run folder; without a result if `accuracy` is None."""
    folder = log_dir / script / f"20260101-000000-seed{seed}"
    folder.mkdir(parents=True)
    config = {
        "script": script,
        "preset": "quick",
        "view": "rows",
        "cell_name": "basic_rnn_cell",
        "units": 150,
        "parameters": 28360,
        "seed": seed,
    }
    (folder / "config.json").write_text(json.dumps(config))
    if accuracy is not None:
        result = Result(
            script=script,
            preset="quick",
            view="rows",
            cell="basic_rnn_cell",
            units=150,
            parameters=28360,
            seed=seed,
            steps=732,
            test_accuracy=accuracy,
            test_correct=f"{round(accuracy * 10000)}/10000",
            test_loss=0.2,
            seconds=3.25,
            run=folder.name,
        )
        (folder / "result.txt").write_text(f"{result}\n")
    return folder


def table(log_dir, capsys):
    assert compare.main(["--log-dir", str(log_dir)]) == 0
    out, err = capsys.readouterr()
    return out.splitlines(), err


def test_the_best_run_comes_first_and_the_unfinished_last(tmp_path, capsys):
    make_run(tmp_path, 1, 0.9401)
    make_run(tmp_path, 2, None)
    make_run(tmp_path, 3, 0.9812, script="train_lstm")
    lines, err = table(tmp_path, capsys)
    assert not err
    assert lines[0].split("  ")[0] == "test accuracy"
    assert lines[1].split() == [
        *("0.9812", "9812/10000", "train_lstm", "quick", "rows", "basic_rnn_cell"),
        *("150", "28360", "732", "3.2", "3", "20260101-000000-seed3"),
    ]
    assert lines[2].startswith("0.9401")
    assert lines[3].startswith("no result yet  -")
    assert lines[3].split()[-1] == "20260101-000000-seed2"


def test_columns_are_aligned(tmp_path, capsys):
    make_run(tmp_path, 1, 0.9401)
    make_run(tmp_path, 2, None, script="train_gru_pixel")
    lines, _ = table(tmp_path, capsys)
    for heading in ("correct", "script", "preset", "run"):
        column = lines[0].index("  " + heading) + 2
        assert all(line[column - 1] == " " != line[column] for line in lines)


@pytest.mark.parametrize(
    "name, text",
    [
        ("config.json", "{"),
        ("config.json", "[]"),
        ("config.json", '{"name": "not ours"}'),
        ("result.txt", "result of something else"),
        ("result.txt", ""),
    ],
)
def test_foreign_and_broken_folders_are_named_not_fatal(name, text, tmp_path, capsys):
    make_run(tmp_path, 1, 0.9)
    other = make_run(tmp_path, 2, None)
    (other / name).write_text(text)
    lines, err = table(tmp_path, capsys)
    assert len(lines) == 2
    assert err.startswith(f"{other}: not read (") and err.count("\n") == 1


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_nothing_to_compare_is_one_line_and_status_2(name, tmp_path, capsys):
    assert compare.main(["--log-dir", str(tmp_path / name)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("error: ") and err.count("\n") == 1
