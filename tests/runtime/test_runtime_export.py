"""Export of torch modules: the values of torch, the bits of every way of running, and errors that name the layer."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import recurra
import recurra.torch as ours
from recurra import cells
from recurra.errors import ExportError, ModelFileError
from recurra.runtime import parity
from recurra.torch import Stack, export
from recurra.torch.operator import scan
from runtime.networks import same

MODULES = {
    "lstm and linear": lambda: Stack(nn.LSTM(1, 16), nn.Linear(16, 1)),
    "ours": lambda: Stack(ours.GRU(3, 8, num_layers=2, dropout=0.4), nn.Linear(8, 4), nn.LeakyReLU(0.2)),
    "batch first": lambda: Stack(ours.LSTM(2, 9, batch_first=True), nn.Tanh(), nn.GRU(9, 5, batch_first=True)),
    "a layer alone": lambda: nn.RNN(3, 7, nonlinearity="relu", bias=False),
    "any cell": lambda: Stack(
        ours.Recurrent("lstm_peephole", 3, (8, 5), stateful=True), ours.Recurrent("mingru", 5, 7), nn.Linear(7, 2)
    ),
    "any cell in both directions": lambda: ours.Recurrent("lstm_projected", 3, 8, 2, bidirectional=True, proj_size=4),
    "both directions": lambda: Stack(nn.LSTM(2, 6, num_layers=2, bidirectional=True), nn.Linear(12, 3)),
    "projected": lambda: ours.LSTM(2, 9, proj_size=4, bidirectional=True),
    "tagger": lambda: Stack(
        nn.Embedding(11, 6, padding_idx=0),
        ours.RNN(6, 8),
        nn.LayerNorm(8),
        nn.Dropout(0.5),
        nn.Linear(8, 5),
        nn.Softmax(-1),
    ),
    "activations": lambda: nn.Sequential(
        *(
            nn.Linear(4, 4),
            nn.GELU(),
            nn.SiLU(),
            nn.Softplus(),
            nn.ELU(),
            nn.Softsign(),
            nn.Hardsigmoid(),
            nn.Identity(),
        ),
        nn.Sequential(nn.LayerNorm(4, elementwise_affine=False), nn.Sigmoid(), nn.ReLU()),
    ),
}


def make(name: str) -> nn.Module:
    torch.manual_seed(3)
    return MODULES[name]()


@pytest.mark.parametrize("name", MODULES)
def test_exported_modules(name, tmp_path) -> None:
    module, path = make(name), tmp_path / "m.recurra"
    model = export(module, path, card={"made by": "tests"})
    assert not any(model.parity["differing"].values())
    assert ("stepped" in model.parity["differing"]) == ("direction" not in name and name != "projected")
    assert 0 <= model.parity["torch_difference"] <= 1e-5
    assert module.training
    again = recurra.load(path)
    assert again.parity == json.loads(json.dumps(model.parity))
    assert again.card == {"made by": "tests"}
    rng = np.random.default_rng(1)
    x = (
        rng.integers(0, 11, (9, 2))
        if model.vocabulary_size
        else rng.normal(size=(9, 2, model.input_size)).astype(np.float32)
    )
    assert same(again.run(x), model.run(x))
    first = "batch" in name
    with torch.no_grad():
        y = module.eval()(torch.from_numpy(np.ascontiguousarray(x.swapaxes(0, 1) if first else x)))
    y = (y[0] if isinstance(y, tuple) else y).numpy()
    assert np.abs(again.run(x) - (y.swapaxes(0, 1) if first else y)).max() < 1e-5


@pytest.mark.parametrize("both", [False, True])
def test_learned_initial_states(both, tmp_path) -> None:
    torch.manual_seed(1)
    layer = ours.Recurrent("lstm", 2, (4, 3), bidirectional=both, initial_state="learned")
    for name, parameter in layer.named_parameters():
        if name.startswith("initial"):
            nn.init.normal_(parameter)
    model = export(layer, tmp_path / "m.recurra")
    assert not any(model.parity["differing"].values())
    assert model.parity["torch_difference"] <= 1e-5
    assert "layers.0.forward.initial:h" in model.arrays() if both else "layers.1.initial:c" in model.arrays()
    if not both:
        session = recurra.load(tmp_path / "m.recurra").session(batch=2)
        fresh = session.snapshot()
        assert np.abs(session.state["layers.0.h"] - layer.initial_h_l0.detach().numpy()).max() == 0
        session.run(np.ones((3, 2, 2), np.float32))
        session.reset()
        assert session.snapshot() == fresh


def test_a_stateful_layer_is_left_as_it_is(tmp_path) -> None:
    layer = ours.Recurrent("gru", 2, 4, stateful=True)
    layer(torch.ones(3, 3, 2))
    before = [s.clone() for states in layer._carried for s in states]
    export(layer, tmp_path / "m.recurra")
    assert all(torch.equal(a, b) for a, b in zip(before, [s for states in layer._carried for s in states], strict=True))


def test_a_sample_of_ones_own(tmp_path) -> None:
    module = make("batch first")
    model = export(module, tmp_path / "m.recurra", torch.ones(4, 7, 2))
    assert model.parity["sample"] == {"steps": 7, "rows": 4}
    assert export(module, tmp_path / "m.recurra", np.ones((7, 2))).parity["sample"] == {"steps": 7, "rows": 1}
    with pytest.raises(ExportError, match=r"`sample` has shape \(4, 7, 3\), expected one of \[steps, rows, 2\]"):
        export(module, tmp_path / "m.recurra", torch.ones(4, 7, 3))


class Hooked(nn.Module):
    """A layer that is exported by the hook."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.U = nn.Parameter(torch.randn(8, 3) / 2), nn.Parameter(torch.randn(8, 4) / 2)
        self.b = nn.Parameter(torch.randn(8))

    def recurrences(self):
        return [[(cells.mgu, {"W": self.W, "U": self.U, "b": self.b, "c_": torch.zeros(8)})]]

    def forward(self, x):
        weights = [self.W, self.U, self.b, torch.zeros(8), None]
        return scan(cells.mgu.text, x, weights, (), ())[0]


def test_a_layer_with_the_hook(tmp_path) -> None:
    torch.manual_seed(0)
    model = export(Stack(Hooked(), nn.Linear(4, 2)), tmp_path / "m.recurra")
    assert model.ops[0].cell == cells.mgu


REFUSED = {
    "1 is a Conv1d, expected a recurrent layer": lambda: Stack(nn.LSTM(2, 2), nn.Conv1d(2, 2, 1)),
    "1.0 is a MultiheadAttention": lambda: Stack(nn.LSTM(2, 2), nn.Sequential(nn.MultiheadAttention(2, 1))),
    "the module is a LSTMCell": lambda: nn.LSTMCell(2, 2),
    r"1 is GELU\(approximate='tanh'\), expected approximate to be 'none'": lambda: Stack(nn.RNN(2, 2), nn.GELU("tanh")),
    r"1 is Softmax\(dim=0\), expected dim to be -1 or 2": lambda: Stack(nn.RNN(2, 2), nn.Softmax(0)),
    "0 is Embedding.*, expected max_norm to be None": lambda: Stack(nn.Embedding(3, 2, max_norm=1.0)),
    r"0: a LayerNorm over \(3, 2\), expected the features alone": lambda: Stack(nn.LayerNorm((3, 2))),
    "0 has parameters of torch.float64, expected torch.float32: use module.float": lambda: Stack(nn.RNN(2, 2).double()),
    r"layer 1 \(linear\) takes 3 features, expected 2": lambda: Stack(nn.RNN(2, 2), nn.Linear(3, 1)),
    "a network has no layer with weights": lambda: Stack(nn.Tanh()),
    "put recurrent layers into recurra.torch.Stack": lambda: nn.Sequential(nn.RNN(2, 2), nn.Linear(2, 1)),
    "batch_first is {'0': True, '1': False}": lambda: Stack(nn.RNN(2, 2, batch_first=True), nn.RNN(2, 2)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_exported(message, tmp_path) -> None:
    with pytest.raises(ExportError, match=message):
        export(REFUSED[message](), tmp_path / "m.recurra")
    assert not (tmp_path / "m.recurra").exists()


class Doubled(nn.Linear):
    """Looks like a layer that we know, and is none."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_a_layer_that_only_looks_like_one(tmp_path) -> None:
    with pytest.raises(ExportError, match="from the module's, expected at most 1e-05: a layer with a hook"):
        export(Stack(Doubled(2, 2)), tmp_path / "m.recurra")
    assert not (tmp_path / "m.recurra").exists()


def test_bits_that_differ_are_an_error(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(parity, "_stepped", lambda model, x: model.run(x) + np.float32(1e-7))
    with pytest.raises(ExportError, match=r"outputs differ in bits where the model is run as \{'stepped': "):
        export(make("lstm and linear"), tmp_path / "m.recurra")
    assert not (tmp_path / "m.recurra").exists()
    assert issubclass(ExportError, ValueError)
    assert issubclass(ModelFileError, ValueError)


class OneNumber(nn.Module):
    """A number a step, or one of the last, without an axis for it."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        self.rnn, self.out, self.whole = nn.GRU(3, 5, batch_first=True), nn.Linear(5, 1), whole

    def forward(self, x):
        y = self.rnn(x)[0]
        return self.out(y if self.whole else y[:, -1]).squeeze(-1)


@pytest.mark.parametrize("whole", [True, False])
def test_a_forward_may_leave_out_the_axis_of_one_feature(whole, tmp_path) -> None:
    module, x = OneNumber(whole).eval(), torch.randn(4, 6, 3)
    model = export(module, tmp_path / "m.recurra", x)
    got = model.run(np.ascontiguousarray(x.numpy().swapaxes(0, 1)))[..., 0].T
    np.testing.assert_allclose(got if whole else got[:, -1], module(x).detach(), atol=1e-6)
    module.forward = lambda x: OneNumber.forward(module, x)[:2]
    with pytest.raises(ExportError):
        export(module, tmp_path / "no.recurra", x)
