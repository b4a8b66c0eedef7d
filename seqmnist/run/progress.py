"""The state of a run that checkpoints keep in addition to TensorFlow's variables."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any, Iterator

from seqmnist.record.tally import Tally


class Progress:
    """The position and the running tallies of a run.

    The step determines the next examples, see data/batches.py.

    Args:
        step: updates done.
        seconds: time spent in training, without evaluations.

    Attributes:
        step: updates done.
        learning_rate: the learning rate of the last update; not saved.
        since_row: the tally of the training batches since the last row of metrics.csv.
        latest: split -> the split's tally, for the splits evaluated after this step.
        best_step: the step with the best validation tally so far, or `None`.
        best: the validation tally of `best_step`, or `None`.
    """

    def __init__(self, step: int = 0, seconds: float = 0.0) -> None:
        self.step = step
        self.learning_rate = 0.0
        self.since_row = Tally()
        self.latest: dict[str, Tally] = {}
        self.best_step: int | None = None
        self.best: Tally | None = None
        self._seconds = seconds
        self._since: float | None = None  # when the clock was started, if it runs

    @property
    def seconds(self) -> float:
        """Seconds spent in training so far, without evaluations."""
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._seconds + running

    def start_clock(self) -> None:
        """Starts the clock of the time spent in training."""
        self._since = time.perf_counter()

    @contextlib.contextmanager
    def pausing(self) -> Iterator[None]:
        """Stops the clock within a block."""
        self._seconds, self._since = self.seconds, None
        try:
            yield
        finally:
            self.start_clock()

    def note_if_best(self, validation: Tally) -> bool:
        """Notes a validation tally that is better than all before.

        More correct examples are better; between equal counts, the lower loss is.

        Args:
            validation: the tally of the whole validation split after `step`.

        Returns:
            Whether the tally is better.
        """
        if self.best is not None:
            found = (validation.correct, -validation.loss)
            if found <= (self.best.correct, -self.best.loss):
                return False
        self.best_step, self.best = self.step, validation
        return True

    def state(self) -> dict[str, Any]:
        """The progress as values that JSON holds without rounding."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "since_row": self.since_row.state(),
            "latest": {split: tally.state() for split, tally in self.latest.items()},
            "best_step": self.best_step,
            "best": None if self.best is None else self.best.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Progress:
        """Restores the progress from a value of `state()`.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: this is no such value.
        """
        progress = cls(state["step"], state["seconds"])
        progress.since_row = Tally.from_state(state["since_row"])
        for split, tally in state["latest"].items():
            progress.latest[split] = Tally.from_state(tally)
        progress.best_step = state["best_step"]
        if state["best"] is not None:
            progress.best = Tally.from_state(state["best"])
        evaluated = [*progress.latest.values(), *filter(None, [progress.best])]
        if not (
            type(progress.step) is int
            and (progress.best_step is None or type(progress.best_step) is int)
            and 0 <= (progress.best_step or 0) <= progress.step
            and math.isfinite(progress.seconds)
            and progress.seconds >= 0
            and all(tally.count for tally in evaluated)
        ):
            raise ValueError("not what a run writes")
        return progress
