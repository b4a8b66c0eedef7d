"""How long a run is, and what happens at which of its steps."""

from __future__ import annotations

from argparse import Namespace
from typing import NamedTuple

from seqmnist.cli.types import (
    ALL,
    first_and_last,
    interval_in_seconds,
    interval_in_steps,
)
from seqmnist.data.batches import steps_per_epoch
from seqmnist.errors import UserError


class Plan(NamedTuple):
    """How long to train, and at which steps to report and to evaluate.

    Attributes:
        num_steps: updates of the whole run.
        steps_per_epoch: updates per epoch.
        report_steps: steps from one report to the next, 0 for never.
        evaluate_steps: steps from one evaluation to the next, 0 for never.
        summary_steps: steps from one TensorBoard summary to the next, 0 for never.
        first_report: whether the first step is reported too.
        checkpoint_steps: steps from one checkpoint to the next, 0 for none.
        checkpoint_seconds: seconds from one checkpoint to the next, or `None`.
        trace: the first and the last step of which to write a timeline; 0, 0 for none.
    """

    num_steps: int
    steps_per_epoch: int
    report_steps: int
    evaluate_steps: int
    summary_steps: int
    first_report: bool
    checkpoint_steps: int
    checkpoint_seconds: int | None
    trace: tuple[int, int]

    def is_report(self, step: int) -> bool:
        """Whether a line is printed when `step` updates are done."""
        return bool(self.report_steps) and (
            step % self.report_steps == 0
            or step == self.num_steps
            or (step == 1 and self.first_report)
        )

    def is_evaluation(self, step: int) -> bool:
        """Whether the splits are evaluated when `step` updates are done."""
        return bool(self.evaluate_steps) and (
            step % self.evaluate_steps == 0 or step == self.num_steps
        )

    def is_summary(self, step: int) -> bool:
        """Whether TensorBoard gets the scalars of the update that made it `step`."""
        return bool(self.summary_steps) and step % self.summary_steps == 0

    def is_row(self, step: int) -> bool:
        """Whether metrics.csv gets the training's figures when `step` are done."""
        return self.is_report(step) or self.is_evaluation(step)

    def is_checkpoint(self, step: int, seconds: float) -> bool:
        """Whether a checkpoint is due.

        Args:
            step: updates done.
            seconds: since the last checkpoint.
        """
        if self.checkpoint_seconds is not None:
            return seconds >= self.checkpoint_seconds
        return bool(self.checkpoint_steps) and step % self.checkpoint_steps == 0

    def is_pictured(self, step: int) -> bool:
        """Whether an evaluation after `step` updates is shown in pictures too.

        The last one is, and the first, second, fourth, eighth and so on: enough to see
        a network learn, and of a long run not more than TensorBoard keeps.
        """
        number = step // self.evaluate_steps
        return step == self.num_steps or number & (number - 1) == 0

    def is_traced(self, step: int) -> bool:
        """Whether the update after `step` updates is a part of the timeline."""
        first, last = self.trace
        return first <= step + 1 <= last

    def position(self, step: int, seed: int) -> dict[str, int]:
        """By what the examples after `step` updates are known, see data/batches.py."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        return {"seed": seed, "epoch": epoch, "batch": batch}

    def steps_to_pause(self, step: int) -> int:
        """Updates from `step` to whatever comes next, 1 or more.

        That is an evaluation, a checkpoint, the timeline's beginning or end, or the
        run's end. A checkpoint that is due by the clock may come after any step.
        """
        intervals = filter(None, [self.evaluate_steps, self.checkpoint_steps])
        to_next = [interval - step % interval for interval in intervals]
        first, last = self.trace
        to_next += [end - step for end in (first - 1, last) if end > step]
        return min([self.num_steps - step, *to_next])


def make_plan(config: Namespace, num_examples: int) -> Plan:
    """Turns the options' epochs and steps into steps.

    Args:
        config: with `batch_size`, `epochs` or `steps`, `report_every`,
            `evaluate_every`, `checkpoint_every` and `trace_steps`.
        num_examples: size of the training split.

    Returns:
        The plan.

    Raises:
        UserError: there is something to train, and the split is smaller than a batch;
            or the timeline is of steps that the run does not have.
    """
    is_evaluation_only = 0 in (config.steps, config.epochs)
    batch_size = 1 if is_evaluation_only else config.batch_size
    per_epoch = steps_per_epoch(num_examples, batch_size)
    num_steps = config.epochs * per_epoch if config.steps is None else config.steps
    trace = (0, 0)
    if config.trace_steps is not None:
        trace = first_and_last(config.trace_steps)
        if trace[1] > num_steps:
            raise UserError(
                f"--trace-steps {config.trace_steps}: the run has {num_steps} steps; "
                "give some of these, or none"
            )
    return Plan(
        num_steps=num_steps,
        steps_per_epoch=per_epoch,
        report_steps=interval_in_steps(config.report_every, per_epoch),
        evaluate_steps=interval_in_steps(config.evaluate_every, per_epoch),
        summary_steps=config.summary_every,
        first_report="step" in config.report_every,
        checkpoint_steps=interval_in_steps(config.checkpoint_every, per_epoch),
        checkpoint_seconds=interval_in_seconds(config.checkpoint_every),
        trace=trace,
    )


def planned(config: Namespace, plan: Plan) -> Namespace:
    """A configuration whose `decay_steps` are a number, the run's own if `all`.

    Raises:
        UserError: the learning rate of a new run falls to zero before it ends.
    """
    if config.decay_steps != ALL:
        is_short = config.schedule == "cosine" and config.decay_steps < plan.num_steps
        if is_short and config.resume is None:
            raise UserError(
                f"--decay-steps {config.decay_steps}: from there on a cosine is zero, "
                f"and the run has {plan.num_steps} steps; give --decay-steps all, or "
                f"{plan.num_steps} or more"
            )
        return config
    return Namespace(**{**vars(config), "decay_steps": max(1, plan.num_steps)})
