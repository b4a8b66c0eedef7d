"""The training loop of every worker: updates, evaluations, and the test at the end."""

from __future__ import annotations

import itertools
import time
from argparse import Namespace
from signal import SIGTERM
from typing import Iterator

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.cores import num_cores
from seqmnist.data.batches import (
    Batch,
    evaluation_batches,
    made_ahead,
    training_batches,
)
from seqmnist.data.distortions import Distortions
from seqmnist.data.mnist import Split, Splits
from seqmnist.errors import Diverged, Interrupted
from seqmnist.record.log import Result
from seqmnist.record.tally import Tally
from seqmnist.run.engine import PlainEngine, Update
from seqmnist.run.network import Network
from seqmnist.run.plan import Plan
from seqmnist.run.progress import Progress
from seqmnist.run.quiet_recorder import Evaluation, QuietRecorder
from seqmnist.waiting import waiting_for


def evaluate(
    session: tf.Session, engine: PlainEngine, split: Split, size: int
) -> tuple[Tally, np.ndarray]:
    """Evaluates a whole split, its last short batch included.

    In a run of several workers, each worker evaluates a share of the split, and all
    workers get the result of the whole split.

    Args:
        session: a session with the weights.
        engine: the classifier's engine, from `make_engine`.
        split: the examples, at least one.
        size: examples per batch.

    Returns:
        The tally of all examples of the split; their logits, float32
        `[num_examples, num_classes]`.

    Raises:
        LostWorker: another worker has gone.
    """
    count = len(split.labels)
    share = engine.workers.share(count)
    mine = Split(split.images[share], split.labels[share])
    num_classes = engine.classifier.config.num_classes
    tally, logits = Tally(), [np.zeros([0, num_classes], np.float32)]
    for batch in evaluation_batches(mine, size):
        loss, correct, values = engine.evaluate(session, batch)
        tally.add(loss, correct, len(batch.labels))
        logits.append(values)
    found = np.concatenate(logits)
    return engine.workers.gather_evaluation(session, tally, found, count)


class TrainingLoop:
    """Trains a network from the step that the run has reached, and tests it.

    All workers run this loop, each with its share of the examples. The recorder decides
    what a worker writes.

    Args:
        config: the run's configuration, see cli/options.py.
        splits: the data.
        plan: the length of the run, and what is due at which steps.
        network: the network; its variables are those after `progress.step` updates.
        progress: the state of the run, which the loop updates.
        recorder: writes and prints the run's results.
    """

    def __init__(
        self,
        config: Namespace,
        splits: Splits,
        plan: Plan,
        network: Network,
        progress: Progress,
        recorder: QuietRecorder,
    ) -> None:
        self.config = config
        self.splits = splits
        self.plan = plan
        self.network = network
        self.progress = progress
        self.recorder = recorder
        progress.learning_rate = config.learning_rate

    def train(self) -> None:
        """Does the remaining steps, or stops at a signal.

        Raises:
            Interrupted: a worker got a signal to stop; the run's state is saved.
            Diverged: loss, gradient or weights are no longer finite.
            CannotWrite: disk full, or folder gone.
            LostWorker: another worker has gone.
        """
        config, progress, workers = self.config, self.progress, self.network.workers
        distortions = Distortions.of(config)
        batches = training_batches(
            self.splits.train,
            batch_size=config.batch_size,
            seed=config.seed,
            num_steps=self.plan.num_steps,
            first_step=progress.step,
            distortions=distortions,
            share=workers.share(config.batch_size),
        )
        if any(distortions) and num_cores() > 1:  # another core distorts
            batches = made_ahead(batches, self.network.engine.max_updates)
        self.recorder.begin()
        progress.start_clock()
        while progress.step < self.plan.num_steps and not workers.is_stopping:
            updates, seconds = self._update(batches)
            for update in updates:
                self._after_update(update, seconds)
            self.recorder.save_if_due()
        self.recorder.end()
        if workers.is_stopping:
            number = workers.stop_number or SIGTERM  # another worker got the signal
            raise Interrupted(number, self.recorder.stopped())

    def test(self) -> Result | None:
        """Evaluates the test split, which completes the run.

        Returns:
            The run's result from the worker that writes it, else `None`.

        Raises:
            CannotWrite: disk full, or folder gone.
            LostWorker: another worker has gone.
        """
        with self.network.averaged():
            with waiting_for("evaluating the test images"):
                test = self._evaluate("test")
            result = self.recorder.finish(test)
        self.network.workers.barrier()
        return result

    def _update(self, batches: Iterator[Batch]) -> tuple[list[Update], float]:
        """Does one call of updates, which ends at an evaluation or checkpoint at most.

        Returns:
            The updates' values, and the seconds per update.
        """
        network = self.network
        possible = self.plan.steps_to_pause(self.progress.step)
        count = min(network.engine.max_updates, possible)
        chunk = list(itertools.islice(batches, count))
        is_coarse = self.progress.step < self.plan.coarse_steps
        with self.recorder.traced(network.session, count) as session:
            started = time.perf_counter()
            updates = network.engine.update(session, chunk, is_coarse)
            seconds = (time.perf_counter() - started) / count
        return updates, seconds

    def _after_update(self, update: Update, seconds: float) -> None:
        """Counts an update, evaluates the splits if due, and records the update."""
        progress, evaluations = self.progress, {}
        progress.step += 1
        progress.learning_rate = update.learning_rate
        if update.flaw:
            self.network.workers.barrier()  # all workers see the same flaw
            raise Diverged(update.flaw)
        progress.since_row.add(update.loss, update.correct, self.config.batch_size)
        if self.plan.is_evaluation(progress.step):
            for split in self.config.evaluate_splits:
                if len(getattr(self.splits, split).labels):
                    evaluations[split] = self._evaluate(split)
        progress.latest = {split: found.tally for split, found in evaluations.items()}
        if "validation" in evaluations:
            progress.note_if_best(evaluations["validation"].tally)
        self.recorder.add_update(update, seconds, evaluations)
        if self.plan.is_row(progress.step):
            progress.since_row = Tally()

    def _evaluate(self, name: str) -> Evaluation:
        """Evaluates a split, with the weights' averages if the run keeps averages."""
        network, split = self.network, getattr(self.splits, name)
        size = self.config.evaluation_batch_size
        with self.progress.pausing():
            started = time.perf_counter()
            network.workers.broadcast(network.session)
            with network.averaged():
                tally, logits = evaluate(network.session, network.engine, split, size)
            seconds = time.perf_counter() - started
        return Evaluation(tally, logits, seconds)
