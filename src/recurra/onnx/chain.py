"""What each operator around a recurrent node makes of a stream: a layer, or another arrangement of its axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recurra.errors import OnnxError
from recurra.onnx import recurrent
from recurra.onnx.graph import Node, Value
from recurra.onnx.streams import DIRECTION, FEATURES, Axis, Stream, along_features, features, joined, size_of
from recurra.runtime import Embedding, LayerNorm, Linear, Recurrent, Softmax


def recurrence(node: Node, streams: Mapping[str, Stream], values: Mapping[str, Value]) -> dict[str, Stream]:
    """What a recurrent node makes of the stream that goes into it."""
    arguments = [values[name] if name else None for name in node.inputs]
    if node.inputs[0] not in streams or any(name in streams for name in node.inputs[1:]):
        raise OnnxError(f"{node.label} has weights or states that depend on the input, expected constants")
    stream, it = streams[node.inputs[0]].settled, recurrent.read(node, arguments)
    batch, time = (0, 1) if it.batch_first else (1, 0)
    features(node, stream)
    if len(stream.axes) != 3 or any(len(stream.axes[a]) > 1 for a in (batch, time)):
        raise OnnxError(f"{node.label} reads the axes {stream.axes}, expected steps, rows and features")
    names = [stream.axes[a][0] if stream.axes[a] else "" for a in (time, batch)]
    if stream.time and names[0] not in ("", stream.time):
        raise OnnxError(f"{node.label} steps along another axis than the layer before it")
    (T, B, _), D, H = it.x.shape, len(it.cells), it.weights[0].hidden_size
    if it.lengths is not None and (it.lengths != T).any():
        raise OnnxError(f"{node.label} has lengths of its own, expected none or whole sequences")
    if D == 1 and it.reverse[0]:
        raise OnnxError(f"{node.label} has the direction reverse, expected forward or bidirectional")
    if len({cell.fingerprint for cell in it.cells}) > 1:
        raise OnnxError(f"{node.label} has other activations in its second direction, expected the same in both")
    weights = [w.map(lambda a: np.ascontiguousarray(a, np.float32)) for w in it.weights]
    layer = Recurrent(it.cells[0], weights, _initial(node, it, B))
    sizes = {**stream.sizes, DIRECTION: D, FEATURES: H}
    lead: tuple[Axis, Axis] = (stream.axes[0], stream.axes[1])
    directions: Axis = (DIRECTION,) if D == 2 else ()
    axes = (*lead, directions, (FEATURES,)) if it.batch_first else (lead[0], directions, lead[1], (FEATURES,))
    base = replace(stream, layers=(*stream.layers, layer), sizes=sizes, time=names[0] or stream.time)
    result = {node.outputs[0]: joined(replace(base, axes=axes))} if node.outputs and node.outputs[0] else {}
    if D == 1 and len(node.outputs) > 1 and node.outputs[1]:
        rows = stream.axes[batch]
        result[node.outputs[1]] = replace(
            base, axes=(rows, (), (FEATURES,)) if it.batch_first else ((), rows, (FEATURES,)), last=True
        )
    return result


def _initial(node: Node, it: recurrent.Recurrence, B: int) -> list[list[Value]]:
    """What the states of each direction begin with; nothing where that is zeros."""
    if it.initial is None or not any(state.any() for states in it.initial for state in states):
        return []
    if any((state != state[:1]).any() for states in it.initial for state in states) or B == 0:
        raise OnnxError(f"{node.label} begins each row with another state, expected the same of all rows")
    return [[np.array(state[0], np.float32) for state in states] for states in it.initial]


Arguments = Sequence[Any]
Shape = tuple[int, ...]  # of what the node gives


def _matmul(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    stream = stream.settled
    W = arguments[1 - at]
    if at != 0 or W.ndim != 2:
        raise OnnxError(
            f"{node.label} multiplies by a constant of the shape {W.shape} from the {'right' if at == 0 else 'left'}"
        )
    features(node, stream)
    return stream.then(Linear(_plain(W.T)), W.shape[1])


def _gemm(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    stream = stream.settled
    if at != 0 or node.attributes.get("transA"):
        raise OnnxError(f"{node.label} does not multiply its input by a constant from the right")
    features(node, stream)
    W = arguments[1] if node.attributes.get("transB") else arguments[1].T
    b = None
    if len(arguments) > 2 and arguments[2] is not None:
        b = _plain(node.attributes.get("beta", 1.0) * _vector(node, arguments[2], len(W)))
    return stream.then(Linear(_plain(node.attributes.get("alpha", 1.0) * W), b), len(W))


def _affine(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    """A constant for each feature, added or multiplied: the bias of a dense layer, or a diagonal one."""
    stream = stream.settled
    count = features(node, stream)
    constant = _vector(node, arguments[1 - at], count).astype(np.float64)
    zero, one = np.zeros(count), np.ones(count)
    if node.op == "Div" and at == 1:
        raise OnnxError(f"{node.label} divides by a value that depends on the input")
    scale, shift = {
        "Add": (one, constant),
        "Sub": (one if at == 0 else -one, -constant if at == 0 else constant),
        "Mul": (constant, zero),
        "Div": (1 / constant, zero),
    }[node.op]
    before = stream.layers[-1] if stream.layers else None
    if isinstance(before, Linear) and before.b is None and (scale == 1).all():
        return replace(stream, layers=(*stream.layers[:-1], Linear(before.W, _plain(shift))))
    return stream.then(Linear(_plain(np.diag(scale)), _plain(shift) if shift.any() else None), count)


def _gather(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    """Rows of a table by ids, or the last step of a sequence."""
    axis = int(node.attributes.get("axis", 0))
    if at == 1:
        if axis != 0 or arguments[0].ndim != 2 or stream.layers:
            raise OnnxError(f"{node.label} is no embedding: expected rows of a table by the ids that come in")
        table = arguments[0]
        return replace(stream, axes=(*stream.axes, (FEATURES,))).then(Embedding(_plain(table)), table.shape[1])
    axis %= len(stream.axes)
    if arguments[1].size != 1:
        raise OnnxError(f"{node.label} takes several places of an axis, expected the last step alone")
    index = int(arguments[1].reshape(()))
    axes = list(stream.axes)
    axes[axis : axis + 1] = [()] * arguments[1].ndim
    return replace(_last(node, stream, axis, index, 1), axes=tuple(axes))


def _slice(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    if len(arguments) < 3 or at != 0:
        raise OnnxError(f"{node.label} is of an old opset: convert the model to opset 13 or later")
    starts, ends = (np.atleast_1d(a) for a in arguments[1:3])
    axes = np.arange(len(starts)) if len(arguments) < 4 or arguments[3] is None else np.atleast_1d(arguments[3])
    steps = [1] * len(starts) if len(arguments) < 5 or arguments[4] is None else arguments[4]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = int(axis) % len(stream.axes)
        size = size_of(stream, stream.axes[place])
        span = range(*slice(int(start), int(end), int(step)).indices(size))
        if span == range(size):
            continue
        stream = _last(node, stream, place, span[0] if span else 0, len(span))
        stream = replace(stream, axes=tuple(() if i == place else a for i, a in enumerate(stream.axes)))
    return stream


def _last(node: Node, stream: Stream, axis: int, index: int, count: int) -> Stream:
    """A stream of which only the last step is left; raises where it is anything else that is taken."""
    part, size = stream.axes[axis], size_of(stream, stream.axes[axis])
    if count != 1 or (part and part != (stream.time,)) or index % size != size - 1:
        raise OnnxError(f"{node.label} takes a part of the axis {part or 'of one'}, expected the last step alone")
    return replace(stream, last=stream.last or bool(part))


def _transpose(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    order = node.attributes.get("perm") or range(len(stream.axes))[::-1]
    return replace(stream, axes=tuple(stream.axes[i] for i in order))


def _reshape(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    """The same parts in the same order, cut into other axes."""
    if at != 0:
        raise OnnxError(f"{node.label} has a shape that depends on the input's numbers, expected a constant")
    parts = [part for axis in stream.axes for part in axis]
    axes: list[Axis] = []
    for i, n in enumerate(shape):
        axis: list[str] = []
        size, left = 1, len(shape) - i - 1
        while parts and (size < n or (stream.sizes[parts[0]] == 1 and (left == 0 or len(parts) > left))):
            size *= stream.sizes[parts[0]]
            axis.append(parts.pop(0))
        if size != n:
            raise OnnxError(
                f"{node.label} mixes the axes {stream.axes}, expected to keep steps, rows and features apart"
            )
        axes.append(tuple(axis))
    return joined(replace(stream, axes=tuple(axes)))


def _layer_norm(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    stream = stream.settled
    count = along_features(node, stream, -1)
    scale = _vector(node, arguments[1], count)
    shift = np.zeros(count) if len(arguments) < 3 or arguments[2] is None else _vector(node, arguments[2], count)
    layer = LayerNorm(_plain(scale), _plain(shift), float(node.attributes.get("epsilon", 1e-5)))
    return stream.then(layer, count)


def _softmax(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    stream = stream.settled
    return stream.then(Softmax(), along_features(node, stream, -1))


def _plain(array: Value) -> Value:
    return np.array(array, np.float32, order="C")


def _vector(node: Node, array: Value, count: int) -> Value:
    """A constant for each feature."""
    if array.size not in (1, count) or (array.size > 1 and array.shape[-1] != count):
        raise OnnxError(f"{node.label} has a constant of the shape {array.shape}, expected one number for each feature")
    return np.broadcast_to(array.reshape(-1), (count,))


def _same(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    return stream


LAYERS: dict[str, Callable[[Node, Stream, Arguments, int, Shape], Stream]] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _affine),
    "Gather": _gather,
    "Slice": _slice,
    "Transpose": _transpose,
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Flatten"), _reshape),
    "LayerNormalization": _layer_norm,
    "Softmax": _softmax,
    **dict.fromkeys(("Identity", "Dropout", "Cast"), _same),
}
