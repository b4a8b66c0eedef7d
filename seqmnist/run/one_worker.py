"""A process that trains on its own.

An engine asks `OneWorker` for this process's share of a batch, and for the sum of a
tensor over all workers. For a single process the share is the whole batch, and the sum
is the tensor itself. distributed/workers.py derives a class for several processes.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.record.tally import Tally
from seqmnist.run.signals import StopSignals


class OneWorker:
    """A process that trains on its own.

    Attributes:
        size: the number of workers.
        index: the index of this worker, 0 to `size - 1`.
        first_step: updates done before the run was resumed. Set it on the chief before
            `session`, which sends the value to the other workers.
    """

    size = 1
    index = 0
    first_step = 0

    def __init__(self) -> None:
        self._signals: StopSignals | None = None

    def __enter__(self) -> OneWorker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Lets the other workers go."""

    @property
    def stop_number(self) -> int | None:
        """The number of the signal that stops this worker, or `None`."""
        return None if self._signals is None else self._signals.number

    @property
    def is_stopping(self) -> bool:
        """Whether all workers stop before the next step."""
        return self.stop_number is not None

    @property
    def description(self) -> str:
        """The workers in words, for the user."""
        return "1"

    def heed(self, signals: StopSignals, advice: str) -> None:
        """From now on, a signal stops the training.

        Args:
            signals: the signals.
            advice: printed when another worker is lost.
        """
        self._signals = signals

    def share(self, count: int) -> slice:
        """This worker's share of `count` examples; the shares cover all examples."""
        return slice(
            count * self.index // self.size, count * (self.index + 1) // self.size
        )

    def session(self, graph: tf.Graph, config: tf.ConfigProto | None) -> tf.Session:
        """A session for a graph.

        Args:
            graph: the `tf.Graph`.
            config: the `tf.ConfigProto`, or `None`.

        Returns:
            The `tf.Session`.

        Raises:
            UserError: the other workers cannot be reached, or have other options.
        """
        return tf.Session(graph=graph, config=config)

    def all_reduce(
        self, tensors: Sequence[tf.Tensor], is_coarse: bool = False
    ) -> Sequence[tf.Tensor]:
        """Sums tensors of the update over all workers.

        Args:
            tensors: float32 of static shapes.
            is_coarse: whether they are of the update that reads images at half their
                height and width.

        Returns:
            Tensors of the same shapes.
        """
        return tensors

    def run(
        self,
        session: tf.Session,
        fetches: Any,
        feed: Mapping[tf.Tensor, np.ndarray],
        is_coarse: bool = False,
    ) -> Any:
        """Runs an update.

        Args:
            session: the session.
            fetches: the update's tensors, made with the results of `all_reduce`.
            feed: the feed for the fetches.
            is_coarse: as for `all_reduce`.

        Returns:
            The values of the fetches.

        Raises:
            LostWorker: another worker has gone.
        """
        return session.run(fetches, feed)

    def prepare(self, variables: Sequence[tf.Variable]) -> None:
        """Adds the ops for `broadcast` and `gather_evaluation` to the default graph.

        Args:
            variables: the variables that all workers share.
        """

    def broadcast(self, session: tf.Session) -> None:
        """Sets the variables of all workers to exactly the chief's values.

        Raises:
            LostWorker: another worker has gone.
        """

    def gather_evaluation(
        self, session: tf.Session, tally: Tally, logits: np.ndarray, count: int
    ) -> tuple[Tally, np.ndarray]:
        """Combines the evaluations of all workers' shares of a split.

        Args:
            session: the session.
            tally: the tally of this worker's share.
            logits: the logits of this worker's share, float32 `[share, num_classes]`.
            count: the number of examples in the whole split.

        Returns:
            The tally of the split, and the logits of all its examples.

        Raises:
            LostWorker: another worker has gone.
        """
        return tally, logits

    def barrier(self) -> None:
        """Waits until all workers have reached the end; no sum follows.

        A worker that exits at once could leave another one without the last part of a
        sum, and would be missing if the chief had to be started again.
        """
