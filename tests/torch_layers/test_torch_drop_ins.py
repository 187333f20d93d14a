"""What the drop-ins do besides running a cell, which the table of cases in `conformance` holds against torch.nn."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_sequence

from recurra.torch import GRU, LSTM, RNN, Recurrent, Stack, convert

STOCK = {RNN: nn.RNN, LSTM: nn.LSTM, GRU: nn.GRU}


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_dropout_acts_between_layers_in_training(kind: type[torch.nn.Module]) -> None:
    torch.manual_seed(3)
    x = torch.randn(9, 4, 3)
    module = kind(3, 16, num_layers=2, dropout=0.5)
    plain = kind(3, 16, num_layers=2)
    plain.load_state_dict(module.state_dict())
    torch.manual_seed(5)
    first = module(x)[0]
    torch.manual_seed(5)
    assert torch.equal(first, module(x)[0])
    assert not torch.equal(first, module(x)[0])
    assert first.all()  # nothing is dropped after the last layer
    assert not torch.equal(first, plain(x)[0])
    assert torch.equal(module.eval()(x)[0], plain(x)[0])


class Either(nn.Module):
    """The usual model that asks which layer it has."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.rnn = layer

    def forward(self, x: Tensor) -> Tensor:
        h = torch.ones(1, x.shape[1], 4)
        return self.rnn(x, (h, h) if isinstance(self.rnn, nn.LSTM) else h)[0]


@pytest.mark.parametrize("kind", STOCK)
def test_they_answer_as_torchs_own(kind: type[nn.Module]) -> None:
    layer = kind(3, 4)
    assert [isinstance(layer, stock) for stock in STOCK.values()] == [kind is ours for ours in STOCK]
    assert type(pickle.loads(pickle.dumps(layer))) is type(copy.deepcopy(layer)) is kind
    for module in nn.Sequential(layer).modules():
        if isinstance(module, STOCK[kind]):
            nn.init.constant_(module.bias_ih_l0, 1.0)
    assert (layer.bias_ih_l0 == 1).all()
    stock = STOCK[kind](3, 4)
    stock.load_state_dict(layer.state_dict())
    torch.testing.assert_close(Either(convert(stock)[0])(torch.ones(5, 2, 3)), Either(stock)(torch.ones(5, 2, 3)))


class Mine(GRU):
    pass


@pytest.mark.parametrize("layer", [LSTM(3, 4), Mine(3, 4), parametrizations.weight_norm(RNN(3, 4), "weight_hh_l0")])
def test_they_are_compiled_in_one_graph_and_torchs_own_are_not(layer: nn.Module) -> None:
    torch._dynamo.reset()
    model, x = Either(layer), torch.linspace(-1, 1, 30).reshape(5, 2, 3)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))
    with pytest.raises(Exception, match="does not support RNN, GRU, or LSTM"):
        torch.compile(Either(nn.GRU(3, 4)), fullgraph=True, backend="aot_eager")(x)
    assert not torch._dynamo.config.allow_rnn


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated", "ignore:`torch.ao")
def test_quantization_that_passes_them_by_says_so() -> None:
    model = nn.Sequential(LSTM(3, 4))
    with pytest.warns(UserWarning, match=r"LSTM\(3, 4\) stays as it is.*to_torch\(model\)"):
        quantized = torch.ao.quantization.quantize_dynamic(model, {nn.LSTM}, dtype=torch.qint8)
    assert type(quantized[0]) is LSTM


def test_states_may_come_as_a_list() -> None:
    layer, x = LSTM(3, 4), torch.linspace(-1, 1, 30).reshape(5, 2, 3)
    state = (torch.ones(1, 2, 4), torch.full((1, 2, 4), 0.5))
    for of, given in ((x, state), (pack_sequence([x[:, 0], x[:3, 1]]), state), (x[:, 0], [s[:, 0] for s in state])):
        wanted, got = layer(of, tuple(given)), layer(of, list(given))
        torch.testing.assert_close(got[1], wanted[1])


def test_a_stack_is_a_sequence_of_layers() -> None:
    stack = Stack(LSTM(3, 4), nn.Linear(4, 2))
    assert isinstance(stack, nn.Sequential)
    assert len(stack) == 2
    assert [type(layer) for layer in stack] == [LSTM, nn.Linear]
    assert stack[0] is next(iter(stack))
    assert list(stack.state_dict())[:1] == ["0.weight_ih_l0"]
    x = torch.ones(5, 2, 3)
    wanted = stack(x).relu()
    stack.append(nn.ReLU())
    assert torch.equal(stack(x), wanted)
    for made in (stack[:2], stack[:1] + stack[1:2], Stack(stack[0]) + nn.Sequential(stack[1])):
        assert type(made) is Stack
        assert torch.equal(made(x).relu(), wanted)
    twice = Stack(GRU(3, 3)) * 2
    assert torch.equal(twice(x), twice[0](twice[0](x)[0])[0])


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_a_layer_says_what_it_takes(kind) -> None:
    """In the order in which torch takes it, each with torch's default."""
    signature = inspect.signature(kind)
    assert "args" not in signature.parameters
    given = {
        "input_size": 3,
        "hidden_size": 4,
        "num_layers": 2,
        "nonlinearity": "relu",
        "bias": False,
        "batch_first": True,
    }
    given |= {"dropout": 0.25, "bidirectional": True, "proj_size": 2, "device": "cpu", "dtype": torch.float64}
    values = [given[name] for name in signature.parameters if name not in ("device", "dtype")]
    stock = next(base for base in kind.__mro__ if base.__module__.startswith("torch.nn"))
    ours, theirs = (layer(*values, device="cpu", dtype=torch.float64) for layer in (kind, stock))
    for name, value in zip(signature.parameters, values, strict=False):
        assert getattr(ours, name) == getattr(theirs, name) == value
    assert ours.weight_ih_l0.dtype == torch.float64
    for name, parameter in signature.parameters.items():
        if parameter.default is not inspect.Parameter.empty and name not in ("device", "dtype"):
            assert getattr(kind(2, 3), name) == parameter.default


def test_sizes_may_be_numbers_of_numpy() -> None:
    one, other = (Recurrent("gru", n(3), n(4), n(2)) for n in (int, np.int64))
    assert [p.shape for p in one.parameters()] == [p.shape for p in other.parameters()]
    assert repr(one) == repr(other)
