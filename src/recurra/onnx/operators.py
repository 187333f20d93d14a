"""The operators that stand around recurrent nodes in a model, in NumPy, at whatever opset the model has.

Each takes a node, its inputs (None where one is left out) and the model's opset, and returns its outputs. What does not
fit raises whatever NumPy raises; `run` says of which node.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from recurra.cells.functions import FUNCTIONS
from recurra.onnx import arrangement, convolutions
from recurra.onnx.arrangement import axes, optional, place
from recurra.onnx.budget import check_product, check_size
from recurra.onnx.graph import Node, Value

Operator = Callable[[Node, list[Any], int], Sequence[Value]]


def _broadcast(function: Callable[..., Any]) -> Operator:
    """Element by element over arrays of shapes that broadcast; the dtype of the first stays where it is a float."""

    def operator(node: Node, values: list[Any], opset: int) -> list[Value]:
        check_size(np.broadcast(*values).shape, node.label)
        result = np.asarray(function(*values))
        kind = values[0].dtype
        return [result.astype(kind) if kind.kind == "f" and result.dtype.kind == "f" else result]

    return operator


def _fold(function: Callable[[Any, Any], Any]) -> Operator:
    """The same for any number of arrays."""

    def operator(node: Node, values: list[Any], opset: int) -> list[Value]:
        check_size(np.broadcast_shapes(*(v.shape for v in values)), node.label)
        result = values[0]
        for value in values[1:]:
            result = function(result, value)
        return [np.asarray(result)]

    return operator


def _with(function: Callable[..., Any], **defaults: float) -> Operator:
    """Element by element, with numbers from attributes."""

    def operator(node: Node, values: list[Any], opset: int) -> list[Value]:
        numbers = [float(node.attributes.get(name, default)) for name, default in defaults.items()]
        return [np.asarray(function(values[0], *numbers)).astype(values[0].dtype)]

    return operator


def _word(name: str) -> Operator:
    """A function of the language of cells, whose meaning is in `recurra.cells.functions`."""
    return _with(FUNCTIONS[name].value)


def _divide(a: Value, b: Value) -> Value:
    if a.dtype.kind == "f":
        return np.asarray(np.divide(a, b))
    quotient = np.floor_divide(a, b)  # whole numbers are divided towards zero
    return np.asarray(quotient + ((np.remainder(a, b) != 0) & ((a < 0) != (b < 0))))


def _gelu(node: Node, values: list[Any], opset: int) -> list[Value]:
    x = values[0]
    if node.attributes.get("approximate", "none") == "tanh":
        return [(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))).astype(x.dtype)]
    return [(0.5 * x * (1 + FUNCTIONS["erf"].value(x * math.sqrt(0.5)))).astype(x.dtype)]


def _where(node: Node, values: list[Any], opset: int) -> list[Value]:
    check_size(np.broadcast_shapes(*(v.shape for v in values)), node.label)
    return [np.asarray(np.where(values[0], values[1], values[2]))]


def _softmax(node: Node, values: list[Any], opset: int) -> list[Value]:
    """Over one axis; before opset 13 over all axes from that one on."""
    x = values[0]
    axis = int(node.attributes.get("axis", -1 if opset >= 13 else 1))
    over: Any = place(axis, x.ndim) if opset >= 13 else tuple(range(axis % (x.ndim + 1), x.ndim))
    shifted = x - x.max(over, keepdims=True, initial=-np.inf)
    total = np.exp(shifted).sum(over, keepdims=True)
    return [shifted - np.log(total) if node.op == "LogSoftmax" else np.exp(shifted) / total]


def _clip(node: Node, values: list[Any], opset: int) -> list[Value]:
    low, high = (optional(values, i) for i in (1, 2))
    if opset < 11:
        low, high = node.attributes.get("min"), node.attributes.get("max")
    return [values[0] if low is None and high is None else np.clip(values[0], low, high).astype(values[0].dtype)]


def _matmul(node: Node, values: list[Any], opset: int) -> list[Value]:
    a, b = values
    rows, columns = (a.shape[-2] if a.ndim > 1 else 1), (b.shape[-1] if b.ndim > 1 else 1)
    over = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    check_size((*over, rows, columns), node.label)
    check_product(math.prod(over) * rows, columns, a.shape[-1], a.dtype, node.label)
    return [np.asarray(np.matmul(a, b))]


def _gemm(node: Node, values: list[Any], opset: int) -> list[Value]:
    a, b = values[:2]
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"a product of arrays with {a.ndim} and {b.ndim} axes, expected 2 of each")
    a = a.T if node.attributes.get("transA") else a
    b = b.T if node.attributes.get("transB") else b
    check_size((a.shape[0], b.shape[1]), node.label)
    check_product(a.shape[0], b.shape[1], a.shape[1], a.dtype, node.label)
    result = node.attributes.get("alpha", 1.0) * (a @ b)
    if (c := optional(values, 2)) is not None:
        result = result + node.attributes.get("beta", 1.0) * np.broadcast_to(c, result.shape)
    return [result.astype(a.dtype)]


def _constant(node: Node, values: list[Any], opset: int) -> list[Value]:
    kinds: dict[str, Any] = {"value": None, "value_float": np.float32, "value_floats": np.float32}
    kinds |= {"value_int": np.int64, "value_ints": np.int64}
    (name,) = node.attributes
    return [np.asarray(node.attributes[name], kinds[name])]


def _constant_of_shape(node: Node, values: list[Any], opset: int) -> list[Value]:
    shape = [int(n) for n in values[0]]
    check_size(shape, node.label)
    value = node.attributes.get("value", np.zeros(1, np.float32))
    return [np.full(shape, value.reshape(()), value.dtype)]


def _cast(node: Node, values: list[Any], opset: int) -> list[Value]:
    dtype = values[1].dtype if node.op == "CastLike" else onnx.helper.tensor_dtype_to_np_dtype(node.attributes["to"])
    if np.dtype(dtype).kind not in "biufV" or values[0].dtype.kind not in "biufV":
        raise ValueError(f"a cast from {values[0].dtype} to {dtype}, expected numbers")
    return [values[0].astype(dtype)]


def _range(node: Node, values: list[Any], opset: int) -> list[Value]:
    start, limit, delta = (v.reshape(()) for v in values)
    check_size([max(math.ceil((float(limit) - float(start)) / float(delta)), 0)], node.label)
    return [np.arange(start, limit, delta, start.dtype)]


def _reduce(function: Callable[..., Any]) -> Operator:
    def operator(node: Node, values: list[Any], opset: int) -> list[Value]:
        over, x = axes(node, values), values[0]
        if not over and node.attributes.get("noop_with_empty_axes"):
            return [x]
        keep = bool(node.attributes.get("keepdims", 1))
        return [np.asarray(function(x, axis=tuple(over) if over else None, keepdims=keep)).astype(x.dtype)]

    return operator


def _global_pool(function: Callable[..., Any]) -> Operator:
    """All places of each channel together, whose axes are then of one."""
    return lambda node, values, opset: [
        np.asarray(function(values[0], axis=tuple(range(2, values[0].ndim)), keepdims=True)).astype(values[0].dtype)
    ]


def _layer_norm(node: Node, values: list[Any], opset: int) -> list[Value]:
    x, scale, shift = values[0], values[1], optional(values, 2)
    axis = place(int(node.attributes.get("axis", -1)), x.ndim)
    over = tuple(range(axis, x.ndim))
    mean = x.mean(over, keepdims=True)
    inverse = 1 / np.sqrt(((x - mean) ** 2).mean(over, keepdims=True) + node.attributes.get("epsilon", 1e-5))
    y = (x - mean) * inverse * scale
    return [(y if shift is None else y + shift).astype(x.dtype), mean, inverse][: len(node.outputs)]


def _batch_norm(node: Node, values: list[Any], opset: int) -> list[Value]:
    if node.attributes.get("training_mode"):
        raise ValueError("training_mode is 1, expected a model for inference")
    x, scale, shift, mean, variance = (
        v if i == 0 else v.reshape(-1, *[1] * (values[0].ndim - 2)) for i, v in enumerate(values)
    )
    factor = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    return [((x - mean) * factor + shift).astype(x.dtype)]


def _identity(node: Node, values: list[Any], opset: int) -> list[Value]:
    return [values[0], np.ones(values[0].shape, bool)][: len(node.outputs)]  # Dropout's second output is its mask


OPERATORS: dict[str, Operator] = {
    "Add": _broadcast(np.add),
    "Sub": _broadcast(np.subtract),
    "Mul": _broadcast(np.multiply),
    "Div": _broadcast(_divide),
    "Pow": _broadcast(np.power),
    "Where": _where,
    "PRelu": _broadcast(lambda a, slope: np.where(a < 0, slope * a, a)),
    "Equal": _broadcast(np.equal),
    "Greater": _broadcast(np.greater),
    "GreaterOrEqual": _broadcast(np.greater_equal),
    "Less": _broadcast(np.less),
    "LessOrEqual": _broadcast(np.less_equal),
    "And": _broadcast(np.logical_and),
    "Or": _broadcast(np.logical_or),
    "Not": _broadcast(np.logical_not),
    "Max": _fold(np.maximum),
    "Min": _fold(np.minimum),
    "Sum": _fold(np.add),
    **{name: _word(name.lower()) for name in ("Tanh", "Sigmoid", "Exp", "Sqrt", "Erf", "Relu", "Softplus")},
    "Neg": _broadcast(np.negative),
    "Abs": _broadcast(np.abs),
    "Log": _broadcast(np.log),
    "Reciprocal": _broadcast(np.reciprocal),
    "Softsign": _with(lambda a: a / (1 + np.abs(a))),
    "Elu": _with(lambda a, alpha: np.where(a > 0, a, alpha * np.expm1(np.minimum(a, 0))), alpha=1.0),
    "LeakyRelu": _with(lambda a, alpha: np.where(a < 0, alpha * a, a), alpha=0.01),
    "ThresholdedRelu": _with(lambda a, alpha: np.where(a > alpha, a, 0), alpha=1.0),
    "HardSigmoid": _with(lambda a, alpha, beta: np.clip(alpha * a + beta, 0, 1), alpha=0.2, beta=0.5),
    "HardSwish": _with(lambda a: a * np.clip(a / 6 + 0.5, 0, 1)),
    "Swish": _with(lambda a, alpha: a * FUNCTIONS["sigmoid"].value(alpha * a), alpha=1.0),
    "Gelu": _gelu,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Clip": _clip,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": convolutions.conv,
    "ConvTranspose": convolutions.conv_transpose,
    "Reshape": arrangement.reshape,
    "Flatten": arrangement.flatten,
    "Transpose": arrangement.transpose,
    "Squeeze": arrangement.squeeze,
    "Unsqueeze": arrangement.unsqueeze,
    "Concat": arrangement.concat,
    "Split": arrangement.split,
    "Slice": arrangement.slice_,
    "Gather": arrangement.gather,
    "ScatterND": arrangement.scatter_nd,
    "Pad": arrangement.pad,
    "Expand": arrangement.expand,
    "Tile": arrangement.tile,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Shape": arrangement.shape,
    "Size": lambda node, values, opset: [np.array(values[0].size, np.int64)],
    "Cast": _cast,
    "CastLike": _cast,
    "Range": _range,
    "ReduceMean": _reduce(np.mean),
    "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "GlobalAveragePool": _global_pool(np.mean),
    "GlobalMaxPool": _global_pool(np.max),
    "LayerNormalization": _layer_norm,
    "BatchNormalization": _batch_norm,
    "Identity": _identity,
    "Dropout": _identity,
}
