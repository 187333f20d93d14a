"""The operators around recurrent nodes, each against ONNX Runtime, at the opsets where their form changed."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import model, one, onnx_runtime
from onnx import TensorProto, helper, numpy_helper

from helpers import generator
from recurra import onnx
from recurra.onnx.operators import OPERATORS

X = generator("x").normal(size=(2, 3, 4)).astype(np.float32)
POSITIVE = np.abs(X) + 0.1
ROW = generator("row").normal(size=4).astype(np.float32)
WHOLE = np.array([[7, -7, 3], [-9, 5, 8]], np.int64)
FLAGS = X > 0


def ints(*values):
    return np.array(values, np.int64)


# Operator, inputs, attributes, and the opset where it is not the newest.
CASES = [
    *((op, [X, ROW], {}) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Greater", "Less", "PRelu")),
    *((op, [X, X], {}) for op in ("Equal", "GreaterOrEqual", "LessOrEqual")),
    *((op, [X, ROW, X], {}) for op in ("Max", "Min", "Sum")),
    *((op, [FLAGS, FLAGS[:1]], {}) for op in ("And", "Or")),
    ("Not", [FLAGS], {}),
    ("Div", [WHOLE, ints(2, -3, 4)], {}),
    ("Pow", [POSITIVE, ROW], {}),
    ("Pow", [X, ints(3)], {}),
    ("Where", [FLAGS, X, ROW], {}),
    *((op, [X], {}) for op in ("Tanh", "Sigmoid", "Exp", "Erf", "Relu", "Softplus", "Softsign", "Neg", "Abs", "Elu")),
    *((op, [X], {}) for op in ("LeakyRelu", "ThresholdedRelu", "HardSigmoid", "HardSwish", "Gelu", "Identity")),
    *((op, [POSITIVE], {}) for op in ("Sqrt", "Log", "Reciprocal")),
    *((op, [X], {"alpha": 0.3}) for op in ("Elu", "LeakyRelu", "ThresholdedRelu")),
    ("HardSigmoid", [X], {"alpha": 0.3, "beta": 0.6}),
    ("Gelu", [X], {"approximate": "tanh"}),
    *((op, [X], {"axis": axis}) for op in ("Softmax", "LogSoftmax") for axis in (-1, 1, 0)),
    *((op, [X], {"axis": axis}, 11) for op in ("Softmax", "LogSoftmax") for axis in (1, 2)),
    ("Softmax", [X], {}),
    ("Softmax", [X], {}, 11),
    ("Clip", [X, np.array(-0.3, np.float32), np.array(0.4, np.float32)], {}),
    ("Clip", [X, None, np.array(0.4, np.float32)], {}),
    ("Clip", [X], {"min": -0.2}, 7),
    ("MatMul", [X, X.transpose(0, 2, 1).copy()], {}),
    ("MatMul", [X, ROW], {}),
    ("Gemm", [X[0], X[1], ROW[:3]], {"transB": 1, "alpha": 0.5, "beta": 1.5}),
    ("Gemm", [X[0], X[1]], {"transA": 1}),
    ("Reshape", [X, ints(0, -1)], {}),
    ("Reshape", [X, ints(4, 6)], {}),
    *(("Flatten", [X], {"axis": axis}) for axis in (0, 1, 2, -1)),
    ("Transpose", [X], {}),
    ("Transpose", [X], {"perm": [1, 2, 0]}),
    ("Squeeze", [X[:1], ints(0)], {}),
    ("Squeeze", [X[:1]], {}),
    ("Squeeze", [X[:1]], {"axes": [0]}, 11),
    ("Unsqueeze", [X, ints(0, -1)], {}),
    ("Unsqueeze", [X], {"axes": [1]}, 11),
    *(("Concat", [X, X[:, ::-1].copy()], {"axis": axis}) for axis in (0, -1)),
    ("Slice", [X, ints(0), ints(-1), ints(1)], {}),
    ("Slice", [X, ints(-1, 3), ints(-9, 0), ints(1, 2), ints(-1, -2)], {}),
    ("Slice", [X, ints(1), ints(99)], {}),
    ("Slice", [X], {"starts": [1], "ends": [3], "axes": [2]}, 9),
    ("Gather", [X, ints(2, 0, -1)], {"axis": 1}),
    ("Gather", [X, np.array(-1)], {"axis": 1}),
    ("Expand", [ROW, ints(2, 1, 4)], {}),
    ("Tile", [X, ints(1, 2, 3)], {}),
    ("Pad", [X, ints(1, 0, 2, 0, 1, 3), np.array(0.5, np.float32)], {}),
    ("Pad", [X, ints(2, 1), None, ints(-1)], {"mode": "reflect"}),
    ("Pad", [X], {"pads": [0, 0, 1, 0, 0, 0]}, 10),
    ("Pad", [X, ints(0, 2, -1, 0, 1, -2)], {}),
    ("Pad", [X, ints(0, 1, 2, 0, 2, 3)], {"mode": "edge"}),
    ("Pad", [X, ints(1, 2, 0, 1, 1, 0), None, ints(1, 2, 0)], {"mode": "wrap"}),
    ("ConstantOfShape", [ints(2, 3)], {}),
    ("ConstantOfShape", [ints(2)], {"value": numpy_helper.from_array(np.array([7], np.int64))}),
    ("Shape", [X], {}),
    ("Shape", [X], {"start": 1, "end": -1}),
    ("Size", [X], {}),
    ("Cast", [X * 3], {"to": TensorProto.INT64}),
    ("Cast", [FLAGS], {"to": TensorProto.FLOAT}),
    ("CastLike", [WHOLE, ROW], {}),
    ("Range", [np.array(1), np.array(9), np.array(3)], {}),
    *((op, [X, ints(1)], {"keepdims": keep}) for op in ("ReduceMean", "ReduceMax", "ReduceMin") for keep in (0, 1)),
    ("ReduceSum", [X, ints(-1, 0)], {}),
    ("ReduceSum", [X], {"axes": [1]}, 11),
    ("ReduceMean", [X], {}),
    ("ReduceSum", [X], {"noop_with_empty_axes": 1}),
    ("LayerNormalization", [X, ROW, ROW[::-1].copy()], {"axis": -1, "epsilon": 0.01}),
    ("LayerNormalization", [X, X[0]], {"axis": 1}),
    ("BatchNormalization", [X, ROW[:3], ROW[1:], ROW[:3], POSITIVE[0, 0, :3]], {"epsilon": 0.01}),
    *((op, [x], {}) for op in ("GlobalAveragePool", "GlobalMaxPool") for x in (X, X[..., None])),
    ("Dropout", [X], {}),
]
# No ONNX Runtime release that the tests allow has them at this opset; their test is below or with those of `library`.
ELSEWHERE = {"Constant", "Split", "Swish", "Conv", "ConvTranspose", "ScatterND"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{len(case[1])}-{case[3] if len(case) > 3 else ''}")
def test_as_onnx_runtime(case):
    op, arrays, attributes, *opset = case
    content, inputs = one(op, arrays, opset=opset[0] if opset else 22, **attributes)
    (ours,), (theirs,) = onnx.run(content, inputs), onnx_runtime(content).run(None, inputs)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=1e-5)


def test_every_operator_has_a_case():
    assert {case[0] for case in CASES} | ELSEWHERE == set(OPERATORS)


@pytest.mark.parametrize(
    ("arrays", "attributes", "outputs", "opset"),
    [
        ([X, ints(1, 3)], {"axis": -1}, 2, 22),
        ([X], {"axis": 1, "num_outputs": 2}, 2, 22),
        ([X], {"axis": 2, "split": [3, 1]}, 2, 11),
    ],
)
def test_split(arrays, attributes, outputs, opset):
    content, inputs = one("Split", arrays, outputs, opset, **attributes)
    for ours, theirs in zip(onnx.run(content, inputs), onnx_runtime(content).run(None, inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ({"value": numpy_helper.from_array(X)}, X),
        ({"value_float": 0.5}, np.float32(0.5)),
        ({"value_ints": [3, 4]}, ints(3, 4)),
    ],
)
def test_constant(attribute, value):
    (ours,) = onnx.run(model([helper.make_node("Constant", [], ["y"], **attribute)], {}, ["y"]), {})
    assert ours.dtype == value.dtype
    np.testing.assert_array_equal(ours, value)


def test_swish():
    content, inputs = one("Swish", [X], opset=24, alpha=0.7)
    np.testing.assert_allclose(onnx.run(content, inputs)[0], X / (1 + np.exp(-0.7 * X)), rtol=1e-6)


def test_a_model_with_several_nodes_and_defaults():
    """Inputs with a value in the model may be left out; nodes see what was computed before."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Add", ["a", "b"], ["y"])]
    places = [helper.make_tensor_value_info(n, 1, None) for n in ("x", "b", "y")]
    arrays = [numpy_helper.from_array(a, n) for n, a in (("w", X[0].T.copy()), ("b", ROW[:3]))]
    graph = helper.make_graph(nodes, "g", places[:2], places[2:], arrays)
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]).SerializeToString()
    wanted = X[1] @ X[0].T
    np.testing.assert_allclose(onnx.run(content, [X[1]])[0], wanted + ROW[:3], rtol=1e-5)
    np.testing.assert_allclose(onnx.run(content, {"x": X[1], "b": ROW[1:]})[0], wanted + ROW[1:], rtol=1e-5)
