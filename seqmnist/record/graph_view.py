"""The graph as TensorBoard draws it: in the boxes in which the script builds it."""

from __future__ import annotations

import re
from typing import Any

from seqmnist.optimizer import AVERAGE

# A variable's name says where a checkpoint keeps it, as in TF1, not where the script
# makes it. So the picture shows variables, and what initializes them, in the box in
# which they are used: Adam's slots, averages and the step in the optimizer's.
BOXES = (
    (
        re.compile(rf"global_step(/|$)|.*(/Adam|/Adam_1|{AVERAGE})(/|$)"),
        "optimizer",
    ),
    (re.compile(r"rnn/"), "cell"),
    (re.compile(r"dense/"), "readout"),
)

SCOPES = ("input", "view", "cell", "readout", "loss", "optimizer")


def readable(graph_def: Any) -> Any:
    """Arranges a script's graph for TensorBoard.

    Args:
        graph_def: a `GraphDef` of what trains.

    Returns:
        A `GraphDef` that differs in names only. All is in the boxes input, view, cell,
        readout, loss and optimizer.
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
                # loc:@NAME, the op that this one is placed with
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
