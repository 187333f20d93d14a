"""Operators that have nothing to do with recurrence, by the ONNX package's own implementation of its standard.

That implementation makes arrays of whatever size a model asks for. So an operator is known here with a bound of what it
gives, which is checked before it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import helper
from onnx.reference import ReferenceEvaluator

from recurra.onnx.arrangement import optional
from recurra.onnx.budget import check_size, check_work
from recurra.onnx.graph import Node, Value

_OF_NUMBER, _WINDOWS = 1 << 12, ("MaxPool", "AveragePool")  # of work: much of that implementation is loops
Bound = Callable[[Node, list[Any]], Sequence[int]]  # a shape that holds at least as many numbers


def run(node: Node, values: list[Any], opset: int) -> list[Value]:
    """The outputs of a node of `OPERATORS`; those that are left out are empty arrays.

    Raises:
        OnnxError: what it would give is too large.
    """
    shape = OPERATORS[node.op](node, values)
    check_size(shape, node.label)
    window = math.prod(node.attributes.get("kernel_shape", [])) if node.op in _WINDOWS else 1
    check_work(_OF_NUMBER * math.prod(shape) * max(window, 1), node.label)
    given = {name: value for name, value in zip(node.inputs, values, strict=False) if name}
    found = iter(_evaluator(node, opset).run(None, given))
    return [np.asarray(next(found)) if name else np.zeros(0) for name in node.outputs]


def _evaluator(node: Node, opset: int) -> Any:
    """Made once for a node, for it is slow to make."""
    if not node.made:
        inputs = [helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(node.inputs) if name]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.outputs if name]
        graph = helper.make_graph([node.proto], "node", inputs, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        node.made.append(ReferenceEvaluator(model))
    return node.made[0]


def _same(node: Node, values: list[Any]) -> Sequence[int]:
    """No more than what comes in."""
    return [max((v.size for v in values if v is not None), default=1)]


def _broadcast(node: Node, values: list[Any]) -> Sequence[int]:
    return np.broadcast_shapes(*(v.shape for v in values))


def _resized(node: Node, values: list[Any]) -> Sequence[int]:
    sizes, scales = (optional(values, i) for i in (3, 2))
    scales = values[1] if node.op == "Upsample" else scales
    if sizes is not None and sizes.size:
        return [int(n) for n in sizes]
    return [math.ceil(n * float(s)) for n, s in zip(values[0].shape, scales, strict=True)]


_UNARY = (
    "Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Floor Hardmax IsInf IsNaN Mish Round Selu Shrink Sign Sin "
    "Sinh Tan Trilu CumSum LpNormalization InstanceNormalization GroupNormalization MeanVarianceNormalization "
    "DepthToSpace SpaceToDepth ReverseSequence Compress TopK ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceProd ReduceSumSquare MaxPool AveragePool ScatterElements "
    "GatherElements QuantizeLinear DequantizeLinear DynamicQuantizeLinear"
)
OPERATORS: dict[str, Bound] = {
    **dict.fromkeys(_UNARY.split(), _same),
    **dict.fromkeys(["Mod", "Xor", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Mean"], _broadcast),
    "NonZero": lambda node, values: [values[0].ndim, values[0].size],
    "GatherND": lambda node, values: [*values[1].shape[:-1], *values[0].shape],
    "OneHot": lambda node, values: [*values[0].shape, int(values[1].reshape(-1)[0])],
    "Resize": _resized,
    "Upsample": _resized,
}
