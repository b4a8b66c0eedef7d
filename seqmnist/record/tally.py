"""Loss and accuracy over batches of any sizes."""

from __future__ import annotations

from typing import Any


class Tally:
    """Sums over examples, for the mean loss and the accuracy.

    Attributes:
        correct: number of examples classified correctly.
        count: number of examples.
    """

    def __init__(self) -> None:
        self.correct = 0
        self.count = 0
        self._loss_sum = 0.0

    def add(self, loss: float, correct: int, count: int) -> None:
        """Adds a batch.

        Args:
            loss: mean over the batch, nats per example.
            correct: number of examples classified correctly.
            count: number of examples in the batch.
        """
        self._loss_sum += float(loss) * count
        self.correct += int(correct)
        self.count += count

    @property
    def loss(self) -> float:
        """Mean over all examples, nats per example."""
        return self._loss_sum / self.count

    @property
    def accuracy(self) -> float:
        """`correct / count`, a fraction."""
        return self.correct / self.count

    def state(self) -> dict[str, Any]:
        """The sums, as values that JSON holds without rounding."""
        return {"loss": self._loss_sum, "correct": self.correct, "count": self.count}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Tally:
        """Restores a tally from a value of `state()`.

        Raises:
            ValueError, TypeError, KeyError: this is no such value.
        """
        tally = cls()
        tally.correct, tally.count = state["correct"], state["count"]
        tally._loss_sum = state["loss"]
        kinds = type(tally._loss_sum), type(tally.correct), type(tally.count)
        if kinds != (float, int, int) or not 0 <= tally.correct <= tally.count:
            raise ValueError("not a tally")
        return tally

    def __str__(self) -> str:
        return f"loss {self.loss:.4f} accuracy {self.accuracy:.4f}"
