"""Graphs of the kinds that people write around a recurrent layer: converted, or refused in words."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional

import recurra
import recurra.onnx
from recurra.errors import OnnxError


class Net(nn.Module):
    """A body over named parts, with numbers of their own in every buffer and parameter."""

    def __init__(self, body, **parts):
        super().__init__()
        torch.manual_seed(5)
        self.body = body
        for name, part in parts.items():
            self.add_module(name, part)
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point():
                nn.init.uniform_(tensor, 0.2, 0.9) if tensor.dim() == 1 else nn.init.uniform_(tensor, -0.7, 0.7)

    def forward(self, *x):
        return self.body(self, *x)


def gru(I=3, L=1):
    return nn.GRU(I, 5, L, batch_first=True)


def both(L=1):
    return nn.LSTM(3, 5, L, batch_first=True, bidirectional=True)


def turned(x):
    return x.transpose(1, 2)


def ends(self, x):
    return self.rnn(x)[1][0]


def convolved(x, convolution, before):
    return convolution(functional.pad(turned(x), (before, 0)))


CHAINS = {
    "h_n of one layer": lambda: Net(lambda s, x: s.out(s.rnn(x)[1].squeeze(0)), rnn=gru(), out=nn.Linear(5, 2)),
    "h_n of three layers": lambda: Net(lambda s, x: s.out(s.rnn(x)[1][-1].relu()), rnn=gru(L=3), out=nn.Linear(5, 2)),
    "h_n side by side": lambda: Net(
        lambda s, x: (lambda h: s.out(torch.cat([h[-2], h[-1]], 1)))(ends(s, x)), rnn=both(2), out=nn.Linear(10, 2)
    ),
    "h_n by slices": lambda: Net(
        lambda s, x: (lambda h: s.out(torch.cat((h[0, :, :], h[1, :, :]), -1)))(ends(s, x)),
        rnn=both(),
        out=nn.Linear(10, 2),
    ),
    "h_n reshaped": lambda: Net(
        lambda s, x: s.out(ends(s, x).transpose(0, 1).reshape(x.shape[0], -1)), rnn=both(), out=nn.Linear(10, 2)
    ),
    "a batch normalization of the last step": lambda: Net(
        lambda s, x: s.out(s.norm(s.rnn(x)[0][:, -1])), rnn=gru(), norm=nn.BatchNorm1d(5), out=nn.Linear(5, 2)
    ),
    "a batch normalization of all steps": lambda: Net(
        lambda s, x: turned(s.norm(turned(s.rnn(x)[0]))), rnn=gru(), norm=nn.BatchNorm1d(5)
    ),
    "a causal convolution": lambda: Net(
        lambda s, x: s.rnn(turned(convolved(x, s.conv, 4).relu()))[0], conv=nn.Conv1d(3, 6, 3, dilation=2), rnn=gru(6)
    ),
    "a stride and a normalization": lambda: Net(
        lambda s, x: s.rnn(turned(s.norm(convolved(x, s.conv, 3))))[0],
        conv=nn.Conv1d(3, 6, 4, stride=2, bias=False),
        norm=nn.BatchNorm1d(6),
        rnn=gru(6),
    ),
    "padded on both sides, and cut": lambda: Net(
        lambda s, x: s.rnn(turned(s.conv(turned(x))[..., :-2].relu()))[0],
        conv=nn.Conv1d(3, 6, 3, padding=2),
        rnn=gru(6),
    ),
    "the mean of all steps": lambda: Net(lambda s, x: s.out(s.rnn(x)[0].mean(1)), rnn=gru(), out=nn.Linear(5, 2)),
    "the largest of all steps": lambda: Net(lambda s, x: s.out(s.rnn(x)[0].amax(1)), rnn=gru(), out=nn.Linear(5, 2)),
    "a residual connection": lambda: Net(
        lambda s, x: (lambda z: s.out(z + s.rnn(z)[0]))(s.first(x).tanh()),
        first=nn.Linear(3, 5),
        rnn=gru(5),
        out=nn.Linear(5, 2),
    ),
    "a gate, and features side by side": lambda: Net(
        lambda s, x: s.out(torch.cat([x, s.rnn(x)[0] * s.gate(x).sigmoid() - s.gate(x)], -1)),
        rnn=gru(),
        gate=nn.Linear(3, 5),
        out=nn.Linear(8, 2),
    ),
    "pooled to one": lambda: Net(
        lambda s, x: s.out(functional.adaptive_max_pool1d(turned(s.rnn(x)[0]), 1).squeeze(-1)),
        rnn=gru(),
        out=nn.Linear(5, 2),
    ),
}
REFUSED = {
    "joins 2 values": lambda: Net(lambda s, x: torch.maximum(s.rnn(x)[0], s.out(x)), rnn=gru(), out=nn.Linear(3, 5)),
    "joins 2 values that": lambda: Net(lambda s, x: (lambda h: torch.cat([h[1], h[0]], 1))(ends(s, x)), rnn=both()),
    "reads the final state of one of two directions": lambda: Net(
        lambda s, x: s.out(ends(s, x)[0]), rnn=both(), out=nn.Linear(5, 2)
    ),
    "1 zeros before the first step and 1 after the last, expected 2": lambda: Net(
        lambda s, x: s.rnn(turned(s.conv(turned(x))))[0], conv=nn.Conv1d(3, 6, 3, padding=1), rnn=gru(6)
    ),
    "steps that have seen later ones": lambda: Net(
        lambda s, x: s.rnn(turned(s.conv(turned(x))))[0], conv=nn.Conv1d(3, 6, 3, padding=2), rnn=gru(6)
    ),
    "zeros that only a convolution takes": lambda: Net(
        lambda s, x: s.rnn(functional.pad(x, (0, 0, 2, 0)))[0], rnn=gru()
    ),
    "expected the steps": lambda: Net(lambda s, x: s.rnn(x)[0].mean(0), rnn=gru()),
    "one group": lambda: Net(
        lambda s, x: s.rnn(turned(convolved(x, s.conv, 2)))[0], conv=nn.Conv1d(3, 6, 3, groups=3), rnn=gru(6)
    ),
}


def exported(net, path, *inputs, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its older exporter
        torch.onnx.export(net.eval(), inputs, path, dynamo=False, **options)
    return path


def of_any_length(net, folder):
    axes = {"x": {0: "rows", 1: "steps"}}
    return exported(net, folder / "net.onnx", torch.randn(2, 7, 3), input_names=["x"], dynamic_axes=axes)


@pytest.mark.parametrize("name", CHAINS)
def test_chains_are_converted(name, tmp_path):
    net, x = CHAINS[name](), torch.randn(2, 9, 3)
    model = recurra.convert(of_any_length(net, tmp_path), tmp_path / "net.recurra").model
    got = model.run(np.ascontiguousarray(x.numpy().swapaxes(0, 1)))
    with torch.no_grad():
        wanted = net(x).numpy()
    np.testing.assert_allclose(got[-1] if wanted.ndim == 2 else got.swapaxes(0, 1), wanted, atol=3e-6)


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_no_chain_is_named(message, tmp_path):
    with pytest.raises(OnnxError, match=message) as error:
        recurra.convert(of_any_length(REFUSED[message](), tmp_path), tmp_path / "net.recurra")
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("layers", [1, 2])
def test_states_go_in_and_out(layers, tmp_path):
    def body(s, x, h, c):
        y, (h, c) = s.rnn(x, (h, c))
        return s.out(y), h, c

    net = Net(body, rnn=nn.LSTM(3, 5, layers, batch_first=True), out=nn.Linear(5, 2))
    zeros = torch.zeros(layers, 1, 5)
    path = exported(net, tmp_path / "net.onnx", torch.randn(1, 1, 3), zeros, zeros)
    session = recurra.convert(path, tmp_path / "net.recurra").model.session()
    live, state = recurra.onnx.LiveGraph(path), (zeros, zeros)
    for x in torch.randn(5, 1, 1, 3):
        with torch.no_grad():
            y, *state = net(x, *state)
        np.testing.assert_allclose(session.step(x.numpy()[0, 0]), y[0, 0], atol=1e-6)
        np.testing.assert_allclose(live.step(x.numpy()), y, atol=1e-6)


def test_halves_are_converted_as_float32(tmp_path):
    net = Net(lambda s, x: s.out(s.rnn(x)[0]), rnn=gru(), out=nn.Linear(5, 2)).half()
    path = exported(net, tmp_path / "net.onnx", torch.randn(2, 7, 3).half())
    done = recurra.convert(path, tmp_path / "net.recurra")
    assert done.difference < 1e-6
    x = torch.randn(7, 2, 3)
    wanted = net.float()(x.transpose(0, 1)).transpose(0, 1).detach()
    np.testing.assert_allclose(done.model.run(x.numpy()), wanted, atol=2e-6)


@pytest.mark.parametrize("flag", [True, False])
def test_a_branch_that_is_known_is_part_of_the_chain(flag, tmp_path):
    W = np.arange(6, dtype=np.float32).reshape(3, 2) / 5
    z = [helper.make_tensor_value_info("z", 1, None)]
    branches = {
        f"{name}_branch": helper.make_graph([helper.make_node(op, ["x"], ["z"])], name, [], z)
        for name, op in (("then", "Relu"), ("else", "Tanh"))
    }
    nodes = [helper.make_node("If", ["flag"], ["a"], **branches), helper.make_node("MatMul", ["a", "W"], ["y"])]
    places = [[helper.make_tensor_value_info(n, 1, [None, None, k])] for n, k in (("x", 3), ("y", 2))]
    constants = [numpy_helper.from_array(W, "W"), numpy_helper.from_array(np.array(flag), "flag")]
    graph = helper.make_graph(nodes, "g", *places, constants)
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    (tmp_path / "net.onnx").write_bytes(content)
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 1, 3)
    got = recurra.convert(tmp_path / "net.onnx", tmp_path / "net.recurra").model.run(x)
    np.testing.assert_allclose(got, (np.maximum(x, 0) if flag else np.tanh(x)) @ W, atol=1e-6)
