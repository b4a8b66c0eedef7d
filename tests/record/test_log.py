"""What a run writes down: complete, readable by others, cut where it goes on."""

import time

import pytest

from seqmnist import tf1 as tf
from seqmnist.errors import CannotWrite, UserError
from seqmnist.record.log import Result, RunLog, read_metrics
from seqmnist.record.tally import Tally

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


def tally(loss, correct, count):
    result = Tally()
    result.add(loss, correct, count)
    return result


def events(folder):
    """(step, tag, value) of all scalars in a folder's event files."""
    found = []
    for path in sorted(folder.glob("events.*")):
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
        str(RESULT).replace("steps=", "steps=-"),
    ],
)
def test_other_lines_are_no_result(line):
    with pytest.raises(ValueError):
        Result.parse(line)


def test_metrics_read_back_and_ignore_a_row_being_written(tmp_path):
    with RunLog(tmp_path, tf.Graph().as_graph_def()) as run:
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


def test_tensorboard_finds_scalars_and_graph(tmp_path):
    graph = tf.Graph()
    with graph.as_default():
        tf.constant(1, name="a_constant")
    with RunLog(tmp_path, graph.as_graph_def()) as run:
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


def test_a_tally_weighs_batches_by_their_size():
    total = tally(1.0, 3, 3)
    total.add(4.0, 0, 1)
    assert total.loss == pytest.approx((3 * 1.0 + 4.0) / 4)
    assert total.accuracy == 3 / 4
    assert str(total) == "loss 1.7500 accuracy 0.7500"


def filled(run):
    """Adds a row and two events to a log."""
    run.add_metrics("train", 10, 0.5, tally(0.25, 3, 4), 1.5)
    run.add_summary("train", 10, loss=0.25)
    run.add_summary("test", 10, loss=0.5)


def test_a_log_that_goes_on_is_cut_to_where_it_was(tmp_path):
    graph_def = tf.Graph().as_graph_def()
    with RunLog(tmp_path, graph_def) as run:
        filled(run)
        sizes = run.sizes()
        rows = read_metrics(tmp_path)
        filled(run)
        run.add_summary("validation", 11, loss=1.0)
    with RunLog(tmp_path, graph_def, sizes, step=10) as run:
        assert read_metrics(tmp_path) == rows
        assert events(tmp_path / "train") == [(10, "loss", 0.25)]
        assert events(tmp_path) == [(10, "loss", 0.5)]  # test's are the whole run's
        assert events(tmp_path / "validation") == []
        run.add_summary("train", 11, loss=2.0)
    assert events(tmp_path / "train") == [(10, "loss", 0.25), (11, "loss", 2.0)]
    starts = [
        event.step
        for path in (tmp_path / "train").iterdir()
        for event in tf.train.summary_iterator(str(path))
        if event.session_log.status == tf.SessionLog.START
    ]
    assert starts == [11]


def test_test_events_of_an_older_run_are_cut_in_their_own_folder(tmp_path):
    graph_def = tf.Graph().as_graph_def()
    with RunLog(tmp_path, graph_def) as run:
        filled(run)
        (path,) = tmp_path.glob("events.*")
        (tmp_path / "test").mkdir()
        run._files.pop(".").close()
        path.rename(tmp_path / "test" / path.name)
        sizes = run.sizes()
    with (tmp_path / "test" / path.name).open("ab") as file:
        file.write(b"what came after the checkpoint")
    with RunLog(tmp_path, graph_def, sizes, step=10) as run:
        assert events(tmp_path / "test") == [(10, "loss", 0.5)]
        run.add_summary("test", 11, loss=2.0)
    assert events(tmp_path / "test") == [(10, "loss", 0.5)]
    assert events(tmp_path) == [(11, "loss", 2.0)]


def test_a_log_that_starts_anew_may_hold_no_figures(tmp_path):
    graph_def = tf.Graph().as_graph_def()
    for _ in range(2):  # the second one finds a header and a graph
        with RunLog(tmp_path, graph_def) as run:
            run.sizes()
    assert read_metrics(tmp_path) == []
    paths = sorted((tmp_path / "train").iterdir())
    assert paths[0].stat().st_size == 0 < paths[1].stat().st_size
    with RunLog(tmp_path, graph_def) as run:
        for step in range(30):
            run.add_summary("train", step, loss=0.25)
    with pytest.raises(UserError, match="holds what was logged, but there is no chec"):
        RunLog(tmp_path, graph_def)
    assert len(events(tmp_path / "train")) == 30


def test_an_edited_row_is_named(tmp_path):
    with RunLog(tmp_path, tf.Graph().as_graph_def()) as run:
        filled(run)
        run.add_metrics("train", 11, 0.5, tally(0.25, 3, 4), 1.5)
    path = tmp_path / "metrics.csv"
    path.write_text(path.read_text().replace("11,0.5", "11,a"))
    with pytest.raises(UserError, match="metrics.csv: line 3 is not a row of metrics"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("name", ["metrics.csv", "train"])
def test_a_log_that_was_shortened_is_refused_and_left_as_it_is(name, tmp_path):
    with RunLog(tmp_path, tf.Graph().as_graph_def()) as run:
        filled(run)
        sizes = run.sizes()
    path = tmp_path / name
    if path.is_dir():
        (path,) = path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    others = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    message = f"{path.name} has {path.stat().st_size} bytes, of "
    with pytest.raises(UserError, match=message):
        RunLog(tmp_path, tf.Graph().as_graph_def(), sizes)
    assert others == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["metrics.csv", "train/events.*", "events.*"])
def test_a_log_that_vanishes_is_noticed(name, tmp_path):
    with RunLog(tmp_path, tf.Graph().as_graph_def()) as run:
        filled(run)
        run.sizes()
        (path,) = tmp_path.glob(name)
        path.unlink()
        with pytest.raises(CannotWrite, match="No such file or directory|lost"):
            run.sizes()


def test_events_are_read_in_their_order_though_the_clock_was_set_back(
    tmp_path, monkeypatch
):
    """TensorBoard reads a folder's files in the order of their names."""
    with RunLog(tmp_path, tf.GraphDef()) as log:
        log.add_summary("train", 1, loss=1.0)
        sizes = log.sizes()
    monkeypatch.setattr(time, "time", lambda: 1e9)
    for step in (2, 3):
        with RunLog(tmp_path, tf.GraphDef(), sizes, step) as log:
            log.add_summary("train", step, loss=1.0)
            sizes = log.sizes()
    assert [step for step, _, _ in events(tmp_path / "train")] == [1, 2, 3]


def test_a_watching_tensorboard_sees_events_between_checkpoints(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with RunLog(tmp_path, tf.GraphDef()) as log:
        log.sizes()
        log.add_summary("train", 1, loss=1.0)
        assert events(tmp_path / "train") == []
        now[0] = 11.0
        log.add_summary("train", 2, loss=1.0)
        assert [step for step, _, _ in events(tmp_path / "train")] == [1, 2]
