"""What the loop tells of a run; the worker that writes nothing down of it."""

from __future__ import annotations

import contextlib
from typing import Any, ContextManager, Mapping, NamedTuple

import numpy as np

from seqmnist.errors import UserError
from seqmnist.record.log import Result
from seqmnist.record.tally import Tally
from seqmnist.run.engine import Update
from seqmnist.run.network import Network
from seqmnist.run.progress import Progress


class Evaluation(NamedTuple):
    """What an evaluation of a split found.

    Attributes:
        tally: of all its examples.
        logits: of these, float32 `[num_examples, 10]`.
        seconds: that it took.
    """

    tally: Tally
    logits: np.ndarray
    seconds: float


class QuietRecorder:
    """Writes nothing, and prints a line in the beginning and in the end.

    Such is the recorder of all workers but the chief, whose derives from it, see
    run/recorder.py. The loop calls its methods in this order.

    Args:
        network: the run's.
        progress: where the run stands, which the loop moves on.

    Attributes:
        advice: how to go on with the run when it was stopped, for the user.
        promise: what happens at a signal, for the user.
    """

    advice = "go on, with all workers, with: --resume RUN_DIR"
    promise = "finishing the step, after which all workers stop"

    def __init__(self, network: Network, progress: Progress) -> None:
        self.network = network
        self.progress = progress

    def begin(self) -> None:
        """Begins, before the first step that is to be done."""
        recurrence = self.network.engine.description
        self._say(f"recurrence {recurrence}, from step {self.progress.step}")

    def traced(self, session: Any, count: int) -> ContextManager[Any]:
        """A block of so many updates, with what stands for the session in it."""
        return contextlib.nullcontext(session)

    def add_update(
        self, update: Update, seconds: float, evaluations: Mapping[str, Evaluation]
    ) -> None:
        """Adds an update, which `progress` has counted.

        Args:
            update: what it saw.
            seconds: that it took.
            evaluations: split -> what was found in it afterwards.
        """

    def save_if_due(self) -> None:
        """Saves a checkpoint, between two calls of updates."""

    def end(self) -> None:
        """Ends the training, at its last step or where it was stopped; saves it."""

    def finish(self, test: Evaluation) -> Result | None:
        """Completes the run with its test; returns the result if it is written."""
        self._say(f"done after step {self.progress.step}")
        return None

    def close(self) -> None:
        """Closes the files, however the run ended."""

    def show(self) -> None:
        """Shows the curves of a complete run in a window."""

    def stopped(self) -> str:
        """Where a run that was stopped stands, and how to go on with it."""
        return f"after step {self.progress.step}; {self.advice}"

    def explained(self, error: UserError) -> str:
        """What to say of a `Diverged` or `CannotWrite` that ended the training."""
        return (
            f"{error} at step {self.progress.step}: the training has diverged; worker "
            "0 says more"
        )

    def _say(self, what: str) -> None:
        """Prints a line as this worker."""
        workers = self.network.workers
        print(f"worker {workers.index} of {workers.size}: {what}", flush=True)
