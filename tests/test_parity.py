"""The suite computes what genuine TF 1.15.5 computed with the notebooks' code.

Tolerances, relative to the largest value of an array. Forward and backward pass differ
from the reference in the order of float32 sums only: measured 2.4e-7 for the first loss
and 9.9e-7 for the gradients at most, so 1e-5 is allowed. Adam divides by the root of
tiny second moments, which magnifies such differences step by step: measured 9e-6 for
the losses, 4e-5 for the final weights and 6e-5 for the logits at most (docs/parity.md
has the table), and 1e-3 is allowed, as another processor sums in another order.
"""

import numpy as np
import pytest
import reference
from scripts import classifier_of, slow_after

from seqmnist import tf1 as tf
from seqmnist.data.batches import Batch
from seqmnist.run.engine import make_engine


def reference_batches(network, splits, count):
    """The batches that the reference was made with."""
    size = network.batch_size
    for i in range(count):
        chosen = slice(
            reference.FIRST_IMAGE + i * size, reference.FIRST_IMAGE + (i + 1) * size
        )
        yield Batch(splits.train.images[chosen], splits.train.labels[chosen])


def relative_difference(found, expected):
    """The largest difference, relative to the largest expected value."""
    return np.max(np.abs(found - expected)) / np.max(np.abs(expected))


@pytest.mark.parametrize("name", reference.NETWORKS)
@pytest.mark.parametrize(
    "recurrence", slow_after(1, ["auto", "plain"], variant_after=1)
)
def test_training_reproduces_tf_1_15_5(recurrence, name, splits, parse):
    network = reference.NETWORKS[name]
    expected = reference.load(name)
    argv = ["--preset", network.preset, "--batch-size", str(network.batch_size)]
    config = parse(network.script, [*argv, "--recurrence", recurrence])
    classifier = classifier_of(network.script, config)
    engine = make_engine(classifier)
    with classifier.graph.as_default(), tf.Session() as session:
        weights = {v.op.name: v for v in tf.trainable_variables()}
        assert set(weights) == set(network.names)
        gradients = tf.gradients(
            classifier.evaluation.loss, [weights[n] for n in network.names]
        )
        session.run(classifier.init_op)
        engine.initialize(session)
        for ours, theirs in network.names.items():
            weights[ours].load(expected["init/" + theirs], session)

        count = len(expected["losses"])
        batches = list(reference_batches(network, splits, count))
        feed = {
            classifier.images: batches[0].images,
            classifier.labels: batches[0].labels,
        }
        values = session.run(gradients, feed)
        for theirs, value in zip(network.names.values(), values):
            difference = relative_difference(value, expected["grad/" + theirs])
            assert difference < 1e-5, theirs
        losses = []
        while len(losses) < count:
            chunk = batches[len(losses) : len(losses) + engine.max_updates]
            losses += [update.loss for update in engine.update(session, chunk)]
        np.testing.assert_allclose(losses[0], expected["losses"][0], rtol=1e-5)
        np.testing.assert_allclose(losses, expected["losses"], rtol=1e-3)

        for ours, theirs in network.names.items():
            value = session.run(weights[ours])
            difference = relative_difference(value, expected["final/" + theirs])
            assert difference < 1e-3, ours

        test = splits.test.images[: reference.NUM_TEST]
        logits = session.run(
            classifier.evaluation.logits,
            {classifier.images: test},
        )
    assert relative_difference(logits, expected["test_logits"]) < 1e-3


def test_a_wrong_learning_rate_is_noticed(splits, parse):
    """The guard of the test above: 2 % more learning rate is outside its bounds."""
    network = reference.NETWORKS["rnn_rows"]
    expected = reference.load("rnn_rows")
    options = ["--preset", network.preset, "--learning-rate", "0.00102"]
    config = parse(network.script, options)
    classifier = classifier_of(network.script, config)
    with classifier.graph.as_default(), tf.Session() as session:
        session.run(classifier.init_op)
        for variable in tf.trainable_variables():
            theirs = network.names[variable.op.name]
            variable.load(expected["init/" + theirs], session)
        losses = []
        for batch in reference_batches(network, splits, 50):
            feed = {
                classifier.images: batch.images,
                classifier.labels: batch.labels,
            }
            losses.append(
                session.run(
                    [classifier.update.train_op, classifier.evaluation.loss], feed
                )[1]
            )
    assert np.max(np.abs(losses / expected["losses"] - 1)) > 1e-3
