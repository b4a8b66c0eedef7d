"""The loop: what it counts, keeps and repeats."""

import json
import re
from argparse import Namespace

import numpy as np
import pytest
from scripts import SLOW, classifier_of, main, run_code, slow_after

import train_gru_pixel
import train_lstm
import train_rnn
from seqmnist import tf1 as tf
from seqmnist.classifier import seeded_graph
from seqmnist.data import mnist
from seqmnist.data.batches import training_batches
from seqmnist.data.mnist import Split, Splits
from seqmnist.errors import UserError
from seqmnist.optimizer import averaged_weights
from seqmnist.record.log import read_metrics
from seqmnist.run import loop, training
from seqmnist.run.checkpoints import Checkpoints, Variables
from seqmnist.run.engine import PlainEngine, make_engine
from seqmnist.run.one_worker import OneWorker
from seqmnist.run.plan import fitted
from seqmnist.run.wording import is_at_chance
from seqmnist.sequences import permutation

SCRIPTS = {
    "train_rnn": train_rnn,
    "train_lstm": train_lstm,
    "train_gru_pixel": train_gru_pixel,
}


@pytest.fixture
def run(parse, small_data, tmp_path):
    """Trains a small network in-process; returns result, config and metrics."""

    def run_script(script, *argv):
        config = parse(
            script,
            [
                *("--data-dir", str(small_data), "--log-dir", str(tmp_path)),
                *("--validation-size", "20", "--units", "5", "--batch-size", "50"),
                *("--summaries", "scalars", "--recurrence", "plain"),
                *argv,
            ],
        )
        splits = mnist.load_splits(config.data_dir, config.validation_size)
        result = training.train_and_evaluate(
            config, splits, script.network, script.loss, script.optimizer
        )
        folder = tmp_path / config.script / result.run
        return result, config, read_metrics(folder)

    return run_script


@pytest.mark.parametrize("size", [50, 1, 130, 500])
@pytest.mark.parametrize("recurrence", ["plain", "auto"])
def test_evaluate_counts_the_last_short_batch(recurrence, size, parse, small_data):
    """130 images in batches of 50: loss and count as NumPy finds them on all 130."""
    argv = ["--units", "5", "--evaluation-batch-size", str(size)]
    config = parse(train_rnn, [*argv, "--recurrence", recurrence])
    test = mnist.load_splits(small_data, 20).test
    classifier = classifier_of(train_rnn, config)
    engine = make_engine(classifier)
    with tf.Session(graph=classifier.graph) as session:
        session.run(classifier.init_op)
        feed = {classifier.images: test.images}
        logits = session.run(classifier.evaluation.logits, feed).astype(np.float64)
        tally, found = loop.evaluate(session, engine, test, size)
    np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-5)
    log_sum = np.log(np.exp(logits).sum(1))
    losses = log_sum - logits[np.arange(130), test.labels]
    assert tally.count == 130
    assert tally.correct == (logits.argmax(1) == test.labels).sum()
    assert tally.accuracy == tally.correct / 130
    assert tally.loss == pytest.approx(losses.mean(), rel=1e-6)


@pytest.mark.parametrize(
    "name, recurrence",
    slow_after(1, [("train_rnn", "plain"), ("train_gru_pixel", "auto")]),
)
def test_the_seed_decides_every_loss_to_the_bit(name, recurrence, run):
    argv = ["--view", "rows", "--steps", "14", "--report-every", "1"]
    argv += ["--recurrence", recurrence]
    argv += ["--evaluate-every", "7", "--evaluate-splits", "validation"]

    def figures(seed):
        _, _, rows = run(SCRIPTS[name], *argv, "--seed", seed)
        return [(row["split"], row["loss"], row["correct"]) for row in rows]

    first = figures("1")
    assert len(first) == 17  # train at 14 steps, validation at 7 and 14, test at 14
    assert first == figures("1")
    other = figures("2")
    assert all(a[1] != b[1] for a, b in zip(first, other))


def test_training_learns(run):
    result, _, rows = run(
        *(train_lstm, "--preset", "lstm-128-prediction", "--units", "30"),
        *("--batch-size", "50", "--epochs", "20", "--report-every", "1epoch"),
        *("--predict", "none"),
    )
    train = [row for row in rows if row["split"] == "train"]
    assert train[0]["accuracy"] < 0.6 < 0.9 < train[-1]["accuracy"]
    assert result.test_accuracy > 0.6
    assert result.test_correct == f"{round(result.test_accuracy * 130)}/130"


def test_distortions_are_of_what_is_trained_on_alone(run):
    """A learning rate that changes nothing: so what is evaluated is as it was."""
    argv = ["--view", "rows", "--steps", "3", "--report-every", "1"]
    argv += ["--learning-rate", "1e-30"]
    plain = run(train_rnn, *argv)[2]
    limits = {"--max-shift": 3, "--max-slant": 0.5, "--max-stretch": 0.2}
    for option, value in {**limits, "--max-bend": 2}.items():
        distorted = run(train_rnn, *argv, option, str(value))[2]
        for row, other in zip(plain, distorted):
            assert (row["loss"] == other["loss"]) == (row["split"] != "train")


@pytest.mark.parametrize("recurrence", slow_after(1, ["plain", "auto"]))
def test_coarse_steps_read_images_of_half_the_size(recurrence, run):
    """A learning rate that changes nothing: so the other steps are as they were."""
    argv = ["--view", "pixels", "--steps", "4", "--report-every", "1", "--units", "3"]
    argv += ["--learning-rate", "1e-30", "--recurrence", recurrence]
    whole = run(train_gru_pixel, *argv)[2]
    _, config, rows = run(train_gru_pixel, *argv, "--coarse-part", "0.5")
    config = fitted(config, mnist.load_splits(config.data_dir, 20))
    assert [row["loss"] for row in rows[2:]] == [row["loss"] for row in whole[2:]]

    train = mnist.load_splits(config.data_dir, 20).train
    batches = training_batches(train, config.batch_size, config.seed, 2)
    for row, batch in zip(rows, batches):
        squares = batch.images.reshape(-1, 14, 2, 14, 2).astype(np.float32)
        images = np.rint(squares.mean((2, 4))).astype(np.uint8)
        with seeded_graph(config.seed) as graph, tf.Session(graph=graph) as session:
            coarse = Namespace(**vars(config), step_length=4)
            outputs = train_gru_pixel.network(tf.constant(images), coarse, None)
            labels = tf.constant(batch.labels.astype(np.int32))
            loss = train_gru_pixel.loss(labels, outputs, coarse)
            session.run(tf.global_variables_initializer())
            assert row["loss"] == pytest.approx(session.run(loss), rel=1e-5)


def test_images_of_an_odd_size_cannot_be_halved(parse):
    config = parse(train_gru_pixel, ["--coarse-part", "0.5"])
    images = np.zeros([1, 9, 20], np.uint8)
    split = Split(images, np.zeros([1], np.int32))
    splits = Splits(split, split, split, "", class_names=("0", "1"))
    with pytest.raises(UserError, match="images of 9 x 20 pixels cannot be halved"):
        fitted(config, splits)


def test_the_average_is_what_is_evaluated(run, tmp_path, parse):
    """During the training, in the end, and in all that is made of it."""
    argv = ["--view", "rows", "--steps", "8", "--evaluate-every", "4", "--summaries"]
    argv += ["all", "--evaluate-splits", "test", "--ema-decay", "0.6", "--predict", "0"]
    result, config, rows = run(train_rnn, *argv, "--learning-rate", "0.01")
    classifier = classifier_of(train_rnn, config)
    test = mnist.load_splits(config.data_dir, 20).test
    checkpoints = Checkpoints(tmp_path / "train_rnn" / result.run)
    with tf.Session(graph=classifier.graph) as session:
        losses = []
        Variables(classifier.graph, session).restore(checkpoints.newest()[0])
        feed = {classifier.images: test.images, classifier.labels: test.labels}
        losses.append(session.run(classifier.evaluation.loss, feed))
        with averaged_weights(classifier.average, session):
            losses.append(session.run(classifier.evaluation.loss, feed))
            logits = session.run(classifier.evaluation.logits, feed)
    assert abs(losses[0] - losses[1]) > 1e-3
    assert result.test_loss == pytest.approx(losses[1], rel=1e-5)
    assert rows[-1]["split"] == "test"
    assert float(rows[-1]["loss"]) == pytest.approx(losses[1], rel=1e-5)
    lines = (checkpoints.folder.parent / "predictions.csv").read_text().splitlines()
    assert [int(line.split(",")[2]) for line in lines[1:]] == logits.argmax(1).tolist()


@pytest.mark.parametrize(
    "schedule, more, expected",
    [
        ("cosine", [], 24),
        ("cosine", ["--decay-steps", "70"], 70),
        ("exponential", [], 10000),
        ("exponential", ["--decay-steps", "all"], 24),
    ],
)
def test_a_cosine_is_as_long_as_the_run(schedule, more, expected, run, tmp_path):
    argv = ["--view", "rows", "--epochs", "2", "--schedule", schedule]
    result, _, _ = run(train_rnn, *argv, *more)
    folder = tmp_path / "train_rnn" / result.run
    assert json.loads((folder / "config.json").read_text())["decay_steps"] == expected


def test_a_cosine_that_ends_before_the_run_is_refused(run, tmp_path):
    argv = ["--steps", "24", "--schedule", "cosine", "--decay-steps", "23"]
    with pytest.raises(UserError, match="run has 24 steps; give --decay-steps all, or"):
        run(train_rnn, *argv)
    assert not list(tmp_path.glob("train_rnn/*"))


def test_the_permutation_is_saved_with_the_run(run, tmp_path):
    argv = ["--view", "rows", "--steps", "1"]
    for more, expected in (([], None), (["--permute", "7"], permutation(7, 784))):
        result, _, _ = run(train_rnn, *argv, *more)
        file = tmp_path / "train_rnn" / result.run / "permutation.txt"
        assert file.exists() == bool(more)
        if more:
            np.testing.assert_array_equal(np.loadtxt(str(file), int), expected)


def test_rows_come_at_the_steps_that_were_asked_for(run):
    _, _, rows = run(
        train_rnn,
        *("--steps", "30", "--report-every", "10steps", "--evaluate-every", "2epochs"),
        *("--evaluate-splits", "test", "validation"),
    )
    found = [(row["step"], row["split"], row["count"]) for row in rows]
    assert found == [
        (1, "train", 50),
        (10, "train", 450),
        (20, "train", 500),
        (24, "train", 200),
        (24, "test", 130),
        (24, "validation", 20),
        (30, "train", 300),
        (30, "test", 130),
        (30, "validation", 20),
    ]
    assert [row["epoch"] for row in rows[:2]] == pytest.approx([1 / 12, 10 / 12], 1e-5)
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)


def test_never_leaves_only_the_final_evaluation(run):
    _, _, rows = run(
        train_rnn,
        *("--steps", "5", "--report-every", "never", "--evaluate-every", "never"),
    )
    assert [(row["step"], row["split"]) for row in rows] == [(5, "test")]


def test_without_a_validation_split_the_test_split_is_evaluated(run):
    result, _, rows = run(train_rnn, "--steps", "12", "--validation-size", "0")
    assert [(row["step"], row["split"]) for row in rows] == [
        (12, "train"),
        (12, "test"),
    ]
    assert result.test_correct.endswith("/130")


def test_the_seconds_leave_evaluations_out(run, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    evaluate, update = loop.evaluate, PlainEngine.update

    def slow_evaluate(*args):
        now[0] += 1000
        return evaluate(*args)

    def slow_update(*args):
        now[0] += 1
        return update(*args)

    monkeypatch.setattr(loop, "evaluate", slow_evaluate)
    monkeypatch.setattr(PlainEngine, "update", slow_update)
    result, _, rows = run(train_rnn, "--epochs", "2", "--recurrence", "plain")
    assert result.seconds == 24
    assert [row["seconds"] for row in rows] == [12, 12, 12, 24, 24, 24]


def test_no_steps_only_evaluate(run):
    argv = ["--steps", "0", "--batch-size", "601", "--summaries", "all"]
    result, _, rows = run(train_rnn, *argv)
    assert result.steps == 0
    assert [(row["step"], row["split"], row["count"]) for row in rows] == [
        (0, "test", 130)
    ]


def test_a_network_that_only_guesses_is_told_so(small, capsys):
    advice = "this is no better than a guess: train for longer, or with another --learn"
    assert main("train_rnn", [*small, "--learning-rate", "1e-9"]) == 0
    assert advice in capsys.readouterr().out
    argv = [*small, "--learning-rate", "0.01", "--steps", "100"]
    assert main("train_rnn", argv) == 0
    assert advice not in capsys.readouterr().out
    assert main("train_rnn", [*small, "--steps", "0"]) == 0
    assert advice not in capsys.readouterr().out


def test_chance_is_that_of_the_most_frequent_class():
    labels = np.repeat([0, 1, 2, 3], [40, 20, 20, 20])
    # 40 of 100, and 2.33 times 4.9 more.
    assert is_at_chance(51, labels) and not is_at_chance(52, labels)


@pytest.mark.parametrize("index, label", [("0", 7), ("7", 9)])
def test_the_last_line_is_the_result(index, label, run, capsys):
    result, _, _ = run(train_rnn, "--steps", "3", "--predict", index)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(result)
    assert f"test image {index}: actual label {label}" in lines
    logits = next(line for line in lines if line.startswith("  logits "))
    values = [float(word) for word in logits.split()[1:]]
    assert len(values) == 10
    assert f"  predicted label {np.argmax(values)}" in lines


def test_a_line_is_printed_per_report(run, capsys):
    run(train_rnn, "--epochs", "2", "--evaluate-splits", "validation", "test")
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith("epoch")]
    assert len(lines) == 2
    for epoch, line in enumerate(lines, 1):
        words = line.split()
        assert words[:4] == ["epoch", f"{epoch}.00", "step", str(12 * epoch)]
        counts = {"batch": 50, "train": 600, "validation": 20, "test": 130}
        for split, count in counts.items():
            found = re.search(
                rf"  {split}: loss \d\.\d{{4}} accuracy (\d\.\d{{4}})", line
            )
            correct = round(float(found.group(1)) * count)
            assert found.group(1) == f"{correct / count:.4f}"


def test_options_that_do_not_fit_the_data_leave_nothing_behind(run, tmp_path):
    with pytest.raises(UserError, match="--batch-size 601: .* 600 examples"):
        run(train_rnn, "--batch-size", "601")
    with pytest.raises(UserError, match="--predict 130: expected 0 to 129"):
        run(train_rnn, "--predict", "130")
    with pytest.raises(UserError, match="no such checkpoint"):
        run(train_rnn, "--init-checkpoint", str(tmp_path / "none"))
    assert not list(tmp_path.iterdir())


class NotingWorker(OneWorker):
    """A worker on its own that notes what several would have to do together."""

    def __init__(self, index):
        super().__init__()
        self.index, self.calls = index, []

    def share(self, count):
        return slice(0, count)

    def run(self, *args):
        self.calls.append("update")
        return super().run(*args)

    def broadcast(self, session):
        self.calls.append("broadcast")

    def gather_evaluation(self, session, tally, logits, count):
        self.calls.append(f"evaluation of {count}")
        return tally, logits

    def barrier(self):
        self.calls.append("barrier")


def test_all_workers_do_the_same_and_only_the_chief_writes(
    small, monkeypatch, capsys, tmp_path
):
    found = {}
    argv = ["--evaluate-every", "6", "--report-every", "4", "--checkpoint-every", "5"]
    for index in (1, 0):
        assert not list(tmp_path.iterdir())
        worker = NotingWorker(index)
        monkeypatch.setattr(training, "_find_workers", lambda *args, w=worker: w)
        assert main("train_rnn", [*small, *argv, "--ema-decay", "0.9"]) == 0
        found[index] = worker.calls
        if index:
            assert capsys.readouterr().out == (
                "worker 1 of 1: recurrence plain (as asked for), from step 0\n"
                "worker 1 of 1: done after step 12\n"
            )
    evaluations = ["broadcast", "evaluation of 20", "broadcast", "evaluation of 130"]
    assert found[0] == [
        "broadcast",  # of the initial weights
        *(["update"] * 6 + evaluations) * 2,
        *("broadcast", "evaluation of 130", "barrier"),
    ]
    assert found[1] == found[0]


@SLOW
def test_one_process_loads_nothing_that_is_for_several(small):
    code = (
        "import sys, train_rnn\n"
        f"train_rnn.main({[*small, '--steps', '1']!r})\n"
        "print([name for name in sys.modules if name.startswith('seqmnist.distr')])"
    )
    out, _ = run_code(code)
    assert out.splitlines()[-1] == "[]"


def test_the_graph_does_not_grow_with_the_sequence(parse):
    counts = []
    for view in ("rows", "pixels"):
        for script in SCRIPTS.values():
            classifier = classifier_of(script, parse(script, ["--view", view]))
            counts.append(len(classifier.graph.get_operations()))
    rows, pixels = counts[:3], counts[3:]
    assert rows == pixels
    assert max(counts) < 1000


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_network_has_the_documented_shapes(name, parse):
    script = SCRIPTS[name]
    config = parse(script, ["--view", "pixels", "--units", "7"])
    classifier = classifier_of(script, config)

    def shape(tensor):
        return tensor.shape.as_list()

    assert shape(classifier.images) == [None, 28, 28]
    for trace in (classifier.training, classifier.evaluation):
        assert shape(trace.inputs) == [None, 784, 1]
        assert shape(trace.logits) == [None, 10]
        assert shape(trace.logits_per_step) == [None, 784, 10]
    training, update = classifier.training, classifier.update
    scalars = [training.loss, training.correct_count]
    scalars += [update.learning_rate, update.gradient_norm]
    assert [shape(scalar) for scalar in scalars] == [[]] * 4


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_last_of_the_logits_per_step_are_the_logits(name, parse, splits):
    script = SCRIPTS[name]
    classifier = classifier_of(
        script, parse(script, ["--view", "rows", "--units", "7"])
    )
    with tf.Session(graph=classifier.graph) as session:
        session.run(classifier.init_op)
        last, every = session.run(
            [classifier.evaluation.logits, classifier.evaluation.logits_per_step],
            {classifier.images: splits.test.images[:4]},
        )
    np.testing.assert_allclose(every[:, -1], last, rtol=1e-5, atol=1e-6)
    assert np.abs(every[:, 0] - last).max() > 1e-3
