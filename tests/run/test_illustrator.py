"""Figures, predictions and TensorBoard's pages hold what the network computes."""

import csv
import json

import numpy as np
import pytest
from conftest import NUM_SMALL_TEST, small_arguments
from scripts import main, run_folders, slow_after

from seqmnist import tf1 as tf
from seqmnist.data import mnist
from seqmnist.record import figures, summaries
from seqmnist.record.log import Result
from seqmnist.record.predictions import read_predictions
from seqmnist.run.engine import PlainEngine

STEPS = [2, 4, 6, 8, 10, 12]  # of the evaluations


@pytest.fixture
def argv(small):
    return [*small, "--summaries", "all", "--evaluate-every", "4"]


@pytest.fixture(scope="module")
def folder(small_data, tmp_path_factory):
    """The folder of a whole run, to be read."""
    tmp_path = tmp_path_factory.mktemp("whole")
    argv = [*small_arguments(small_data, tmp_path), "--summaries", "all"]
    argv += ["--evaluate-every", "2", "--schedule", "exponential"]
    argv += ["--forget-bias", "0.5", "--readout-bias", "0"]
    assert main("train_lstm", argv) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_lstm")
    return folder


def values(folder, split):
    """(step, value) of all that is in a folder's event files, in order."""
    for path in sorted((folder / split).glob("events.out.*")):
        for event in tf.train.summary_iterator(str(path)):
            for value in event.summary.value:
                yield event.step, value


def test_histograms_come_with_every_evaluation(folder):
    config = json.loads((folder / "config.json").read_text())
    found = {}
    for step, value in values(folder, "train"):
        if value.HasField("histo"):
            found.setdefault(value.tag, {})[step] = value.histo
    variables = {tag.split("/", 1)[1] for tag in found}
    assert set(found) == {
        f"{k}/{v}" for k in ("weights", "gradients") for v in variables
    }
    assert all(list(histograms) == [0, *STEPS] for histograms in found.values())
    sizes = [found[f"weights/{v}"][0].num for v in variables]
    assert sum(sizes) == config["parameters"]
    bias = found["weights/dense/bias"]
    assert (bias[0].min, bias[0].max, bias[0].num) == (0, 0, 10)
    assert bias[12].max > 0 > bias[12].min


def test_histograms_are_of_the_weights_and_gradients(folder):
    """The last ones, against the last checkpoint and its gradients."""
    reader = tf.train.NewCheckpointReader(str(folder / "checkpoints" / "model.ckpt-12"))
    kernel = reader.get_tensor("rnn/lstm_cell/kernel").astype(np.float64)
    last = {value.tag: value.histo for _, value in values(folder, "train")}
    histogram = last["weights/rnn/lstm_cell/kernel"]
    assert histogram.sum == pytest.approx(kernel.sum(), rel=1e-6)
    assert histogram.sum_squares == pytest.approx((kernel**2).sum(), rel=1e-6)
    squares = [h.sum_squares for tag, h in last.items() if tag.startswith("gradients/")]
    norms = [v for s, v in values(folder, "validation") if v.tag == "gradient_norm"]
    assert len(norms) == len(STEPS) and all(norm.simple_value > 0 for norm in norms)
    # Of other images, but of the same network: of the same size.
    assert 0.2 < np.sqrt(sum(squares)) / norms[-1].simple_value < 5


def test_training_scalars_are_those_of_the_step(folder):
    found = {}
    for step, value in values(folder, "train"):
        if value.HasField("simple_value"):
            found.setdefault(value.tag, {})[step] = value.simple_value
    tags = ("loss", "accuracy", "learning_rate", "gradient_norm", "examples_per_second")
    assert set(found) == set(tags)
    for step in range(1, 13):
        rate = 0.001 * 0.9 ** ((step - 1) / 10000)
        assert found["learning_rate"][step] == pytest.approx(rate, rel=1e-6)
        assert found["gradient_norm"][step] > 0
        assert found["examples_per_second"][step] > 0
    validation = {v.tag: v.simple_value for _, v in values(folder, "validation")}
    assert validation["learning_rate"] == pytest.approx(rate, rel=1e-6)


def test_pictures_come_at_the_first_evaluations_and_the_last(folder):
    """Evaluations 1, 2, 4, and the sixth, which is the last."""
    for split, steps in {"validation": [2, 4, 8, 12], ".": [12]}.items():
        for tag in ("confusion", "mistakes"):
            found = [(s, v.image) for s, v in values(folder, split) if v.tag == tag]
            assert [step for step, _ in found] == steps
            for _, image in found:
                png = image.encoded_image_string
                assert png.startswith(b"\x89PNG")
                size = [int.from_bytes(png[i : i + 4], "big") for i in (16, 20)]
                assert size == [image.width, image.height]


def test_what_the_network_reads_are_the_images_of_its_first_step(argv, monkeypatch):
    """Distorted as in training; with the inputs that the cell gets."""
    drawn, seen = [], []
    draw, update = figures.inputs, PlainEngine.update
    monkeypatch.setattr(figures, "inputs", lambda *a: drawn.append(a) or draw(*a))

    def noted(self, session, batches, *args):
        seen.append(batches[0].images)
        return update(self, session, batches, *args)

    monkeypatch.setattr(PlainEngine, "update", noted)
    argv += ["--max-shift", "2", "--max-bend", "3", "--input-scale", "symmetric"]
    assert main("train_rnn", argv) == 0
    ((images, inputs, view),) = drawn
    np.testing.assert_array_equal(images, seen[0][:4])
    np.testing.assert_allclose(inputs, images / 127.5 - 1, atol=1e-6)
    assert view == "rows"


def test_the_run_tells_its_configuration(folder):
    found = {value.tag: value for _, value in values(folder, ".")}
    (text,) = found["configuration"].tensor.string_val
    assert "| forget_bias | 0\\.5 |" in text.decode()
    assert found["inputs"].image.encoded_image_string.startswith(b"\x89PNG")
    plugin = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    start = plugin.HParamsPluginData.FromString(
        found["_hparams_/session_start_info"].metadata.plugin_data.content
    ).session_start_info.hparams
    assert start["forget_bias"].number_value == 0.5
    assert start["script"].string_value == "train_lstm"
    assert "epochs" not in start and start["steps"].number_value == 12
    end = plugin.HParamsPluginData.FromString(
        found["_hparams_/session_end_info"].metadata.plugin_data.content
    )
    assert end.session_end_info.status == 1  # success


@pytest.mark.parametrize(
    "name, view",
    slow_after(
        1,
        [
            ("train_rnn", "rows"),
            ("train_gru_pixel", "pixels"),
            ("train_lstm", "rows"),
        ],
        variant_after=2,
    ),
)
def test_predictions_and_reading_end_at_the_test_accuracy(
    name, view, argv, tmp_path, capsys
):
    assert main(name, [*argv, "--view", view]) == 0
    result = Result.parse(capsys.readouterr().out.splitlines()[-1])
    (folder,) = run_folders(tmp_path / "logs", name)
    labels, predictions = read_predictions(folder)
    expected = mnist.load_splits().test.labels[:NUM_SMALL_TEST]
    np.testing.assert_array_equal(labels, expected)
    correct = int(result.test_correct.split("/")[0])
    assert (labels == predictions).sum() == correct
    with open(folder / "reading.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["time_step"]) for row in rows] == [
        *range(1, (28 if view == "rows" else 784) + 1)
    ]
    assert int(rows[-1]["correct"]) == correct
    assert {row["count"] for row in rows} == {str(NUM_SMALL_TEST)}
    # Of a first row or pixel, which is empty, nothing can be told.
    most_frequent = max(np.bincount(expected))
    assert int(rows[0]["correct"]) <= most_frequent


def test_scalars_only_leaves_the_rest_out(small, tmp_path):
    assert main("train_rnn", [*small, "--summaries", "scalars"]) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    assert {path.suffix for path in folder.iterdir()} & {".png"} == {".png"}
    names = {path.name for path in folder.iterdir()}
    assert not names & {"reading.png", "reading.csv", "predictions.csv"}
    assert not names & {"confusion.png", "mistakes.png"}
    kinds = {
        value.WhichOneof("value")
        for split in (".", "train", "validation")
        for _, value in values(folder, split)
    }
    assert not kinds & {"histo", "image"}


@pytest.mark.parametrize("recurrence", ["plain", "auto"])
def test_trace_steps_writes_a_timeline(recurrence, small, tmp_path, capfd):
    argv = [*small, "--trace-steps", "5:7", "--recurrence", recurrence]
    assert main("train_rnn", argv) == 0
    assert not capfd.readouterr().err
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    timeline = json.loads((folder / "trace-5-7.json").read_text())["traceEvents"]
    ops = [event for event in timeline if event["ph"] == "X"]
    assert len(ops) > 3 and all(event["dur"] >= 0 for event in ops)
    if recurrence == "plain":  # one Session.run per step
        assert sum(event["args"]["name"] == "_SOURCE" for event in ops) == 3
        assert sum("MatMul" in event["name"] for event in ops) >= 3 * 28
    (path,) = (folder / "train").glob("events.out.*")
    tagged = [e.tagged_run_metadata for e in tf.train.summary_iterator(str(path))]
    assert [t.tag for t in tagged if t.tag] == ["step 7"]


def test_a_trace_changes_none_of_the_numbers(small, tmp_path):
    found = []
    for more in ([], ["--trace-steps", "2:3"]):
        assert main("train_lstm", [*small, *more]) == 0
    for folder in run_folders(tmp_path / "logs", "train_lstm"):
        rows = csv.DictReader((folder / "metrics.csv").read_text().splitlines())
        found.append([{**row, "seconds": ""} for row in rows])
    assert found[0] == found[1]


def test_values_are_no_markdown():
    written = "a|b _c_ *d* [e](f) `g` 0.5 <i>&lt;\n| ~~h~~"
    value = summaries.table("tag", {"data_dir": written}).value[0]
    (text,) = value.tensor.string_val
    expected = r"a\|b \_c\_ \*d\* \[e\]\(f\) \`g\` 0\.5 &lt;i&gt;&amp;lt;\\n\| ~~h~~"
    assert text.decode().splitlines()[-1] == f"| data_dir | {expected} |"
