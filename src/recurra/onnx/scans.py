"""A Scan that `export` wrote, read back as the cell that it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from recurra.cells import Cell, from_text
from recurra.errors import CellError, OnnxError, RecurraError
from recurra.onnx.equations import CELL, NAME, Builder, step_graph
from recurra.onnx.graph import Node, Value, subgraph
from recurra.onnx.streams import Stream, features
from recurra.runtime import Linear, Recurrent
from recurra.runtime.ops.recurrent import MOST_CELL_TEXT
from recurra.weights import Weights


def scan(node: Node, streams: Mapping[str, Stream], values: Mapping[str, Value], opset: int) -> dict[str, Stream]:
    """What a Scan makes of a stream. Its metadata names a cell, whose equations must give just this Scan again."""
    cell, name = _cell(node), node.metadata.get(NAME, "")
    stream = streams.get(node.inputs[-1])
    if stream is None or any(n in streams for n in node.inputs[:-1]) or len(node.inputs) != len(cell.states) + 1:
        raise OnnxError(f"{node.label} has states that depend on the input, expected constants")
    before = stream.layers[-1] if stream.layers else None
    gates = len(cell.input_gates)
    if not isinstance(before, Linear) or before.b is None or features(node, stream) % gates:
        raise OnnxError(f"{node.label} has no dense layer before it that gives the sums of its {gates} gates")
    try:
        weights = _weights(cell, name, before, before.b, values)
        same = _is_step_of(cell, name, weights, node, values, opset)
        initial = _initial([values[n] for n in node.inputs[:-1]])
        layer = Recurrent(cell, [weights], initial)
    except (RecurraError, KeyError, ValueError, IndexError) as error:
        raise OnnxError(f"{node.label} is not what its metadata says: {error}") from error
    if not same:
        raise OnnxError(f"{node.label} is not the Scan of the cell {cell.name} that its metadata names")
    time = stream.axes[0][0] if stream.axes[0] else stream.time
    result = replace(stream, layers=stream.layers[:-1], time=time).then(layer, layer.output_size)
    return {node.outputs[-1]: result}


def _is_step_of(cell: Cell, name: str, weights: Weights, node: Node, values: Mapping[str, Value], opset: int) -> bool:
    """Whether a Scan has the body and the arrays that this cell would give."""
    arrays = Builder()
    body = subgraph(step_graph(arrays, name, cell, weights), opset)
    directions = [node.attributes.get(f"scan_{way}_directions", [0]) for way in ("input", "output")]
    found = all(n in values and np.array_equal(values[n], a) for n, a in arrays.arrays.items())
    return found and directions == [[0], [0]] and bool(body == node.attributes["body"])


def _initial(begins: list[Value]) -> list[list[Value]]:
    """What the states begin with; nothing where that is zeros."""
    if any((b != b[:1]).any() for b in begins):
        raise OnnxError("each row begins with another state, expected the same of all rows")
    return [[np.array(b[0], np.float32) for b in begins]] if any(b.any() for b in begins) else []


def _cell(node: Node) -> Cell:
    text = node.metadata.get(CELL)
    if text is None or len(text) > MOST_CELL_TEXT:
        raise OnnxError(f"{node.label} is no layer of a model: it has no cell in its metadata, as export writes it")
    try:
        return from_text(text)
    except (CellError, RecursionError, MemoryError, ValueError) as error:
        line = " ".join(str(error).split())[:300]
        raise OnnxError(f"{node.label} has a cell in its metadata that cannot be read: {line}") from error


def _weights(cell: Cell, name: str, before: Linear, b: Value, values: Mapping[str, Value]) -> Weights:
    """The arrays under the names that `export` gives them."""
    prefix = f"{name}.weights."
    own = {n.removeprefix(prefix): np.array(a, np.float32) for n, a in values.items() if n.startswith(prefix)}
    H = len(before.W) // len(cell.input_gates)
    R = np.ascontiguousarray(own["R"].T) if cell.projection is not None else None
    width = H if R is None else len(R)
    U = [np.zeros((0, width), np.float32), *(own[f"U.{gate}"].T for gate in cell.recurrent_gates)]
    c_ = [np.zeros(0, np.float32), *(own[f"c.{gate}"] for gate in cell.recurrent_gates)]
    return Weights(before.W, np.concatenate(U), b, np.concatenate(c_), R, {p: own[p] for p in cell.parameters})
