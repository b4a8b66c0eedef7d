"""A process that trains on its own.

Who makes updates asks `OneWorker` which part of a batch is its own, and has it add up
what is computed of it; here that is all of it, and nothing to add. Several processes
that train one network derive from it, see distributed/workers.py.
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
        size: how many workers there are.
        index: which of them this is.
        first_step: updates done before the run went on; the chief's is to be set before
            there is a session, in which it tells it to the others.
    """

    size = 1
    index = 0
    first_step = 0

    def __init__(self) -> None:
        self._signals: StopSignals | None = None

    def __enter__(self) -> OneWorker:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        """Lets the other workers go."""

    @property
    def stop_number(self) -> int | None:
        """The signal by which this worker was told to stop, or `None`."""
        return None if self._signals is None else self._signals.number

    @property
    def is_stopping(self) -> bool:
        """Whether all workers stop before the next step."""
        return self.stop_number is not None

    @property
    def description(self) -> str:
        """For the user."""
        return "1"

    def heed(self, signals: StopSignals, advice: str) -> None:
        """From now on, a signal stops the training.

        Args:
            signals: the signals.
            advice: what to say to the user when another worker is lost.
        """
        self._signals = signals

    def share(self, count: int) -> slice:
        """Which of so many examples are this worker's; the shares are all of them."""
        return slice(
            count * self.index // self.size, count * (self.index + 1) // self.size
        )

    def session(self, graph: Any, config: Any) -> Any:
        """A session for a graph.

        Args:
            graph: the `tf.Graph`.
            config: the `tf.ConfigProto`, or `None`.

        Returns:
            The `tf.Session`.

        Raises:
            UserError: the other workers cannot be reached, or train something else.
        """
        return tf.Session(graph=graph, config=config)

    def all_reduce(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Tensors of the update, added up over all workers.

        Args:
            tensors: float32 of static shapes.

        Returns:
            Tensors of the same shapes.
        """
        return tensors

    def run(self, session: Any, fetches: Any, feed: Mapping[Any, Any]) -> Any:
        """Runs an update.

        Args:
            session: the session.
            fetches: the update's, made with what `all_reduce` gave.
            feed: for the fetches.

        Returns:
            The values of the fetches.

        Raises:
            LostWorker: another worker has gone.
        """
        return session.run(fetches, feed)

    def prepare(self, variables: Sequence[Any]) -> None:
        """Adds the ops to the default graph that the next two methods run.

        Args:
            variables: all that the workers are to have alike.
        """

    def broadcast(self, session: Any) -> None:
        """Sets the variables of all workers to the chief's, to the bit.

        Raises:
            LostWorker: another worker has gone.
        """

    def gather_evaluation(
        self, session: Any, tally: Tally, logits: np.ndarray, count: int
    ) -> tuple[Tally, np.ndarray]:
        """Puts together what each worker found in its share of a split.

        Args:
            session: the session.
            tally: of this worker's share.
            logits: of its examples, float32 `[share, 10]`.
            count: examples of the whole split.

        Returns:
            The tally of the split, and the logits of all examples.

        Raises:
            LostWorker: another worker has gone.
        """
        return tally, logits

    def barrier(self) -> None:
        """Waits until all have come to the end; there are no sums after it.

        Who went at once could leave another one without the last part of its sum, and
        could not be there if the chief had to be started again.
        """
