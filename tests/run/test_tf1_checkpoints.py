"""`--init-checkpoint`: weights that the notebooks' own code wrote."""

import json
import os

import numpy as np
import pytest
import reference
from scripts import classifier_of

from seqmnist import optimizer
from seqmnist import tf1 as tf
from seqmnist.errors import UserError
from seqmnist.run import tf1_checkpoints
from seqmnist.sequences import sequence_shape

NETWORKS = pytest.mark.parametrize("name", reference.NETWORKS)


def save(folder, values, step=None):
    """Writes a checkpoint of variables with the given names and values.

    Beside them it holds what Adam and a notebook's global_step would add.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        for name, value in values.items():
            tf.get_variable(name, initializer=value)
            for slot in ("Adam", "Adam_1"):
                tf.get_variable(f"{name}/{slot}", initializer=np.zeros_like(value))
        tf.get_variable("beta1_power", initializer=0.9)
        tf.get_variable("Variable_2", initializer=50, trainable=False)
        session.run(tf.global_variables_initializer())
        return tf.train.Saver().save(session, str(folder / "model.ckpt"), step)


def notebook_weights(name, key="final/"):
    """One network's weights under the notebook's names."""
    arrays = reference.load(name)
    return {
        theirs: arrays[key + theirs]
        for theirs in reference.NETWORKS[name].names.values()
    }


def logits_after_loading(parse, name, path, images):
    network = reference.NETWORKS[name]
    config = parse(network.script, ["--preset", network.preset])
    classifier = classifier_of(network.script, config)
    with classifier.graph.as_default(), tf.Session() as session:
        session.run(classifier.init_op)
        tf1_checkpoints.load_weights(str(path), classifier, config.cell_name, session)
        return session.run(classifier.evaluation.logits, {classifier.images: images})


@NETWORKS
def test_the_notebooks_names_are_found(name, tmp_path, parse, splits):
    path = save(tmp_path, notebook_weights(name), step=50)
    images = splits.test.images[: reference.NUM_TEST]
    logits = logits_after_loading(parse, name, path, images)
    expected = reference.load(name)["test_logits"]
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


@NETWORKS
def test_a_checkpoint_of_tf1s_own_cells_predicts_the_same(
    name, tmp_path, parse, splits
):
    """Genuine TF 1.15: the notebooks' cells and readouts, built by TensorFlow."""
    if not tf.VERSION.startswith("1."):
        pytest.skip("TensorFlow 2 has no tf.nn.rnn_cell; `make test-tf1` runs this")
    network = reference.NETWORKS[name]
    config = parse(network.script, ["--preset", network.preset])
    shape = sequence_shape(config.view, 28, 28)
    images = splits.test.images[:20]
    pixels = images.reshape(20, *shape) / np.float32(255)
    cells = tf.nn.rnn_cell
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.placeholder(tf.float32, [None, *shape])
        if name == "rnn_rows":
            cell = cells.BasicRNNCell(150)
            _, state = tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)
            logits = tf.layers.dense(state, 10)
        elif name == "gru_pixels":
            with tf.variable_scope("rnn"), tf.variable_scope("internal"):
                cell = cells.GRUCell(64)
                _, state = tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)
            with tf.variable_scope("rnn"), tf.variable_scope("output"):
                kernel = tf.get_variable("w", [64, 10])
                logits = tf.matmul(state, kernel) + tf.get_variable("b", [10])
        else:
            units, cell_class = {
                "lstm50_rows": (50, cells.LSTMCell),
                "lstm128_rows": (128, cells.BasicLSTMCell),
            }[name]
            kernel = tf.Variable(tf.random_uniform([units, 10]))
            bias = tf.Variable(tf.random_uniform([10]))
            steps = tf.unstack(inputs, 28, 1)
            outputs, _ = tf.nn.static_rnn(cell_class(units), steps, dtype=tf.float32)
            logits = tf.matmul(outputs[-1], kernel) + bias
        tf.train.AdamOptimizer().minimize(tf.reduce_sum(logits))
        session.run(tf.global_variables_initializer())
        expected = session.run(logits, {inputs: pixels})
        path = tf.train.Saver().save(session, str(tmp_path / "notebook"))
    found = logits_after_loading(parse, name, path, images)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def load_rnn(path, parse, *argv):
    """Loads a checkpoint into a small BasicRNN; returns its weights by name."""
    script = reference.NETWORKS["rnn_rows"].script
    config = parse(script, ["--units", "3", *argv])
    classifier = classifier_of(script, config)
    with classifier.graph.as_default(), tf.Session() as session:
        session.run(classifier.init_op)
        variables = tf.trainable_variables()
        tf1_checkpoints.load_weights(str(path), classifier, config.cell_name, session)
        return dict(zip([v.op.name for v in variables], session.run(variables)))


@pytest.fixture
def weights():
    """A small BasicRNN's weights under this suite's names."""
    generator = np.random.RandomState(0)
    shapes = {
        "rnn/basic_rnn_cell/kernel": [31, 3],
        "rnn/basic_rnn_cell/bias": [3],
        "dense/kernel": [3, 10],
        "dense/bias": [10],
    }
    return {n: generator.randn(*s).astype(np.float32) for n, s in shapes.items()}


def test_a_prefix_a_file_or_a_folder_names_the_checkpoint(tmp_path, parse, weights):
    path = save(tmp_path, weights, step=12)
    for name in (path, path + ".index", path + ".data-00000-of-00001", tmp_path):
        found = load_rnn(name, parse)
        for key, value in weights.items():
            np.testing.assert_array_equal(found[key], value)


def test_a_folder_may_have_been_moved(tmp_path, parse, weights):
    folder = tmp_path / "before"
    folder.mkdir()
    path = save(folder, weights)
    moved = tmp_path / "after"
    folder.rename(moved)
    windows = "C:\\\\Users\\\\me\\\\" + os.path.basename(path)
    for before in (path, windows):
        text = f'model_checkpoint_path: "{before}"'
        (moved / "checkpoint").write_text(text)
        found = load_rnn(moved, parse)
        np.testing.assert_array_equal(found["dense/bias"], weights["dense/bias"])


def test_a_cell_of_another_name_is_found(tmp_path, parse, weights):
    path = save(tmp_path, weights)
    for name in ("n", "basic_lstm_cell"):
        found = load_rnn(path, parse, "--cell-name", name)
        np.testing.assert_array_equal(
            found[f"rnn/{name}/bias"], weights["rnn/basic_rnn_cell/bias"]
        )


@pytest.mark.parametrize(
    "names",
    [
        # TF 0.12, 1.0, and readouts of other names.
        ("RNN/BasicRNNCell/Linear/Matrix", "RNN/BasicRNNCell/Linear/Bias", "W", "b"),
        (
            "rnn/basic_rnn_cell/weights",
            "rnn/basic_rnn_cell/biases",
            "weights",
            "biases",
        ),
        ("RNN/BasicLSTMCell/W_0", "RNN/BasicLSTMCell/B", "softmax/kernel", "softmax/b"),
        ("a/RNN/GRUCell/Linear/Matrix", "a/RNN/GRUCell/Linear/Bias", "out_w", "out_b"),
    ],
)
def test_the_names_of_older_tensorflows_are_known(names, tmp_path, parse, weights):
    order = ("rnn/basic_rnn_cell/kernel", "rnn/basic_rnn_cell/bias")
    order += ("dense/kernel", "dense/bias")
    saved = {name: weights[key] for name, key in zip(names, order)}
    found = load_rnn(save(tmp_path, saved), parse)
    for key in order:
        np.testing.assert_array_equal(found[key], weights[key])


@pytest.mark.parametrize(
    "old, new",
    [
        ("RNN/GRUCell/Gates/Linear/Matrix", "rnn/gru_cell/gates/kernel"),
        ("rnn/gru_cell/candidate/biases", "rnn/gru_cell/candidate/bias"),
        (
            "RNN/MultiRNNCell/Cell1/BasicLSTMCell/Linear/Bias",
            "rnn/multi_rnn_cell/cell_1/basic_lstm_cell/bias",
        ),
        (
            "rnn/multi_rnn_cell/cell_0/lstm_cell/weights",
            "rnn/multi_rnn_cell/cell_0/lstm_cell/kernel",
        ),
        ("fully_connected/weights", "fully_connected/weights"),
        ("rnn/lstm_cell/kernel", "rnn/lstm_cell/kernel"),
    ],
)
def test_old_names_have_one_new_name(old, new):
    assert tf1_checkpoints._modern(old) == new


def test_averages_are_taken_before_the_weights_they_are_of(tmp_path, parse, weights):
    averages = {n: value + 1 for n, value in weights.items()}
    saved = {n + optimizer.AVERAGE: value for n, value in averages.items()}
    found = load_rnn(save(tmp_path, {**weights, **saved}), parse)
    for key, value in averages.items():
        np.testing.assert_array_equal(found[key], value)


def test_averages_start_from_the_weights(tmp_path, parse, weights):
    script = reference.NETWORKS["rnn_rows"].script
    config = parse(script, ["--units", "3", "--ema-decay", "0.9"])
    classifier = classifier_of(script, config)
    path = save(tmp_path, weights)
    with tf.Session(graph=classifier.graph) as session:
        session.run(classifier.init_op)
        tf1_checkpoints.load_weights(str(path), classifier, config.cell_name, session)
        averages = session.run(classifier.average.variables)
    for found, expected in zip(averages, weights.values()):
        np.testing.assert_array_equal(found, expected)


def test_the_layers_of_a_stack_are_told_apart(tmp_path, parse, weights):
    """Under another scope than this suite's, as a notebook may have had it."""
    generator = np.random.RandomState(0)
    saved = {}
    for layer, size in enumerate([28, 3]):
        cell = f"model/rnn/multi_rnn_cell/cell_{layer}/basic_rnn_cell"
        saved[f"{cell}/kernel"] = generator.randn(size + 3, 3).astype(np.float32)
        saved[f"{cell}/bias"] = generator.randn(3).astype(np.float32)
    saved.update({n: value for n, value in weights.items() if "dense" in n})
    found = load_rnn(save(tmp_path, saved), parse, "--layers", "2")
    for key, value in found.items():
        expected = saved.get(key, saved.get(f"model/{key}"))
        np.testing.assert_array_equal(value, expected)


def test_a_bias_per_example_becomes_zeros(tmp_path, parse, weights):
    """Notebook 3's bias, which the softmax cannot see."""
    weights["dense/bias"] = np.full([10, 1], 0.7, np.float32)
    assert not load_rnn(save(tmp_path, weights), parse)["dense/bias"].any()


@pytest.fixture
def message(parse):
    """Loads what cannot be loaded; returns the one line that says why."""

    def load_and_fail(path):
        with pytest.raises(UserError) as error:
            load_rnn(path, parse)
        text = str(error.value)
        assert "\n" not in text
        assert text.startswith(f"--init-checkpoint {path}: ")
        return text

    return load_and_fail


def test_no_checkpoint_is_told(tmp_path, message):
    assert "no such checkpoint" in message(tmp_path / "nothing")
    assert "no readable file `checkpoint` in this folder" in message(tmp_path)
    (tmp_path / "checkpoint").write_bytes(bytes(range(128, 256)))
    assert "cannot be read" in message(tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "gone-12"')
    assert "gone-12, which does not exist" in message(tmp_path)


def test_another_shape_is_told(tmp_path, message, weights):
    weights["dense/kernel"] = np.zeros([4, 10], np.float32)
    found = message(save(tmp_path, weights))
    assert "dense/kernel has shape [4, 10], expected [3, 10]" in found


def test_a_missing_variable_is_told(tmp_path, message, weights):
    del weights["rnn/basic_rnn_cell/bias"]
    found = message(save(tmp_path, weights))
    assert "looking for rnn/basic_rnn_cell/bias, found nothing" in found
    assert "holds dense/bias, dense/kernel, rnn/basic_rnn_cell/kernel" in found
    assert "Adam" not in found


def test_a_cell_with_more_than_this_one_is_refused(tmp_path, message, weights):
    """Such as TF1's LSTMCell with peepholes, whose weights would be lost in silence."""
    weights["rnn/basic_rnn_cell/w_f_diag"] = np.ones(3, np.float32)
    found = message(save(tmp_path, weights))
    assert "also has rnn/basic_rnn_cell/w_f_diag, which this one lacks" in found


def test_what_is_not_read_is_named(tmp_path, parse, weights, capsys):
    weights["second/kernel"] = np.ones([3, 3], np.float32)
    load_rnn(save(tmp_path, weights), parse)
    assert capsys.readouterr().err == "--init-checkpoint: not read: second/kernel\n"


def test_a_run_with_other_options_is_named(tmp_path, parse, weights, capsys):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    path = save(folder, weights)
    load_rnn(path, parse)
    record = {"input_scale": "unit", "permute": None, "view": "rows"}
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    load_rnn(path, parse)
    assert capsys.readouterr().err == ""
    load_rnn(tmp_path / "run", parse, "--input-scale", "symmetric")
    assert capsys.readouterr().err == (
        "--init-checkpoint: other options: input_scale is unit there and symmetric "
        "here\n"
    )


def test_two_candidates_are_told(tmp_path, message, weights):
    twice = {}
    for name, value in weights.items():
        for outer in ("a/", "b/") if "cell" in name else ("",):
            twice[outer + name] = value
    found = message(save(tmp_path, twice))
    assert "found a/rnn/basic_rnn_cell/kernel and b/rnn/basic_rnn_cell/kernel" in found


@pytest.mark.parametrize("slot", ["RMSProp", "RMSProp_1", "Momentum", "Adagrad"])
@pytest.mark.parametrize("scope", ["", "train/"])
def test_the_slots_of_other_optimizers_are_no_weights(
    slot, scope, tmp_path, parse, weights, capsys
):
    order = ["out_w", "out_b"]
    saved = dict(zip([*list(weights)[:2], *order], weights.values()))
    slots = {f"{scope}{name}/{slot}": value + 1 for name, value in saved.items()}
    found = load_rnn(save(tmp_path, {**saved, **slots}), parse)
    for key, value in weights.items():
        np.testing.assert_array_equal(found[key], value)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "names",
    [
        ("Variable_1", "Variable"),  # the bias is made first
        ("Variable_1", "Variable_3"),  # after another, of another shape
    ],
)
def test_unnamed_variables_are_told_apart_by_their_shapes(
    names, tmp_path, parse, weights
):
    saved = dict(zip([*list(weights)[:2], *names], weights.values()))
    saved.setdefault("Variable", np.zeros([1, 2], np.float32))
    found = load_rnn(save(tmp_path, saved), parse)
    for key, value in weights.items():
        np.testing.assert_array_equal(found[key], value)


def test_the_shape_of_an_unnamed_readout_is_told(tmp_path, message, weights):
    names = [*list(weights)[:2], "Variable", "Variable_1"]
    saved = dict(zip(names, weights.values()))
    saved["Variable"] = np.zeros([3, 12], np.float32)
    assert "Variable has shape [3, 12], exp" in message(save(tmp_path, saved))


@pytest.mark.parametrize(
    "value, dtype",
    [
        (np.full([3, 10], b"x"), "string"),
        (np.zeros([3, 10], np.int32), "int32"),
        (np.zeros([3, 10], np.complex64), "complex64"),
        (np.zeros([3, 10], bool), "bool"),
    ],
)
def test_only_floating_point_numbers_are_weights(
    value, dtype, tmp_path, message, weights
):
    weights["dense/kernel"] = value
    found = message(save(tmp_path, weights))
    assert f"dense/kernel holds {dtype}; expected floating-point numbers" in found


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_another_precision_are_read(dtype, tmp_path, parse, weights):
    halves = {name: np.round(value * 8) / 8 for name, value in weights.items()}
    saved = {name: value.astype(dtype) for name, value in halves.items()}
    found = load_rnn(save(tmp_path, saved), parse)
    for key, value in halves.items():
        np.testing.assert_array_equal(found[key], value)


def test_nothing_is_read_before_all_shapes_fit(tmp_path, message, weights, monkeypatch):
    del weights["dense/bias"]
    path = save(tmp_path, weights)
    monkeypatch.setattr(tf1_checkpoints, "_read", None)
    assert "looking for dense/bias, found nothing" in message(path)


def test_an_lstm_without_forget_bias_needs_the_option(tmp_path, parse):
    script = reference.NETWORKS["lstm50_rows"].script
    generator = np.random.RandomState(0)
    cell = "cudnn_lstm/rnn/cudnn_compatible_lstm_cell"
    shapes = {f"{cell}/kernel": [31, 12], f"{cell}/bias": [12]}
    shapes.update({"dense/kernel": [3, 10], "dense/bias": [10]})
    saved = {n: generator.randn(*s).astype(np.float32) for n, s in shapes.items()}
    path = save(tmp_path, saved)

    def load(*argv):
        config = parse(script, ["--units", "3", *argv])
        classifier = classifier_of(script, config)
        with classifier.graph.as_default(), tf.Session() as session:
            tf1_checkpoints.load_weights(path, classifier, config.cell_name, session)
            (kernel,) = (
                v for v in tf.trainable_variables() if v.op.name == "dense/kernel"
            )
            return session.run(kernel)

    with pytest.raises(UserError, match="found --forget-bias 1; give --forget-bias 0"):
        load("--forget-bias", "1")
    np.testing.assert_array_equal(load("--forget-bias", "0"), saved["dense/kernel"])


def test_a_saved_model_is_read_and_a_graph_is_none(tmp_path, parse, message, weights):
    folder = tmp_path / "model" / "variables"
    folder.mkdir(parents=True)
    path = save(folder, weights)
    for file in folder.glob("model.ckpt*"):
        file.rename(folder / file.name.replace("model.ckpt", "variables"))
    (folder / "checkpoint").unlink()
    assert path.endswith("model.ckpt")
    tf1_checkpoints.check_path(str(folder.parent))
    found = load_rnn(folder.parent, parse)
    np.testing.assert_array_equal(found["dense/bias"], weights["dense/bias"])
    (tmp_path / "frozen.pb").write_bytes(b"\n")
    assert "a graph has no variables" in message(tmp_path / "frozen.pb")


def test_the_latest_of_a_prefix_is_named(tmp_path, message, weights):
    for step in (9, 10):
        path = save(tmp_path, weights, step)
    assert f"PREFIX.index, like {path}" in message(tmp_path / "model.ckpt")


def test_a_file_checkpoint_names_no_file_of_another_folder(tmp_path, message, weights):
    (tmp_path / "other").mkdir()
    path = save(tmp_path, weights)
    (tmp_path / "other" / "checkpoint").write_text(f'model_checkpoint_path: "{path}"')
    found = message(tmp_path / "other")
    assert "names model.ckpt, which does not exist in this folder" in found


@pytest.mark.parametrize(
    "text, finding",
    [
        ("#" * 70_000, "checkpoint has more than 65536 bytes"),
        ("\x1b[2J", "no readable file `checkpoint`"),
    ],
)
def test_a_file_checkpoint_that_is_too_long_or_no_text_is_not_parsed(
    text, finding, tmp_path, message, weights, capfd
):
    save(tmp_path, weights)
    with open(str(tmp_path / "checkpoint"), "a") as file:
        file.write(text)
    assert finding in message(tmp_path)
    assert "\x1b" not in capfd.readouterr().err


def test_names_and_options_are_printed_in_one_line(tmp_path, parse, weights, capsys):
    names = {"view": "a\x1b[2J\nb"}
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text(json.dumps(names))
    load_rnn(save(folder, weights), parse)
    assert r"view is a\x1b[2J\nb there" in capsys.readouterr().err
    saved = {name: tf1_checkpoints.Saved(name, (), tf.float32) for name in ("a\n", "b")}
    tf1_checkpoints._account_for(saved, ["b"], "n", "path")
    assert capsys.readouterr().err == "--init-checkpoint: not read: a\\n\n"


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_a_truncated_file_is_told(suffix, tmp_path, message, weights):
    path = save(tmp_path, weights)
    file = tmp_path / f"model.ckpt{suffix}"
    file.write_bytes(file.read_bytes()[:40])
    assert "cannot be read" in message(path)
