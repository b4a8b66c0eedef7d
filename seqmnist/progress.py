"""Where a run stands: all that has to be kept beside TensorFlow's variables."""

from __future__ import annotations

from typing import Any

from seqmnist.tally import Tally


class Progress:
    """The position and the running figures of a run.

    Which examples come next follows from `step`, see batches.py.

    Attributes:
        step: updates done.
        seconds: time spent in training until the last checkpoint, evaluations left out.
        since_row: over the training batches since the last row of metrics.csv.
        latest: split -> its tally after this very step.
        best_step: the step with the best validation figures so far, or `None`.
        best: the tally of that step, or `None`.
    """

    def __init__(self) -> None:
        self.step = 0
        self.seconds = 0.0
        self.since_row = Tally()
        self.latest: dict[str, Tally] = {}
        self.best_step: int | None = None
        self.best: Tally | None = None

    def note_if_best(self, validation: Tally) -> bool:
        """Notes validation figures that are better than all before.

        Better are more correct examples, and among as many the lower loss.

        Args:
            validation: the tally of the whole validation split after `step`.

        Returns:
            Whether they are.
        """
        if self.best is not None:
            found = (validation.correct, -validation.loss)
            if found <= (self.best.correct, -self.best.loss):
                return False
        self.best_step, self.best = self.step, validation
        return True

    def state(self) -> dict[str, Any]:
        """All of it, as JSON can hold it without rounding."""
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
        """The progress of which `state` was the state."""
        progress = cls()
        progress.step = state["step"]
        progress.seconds = state["seconds"]
        progress.since_row = Tally.from_state(state["since_row"])
        for split, tally in state["latest"].items():
            progress.latest[split] = Tally.from_state(tally)
        progress.best_step = state["best_step"]
        if state["best"] is not None:
            progress.best = Tally.from_state(state["best"])
        return progress
