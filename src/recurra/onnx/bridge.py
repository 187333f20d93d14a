"""What each op is in ONNX, both ways: one row an op, but for recurrences, whose nodes have modules of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper

from recurra.errors import ExportError, OnnxError
from recurra.onnx.decoders import emit_attend, emit_join, emit_readout
from recurra.onnx.equations import Builder, Emitter, emit, emit_activation
from recurra.onnx.graph import Node, Value
from recurra.onnx.streams import Stream, along_features, features
from recurra.runtime import ops
from recurra.runtime.chained import FEATURES, FIRST, SECOND
from recurra.runtime.ops import Op
from recurra.runtime.ops.forecast import FUTURE

Arguments = Sequence[Any]  # the values of a node's inputs, None where one is left out
Shape = tuple[int, ...]  # of what the node gives
Read = Callable[[Node, Stream, Arguments, int, Shape], Stream]  # the place of the stream among the inputs is the fourth


class Row(NamedTuple):
    """An op in ONNX: how it is written, and the nodes that are read as it."""

    emit: Callable[[Any, str, Any, str], str]
    nodes: Mapping[str, Read] = {}


def _linear(emitter: Emitter, name: str, op: ops.Linear, x: str) -> str:
    builder = emitter.builder
    y = builder.add("MatMul", [x, builder.array(f"{name}.W", op.W.T)])
    return y if op.b is None else builder.add("Add", [y, builder.array(f"{name}.b", op.b)])


def _affine(emitter: Emitter, name: str, op: ops.Affine, x: str) -> str:
    builder = emitter.builder
    scaled = builder.add("Mul", [x, builder.array(f"{name}.scale", op.scale)])
    return builder.add("Add", [scaled, builder.array(f"{name}.shift", op.shift)])


def _embedding(emitter: Emitter, name: str, op: ops.Embedding, x: str) -> str:
    builder, table = emitter.builder, emitter.builder.array(f"{name}.W", op.W)
    if not op.tables:
        return builder.add("Gather", [table, x])
    ids = builder.add("Cast", [x], to=onnx.TensorProto.INT64)
    if any(op.begins):
        ids = builder.add("Add", [ids, builder.numbers(*op.begins)])
    return builder.add("Reshape", [builder.add("Gather", [table, ids]), builder.numbers(0, 0, op.output_size)])


def _layer_norm(emitter: Emitter, name: str, op: ops.LayerNorm, x: str) -> str:
    scale, shift = (emitter.builder.array(f"{name}.{n}", a) for n, a in op.arrays().items())
    return emitter.builder.add("LayerNormalization", [x, scale, shift], epsilon=op.epsilon, axis=-1)


def _convolution(emitter: Emitter, name: str, op: ops.Convolution, x: str) -> str:
    """A Conv over the inputs before this call, turned so that the oldest is first, and those of this call."""
    if op.stride > 1:
        raise ExportError(f"{name} has the stride {op.stride}, which a graph that is called step by step cannot have")
    builder, I, past = emitter.builder, op.W.shape[2], op.past
    if past:
        before, place = (emitter.begins(name, state, x) for state in ("past", "place"))
        ring = builder.add("Reshape", [before, builder.numbers(0, past, I)])
        steps = builder.array(f"{name}.steps", np.arange(past, dtype=np.int64))
        oldest = builder.add("Cast", [place], to=onnx.TensorProto.INT64)
        order = builder.add("Mod", [builder.add("Add", [oldest, steps]), builder.numbers(past)])
        order = builder.add("Unsqueeze", [order, builder.numbers(2)])
        order = builder.add("Expand", [order, builder.numbers(1, past, I)])
        before = builder.add("Transpose", [builder.add("GatherElements", [ring, order], axis=1)], perm=[1, 0, 2])
        x = builder.add("Concat", [before, x], axis=0)
        latest = builder.add("Slice", [x, builder.numbers(-past), builder.numbers(2**31 - 1), builder.numbers(0)])
        latest = builder.add("Transpose", [latest], perm=[1, 0, 2])
        emitter.give(name, "past", builder.add("Reshape", [latest, builder.numbers(0, past * I)]))
        emitter.give(name, "place", builder.add("Mul", [place, builder.number(0.0)]))
    turned = builder.add("Transpose", [x], perm=[1, 2, 0])
    arrays = [builder.array(f"{name}.W", op.W.transpose(0, 2, 1))]
    arrays += [] if op.b is None else [builder.array(f"{name}.b", op.b)]
    y = builder.add("Conv", [turned, *arrays], dilations=[op.dilation])
    return builder.add("Transpose", [y], perm=[2, 0, 1])


def _convolution_2d(emitter: Emitter, name: str, op: ops.Convolution2d, x: str) -> str:
    """A Conv over the pictures of all steps and rows."""
    builder, add = emitter.builder, emitter.builder.add
    pictures = add("Reshape", [x, builder.numbers(-1, op.rows, op.columns, op.sizes["C"])])
    arrays = [builder.array(f"{name}.W", op.W.transpose(0, 3, 1, 2))]
    arrays += [] if op.b is None else [builder.array(f"{name}.b", op.b)]
    turned = add("Transpose", [pictures], perm=[0, 3, 1, 2])
    y = add("Conv", [turned, *arrays], strides=[op.hop] * 2, pads=[op.padding] * 4)
    ends = add("Slice", [add("Shape", [x]), builder.numbers(0), builder.numbers(2)])
    shape = add("Concat", [ends, builder.numbers(op.output_size)], axis=0)
    return add("Reshape", [add("Transpose", [y], perm=[0, 2, 3, 1]), shape])


def _pool(emitter: Emitter, name: str, op: ops.Pool, x: str) -> str:
    """The last output, a Scan over the steps, or both side by side."""
    last = _last(emitter.builder, name, op, x) if op.how in ("last", "all") else ""
    if op.how == "last":
        return last
    builder = emitter.builder
    step = Builder(builder.arrays, f"{name}.step.")
    states = list(op.states(1))
    old = {state: f"{name}.step.{state}" for state in states}
    now, add, new = f"{name}.step.x", step.add, dict[str, str]()
    if "mean" in old:
        new["count"] = add("Add", [old["count"], step.number(1.0)])
        change = add("Div", [add("Sub", [now, old["mean"]]), new["count"]])
        y = new["mean"] = add("Add", [old["mean"], change])
    if "max" in old:
        y = new["max"] = add("Max", [old["max"], now])
    if op.how == "all":
        y = add("Concat", [new["mean"], new["max"]], axis=-1)
    if op.v is not None:
        score = add("MatMul", [now, step.array(f"{name}.v", op.v[:, None])])
        new["largest"] = add("Max", [old["largest"], score])
        before, share = (add("Exp", [add("Sub", [s, new["largest"]])]) for s in (old["largest"], score))
        new["sum"] = add("Add", [add("Mul", [old["sum"], before]), add("Mul", [now, share])])
        new["weight"] = add("Add", [add("Mul", [old["weight"], before]), share])
        y = add("Div", [new["sum"], new["weight"]])
    outputs = [add("Identity", [new[state]], [f"{name}.step.{state}.next"]) for state in states]
    outputs.append(add("Identity", [y], [f"{name}.step.y"]))
    info = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in (*old.values(), now, *outputs)]
    body = helper.make_graph(step.nodes, f"{name}.step", info[: len(old) + 1], info[len(old) + 1 :])
    ends = [f"{name}.last.{state}" for state in states]
    begins = [emitter.begins(name, state, x) for state in states]
    builder.add("Scan", [*begins, x], [*ends, f"{name}.output"], body=body, num_scan_inputs=1)
    for state, end in zip(states, ends, strict=True):
        emitter.give(name, state, end)
    return builder.add("Concat", [last, f"{name}.output"], axis=-1) if last else f"{name}.output"


def _fields(emitter: Emitter, name: str, op: ops.Fields, x: str) -> str:
    builder, states = emitter.builder, op.equations.states
    parts = [f"{name}.{part}" for part in (*states, *(["rest"] if op.rest else []))]
    sizes = [op.size] * len(states) + ([op.rest] if op.rest else [])
    builder.add("Split", [x, builder.array(f"{name}.sizes", np.array(sizes, np.int64))], parts, axis=-1)
    own = {n: builder.array(f"{name}.parameters.{n}", array) for n, array in op.parameters.items()}
    known = own | {state: f"{name}.{state}" for state in states}
    new = emit(builder, op.equations.next, lambda n, names: known[n._value])
    return builder.add("Concat", [*(new[n] for n in op.equations.next), *parts[len(states) :]], axis=-1)


def _last(builder: Builder, name: str, op: ops.Pool, x: str) -> str:
    """x, or of two directions its first half and the first step of its second."""
    if op.directions == 1:
        return x
    halves = [f"{name}.forward", f"{name}.reverse"]
    builder.add("Split", [x], halves, axis=-1, num_outputs=2)
    first = builder.add("Slice", [halves[1], builder.numbers(0), builder.numbers(1), builder.numbers(0)])
    spread = builder.add("Expand", [first, builder.add("Shape", [halves[1]])])
    return builder.add("Concat", [halves[0], spread], axis=-1)


# Nodes, and how chains are put together.
MERGED = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Concat": "join"}


def _branches(emitter: Emitter, name: str, op: ops.Branches, x: str) -> str:
    """What each chain gives, put together."""
    ends = []
    for k, chain in enumerate(op.branches):
        ends.append(x)
        for i, part in enumerate(chain):
            ends[-1] = emitter.add_layer(f"{name}.{k}.{i}", part, ends[-1])
    if op.how == "join":
        return emitter.builder.add("Concat", ends, axis=-1)
    node = next(node for node, how in MERGED.items() if how == op.how)
    return reduce(lambda a, b: emitter.builder.add(node, [a, b]), ends)


def _activation(emitter: Emitter, name: str, op: ops.Activation, x: str) -> str:
    return emit_activation(emitter.builder, x, op.name, op.slope)


def _forecast(emitter: Emitter, name: str, layer: ops.Forecast, h: str) -> str:
    """Quantiles [T, B, N * Q] of a state h [T, B, I] and the input it reads, [T, B, N * (F + S)]."""
    builder, future = emitter.builder, emitter.inputs[FUTURE]
    arrays = {n: builder.array(f"{name}.{n}", a) for n, a in layer.arrays().items()}
    turned = {n: builder.array(f"{name}.{n}.T", layer.arrays()[n].T) for n in "ABWCD"}
    add, N, (Q, _), last = builder.add, layer.horizon, layer.C.shape, builder.numbers(-1)
    S, ahead = len(layer.W), layer.B.shape[1]
    x = add("Reshape", [future, builder.numbers(0, 0, N, ahead)])
    seasons = add("Slice", [x, builder.numbers(ahead - S), builder.numbers(ahead), last])
    of_state = add("Unsqueeze", [add("MatMul", [h, turned["A"]]), builder.numbers(2)])
    sums = add("Add", [add("Add", [of_state, arrays["e"]]), add("MatMul", [x, turned["B"]])])
    u = add("Tanh", [sums])
    trust = add("Softmax", [add("Add", [add("MatMul", [u, turned["W"]]), arrays["w"]])], axis=-1)
    v = add("Add", [add("MatMul", [u, turned["C"]]), arrays["c"]])
    values = [f"{name}.v.{q}" for q in range(Q)]
    add("Split", [v, builder.array(f"{name}.ones", np.ones(Q, np.int64))], values, axis=-1)
    seasonal = add("ReduceSum", [add("Mul", [trust, seasons]), last], keepdims=1)
    straight = add("Unsqueeze", [add("MatMul", [h, turned["D"]]), last])
    middle = add("Add", [add("Add", [seasonal, straight]), values[layer.middle]])
    quantiles = {layer.middle: middle}
    for order, op, towards in ((range(layer.middle + 1, Q), "Add", -1), (range(layer.middle - 1, -1, -1), "Sub", 1)):
        for q in order:
            k = builder.array(f"{name}.k.{q}", layer.k[:, q : q + 1])
            quantiles[q] = add(op, [quantiles[q + towards], add("Mul", [k, add("Softplus", [values[q]])])])
    stacked = quantiles[0] if Q == 1 else add("Concat", [quantiles[q] for q in range(Q)], axis=-1)
    return add("Reshape", [stacked, builder.numbers(0, 0, N * Q)])


# -- from nodes -----------------------------------------------------------------------------------------------------


def _read_matmul(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    stream = stream.settled
    W = arguments[1 - at]
    if at != 0 or W.ndim != 2:
        raise OnnxError(
            f"{node.label} multiplies by a constant of the shape {W.shape} from the {'right' if at == 0 else 'left'}"
        )
    features(node, stream)
    return stream.then(ops.Linear(_plain(W.T)), W.shape[1])


def _read_gemm(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    stream = stream.settled
    if at != 0 or node.attributes.get("transA"):
        raise OnnxError(f"{node.label} does not multiply its input by a constant from the right")
    features(node, stream)
    W = arguments[1] if node.attributes.get("transB") else arguments[1].T
    b = None
    if len(arguments) > 2 and arguments[2] is not None:
        b = _plain(node.attributes.get("beta", 1.0) * _vector(node, arguments[2], len(W)))
    return stream.then(ops.Linear(_plain(node.attributes.get("alpha", 1.0) * W), b), len(W))


def _read_affine(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    """A constant for each feature, added or multiplied: the bias of a linear op, or an affine op."""
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
    if isinstance(before, ops.Linear) and before.b is None and (scale == 1).all():
        return replace(stream, layers=(*stream.layers[:-1], ops.Linear(before.W, _plain(shift))))
    if isinstance(before, ops.Affine):
        joint = ops.Affine(_plain(scale * before.scale), _plain(scale * before.shift + shift))
        return replace(stream, layers=(*stream.layers[:-1], joint))
    return stream.then(ops.Affine(_plain(scale), _plain(shift)), count)


def _read_batch_norm(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    stream = stream.settled
    if at != 0 or len(stream.axes) < 2 or stream.axes[1] != (FEATURES,) or node.attributes.get("training_mode"):
        raise OnnxError(f"{node.label} normalizes axis 1 of the axes {stream.axes}, expected the features there")
    count = stream.sizes[FEATURES]
    scale, shift, mean, variance = (_vector(node, a, count).astype(np.float64) for a in arguments[1:5])
    scale = scale / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    return stream.then(ops.Affine(_plain(scale), _plain(shift - mean * scale)), count)


def _read_pad(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    """Zeros before the first step or after the last, or less of those that were there."""
    pads = np.asarray(node.attributes["pads"] if "pads" in node.attributes else arguments[1]).reshape(2, -1)
    given = arguments[3] if len(arguments) > 3 and arguments[3] is not None else range(len(stream.axes))
    value = arguments[2] if len(arguments) > 2 and arguments[2] is not None else np.zeros(1)
    stream, zero = stream.settled, not np.any(value) and node.attributes.get("mode", "constant") == "constant"
    for axis, before, after in zip(given, *pads.tolist(), strict=True):
        part = stream.axes[int(axis)]
        if not before and not after:
            continue
        if len(part) != 1 or part[0] not in (FIRST, SECOND) or not zero or before < 0:
            raise OnnxError(f"{node.label} pads the axis {part or 'of one'}, expected zeros beside the steps")
        sizes = {**stream.sizes, part[0]: stream.sizes[part[0]] + before + after}
        if after < 0 and stream.surplus == -after and not before:
            stream = replace(stream, sizes=sizes, surplus=0)
        elif after < 0 or stream.surplus:
            raise OnnxError(f"{node.label} cuts steps off, expected it to cut those that a convolution has too many")
        else:
            padded = stream.padded[0] + before, stream.padded[1] + after
            stream = replace(stream, sizes=sizes, time=part[0], padded=padded)
    return stream


def _read_convolution(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    """A convolution over time: that of a live network where zeros stand before the first step alone."""
    W, axes = arguments[1], stream.axes
    if at != 0 or W.ndim != 3 or len(axes) != 3 or axes[1] != (FEATURES,) or int(node.attributes.get("group", 1)) != 1:
        raise OnnxError(
            f"{node.label} is a convolution of the axes {axes} by a kernel of {W.shape}, expected rows, features and "
            "steps, and one group"
        )
    time = axes[2][0] if axes[2] else stream.time or FIRST
    if time not in (FIRST, SECOND) or (stream.time and time != stream.time):
        raise OnnxError(f"{node.label} goes along the axis {time}, expected the steps")
    (dilation,), (stride,) = (node.attributes.get(name, [1]) for name in ("dilations", "strides"))
    pads = node.attributes.get("pads", [0, 0])
    before, after = (a + int(b) for a, b in zip(stream.padded, pads, strict=True))
    past = (W.shape[2] - 1) * dilation
    if node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or before != past or (after and stride > 1):
        raise OnnxError(
            f"{node.label} has {before} zeros before the first step and {after} after the last, expected {past} and "
            "none: a live step sees no later one"
        )
    b = None if len(arguments) < 3 or arguments[2] is None else _plain(_vector(node, arguments[2], len(W)))
    op = ops.Convolution(_plain(W.transpose(0, 2, 1)), b, int(dilation), int(stride))
    plain = replace(stream, padded=(0, 0)).settled
    result = replace(plain.then(op, len(W)), time=time, surplus=after)
    return replace(result, sizes={**result.sizes, time: shape[2]})


def _read_pool(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    """The mean or the largest of all steps."""
    stream = stream.settled
    reduces = node.op.startswith("Reduce")
    over: Any = range(2, len(stream.axes))
    if reduces:
        over = node.attributes.get("axes", arguments[1] if len(arguments) > 1 else None)
    elif shape[2:] != (1,) or any(node.attributes.get("pads", [])):
        raise OnnxError(f"{node.label} pools a few steps at a time, expected all of them together")
    keep = not reduces or bool(node.attributes.get("keepdims", 1))
    places = [int(axis) % len(stream.axes) for axis in (np.atleast_1d(over) if over is not None else [])]
    time = stream.axes[places[0]][0] if len(places) == 1 and stream.axes[places[0]] else ""
    if time not in (FIRST, SECOND) or (stream.time and stream.time != time) or stream.last:
        raise OnnxError(f"{node.label} takes the axes {over} of {stream.axes} together, expected the steps")
    how = "max" if "Max" in node.op else "mean"
    axes = [() if i in places else axis for i, axis in enumerate(stream.axes) if keep or i not in places]
    pooled = stream.then(ops.Pool(how), stream.sizes[FEATURES])
    return replace(pooled, time=time, last=True, axes=tuple(axes))


def read_embedding(node: Node, stream: Stream, arguments: Arguments) -> Stream:
    """Rows of a table by the ids that come in."""
    if int(node.attributes.get("axis", 0)) != 0 or arguments[0].ndim != 2 or stream.layers:
        raise OnnxError(f"{node.label} is no embedding: expected rows of a table by the ids that come in")
    table = arguments[0]
    return replace(stream, axes=(*stream.axes, (FEATURES,))).then(ops.Embedding(_plain(table)), table.shape[1])


def _read_layer_norm(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    stream = stream.settled
    count = along_features(node, stream, -1)
    scale = _vector(node, arguments[1], count)
    shift = np.zeros(count) if len(arguments) < 3 or arguments[2] is None else _vector(node, arguments[2], count)
    layer = ops.LayerNorm(_plain(scale), _plain(shift), float(node.attributes.get("epsilon", 1e-5)))
    return stream.then(layer, count)


def _read_softmax(node: Node, stream: Stream, arguments: Arguments, at: int, shape: Shape) -> Stream:
    stream = stream.settled
    return stream.then(ops.Softmax(), along_features(node, stream, -1))


def _plain(array: Value) -> Value:
    return np.array(array, np.float32, order="C")


def _vector(node: Node, array: Value, count: int) -> Value:
    """A constant for each feature."""
    if array.size not in (1, count) or (array.size > 1 and array.shape[-1] != count):
        raise OnnxError(f"{node.label} has a constant of the shape {array.shape}, expected one number for each feature")
    return np.broadcast_to(array.reshape(-1), (count,))


ROWS: dict[type[Op], Row] = {
    ops.Linear: Row(_linear, {"MatMul": _read_matmul, "Gemm": _read_gemm}),
    ops.Affine: Row(
        _affine,
        {**dict.fromkeys(("Add", "Sub", "Mul", "Div"), _read_affine), "BatchNormalization": _read_batch_norm},
    ),
    ops.Embedding: Row(_embedding),  # its Gather may also take the last step: `chain` tells them apart
    ops.LayerNorm: Row(_layer_norm, {"LayerNormalization": _read_layer_norm}),
    ops.Convolution: Row(_convolution, {"Pad": _read_pad, "Conv": _read_convolution}),
    ops.Convolution2d: Row(_convolution_2d),
    ops.Pool: Row(
        _pool,
        dict.fromkeys(
            ("ReduceMean", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool"), _read_pool
        ),
    ),
    ops.Activation: Row(_activation),
    ops.Softmax: Row(
        lambda emitter, name, op, x: emitter.builder.add("Softmax", [x], axis=-1), {"Softmax": _read_softmax}
    ),
    ops.Attend: Row(emit_attend),
    ops.Readout: Row(emit_readout),
    ops.Join: Row(emit_join),
    ops.Fields: Row(_fields),
    ops.Branches: Row(_branches),
    ops.Forecast: Row(_forecast),
    ops.Dropout: Row(lambda emitter, name, op, x: x),
}
