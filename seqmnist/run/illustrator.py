"""The pictures of a run: figures, and TensorBoard's pages other than scalars."""

from __future__ import annotations

import csv
import io
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.cli import options
from seqmnist.cores import num_cores
from seqmnist.data.batches import training_batches
from seqmnist.data.distortions import Distortions
from seqmnist.data.mnist import Split, Splits
from seqmnist.errors import Diverged
from seqmnist.record import figures, summaries
from seqmnist.record.folder import write_text
from seqmnist.record.log import WHOLE_RUN, RunLog
from seqmnist.record.predictions import write_predictions
from seqmnist.record.reading import draw_reading, softmax
from seqmnist.run.network import Network

READING_FIGURE = "reading.png"
READING_FILE = "reading.csv"

# Images of the first step that TensorBoard shows, next to their sequences.
NUM_INPUTS = 4

# The most values of the cell's outputs, over images and time steps, in memory at once:
# 100 megabytes, or 500 images of 784 pixels with 64 units, shared by the cores.
MAX_OUTPUTS = 25_000_000

# Correctly classified images in reading.png, in addition to one wrongly classified.
NUM_READ_CORRECTLY = 3


class Illustrator:
    """Adds pictures, tables and histograms to a run's log and folder.

    With `--summaries scalars`, adds only the tables, which take no time.

    Args:
        config: the run's configuration.
        network: the run's network.
        splits: the data.
        run: the run's log.
    """

    def __init__(
        self, config: Namespace, network: Network, splits: Splits, run: RunLog
    ) -> None:
        self.config = config
        self.network = network
        self.splits = splits
        self.run = run

    def begin(self) -> None:
        """Adds options and initial histograms to a new log.

        Raises:
            Diverged: the initial weights are not finite.
            CannotWrite: disk full, or folder gone.
        """
        network, values = self.network, options.recorded(self.config)
        rows = {**values, "parameters": network.num_parameters}
        rows["recurrence_used"] = network.engine.description
        self.run.add(WHOLE_RUN, 0, summaries.table("configuration", rows))
        names = ["script", "preset", *options.DISTINGUISHING]
        columns = summaries.hyperparameters(values, names, options.NUMBERS)
        self.run.add(WHOLE_RUN, 0, *columns)
        self.add_histograms(0)

    def add_inputs(self) -> None:
        """Adds a picture of the first step's first images and their sequences.

        Raises:
            CannotWrite: disk full, or folder gone.
        """
        if self.network.histograms is not None:
            self._add_inputs()

    def add_histograms(self, step: int) -> None:
        """Adds histograms of weights and gradients.

        Args:
            step: updates done.

        Raises:
            Diverged: a weight or gradient is not finite.
            CannotWrite: disk full, or folder gone.
        """
        if self.network.histograms is None:
            return
        try:
            summary = self.network.histograms.compute(
                self.network.session, self.splits.train
            )
        except tf.errors.InvalidArgumentError:
            raise Diverged("a weight or gradient is not a finite number")
        self.run.add("train", step, summary)

    def add_pictures(self, step: int, logits: np.ndarray) -> None:
        """Adds the validation split's confusion matrix and most confident mistakes.

        Args:
            step: updates done.
            logits: the split's logits, float32 `[num_examples, num_classes]`.

        Raises:
            CannotWrite: disk full, or folder gone.
        """
        if self.network.histograms is not None:
            self._add_pictures("validation", step, logits)

    def finish(self, step: int, logits: np.ndarray) -> None:
        """Adds the test split's pictures, and writes pictures and reading to files.

        Args:
            step: updates done.
            logits: the test split's logits, float32 `[num_examples, num_classes]`.

        Raises:
            CannotWrite: disk full, or folder gone.
        """
        if self.network.histograms is not None:
            self._save_figures(step, logits)
        self.run.add(WHOLE_RUN, step, summaries.success())

    @figures.in_own_style
    def _add_inputs(self) -> None:
        """See `add_inputs`."""
        classifier, config = self.network.classifier, self.config
        train = self.splits.train
        batches = training_batches(
            train,
            min(config.batch_size, len(train.labels)),  # a run of no steps has no batch
            config.seed,
            num_steps=1,
            distortions=Distortions.of(config),
            share=slice(NUM_INPUTS),
        )
        images = next(batches).images
        feed = {classifier.images: images}
        inputs = self.network.session.run(classifier.evaluation.inputs, feed)
        figure = figures.inputs(images, inputs, config.view)
        self.run.add(WHOLE_RUN, 0, summaries.image("inputs", figure))

    @figures.in_own_style
    def _add_pictures(self, split: str, step: int, logits: np.ndarray) -> dict:
        """Adds a split's pictures to the log; returns the figures by their names."""
        pictures = self._pictures(split, step, logits)
        for name, figure in pictures.items():
            self.run.add(split, step, summaries.image(name, figure))
        return pictures

    @figures.in_own_style
    def _save_figures(self, step: int, logits: np.ndarray) -> None:
        """Draws the test split's pictures and the reading; writes the predictions."""
        test, folder = self.splits.test, self.run.folder
        for name, figure in self._add_pictures("test", step, logits).items():
            figures.save(figure, folder / f"{name}.png")
        write_predictions(folder, test.labels, logits, self.splits.class_names)
        correct = self._count_while_reading(test)
        # The fast path's logits may differ from these in the last digits. The last
        # count has to be the result's.
        correct[-1] = (logits.argmax(1) == test.labels).sum()
        _write_reading(folder / READING_FILE, correct, len(test.labels))
        chosen = _chosen(test.labels, logits.argmax(1))
        figure = figures.new_figure(9, 9)
        draw_reading(
            figure,
            correct / len(test.labels),
            test.images[chosen],
            softmax(self._logits_per_step(test.images[chosen])),
            test.labels[chosen].tolist(),
            figures.drawable(self.splits.class_names),
            in_order=self.config.permute is None,
        )
        figures.save(figure, folder / READING_FIGURE)

    def _pictures(self, split: str, step: int, logits: np.ndarray) -> dict:
        """Figures of the correct and wrong predictions, by their names."""
        examples: Split = getattr(self.splits, split)
        title = f"{split} images, step {step}"
        names = figures.drawable(self.splits.class_names)
        return {
            "confusion": figures.confusion(examples.labels, logits, title, names),
            "mistakes": figures.mistakes(examples, softmax(logits), title, names),
        }

    def _count_while_reading(self, split: Split) -> np.ndarray:
        """Counts the images classified correctly after each time step."""
        inputs = self.network.classifier.evaluation.inputs
        time_steps = inputs.shape.as_list()[1]
        per_image = time_steps * self.config.units * num_cores()
        size = min(self.config.evaluation_batch_size, MAX_OUTPUTS // per_image) or 1

        def count(start):
            chosen = slice(start, start + size)
            predictions = self._logits_per_step(split.images[chosen]).argmax(2)
            return (predictions == split.labels[chosen, None]).sum(0)

        with ThreadPoolExecutor(num_cores()) as threads:
            counts = list(threads.map(count, range(0, len(split.labels), size)))
        return np.sum(counts, 0)

    def _logits_per_step(self, images: np.ndarray) -> np.ndarray:
        """Logits after each time step, `[num_images, time_steps, num_classes]`."""
        classifier = self.network.classifier
        feed = {classifier.images: images}
        fetch = classifier.evaluation.logits_per_step
        return self.network.session.run(fetch, feed)


def _chosen(labels: np.ndarray, predictions: np.ndarray) -> list[int]:
    """Indices of some correct images and a wrong one, all of different classes."""
    chosen: list[int] = []
    is_right = labels == predictions
    for wanted, count in ((True, NUM_READ_CORRECTLY), (False, 1)):
        for index in np.flatnonzero(is_right == wanted):
            if count and labels[index] not in labels[chosen]:
                chosen.append(int(index))
                count -= 1
    return chosen


def _write_reading(path: Path, correct: np.ndarray, count: int) -> None:
    """Writes the accuracy and the correct images after each time step as CSV."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(("time_step", "accuracy", "correct", "count"))
    for time_step, number in enumerate(correct.tolist(), 1):
        rows.writerow((time_step, f"{number / count:.6g}", number, count))
    write_text(path, file.getvalue())
