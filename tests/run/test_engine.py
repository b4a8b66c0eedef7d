"""Plain and fast steps: the same updates, the same counts."""

import numpy as np
import pytest
from scripts import classifier_of, slow_after

import train_gru_pixel
import train_lstm
import train_rnn
from seqmnist import tf1 as tf
from seqmnist.data import mnist
from seqmnist.data.batches import Batch, evaluation_batches, training_batches
from seqmnist.errors import UserError
from seqmnist.run.engine import PlainEngine, make_engine

HAS_FAST_PATH = not tf.VERSION.startswith("1.")
if HAS_FAST_PATH:
    from seqmnist.fast import engine as fast_engine
needs_fast_path = pytest.mark.skipif(
    not HAS_FAST_PATH, reason="TensorFlow 1.15 does not compile functions"
)
SCRIPTS = [train_rnn, train_lstm, train_gru_pixel]


def make(script, argv, parse):
    """Steps and a session whose variables are initialized."""
    config = parse(script, argv)
    classifier = classifier_of(script, config)
    made = make_engine(classifier)
    session = tf.Session(graph=classifier.graph, config=made.session_config)
    session.run(classifier.init_op)
    made.initialize(session)
    return made, session


def trained(script, argv, num_steps, parse, small_data):
    """Figures of some updates, the weights after them, and a whole evaluation."""
    made, session = make(script, argv, parse)
    config = parse(script, argv)
    splits = mnist.load_splits(small_data, 20)
    batches = list(training_batches(splits.train, config.batch_size, 0, num_steps))
    updates = []
    while batches:
        chunk, batches = batches[: made.max_updates], batches[made.max_updates :]
        updates += made.update(session, chunk)
    weights = session.run(made.classifier.graph.get_collection("variables"))
    evaluations = [
        made.evaluate(session, batch)
        for batch in evaluation_batches(splits.test, config.evaluation_batch_size)
    ]
    return updates, weights, evaluations


EVERYTHING = [
    *("--view", "rows", "--units", "90", "--batch-size", "91", "--permute"),
    *("--input-scale", "standard", "--recurrent-init", "orthogonal"),
    *("--max-grad-norm", "0.5", "--warmup-steps", "5", "--ema-decay", "0.8"),
    *("--layers", "2", "--weight-decay", "3"),
    *("--dropout", "0.3", "--recurrent-dropout", "0.2", "--label-smoothing", "0.1"),
]
# The first and the last are tried with each of the scripts.
CASES = [
    ["--view", "rows", "--units", "7", "--batch-size", "11"],
    ["--view", "pixels", "--units", "40", "--batch-size", "101"],
    ["--view", "rows", "--units", "90", "--batch-size", "91"],
    ["--view", "rows", "--units", "3", "--batch-size", "1"],
    [
        *("--view", "rows", "--units", "5", "--batch-size", "10"),
        *("--max-grad-norm", "0.1", "--ema-decay", "0.5"),
    ],
    EVERYTHING,
]


@needs_fast_path
@pytest.mark.parametrize(
    "argv, script",
    slow_after(
        4,
        [
            *[(CASES[0], script) for script in SCRIPTS],
            (CASES[1], train_gru_pixel),
            *[(EVERYTHING, script) for script in reversed(SCRIPTS)],
            *[(argv, train_gru_pixel) for argv in CASES[2:-1]],
        ],
        variant_after=5,
    ),
)
def test_fast_and_plain_steps_do_the_same(script, argv, parse, small_data, monkeypatch):
    """Batches in one part and in two uneven ones; the last evaluation batch short."""
    monkeypatch.setattr(fast_engine, "num_cores", lambda: 2)
    argv = [*argv, "--evaluation-batch-size", "47", "--schedule", "exponential"]
    argv += ["--decay-steps", "2", "--decay-rate", "0.5"]
    num_steps = 3 if "pixels" in argv else 25
    plain = [*argv, "--recurrence", "plain"]
    expected = trained(script, plain, num_steps, parse, small_data)
    found = trained(
        script, [*argv, "--recurrence", "fast"], num_steps, parse, small_data
    )
    for update, other in zip(found[0], expected[0]):
        assert update.loss == pytest.approx(other.loss, rel=1e-4)
        assert update.learning_rate == other.learning_rate
        assert update.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-3)
    assert [u.correct for u in found[0]] == [u.correct for u in expected[0]]
    assert len(found[0]) == len(expected[0]) == num_steps
    for value, other in zip(found[1], expected[1]):
        assert np.max(np.abs(value - other)) <= 1e-3 * np.max(np.abs(other))
    for (loss, correct, logits), other in zip(found[2], expected[2]):
        assert loss == pytest.approx(other[0], rel=1e-4)
        assert correct == other[1]
        np.testing.assert_allclose(logits, other[2], rtol=1e-2, atol=5e-3)


@needs_fast_path
@pytest.mark.parametrize(
    "argv, parts, updates",
    [
        (["--preset", "lstm-50"], [10], 20),
        (["--preset", "lstm-128-prediction"], [50, 50], 2),
        (["--batch-size", "101", "--units", "128"], [51, 50], 2),
        (["--batch-size", "101", "--units", "128", "--view", "pixels"], [51, 50], 1),
    ],
)
def test_batches_are_split_and_updates_gathered_by_their_size(
    argv, parts, updates, parse, monkeypatch
):
    monkeypatch.setattr(fast_engine, "num_cores", lambda: 2)
    config = parse(train_lstm, argv)
    found = make_engine(classifier_of(train_lstm, config))
    assert found._part_sizes == parts
    assert found.max_updates == updates
    images = " + ".join(map(str, parts))
    assert found.description.startswith(f"fast ({images} images, {updates} update")


@needs_fast_path
@pytest.mark.parametrize("view", ["rows", "pixels"])
def test_the_fast_graph_does_not_grow_with_the_sequence(view, parse):
    counts = []
    for size in (28, 56):
        config = parse(train_gru_pixel, ["--view", view, "--batch-size", "64"])
        classifier = classifier_of(train_gru_pixel, config, size)
        make_engine(classifier)
        graph_def = classifier.graph.as_graph_def()
        functions = graph_def.library.function
        counts.append(len(graph_def.node) + sum(len(f.node_def) for f in functions))
    assert counts[0] == counts[1]


@needs_fast_path
def test_the_history_is_in_no_checkpoint(parse):
    config = parse(train_rnn, ["--units", "7"])
    classifier = classifier_of(train_rnn, config)
    before = len(classifier.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES))
    make_engine(classifier)
    after = classifier.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
    assert len(after) == before


@needs_fast_path
def test_parts_of_one_size_share_a_program_but_no_history(parse, monkeypatch):
    monkeypatch.setattr(fast_engine, "num_cores", lambda: 3)
    config = parse(train_lstm, ["--units", "100", "--batch-size", "301"])
    classifier = classifier_of(train_lstm, config)
    make_engine(classifier)
    programs, histories = [], []
    for op in classifier.graph.get_operations():
        if op.type == "StatefulPartitionedCall" and op.inputs[0].shape[1:] == [28, 28]:
            programs.append(op.get_attr("f").name)
            histories.append({t.op.name for t in op.inputs if "scratch" in t.op.name})
    larger, *others = programs[:3]  # the trial's; evaluation has other programs
    assert others[0] == others[1] != larger
    assert [len(names) for names in histories[:3]] == [len(histories[0])] * 3
    assert len(set.union(*histories[:3])) == 3 * len(histories[0]) > 0


def test_recurrence_chooses_the_path(parse):
    found = {}
    for choice in ("auto", "plain"):
        config = parse(train_rnn, ["--units", "7", "--recurrence", choice])
        found[choice] = make_engine(classifier_of(train_rnn, config))
    assert isinstance(found["auto"], PlainEngine)
    assert found["auto"].description.startswith("fast" if HAS_FAST_PATH else "plain")
    assert type(found["plain"]) is PlainEngine
    assert found["plain"].description == "plain (as asked for)"


@needs_fast_path
def test_where_xla_cannot_compile_the_plain_path_takes_over(parse, monkeypatch):
    def failing(*args, **kwargs):
        raise tf.errors.UnimplementedError(None, None, "no XLA\nfor this device")

    monkeypatch.setattr(tf, "function", failing)
    config = parse(train_rnn, ["--units", "7"])
    found = make_engine(classifier_of(train_rnn, config))
    assert found.description == "plain (XLA cannot compile here: no XLA)"
    config.recurrence = "fast"
    with pytest.raises(UserError, match="--recurrence fast: XLA cannot compile here"):
        make_engine(classifier_of(train_rnn, config))


@needs_fast_path
def test_an_optimizer_that_xla_cannot_compile_is_one_line(parse, monkeypatch):
    """With a batch in parts; in one part the whole update would run plain."""

    def optimizer(learning_rate):
        def rate():
            found = tf.numpy_function(lambda r: r, [learning_rate()], tf.float32)
            return tf.reshape(found, [])

        return tf.train.GradientDescentOptimizer(rate)

    monkeypatch.setattr(fast_engine, "num_cores", lambda: 2)
    monkeypatch.setattr(train_rnn, "optimizer", optimizer)
    made, session = make(train_rnn, ["--units", "90", "--batch-size", "90"], parse)
    batch = Batch(np.zeros([90, 28, 28], np.uint8), np.zeros([90], np.uint8))
    line = "the optimizer: XLA cannot compile .*PyFunc; use --recurrence plain"
    with pytest.raises(UserError, match=line):
        made.update(session, [batch])


@pytest.mark.skipif(HAS_FAST_PATH, reason="there is a fast path")
def test_without_a_fast_path_it_cannot_be_asked_for(parse):
    config = parse(train_rnn, ["--units", "7", "--recurrence", "fast"])
    with pytest.raises(UserError, match="does not compile functions; expected plain"):
        make_engine(classifier_of(train_rnn, config))


def test_an_update_counts_the_batch_as_it_was_before(parse):
    """Also for the images that fill up a call of several updates."""
    made, session = make(train_rnn, ["--units", "5", "--batch-size", "3"], parse)
    batch = Batch(np.zeros([3, 28, 28], np.uint8), np.array([1, 2, 3], np.uint8))
    loss, _, _ = made.evaluate(session, batch)
    (update,) = made.update(session, [batch])
    assert update.loss == pytest.approx(loss, rel=1e-6)
    later, _, _ = made.evaluate(session, batch)
    assert later < update.loss
