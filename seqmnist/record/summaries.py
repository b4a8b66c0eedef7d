"""TensorBoard summaries other than scalars, as `tf.Summary` messages."""

from __future__ import annotations

import contextlib
import html
import re
from typing import TYPE_CHECKING, Collection, Mapping, Sequence

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.classifier import Classifier
from seqmnist.data.mnist import Split
from seqmnist.errors import one_line
from seqmnist.record import figures

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from matplotlib.figure import Figure

# Gradients in histograms are those of the mean loss over this many images, or over a
# batch if a batch is smaller. The number is large enough for a clear picture, and small
# enough to take a fraction of a second even pixel by pixel, with no more memory than a
# plain training step.
NUM_GRADIENT_IMAGES = 100

MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|])")  # characters with a meaning in it

# Columns for TensorBoard to put first; marked as columns that differ between runs.
FIRST_COLUMNS = {"script", "view", "units", "batch_size", "learning_rate"}

# The metrics on the HPARAMS page: name, folder in the run's folder, and tag.
METRICS = (
    ("test accuracy", "", "accuracy"),
    ("test loss", "", "loss"),
    ("validation accuracy", "validation", "accuracy"),
    ("validation loss", "validation", "loss"),
    ("train examples_per_second", "train", "examples_per_second"),
)


class Histograms:
    """Histograms of all weights, and of the loss's gradients with respect to them.

    The ops are added to the classifier's graph.

    Args:
        classifier: the `Classifier`; its graph is not finalized yet.
        batch_size: images per step.
    """

    def __init__(self, classifier: Classifier, batch_size: int) -> None:
        self._classifier = classifier
        self._num_images = min(NUM_GRADIENT_IMAGES, batch_size)
        summaries = []
        with classifier.graph.as_default():
            weights = classifier.optimizer.weights
            for gradient, variable in zip(classifier.gradients, weights):
                name = variable.op.name
                summaries += [
                    tf.summary.histogram(f"weights/{name}", variable, collections=[]),
                    tf.summary.histogram(f"gradients/{name}", gradient, collections=[]),
                ]
            self._summary = tf.summary.merge(summaries, collections=[])

    def compute(self, session: tf.Session, split: Split) -> tf.Summary:
        """Computes the histograms.

        Args:
            session: a session with the weights.
            split: the split whose first images give the gradients.

        Returns:
            A `tf.Summary` with `weights/NAME` and `gradients/NAME`.

        Raises:
            tf.errors.InvalidArgumentError: a weight or gradient is not finite.
        """
        summary = session.run(self._summary, self._feed(split))
        return tf.Summary.FromString(summary)

    def gradient_norm(self, session: tf.Session, split: Split) -> float:
        """The Euclidean norm of all these gradients together."""
        norm = self._classifier.update.gradient_norm
        return session.run(norm, self._feed(split))

    def _feed(self, split: Split) -> dict[tf.Tensor, np.ndarray]:
        """The feed with the split's first images."""
        return {
            self._classifier.images: split.images[: self._num_images],
            self._classifier.labels: split.labels[: self._num_images],
        }


def image(tag: str, figure: Figure) -> tf.Summary:
    """Makes an image for TensorBoard's IMAGES page.

    Args:
        tag: the image's name on the page.
        figure: a matplotlib figure.

    Returns:
        A `tf.Summary` with the figure as PNG.
    """
    width, height = figure.canvas.get_width_height()
    value = tf.Summary.Image(
        width=width,
        height=height,
        colorspace=4,  # red, green, blue, alpha
        encoded_image_string=figures.as_png(figure),
    )
    return tf.Summary(value=[tf.Summary.Value(tag=tag, image=value)])


def table(tag: str, rows: Mapping[str, object]) -> tf.Summary:
    """Makes a table of two columns for TensorBoard's TEXT page.

    Args:
        tag: the text's name on the page.
        rows: name -> value.

    Returns:
        A `tf.Summary` with the table in Markdown.
    """
    lines = ["| | |", "| --- | --- |"]
    for name, value in rows.items():
        # As HTML, then as Markdown, which reads HTML too.
        plain = html.escape(one_line(str(value)), quote=False)
        escaped = MARKDOWN.sub(r"\\\1", plain)
        lines.append(f"| {name} | {escaped} |")
    plugin = tf.SummaryMetadata.PluginData(plugin_name="text")
    value = tf.Summary.Value(
        tag=tag,
        metadata=tf.SummaryMetadata(plugin_data=plugin),
        tensor=tf.make_tensor_proto("\n".join(lines), tf.string),
    )
    return tf.Summary(value=[value])


def hyperparameters(
    values: Mapping[str, object], names: Sequence[str], numbers: Collection[str]
) -> tuple[tf.Summary, tf.Summary]:
    """Makes a run's row for TensorBoard's HPARAMS page.

    Args:
        values: name -> value; `None` values are left empty on the page.
        names: the columns, the same for all runs; columns without a value stay empty.
        numbers: the columns whose values are numbers; the others are shown as text.

    Returns:
        Two `tf.Summary`: the columns, the same for all runs, and this run's values.
        Both are empty without TensorBoard, which defines their messages.
    """
    try:
        from tensorboard.plugins.hparams import api_pb2, summary
    except ImportError:
        return tf.Summary(), tf.Summary()
    kinds = {True: api_pb2.DATA_TYPE_FLOAT64, False: api_pb2.DATA_TYPE_STRING}
    columns = [
        api_pb2.HParamInfo(name=name, type=kinds[name in numbers]) for name in names
    ]
    for column in columns:
        if column.name in FIRST_COLUMNS and hasattr(column, "differs"):  # not in 1.15
            column.differs = True
    metrics = [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(group=folder, tag=tag), display_name=name
        )
        for name, folder, tag in METRICS
    ]
    known = {
        name: value if name in numbers else _as_text(value)
        for name, value in values.items()
        if name in names and value is not None
    }
    return (
        _converted(summary.experiment_pb(columns, metrics, time_created_secs=0)),
        _converted(summary.session_start_pb(known)),
    )


def success() -> tf.Summary:
    """Makes the mark of a complete run for the HPARAMS page.

    Returns:
        A `tf.Summary`; empty without TensorBoard.
    """
    with contextlib.suppress(ImportError):
        from tensorboard.plugins.hparams import api_pb2, summary

        return _converted(summary.session_end_pb(api_pb2.STATUS_SUCCESS))
    return tf.Summary()


def _as_text(value: object) -> str:
    """An option's value as it is typed."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _converted(summary: Message) -> tf.Summary:
    """Converts TensorBoard's message to TensorFlow's class of the same message."""
    return tf.Summary.FromString(summary.SerializeToString())
