"""What each operator around a recurrent node makes of a stream: a layer, or another arrangement of its axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from recurra.errors import OnnxError, RecurraError
from recurra.onnx import bridge, recurrent
from recurra.onnx.bridge import Arguments, Read, Shape
from recurra.onnx.graph import Node, Value
from recurra.onnx.streams import DIRECTION, Axis, Parts, Stream, features, joined, size_of
from recurra.runtime import Pool, Recurrent
from recurra.runtime.chained import FEATURES
from recurra.runtime.elementwise import ELEMENT
from recurra.runtime.ops.branches import merged


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
    if len(node.outputs) > 1 and node.outputs[1]:
        rows = stream.axes[batch]
        states = (rows, directions) if it.batch_first else (directions, rows)
        result[node.outputs[1]] = replace(base, axes=(*states, (FEATURES,)), last=True, ends=D == 2)
    return result


def _initial(node: Node, it: recurrent.Recurrence, B: int) -> list[list[Value]]:
    """What the states of each direction begin with; nothing where that is zeros."""
    if it.initial is None or not any(state.any() for states in it.initial for state in states):
        return []
    if any((state != state[:1]).any() for states in it.initial for state in states) or B == 0:
        raise OnnxError(f"{node.label} begins each row with another state, expected the same of all rows")
    return [[np.array(state[0], np.float32) for state in states] for states in it.initial]


def _gather(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    """Rows of a table by ids, or the last step of a sequence."""
    axis = int(node.attributes.get("axis", 0))
    if at == 1:
        return bridge.read_embedding(node, stream, arguments)
    axis %= len(stream.axes)
    if arguments[1].size != 1:
        raise OnnxError(f"{node.label} takes several places of an axis, expected the last step alone")
    return _taken(node, stream, axis, int(arguments[1].reshape(())), arguments[1].ndim)


def _taken(node: Node, stream: Stream, axis: int, index: int, rank: int) -> Stream:
    """One place of an axis, which is then left out (0) or of one (1)."""
    axes = list(stream.axes)
    axes[axis : axis + 1] = [()] * rank
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
        if stream.surplus and stream.axes[place] == (stream.time,) and span == range(size - stream.surplus):
            stream = replace(stream, sizes={**stream.sizes, stream.time: len(span)}, surplus=0)
            continue
        stream = _last(node, stream, place, span[0] if span else 0, len(span))
        stream = replace(stream, axes=tuple(() if i == place else a for i, a in enumerate(stream.axes)))
    return stream


def _last(node: Node, stream: Stream, axis: int, index: int, count: int) -> Stream:
    """A stream of which only the last step is left; raises where it is anything else that is taken."""
    part, size = stream.axes[axis], size_of(stream, stream.axes[axis])
    if stream.ends and part == (DIRECTION,) and count == 1:
        return replace(stream, ends=False, half=index % size)
    if count != 1 or (part and part != (stream.time,)) or index % size != size - 1:
        raise OnnxError(f"{node.label} takes a part of the axis {part or 'of one'}, expected the last step alone")
    return replace(stream, last=stream.last or bool(part))


def join(node: Node, inside: Sequence[Stream | Parts], rank: int) -> Stream | Parts:
    """A Concat: final states of both directions side by side, or of several layers one after the other."""
    streams = [s for s in inside if isinstance(s, Stream)]
    axis = int(node.attributes.get("axis", 0)) % max(rank, 1)
    if len(streams) == len(inside) and all(axis < len(s.axes) for s in streams):
        first = streams[0]
        same = all((s.layers, s.axes) == (first.layers, first.axes) for s in streams)
        if same and [s.half for s in streams] == [0, 1] and first.axes[axis] == (FEATURES,):
            layers, count = (*first.layers, Pool("last", directions=2)), 2 * first.sizes[FEATURES]
            return replace(first, layers=layers, sizes={**first.sizes, FEATURES: count}, half=None)
        if all(s.last and s.half is None and s.axes[axis] in ((), (DIRECTION,)) for s in streams):
            return Parts(tuple(streams), axis)
        if axis == rank - 1 and (found := beside(node, streams)) is not None:
            return found
    raise OnnxError(f"{node.label} joins {len(inside)} values that depend on the input, expected a chain of layers")


def beside(node: Node, streams: Sequence[Stream]) -> Stream | None:
    """Streams of the same steps and rows, put together feature by feature or side by side; None where they are not."""
    first = streams[0]
    times = {s.time for s in streams if s.time}
    alike = all((s.axes, s.last) == (first.axes, first.last) and not s.pending for s in streams)
    sizes = [s.sizes.get(FEATURES, 0) for s in streams]
    how = bridge.MERGED.get(node.op)
    whole = how is not None and alike and len(times) < 2 and first.axes[-1:] == ((FEATURES,),)
    if not whole or (how != "join" and len(set(sizes)) > 1):
        return None
    try:
        layers = merged([s.settled.layers for s in streams], str(how))
    except RecurraError as error:
        raise OnnxError(f"{node.label}: {error}") from error
    together = {**first.sizes, FEATURES: sum(sizes) if how == "join" else sizes[0]}
    return replace(first, layers=layers, sizes=together, expression=ELEMENT, time=next(iter(times), ""))


def part(node: Node, parts: Parts, arguments: Arguments) -> Stream | Parts:
    """One of several final states, by Gather or Slice."""
    if node.op in ("Identity", "Cast", "Dropout"):
        return parts
    if node.op == "Gather" and int(node.attributes.get("axis", 0)) % 3 == parts.axis and arguments[1].size == 1:
        stream, index = parts.at(int(arguments[1].reshape(())))
        return _taken(node, stream, parts.axis, index, arguments[1].ndim)
    if node.op == "Slice" and len(arguments) > 3 and all(a.size == 1 for a in arguments[1:4] if a is not None):
        start, end, axis = (int(a.reshape(())) for a in arguments[1:4])
        count = sum(size_of(s, s.axes[parts.axis]) for s in parts.streams)
        span = range(*slice(start, end).indices(count))
        if axis % 3 == parts.axis and len(span) == 1:
            stream, index = parts.at(span[0])
            return _taken(node, stream, parts.axis, index, 1)
    raise OnnxError(f"{node.label} reads the final states of several layers, expected one of them to be taken")


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


def _same(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    return stream


# What may be done while something is pending, which the functions above know.
ARRANGE = ("Gather", "Slice", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "Cast")
TAKES_ZEROS = ("Pad", "Conv", "Identity", "Cast")

LAYERS: dict[str, Read] = {
    **{op: read for row in bridge.ROWS.values() for op, read in row.nodes.items()},
    "Gather": _gather,
    "Slice": _slice,
    "Transpose": _transpose,
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Flatten"), _reshape),
    **dict.fromkeys(("Identity", "Dropout", "Cast"), _same),
}
