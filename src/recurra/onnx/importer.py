"""An ONNX graph as a runtime model: the chain of layers between its first input and its first output.

The graph is run once on a sample, node by node. What depends on the sample's numbers is a `Stream`: the layers that it
has gone through, and what each of its axes holds. All else (shapes, states, arrays) is a constant with a value.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recurra.cells.symbols import as_node
from recurra.errors import OnnxError, RecurraError
from recurra.onnx import chain, expressions, recurrent, scans
from recurra.onnx.budget import budget, check_size
from recurra.onnx.graph import Graph, Node, Place, Value, read, widened
from recurra.onnx.run import branch, evaluate, evaluate_node
from recurra.onnx.streams import DIRECTION, Axis, Parts, Stream, size_of
from recurra.runtime import Model
from recurra.runtime.chained import FEATURES, FIRST, SECOND

Streams = dict[str, Stream | Parts]
_LIVE = "a graph with states as inputs and outputs runs live as it is, with recurra.onnx.LiveGraph"
_SIZE = (
    5  # of steps and rows of the sample, where the graph leaves them open; equal, for it is not known which is which
)


@dataclass(frozen=True)
class Imported:
    """A model that was read from a graph.

    Attributes:
        model: the layers, which give an output at every step.
        batch_first: whether the graph's input has the batch first.
        steps: the only number of steps that the graph takes; None: any.
        last: whether it gives the output of the last step alone.
        output: what each axis of its output holds.
    """

    model: Model
    batch_first: bool
    steps: int | None
    last: bool
    output: tuple[Axis, ...]

    def runner(self, graph: Graph) -> Callable[[Any], Value]:
        """The graph itself on one sequence [T, I] (ids [T]): [T, O], or [O] where it gives the last step alone."""
        data = graph.needed[0]
        time, batch = (SECOND, FIRST) if self.batch_first else (FIRST, SECOND)
        rows = (data.shape or (None, None))[0 if self.batch_first else 1] or 1

        def run(x: Any) -> Value:
            given = np.stack([np.asarray(x, data.dtype or np.float32)] * rows, 0 if self.batch_first else 1)
            sizes = {time: -(-len(x) // self.model.stride), batch: rows, FEATURES: self.model.output_size}
            values = evaluate(graph, {data.name: given, **_others(graph, len(x), rows)})
            parts = [part for axis in self.output for part in axis]
            y = values[graph.outputs[0].name].reshape([sizes[part] for part in parts])
            wanted = [*([] if self.last else [time]), batch, FEATURES]
            for part in set(wanted) - set(parts):  # an axis of one
                y, parts = y[None], [part, *parts]
            y = y.transpose([parts.index(part) for part in wanted])
            return y[0] if self.last else y[:, 0]

        return run


def from_onnx(source: bytes | str | os.PathLike[str]) -> Model:
    """A runtime model from an ONNX model, from its bytes or its file.

    What leads from its first input to its first output must be one chain: recurrent nodes with any attributes, dense
    layers, embeddings, convolutions that see no later step, layer and batch normalization, pools over all steps,
    activations and softmax over the features, any reshaping between them, and what `export` makes of other cells; or
    such chains from the same values, added, subtracted, multiplied or side by side. The
    first input is the data, [T, B, I] or [B, T, I] (ids [T, B] or [B, T]); other inputs (initial states, lengths) are
    left at what they begin with, and halves are float32. A graph that gives the last step alone, or the final state of
    its last layer, gives a model whose last output that is. `recurra.convert` also compares the two; what is no chain
    runs live by `LiveGraph`.

    Raises:
        OnnxError: the graph is malformed, or has a node that is no layer; the message names it.
        OSError: the file cannot be read.

    >>> import numpy as np, tempfile
    >>> from recurra import cells, onnx, runtime
    >>> from recurra.weights import Weights
    >>> weights = Weights.random(cells.gru, 2, 5, rng=np.random.default_rng(0))
    >>> model = runtime.Model([runtime.Recurrent(cells.gru, [weights])])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = onnx.export(model, f"{folder}/model.onnx")
    ...     again = onnx.from_onnx(f"{folder}/model.onnx")
    >>> again.fingerprint == model.fingerprint
    True
    """
    return import_graph(widened(read(source))).model


def import_graph(graph: Graph) -> Imported:
    """As `from_onnx`, with how the graph's own input and output are laid out."""
    if not graph.needed or not graph.outputs:
        raise OnnxError("the graph has no input or no output, expected data in and a result out")
    data = graph.needed[0]
    result_name = graph.outputs[0].name
    with budget(graph.arrays, ()), np.errstate(all="ignore"):
        streams, values = _begin(graph, data)
        _walk(_ancestors(graph.nodes, {result_name}), streams, values, graph.opset)
    result = streams.get(result_name)
    if not isinstance(result, Stream):
        raise OnnxError(f"the output {result_name[:80]!r} does not come from the input by layers that are known")
    return _finish(result, data)


def _ancestors(nodes: Sequence[Node], wanted: set[str]) -> list[Node]:
    """The nodes that some values come from; final states, say, are of no matter to the output."""
    found: list[Node] = []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            found.append(node)
            wanted = wanted | _names_in(node)
    return found[::-1]


def _names_in(node: Node) -> set[str]:
    """What a node reads, in its own graphs too."""
    names = set(node.inputs)
    for attribute in node.attributes.values():
        if isinstance(attribute, Graph):
            names |= {p.name for p in attribute.outputs}.union(*map(_names_in, attribute.nodes))
    return names


def _walk(nodes: Sequence[Node], streams: Streams, values: dict[str, Value], opset: int) -> None:
    """Follow the streams through the nodes, of which an If is the graph that it runs."""
    for node in nodes:
        if node.op == "If" and node.inputs and node.inputs[0] in values and node.inputs[0] not in streams:
            inner = branch(node, [values[node.inputs[0]]])
            values |= inner.constants
            _walk(inner.nodes, streams, values, opset)
            for name, place in zip(node.outputs, inner.outputs, strict=False):
                if place.name in streams:
                    streams[name] = streams[place.name]
                values[name] = values[place.name]
            continue
        found = evaluate_node(node, values, opset)
        if node.outputs and node.op not in ("Shape", "Size") and any(name in streams for name in node.inputs):
            result = _layer(node, streams, values, found, opset)
            for name, stream in result.items():
                if not isinstance(stream, Stream) or name not in found:
                    continue
                if [size_of(stream, a) for a in stream.axes] != list(found[name].shape):
                    raise OnnxError(f"{node.label} gives the shape {found[name].shape}, which is no layer's output")
            streams |= result
        values |= found


def _begin(graph: Graph, data: Place) -> tuple[Streams, dict[str, Value]]:
    """The sample: distinct numbers where the data is; what else the graph needs is zeros, and lengths are full."""
    ids = data.dtype is not None and data.dtype.kind in "iu"
    shape = list(data.shape or [None] * (2 if ids else 3))
    if len(shape) != (2 if ids else 3) or (not ids and not shape[-1]):
        wanted = "[T, B] of whole numbers" if ids else "[T, B, I] or [B, T, I] with a known I"
        raise OnnxError(f"the input {data.name[:80]!r} has the shape {data.shape}, expected {wanted}")
    full = [n or _SIZE for n in shape]
    check_size(full, f"the input {data.name[:80]!r}")
    rng = np.random.default_rng(0)
    dtype = data.dtype or np.dtype(np.float32)
    values = {**graph.constants, data.name: (np.zeros if ids else rng.standard_normal)(full).astype(dtype)}
    values |= _others(graph, full[0], full[1])
    axes: tuple[Axis, ...] = ((FIRST,), (SECOND,)) if ids else ((FIRST,), (SECOND,), (FEATURES,))
    sizes = {FIRST: full[0], SECOND: full[1]} | ({} if ids else {FEATURES: full[2]})
    return {data.name: Stream((), axes, sizes)}, values


def _others(graph: Graph, steps: int, rows: int) -> dict[str, Value]:
    """What else a graph needs: states of zeros, and lengths of whole sequences."""
    values: dict[str, Value] = {}
    for place in graph.needed[1:]:
        shape = [n or rows for n in place.shape or (1, None, 1)]
        check_size(shape, f"the input {place.name[:80]!r}")
        if place.dtype is not None and place.dtype.kind in "iu":
            values[place.name] = np.full([rows], steps, place.dtype)
        else:
            zeros = np.zeros(shape, place.dtype or np.float32)
            begins = graph.begins.get(place.name, zeros)
            values[place.name] = zeros + begins if begins.shape in (zeros.shape, zeros.shape[-1:]) else zeros
    return values


def _finish(stream: Stream, data: Place) -> Imported:
    if stream.pending:
        raise OnnxError(f"the output is {stream.pending}")
    stream = stream.settled
    time = stream.time or FIRST
    lead = {FIRST, SECOND} - ({time} if stream.last else set())
    parts = {part for axis in stream.axes for part in axis}
    needed = {p for p in lead | {FEATURES} if stream.sizes[p] > 1}
    if not needed <= parts or DIRECTION in parts:
        raise OnnxError(f"the output has the axes {stream.axes}, expected steps, rows and features")
    if not stream.layers:
        raise OnnxError("the graph has no layer, expected at least one")
    try:
        steps = (data.shape or (None, None))[int(time == SECOND)]
        return Imported(Model(stream.layers), time == SECOND, steps, stream.last, stream.axes)
    except RecurraError as error:
        raise OnnxError(f"the graph's layers do not make a model: {error}") from error


def _layer(
    node: Node, streams: Streams, values: Mapping[str, Value], found: Mapping[str, Value], opset: int
) -> Streams:
    """What a node makes of the streams that go into it."""
    inside = [streams[name] for name in node.inputs if name in streams]
    arguments = [values[n] if n else None for n in node.inputs]
    if node.op == "Concat":
        if len(inside) != len(node.inputs):
            raise OnnxError(
                f"{node.label} puts constants beside values that depend on the input, expected a chain: {_LIVE}"
            )
        return {node.outputs[0]: chain.join(node, inside, found[node.outputs[0]].ndim)}
    if isinstance(inside[0], Parts):
        return {node.outputs[0]: chain.part(node, inside[0], arguments)}
    known = {name: stream for name, stream in streams.items() if isinstance(stream, Stream)}
    zeros, pending = any(inside[0].padded), inside[0].pending
    if pending and node.op not in (chain.TAKES_ZEROS if zeros else (*chain.ARRANGE, "Pad")):
        raise OnnxError(f"{node.label} reads {pending}")
    if node.op in recurrent.INPUTS:
        return dict(chain.recurrence(node, known, values))
    if node.op == "Scan":
        return dict(scans.scan(node, known, values, opset))
    if (result := _elementwise(node, known, values)) is not None:
        return {node.outputs[0]: result}
    if len(inside) > 1:
        streams_in = [s for s in inside if isinstance(s, Stream)]
        if len(streams_in) == len(node.inputs) and (together := chain.beside(node, streams_in)) is not None:
            return {node.outputs[0]: together}
        raise OnnxError(f"{node.label} joins {len(inside)} values that depend on the input, expected a chain of layers")
    if node.op not in chain.LAYERS:
        raise OnnxError(f"{node.label} is no layer of a model: {_LIVE}, and any graph with recurra.onnx.run")
    at, shape = next(i for i, name in enumerate(node.inputs) if name in streams), found[node.outputs[0]].shape
    try:
        stream = chain.LAYERS[node.op](node, inside[0], arguments, at, shape)
    except RecurraError as error:
        raise error if isinstance(error, OnnxError) else OnnxError(f"{node.label}: {error}") from error
    return {node.outputs[0]: stream}


def _elementwise(node: Node, streams: Mapping[str, Stream], values: Mapping[str, Value]) -> Stream | None:
    """An operator on elements of one stream and single numbers; None where it is something else."""
    inside = [streams[name] for name in node.inputs if name in streams]
    outside = [values[name] for name in node.inputs if name and name not in streams]
    first, features = inside[0], inside[0].sizes.get(FEATURES, 0)
    alone = node.op in chain.LAYERS and features == 1 and bool(outside)  # a bias of one feature belongs to its layer
    if alone or any(v.size != 1 or v.dtype.kind != "f" for v in outside):
        return None
    if any((s.layers, s.axes, s.last) != (first.layers, first.axes, first.last) for s in inside) or first.pending:
        return None
    arguments = [
        streams[name].expression if name in streams else as_node(float(values[name].reshape(())))
        for name in node.inputs
        if name
    ]
    try:
        expression = expressions.build(node.op, node.attributes, arguments)
    except (RecurraError, TypeError, ValueError, IndexError) as error:
        raise OnnxError(f"{node.label}: {error}") from error
    return None if expression is None else replace(first, expression=expression)
