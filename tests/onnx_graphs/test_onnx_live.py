"""Live sessions of graphs that have states as inputs and outputs: as ONNX Runtime, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import normal, onnx_runtime
from onnx import TensorProto, helper, numpy_helper

from helpers import generator
from recurra import cells, onnx, runtime
from recurra.errors import OnnxError, SessionError
from recurra.onnx.exporter import build
from recurra.weights import Weights

B, I, H = 1, 3, 4
RATE = np.array(16000, np.int64)


def streaming(state="state", following="stateN"):
    """A model as published ones are: a branch on the sampling rate, and both states of an LSTM in one array."""
    rng = generator("streaming")
    arrays = {"W": normal(rng, 1, 4 * H, I), "R": normal(rng, 1, 4 * H, H), "B": normal(rng, 1, 8 * H)}
    arrays |= {"rate": RATE, "half": np.array(0.5, np.float32), "axis": np.array([0], np.int64)}
    z = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    branches = {
        "then_branch": helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "then", [], z),
        "else_branch": helper.make_graph([helper.make_node("Mul", ["x", "half"], ["z"])], "else", [], z),
    }
    nodes = [
        helper.make_node("Equal", ["sr", "rate"], ["same"]),
        helper.make_node("If", ["same"], ["scaled"], **branches),
        helper.make_node("Unsqueeze", ["scaled", "axis"], ["steps"]),
        helper.make_node("Split", [state], ["h", "c"], axis=0, num_outputs=2),
        helper.make_node("LSTM", ["steps", "W", "R", "B", "", "h", "c"], ["Y", "hn", "cn"], hidden_size=H),
        helper.make_node("ReduceMax", ["Y"], ["y"], keepdims=0),
        helper.make_node("Concat", ["hn", "cn"], [following], axis=0),
    ]
    given = {"x": ["batch", I], state: [2, "batch", H]}
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in given.items()]
    inputs.append(helper.make_tensor_value_info("sr", TensorProto.INT64, []))
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", following)]
    initializers = [numpy_helper.from_array(a, n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "streaming", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def steps(content, state, following, fixed):
    """What ONNX Runtime gives, step by step, with each step's input."""
    session, held = onnx_runtime(content), np.zeros((2, B, H), np.float32)
    for k in range(6):
        x = normal(generator("step", k), B, I)
        y, held = session.run(["y", following], {"x": x, state: held, **fixed})
        yield x, y


@pytest.mark.parametrize("rate", [16000, 8000])
def test_states_go_round(rate):
    content, fixed = streaming(), {"sr": np.array(rate, np.int64)}
    live, other = onnx.LiveGraph(content, fixed), onnx.LiveGraph(content)
    assert (live.inputs, live.outputs, live.carried) == (["x"], ["y"], {"state": "stateN"})
    assert other.inputs == ["x", "sr"]
    pairs = list(steps(content, "state", "stateN", fixed))
    for x, y in pairs:
        np.testing.assert_allclose(live.step(x), y, atol=1e-6)
        np.testing.assert_allclose(other.step(x, fixed["sr"]), y, atol=1e-6)
    live.reset()
    np.testing.assert_allclose(live.step(pairs[0][0]), pairs[0][1], atol=1e-6)


def test_a_snapshot_and_a_fork_go_on():
    live = onnx.LiveGraph(streaming(), {"sr": RATE})
    xs = [normal(generator("x", k), B, I) for k in range(4)]
    live.step(xs[0])
    kept, forked = live.snapshot(), live.fork()
    wanted = [live.step(x) for x in xs[1:]]
    live.restore(kept)
    assert [live.step(x) for x in xs[1:]] == wanted == [forked.step(x) for x in xs[1:]]
    with pytest.raises(SessionError, match="of another model"):
        onnx.LiveGraph(streaming(), {"sr": np.array(8000, np.int64)}).restore(kept)
    with pytest.raises(SessionError, match="damaged"):
        live.restore(kept[:-1] + bytes([kept[-1] ^ 1]))
    assert live.step(xs[0]).shape == ()


def test_states_that_are_told_and_those_that_are_none():
    content = streaming("memory", "out_1")
    assert onnx.LiveGraph(content, {"sr": RATE}, {"memory": "out_1"}).carried == {"memory": "out_1"}
    with pytest.raises(OnnxError, match="'out' is none of its inputs and outputs, expected `states` of x, memory"):
        onnx.LiveGraph(content, {"sr": RATE}, {"memory": "out"})
    with pytest.raises(OnnxError, match="got the input 'rate', expected x, memory, sr"):
        onnx.LiveGraph(content, {"rate": RATE})
    live = onnx.LiveGraph(content, {"sr": RATE})
    with pytest.raises(OnnxError, match=r"got 2 arrays, expected 1: x"):
        live.step(1, 2)
    with pytest.raises(OnnxError, match=r"has the shape \(1, 4\), expected \[any, 3\]"):
        live.step(np.zeros((B, 4), np.float32))
    with pytest.raises(OnnxError, match=r"cannot take|has the shape"):
        live.step(np.zeros((2, 3), np.float32))  # two rows, and states of one
    assert not live.state["memory"].any()
    weights = Weights.random(cells.gru, 2, H, rng=generator("sequence"))
    whole = build(runtime.Model([runtime.Recurrent(cells.gru, [weights, weights])]))[0].SerializeToString()
    with pytest.raises(OnnxError, match=r"none of its inputs is a state, .* or recurra\.onnx\.run"):
        onnx.LiveGraph(whole)


def test_what_export_writes_is_live():
    rng = generator("export")
    layers = [
        runtime.Recurrent(cells.get(n), [Weights.random(cells.get(n), i, H, rng=rng)])
        for n, i in (("lstm", I), ("mgu", H))
    ]
    network = runtime.Model(layers)
    live, session = onnx.LiveGraph(build(network)[0].SerializeToString()), network.session()
    assert list(live.carried) == ["layers.0.h", "layers.0.c", "layers.1.h"]
    for k in range(4):
        x = normal(generator("x", k), I)
        np.testing.assert_allclose(live.step(x[None, None])[0, 0], session.step(x), atol=1e-6)
