"""export.py: a SavedModel that predicts what the network does, in both TensorFlows."""

import importlib
import json

import numpy as np
import pytest
from scripts import EACH_SCRIPT, NAMES, SLOW, classifier_of, run_code
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from seqmnist import tf1 as tf
from seqmnist.errors import CannotWrite, UserError
from seqmnist.predicting.export import build_inference_graph, check_export_dir, export
from seqmnist.record.reading import softmax

# The attributes that TensorFlow 1.15.5 knows, of the ops that both TensorFlows make of
# the inference graphs; taken from its op registry.
KNOWN_ATTRIBUTES = {
    "AddV2": "T",
    "ArgMax": "T Tidx output_type",
    "BiasAdd": "T data_format",
    "Cast": "DstT SrcT Truncate",
    "ConcatV2": "N T Tidx",
    "Const": "dtype value",
    "Enter": "T frame_name is_constant parallel_iterations",
    "Exit": "T",
    "ExpandDims": "T Tdim",
    "Fill": "T index_type",
    "GatherV2": "Taxis Tindices Tparams batch_dims",
    "Identity": "T",
    "Less": "T",
    "LogicalAnd": "",
    "LoopCond": "",
    "MatMul": "T transpose_a transpose_b",
    "Maximum": "T",
    "Merge": "N T",
    "Minimum": "T",
    "Mul": "T",
    "NextIteration": "T",
    "Pack": "N T axis",
    "Placeholder": "dtype shape",
    "Prod": "T Tidx keep_dims",
    "Range": "Tidx",
    "RealDiv": "T",
    "Reshape": "T Tshape",
    "Shape": "T out_type",
    "Sigmoid": "T",
    "Softmax": "T",
    "Split": "T num_split",
    "StatelessWhile": "T body cond output_shapes parallel_iterations",
    "StridedSlice": "Index T begin_mask ellipsis_mask end_mask new_axis_mask "
    "shrink_axis_mask",
    "Sub": "T",
    "Switch": "T",
    "Tanh": "T",
    "TensorArrayGatherV3": "dtype element_shape",
    "TensorArrayReadV3": "dtype",
    "TensorArrayScatterV3": "T",
    "TensorArraySizeV3": "",
    "TensorArrayV3": "clear_after_read dtype dynamic_size element_shape "
    "identical_element_shapes tensor_array_name",
    "TensorArrayWriteV3": "T",
    "TensorListFromTensor": "element_dtype shape_type",
    "TensorListGetItem": "element_dtype",
    "TensorListReserve": "element_dtype shape_type",
    "TensorListSetItem": "element_dtype",
    "TensorListStack": "element_dtype num_elements",
    "Transpose": "T Tperm",
}

# Loads models as a program of somebody else's would, and predicts.
LOAD = """
import json
import numpy as np
import tensorflow as tf

def load(model):
    if not tf.__version__.startswith("1."):
        signature = tf.saved_model.load(model).signatures["serving_default"]
        return lambda x: signature(images=tf.constant(x))
    session = tf.Session(graph=tf.Graph())
    loaded = tf.saved_model.load(session, ["serve"], model)
    signature = loaded.signature_def["serving_default"]
    names = {{name: info.name for name, info in signature.outputs.items()}}
    return lambda x: session.run(names, {{signature.inputs["images"].name: x}})

images = np.load({images!r})
for model in {models!r}:
    predict = load(model)
    for n in (1, 7):
        values = predict(images[:n])
        print(json.dumps({{k: np.asarray(v).tolist() for k, v in values.items()}}))
"""


@pytest.fixture
def network(parse):
    """Builds a script's network with random weights; returns it with a session."""

    def build(name, *options):
        script = importlib.import_module(name)
        config = parse(script, ["--units", "6", "--readout-init", "uniform", *options])
        classifier = classifier_of(script, config)
        session = tf.Session(graph=classifier.graph)
        session.run(classifier.init_op)
        return classifier, session

    return build


def nodes(graph_def):
    """The nodes of a graph and of its functions."""
    functions = [n for f in graph_def.library.function for n in f.node_def]
    return [*graph_def.node, *functions]


def read_model(path):
    """The one MetaGraphDef in a SavedModel, as it is in the file."""
    model = SavedModel()
    model.ParseFromString((path / "saved_model.pb").read_bytes())
    (meta_graph,) = model.meta_graphs
    assert list(meta_graph.meta_info_def.tags) == ["serve"]
    return meta_graph


@EACH_SCRIPT
@pytest.mark.parametrize(
    "options",
    [
        ["--view", "rows"],
        ["--view", "pixels"],
        ["--view", "rows", "--permute", "--input-scale", "standard", "--layers", "2"],
    ],
)
def test_the_exported_graph_predicts_as_the_network_does(network, name, options):
    classifier, session = network(name, *options)
    graph, signature = build_inference_graph(classifier, session)
    random = np.random.RandomState(0)
    for batch_size in (1, 7):
        images = random.randint(0, 256, [batch_size, 28, 28]).astype(np.uint8)
        expected = softmax(
            session.run(classifier.evaluation.logits, {classifier.images: images})
        )
        with graph.as_default(), tf.Session(graph=graph) as inference_session:
            names = [signature.outputs[k].name for k in ("probabilities", "classes")]
            feed = {signature.inputs["images"].name: images}
            probabilities, classes = inference_session.run(names, feed)
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
        np.testing.assert_array_equal(classes, expected.argmax(1))
        assert classes.dtype == np.int64
        assert np.ptp(expected) > 0.005  # else it would say nothing


@SLOW
def test_another_process_loads_it_and_predicts_the_same(network, splits, tmp_path):
    images = splits.test.images[:7]
    np.save(str(tmp_path / "images.npy"), images)
    models, expected = [], []
    for name in NAMES:
        classifier, session = network(name)
        models.append(str(tmp_path / name))
        difference = export(classifier, session, models[-1])
        assert 0 <= difference < 1e-5
        logits = session.run(classifier.evaluation.logits, {classifier.images: images})
        expected += [softmax(logits[:1]), softmax(logits)]
    out, _ = run_code(LOAD.format(images=str(tmp_path / "images.npy"), models=models))
    found = [json.loads(line) for line in out.splitlines()[-len(expected) :]]
    for values, probabilities in zip(found, expected):
        assert sorted(values) == ["classes", "probabilities"]
        np.testing.assert_allclose(values["probabilities"], probabilities, atol=1e-6)
        assert values["classes"] == probabilities.argmax(1).tolist()


@EACH_SCRIPT
def test_it_holds_nothing_that_tensorflow_1_15_does_not_know(network, name, tmp_path):
    export(*network(name), str(tmp_path / "model"))
    graph_def = read_model(tmp_path / "model").graph_def
    for node in nodes(graph_def):
        # Those that begin with _ are nobody's: every TensorFlow ignores them.
        found = {attribute for attribute in node.attr if not attribute.startswith("_")}
        assert found <= set(KNOWN_ATTRIBUTES[node.op].split()), node.name


@EACH_SCRIPT
def test_it_holds_nothing_of_the_training(network, name, tmp_path):
    classifier, session = network(name)
    export(classifier, session, str(tmp_path / "model"))
    model = read_model(tmp_path / "model")
    ops = [node.op for node in nodes(model.graph_def)]
    assert ops.count("Placeholder") == 1
    assert not [op for op in ops if "Var" in op or "Grad" in op or "Adam" in op]
    # What a loop keeps for its gradient, in TensorFlow 2 and 1.
    assert not [op for op in ops if "PushBack" in op or op.startswith("Stack")]
    assert set(model.collection_def) <= {"while_context"}
    constants = [node.name for node in model.graph_def.node if node.op == "Const"]
    assert [name for name in constants if name.endswith("kernel")]


def test_the_signature_is_as_documented(network, tmp_path):
    export(*network("train_rnn"), str(tmp_path / "model"))
    signature = read_model(tmp_path / "model").signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    shapes = {
        name: (
            tf.as_dtype(info.dtype).name,
            [dimension.size for dimension in info.tensor_shape.dim],
        )
        for name, info in [*signature.inputs.items(), *signature.outputs.items()]
    }
    assert shapes == {
        "images": ("uint8", [-1, 28, 28]),
        "probabilities": ("float32", [-1, 10]),
        "classes": ("int64", [-1]),
    }


def test_nothing_is_overwritten_but_an_empty_folder(network, tmp_path):
    (tmp_path / "empty").mkdir()
    export(*network("train_rnn"), str(tmp_path / "empty"))
    assert (tmp_path / "empty" / "saved_model.pb").is_file()
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    cases = {
        "empty": "holds files, which are not overwritten; give a new folder's name",
        "file": "is no folder",
        "link": "is no folder",
        "no/where": "there is no folder .*no; make it first",
        "file/where": "there is no folder .*file; make it first",
    }
    for name, message in cases.items():
        with pytest.raises(UserError, match=f"--export .*{name}: {message}"):
            check_export_dir(str(tmp_path / name))
    assert (tmp_path / "file").read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file", "link"]


def test_a_full_disk_leaves_nothing_behind(network, tmp_path, monkeypatch):
    arguments = network("train_rnn")

    def fail_in_python(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    def fail_in_tensorflow(self, *args, **kwargs):
        raise tf.errors.ResourceExhaustedError(
            None, None, "model/saved_model.pb; No space left on device"
        )

    for fail in (fail_in_python, fail_in_tensorflow):
        monkeypatch.setattr(tf.saved_model.Builder, "save", fail)
        with pytest.raises(CannotWrite, match="cannot be written .No space left on"):
            export(*arguments, str(tmp_path / "model"))
        assert not list(tmp_path.iterdir())


def test_a_graph_that_computes_something_else_is_not_exported(network, tmp_path):
    classifier, session = network("train_rnn")
    as_it_was = classifier.network
    classifier.network = lambda images, *rest: as_it_was(255 - images, *rest)
    with pytest.raises(
        UserError, match="probabilities that differ by .*; export needs"
    ):
        export(classifier, session, str(tmp_path / "model"))
    assert not list(tmp_path.iterdir())
