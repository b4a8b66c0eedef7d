"""The loop: steps, evaluation, what is printed and what is kept."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from typing import Any, Callable, NamedTuple

import numpy as np
from tqdm import tqdm

from seqmnist import figures
from seqmnist import tf1 as tf
from seqmnist.batches import (
    Batch,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from seqmnist.checkpoints import load_weights
from seqmnist.errors import UserError
from seqmnist.mnist import Split, Splits
from seqmnist.option_types import interval_in_steps
from seqmnist.paths import shown
from seqmnist.run_log import Result, RunLog
from seqmnist.sequences import VIEWS, View, as_sequences
from seqmnist.tally import Tally


class Plan(NamedTuple):
    """How long to train, and at which steps to report and to evaluate.

    Attributes:
        num_steps: updates of the whole run.
        steps_per_epoch: updates per epoch.
        report_steps: steps from one report to the next, 0 for never.
        evaluate_steps: steps from one evaluation to the next, 0 for never.
        summary_steps: steps from one TensorBoard summary to the next, 0 for never.
        first_report: whether the first step is reported too.
    """

    num_steps: int
    steps_per_epoch: int
    report_steps: int
    evaluate_steps: int
    summary_steps: int
    first_report: bool

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


def make_plan(config: Namespace, num_examples: int) -> Plan:
    """Turns the options' epochs and steps into steps.

    Args:
        config: with `batch_size`, `epochs` or `steps`, `report_every` and
            `evaluate_every`.
        num_examples: size of the training split.

    Returns:
        The plan.

    Raises:
        UserError: the training split is smaller than a batch.
    """
    per_epoch = steps_per_epoch(num_examples, config.batch_size)
    return Plan(
        num_steps=config.epochs * per_epoch if config.steps is None else config.steps,
        steps_per_epoch=per_epoch,
        report_steps=interval_in_steps(config.report_every, per_epoch),
        evaluate_steps=interval_in_steps(config.evaluate_every, per_epoch),
        summary_steps=config.summary_every,
        first_report="step" in config.report_every,
    )


def train_and_evaluate(
    config: Namespace, splits: Splits, build_graph: Callable[[Namespace], Any]
) -> Result:
    """Trains a network, logs the run in a new folder and evaluates it.

    Args:
        config: the run's configuration, as options.py parses it.
        splits: the data.
        build_graph: takes the configuration, returns a `Classifier`.

    Returns:
        The result, whose line is the last one printed.

    Raises:
        UserError: the options do not fit the data, the checkpoint to start from cannot
            be used, or the run folder cannot be made. Nothing is left behind.
    """
    view = VIEWS[config.view]
    plan = make_plan(config, len(splits.train.labels))
    _check_index(config.predict, len(splits.test.labels))
    classifier = build_graph(config)
    with tf.Session(graph=classifier.graph) as session:
        weights = classifier.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
        session.run(classifier.init_op)
        if config.init_checkpoint:
            load_weights(config.init_checkpoint, weights, config.cell_name, session)
        classifier.graph.finalize()
        facts: dict[str, Any] = {
            "parameters": sum(int(np.prod(w.shape.as_list())) for w in weights),
            "time_steps": view.time_steps,
            "input_size": view.input_size,
            "data_sha256": splits.digest,
        }
        with RunLog(config, facts, classifier.graph) as run:
            print(_introduction(config, facts, splits, plan), flush=True)
            print(f"run folder: {shown(run.folder)}", flush=True)
            trainer = _Trainer(config, splits, plan, classifier, session, run)
            trainer.train()
            seconds = trainer.seconds
            test = trainer.latest.get("test") or trainer.evaluate("test")
            if config.predict is not None:
                print(
                    _prediction(session, classifier, splits.test, view, config.predict)
                )
            result = Result(
                script=config.script,
                preset=config.preset,
                view=config.view,
                cell=config.cell_name,
                units=config.units,
                parameters=facts["parameters"],
                seed=config.seed,
                steps=plan.num_steps,
                test_accuracy=test.accuracy,
                test_correct=f"{test.correct}/{test.count}",
                test_loss=test.loss,
                seconds=seconds,
                run=run.folder.name,
            )
            figures.save_curves(run.folder)
            run.write_result(result)
    if config.show:
        figures.show_curves(run.folder)
    print(result, flush=True)
    return result


def evaluate(
    session: Any, classifier: Any, split: Split, view: View, size: int
) -> Tally:
    """Evaluates a whole split, its last short batch included.

    Args:
        session: a session with the weights.
        classifier: the `Classifier`.
        split: the examples, at least one.
        view: how to read an image.
        size: examples per batch.

    Returns:
        The tally of all examples of the split.
    """
    tally = Tally()
    for batch in evaluation_batches(split, view, size):
        feed = {classifier.sequences: batch.sequences, classifier.labels: batch.labels}
        loss, correct = session.run([classifier.loss, classifier.correct_count], feed)
        tally.add(loss, correct, len(batch.labels))
    return tally


class _Trainer:
    """One run's loop, with its position and running figures."""

    def __init__(self, config, splits, plan, classifier, session, run):
        self.config = config
        self.splits = splits
        self.plan = plan
        self.classifier = classifier
        self.session = session
        self.run = run
        self.view = VIEWS[config.view]
        self.step = 0
        self.paused = 0.0  # seconds spent in evaluations
        self.started = time.perf_counter()
        self.latest = {}  # split -> its tally after this very step
        self.since_row = Tally()  # over the training batches

    def train(self) -> None:
        """Does all steps, reporting and evaluating on the way."""
        batches = training_batches(
            self.splits.train,
            self.view,
            self.config.batch_size,
            self.config.seed,
            self.plan.num_steps,
        )
        is_terminal = sys.stdout.isatty() and sys.stderr.isatty()
        with tqdm(
            total=self.plan.num_steps, unit="step", disable=not is_terminal
        ) as progress:
            try:
                for batch in batches:
                    self._after_step(self._update(batch), progress)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"after step {self.step}; what was logged until then is in "
                    f"{shown(self.run.folder)}"
                ) from None

    def evaluate(self, split: str) -> Tally:
        """Evaluates a split by name and keeps its figures for this step."""
        started = time.perf_counter()
        tally = evaluate(
            self.session,
            self.classifier,
            getattr(self.splits, split),
            self.view,
            self.config.evaluation_batch_size,
        )
        self.paused += time.perf_counter() - started
        self.latest[split] = tally
        self._keep(split, tally)
        self.run.add_summary(split, self.step, tally.loss, tally.accuracy)
        return tally

    @property
    def seconds(self) -> float:
        """Seconds since training began, without those spent in evaluations."""
        return time.perf_counter() - self.started - self.paused

    @property
    def _epoch(self) -> float:
        """Passes over the training split done."""
        return self.step / self.plan.steps_per_epoch

    def _update(self, batch: Batch) -> Tally:
        """Does one update; loss and count are those of the batch before it."""
        classifier = self.classifier
        _, loss, correct = self.session.run(
            [classifier.train_op, classifier.loss, classifier.correct_count],
            {classifier.sequences: batch.sequences, classifier.labels: batch.labels},
        )
        self.step += 1
        tally = Tally()
        for each in (tally, self.since_row):
            each.add(loss, correct, len(batch.labels))
        return tally

    def _after_step(self, batch: Tally, progress: Any) -> None:
        """Summarizes, evaluates and reports as far as it is due after this step."""
        step, plan = self.step, self.plan
        if plan.summary_steps and step % plan.summary_steps == 0:
            self.run.add_summary("train", step, batch.loss, batch.accuracy)
        is_evaluation, is_report = plan.is_evaluation(step), plan.is_report(step)
        self.latest = {}
        if is_evaluation or is_report:
            self._keep("train", self.since_row)
        if is_evaluation:
            for split in self.config.evaluate_splits:
                if len(getattr(self.splits, split).labels):
                    self.evaluate(split)
        if is_report:
            progress.write(self._report(batch))
            sys.stdout.flush()
        if is_evaluation or is_report:
            self.since_row = Tally()
        progress.update()
        if not progress.disable:
            rate = step * self.config.batch_size / self.seconds
            progress.set_postfix_str(
                f"loss {batch.loss:.4f}, accuracy {batch.accuracy:.4f}, "
                f"{rate:,.0f} examples/s",
                refresh=False,
            )

    def _keep(self, split: str, tally: Tally) -> None:
        """Adds a row to metrics.csv."""
        self.run.add_metrics(split, self.step, self._epoch, tally, self.seconds)

    def _report(self, batch: Tally) -> str:
        """The line on the last batch, on all since the row before, and more."""
        parts = [
            f"epoch {self._epoch:6.2f}",
            f"step {self.step:6d}",
            f"loss {batch.loss:.4f}",
            f"batch {batch}",
            f"train {self.since_row}",
        ]
        parts += [f"{split} {tally}" for split, tally in self.latest.items()]
        return "  ".join(parts)


def _check_index(index: int | None, num_test: int) -> None:
    """Raises a `UserError` unless `--predict` names a test image or none."""
    if index is not None and index >= num_test:
        raise UserError(
            f"--predict {index}: expected 0 to {num_test - 1}, as the test split has "
            f"{num_test} images"
        )


def _introduction(
    config: Namespace, facts: dict[str, Any], splits: Splits, plan: Plan
) -> str:
    """Two lines on what is about to be trained."""
    pixels = "1 pixel" if facts["input_size"] == 1 else f"{facts['input_size']} pixels"
    return (
        f"{config.script}, preset {config.preset}: {facts['time_steps']} time steps of "
        f"{pixels}, {config.cell_name} with {config.units} units, "
        f"{facts['parameters']:,} parameters\n"
        f"{plan.num_steps:,} steps of {config.batch_size} images, "
        f"{plan.steps_per_epoch:,} to an epoch; {len(splits.train.labels):,} training, "
        f"{len(splits.validation.labels):,} validation, "
        f"{len(splits.test.labels):,} test images"
    )


def _prediction(
    session: Any, classifier: Any, split: Split, view: View, index: int
) -> str:
    """Actual label, logits and predicted label of one image, as three lines."""
    sequences = as_sequences(split.images[index : index + 1], view)
    logits = session.run(classifier.logits, {classifier.sequences: sequences})[0]
    return (
        f"test image {index}: actual label {split.labels[index]}\n"
        f"  logits {' '.join(f'{logit:.4f}' for logit in logits)}\n"
        f"  predicted label {logits.argmax()}"
    )
