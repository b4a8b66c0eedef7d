"""The loop: updates, evaluations, checkpoints, and what is printed."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from argparse import Namespace
from typing import Any, Iterator

import numpy as np
from tqdm import tqdm

from seqmnist import options
from seqmnist.batches import Batch, evaluation_batches, training_batches
from seqmnist.checkpoints import Checkpoint, Checkpoints
from seqmnist.errors import Diverged
from seqmnist.illustrations import Illustrator
from seqmnist.mnist import NUM_CLASSES, Split, Splits
from seqmnist.network import Network
from seqmnist.one_worker import OneWorker
from seqmnist.plan import Plan
from seqmnist.progress import Progress
from seqmnist.run_log import RunLog
from seqmnist.steps import Update
from seqmnist.tally import Tally
from seqmnist.trace import Tracer


def evaluate(
    session: Any, steps: Any, split: Split, size: int
) -> tuple[Tally, np.ndarray]:
    """Evaluates a whole split, its last short batch included.

    Several workers each evaluate a share of it, and all get the whole.

    Args:
        session: a session with the weights.
        steps: of the classifier, as `make_steps` makes them.
        split: the examples, at least one.
        size: examples per batch.

    Returns:
        The tally of all examples of the split; their logits, float32
        `[num_examples, num_classes]`.

    Raises:
        LostWorker: another worker has gone.
    """
    count = len(split.labels)
    share = steps.workers.share(count)
    mine = Split(split.images[share], split.labels[share])
    tally, logits = Tally(), [np.zeros([0, NUM_CLASSES], np.float32)]
    for batch in evaluation_batches(mine, size):
        loss, correct, values = steps.evaluate(session, batch)
        tally.add(loss, correct, len(batch.labels))
        logits.append(values)
    found = np.concatenate(logits)
    return steps.workers.gather_evaluation(session, tally, found, count)


def evaluate_averages(
    network: Network, split: Split, size: int
) -> tuple[Tally, np.ndarray]:
    """Evaluates a split with the averages of the weights, if the run keeps any.

    Args:
        network: the run's; several workers have the chief's weights afterwards.
        split: the examples, at least one.
        size: examples per batch.

    Returns:
        As `evaluate`.

    Raises:
        LostWorker: another worker has gone.
    """
    network.workers.broadcast(network.session)
    with network.averaged():
        return evaluate(network.session, network.steps, split, size)


def batches_from(
    step: int, config: Namespace, splits: Splits, plan: Plan, workers: OneWorker
) -> Iterator[Batch]:
    """This worker's share of the batches that are left of a run.

    Args:
        step: updates done.
        config: the run's configuration.
        splits: the data.
        plan: how long to train.
        workers: who train together.

    Returns:
        One `Batch` per step; see `training_batches`.
    """
    return training_batches(
        splits.train,
        config.batch_size,
        config.seed,
        plan.num_steps,
        step,
        config.max_shift,
        config.max_slant,
        workers.share(config.batch_size),
    )


class Trainer:
    """Trains a network from where its progress stands.

    Args:
        config: the run's configuration, as options.py parses it.
        splits: the data.
        plan: how long to train, and what to do at which steps.
        network: with its variables as they are after `progress.step`.
        run: where to log.
        checkpoints: where to save them.
        progress: where the run stands, which the trainer moves on.

    Attributes:
        progress: where the run stands.
    """

    def __init__(
        self,
        config: Namespace,
        splits: Splits,
        plan: Plan,
        network: Network,
        run: RunLog,
        checkpoints: Checkpoints,
        progress: Progress,
    ) -> None:
        self.config = config
        self.options = options.deciding(config)
        self.splits = splits
        self.plan = plan
        self.network = network
        self.run = run
        self.illustrator = Illustrator(config, network, splits, run)
        self.checkpoints = checkpoints
        self.progress = progress
        self.paused = 0.0  # seconds spent in evaluations since `started`
        self.started = self.saved = time.perf_counter()
        self.saved_step: int | None = None
        self.is_new_best = False
        self.tracer: Tracer | None = None
        self.learning_rate = config.learning_rate

    def train(self) -> None:
        """Does the steps that are left, or until a signal comes, and saves the state.

        Raises:
            Diverged: loss, gradient or weights are no longer finite.
            CannotWrite: disk full, or folder gone.
            LostWorker: another worker has gone.
        """
        progress, total = self.progress, self.plan.num_steps
        workers = self.network.workers
        batches = batches_from(
            progress.step, self.config, self.splits, self.plan, workers
        )
        found = self.checkpoints.read(progress.step)
        if isinstance(found, Checkpoint):  # from which the run goes on
            self.saved_step = progress.step
        else:
            self.save()
        if progress.step == 0:
            with self._pausing():
                self.illustrator.begin()
        is_terminal = sys.stdout.isatty() and sys.stderr.isatty()
        is_shown = is_terminal and progress.step < total
        with tqdm(
            total=total, initial=progress.step, unit="step", disable=not is_shown
        ) as bar:
            while progress.step < total and not workers.is_stopping:
                updates, seconds = self._update(batches)
                for update in updates:
                    self._after_update(update, seconds, bar)
                since = time.perf_counter() - self.saved
                if self.is_new_best or self.plan.is_checkpoint(progress.step, since):
                    self.save()
        if self.saved_step != progress.step:
            self.save()

    def _update(self, batches: Iterator[Batch]) -> tuple[list[Update], float]:
        """Does the updates up to the next pause, as many as one call can.

        Returns:
            What they saw, and the seconds that each of them took.
        """
        step, steps = self.progress.step, self.network.steps
        count = min(steps.max_updates, self.plan.steps_to_pause(step))
        chunk = list(itertools.islice(batches, count))
        session = self.network.session
        if self.plan.is_traced(step):
            session = self.tracer = self.tracer or Tracer(session, step + 1)
        started = time.perf_counter()
        updates = steps.update(session, chunk)
        seconds = (time.perf_counter() - started) / count
        if self.tracer is not None and not self.plan.is_traced(step + count):
            last = step + count
            path = self.run.folder / f"trace-{self.tracer.first}-{last}.json"
            self.tracer.write(path)
            self.run.add("train", last, self.tracer.metadata[-1])
            self.tracer = None
        return updates, seconds

    def evaluate(self, split: str) -> tuple[Tally, np.ndarray]:
        """Evaluates a split by name; keeps its figures unless it has done so before.

        Args:
            split: `validation` or `test`.

        Returns:
            The tally, and the logits of all examples, float32 `[num_examples, 10]`.
        """
        examples = getattr(self.splits, split)
        with self._pausing():
            started = time.perf_counter()
            tally, logits = evaluate_averages(
                self.network, examples, self.config.evaluation_batch_size
            )
            seconds = time.perf_counter() - started
        if split not in self.progress.latest:
            self.progress.latest[split] = tally
            self._keep(split, tally)
            with self._pausing():
                self._summarize(split, tally, seconds)
        return tally, logits

    def save(self) -> None:
        """Saves a checkpoint of this very step.

        Raises:
            Diverged: the weights are no longer finite; nothing is saved.
            CannotWrite: disk full, or folder gone; the checkpoint before is intact.
        """
        progress = self.progress
        epoch, batch = divmod(progress.step, self.plan.steps_per_epoch)
        state = {
            **progress.state(),
            "seconds": self.seconds,
            # By these the examples to come are known, see batches.py.
            "position": {"seed": self.config.seed, "epoch": epoch, "batch": batch},
            "log_sizes": self.run.sizes(),
            "options": self.options,
        }
        try:
            self.checkpoints.save(
                state,
                self.network.variables.write,
                self.network.variables.num_bytes,
                progress.best_step,
            )
        except Diverged as error:
            raise self._diverged(str(error))
        self.saved, self.saved_step = time.perf_counter(), progress.step
        self.is_new_best = False

    @property
    def seconds(self) -> float:
        """Seconds the run has trained, without those spent in evaluations."""
        now = time.perf_counter()
        return self.progress.seconds + now - self.started - self.paused

    @property
    def _epoch(self) -> float:
        """Passes over the training split done."""
        return self.progress.step / self.plan.steps_per_epoch

    def _after_update(self, update: Update, seconds: float, bar: Any) -> None:
        """Counts, summarizes, evaluates and reports as far as it is due."""
        progress, plan = self.progress, self.plan
        progress.step += 1
        self.learning_rate = update.learning_rate
        self._check(update)
        batch = Tally()
        for tally in (batch, progress.since_row):
            tally.add(update.loss, update.correct, self.config.batch_size)
        step = progress.step
        if plan.summary_steps and step % plan.summary_steps == 0:
            self.run.add_summary(
                "train",
                step,
                loss=batch.loss,
                accuracy=batch.accuracy,
                learning_rate=update.learning_rate,
                gradient_norm=update.gradient_norm,
                examples_per_second=self.config.batch_size / seconds,
            )
        is_evaluation, is_report = plan.is_evaluation(step), plan.is_report(step)
        progress.latest = {}
        if is_evaluation or is_report:
            self._keep("train", progress.since_row)
        if is_evaluation:
            self._evaluate_all()
        if is_report:
            bar.write(self._report(batch))
            sys.stdout.flush()
        if is_evaluation or is_report:
            progress.since_row = Tally()
        bar.update()
        if not bar.disable:
            rate = (step - bar.initial) * self.config.batch_size
            rate /= self.seconds - progress.seconds
            bar.set_postfix_str(
                f"loss {batch.loss:.4f}, accuracy {batch.accuracy:.4f}, "
                f"{rate:,.0f} examples/s",
                refresh=False,
            )

    def _evaluate_all(self) -> None:
        """Evaluates the splits that are to be, and shows them in TensorBoard."""
        progress = self.progress
        for split in self.config.evaluate_splits:
            if len(getattr(self.splits, split).labels):
                _, logits = self.evaluate(split)
                # The test split is pictured at the end, and only then.
                if split == "validation" and self.plan.is_pictured(progress.step):
                    with self._pausing():
                        self.illustrator.add_pictures(progress.step, logits)
        if "validation" in progress.latest:
            self.is_new_best = progress.note_if_best(progress.latest["validation"])
        with self._pausing():
            self.illustrator.add_histograms(progress.step)

    def _summarize(self, split: str, tally: Tally, seconds: float) -> None:
        """Adds an evaluation's scalars, under the tags of the training's."""
        scalars = {
            "loss": tally.loss,
            "accuracy": tally.accuracy,
            "examples_per_second": tally.count / seconds,
        }
        if split == "validation":
            scalars["learning_rate"] = self.learning_rate
            if self.network.histograms is not None:
                scalars["gradient_norm"] = self.network.histograms.gradient_norm(
                    self.network.session, self.splits.validation
                )
        self.run.add_summary(split, self.progress.step, **scalars)

    @contextlib.contextmanager
    def _pausing(self) -> Iterator[None]:
        """Leaves a block out of the training's seconds; says where it diverged."""
        started = time.perf_counter()
        try:
            yield
        except Diverged as error:
            raise self._diverged(str(error))
        finally:
            self.paused += time.perf_counter() - started

    def _check(self, update: Update) -> None:
        """Raises `Diverged` if an update's loss or gradient is not finite."""
        if update.flaw:
            self.network.workers.barrier()  # all of them have seen it
            raise self._diverged(update.flaw)

    def _diverged(self, what: str) -> Diverged:
        """The error for a training that went astray."""
        return Diverged(
            f"{what} at step {self.progress.step}, learning rate "
            f"{self.learning_rate:g}: the training has diverged; start anew with a "
            "smaller --learning-rate"
        )

    def _keep(self, split: str, tally: Tally) -> None:
        """Adds a row to metrics.csv."""
        step = self.progress.step
        self.run.add_metrics(split, step, self._epoch, tally, self.seconds)

    def _report(self, batch: Tally) -> str:
        """The line on the last batch, on all since the row before, and more."""
        parts = [
            f"epoch {self._epoch:6.2f}",
            f"step {self.progress.step:6d}",
            f"loss {batch.loss:.4f}",
            f"batch {batch}",
            f"train {self.progress.since_row}",
        ]
        parts += [f"{split} {tally}" for split, tally in self.progress.latest.items()]
        return "  ".join(parts)
