"""The length of a run, and what is due at which steps."""

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
from seqmnist.data.mnist import Splits
from seqmnist.errors import UserError


class Plan(NamedTuple):
    """The length of a run, and the steps at which to report, evaluate and save.

    Attributes:
        num_steps: updates of the whole run.
        steps_per_epoch: updates per epoch.
        report_steps: steps from one report to the next, 0 for never.
        evaluate_steps: steps from one evaluation to the next, 0 for never.
        summary_steps: steps from one TensorBoard summary to the next, 0 for never.
        first_report: whether the first step is reported too.
        checkpoint_steps: steps from one checkpoint to the next, 0 for never.
        checkpoint_seconds: seconds from one checkpoint to the next, or `None`.
        trace: the first and the last step of the timeline; 0, 0 for no timeline.
        coarse_steps: the updates at the start that read images at half their size.
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
    coarse_steps: int = 0

    def is_report(self, step: int) -> bool:
        """Whether a line is printed after `step` updates."""
        return bool(self.report_steps) and (
            step % self.report_steps == 0
            or step == self.num_steps
            or (step == 1 and self.first_report)
        )

    def is_evaluation(self, step: int) -> bool:
        """Whether the splits are evaluated after `step` updates."""
        return bool(self.evaluate_steps) and (
            step % self.evaluate_steps == 0 or step == self.num_steps
        )

    def is_summary(self, step: int) -> bool:
        """Whether TensorBoard gets the scalars of update number `step`."""
        return bool(self.summary_steps) and step % self.summary_steps == 0

    def is_row(self, step: int) -> bool:
        """Whether metrics.csv gets a row of the training after `step` updates."""
        return self.is_report(step) or self.is_evaluation(step)

    def is_checkpoint(self, step: int, seconds: float) -> bool:
        """Whether a checkpoint is due.

        Args:
            step: updates done.
            seconds: seconds since the last checkpoint.
        """
        if self.checkpoint_seconds is not None:
            return seconds >= self.checkpoint_seconds
        return bool(self.checkpoint_steps) and step % self.checkpoint_steps == 0

    def is_pictured(self, step: int) -> bool:
        """Whether TensorBoard gets pictures of an evaluation after `step` updates.

        It gets pictures of the last evaluation, and of the first, second, fourth,
        eighth and so on. These show a network learn; even in a long run there are not
        more than TensorBoard keeps.
        """
        number = step // self.evaluate_steps
        return step == self.num_steps or number & (number - 1) == 0

    def is_traced(self, step: int) -> bool:
        """Whether the timeline includes update number `step + 1`."""
        first, last = self.trace
        return first <= step + 1 <= last

    def position(self, step: int, seed: int) -> dict[str, int]:
        """The numbers that determine the next examples, see data/batches.py."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        return {"seed": seed, "epoch": epoch, "batch": batch}

    def steps_to_pause(self, step: int) -> int:
        """Updates from `step` to the next pause, 1 or more.

        A pause is an evaluation, a checkpoint, the timeline's beginning or end, the end
        of the coarse steps, or the run's end. A checkpoint that is due by the clock may
        follow any call of updates.
        """
        intervals = filter(None, [self.evaluate_steps, self.checkpoint_steps])
        to_next = [interval - step % interval for interval in intervals]
        first, last = self.trace
        ends = (first - 1, last, self.coarse_steps)
        to_next += [end - step for end in ends if end > step]
        return min([self.num_steps - step, *to_next])


def make_plan(config: Namespace, num_examples: int) -> Plan:
    """Converts the options in epochs and steps to steps.

    Args:
        config: a configuration with `batch_size`, `epochs` or `steps`, `report_every`,
            `evaluate_every`, `summary_every`, `checkpoint_every` and `trace_steps`.
        num_examples: size of the training split.

    Returns:
        The plan.

    Raises:
        UserError: the run has steps, and the split is smaller than a batch; or the
            timeline has steps that the run does not have.
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
                "give some of these steps, or none"
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
        coarse_steps=int(getattr(config, "coarse_part", 0) * num_steps),
    )


def planned(config: Namespace, plan: Plan) -> Namespace:
    """The configuration with `coarse_steps`, and with `decay_steps` as a number.

    Raises:
        UserError: a new run's learning rate falls to zero before the run ends.
    """
    if config.decay_steps != ALL:
        is_short = config.schedule == "cosine" and config.decay_steps < plan.num_steps
        if is_short and config.resume is None:
            raise UserError(
                f"--decay-steps {config.decay_steps}: after these steps the cosine is "
                f"zero, and the run has {plan.num_steps} steps; give --decay-steps "
                f"all, or {plan.num_steps} or more"
            )
        decay_steps = config.decay_steps
    else:
        decay_steps = max(1, plan.num_steps)
    values = {"decay_steps": decay_steps, "coarse_steps": plan.coarse_steps}
    return Namespace(**{**vars(config), **values})


def fitted(config: Namespace, splits: Splits) -> Namespace:
    """The configuration with the data's `image_shape` and `num_classes`.

    Raises:
        UserError: images would be moved out of sight, or cannot be halved.
    """
    largest = min(splits.image_shape)
    if config.max_shift > largest:
        raise UserError(
            f"--max-shift {config.max_shift}: expected 0 to {largest}, as the images "
            f"have {splits.image_shape[0]} x {splits.image_shape[1]} pixels"
        )
    if getattr(config, "coarse_part", 0) and any(n % 2 for n in splits.image_shape):
        height, width = splits.image_shape
        raise UserError(
            f"--coarse-part {config.coarse_part}: images of {height} x {width} pixels "
            "cannot be halved, as that takes even numbers; give --coarse-part 0"
        )
    return Namespace(
        **vars(config),
        image_shape=list(splits.image_shape),
        num_classes=len(splits.class_names),
    )
