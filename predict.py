"""Predicts the digits in pictures, or in test images, with a trained network.

    python predict.py RUN_DIR digit.png photo.jpg     pictures of any size and colour
    python predict.py RUN_DIR --test-index 0 8        images of the test split
    python predict.py RUN_DIR --export DIR            a SavedModel, for serving

RUN_DIR is the folder that a training printed as its run folder. For each picture the
output has a line on the ink that was found, a line on the prediction, and probability
and logit of each class; of many classes, of the ten most probable. For a test image it
also has the actual label. `--figure reading.png` draws the probabilities over time,
while the image is read.
"""

import os
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.classifier import Classifier
from seqmnist.cli.parser import OneLineParser
from seqmnist.cli.types import path, whole_number
from seqmnist.data import mnist
from seqmnist.errors import UserError, one_line, one_line_errors, tell
from seqmnist.optimizer import averaged_weights
from seqmnist.paths import shown
from seqmnist.predicting import pictures
from seqmnist.predicting.export import check_export_dir, export
from seqmnist.predicting.trained import find_checkpoint, read_run
from seqmnist.record import figures, reading
from seqmnist.record.folder import creating
from seqmnist.run.checkpoints import Variables

FIGURE_FORMATS = (".png", ".pdf", ".svg")
MAX_ATTEMPTS = 5  # to read a checkpoint while a run that still trains removes old ones
MAX_DRAWN = 20  # images in a figure, which is then a yard long
MAX_LISTED = 10  # classes in a picture's table: the most probable ones

# title: the name in the output; note: a picture's description, or ""; image: uint8
# [height, width], 0 (paper) to 255 (ink); label: a class's number, None if unknown.
Example = namedtuple("Example", "title note image label")


def make_parser():
    """Builds the parser of the command line."""
    parser = OneLineParser(
        prog="predict.py",
        usage="predict.py RUN_DIR [options] [image ...]",
        description=__doc__,
    )
    parser.add_argument(
        "run_dir", metavar="RUN_DIR", type=path, help="the folder of a run"
    )
    parser.add_argument(
        "images",
        metavar="image",
        nargs="*",
        default=[],
        help="picture files with one digit each",
    )
    parser.add_argument(
        "--test-index",
        metavar="N",
        type=whole_number(0),
        nargs="+",
        default=[],
        help="test images of the run's data, counted from 0",
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        type=path,
        help="folder with the run's data (default: the folder of the training)",
    )
    parser.add_argument(
        "--polarity",
        choices=pictures.POLARITIES,
        default="auto",
        help="ink and paper in the pictures (default: auto, which takes most of the "
        "border for paper)",
    )
    parser.add_argument(
        "--script",
        metavar="FILE",
        type=path,
        help="the script that made the run (default: the one of its name here)",
    )
    parser.add_argument(
        "--checkpoint",
        choices=["latest", "best"],
        default="latest",
        help="weights after the last step, as in the run's result line, or the best on "
        "validation (default: latest)",
    )
    parser.add_argument(
        "--figure",
        metavar="FILE",
        type=path,
        help="draw the probabilities over time, as PNG, PDF or SVG",
    )
    parser.add_argument(
        "--export",
        metavar="DIR",
        type=path,
        help="write a SavedModel, from images to probabilities and classes, to a new "
        "folder",
    )
    return parser


def check_arguments(args):
    """Refuses arguments that would fail or have no effect, before any work is done.

    Args:
        args: the parsed command line.

    Raises:
        UserError: an argument would fail or have no effect.
    """
    num_images = len(args.images) + len(args.test_index)
    if not num_images and args.export is None:
        raise UserError(
            "nothing to predict; expected pictures, --test-index N or --export DIR "
            "after RUN_DIR (see predict.py --help)"
        )
    if args.data_dir is not None and not args.test_index:
        raise UserError("--data-dir: does nothing without --test-index; leave it out")
    if args.polarity != "auto" and not args.images:
        raise UserError("--polarity: does nothing without pictures; leave it out")
    if args.export is not None:
        check_export_dir(args.export)
    if args.figure is not None:
        _check_figure(args.figure, num_images)


def _check_figure(file, num_images):
    """Raises a `UserError` unless a figure of these images can be written."""
    if os.path.splitext(file)[1].lower() not in FIGURE_FORMATS:
        raise UserError(
            f"--figure {file}: expected a name that ends in {', '.join(FIGURE_FORMATS)}"
        )
    if os.path.lexists(file):
        raise UserError(
            f"--figure {file}: exists and is not overwritten; give another name"
        )
    folder = os.path.dirname(os.path.abspath(file))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(
            f"--figure {file}: nothing can be written to {folder}; give a file in a "
            "folder that exists and that you may write to"
        )
    if not 1 <= num_images <= MAX_DRAWN:
        raise UserError(
            f"--figure {file}: found {num_images} images; expected 1 to {MAX_DRAWN}"
        )


def read_pictures(files, polarity, form):
    """Reads pictures; prints a line on stderr for each one that cannot be read.

    Args:
        files: the paths of the pictures.
        polarity: one of `pictures.POLARITIES`.
        form: the `pictures.Form` of the images that the network was trained on.

    Returns:
        A list of `Example`s, one for each picture that can be read.
    """
    examples = []
    for file in files:
        try:
            picture = pictures.read_picture(file, polarity, form)
        except UserError as error:
            tell(f"error: {error}")
            continue
        title = one_line(shown(file))
        examples.append(Example(title, picture.description, picture.pixels, None))
    return examples


def read_test_images(indices, data_dir, config, record):
    """Reads images of the test split; prints a line on stderr if the data differ.

    Args:
        indices: the indices of the images in the test split.
        data_dir: the folder with the data, or `None` for the run's own.
        config, record: the run's configuration and record, from `read_run`.

    Returns:
        A list of `Example`s.

    Raises:
        UserError: the data cannot be read, or an index is too large.
    """
    folder = config.data_dir if data_dir is None else data_dir
    try:
        # The run has recorded the classes' names.
        splits = mnist.load_splits(
            folder, config.validation_size, config.emnist_split, with_names=False
        )
    except UserError as error:
        if data_dir is not None:
            raise
        raise UserError(f"{error}; the run was trained with the data in that folder")
    num_test = len(splits.test.labels)
    for index in indices:
        if index >= num_test:
            raise UserError(
                f"--test-index {index}: expected 0 to {num_test - 1}, as "
                f"{shown(folder)} holds {num_test} test images"
            )
    if splits.digest != record.get("data_sha256"):
        tell(
            f"{shown(folder)} holds other data (SHA-256 {splits.digest}) than the run "
            f"was trained on ({record.get('data_sha256')})"
        )
    images, labels = splits.test
    return [
        Example(f"test image {index}", "", images[index], int(labels[index]))
        for index in indices
    ]


def run_network(classifier, session, images, batch_size, per_step):
    """Computes logits in batches.

    Args:
        classifier: the `Classifier`.
        session: a session with the weights.
        images: uint8 `[num_images, height, width]`, 0 to 255.
        batch_size: images per batch.
        per_step: whether to compute logits after every time step.

    Returns:
        float32 `[num_images, num_classes]`; with `per_step`, `[num_images, time_steps,
        num_classes]`.
    """
    trace = classifier.evaluation
    fetch = trace.logits_per_step if per_step else trace.logits
    batches = [
        session.run(fetch, {classifier.images: images[start : start + batch_size]})
        for start in range(0, len(images), batch_size)
    ]
    return np.concatenate(batches)


def describe(example, logits, names):
    """Makes the output on an example.

    Args:
        example: the `Example`.
        logits: float32 `[num_classes]`.
        names: the classes' names.

    Returns:
        A list of lines.
    """
    probabilities = reading.softmax(logits)
    predicted = int(logits.argmax())
    probability = f"{probabilities[predicted]:.4f}"
    verdict = f"predicted label {names[predicted]}  probability {probability}"
    if example.label is not None:
        verdict = f"actual label {names[example.label]}  {verdict}"
        verdict += "" if predicted == example.label else "  (wrong)"
    chosen = sorted(np.argsort(-logits, kind="stable")[:MAX_LISTED])
    rows = [
        ("class", *(names[number] for number in chosen)),
        ("prob.", *(f"{probabilities[number]:.4f}" for number in chosen)),
        ("logit", *(f"{logits[number]:.3f}" for number in chosen)),
    ]
    widths = [max(map(len, column)) for column in zip(*rows)]
    table = [" ".join(c.rjust(w) for c, w in zip(row, widths)) for row in rows]
    if len(logits) > len(chosen):
        table.insert(0, f"the {len(chosen)} most probable of {len(logits)} classes:")
    title = f"{example.title}: {example.note}" if example.note else example.title
    return [title, *(f"  {line}" for line in [verdict, *table])]


@figures.in_own_style
def save_figure(file, examples, logits_per_step, names, in_order):
    """Draws the probabilities over time while the images are read.

    Args:
        file: the path of the figure, ending in one of `FIGURE_FORMATS`.
        examples: the `Example`s.
        logits_per_step: float32 `[num_examples, time_steps, num_classes]`.
        names: the classes' names.
        in_order: whether the images are read from the top.

    Raises:
        CannotWrite: disk full, folder gone, not allowed.
    """
    figure = figures.new_figure(reading.WIDTH, reading.WIDTH)
    reading.draw_reading(
        figure,
        accuracy=None,
        images=np.stack([example.image for example in examples]),
        probabilities=reading.softmax(logits_per_step),
        labels=[example.label for example in examples],
        names=figures.drawable(names),
        in_order=in_order,
    )
    with creating(Path(file)) as partial:
        suffix = os.path.splitext(file)[1].lower()
        figure.savefig(str(partial), format=suffix[1:], dpi=figures.DOTS_PER_INCH)


def restore(classifier, session, args):
    """Sets a network's weights to those of the run.

    Args:
        classifier: the `Classifier`.
        session: the session in which to set the weights.
        args: the parsed command line.

    Returns:
        The step after which the weights were saved.

    Raises:
        UserError: no checkpoint fits.
    """
    variables = Variables(classifier.graph, session)
    for attempt in range(MAX_ATTEMPTS):
        checkpoint = find_checkpoint(args.run_dir, args.checkpoint)
        try:
            variables.restore(checkpoint)
            break
        except UserError:
            # A run that still trains keeps only the last few checkpoints, and may have
            # removed this one.
            is_gone = not Path(f"{checkpoint.prefix}.index").exists()
            if not is_gone or attempt == MAX_ATTEMPTS - 1:
                raise
    return checkpoint.state["step"]


def _predict(args, config, examples, classifier, session):
    """Prints the predictions, and draws them with `--figure`."""
    images = np.stack([example.image for example in examples])
    size = config.evaluation_batch_size
    logits = run_network(classifier, session, images, size, per_step=False)
    for example, values in zip(examples, logits):
        print("\n".join(describe(example, values, config.classes)))
    if args.figure is not None:
        logits = run_network(classifier, session, images, size, per_step=True)
        in_order = config.permute is None
        save_figure(args.figure, examples, logits, config.classes, in_order)
        print(f"figure: {shown(args.figure)}")


@one_line_errors
def main(argv=None):
    """Predicts digits, and exports the network with `--export`.

    Args:
        argv: the command line's arguments; `None` for those of the process.

    Returns:
        The exit status: 0, or 2 if an argument or a picture cannot be used.
    """
    args = make_parser().parse_intermixed_args(argv)
    check_arguments(args)
    script, config, record = read_run(args.run_dir, args.script)
    find_checkpoint(args.run_dir, args.checkpoint)  # before TensorFlow is loaded
    height, width = config.image_shape
    is_mnist = record.get("data_sha256") == mnist.SHIPPED_DIGEST
    form = pictures.Form(height, width, config.polarity, is_mnist)
    examples = read_pictures(args.images, args.polarity, form)
    status = 0 if len(examples) == len(args.images) else 2
    if args.test_index:
        examples += read_test_images(args.test_index, args.data_dir, config, record)
    if not examples and args.export is None:
        return status
    if args.figure is not None:
        figures.prepare()
    classifier = Classifier(config, script.network, script.loss, script.optimizer)
    with tf.Session(graph=classifier.graph) as session:
        step = restore(classifier, session, args)
        print(f"run: {shown(args.run_dir)}, {args.checkpoint} weights, of step {step}")
        with averaged_weights(classifier.average, session):
            if examples:
                _predict(args, config, examples, classifier, session)
            if args.export is not None:
                export(classifier, session, args.export)
                print(f"SavedModel: {shown(args.export)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
