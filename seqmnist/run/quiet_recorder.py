"""The interface from the loop to a recorder, and a recorder that writes no files."""

from __future__ import annotations

import contextlib
from typing import ContextManager, Mapping, NamedTuple

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.errors import UserError
from seqmnist.record.log import Result
from seqmnist.record.tally import Tally
from seqmnist.record.trace import Tracer
from seqmnist.run.engine import Update
from seqmnist.run.network import Network
from seqmnist.run.progress import Progress


class Evaluation(NamedTuple):
    """The result of evaluating a split.

    Attributes:
        tally: the tally of all examples in the split.
        logits: the logits of all examples, float32 `[num_examples, num_classes]`.
        seconds: the time that the evaluation took.
    """

    tally: Tally
    logits: np.ndarray
    seconds: float


class QuietRecorder:
    """Writes no files, and prints a line at the beginning and at the end.

    All workers but the chief use this recorder. The chief's recorder derives from it,
    see run/recorder.py. The loop calls the methods in the order below.

    Args:
        network: the run's network.
        progress: the state of the run, which the loop updates.

    Attributes:
        advice: how to continue the run after a stop; printed.
        promise: what happens at a signal; printed.
    """

    advice = "go on, with all workers, with: --resume RUN_DIR"
    promise = "finishing the step, after which all workers stop"

    def __init__(self, network: Network, progress: Progress) -> None:
        self.network = network
        self.progress = progress

    def begin(self) -> None:
        """Begins the record, before the first step of this process."""
        recurrence = self.network.engine.description
        self._say(f"recurrence {recurrence}, from step {self.progress.step}")

    def traced(
        self, session: tf.Session, count: int
    ) -> ContextManager[tf.Session | Tracer]:
        """A block of `count` updates; yields the session to run them in."""
        return contextlib.nullcontext(session)

    def add_update(
        self, update: Update, seconds: float, evaluations: Mapping[str, Evaluation]
    ) -> None:
        """Adds an update that `progress` has counted already.

        Args:
            update: the update's values.
            seconds: the time that the update took.
            evaluations: split -> the evaluation of the split after the update.
        """

    def save_if_due(self) -> None:
        """Saves a checkpoint, between two calls of updates."""

    def end(self) -> None:
        """Ends the training, at its last step or at a stop; saves the run's state."""

    def finish(self, test: Evaluation) -> Result | None:
        """Completes the run with its test; returns the result if it was written."""
        self._say(f"done after step {self.progress.step}")
        return None

    def close(self) -> None:
        """Closes the files, also after an error."""

    def show(self) -> None:
        """Shows the curves of a complete run in a window."""

    def stopped(self) -> str:
        """The step of a stopped run, and how to continue the run."""
        return f"after step {self.progress.step}; {self.advice}"

    def explained(self, error: UserError) -> str:
        """The message for a `Diverged` or `CannotWrite` that ended the training."""
        return (
            f"{error} at step {self.progress.step}: the training has diverged; worker "
            "0 says more"
        )

    def _say(self, what: str) -> None:
        """Prints a line as this worker."""
        workers = self.network.workers
        print(f"worker {workers.index} of {workers.size}: {what}", flush=True)
