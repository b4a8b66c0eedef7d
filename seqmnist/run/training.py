"""A run from its configuration to its result, new or resumed."""

from __future__ import annotations

import contextlib
import os
from argparse import Namespace
from typing import Callable

from seqmnist.classifier import Classifier
from seqmnist.data.mnist import Splits
from seqmnist.errors import CannotWrite, Diverged, Interrupted, UserError
from seqmnist.record.log import Result
from seqmnist.run.loop import TrainingLoop
from seqmnist.run.network import Network
from seqmnist.run.one_worker import OneWorker
from seqmnist.run.opening import make_folder, open_run
from seqmnist.run.plan import fitted, make_plan, planned
from seqmnist.run.progress import Progress
from seqmnist.run.quiet_recorder import QuietRecorder
from seqmnist.run.recorder import Recorder
from seqmnist.run.signals import StopSignals
from seqmnist.scripts import script_digest
from seqmnist.waiting import waiting_for


def train_and_evaluate(
    config: Namespace,
    splits: Splits,
    network: Callable,
    loss: Callable,
    optimizer: Callable,
) -> Result | None:
    """Trains a network, logs the run in its folder and evaluates the network.

    With `config.resume`, the run in that folder continues from its newest checkpoint,
    and ends as it would have ended without the stop: on the same machine and
    TensorFlow, the weights, metrics.csv (except `seconds`) and the events (except
    times, speeds and traces) are identical to the bit.

    If the environment variable TF_CONFIG names several workers, this process is one of
    them, and only worker 0 has a run folder.

    Args:
        config: the run's configuration, see cli/options.py.
        splits: the data.
        network, loss, optimizer: the script's functions; see `Classifier`.

    Returns:
        The result, whose line is the last one printed. Workers other than the chief
        return `None`, unless the run was finished before.

    Raises:
        UserError: the options do not fit the data, the checkpoint to start from cannot
            be used, or the run folder cannot be made; nothing is left behind. Or the
            run to resume cannot be resumed, and is not changed. Or the workers have
            different options.
        CannotWrite: the disk is full, or the folder gone.
        Diverged: loss, gradient or weights are no longer finite.
        Interrupted: a signal came; the run's state is saved.
        LostWorker: another worker has gone.
    """
    plan = make_plan(config, len(splits.train.labels))
    config = fitted(planned(config, plan), splits)
    _check_index(config.predict, len(splits.test.labels))
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(_find_workers(config, splits.digest, network))
        opening = open_run(config, splits, plan, workers.index == 0, stack)
        if opening.result is not None:
            return opening.result
        progress = Progress()
        if opening.start is not None:
            progress = Progress.from_state(opening.start.state)
        workers.first_step = progress.step
        with waiting_for("building the graph"):
            classifier = Classifier(config, network, loss, optimizer)
            trained = Network(classifier, opening.start, workers, stack)
        progress.step = workers.first_step  # the chief has sent it to the others
        recorder = QuietRecorder(trained, progress)
        if workers.index == 0:
            recorder = Recorder(
                config=config,
                splits=splits,
                plan=plan,
                network=trained,
                progress=progress,
                start=opening.start,
                folder=opening.folder or make_folder(config, splits, trained, stack),
            )
        loop = TrainingLoop(config, splits, plan, trained, progress, recorder)
        result = _train(loop, recorder, workers)
    if config.show:
        recorder.show()
    return result


def _find_workers(config: Namespace, data_digest: str, network: Callable) -> OneWorker:
    """This process, as one of several workers if TF_CONFIG is set."""
    if not os.environ.get("TF_CONFIG"):
        return OneWorker()
    from seqmnist.distributed.workers import find_workers

    return find_workers(config, data_digest, script_digest(network))


def _train(
    loop: TrainingLoop, recorder: QuietRecorder, workers: OneWorker
) -> Result | None:
    """Does the remaining steps, and tests the network."""
    with StopSignals(recorder.advice, recorder.promise) as signals:
        workers.heed(signals, recorder.advice)
        try:
            with contextlib.closing(recorder):
                loop.train()
                result = loop.test()
        except (CannotWrite, Diverged) as error:
            raise type(error)(recorder.explained(error))
        if result is not None and workers.stop_number is not None:
            raise Interrupted(workers.stop_number, "after the end: the run is finished")
    return result


def _check_index(index: int | None, num_test: int) -> None:
    """Raises a `UserError` unless `index` is `None` or the index of a test image."""
    if index is not None and index >= num_test:
        raise UserError(
            f"--predict {index}: expected 0 to {num_test - 1}, as the test split has "
            f"{num_test} images"
        )
