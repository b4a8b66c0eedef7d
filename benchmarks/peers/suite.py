"""seqmnist itself: a script's graph, trained as the script trains it."""

import importlib
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(__file__))))

from seqmnist import tf1 as tf
from seqmnist.classifier import Classifier
from seqmnist.cli.parser import parse
from seqmnist.data.batches import Batch
from seqmnist.run.engine import make_engine

assert tf.VERSION  # imports TensorFlow, so that this counts as import

NAME = "seqmnist"
RECURRENCE = "fast"


class Peer:
    """Trains on the task's batches in turn."""

    def __init__(self, task):
        script = importlib.import_module(task.script)
        argv = ["--preset", task.preset, "--recurrence", RECURRENCE]
        argv += ["--units", str(task.num_units), "--batch-size", str(task.batch_size)]
        config = parse(argv, task.script, "", script.DEFAULTS, script.PRESETS)
        # Sequences may be longer or shorter than an image has pixels.
        config.image_shape = [task.time_steps, task.input_size]
        config.num_classes = 10
        classifier = Classifier(config, script.network, script.loss, script.optimizer)
        self.engine = make_engine(classifier)
        weights = classifier.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
        self.session = tf.Session(
            graph=classifier.graph, config=self.engine.session_config
        )
        self.session.run(classifier.init_op)
        self.engine.initialize(self.session)
        with classifier.graph.as_default():
            for variable, value in zip(weights, task.weights):
                variable.load(value, self.session)
        self.batches = [
            Batch(np.rint(inputs * 255).astype(np.uint8), labels.astype(np.uint8))
            for inputs, labels in task.batches
        ]

    def train(self, num_steps):
        """Does `num_steps` updates; returns the first one's loss."""
        first = None
        for start in range(0, num_steps, self.engine.max_updates):
            stop = min(num_steps, start + self.engine.max_updates)
            chosen = [self.batches[i % len(self.batches)] for i in range(start, stop)]
            updates = self.engine.update(self.session, chosen)
            if first is None:
                first = float(updates[0].loss)
        return first
