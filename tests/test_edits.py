"""What a script says is what trains: edits of a script act on both paths alike.

Each edit changes lines of train_lstm.py, as somebody with an editor would. Then both
paths train, evaluate and export the edited network.
"""

import sys
import types

import numpy as np
import pytest
from scripts import SLOW, classifier_of, exported_probabilities, slow_after

import predict
import train_lstm
from seqmnist import tf1 as tf
from seqmnist.data import mnist
from seqmnist.data.batches import evaluation_batches, training_batches
from seqmnist.errors import UserError
from seqmnist.predicting.export import export
from seqmnist.record.reading import softmax
from seqmnist.run.engine import make_engine

OPTIONS = [
    *("--view", "rows", "--units", "6", "--batch-size", "12", "--seed", "3"),
    *("--learning-rate", "0.01", "--evaluation-batch-size", "50"),
]
NUM_STEPS = 30

RECURRENCE = "outputs, final_state = dynamic_rnn(cell, inputs, dtype=tf.float32)"
LOGITS = "readout(state)"
LOSS = "return mean_cross_entropy(labels, outputs.logits, config.label_smoothing)"
ADAM = "return tf.train.AdamOptimizer(learning_rate)"

TWO_DIRECTIONS = f"""
        {RECURRENCE}
        with tf.variable_scope("back"):
            back, _ = dynamic_rnn(
                LSTMCell(config.units), tf.reverse(inputs, [1]), dtype=tf.float32
            )
        outputs = tf.concat([outputs, tf.reverse(back, [1])], 2)
"""
MINIMAL_GATED_UNIT = """
class MinimalGatedUnit(RecurrentCell):
    def call(self, inputs, state):
        size = inputs.shape.as_list()[1] + self.num_units
        of_gate, of_candidate = (
            tf.get_variable(name, [size, self.num_units])
            for name in ("gate", "candidate")
        )
        f = tf.sigmoid(tf.matmul(tf.concat([inputs, state], 1), of_gate))
        read = tf.concat([inputs, f * state], 1)
        candidate = tf.tanh(tf.matmul(read, of_candidate))
        output = (1 - f) * state + f * candidate
        return output, output
"""

# name -> lines of train_lstm.py and what takes their place
EDITS = {
    "mean of the outputs over time": [(LOGITS, "readout(tf.reduce_mean(outputs, 1))")],
    "three time steps": [
        (LOGITS, "readout(tf.concat([outputs[:, t] for t in (9, 18, 27)], 1))"),
        ("readout(outputs)", "tf.stack([logits] * 28, 1)"),
    ],
    "a loss at every time step": [
        (
            LOSS,
            "flat = tf.reshape(outputs.logits_per_step, [-1, 10]); "
            "return mean_cross_entropy(labels, outputs.logits) + 0.3 * "
            "mean_cross_entropy(tf.repeat(labels, 28), flat)",
        ),
    ],
    "a projection of the inputs": [
        (
            RECURRENCE,
            'projection = tf.get_variable("projection", [28, 9]); '
            "outputs, final_state = dynamic_rnn("
            "cell, tf.tanh(tf.tensordot(inputs, projection, 1)), dtype=tf.float32)",
        )
    ],
    "two directions": [
        (RECURRENCE, TWO_DIRECTIONS.strip()),
        (LOGITS, "readout(tf.concat([outputs[:, -1, :6], outputs[:, 0, 6:]], 1))"),
    ],
    "two layers with something between": [
        (
            RECURRENCE,
            RECURRENCE
            + "\n        between = tf.nn.relu(outputs) - 0.1"
            + "\n        outputs, final_state = dynamic_rnn("
            + "LSTMCell(4), between, dtype=tf.float32, scope='upper')",
        )
    ],
    "L2 of one kernel": [
        (
            LOSS,
            "kernel, = [v for v in tf.trainable_variables() "
            'if v.op.name == "dense/kernel"]; '
            "return mean_cross_entropy(labels, outputs.logits) + "
            "0.5 * tf.nn.l2_loss(kernel)",
        )
    ],
    "a frozen kernel": [
        (
            RECURRENCE,
            'with tf.variable_scope("", custom_getter=lambda getter, name, *args, '
            '**kwargs: getter(name, *args, **dict(kwargs, trainable="kernel" not in '
            f"name))):\n            {RECURRENCE}",
        )
    ],
    "a cell of one's own": [
        ("def network(", MINIMAL_GATED_UNIT + "\n\ndef network("),
        (
            "cell = stack(cells)",
            'cell = MinimalGatedUnit(config.units, "minimal_gated_unit")',
        ),
    ],
    "label smoothing": [
        (
            LOSS,
            "return tf.losses.softmax_cross_entropy("
            "tf.one_hot(labels, 10), outputs.logits, label_smoothing=0.1)",
        ),
    ],
    "dropout": [(LOGITS, "readout(dropout(state, 0.5, noise))")],
    "another optimizer": [
        (ADAM, "return tf.train.MomentumOptimizer(learning_rate, 0.9)")
    ],
}


def edited(edits):
    """train_lstm.py as a module, with some lines changed."""
    with open(train_lstm.__file__) as file:
        source = file.read()
    source = source.replace("import LSTMCell,", "import LSTMCell, RecurrentCell,")
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    module = types.ModuleType("train_lstm")
    exec(compile(source, "train_lstm.py", "exec"), module.__dict__)
    return module


class Run:
    """A script's network in a session, trained along one path."""

    def __init__(self, script, recurrence, parse, small_data, *more):
        config = parse(script, [*OPTIONS, *more, "--recurrence", recurrence])
        self.classifier = classifier_of(script, config)
        engine = make_engine(self.classifier)
        self.session = tf.Session(
            graph=self.classifier.graph, config=engine.session_config
        )
        self.session.run(self.classifier.init_op)
        self.engine = engine.initialize(self.session)
        self.splits = mnist.load_splits(small_data, 20)

    def weights(self):
        variables = self.classifier.graph.get_collection(
            tf.GraphKeys.TRAINABLE_VARIABLES
        )
        values = self.session.run(variables)
        return {v.op.name: value for v, value in zip(variables, values)}

    def train(self, num_steps):
        """The losses of some updates."""
        size = self.classifier.config.batch_size
        batches = list(training_batches(self.splits.train, size, 0, num_steps))
        losses = []
        while batches:
            count = self.engine.max_updates
            updates = self.engine.update(self.session, batches[:count])
            losses += [update.loss for update in updates]
            batches = batches[count:]
        return losses

    def evaluate(self):
        """Loss, count and logits of each batch of the test split; the last is short."""
        batches = evaluation_batches(self.splits.test, 50)
        return [self.engine.evaluate(self.session, batch) for batch in batches]

    def predict(self):
        """The logits that predict.py finds for the test split."""
        images = self.splits.test.images
        return predict.run_network(self.classifier, self.session, images, 50, False)


SGD = [(ADAM, "return tf.train.GradientDescentOptimizer(1.0)")]


@pytest.mark.parametrize("edit", slow_after(2, EDITS, variant_after=4))
def test_an_edit_trains_as_written_on_both_paths(
    edit, parse, small_data, tmp_path, monkeypatch
):
    script = edited(EDITS[edit])
    monkeypatch.setitem(sys.modules, "train_lstm", script)
    runs = [Run(script, path, parse, small_data) for path in ("auto", "plain")]
    losses = [run.train(NUM_STEPS) for run in runs]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    for found, expected in zip(*(run.evaluate() for run in runs)):
        assert found[0] == pytest.approx(expected[0], rel=1e-3)
        np.testing.assert_allclose(found[2], expected[2], rtol=1e-2, atol=1e-3)
    fast = runs[0]
    logits = np.concatenate([logits for _, _, logits in fast.evaluate()])
    np.testing.assert_allclose(fast.predict(), logits, rtol=1e-4, atol=1e-5)
    export(fast.classifier, fast.session, str(tmp_path / "model"))
    images = fast.splits.test.images
    probabilities = exported_probabilities(tmp_path / "model", images)
    np.testing.assert_allclose(probabilities, softmax(logits), atol=1e-5)


@pytest.mark.parametrize(
    "edit",
    slow_after(
        2,
        [
            *("mean of the outputs over time", "three time steps", "two directions"),
            *("a frozen kernel", "a cell of one's own"),
        ],
        variant_after=3,
    ),
)
def test_the_gradients_of_an_edit_are_those_of_the_plain_path(edit, parse, small_data):
    """One update of gradient descent, of learning rate 1, in two parts or in one."""
    if tf.VERSION.startswith("1."):
        pytest.skip("there is one path only")
    script = edited([*EDITS[edit], *SGD])
    changes = []
    for path in ("auto", "plain"):
        run = Run(script, path, parse, small_data, "--learning-rate", "1")
        before = run.weights()
        run.train(1)
        after = run.weights()
        changes.append({name: after[name] - before[name] for name in before})
    assert changes[0].keys() == changes[1].keys()
    for name, expected in changes[1].items():
        difference = np.abs(changes[0][name] - expected).max()
        # The change of a weight near 1 is rounded by 6e-8.
        assert difference <= 1e-5 * np.abs(expected).max() + 1.2e-7, name


@SLOW
def test_dropout_acts_in_training_and_not_in_evaluation(parse, small_data):
    runs = [
        Run(script, "auto", parse, small_data)
        for script in (train_lstm, edited(EDITS["dropout"]))
    ]
    evaluations = [run.evaluate() for run in runs]
    for found, expected in zip(*evaluations):
        np.testing.assert_array_equal(found[2], expected[2])
    plain, dropped = (run.train(5) for run in runs)
    assert (np.abs(np.subtract(plain, dropped)) > 1e-3).all()


@SLOW
@pytest.mark.skipif(tf.VERSION.startswith("1."), reason="compiles no functions")
def test_the_paths_say_which_they_are(parse, small_data):
    for edits, expected in (
        ([], "fast (12 images, 20 updates per call)"),
        (
            EDITS["a cell of one's own"],
            "compiled (MinimalGatedUnit has no fast path; 12 images, 20 updates per "
            "call)",
        ),
        (
            [
                (
                    LOGITS,
                    f"{LOGITS} + 0 * tf.strings.to_number("
                    "tf.as_string(tf.reduce_max(inputs)))",
                )
            ],
            "plain (XLA cannot compile AsString)",
        ),
    ):
        run = Run(edited(edits), "auto", parse, small_data)
        assert run.engine.description == expected
        assert len(run.train(2)) == 2


@SLOW
@pytest.mark.skipif(tf.VERSION.startswith("1."), reason="compiles no functions")
def test_what_cannot_be_compiled_in_evaluation_alone_is_evaluated_plainly(
    parse, small_data, capfd
):
    as_text = "tf.strings.to_number(tf.as_string(tf.reduce_max(inputs)))"
    edit = (LOGITS, f"{LOGITS} + (0. if noise else {as_text})")
    run = Run(edited([edit]), "auto", parse, small_data)
    assert run.engine.description.startswith("fast")
    evaluations = [run.evaluate() for _ in range(2)]
    said = capfd.readouterr().err
    assert said == "evaluation runs plain: XLA cannot compile AsString\n"
    expected = Run(edited([edit]), "plain", parse, small_data).evaluate()
    for evaluation in evaluations:
        for batch, other in zip(evaluation, expected):
            # TensorFlow's own optimizer rounds some sums otherwise.
            np.testing.assert_allclose(batch[2], other[2], rtol=1e-6)


def test_a_network_of_which_nothing_can_be_trained_is_refused(parse):
    script = edited([(LOSS, "return tf.constant(1.0)")])
    with pytest.raises(UserError, match="the loss depends on no trainable variable"):
        classifier_of(script, parse(script, OPTIONS))


@pytest.mark.parametrize(
    "edit, finding",
    [
        (
            ("return Outputs(inputs, logits, logits_per_step)", "return logits"),
            r"network.. returns \w*Tensor; expected Outputs.inputs, logits, ",
        ),
        (
            ("Readout(config.num_classes,", "Readout(9,"),
            r"logits have shape \(.*9\); expected \[batch_size, 10\], as the da",
        ),
        (
            (LOSS, f"{LOSS} + tf.zeros_like(labels, tf.float32)"),
            r"loss has shape .*; expected \[\], a mean over the batch: tf.reduce_mean",
        ),
        ((ADAM, "return object()"), "returns object; expected a tf.train.Optimizer,"),
    ],
)
def test_what_the_scripts_functions_return_is_checked(edit, finding, parse):
    script = edited([edit])
    with pytest.raises(UserError, match=finding):
        classifier_of(script, parse(script, OPTIONS))


def test_variables_that_traces_do_not_share_are_refused(parse):
    script = edited([(LOGITS, f"{LOGITS} + tf.Variable(tf.zeros([10]))")])
    with pytest.raises(UserError, match="made the variables evaluation/readout/Var"):
        classifier_of(script, parse(script, OPTIONS))


# What is replaced in the script -> how.
REPLACED = {
    "view": [("as_sequences(images,", "as_sequences(255 - images,")],
    "readout": [(LOGITS, "readout(tf.reduce_mean(outputs, 1))")],
    "loss": [(LOSS, f"{LOSS} + tf.reduce_mean(tf.square(outputs.logits))")],
}


@pytest.mark.parametrize("part", slow_after(1, REPLACED, variant_after=1))
def test_what_is_replaced_in_a_script_is_replaced_everywhere(
    part, small, tmp_path, monkeypatch, capsys
):
    """Training, validation, test, predictions, reading, predict.py and export."""
    path = "auto" if part in ("readout", "loss") else "plain"
    found = []
    for name, edits in (("as it is", []), ("edited", REPLACED[part])):
        script = edited(edits)
        monkeypatch.setitem(sys.modules, "train_lstm", script)
        argv = [*small, "--log-dir", str(tmp_path / name), "--learning-rate", "0.01"]
        assert script.main([*argv, "--summaries", "all", "--recurrence", path]) == 0
        (folder,) = (tmp_path / name / "train_lstm").iterdir()
        lines = (folder / "metrics.csv").read_text().splitlines()
        rows = [line.split(",") for line in lines]
        capsys.readouterr()
        model = str(tmp_path / name / "model")
        assert predict.main([str(folder), "--test-index", "5", "--export", model]) == 0
        predicted = capsys.readouterr().out.split("prob.")[1]
        found.append(
            {
                **{row[2]: row[3] for row in rows[1:]},  # the last loss of each split
                "predictions": (folder / "predictions.csv").read_text(),
                "reading": (folder / "reading.csv").read_text(),
                "predict.py": predicted,
                "export": exported(model).tolist(),
            }
        )
    assert {"train", "validation", "test"} < found[0].keys()
    for where, value in found[0].items():
        assert value != found[1][where], where


def exported(folder):
    """Probabilities of an exported model, of some images that are no digits."""
    images = np.arange(3 * 28 * 28).reshape(3, 28, 28).astype(np.uint8)
    return exported_probabilities(folder, images)
