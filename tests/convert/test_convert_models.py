"""Models that run by themselves: ONNX files and torch modules; what is refused; the command."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import onnx as package
import pytest
import torch
from onnx import helper
from torch import nn

import recurra
from helpers import ALL_CELLS, generator, random_weights
from recurra import _native, cells, runtime
from recurra.conversion import checked
from recurra.errors import ConversionError, ExportError, OnnxError
from recurra.torch import Recurrent, Stack, to_torch


class Network(nn.Module):
    """As people write them: batch first, two layers, some arithmetic, every step or the last."""

    def __init__(self, kind, bidirectional=False, last=False):
        super().__init__()
        torch.manual_seed(3)
        self.net = kind(3, 6, num_layers=2, batch_first=True, bidirectional=bidirectional)
        self.norm = nn.LayerNorm(6 * (1 + bidirectional))
        self.head = nn.Linear(6 * (1 + bidirectional), 2)
        self.last = last

    def forward(self, x):
        y, _ = self.net(x * 0.5)
        y = nn.functional.silu(self.norm(y))
        return nn.functional.mish(self.head(y[:, -1] if self.last else y))


def exported(module, path, x, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its older exporter
        torch.onnx.export(module.eval(), (x,), path, dynamo=False, input_names=["x"], **options)
    return path


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"last": True}], ids=str)
@pytest.mark.parametrize("fixed", [False, True])
def test_networks_that_torch_exported(kind, options, fixed, tmp_path):
    module, x = Network(kind, **options), torch.randn(2, 7, 3)
    dynamic = {} if fixed else {"dynamic_axes": {"x": {0: "rows", 1: "steps"}}}
    path = exported(module, tmp_path / "model.onnx", x, **dynamic)
    done = recurra.convert(path, tmp_path / "model.recurra")
    assert done.lengths == ((7,) if fixed else checked.LENGTHS)
    assert done.difference < 1e-6
    ours = recurra.load(tmp_path / "model.recurra").run(np.ascontiguousarray(x.numpy().swapaxes(0, 1)))
    with torch.no_grad():
        wanted = module(x).numpy()
    np.testing.assert_allclose(ours[-1] if options.get("last") else ours.swapaxes(0, 1), wanted, atol=2e-6)


@pytest.mark.parametrize("layout", [0, 1])
def test_a_graph_with_states_lengths_and_clipping(layout, tmp_path):
    """Extra inputs are left at what they begin with; equations that are none of the zoo's are compiled."""
    rng, H = generator(layout), 4
    arrays = {n: (0.5 * rng.normal(size=s)).astype(np.float32) for n, s in {"W": (1, 16, 3), "R": (1, 16, H)}.items()}
    attributes = {"hidden_size": H, "clip": 0.7, "layout": layout, "activations": ["HardSigmoid", "Softsign", "Tanh"]}
    node = helper.make_node("LSTM", ["x", "W", "R", "", "n", "h"], ["", "Y_h"], **attributes)
    end = helper.make_node("Squeeze", ["Y_h", "axis"], ["y"])
    float_places = {"x": [None, None, 3], "h": ["B", 1, H] if layout else [1, "B", H], "y": None}
    places = {n: helper.make_tensor_value_info(n, 1, s) for n, s in float_places.items()}
    inputs = [places["x"], helper.make_tensor_value_info("n", 6, ["B"]), places["h"]]
    constants = [package.numpy_helper.from_array(a, n) for n, a in arrays.items()]
    constants.append(package.numpy_helper.from_array(np.array([1 if layout else 0]), "axis"))
    graph = helper.make_graph([node, end], "g", inputs, [places["y"]], constants)
    package.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]), tmp_path / "model.onnx")
    done = recurra.convert(tmp_path / "model.onnx", tmp_path / "model.recurra")
    assert done.difference < 1e-6
    assert "clip" in done.model.ops[0].cell.text


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (r"\(CumSum .* is no layer of a model: .* recurra\.onnx\.LiveGraph", lambda net, x: net(x)[0].cumsum(1)),
        (r"\(Max .* joins 2 values", lambda net, x: torch.maximum(net(x)[0], x @ torch.ones(3, 6))),
        (r"takes a part of the axis", lambda net, x: net(x)[0][:, 2]),
        (r"\(ReduceMean .* of .* together, expected the steps", lambda net, x: net(x)[0].mean(2)),
        (r"\(ReduceProd .* is no layer of a model", lambda net, x: net(x)[0].prod(1)),
        (r"Softmax.* works along axis", lambda net, x: net(x)[0].softmax(1)),
    ],
)
def test_what_is_no_layer_is_named(message, body, tmp_path):
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.GRU(3, 6, batch_first=True)

        def forward(self, x):
            return body(self.net, x)

    path = exported(Other(), tmp_path / "model.onnx", torch.randn(2, 7, 3))
    with pytest.raises(OnnxError, match=message):
        recurra.convert(path, tmp_path / "model.recurra")
    assert not (tmp_path / "model.recurra").exists()


def test_torch_modules(tmp_path):
    torch.manual_seed(0)
    module = Stack(nn.LSTM(3, 5, batch_first=True), nn.Tanh(), Recurrent("mgu", 5, 4, batch_first=True)).train()
    done = recurra.convert(module, tmp_path / "model.recurra")
    assert done.difference < 1e-6
    assert module.training
    assert "the torch module Stack" in str(done)
    assert recurra.load(tmp_path / "model.recurra").parity["source"] == "the torch module Stack"
    with pytest.raises(ExportError, match=r"forward has aten\.mish\.default, which the model file does not have"):
        recurra.convert(Network(nn.GRU), tmp_path / "other.recurra")


def test_a_difference_is_refused(tmp_path, monkeypatch):
    rng = generator("refused")
    weights = random_weights(cells.gru, 3, 5, rng=rng, dtype=np.float32)
    model = runtime.Model([runtime.Recurrent(cells.gru, [weights])])
    source = checked.Source("a source", model, lambda x: model.run(x) + np.float32(3e-5))
    monkeypatch.setattr(checked, "open_source", lambda *_: source)
    with pytest.raises(
        ConversionError,
        match=r"the model's output is 3e-05 from that of .*, expected at most 1e-05: nothing is written",
    ):
        recurra.convert("m.onnx", tmp_path / "model.recurra")
    for wrong in (lambda x: model.run(x) * np.nan, lambda x: model.run(x)[:, :2]):
        monkeypatch.setattr(checked, "open_source", lambda *_, run=wrong: checked.Source("a source", model, run))
        with pytest.raises(ConversionError, match=r"is inf from that of|gives the shape"):
            recurra.convert("m.onnx", tmp_path / "model.recurra")
    assert not list(tmp_path.iterdir())


def test_sources_that_are_none(tmp_path):
    with pytest.raises(ConversionError, match="the source is a int, expected the path"):
        recurra.convert(3, tmp_path / "model.recurra")
    with pytest.raises(ConversionError, match=r"a file \.txt is not known, expected one of: \.keras, \.h5"):
        recurra.convert(tmp_path / "model.txt", tmp_path / "model.recurra")
    with pytest.raises(FileNotFoundError):
        recurra.convert(tmp_path / "model.onnx", tmp_path / "model.recurra")
    (tmp_path / "model.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(OnnxError, match="no ONNX model"):
        recurra.convert(tmp_path / "model.onnx", tmp_path / "model.recurra")
    with pytest.raises(ConversionError, match="a description is only for weights"):
        recurra.convert(tmp_path / "model.onnx", tmp_path / "model.recurra", {"layers": []})


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch's word about its own speed
@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda cell: cell.name)
def test_to_torch_and_back(cell, tmp_path):
    rng = generator(cell.name)
    D, begins = 1 + (cell.name in ("lstm", "mgu")), cell.name in ("gru", "indrnn")
    weights = [random_weights(cell, 3, 5, 4, rng=rng, dtype=np.float32) for _ in range(D)]
    width = weights[0].U.shape[1]
    initial = [[rng.normal(size=width).astype(np.float32)] for _ in range(D)] if begins else ()
    words = [runtime.Activation(word, 0.2) for word in _native.activations]
    vector = rng.normal(size=D * width).astype(np.float32)
    head = runtime.Linear(rng.normal(size=(2, D * width)).astype(np.float32))
    layers = [runtime.Recurrent(cell, weights, initial), runtime.LayerNorm(vector, vector[::-1].copy()), *words]
    model = runtime.Model([*layers, runtime.Dropout(0.1), head, runtime.Softmax()])
    module = to_torch(model)
    stock = {"rnn", "rnn_relu", "lstm", "lstm_projected", "gru"}
    assert isinstance(next(module.children()), nn.RNNBase) == (cell.name in stock and not begins)
    x = rng.normal(size=(6, 2, 3)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), model.run(x), atol=1e-5)
    again = recurra.convert(module, tmp_path / "model.recurra").model
    np.testing.assert_array_equal(again.run(x), model.run(x))


def test_to_torch_names_what_it_does_not_know():
    class Delay(runtime.Op):
        kind = "delay"

    model = runtime.Model([runtime.Linear(np.ones((2, 3), np.float32))])
    model.program().ops = (*model.ops, Delay())
    with pytest.raises(ExportError, match="layer 1 is of the kind 'delay', expected one of: recurrent"):
        to_torch(model)


def test_the_command(tmp_path):
    path = exported(Network(nn.GRU), tmp_path / "model.onnx", torch.randn(2, 7, 3))
    program = "import typer; from recurra.cli.convert import convert; typer.run(convert)"
    command = [sys.executable, "-W", "error", "-c", program, str(path), str(tmp_path / "model.recurra")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the ONNX model model.onnx: <model of affine, gru, gru, layer_norm, activation, linear" in done.stdout
    assert "largest difference" in done.stdout
    assert recurra.load(tmp_path / "model.recurra").input_size == 3
