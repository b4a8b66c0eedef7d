"""The run folder: new every time, complete, and readable by others."""

import json
import time
from argparse import Namespace

import pytest

from seqmnist import run_log
from seqmnist import tf1 as tf
from seqmnist.errors import UserError
from seqmnist.run_log import Result, RunLog, read_metrics
from seqmnist.tally import Tally

RESULT = Result(
    script="train_rnn",
    preset="quick",
    view="rows",
    cell="basic_rnn_cell",
    units=150,
    parameters=28360,
    seed=3,
    steps=732,
    test_accuracy=0.9496,
    test_correct="9496/10000",
    test_loss=0.1687,
    seconds=6.4,
    run="20260102-030405-seed3",
)


@pytest.fixture
def config(tmp_path):
    return Namespace(script="train_rnn", seed=3, log_dir=str(tmp_path), units=150)


def tally(loss, correct, count):
    result = Tally()
    result.add(loss, correct, count)
    return result


def events(folder):
    """(step, tag, value) of all scalars in a folder's event files."""
    found = []
    for path in sorted(folder.iterdir()):
        for event in tf.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.append((event.step, value.tag, round(value.simple_value, 6)))
    return found


def test_the_result_line_reads_back():
    line = str(RESULT)
    assert line.startswith("result script=train_rnn preset=quick view=rows ")
    assert "test_accuracy=0.9496 test_correct=9496/10000" in line
    assert Result.parse(line) == RESULT
    assert Result.parse(line + "\n") == RESULT


@pytest.mark.parametrize(
    "line",
    [
        "",
        "result",
        str(RESULT)[:-30],
        str(RESULT) + " more=1",
        str(RESULT).replace("units=150", "units=many"),
        str(RESULT).replace("units=", "unit="),
    ],
)
def test_other_lines_are_no_result(line):
    with pytest.raises(ValueError):
        Result.parse(line)


def test_runs_of_the_same_second_get_folders_of_their_own(
    config, tmp_path, monkeypatch
):
    monkeypatch.setattr(time, "strftime", lambda *args: "20260102-030405")
    names = []
    for _ in range(3):
        with RunLog(config, {}, tf.Graph().as_graph_def()) as run:
            names.append(run.folder.name)
    first = "20260102-030405-seed3"
    assert names == [first, first + "-2", first + "-3"]
    assert sorted(p.name for p in (tmp_path / "train_rnn").iterdir()) == sorted(names)


def test_the_configuration_says_what_was_run(config):
    with RunLog(config, {"parameters": 28360}, tf.Graph().as_graph_def()) as run:
        saved = json.loads((run.folder / "config.json").read_text())
    assert saved["script"] == "train_rnn"
    assert (saved["units"], saved["seed"], saved["parameters"]) == (150, 3, 28360)
    assert saved["environment"]["tensorflow"] == tf.VERSION
    assert set(saved["environment"]) == {
        *("tensorflow", "numpy", "python", "platform", "cpus", "started")
    }


def test_metrics_read_back_and_ignore_a_row_being_written(config):
    with RunLog(config, {}, tf.Graph().as_graph_def()) as run:
        run.add_metrics("train", 10, 0.5, tally(0.25, 3, 4), 1.5)
        run.add_metrics("test", 20, 1, tally(0.5, 1, 3), 2.25)
        with open(run.folder / "metrics.csv", "a") as file:
            file.write("30,1.5,tr")
        rows = read_metrics(run.folder)
    assert rows == [
        {
            "step": 10,
            "epoch": 0.5,
            "split": "train",
            "loss": 0.25,
            "accuracy": 0.75,
            "correct": 3,
            "count": 4,
            "seconds": 1.5,
        },
        {
            "step": 20,
            "epoch": 1,
            "split": "test",
            "loss": 0.5,
            "accuracy": 0.333333,
            "correct": 1,
            "count": 3,
            "seconds": 2.25,
        },
    ]


def test_tensorboard_finds_scalars_and_graph(config):
    graph = tf.Graph()
    with graph.as_default():
        tf.constant(1, name="a_constant")
    with RunLog(config, {}, graph.as_graph_def()) as run:
        run.add_summary("train", 1, loss=2.25, accuracy=0.125)
        run.add_summary("train", 2, loss=2.0, accuracy=0.25)
        run.add_summary("validation", 2, loss=1.5)
    assert events(run.folder / "train") == [
        (1, "loss", 2.25),
        (1, "accuracy", 0.125),
        (2, "loss", 2.0),
        (2, "accuracy", 0.25),
    ]
    assert events(run.folder / "validation") == [(2, "loss", 1.5)]
    (path,) = (run.folder / "train").iterdir()
    graphs = [e.graph_def for e in tf.train.summary_iterator(str(path))]
    assert b"a_constant" in b"".join(graphs)


def test_a_folder_that_cannot_be_made_is_told(config, tmp_path):
    (tmp_path / "train_rnn").write_text("a file in the way")
    with pytest.raises(UserError, match="--log-dir: cannot make a run folder in"):
        RunLog(config, {}, tf.Graph().as_graph_def())


def test_text_files_appear_in_one_piece(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    run_log.write_text(path, "old")
    run_log.write_text(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]

    def power_cut(*args):
        raise OSError("power cut")

    monkeypatch.setattr(run_log.os, "replace", power_cut)
    with pytest.raises(OSError, match="power cut"):
        run_log.write_text(path, "newer")
    assert path.read_text() == "new"


def test_a_tally_weighs_batches_by_their_size():
    total = tally(1.0, 3, 3)
    total.add(4.0, 0, 1)
    assert total.loss == pytest.approx((3 * 1.0 + 4.0) / 4)
    assert total.accuracy == 3 / 4
    assert str(total) == "0.7500 (3/4)"
