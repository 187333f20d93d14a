"""RNN, LSTM and GRU nodes: the shared vectors, the standard's own examples, and any attributes against ONNX Runtime."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
from graphs import FUNCTIONS, GATES, VECTORS, one, onnx_runtime, recurrent_inputs
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.backend.test.case import node

from helpers import generator
from recurra import onnx
from recurra.errors import OnnxError
from recurra.onnx.cells import ACTIVATIONS, STATES

TOLERANCE = 1e-5
FILE = VECTORS / "ort_vectors.jsonl"
# Their expected numbers are ONNX Runtime's only to 6e-5; there ours are held against ONNX Runtime itself.
COARSE = {"LSTMTest.ONNXRuntime_TestLSTMShorterSeqInMiddle", "LSTMTest.ONNXRuntime_TestLSTMZeroSeqInMiddle"}
LINES = [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []
HERE = pytest.mark.skipif(not LINES, reason=f"the shared vectors are not here: {FILE}")


def array(entry):
    return np.array([float(v) for v in entry["data"]]).astype(entry["dtype"]).reshape(entry["dims"])


def model_of(line):
    """The node of a line as a model, its inputs, and what is expected of each output that the line has."""
    attributes = {n: float(v) if n == "clip" else v for n, v in line["attrs"].items()}
    attributes = {n: list(map(float, v)) if n.startswith("activation_") else v for n, v in attributes.items()}
    arrays = [None if i is None else array(i) for i in line["inputs"]]
    content, inputs = one(line["op"], arrays, 1 + len(STATES[line["op"]]), **attributes)
    return content, inputs, [None if o is None else array(o) for o in line["outputs"]]


@HERE
def test_the_file_has_what_it_had():
    assert len(LINES) == 135
    assert sum(line["ok"] for line in LINES) == 133


@HERE
@pytest.mark.parametrize("number", range(len(LINES)))
def test_vectors(number):
    line = LINES[number]
    content, inputs, expected = model_of(line)
    if not line["ok"]:
        with pytest.raises(OnnxError, match="sequence_lens"):
            onnx.run(content, inputs)
        return
    ours = onnx.run(content, inputs)
    if line["test"] in COARSE:
        expected = onnx_runtime(content).run(None, inputs)
    for y, wanted in zip(ours, expected, strict=False):
        if wanted is not None:
            assert y.dtype == wanted.dtype
            np.testing.assert_allclose(y, wanted, atol=TOLERANCE, rtol=0, equal_nan=False)


@pytest.mark.parametrize("op", GATES)
def test_the_standards_own_examples(op):
    # The modules alone: to collect every operator's examples takes ten times as long.
    importlib.import_module(f"onnx.backend.test.case.node.{op.lower()}")
    cases = {c.name: c for c in node._NodeTestCases if c.model.graph.node[0].op_type == op}
    assert len(cases) == 6
    for case in cases.values():
        for inputs, expected in case.data_sets:
            for y, wanted in zip(onnx.run(case.model.SerializeToString(), inputs), expected, strict=True):
                np.testing.assert_allclose(y, wanted, atol=TOLERANCE, rtol=0)


def random_attributes(draw, op, D):
    """Attributes with every activation that has a default or numbers of its own."""
    names = draw(st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=D * FUNCTIONS[op], max_size=D * FUNCTIONS[op]))
    attributes = {"activations": names}
    for which in ("alpha", "beta"):
        takers = [n for n in names if getattr(ACTIVATIONS[n], which) is not None]
        if takers:
            attributes[f"activation_{which}"] = [round(draw(st.floats(0.2, 0.9)), 3) for _ in takers]
    if draw(st.booleans()):
        attributes["clip"] = round(draw(st.floats(0.2, 3)), 2)
    if op == "GRU":
        attributes["linear_before_reset"] = draw(st.integers(0, 1))
    if op == "LSTM":
        attributes["input_forget"] = draw(st.integers(0, 1))
    return attributes


@pytest.mark.parametrize("op", GATES)
@settings(max_examples=8)
@given(data=st.data())
def test_any_attributes_are_as_onnx_runtime_has_them(op, data):
    draw = data.draw
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    D = 2 if direction == "bidirectional" else 1
    attributes = random_attributes(draw, op, D) | {"direction": direction, "hidden_size": 3}
    arrays = recurrent_inputs(op, generator(op, draw(st.integers(0, 99))), 5, 4, 2, 3, D)
    optional = [n for n in arrays if n not in ("X", "W", "R")]
    left_out = draw(st.sets(st.sampled_from(optional)))
    content, inputs = one(
        op, [None if n in left_out else a for n, a in arrays.items()], 1 + len(STATES[op]), **attributes
    )
    for ours, theirs in zip(onnx.run(content, inputs), onnx_runtime(content).run(None, inputs), strict=True):
        assert np.isfinite(theirs).all()
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_layout_1_is_layout_0_with_the_batch_first(op, direction):
    D = 2 if direction == "bidirectional" else 1
    arrays = recurrent_inputs(op, generator(op, direction), 5, 3, 2, 4, D)
    attributes = {"direction": direction, "hidden_size": 4}
    states = len(STATES[op])
    plain = onnx.run(*one(op, list(arrays.values()), 1 + states, **attributes))
    swapped = {n: a.swapaxes(0, 1) if n in ("X", "initial_h", "initial_c") else a for n, a in arrays.items()}
    ours = onnx.run(*one(op, [np.ascontiguousarray(a) for a in swapped.values()], 1 + states, layout=1, **attributes))
    np.testing.assert_array_equal(ours[0], plain[0].transpose(2, 0, 1, 3))
    for y, state in zip(ours[1:], plain[1:], strict=True):
        np.testing.assert_array_equal(y, state.swapaxes(0, 1))


@pytest.mark.parametrize("op", GATES)
def test_rows_of_no_steps_are_zero_as_in_onnx_runtime(op):
    arrays = recurrent_inputs(op, generator(op), 4, 3, 2, 3, 1)
    arrays["sequence_lens"][:] = 0
    content, inputs = one(op, list(arrays.values()), 1 + len(STATES[op]), hidden_size=3)
    for ours, theirs in zip(onnx.run(content, inputs), onnx_runtime(content).run(None, inputs), strict=True):
        assert not theirs.any()
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("dtype", "apart"), [("float64", 1e-6), ("float16", 2e-3)])
def test_other_dtypes(dtype, apart):
    arrays = recurrent_inputs("LSTM", generator(dtype), 6, 3, 2, 4, 1)
    attributes = {"outputs": 3, "hidden_size": 4}
    single = onnx.run(*one("LSTM", list(arrays.values()), **attributes))
    cast = [a if a.dtype == np.int32 else a.astype(dtype) for a in arrays.values()]
    other = onnx.run(*one("LSTM", cast, **attributes))
    assert {y.dtype for y in other} == {np.dtype(dtype)}
    for y, wanted in zip(other, single, strict=True):
        np.testing.assert_allclose(y.astype(np.float32), wanted, atol=apart)


def test_steps_and_rows_may_be_none():
    for T, B in ((0, 2), (3, 0)):
        arrays = recurrent_inputs("GRU", generator(T, B), T or 1, B or 1, 2, 3, 2)
        X = arrays["X"][:T, :B]
        Y, Y_h = onnx.run(*one("GRU", [X, arrays["W"], arrays["R"]], 2, hidden_size=3, direction="bidirectional"))
        assert Y.shape == (T, 2, B, 3)
        assert Y_h.shape == (2, B, 3)
        assert not Y_h.any()
