"""A trained network as a SavedModel, which TensorFlow 1.15 and 2.21 both load.

The model has the signature `serving_default`:

    images         uint8 [batch_size, height, width], 0 (paper) to 255 (ink)
    probabilities  float32 [batch_size, num_classes]
    classes        int64 [batch_size], the most probable classes

The model has the ops for predictions only, without the training. TensorFlow 1.15
refuses a graph with unknown attributes, which later TensorFlows add to ops. Therefore
attributes with default values, such as MatMul's `grad_a`, are left out. The weights are
constants, since a variable's op has an attribute that cannot be left out, `debug_name`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.classifier import Classifier
from seqmnist.errors import CannotWrite, UserError, tensorflow_reason, writing
from seqmnist.paths import shown
from seqmnist.record.reading import softmax

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

SIGNATURE = "serving_default"
TAG = "serve"

# The largest allowed difference between a probability of the model and one of the
# network, in the check before a model is written. Both run the same ops on the same
# numbers, but with other batch sizes the last few of float32's 24 bits may differ.
TOLERANCE = 1e-5


def check_export_dir(path: str) -> None:
    """Checks that a model can be exported to a folder without overwriting files.

    Args:
        path: the folder, which need not exist yet.

    Raises:
        UserError: the folder has files, is not a folder, or cannot be made.
    """
    folder = Path(path).absolute()
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"--export {path}: is no folder; give a new one's name")
    parent = folder.parent
    if not parent.is_dir():
        raise UserError(f"--export {path}: there is no folder {parent}; make it first")
    if not os.access(str(parent), os.W_OK | os.X_OK):
        raise UserError(
            f"--export {path}: nothing can be written to {parent}; give a folder that "
            "you may write to"
        )
    with writing(shown(folder)):
        if folder.exists() and os.listdir(str(folder)):
            raise UserError(
                f"--export {path}: holds files, which are not overwritten; give a new "
                "folder's name"
            )


def export(classifier: Classifier, session: tf.Session, path: str) -> float:
    """Writes the SavedModel in one piece, after a check of the probabilities.

    Args:
        classifier: the `Classifier` of the network.
        session: a session with the weights.
        path: the folder to make; an existing folder must be empty.

    Returns:
        The largest difference between the probabilities of the exported graph and of
        the network, 0 to `TOLERANCE`, for as many random images as there are classes.

    Raises:
        UserError: as `check_export_dir`; or the exported graph's probabilities differ
            from the network's.
        CannotWrite: disk full, folder gone, not allowed.
    """
    check_export_dir(path)
    graph, signature = build_inference_graph(classifier, session)
    difference = _compare(classifier, session, graph, signature)
    if not difference <= TOLERANCE:
        raise UserError(
            "--export: traced again, the network gives probabilities that differ by "
            f"{difference:.2g}; export needs a network without state or random numbers "
            "in evaluation (noise is None there)"
        )
    with _in_one_piece(Path(path).absolute()) as partial:
        builder = tf.saved_model.Builder(str(partial))
        with tf.Session(graph=graph) as inference_session:
            builder.add_meta_graph_and_variables(
                inference_session,
                [TAG],
                {SIGNATURE: signature},
                strip_default_attrs=True,
            )
        builder.save()
    return difference


def build_inference_graph(
    classifier: Classifier, session: tf.Session
) -> tuple[tf.Graph, SignatureDef]:
    """Builds the graph from images to probabilities, with constants as weights.

    Args:
        classifier: the `Classifier`, whose network is traced once more.
        session: a session with the weights.

    Returns:
        The `tf.Graph`, and the `SignatureDef` with the names of the graph's tensors.
    """
    variables = classifier.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
    names = [variable.op.name for variable in variables]
    values = dict(zip(names, session.run(variables)))

    def constant(
        getter: Callable, name: str, *args: object, **kwargs: object
    ) -> tf.Tensor:
        """Returns a variable's value as a constant, for `tf.get_variable`."""
        return tf.constant(values[name], name=name.split("/")[-1])

    with tf.Graph().as_default() as graph:
        images = tf.placeholder(
            tf.uint8, [None, *classifier.config.image_shape], "images"
        )
        with tf.variable_scope(tf.get_variable_scope(), custom_getter=constant):
            logits = classifier.outputs(images).logits
        # The network's other outputs are not exported.
        results = {
            "probabilities": tf.nn.softmax(logits, name="probabilities"),
            "classes": tf.argmax(logits, axis=1, name="classes"),
        }
        signature = tf.saved_model.build_signature_def(
            inputs={"images": tf.saved_model.build_tensor_info(images)},
            outputs={
                name: tf.saved_model.build_tensor_info(tensor)
                for name, tensor in results.items()
            },
            method_name=tf.saved_model.signature_constants.PREDICT_METHOD_NAME,
        )
    return graph, signature


def _compare(
    classifier: Classifier,
    session: tf.Session,
    graph: tf.Graph,
    signature: SignatureDef,
) -> float:
    """The largest difference between both graphs' probabilities, on random images."""
    logits = classifier.evaluation.logits
    config = classifier.config
    random = np.random.RandomState(0)
    shape = [config.num_classes, *config.image_shape]
    images = random.randint(0, 256, shape).astype(np.uint8)
    logits = session.run(logits, {classifier.images: images})
    with graph.as_default(), tf.Session(graph=graph) as inference_session:
        probabilities = inference_session.run(
            signature.outputs["probabilities"].name,
            {signature.inputs["images"].name: images},
        )
    return float(np.abs(probabilities - softmax(logits)).max())


@contextlib.contextmanager
def _in_one_piece(folder: Path) -> Iterator[Path]:
    """A new folder, renamed to its place at the end of the block.

    Args:
        folder: the place, an empty folder or none yet.

    Yields:
        The path of the new folder, which does not exist yet.

    Raises:
        CannotWrite: disk full, folder gone, not allowed; nothing is left behind.
    """
    with writing(shown(folder)):
        around = tempfile.mkdtemp(prefix=f".{folder.name}.", dir=str(folder.parent))
        try:
            partial = Path(around) / folder.name
            yield partial
            os.replace(str(partial), str(folder))
        except tf.errors.OpError as error:
            raise CannotWrite(
                f"{shown(folder)}: cannot be written ({tensorflow_reason(error)})"
            )
        finally:
            shutil.rmtree(around, ignore_errors=True)
