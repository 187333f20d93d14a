"""Modules with a forward of their own, read through torch.export's graph: converted, or refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_convert_graphs import CHAINS, Net, both, gru
from torch import nn
from torch.nn import functional

import recurra
from recurra.errors import ExportError
from recurra.torch import LSTM, Recurrent, export

READ = {
    **{name: CHAINS[name] for name in CHAINS if name not in ("h_n reshaped", "h_n by slices", "pooled to one")},
    "ours, and a cell of any kind": lambda: Net(
        lambda s, x: s.out(torch.tanh(s.any(s.rnn(x)[0])[0])),
        rnn=LSTM(3, 5, batch_first=True),
        any=Recurrent("mgu", 5, 4, batch_first=True),
        out=nn.Linear(4, 2),
    ),
    "steps first, the last one": lambda: Net(
        lambda s, x: s.out(s.rnn(x)[0][-1]), rnn=nn.GRU(3, 5), out=nn.Linear(5, 2)
    ),
    "a module in a module": lambda: Net(
        lambda s, x: s.out(s.inner(x)),
        inner=Net(lambda s, x: functional.leaky_relu(s.rnn(x, torch.zeros(1, x.shape[0], 5))[0], 0.2), rnn=gru()),
        out=nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)),
    ),
}
ROW = torch.tensor([0.5, -2.0, 3.0])
READ |= {
    "two layers of one input": lambda: Net(lambda s, x: s.rnn(x)[0] + s.out(x), rnn=gru(), out=nn.Linear(3, 5)),
    "both directions beside one layer": lambda: Net(
        lambda s, x: s.out(x) + s.rnn(x)[0], rnn=both(), out=nn.Linear(3, 10)
    ),
    "a residual connection": lambda: Net(
        lambda s, x: s.out(s.norm(x + s.drop(s.rnn(x)[0]))[:, -1]),
        rnn=nn.LSTM(3, 3, batch_first=True),
        norm=nn.LayerNorm(3),
        drop=nn.Dropout(0.5),
        out=nn.Linear(3, 2),
    ),
    "residuals within residuals": lambda: Net(
        lambda s, x: (lambda y: y - s.out(torch.relu(y) + 0.5 * s.again(y)[0]))(x + s.rnn(x)[0]),
        rnn=nn.GRU(3, 3, batch_first=True),
        again=nn.GRU(3, 3, batch_first=True),
        out=nn.Linear(3, 3),
    ),
    "a gate": lambda: Net(
        lambda s, x: (lambda y: y * torch.sigmoid(s.gate(y)))(s.rnn(x)[0]), rnn=gru(), gate=nn.Linear(5, 5)
    ),
    "what came in beside what came out": lambda: Net(
        lambda s, x: s.out(torch.cat([x, s.rnn(x)[0], x * x], dim=-1)), rnn=gru(), out=nn.Linear(11, 2)
    ),
    "arithmetic with numbers": lambda: Net(
        lambda s, x: s.rnn((1.0 - (x * 2 + 0.25) / 3).clamp(-1, 0.9).abs() ** 2)[0] - 4, rnn=gru()
    ),
    "arithmetic with a row": lambda: Net(lambda s, x: s.rnn(-((x - ROW) / ROW) * ROW + ROW)[0], rnn=gru()),
    "a norm that is a function": lambda: Net(
        lambda s, x: s.rnn(functional.layer_norm(x, (3,), ROW, eps=1e-3))[0], rnn=gru()
    ),
}
REFUSED = {
    r"aten.cumsum.default, which the model file does not have, expected layers and the functions in the": lambda: Net(
        lambda s, x: torch.cumsum(s.rnn(x)[0], 1), rnn=gru()
    ),
    "where no chain of layers has it": lambda: Net(lambda s, x: x / s.rnn(x)[0], rnn=nn.GRU(3, 3, batch_first=True)),
    "puts together the axes": lambda: Net(lambda s, x: s.rnn(x)[0] + s.rnn(x)[0].mean(1, keepdim=True), rnn=gru()),
    "forward uses the final state of one of two directions": lambda: Net(
        lambda s, x: (lambda h: torch.cat([h[1], h[0]], 1))(s.rnn(x)[1][0]), rnn=both()
    ),
    "of one of two directions": lambda: Net(lambda s, x: s.out(s.rnn(x)[1][0][0]), rnn=both(), out=nn.Linear(5, 2)),
    "comes from no chain": lambda: Net(lambda s, x: s.rnn(x)[1][1], rnn=both()),
    "1 zeros before the first step and 1 after": lambda: Net(
        lambda s, x: s.rnn(s.conv(x.transpose(1, 2)).transpose(1, 2))[0], conv=nn.Conv1d(3, 6, 3, padding=1), rnn=gru(6)
    ),
    "takes more than one value that counts": lambda: Net(
        lambda s, x: s.rnn(x, torch.ones(1, x.shape[0], 5))[0], rnn=gru()
    ),
    "torch.export cannot read": lambda: Net(lambda s, x: s.rnn(x)[0] if x.sum() > 0 else x, rnn=gru()),
    "takes the place 2 of an axis": lambda: Net(lambda s, x: s.rnn(x)[0][:, 2], rnn=gru()),
}


@pytest.mark.parametrize("name", READ)
def test_a_forward_is_read(name, tmp_path):
    net, x = READ[name]().train(), torch.randn(2, 9, 3)
    model = recurra.convert(net, tmp_path / "net.recurra").model
    assert net.training
    batch = 0 if name.startswith("steps") else 1
    got = model.run(np.ascontiguousarray(x.numpy().swapaxes(0, batch)))
    with torch.no_grad():
        wanted = net.eval()(x).numpy()
    np.testing.assert_allclose(got[-1] if wanted.ndim == 2 else got.swapaxes(0, batch), wanted, atol=3e-6)


def test_words_and_a_sample(tmp_path):
    net = Net(
        lambda s, x: s.out(s.rnn(s.words(x))[0][:, -1, :]), words=nn.Embedding(9, 3), rnn=gru(), out=nn.Linear(5, 2)
    )
    ids = torch.randint(9, (2, 7))
    for sample in (None, ids):
        model = export(net, tmp_path / "net.recurra", sample)
        np.testing.assert_allclose(model.run(ids.T.contiguous().numpy())[-1], net(ids).detach(), atol=2e-6)


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_no_chain_is_named(message, tmp_path):
    with pytest.raises(ExportError, match=message) as error:
        recurra.convert(REFUSED[message](), tmp_path / "net.recurra")
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value)


def test_a_forward_that_depends_on_the_length_is_refused(tmp_path):
    net = Net(lambda s, x: s.rnn(x if x.shape[1] > 20 else torch.relu(x))[0], rnn=gru())
    with pytest.raises(ExportError, match="from the module's, expected at most"):
        export(net, tmp_path / "net.recurra")
