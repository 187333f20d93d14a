"""Operators by the ONNX package, convolutions, branches and loops, against ONNX Runtime; sizes that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import model, normal, one, onnx_runtime
from onnx import TensorProto, helper

from helpers import generator
from recurra import onnx
from recurra.errors import OnnxError
from recurra.onnx import library

RNG = generator("library")
X = normal(RNG, 2, 3, 4)
SMALL, ABOVE = np.clip(X, -0.9, 0.9), 1 + np.abs(X)
WHOLE = RNG.integers(-9, 9, (2, 3, 4))
FLAGS = X > 0
IMAGE = normal(RNG, 2, 4, 5, 6)
SERIES = normal(RNG, 2, 4, 9)
ROW = normal(RNG, 4)


def ints(*values):
    return np.array(values, np.int64)


_AS_IT_IS = "Atan Ceil Cos Floor IsNaN Mish Round Selu Celu Shrink Sign Sin Sinh Cosh Tan Asinh Hardmax Trilu IsInf"
CASES = [
    *((op, [X * 3], {}) for op in _AS_IT_IS.split()),
    *((op, [SMALL], {}) for op in ("Acos", "Asin", "Atanh")),
    ("Acosh", [ABOVE], {}),
    *((op, [X, ints(1)], {}) for op in ("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare")),
    ("ReduceLogSum", [ABOVE, ints(1)], {}),
    ("CumSum", [X, np.array(1)], {}),
    *((op, [X], {"axis": 1}) for op in ("ArgMax", "ArgMin")),
    ("LpNormalization", [X], {"axis": -1, "p": 2}),
    ("MeanVarianceNormalization", [IMAGE], {"axes": [0, 2, 3]}),
    ("InstanceNormalization", [IMAGE, ROW, ROW[::-1].copy()], {}),
    *((op, [IMAGE], {"kernel_shape": [2, 3], "strides": [1, 2]}) for op in ("MaxPool", "AveragePool")),
    ("DepthToSpace", [IMAGE], {"blocksize": 2}),
    ("SpaceToDepth", [IMAGE[..., :4, :]], {"blocksize": 2}),
    ("ReverseSequence", [X, ints(2, 1, 2)], {"time_axis": 0, "batch_axis": 1}),
    ("Compress", [X, np.array([True, False, True])], {"axis": 1}),
    ("GatherElements", [X, ints(*[[[1, 0, 2, 1]]] * 2)], {"axis": 1}),
    ("GatherND", [X, ints([0, 1], [1, 2])], {}),
    ("ScatterElements", [X, ints(*[[[1, 0, 2, 1]]] * 2), X[:, :1] + 1], {"axis": 1}),
    ("QuantizeLinear", [X, np.array(0.1, np.float32), np.array(3, np.uint8)], {}),
    ("DequantizeLinear", [np.abs(WHOLE).astype(np.uint8), np.array(0.1, np.float32), np.array(3, np.uint8)], {}, 21),
    ("Mod", [WHOLE, ints(2, 3, 4, 5)], {}),
    ("Mean", [X, ROW], {}),
    ("Xor", [FLAGS, FLAGS[:1]], {}),
    ("BitShift", [np.abs(WHOLE).astype(np.uint8), np.array([1], np.uint8)], {"direction": "LEFT"}),
    *((op, [WHOLE, WHOLE[:1]], {}) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
    ("NonZero", [FLAGS], {}),
    ("OneHot", [np.abs(WHOLE[0]), np.array(9), np.array([0.0, 2.0], np.float32)], {}),
    ("Resize", [IMAGE, None, np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}),
    ("Upsample", [IMAGE, np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}, 9),
]
CONVOLUTIONS = [
    ("Conv", [SERIES, normal(RNG, 6, 4, 3), normal(RNG, 6)], {"pads": [2, 0]}),
    ("Conv", [SERIES, normal(RNG, 6, 2, 3)], {"group": 2, "strides": [2], "dilations": [2]}),
    ("Conv", [SERIES, normal(RNG, 6, 4, 8)], {}),  # more taps than places
    ("Conv", [IMAGE, normal(RNG, 6, 4, 5, 4)], {"strides": [1, 2], "pads": [0, 1, 0, 0]}),
    ("Conv", [IMAGE, normal(RNG, 4, 1, 3, 2)], {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 1]}),
    ("Conv", [IMAGE, normal(RNG, 4, 4, 2, 2)], {"auto_pad": "SAME_LOWER"}),
    ("Conv", [IMAGE, normal(RNG, 4, 4, 2, 2)], {"auto_pad": "VALID", "dilations": [2, 3]}),
    ("ConvTranspose", [SERIES, normal(RNG, 4, 6, 3), normal(RNG, 6)], {"strides": [2], "pads": [1, 0]}),
    ("ConvTranspose", [SERIES, normal(RNG, 4, 3, 3)], {"group": 2, "dilations": [2]}),
    ("ConvTranspose", [IMAGE, normal(RNG, 4, 2, 3, 2)], {"strides": [2, 3], "output_padding": [1, 0]}),
    ("ConvTranspose", [IMAGE, normal(RNG, 4, 2, 3, 2)], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
]
SCATTERED = [
    ("ScatterND", [X, ints([0, 1], [1, 2]), X[0, :2] + 1], {}),
    ("ScatterND", [X, ints([0, 1], [0, 1]), X[0, :2] + 1], {"reduction": "add"}),
]
# Made by no ONNX Runtime that the tests allow, at this opset or in float32, or in their own test.
ELSEWHERE = {"TopK", "DynamicQuantizeLinear", "GroupNormalization"}


@pytest.mark.parametrize("case", CASES + CONVOLUTIONS + SCATTERED, ids=lambda case: f"{case[0]}-{len(case[1])}")
def test_as_onnx_runtime(case):
    op, arrays, attributes, *opset = case
    content, inputs = one(op, arrays, opset=opset[0] if opset else 18, **attributes)
    (ours,), (theirs,) = onnx.run(content, inputs), onnx_runtime(content).run(None, inputs)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_allclose(ours, theirs, atol=2e-6, rtol=1e-5)


def test_every_operator_has_a_case():
    assert {case[0] for case in CASES} | ELSEWHERE == set(library.OPERATORS)


def test_several_outputs_and_halves():
    content, inputs = one("TopK", [X, ints(2)], 2, 17, axis=-1)
    for ours, theirs in zip(onnx.run(content, inputs), onnx_runtime(content).run(None, inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    halves = [a.astype(np.float16) for a in (SERIES, normal(RNG, 6, 4, 3))]
    (ours,) = onnx.run(*one("Conv", halves))
    assert ours.dtype == np.float16
    np.testing.assert_allclose(ours, onnx.run(*one("Conv", [a.astype(np.float32) for a in halves]))[0], atol=5e-3)


def graph_of(name, nodes, outputs, inputs=()):
    shapes = {"turn": [], "going": [], "carried": [2, 3, 4]}  # which ONNX Runtime wants to know
    places = [[helper.make_tensor_value_info(n, kind, shapes.get(n)) for n, kind in of] for of in (inputs, outputs)]
    return helper.make_graph(nodes, name, *places)


@pytest.mark.parametrize("flag", [True, False])
def test_a_branch_sees_what_is_outside(flag):
    branches = {
        f"{name}_branch": graph_of(name, [helper.make_node(op, ["x", "x"], ["z"])], [("z", TensorProto.FLOAT)])
        for name, op in (("then", "Add"), ("else", "Mul"))
    }
    content = model([helper.make_node("If", ["flag"], ["y"], **branches)], {"flag": np.array(flag), "x": X}, ["y"], 17)
    given = {"flag": np.array(flag), "x": X}
    (ours,), (theirs,) = onnx.run(content, given), onnx_runtime(content).run(None, given)
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(OnnxError, match="its condition is not one number"):
        onnx.run(content, given | {"flag": np.array([True, False])})


def test_a_loop_carries_and_collects():
    body = graph_of(
        "body",
        [
            helper.make_node("Add", ["carried", "x"], ["next"]),
            helper.make_node("Identity", ["carried"], ["each"]),
            helper.make_node("Identity", ["going"], ["on"]),
        ],
        [("on", TensorProto.BOOL), ("next", TensorProto.FLOAT), ("each", TensorProto.FLOAT)],
        [("turn", TensorProto.INT64), ("going", TensorProto.BOOL), ("carried", TensorProto.FLOAT)],
    )
    node = helper.make_node("Loop", ["count", "", "begin"], ["last", "all"], body=body)
    inputs = {"count": np.array(3), "begin": X, "x": X}
    content = model([node], inputs, ["last", "all"], 17)
    for ours, theirs in zip(onnx.run(content, inputs), onnx_runtime(content).run(None, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    with pytest.raises(OnnxError, match="wants more work than a model and inputs of this size may"):
        onnx.run(content, inputs | {"count": np.array(1 << 40), "x": np.zeros((2, 3, 4), np.float32)})


def test_arrays_that_would_be_too_large_are_not_made():
    big = 1 << 30
    for case in (
        ("Pad", [X, ints(0, 0, big, 0, 0, big)]),
        ("OneHot", [np.abs(WHOLE[0]), np.array(big), np.array([0.0, 2.0], np.float32)]),
        ("Resize", [IMAGE, None, np.array([1, 1, 1e5, 1e5], np.float32)]),
        ("Conv", [SERIES, normal(RNG, 6, 4, 3)], {"pads": [big, 0]}),
        ("ConvTranspose", [SERIES, normal(RNG, 4, 6, 3)], {"strides": [big]}),
    ):
        content, inputs = one(case[0], case[1], opset=17, **(case[2] if len(case) > 2 else {}))
        with pytest.raises(OnnxError, match="expected at most"):
            onnx.run(content, inputs)


def test_an_error_is_short():
    content, inputs = one("NonMaxSuppression", [X, X])
    with pytest.raises(OnnxError, match="operator that is not known here") as error:
        onnx.run(content, inputs)
    assert len(str(error.value)) < 200
