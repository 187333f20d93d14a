"""Models and inputs that are wrong: each is refused in one line that says what is wrong; none crashes."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import FUNCTIONS, GATES, model, normal, one, recurrent_inputs
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper

from helpers import generator
from recurra import cells, onnx, runtime
from recurra.errors import MissingExtraError, OnnxError, RecurraError
from recurra.onnx.exporter import build
from recurra.weights import Weights

T, B, I, H = 4, 3, 2, 3


def refused(message, op="LSTM", D=1, changes=None, **attributes):
    """Run one node with some inputs replaced (None: left out), and expect this error of it."""
    arrays = recurrent_inputs(op, generator(op), T, B, I, H, D) | (changes or {})
    content, inputs = one(op, list(arrays.values()), 2, **{"hidden_size": H, **attributes})
    with pytest.raises(OnnxError):
        onnx.from_onnx(content)
    with pytest.raises(OnnxError, match=message) as error:
        onnx.run(content, inputs)
    assert f"node 0 ({op}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"])
def test_wrong_shapes(name):
    array = recurrent_inputs("LSTM", generator(name), T, B, I, H, 1)[name]
    refused(rf"{name} has the shape .*, expected", changes={name: np.concatenate([array, array], -1)})


@pytest.mark.parametrize("name", ["X", "R"])
def test_wrong_ranks(name):
    refused("expected three axes", changes={name: np.ones((2, 2), np.float32)})


@pytest.mark.parametrize("name", ["X", "W", "R"])
def test_missing_inputs(name):
    refused(f"has no {name}", changes={name: None})


def test_wrong_dtypes():
    refused("W is float64, expected float32", changes={"W": np.ones((1, 4 * H, I))})
    refused("sequence_lens is float32", changes={"sequence_lens": np.ones(B, np.float32)})
    arrays = recurrent_inputs("RNN", generator(), T, B, I, H, 1)
    whole = [arrays[n].astype(np.int64) for n in ("X", "W", "R")]
    with pytest.raises(OnnxError, match="X is int64, expected float32"):
        onnx.run(*one("RNN", whole, hidden_size=H))


@pytest.mark.parametrize("lengths", [[T + 1, 1, 1], [-1, 1, 1]])
def test_lengths_beyond_the_sequence(lengths):
    refused(f"expected 0 to {T}, the steps of X", changes={"sequence_lens": np.array(lengths, np.int32)})


@pytest.mark.parametrize(
    ("message", "attributes"),
    [
        ("direction is 'sideways', expected one of forward, reverse, bidirectional", {"direction": "sideways"}),
        ("the activation 'Tanhh' is unknown, expected one of Relu", {"activations": ["Sigmoid", "Tanhh", "Tanh"]}),
        (r"activations are \['Sigmoid'\], expected 3", {"activations": ["Sigmoid"]}),
        ("expected 3 for each of 1 directions", {"activations": ["Sigmoid", "Tanh", "Tanh"] * 2}),
        ("ScaledTanh has no activation_alpha", {"activations": ["Sigmoid", "ScaledTanh", "Tanh"]}),
        ("activation_alpha has 1 values more", {"activation_alpha": [0.5]}),
        ("layout is 2, expected 0 or 1", {"layout": 2}),
        ("input_forget is 7, expected 0 or 1", {"input_forget": 7}),
        ("clip is -1.0, expected a number above 0", {"clip": -1.0}),
        ("clip is nan", {"clip": float("nan")}),
        ("hidden_size is 4", {"hidden_size": 4}),
        ("the attribute 'linear_before_reset' is unknown", {"linear_before_reset": 1}),
        ("direction is a int, expected a str", {"direction": 1}),
        ("activations is a int, expected a list", {"activations": 3}),
    ],
)
def test_wrong_attributes(message, attributes):
    refused(message, **attributes)


def test_infinite_alpha():
    refused("finite number", "RNN", activations=["LeakyRelu"], activation_alpha=[float("inf")])


def test_inputs_that_do_not_fit_the_graph():
    content, inputs = one("RNN", [np.ones((1, 1, 1), np.float32)] * 3, hidden_size=1)
    with pytest.raises(OnnxError, match="the input 'in1' is missing, expected in0, in1, in2"):
        onnx.run(content, {"in0": inputs["in0"]})
    with pytest.raises(OnnxError, match="got the input 'x', expected in0, in1, in2"):
        onnx.run(content, {"x": inputs["in0"]})
    with pytest.raises(OnnxError, match="got 2 inputs, expected 3"):
        onnx.run(content, list(inputs.values())[:2])
    with pytest.raises(OnnxError, match="'in0' is float64, expected float32"):
        onnx.run(content, {**inputs, "in0": np.ones((1, 1, 1))})
    fixed = ModelProto.FromString(content)
    fixed.graph.input[0].CopyFrom(helper.make_tensor_value_info("in0", 1, [2, "b", 1]))
    with pytest.raises(OnnxError, match=r"has the shape \(1, 1, 1\), expected \[2, any, 1\]"):
        onnx.run(fixed.SerializeToString(), inputs)


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ("no ONNX model", b"not a model"),
        ("without a graph", b""),
        ("operator that is not known", one("NonMaxSuppression", [np.ones(1, np.float32)])[0]),
        (r"\(Soft\\nmax\\x0b\) is an operator", one("Soft\nmax\x0b", [np.ones(1, np.float32)])[0]),
        ("Bernoulli.* is an operator that is not known", one("Bernoulli", [np.ones(1, np.float32)])[0]),
        (
            "nothing before it computes its input 'nowhere'",
            model([helper.make_node("Relu", ["nowhere"], ["y"])], {}, ["y"]),
        ),
        ("no node computes the output 'z'", model([], {}, ["z"])),
        ("opsets .*99.*, expected one from 7", model([], {}, [], 99)),
        ("expected one from 7", model([], {}, [], 1)),
        ("domain 'acme', expected", model([helper.make_node("Relu", ["x"], ["y"], domain="acme")], {}, ["y"])),
        (
            "cannot take inputs of the shapes none: it has no 'axis'",
            model([helper.make_node("Concat", [], ["y"])], {}, ["y"]),
        ),
    ],
)
def test_models_that_are_none(message, content):
    with pytest.raises(OnnxError, match=message):
        onnx.run(content, [np.ones(1, np.float32)] if b"in0" in content else [])


def test_arrays_that_would_be_too_large_are_not_made():
    huge = np.array([1 << 20, 1 << 20], np.int64)
    for op in ("ConstantOfShape", "Expand", "Tile"):
        arrays = [huge] if op == "ConstantOfShape" else [np.ones((1, 1), np.float32), huge]
        with pytest.raises(OnnxError, match=r"\[1048576, 1048576\], expected at most"):
            onnx.run(*one(op, arrays))
    column = np.zeros((1 << 15, 1), np.float32)
    for op in ("Add", "MatMul"):
        with pytest.raises(OnnxError, match="expected at most"):
            onnx.run(*one(op, [column, column.T.copy()]))


def seeds():
    """Small models of many kinds, with inputs."""
    rng = generator("seeds")
    found = []
    for op in GATES:
        arrays = recurrent_inputs(op, rng, T, B, I, H, 2)
        functions = ["Sigmoid", "Tanh", "Tanh"][-FUNCTIONS[op] :] * 2
        found.append(one(op, list(arrays.values()), 2, hidden_size=H, direction="bidirectional", activations=functions))
    for cell, D in ((cells.mgu, 1), (cells.gru, 2)):
        weights = [Weights.random(cell, 2, H, rng=rng) for _ in range(D)]
        linear = runtime.Linear(normal(rng, 2, D * H), normal(rng, 2))
        network = runtime.Model([runtime.Recurrent(cell, weights), linear, runtime.Softmax()])
        states = {"layers.0.h": normal(rng, B, H)} if D == 1 else {}
        found.append((build(network)[0].SerializeToString(), {"x": normal(rng, T, B, 2), **states}))
    return found


SEEDS = seeds()
EDIT = st.tuples(st.sampled_from(["set", "flip", "cut", "insert"]), st.integers(0, 1 << 20), st.integers(0, 255))


def edited(content, edits):
    data = bytearray(content)
    for kind, place, value in edits:
        at = place % max(len(data), 1)
        if kind == "set":
            data[at : at + 1] = bytes([value])
        elif kind == "flip":
            data[at : at + 1] = bytes([data[at] ^ (1 << value % 8)]) if data else b""
        elif kind == "cut":
            del data[at : at + 1 + value % 8]
        else:
            data[at:at] = bytes([value])
    return bytes(data)


@settings(max_examples=400)
@given(st.integers(0, len(SEEDS) - 1), st.lists(EDIT, min_size=1, max_size=5))
def test_damaged_models_never_crash(which, edits):
    content, inputs = SEEDS[which]
    for call in (lambda c: onnx.run(c, inputs), onnx.from_onnx):
        try:
            call(edited(content, edits))
        except MissingExtraError:
            raise
        except RecurraError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert len(str(error)) < 3000  # noqa: PT017


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_model(content):
    with pytest.raises(OnnxError):
        onnx.run(content, {})
