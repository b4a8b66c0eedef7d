"""The lines that a run prints on the way; record/log.py has the result line."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from pathlib import Path

import numpy as np

from seqmnist.data.mnist import Splits
from seqmnist.paths import LOG_DIR, shown
from seqmnist.record.folder import END_FILES
from seqmnist.record.log import Result
from seqmnist.record.tally import Tally
from seqmnist.run.network import Network
from seqmnist.run.plan import Plan
from seqmnist.run.progress import Progress
from seqmnist.sequences import sequence_shape

FIGURES = [name for name in END_FILES if name.endswith(".png")]


def introduction(
    config: Namespace, splits: Splits, plan: Plan, network: Network, folder: Path
) -> str:
    """The first lines: script, network, data, recurrence, workers and run folder."""
    time_steps, input_size = sequence_shape(config.view, *splits.image_shape)
    train, validation, test = (len(split.labels) for split in splits[:3])
    steps = "no training"
    if plan.num_steps:
        steps = f"{_count(plan.num_steps, 'step')} of "
        steps += f"{_count(config.batch_size, 'image')}, "
        steps += f"{plan.steps_per_epoch:,} to an epoch"
    if plan.coarse_steps:
        half = " x ".join(str(n // 2) for n in splits.image_shape)
        steps += f", the first {plan.coarse_steps:,} on images of {half} pixels"
    permuted = "" if config.permute is None else f" permuted by seed {config.permute}"
    layers = "" if config.layers == 1 else f"{config.layers} x "
    workers = ""
    if network.workers.size > 1:
        workers = f"workers: {network.workers.description}\n"
    remark = f"data: {splits.remark}\n" if splits.remark else ""
    return (
        f"{config.script}, preset {config.preset}: "
        f"{_count(time_steps, 'time step')} of "
        f"{_count(input_size, 'pixel')}{permuted}, {layers}{config.cell_name} "
        f"with {_count(config.units, 'unit')}, "
        f"{_count(network.num_parameters, 'parameter')}\n"
        f"{steps}; {train:,} training, {validation:,} validation, {test:,} test "
        f"images\n{remark}recurrence: {network.engine.description}\n{workers}"
        f"run folder: {shown(folder)}"
    )


def report(progress: Progress, epoch: float, batch: Tally) -> str:
    """A line on the last batch, the batches since the last row, and evaluations."""
    parts = [
        f"epoch {epoch:6.2f}",
        f"step {progress.step:6d}",
        f"batch: {batch}",
        f"train: {progress.since_row}",
    ]
    parts += [f"{split}: {tally}" for split, tally in progress.latest.items()]
    return "  ".join(parts)


def conclusion(result: Result, config: Namespace, labels: np.ndarray) -> str:
    """The last lines before the result line: accuracy, figures, what to type next."""
    correct, count = map(int, result.test_correct.split("/"))
    figures = [name for name in FIGURES if (Path(result.folder) / name).exists()]
    log_dir, compare = shown(config.log_dir), "python compare.py"
    if os.path.abspath(config.log_dir) != str(LOG_DIR):
        compare += f" --log-dir {shlex.quote(log_dir)}"
    lines = [
        f"test accuracy {result.test_accuracy:.4f} ({correct:,} of {count:,} images), "
        f"loss {result.test_loss:.4f}",
        f"look at it: tensorboard --logdir {shlex.quote(log_dir)}, or "
        f"{', '.join(figures)} in the run folder; compare runs: {compare}",
    ]
    if result.steps and is_at_chance(correct, labels):
        lines.insert(
            1,
            "this is no better than a guess: train for longer, or with another "
            "--learning-rate",
        )
    return "\n".join(lines)


def is_at_chance(correct: int, labels: np.ndarray) -> bool:
    """Whether a guess has as many images right, in one of 100 cases or more.

    The guess is always the most frequent class; so 2.33 standard deviations of a
    binomial distribution are allowed for.

    Args:
        correct: images classified correctly.
        labels: whole numbers `[num_images]`.
    """
    count = len(labels)
    part = np.bincount(labels).max() / count
    return bool(correct <= part * count + 2.33 * (part * (1 - part) * count) ** 0.5)


def prediction(index: int, splits: Splits, network: Network) -> str:
    """Actual label, logits and predicted label of a test image, as three lines."""
    (images, labels), names = splits.test, splits.class_names
    feed = {network.classifier.images: images[index : index + 1]}
    logits = network.session.run(network.classifier.evaluation.logits, feed)[0]
    return (
        f"test image {index}: actual label {names[labels[index]]}\n"
        f"  logits {' '.join(f'{logit:.4f}' for logit in logits)}\n"
        f"  predicted label {names[logits.argmax()]}"
    )


def _count(number: int, noun: str) -> str:
    """A number and its noun: 1 step, 2 steps."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
