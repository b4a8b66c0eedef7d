"""The graph for TensorBoard, in the boxes of the script's name scopes."""

from __future__ import annotations

import re

from seqmnist import tf1 as tf
from seqmnist.optimizer import AVERAGE

# A variable's name is its name in checkpoints, as in TF1, and does not contain the
# script's name scope. So the picture moves variables and their initializers to the box
# that uses them: Adam's slots, averages and the step to the optimizer's box.
BOXES = (
    (
        re.compile(rf"global_step(/|$)|.*(/Adam|/Adam_1|{AVERAGE})(/|$)"),
        "optimizer",
    ),
    (re.compile(r"rnn/"), "cell"),
    (re.compile(r"dense/"), "readout"),
)

SCOPES = ("input", "view", "cell", "readout", "loss", "optimizer")


def readable(graph_def: tf.GraphDef) -> tf.GraphDef:
    """Arranges a script's graph for TensorBoard.

    Args:
        graph_def: the `GraphDef` of the training part.

    Returns:
        A `GraphDef` that differs in names only. All nodes are in the boxes input, view,
        cell, readout, loss and optimizer.
    """
    found = type(graph_def)()
    found.CopyFrom(graph_def)
    for node in found.node:
        node.name = _in_box(node.name)
        for i, name in enumerate(node.input):
            mark = "^" if name.startswith("^") else ""
            node.input[i] = mark + _in_box(name[len(mark) :])
        if "_class" in node.attr:
            places = node.attr["_class"].list.s
            for i, place in enumerate(places):
                # loc:@NAME: the op with which this op is placed.
                start, name = place.decode().split("@", 1)
                places[i] = f"{start}@{_in_box(name)}".encode()
    return found


def _in_box(name: str) -> str:
    """A node's name in the picture."""
    if name.split("/")[0] in SCOPES:
        return name
    for pattern, box in BOXES:
        if pattern.match(name):
            return f"{box}/{name}"
    return name
