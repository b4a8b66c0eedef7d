"""A network in a session, ready for training."""

from __future__ import annotations

import contextlib
from typing import ContextManager

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.classifier import Classifier
from seqmnist.optimizer import averaged_weights
from seqmnist.record.graph_view import readable
from seqmnist.record.summaries import Histograms
from seqmnist.run.checkpoints import Checkpoint, Variables
from seqmnist.run.engine import make_engine
from seqmnist.run.one_worker import OneWorker
from seqmnist.run.tf1_checkpoints import load_weights


class Network:
    """A network in a session, with the weights from which a run starts or continues.

    Args:
        classifier: the `Classifier`; its graph is not finalized yet.
        start: the checkpoint to continue from, or `None`.
        workers: the workers of the run; all start with the chief's weights.
        stack: closes the session at the end.

    Attributes:
        classifier: the `Classifier`.
        graph_def: the graph in the form that TensorBoard shows.
        engine: the updates and evaluations, from `make_engine`.
        session: the session with the network's variables.
        workers: the workers of the run.
        variables: the variables to save in a checkpoint.
        num_parameters: number of trained weights.
        histograms: histograms of weights and gradients; `None` with `--summaries
            scalars`.

    Raises:
        UserError: the weights to start from cannot be used.
    """

    def __init__(
        self,
        classifier: Classifier,
        start: Checkpoint | None,
        workers: OneWorker,
        stack: contextlib.ExitStack,
    ) -> None:
        self.classifier, config = classifier, classifier.config
        self.graph_def = readable(classifier.training_graph_def)
        self.workers = workers
        self.engine = make_engine(classifier, workers)
        self.histograms = None
        if config.summaries == "all":
            self.histograms = Histograms(classifier, config.batch_size)
        self.session = stack.enter_context(
            workers.session(classifier.graph, self.engine.session_config)
        )
        weights = classifier.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
        self.num_parameters = sum(int(np.prod(w.shape.as_list())) for w in weights)
        self.variables = Variables(classifier.graph, self.session)
        self.session.run(classifier.init_op)
        self.engine = self.engine.initialize(self.session)
        if start is not None:
            self.variables.restore(start)
        elif config.init_checkpoint is not None and workers.index == 0:
            load_weights(
                config.init_checkpoint, classifier, config.cell_name, self.session
            )
        with classifier.graph.as_default():
            workers.prepare(tf.global_variables())
        classifier.graph.finalize()
        workers.broadcast(self.session)

    def averaged(self) -> ContextManager[None]:
        """A context in which averages, if the run keeps any, replace the weights."""
        return averaged_weights(self.classifier.average, self.session)
