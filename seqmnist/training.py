"""A run from its configuration to its result, new or resumed."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, Callable, Sequence

from seqmnist import figures, options
from seqmnist import tf1 as tf
from seqmnist.checkpoints import Checkpoint, Checkpoints
from seqmnist.distributed.cluster import Cluster, code_digest, read_cluster
from seqmnist.distributed.workers import Workers
from seqmnist.errors import (
    CannotWrite,
    Diverged,
    Interrupted,
    UserError,
    differences,
)
from seqmnist.follower import follow
from seqmnist.initial_weights import check_path
from seqmnist.mnist import Splits
from seqmnist.network import Network
from seqmnist.one_worker import OneWorker
from seqmnist.paths import shown
from seqmnist.plan import Plan, make_plan, planned
from seqmnist.progress import Progress
from seqmnist.run_folder import (
    PERMUTATION_FILE,
    RESULT_FILE,
    RunFolder,
    check_log_dir,
    check_name,
    environment,
    read_config,
    write_text,
)
from seqmnist.run_log import Result, RunLog, too_short
from seqmnist.sequences import VIEWS, permutation
from seqmnist.signals import StopSignals
from seqmnist.trainer import Trainer


def train_and_evaluate(
    config: Namespace, splits: Splits, build_graph: Callable[[Namespace], Any]
) -> Result | None:
    """Trains a network, logs the run in its folder and evaluates it.

    With `config.resume`, the run in that folder goes on from its newest checkpoint, and
    ends as it would have ended without the stop: on the same machine and TensorFlow,
    the weights, metrics.csv (but for `seconds`) and the events (but for times, speeds
    and traces) are the same to the bit.

    Where the variable TF_CONFIG names several workers, this process is one of them, and
    only worker 0 has a run folder.

    Args:
        config: the run's configuration, as options.py parses it.
        splits: the data.
        build_graph: takes the configuration, returns a `Classifier`.

    Returns:
        The result, whose line is the last one printed; `None` for another worker than
        the chief.

    Raises:
        UserError: the options do not fit the data, the checkpoint to start from cannot
            be used, or the run folder cannot be made; nothing is left behind. Or the
            run to resume cannot be; it is left as it was. Or the workers do not agree.
        CannotWrite: the disk is full, or the folder gone.
        Diverged: loss, gradient or weights are no longer finite.
        Interrupted: a signal came; the run's state is saved.
        LostWorker: another worker has gone.
    """
    cluster = read_cluster(os.environ)
    if cluster is not None:
        # TensorFlow warns of steps that ended as they should, and says of a lost worker
        # in many lines what it raises as an error too.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    plan = make_plan(config, len(splits.train.labels))
    config = planned(config, plan)
    _check_index(config.predict, len(splits.test.labels))
    with contextlib.ExitStack() as stack:
        folder, start = None, None
        if cluster is not None and cluster.task_index:
            _follow(config, splits, plan, build_graph, cluster, stack)
            return None
        if config.resume is None:
            check_log_dir(config.log_dir, config.script)
            if config.init_checkpoint is not None:
                check_path(config.init_checkpoint)
        else:
            path = Path(os.path.abspath(config.resume))
            if (path / RESULT_FILE).exists():
                return _finished(path)
            check_name("--resume", path)
            folder = stack.enter_context(RunFolder(path))
            if (path / RESULT_FILE).exists():  # by a process that has just ended
                return _finished(path)
            start = _find_start(folder, splits, plan, config)
        figures.prepare()
        workers = OneWorker()
        if cluster is not None:
            first_step = 0 if start is None else start.state["step"]
            workers = _join(config, splits, cluster, first_step, stack)
        network = Network(config, build_graph, start, workers, stack)
        facts = {
            "workers": workers.size,
            "parameters": network.num_parameters,
            "recurrence_used": network.steps.description,
            "data_sha256": splits.digest,
        }
        if folder is None:
            folder = stack.enter_context(
                RunFolder.create(config.log_dir, config.script, config.seed)
            )
            record = {**options.recorded(config), **facts}
            folder.write_first_config({**record, "environment": environment()})
        command = _as_typed(config.script, ["--resume", shown(folder.path)])
        checkpoints = Checkpoints(folder.path)
        go_on = "go on with" if workers.size == 1 else "go on, with all workers, with"
        advice = f"{go_on}: {command}"
        signals = stack.enter_context(StopSignals(advice))
        workers.heed(signals, advice)
        try:
            if config.permute is not None:
                _write_permutation(folder.path, config.permute)
            result = _train(config, splits, plan, network, folder, facts, start, advice)
        except (CannotWrite, Diverged) as error:
            raise type(error)(f"{error}; {_what_is_left(checkpoints, error, advice)}")
    if config.show and plan.num_steps:
        figures.show_curves(folder.path)
    return result


def _train(
    config: Namespace,
    splits: Splits,
    plan: Plan,
    network: Network,
    folder: RunFolder,
    facts: dict[str, Any],
    start: Checkpoint | None,
    advice: str,
) -> Result:
    """Does the steps that are left, in the run's folder, and tests the network."""
    workers = network.workers
    progress = Progress() if start is None else Progress.from_state(start.state)
    sizes = None if start is None else start.state["log_sizes"]
    with RunLog(folder.path, network.graph_def, sizes, step=progress.step) as run:
        if config.resume is not None:
            _note_resumption(folder, config, facts, progress.step)
        print(_introduction(config, network.num_parameters, splits, plan))
        print(f"recurrence: {network.steps.description}")
        if workers.size > 1:
            print(f"workers: {workers.description}")
        print(f"run folder: {shown(folder.path)}")
        if config.resume is not None:
            print(f"resumed after step {progress.step}")
        sys.stdout.flush()
        trainer = Trainer(
            *(config, splits, plan, network, run, Checkpoints(folder.path), progress)
        )
        trainer.train()
        if workers.is_stopping:
            raise Interrupted(
                workers.stop_number or signal.SIGTERM,  # which another one was told
                f"after step {progress.step} of {plan.num_steps}, which is saved; "
                f"{advice}",
            )
        with network.averaged():
            result = _test(trainer, network)
    if workers.stop_number is not None:
        raise Interrupted(workers.stop_number, "after the end: the run is finished")
    return result


def _join(
    config: Namespace,
    splits: Splits,
    cluster: Cluster,
    first_step: int,
    stack: contextlib.ExitStack,
) -> Workers:
    """Makes this process a worker of the cluster."""
    num_workers = len(cluster.addresses)
    if config.batch_size < num_workers:
        raise UserError(
            f"--batch-size {config.batch_size}: each of the {num_workers} workers in "
            f"TF_CONFIG needs an image of every batch; expected {num_workers} or more"
        )
    facts = {
        "TensorFlow": tf.VERSION,
        "code": code_digest(config.script),
        "data": splits.digest,
        **options.shared(config),
    }
    return stack.enter_context(
        Workers(cluster, config.worker_timeout, facts, first_step)
    )


def _follow(
    config: Namespace,
    splits: Splits,
    plan: Plan,
    build_graph: Callable[[Namespace], Any],
    cluster: Cluster,
    stack: contextlib.ExitStack,
) -> None:
    """Helps the chief, which has the run's folder."""
    if config.resume is not None and (Path(config.resume) / RESULT_FILE).exists():
        _finished(Path(config.resume))
        return
    workers = _join(config, splits, cluster, 0, stack)
    network = Network(config, build_graph, None, workers, stack)
    print(
        f"worker {workers.index} of {workers.size}: recurrence "
        f"{network.steps.description}, from step {workers.first_step}",
        flush=True,
    )
    follow(config, splits, plan, network)


def _test(trainer: Trainer, network: Network) -> Result:
    """Evaluates the test split, draws figures and writes the result, that last."""
    config, progress, run = trainer.config, trainer.progress, trainer.run
    test, logits = trainer.evaluate("test")
    if config.predict is not None:
        print(_prediction(config, trainer.splits, network))
    result = Result(
        script=config.script,
        preset=config.preset,
        view=config.view,
        cell=config.cell_name,
        units=config.units,
        parameters=network.num_parameters,
        seed=config.seed,
        steps=progress.step,
        test_accuracy=test.accuracy,
        test_correct=f"{test.correct}/{test.count}",
        test_loss=test.loss,
        seconds=trainer.seconds,
        run=run.folder.name,
    )
    trainer.illustrator.finish(progress.step, logits)
    if trainer.plan.num_steps:
        figures.save_curves(run.folder)
    run.write_result(result)
    print(result, flush=True)
    network.workers.barrier()
    return result


def _write_permutation(folder: Path, seed: int) -> None:
    """Writes the order in which the pixels are read, a line for each."""
    lines = "".join(f"{pixel}\n" for pixel in permutation(seed))
    write_text(folder / PERMUTATION_FILE, lines)


def _finished(folder: Path) -> Result:
    """Says that a run needs no resumption; returns its result."""
    try:
        result = Result.parse((folder / RESULT_FILE).read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{shown(folder / RESULT_FILE)}: by it the run is finished, but it cannot "
            f"be read ({error}); move it away to have --resume write it again"
        )
    print(f"{shown(folder)}: this run is finished")
    print(result, flush=True)
    return result


def _find_start(
    folder: RunFolder, splits: Splits, plan: Plan, config: Namespace
) -> Checkpoint | None:
    """The checkpoint to go on from, or `None` if the run was stopped before its first.

    Says on stderr what a user should know of it.
    """
    record = read_config(config.resume)
    if record.get("data_sha256") != splits.digest:
        raise UserError(
            f"--resume {config.resume}: {config.data_dir} holds other data (SHA-256 "
            f"{splits.digest}) than the run was started with "
            f"({record.get('data_sha256')}); give --data-dir the folder with those"
        )
    before = record.get("decay_steps", config.decay_steps)
    if before != config.decay_steps:
        raise UserError(
            f"--resume {config.resume}: would be another run with --decay-steps all, "
            f"{config.decay_steps} (the run has {before}); leave it out"
        )
    if folder.left_by:
        print(f"{folder.left_by}, left without unlocking the run", file=sys.stderr)
    checkpoints = Checkpoints(folder.path)
    start, problems = checkpoints.newest(
        lambda state: too_short(folder.path, state["log_sizes"])
    )
    for line in problems:
        print(line, file=sys.stderr)
    if start is None:
        if not checkpoints.has_any():
            return None
        words = shlex.split(str(record.get("command")))
        raise UserError(
            f"--resume {config.resume}: no checkpoint can be used; start anew: "
            f"{_as_typed(config.script, words[1:])}"
        )
    step = start.state["step"]
    epoch, batch = divmod(step, plan.steps_per_epoch)
    position = {"seed": config.seed, "epoch": epoch, "batch": batch}
    saved, here = start.state["options"], options.deciding(config)
    # A checkpoint may be older than an option.
    differing = differences(
        {name: value for name, value in saved.items() if name in here},
        {name: value for name, value in here.items() if name in saved},
    )
    differing += differences(start.state["position"], position)
    if differing or step > plan.num_steps:
        raise UserError(
            f"{shown(start.prefix)} is not of the run that config.json tells of: "
            f"{', '.join(differing) or f'step {step} of {plan.num_steps}'}; restore "
            "the one that was changed, or start a new run with --init-checkpoint"
        )
    best_step = start.state["best_step"]
    best = start if best_step is None else checkpoints.read(best_step)
    if isinstance(best, str):
        # No files at all: a later one was better, which is damaged and found again.
        if best_step in checkpoints.steps():
            print(f"{best}; it was the best, the next best is kept", file=sys.stderr)
        start.state.update(best_step=None, best=None)
    return start


def _note_resumption(
    folder: RunFolder, config: Namespace, facts: dict[str, Any], step: int
) -> None:
    """Adds to config.json; says what has changed and will show in the last digits."""
    record = read_config(str(folder.path))
    before = {"workers": 1, **record, **record.get("environment", {})}
    now = environment()
    changes = [
        f"{name} was {before.get(name)}, is {value}"
        for name, value in {**facts, **now}.items()
        if name not in ("started", "data_sha256") and before.get(name) != value
    ]
    if changes:
        print(
            f"not to the bit as without the stop: {'; '.join(changes)}", file=sys.stderr
        )
    resumption = {"step": step, "command": config.command, "environment": now}
    record["resumed"] = [*record.get("resumed", []), resumption]
    folder.write_config(record)


def _as_typed(script: str, words: Sequence[str]) -> str:
    """What to type to run a script with these arguments."""
    path = f"{script}.py"
    if os.path.basename(sys.argv[0]) == path:
        path = shown(sys.argv[0])
    return " ".join(map(shlex.quote, ["python", path, *words]))


def _what_is_left(checkpoints: Checkpoints, error: UserError, advice: str) -> str:
    """What a run that failed has left behind, and what can be done with it."""
    newest, _ = checkpoints.newest()
    if newest is None:
        return "no checkpoint is left: start anew"
    if isinstance(error, Diverged):
        return f"the last good checkpoint is {shown(newest.prefix)}"
    step = newest.state["step"]
    return f"saved is step {step}; when that is mended, {advice}"


def _prediction(config: Namespace, splits: Splits, network: Network) -> str:
    """Actual label, logits and predicted label of a test image, as three lines."""
    index, test, classifier = config.predict, splits.test, network.classifier
    feed = {classifier.images: test.images[index : index + 1]}
    logits = network.session.run(classifier.logits, feed)[0]
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
    permuted = "" if config.permute is None else f" permuted by seed {config.permute}"
    layers = "" if config.layers == 1 else f"{config.layers} x "
    return (
        f"{config.script}, preset {config.preset}: "
        f"{_count(view.time_steps, 'time step')} of "
        f"{_count(view.input_size, 'pixel')}{permuted}, {layers}{config.cell_name} "
        f"with {_count(config.units, 'unit')}, "
        f"{_count(num_parameters, 'parameter')}\n"
        f"{steps}; {train:,} training, {validation:,} validation, {test:,} test images"
    )


def _count(number: int, noun: str) -> str:
    """A number and its noun: 1 step, 2 steps."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
