"""The chief's recorder: writes logs, checkpoints and figures, and prints lines."""

from __future__ import annotations

import contextlib
import sys
import time
from argparse import Namespace
from typing import Iterator, Mapping

from tqdm import tqdm

from seqmnist import tf1 as tf
from seqmnist.cli import options
from seqmnist.data.mnist import Splits
from seqmnist.errors import Diverged, UserError
from seqmnist.paths import shown
from seqmnist.record import figures
from seqmnist.record.folder import (
    CONFIG_FILE,
    PERMUTATION_FILE,
    RESULT_FILE,
    RunFolder,
    write_text,
)
from seqmnist.record.log import Result, RunLog
from seqmnist.record.tally import Tally
from seqmnist.record.trace import Tracer
from seqmnist.run import wording
from seqmnist.run.checkpoints import Checkpoint, Checkpoints
from seqmnist.run.engine import Update
from seqmnist.run.illustrator import Illustrator
from seqmnist.run.network import Network
from seqmnist.run.opening import as_typed, note_resumption, read_result
from seqmnist.run.plan import Plan
from seqmnist.run.progress import Progress
from seqmnist.run.quiet_recorder import Evaluation, QuietRecorder
from seqmnist.sequences import permutation
from seqmnist.waiting import waiting_for


class Recorder(QuietRecorder):
    """Writes a run's results to its folder, and prints the progress.

    Args:
        config: the run's configuration.
        splits: the data.
        plan: what is due at which steps.
        network, progress: as for `QuietRecorder`.
        start: the checkpoint from which the run continues, or `None`.
        folder: the run's folder.
    """

    promise = "finishing the step and saving"

    def __init__(
        self,
        config: Namespace,
        splits: Splits,
        plan: Plan,
        network: Network,
        progress: Progress,
        start: Checkpoint | None,
        folder: RunFolder,
    ) -> None:
        super().__init__(network, progress)
        self._config = config
        self._splits = splits
        self._plan = plan
        self._start = start
        self._folder = folder
        self._checkpoints = Checkpoints(folder.path)
        self._tracer: Tracer | None = None
        self._stack = contextlib.ExitStack()
        who = "" if network.workers.size == 1 else ", with all workers,"
        command = as_typed(config.script, ["--resume", shown(folder.path)])
        self.advice = f"go on{who} with: {command}"

    def begin(self) -> None:
        config, network, progress = self._config, self.network, self.progress
        if config.permute is not None:
            height, width = config.image_shape
            order = permutation(config.permute, height * width)
            lines = "".join(f"{pixel}\n" for pixel in order)
            write_text(self._folder.path / PERMUTATION_FILE, lines)
        if config.resume is not None:
            note_resumption(self._folder, config, self._splits, network, progress.step)
        if (self._folder.path / RESULT_FILE).exists():
            self._folder.put_end_away(read_result(self._folder.path).steps)
        sizes = None if self._start is None else self._start.state["log_sizes"]
        log = RunLog(self._folder.path, network.graph_def, sizes, step=progress.step)
        self._log = self._stack.enter_context(log)
        self._illustrator = Illustrator(config, network, self._splits, log)
        folder = self._folder.path
        print(wording.introduction(config, self._splits, self._plan, network, folder))
        if config.resume is not None:
            print(f"resumed after step {progress.step}")
        sys.stdout.flush()
        self._saved_step, self._saved = progress.step, time.perf_counter()
        if self._start is None:
            self.save()
        if progress.step == 0:
            self._illustrator.begin()
            if not self._plan.num_steps:
                self._illustrator.add_inputs()
        total, initial = self._plan.num_steps, progress.step
        is_shown = sys.stdout.isatty() and sys.stderr.isatty() and initial < total
        self._bar = tqdm(
            total=total, initial=initial, unit="step", disable=not is_shown
        )
        if is_shown and network.engine.description.startswith("fast"):
            self._bar.set_postfix_str("compiling")
        self._stack.callback(self._bar.close)
        self._seconds_before = progress.seconds

    @contextlib.contextmanager
    def traced(self, session: tf.Session, count: int) -> Iterator[tf.Session | Tracer]:
        step = self.progress.step
        last = step + count
        if self._plan.is_traced(step):
            session = self._tracer = self._tracer or Tracer(session, step + 1)
        yield session
        if self._tracer is not None and not self._plan.is_traced(last):
            name = f"trace-{self._tracer.first}-{last}.json"
            self._tracer.write(self._folder.path / name)
            self._log.add("train", last, self._tracer.metadata[-1])
            self._tracer = None

    def add_update(
        self, update: Update, seconds: float, evaluations: Mapping[str, Evaluation]
    ) -> None:
        step, plan, batch = self.progress.step, self._plan, Tally()
        if step == 1:  # not before: drawing takes longer than many steps
            with self.progress.pausing():
                self._illustrator.add_inputs()
        batch.add(update.loss, update.correct, self._config.batch_size)
        if plan.is_summary(step):
            self._log.add_summary(
                "train",
                step,
                loss=batch.loss,
                accuracy=batch.accuracy,
                learning_rate=update.learning_rate,
                gradient_norm=update.gradient_norm,
                examples_per_second=batch.count / seconds,
            )
        if plan.is_row(step):
            self._add_row("train", self.progress.since_row)
        for split, evaluation in evaluations.items():
            self._add_evaluation(split, evaluation)
        if plan.is_evaluation(step):
            with self.progress.pausing():
                self._illustrator.add_histograms(step)
        if plan.is_report(step):
            self._bar.write(wording.report(self.progress, self._epoch, batch))
            sys.stdout.flush()
        self._move_bar(batch)

    def save_if_due(self) -> None:
        step = self.progress.step
        is_new_best = step == self.progress.best_step
        since = time.perf_counter() - self._saved
        if is_new_best or self._plan.is_checkpoint(step, since):
            self.save()

    def end(self) -> None:
        self._bar.close()
        if self._saved_step != self.progress.step:
            self.save()

    def save(self) -> None:
        """Saves a checkpoint of the current step.

        Raises:
            Diverged: the weights are no longer finite; nothing is saved.
            CannotWrite: disk full, or folder gone; the previous checkpoint is intact.
        """
        config, progress = self._config, self.progress
        state = {
            **progress.state(),
            "position": self._plan.position(progress.step, config.seed),
            "log_sizes": self._log.sizes(),
            "options": options.deciding(config),
        }
        variables = self.network.variables
        self._checkpoints.save(
            state, variables.write, variables.num_bytes, progress.best_step
        )
        self._saved_step, self._saved = progress.step, time.perf_counter()

    def finish(self, test: Evaluation) -> Result:
        config, progress, path = self._config, self.progress, self._folder.path
        tally = test.tally
        if "test" not in progress.latest:  # after the last step
            self._add_evaluation("test", test)
        if config.predict is not None:
            print(wording.prediction(config.predict, self._splits, self.network))
        result = Result(
            script=config.script,
            preset=config.preset,
            view=config.view,
            cell=config.cell_name,
            units=config.units,
            parameters=self.network.num_parameters,
            seed=config.seed,
            steps=progress.step,
            test_accuracy=tally.accuracy,
            test_correct=f"{tally.correct}/{tally.count}",
            test_loss=tally.loss,
            seconds=progress.seconds,
            run=path.name,
            folder=str(path),
        )
        with waiting_for("drawing figures"):
            self._illustrator.finish(progress.step, test.logits)
            if self._plan.num_steps:
                figures.save_curves(path)
        self._log.write_result(result)  # the last file
        print(wording.conclusion(result, config, self._splits.test.labels))
        print(result, flush=True)
        return result

    def close(self) -> None:
        self._stack.close()

    def show(self) -> None:
        if self._plan.num_steps:
            figures.show_curves(self._folder.path)

    def stopped(self) -> str:
        step, num_steps = self.progress.step, self._plan.num_steps
        return f"after step {step} of {num_steps}, which is saved; {self.advice}"

    def explained(self, error: UserError) -> str:
        has_diverged, what = isinstance(error, Diverged), str(error)
        if has_diverged:
            what += (
                f" at step {self.progress.step}, learning rate "
                f"{self.progress.learning_rate:g}: the training has diverged; start "
                "anew with a smaller --learning-rate"
            )
        newest, _ = self._checkpoints.newest()
        if not (self._folder.path / CONFIG_FILE).exists():
            return f"{what}; the folder is gone: if it was moved, --resume it there"
        if newest is None:
            return f"{what}; no checkpoint is left: start anew"
        if has_diverged:
            return f"{what}; the last good checkpoint is {shown(newest.prefix)}"
        step = newest.state["step"]
        return f"{what}; saved is step {step}; when that is mended, {self.advice}"

    @property
    def _epoch(self) -> float:
        """Passes over the training split done, a fraction."""
        return self.progress.step / self._plan.steps_per_epoch

    def _move_bar(self, batch: Tally) -> None:
        """Moves the progress bar by one step."""
        bar = self._bar
        bar.update()
        if not bar.disable:
            seconds = self.progress.seconds - self._seconds_before
            rate = (self.progress.step - bar.initial) * batch.count / seconds
            bar.set_postfix_str(
                f"loss {batch.loss:.4f}, accuracy {batch.accuracy:.4f}, "
                f"{rate:,.0f} examples/s",
                refresh=False,
            )

    def _add_evaluation(self, split: str, evaluation: Evaluation) -> None:
        """Adds an evaluation's row, scalars and pictures."""
        (tally, logits, seconds), step = evaluation, self.progress.step
        is_validation, histograms = split == "validation", self.network.histograms
        self._add_row(split, tally)
        scalars = {
            "loss": tally.loss,
            "accuracy": tally.accuracy,
            "examples_per_second": tally.count / seconds,
        }
        with self.progress.pausing():
            if is_validation:
                scalars["learning_rate"] = self.progress.learning_rate
            if is_validation and histograms is not None:
                scalars["gradient_norm"] = histograms.gradient_norm(
                    self.network.session, self._splits.validation
                )
            self._log.add_summary(split, step, **scalars)
            # Pictures of the test split are drawn only at the end.
            if is_validation and self._plan.is_pictured(step):
                self._illustrator.add_pictures(step, logits)

    def _add_row(self, split: str, tally: Tally) -> None:
        """Adds a row to metrics.csv."""
        progress = self.progress
        self._log.add_metrics(
            split, progress.step, self._epoch, tally, progress.seconds
        )
