"""The loop: steps, evaluation, what is printed and what is kept."""

from __future__ import annotations

import itertools
import sys
import time
from argparse import Namespace
from typing import Any, Callable

import numpy as np
from tqdm import tqdm

from seqmnist import figures
from seqmnist import tf1 as tf
from seqmnist.batches import evaluation_batches, training_batches
from seqmnist.checkpoints import load_weights
from seqmnist.errors import UserError
from seqmnist.mnist import Split, Splits
from seqmnist.paths import shown
from seqmnist.plan import Plan, make_plan
from seqmnist.run_log import Result, RunLog
from seqmnist.sequences import VIEWS, View, as_sequences
from seqmnist.steps import Update, make_steps
from seqmnist.tally import Tally


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
    plan = make_plan(config, len(splits.train.labels))
    _check_index(config.predict, len(splits.test.labels))
    figures.prepare()
    classifier = build_graph(config)
    graph_def = classifier.graph.as_graph_def(add_shapes=True)
    steps = make_steps(classifier, config)
    with tf.Session(graph=classifier.graph, config=steps.session_config) as session:
        weights = classifier.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
        session.run(classifier.init_op)
        steps.initialize(session)
        if config.init_checkpoint is not None:
            load_weights(config.init_checkpoint, weights, config.cell_name, session)
        classifier.graph.finalize()
        num_parameters = sum(int(np.prod(w.shape.as_list())) for w in weights)
        facts = {
            "parameters": num_parameters,
            "recurrence_used": steps.description,
            "data_sha256": splits.digest,
        }
        with RunLog(config, facts, graph_def) as run:
            print(_introduction(config, num_parameters, splits, plan))
            print(f"recurrence: {steps.description}")
            print(f"run folder: {shown(run.folder)}", flush=True)
            trainer = _Trainer(config, splits, plan, classifier, steps, session, run)
            try:
                result = trainer.train_and_test(num_parameters)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"after step {trainer.step}; what was logged until then is in "
                    f"{shown(run.folder)}"
                ) from None
    try:
        if plan.num_steps:
            figures.save_curves(run.folder)
    finally:
        print(result, flush=True)
    if config.show and plan.num_steps:
        figures.show_curves(run.folder)
    return result


def evaluate(session: Any, steps: Any, split: Split, view: View, size: int) -> Tally:
    """Evaluates a whole split, its last short batch included.

    Args:
        session: a session with the weights.
        steps: of the classifier, as `make_steps` makes them.
        split: the examples, at least one.
        view: how to read an image.
        size: examples per batch.

    Returns:
        The tally of all examples of the split.
    """
    tally = Tally()
    for batch in evaluation_batches(split, view, size):
        loss, correct = steps.evaluate(session, batch)
        tally.add(loss, correct, len(batch.labels))
    return tally


class _Trainer:
    """One run's loop, with its position and running figures."""

    def __init__(self, config, splits, plan, classifier, steps, session, run):
        self.config = config
        self.splits = splits
        self.plan = plan
        self.classifier = classifier
        self.steps = steps
        self.session = session
        self.run = run
        self.view = VIEWS[config.view]
        self.step = 0
        self.paused = 0.0  # seconds spent in evaluations
        self.started = time.perf_counter()
        self.latest = {}  # split -> its tally after this very step
        self.since_row = Tally()  # over the training batches

    def train_and_test(self, num_parameters: int) -> Result:
        """Does all steps, evaluates the test split and writes the result."""
        if self.plan.num_steps:
            self.train()
        seconds = self.seconds
        test = self.latest.get("test") or self.evaluate("test")
        if self.config.predict is not None:
            print(self._prediction(self.config.predict))
        result = Result(
            script=self.config.script,
            preset=self.config.preset,
            view=self.config.view,
            cell=self.config.cell_name,
            units=self.config.units,
            parameters=num_parameters,
            seed=self.config.seed,
            steps=self.step,
            test_accuracy=test.accuracy,
            test_correct=f"{test.correct}/{test.count}",
            test_loss=test.loss,
            seconds=seconds,
            run=self.run.folder.name,
        )
        self.run.write_result(result)
        return result

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
        total = self.plan.num_steps
        with tqdm(total=total, unit="step", disable=not is_terminal) as progress:
            while self.step < total:
                count = min(
                    self.steps.max_updates, self.plan.steps_to_evaluation(self.step)
                )
                chunk = list(itertools.islice(batches, count))
                for update in self.steps.update(self.session, chunk):
                    self._after_update(update, progress)

    def evaluate(self, split: str) -> Tally:
        """Evaluates a split by name and keeps its figures for this step."""
        started = time.perf_counter()
        tally = evaluate(
            self.session,
            self.steps,
            getattr(self.splits, split),
            self.view,
            self.config.evaluation_batch_size,
        )
        self.paused += time.perf_counter() - started
        self.latest[split] = tally
        self._keep(split, tally)
        self.run.add_summary(split, self.step, loss=tally.loss, accuracy=tally.accuracy)
        return tally

    @property
    def seconds(self) -> float:
        """Seconds since training began, without those spent in evaluations."""
        return time.perf_counter() - self.started - self.paused

    @property
    def _epoch(self) -> float:
        """Passes over the training split done."""
        return self.step / self.plan.steps_per_epoch

    def _after_update(self, update: Update, progress: Any) -> None:
        """Counts, summarizes, evaluates and reports as far as it is due."""
        self.step += 1
        batch = Tally()
        for tally in (batch, self.since_row):
            tally.add(update.loss, update.correct, self.config.batch_size)
        step, plan = self.step, self.plan
        if plan.summary_steps and step % plan.summary_steps == 0:
            self.run.add_summary(
                "train",
                step,
                loss=batch.loss,
                accuracy=batch.accuracy,
                learning_rate=update.learning_rate,
            )
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

    def _prediction(self, index: int) -> str:
        """Actual label, logits and predicted label of a test image, as three lines."""
        test = self.splits.test
        sequences = as_sequences(test.images[index : index + 1], self.view)
        feed = {self.classifier.sequences: sequences}
        logits = self.session.run(self.classifier.logits, feed)[0]
        return (
            f"test image {index}: actual label {test.labels[index]}\n"
            f"  logits {' '.join(f'{logit:.4f}' for logit in logits)}\n"
            f"  predicted label {logits.argmax()}"
        )


def _check_index(index: int | None, num_test: int) -> None:
    """Raises a `UserError` unless `--predict` names a test image or none."""
    if index is not None and index >= num_test:
        raise UserError(
            f"--predict {index}: expected 0 to {num_test - 1}, as the test split has "
            f"{num_test} images"
        )


def _introduction(
    config: Namespace, num_parameters: int, splits: Splits, plan: Plan
) -> str:
    """Two lines on what is about to be trained."""
    view = VIEWS[config.view]
    train, validation, test = (len(split.labels) for split in splits[:3])
    steps = "no training"
    if plan.num_steps:
        steps = f"{_count(plan.num_steps, 'step')} of "
        steps += f"{_count(config.batch_size, 'image')}, "
        steps += f"{plan.steps_per_epoch:,} to an epoch"
    return (
        f"{config.script}, preset {config.preset}: "
        f"{_count(view.time_steps, 'time step')} of "
        f"{_count(view.input_size, 'pixel')}, {config.cell_name} with "
        f"{_count(config.units, 'unit')}, {_count(num_parameters, 'parameter')}\n"
        f"{steps}; {train:,} training, {validation:,} validation, {test:,} test images"
    )


def _count(number: int, noun: str) -> str:
    """A number and its noun: 1 step, 2 steps."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
