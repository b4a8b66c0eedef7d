"""The graph that TensorBoard draws: the script's boxes, and the same connections."""

import pytest
from scripts import NAMES, classifier_of

from seqmnist.optimizer import AVERAGE
from seqmnist.record.graph_view import SCOPES, readable


def node(graph_def, name, *inputs, place=None):
    made = graph_def.node.add(name=name, op="Op")
    made.input.extend(inputs)
    if place is not None:
        made.attr["_class"].list.s.append(place)


def test_variables_are_shown_where_they_are_used():
    from seqmnist import tf1 as tf

    graph_def = tf.GraphDef()
    node(graph_def, "input/images")
    node(graph_def, "rnn/gru_cell/gates/kernel")
    node(graph_def, "rnn/gru_cell/gates/kernel/Adam_1", place=b"loc:@rnn/gru_cell/x")
    node(graph_def, "dense/bias/read", "dense/bias:0", "^global_step")
    node(graph_def, "cell/rnn/MatMul", "rnn/gru_cell/gates/kernel:1", "^dense/bias")
    found = readable(graph_def)
    assert [n.name for n in found.node] == [
        "input/images",
        "cell/rnn/gru_cell/gates/kernel",
        "optimizer/rnn/gru_cell/gates/kernel/Adam_1",
        "readout/dense/bias/read",
        "cell/rnn/MatMul",
    ]
    assert list(found.node[2].attr["_class"].list.s) == [b"loc:@cell/rnn/gru_cell/x"]
    assert list(found.node[3].input) == [
        "readout/dense/bias:0",
        "^optimizer/global_step",
    ]
    assert list(found.node[4].input) == [
        "cell/rnn/gru_cell/gates/kernel:1",
        "^readout/dense/bias",
    ]
    assert graph_def.node[1].name == "rnn/gru_cell/gates/kernel"  # as it was


@pytest.mark.parametrize("more", [[], ["--layers", "2", "--ema-decay", "0.9"]])
@pytest.mark.parametrize("name", NAMES)
def test_a_scripts_graph_is_whole(name, more, parse):
    """All in the script's boxes, no two nodes of a name, every input there."""
    import importlib

    script = importlib.import_module(name)
    classifier = classifier_of(script, parse(script, ["--view", "rows", *more]))
    graph_def = classifier.training_graph_def
    found = readable(graph_def)
    names = [n.name for n in found.node]
    assert len(names) == len(set(names)) == len(graph_def.node)
    assert {name.split("/")[0] for name in names} == set(SCOPES)
    averages = [name for name in names if name.endswith(AVERAGE)]
    assert bool(averages) == bool(more)
    assert all(name.startswith("optimizer/") for name in averages)
    for n in found.node:
        for source in n.input:
            assert source.lstrip("^").split(":")[0] in names
