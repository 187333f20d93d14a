"""Models as ONNX graphs: any cell, whole, in chunks and stepped in ONNX Runtime; and back again."""

from __future__ import annotations

import json

import numpy as np
import onnx as package
import pytest
from graphs import onnx_runtime

from helpers import ALL_CELLS, generator, random_weights, state_widths
from recurra import _native, cells, onnx, runtime
from recurra.errors import ExportError, OnnxError
from recurra.onnx import exporter
from recurra.runtime import Op

STANDARD = {"rnn": "RNN", "rnn_relu": "RNN", "lstm": "LSTM", "lstm_peephole": "LSTM", "lstm_coupled": "LSTM"}
STANDARD |= {"gru": "GRU", "gru_reset_before": "GRU"}
I, H, P, O = 3, 5, 4, 2


def network(cell, D=1, begins=False):
    """Dense, recurrent and dense layers with distinct numbers."""
    rng = generator(cell.name, D)

    def normal(*shape):
        return (0.5 * rng.normal(size=shape)).astype(np.float32)

    weights = [random_weights(cell, 4, H, P, rng=rng, dtype=np.float32) for _ in range(D)]
    widths = state_widths(cell, weights[0])
    initial = [[normal(w) for w in widths] for _ in range(D)] if begins else ()
    recurrent = runtime.Recurrent(cell, weights, initial)
    head = runtime.Linear(normal(O, D * widths[0]), normal(O))
    return runtime.Model([runtime.Linear(normal(4, I)), recurrent, head], card={"made for": "a test"})


def exported(model, folder):
    path = folder / "model.onnx"
    report = onnx.export(model, path)
    return path, report, path.read_bytes()


@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda cell: cell.name)
def test_every_cell_streams_in_onnx_runtime(cell, tmp_path):
    model = network(cell, begins=cell.name in ("gru", "mgu", "lstm_projected"))
    _, report, content = exported(model, tmp_path)
    assert report["nodes"] == [STANDARD.get(cell.name, "Scan")]
    package.checker.check_model(content, full_check=True)
    proto = package.ModelProto.FromString(content)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 22)]
    session = onnx_runtime(content)
    names = list(model.state_widths())
    assert [i.name for i in session.get_inputs()] == ["x", *names]
    begins = {n: np.stack([a] * 3) for n, a in report["state"].items()}
    assert [o.name for o in session.get_outputs()] == ["y", *(f"{n}.next" for n in names)]
    x = generator("x").normal(size=(11, 3, I)).astype(np.float32)
    whole = model.run(x)
    np.testing.assert_allclose(session.run(None, {"x": x, **begins})[0], whole, atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(onnx.run(content, {"x": x, **begins})[0], whole, atol=1e-6, rtol=1e-6)
    for sizes in ([1] * 11, [4, 1, 6]):
        states, parts = begins, []
        for chunk in np.split(x, np.cumsum(sizes)[:-1]):
            y, *new = session.run(None, {"x": chunk, **states})
            states = dict(zip(names, new, strict=True))
            parts.append(y)
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6, rtol=1e-6)
    live = model.session(batch=3)
    live.run(x)
    for name, state in live.state.items():
        np.testing.assert_allclose(states[name], state, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("cell", [cells.lstm, cells.gru_reset_before, cells.mgu, cells.lstm_projected], ids=str)
@pytest.mark.parametrize("begins", [False, True])
def test_both_directions(cell, begins, tmp_path):
    model = network(cell, 2, begins)
    _, _, content = exported(model, tmp_path)
    package.checker.check_model(content, full_check=True)
    session = onnx_runtime(content)
    assert [o.name for o in session.get_outputs()] == ["y"]
    x = generator("both").normal(size=(7, 2, I)).astype(np.float32)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], model.run(x), atol=1e-6, rtol=1e-6)


def test_every_kind_of_layer(tmp_path):
    rng = generator("kinds")
    weights = random_weights(cells.gru, 4, H, rng=rng, dtype=np.float32)
    words = [runtime.Activation(word, 0.3) for word in _native.activations]
    norm = runtime.LayerNorm(rng.normal(size=H).astype(np.float32), rng.normal(size=H).astype(np.float32), 1e-3)
    layers = [runtime.Embedding(rng.normal(size=(9, 4)).astype(np.float32)), runtime.Recurrent(cells.gru, [weights])]
    model = runtime.Model([*layers, norm, runtime.Dropout(0.3), *words, runtime.Softmax()])
    _, report, content = exported(model, tmp_path)
    assert report["difference"] < 1e-6
    x = rng.integers(0, 9, (6, 2))
    begins = {"layers.1.h": np.zeros((2, H), np.float32)}
    np.testing.assert_allclose(onnx_runtime(content).run(None, {"x": x, **begins})[0], model.run(x), atol=1e-6)
    about = json.loads({p.key: p.value for p in package.ModelProto.FromString(content).metadata_props}["recurra"])
    assert about == {"fingerprint": model.fingerprint, "preprocessing": {}, "card": {}, "state": {}}


@pytest.mark.parametrize("levels", [(0.1, 0.5, 0.9), (0.02, 0.1, 0.3, 0.5, 0.95), (0.5,)])
def test_the_head_of_a_forecaster(levels, tmp_path):
    rng = generator(levels)
    N, F, S, U, Q = 4, 2, 3, 6, len(levels)
    sizes = {"A": (U, H), "B": (U, F + S), "e": (N, U), "W": (S, U), "w": (N, S), "C": (Q, U), "c": (N, Q)}
    arrays = {n: rng.normal(size=s).astype(np.float32) for n, s in {**sizes, "D": (N, H)}.items()}
    head = runtime.Forecast(levels, **arrays, k=rng.uniform(0.1, 2, (N, Q)).astype(np.float32))
    weights = random_weights(cells.gru, I, H, rng=rng, dtype=np.float32)
    model = runtime.Model([runtime.Recurrent(cells.gru, [weights]), head])
    _, report, content = exported(model, tmp_path)
    x = rng.normal(size=(6, 2, I + N * (F + S))).astype(np.float32)
    begins = {"layers.0.h": np.zeros((2, H), np.float32)}
    np.testing.assert_allclose(onnx.run(content, {"x": x, **begins})[0], model.run(x), atol=1e-5)
    assert report["difference"] < 1e-6


def numbers(*shape: int) -> np.ndarray:
    return generator("new ops", *shape).normal(size=shape).astype(np.float32)


def pooled(how):
    return lambda: [runtime.Linear(numbers(H, I)), runtime.Pool(how)]


OPS = {
    **{how: pooled(how) for how in ("last", "mean", "max", "all")},
    "attention": lambda: [runtime.Pool("attention", numbers(I)), runtime.Linear(numbers(2, I))],
    "affine": lambda: [runtime.Affine(numbers(I), numbers(I)[::-1].copy()), runtime.Linear(numbers(2, I))],
    "convolution": lambda: [runtime.Convolution(numbers(5, 4, I), numbers(5), dilation=2)],
    "a tap alone": lambda: [runtime.Convolution(numbers(5, 1, I)), runtime.Pool("mean")],
}


@pytest.mark.parametrize("name", OPS)
def test_pools_and_convolutions_stream(name, tmp_path):
    model = runtime.Model(OPS[name]())
    _, report, content = exported(model, tmp_path)
    assert report["difference"] < 2e-6
    session, ours = onnx_runtime(content), model.session(batch=2)
    state = {n: np.stack([a] * 2) for n, a in report["state"].items()}
    assert {n: a.shape[1] for n, a in state.items()} == model.state_widths()
    x = numbers(23, 2, I)
    for start, stop in ((0, 1), (1, 2), (2, 9), (9, 10), (10, 23)):
        names = [o.name for o in session.get_outputs()]
        y, *states = session.run(names, {"x": x[start:stop], **state})
        state = {n.removesuffix(".next"): a for n, a in zip(names[1:], states, strict=True)}
        np.testing.assert_allclose(y, ours.run(x[start:stop]), atol=1e-5)
    json.dumps({n: a.tolist() for n, a in report["state"].items()}, allow_nan=False)


def test_a_ring_that_a_session_left_is_taken_up(tmp_path):
    """Its oldest place is somewhere in the middle, another in each row."""
    model = runtime.Model(OPS["convolution"]())
    _, _, content = exported(model, tmp_path)
    x = numbers(23, 2, I)
    rows = [model.session() for _ in range(2)]
    for r, session in enumerate(rows):
        session.run(np.ascontiguousarray(x[: 4 + 3 * r, r]))
    state = {n: np.stack([s.state[n] for s in rows]) for n in rows[0].state}
    assert len(set(state["layers.0.place"].ravel().tolist())) == 2
    y = onnx_runtime(content).run(None, {"x": x[10:], **state})[0]
    for r, session in enumerate(rows):
        np.testing.assert_allclose(y[:, r], session.run(np.ascontiguousarray(x[10:, r])), atol=1e-5)


def test_the_last_outputs_of_both_directions(tmp_path):
    weights = [random_weights(cells.lstm, I, H, rng=generator("both", d), dtype=np.float32) for d in range(2)]
    for how in ("last", "all"):
        model = runtime.Model([runtime.Recurrent(cells.lstm, weights), runtime.Pool(how, directions=2)])
        _, report, _ = exported(model, tmp_path)
        assert report["difference"] < 1e-6


def test_a_stride_cannot_be_exported(tmp_path):
    with pytest.raises(ExportError, match=r"layers\.0 has the stride 2, which a graph that is called step by step"):
        onnx.export(runtime.Model([runtime.Convolution(numbers(5, 4, I), stride=2)]), tmp_path / "m.onnx")


def test_equations_are_recognized_whatever_their_names():
    @cells.cell
    def mine(x, hidden, memory):
        a = cells.sigmoid(x.a + hidden.a)
        b = cells.sigmoid(x.b + hidden.b)
        d = cells.softsign(x.d + hidden.d)
        e = cells.sigmoid(x.e + hidden.e)
        memory = b * memory + a * d
        return e * cells.relu(memory), memory

    model = network(mine)
    proto, nodes = exporter.build(model)
    assert nodes == ["LSTM"]
    (node,) = [n for n in proto.graph.node if n.op_type == "LSTM"]
    activations = package.helper.get_node_attr_value(node, "activations")
    assert activations == [b"Sigmoid", b"Softsign", b"Relu"]
    assert exporter.check(model, proto.SerializeToString())["difference"] < 1e-6


def test_an_unknown_layer_is_named(tmp_path):
    class Delay(Op):
        kind = "delay"

    model = network(cells.rnn)
    model.program().ops = (*model.ops, Delay())
    with pytest.raises(ExportError, match=r"layers\.3 is a layer 'delay', which has no form in ONNX"):
        onnx.export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_difference_is_refused(tmp_path, monkeypatch):
    model, other = network(cells.gru), network(cells.gru_reset_before)
    wrong = exporter.build(other)
    monkeypatch.setattr(exporter, "build", lambda _: wrong)
    with pytest.raises(ExportError, match=r"the model's output is .* from that of onnxruntime .*, expected at most"):
        onnx.export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


READ_BACK = [(c, D) for c in ALL_CELLS for D in (1, 2) if D == 1 or c.name in STANDARD]


@pytest.mark.parametrize(("cell", "D"), READ_BACK, ids=lambda value: getattr(value, "name", str(value)))
def test_what_was_exported_is_read_back(cell, D, tmp_path):
    model = network(cell, D, begins=True)
    _, _, content = exported(model, tmp_path)
    again = onnx.from_onnx(content)
    assert again.fingerprint == model.fingerprint


def test_activations_are_read_back(tmp_path):
    rng = generator("words")
    for word in _native.activations:
        weights = random_weights(cells.rnn, I, H, rng=rng, dtype=np.float32)
        model = runtime.Model([runtime.Recurrent(cells.rnn, [weights]), runtime.Activation(word, 0.25)])
        again = onnx.from_onnx(exporter.build(model)[0].SerializeToString())
        assert [layer.kind for layer in again.ops] == ["recurrent", "activation"][: 1 + (word != "identity")]
        x = rng.normal(size=(5, 2, I)).astype(np.float32)
        np.testing.assert_array_equal(again.run(x), model.run(x))


def changed(content, change):
    """A model with its Scan changed."""
    proto = package.ModelProto.FromString(content)
    change(next(node for node in proto.graph.node if node.op_type == "Scan"), proto)
    return proto.SerializeToString()


def test_a_scan_must_be_what_it_says(tmp_path):
    """Metadata alone is no equation: the Scan itself must be that of the cell."""
    _, _, content = exported(network(cells.mgu), tmp_path)

    def forget(scan, proto):
        del scan.metadata_props[:]

    def claim(scan, proto):
        scan.metadata_props[0].value = cells.ugrnn.text

    def rename(scan, proto):
        scan.metadata_props[1].value = "elsewhere"

    def nonsense(scan, proto):
        scan.metadata_props[0].value = "def f(x, h): return __import__('os')"

    def swap(scan, proto):
        body = next(a.g for a in scan.attribute if a.name == "body")
        next(n for n in body.node if n.op_type == "Sigmoid").op_type = "Tanh"

    expected = {
        forget: "no cell in its metadata",
        claim: "is not what its metadata says|is not the Scan of the cell|gates",
        rename: "is not what its metadata says",
        nonsense: "cannot be read",
        swap: "is not the Scan of the cell mgu",
    }
    for change, message in expected.items():
        with pytest.raises(OnnxError, match=message):
            onnx.from_onnx(changed(content, change))
