"""`convert`: what is replaced, what is left alone, and that a difference is found."""

from __future__ import annotations

import copy

import pytest
import torch
from composed import fill
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

from recurra.errors import ConversionError
from recurra.torch import GRU, LSTM, RNN, Recurrent, convert


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.encoder = nn.LSTM(5, 7, 2, bidirectional=True, batch_first=True, dropout=0.3)
        self.decoder = nn.GRU(14, 6)
        self.again = self.decoder
        self.simple = nn.ModuleList([nn.RNN(6, 3, nonlinearity="relu"), nn.RNN(6, 3)])
        self.cell = nn.LSTMCell(3, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.decoder(self.encoder(self.embedding(x))[0])[0]
        return self.simple[0](y)[0], self.simple[1](y)[1]


def test_a_copy_is_changed_and_the_model_is_not() -> None:
    model = Tagger()
    fill(model, "tagger")
    model.decoder.weight_hh_l0.requires_grad_(False)
    calls: list[int] = []
    model.encoder.register_forward_hook(lambda *_: calls.append(1))
    x = torch.randint(11, (4, 9))
    converted, report = convert(model, sample=x)
    assert calls == [1, 1]
    assert type(model.encoder) is nn.LSTM
    kinds = [type(m) for m in (converted.encoder, converted.decoder, *converted.simple, converted.cell)]
    assert kinds == [LSTM, GRU, RNN, RNN, nn.LSTMCell]
    assert converted.again is converted.decoder
    assert not converted.decoder.weight_hh_l0.requires_grad
    assert converted.training
    assert converted.encoder.training
    assert list(converted.state_dict()) == list(model.state_dict())
    model.eval(), converted.eval()
    for a, b in zip(model(x), converted(x), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    assert list(report.replaced) == ["encoder", "decoder", "simple.0", "simple.1"]
    assert list(report.left) == ["cell"]
    assert report.difference is not None
    assert 0 < report.difference < 1e-5
    text = str(report)
    assert text.startswith("4 replaced, 1 left alone\n  encoder: LSTM(5, 7, num_layers=2")
    assert "cell: left alone: torch.nn.LSTMCell is one step" in text
    assert "on the sample" in text


def test_in_place_and_the_model_itself() -> None:
    model = nn.LSTM(3, 4)
    weights = list(model.parameters())
    converted, report = convert(model, inplace=True)
    assert converted is model
    assert type(model) is LSTM
    assert all(a is b for a, b in zip(weights, model.parameters(), strict=True))
    assert list(report.replaced) == ["(model)"]
    assert "each layer on random numbers" in str(report)
    again, report = convert(model)
    assert type(again) is LSTM
    assert report.left == {"(model)": "is Recurra's already"}
    assert report.difference is None


class MyGRU(nn.GRU):
    pass


def test_what_is_left_alone_is_named() -> None:
    replaced = nn.GRU(3, 4)
    replaced.forward = lambda x: x  # type: ignore[method-assign]
    model = nn.ModuleDict(
        {
            "own": MyGRU(3, 4),
            "parametrized": parametrizations.weight_norm(nn.LSTM(3, 4), "weight_hh_l0"),
            "other forward": replaced,
            "recurrent": Recurrent("lstm", 3, 4),
            "linear": nn.Linear(3, 4),
            "cell": nn.GRUCell(3, 4),
        }
    )
    kinds = {n: type(m) for n, m in model.items()}
    converted, report = convert(model, inplace=True)
    assert {n: type(m) for n, m in converted.items()} == kinds
    assert not report.replaced
    assert "inherit" in report.left["own"]
    assert "parametrizations" in report.left["parametrized"]
    assert "forward was replaced" in report.left["other forward"]
    assert "one step" in report.left["cell"]
    assert set(report.left) == {"own", "parametrized", "other forward", "cell"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_quantized_and_scripted_layers_are_left_alone() -> None:
    model = nn.ModuleDict(
        {"quantized": torch.ao.nn.quantized.dynamic.LSTM(3, 4), "scripted": torch.jit.script(nn.GRU(3, 4))}
    )
    _, report = convert(model, inplace=True)
    assert report.left == {
        "quantized": "is quantized: Recurra has no quantized kernels",
        "scripted": "is TorchScript: convert before scripting",
    }


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_hooks_that_compute_weights_still_do() -> None:
    model = nn.Sequential(weight_norm(nn.RNN(3, 4), "weight_ih_l0"))
    x = torch.randn(5, 2, 3)
    before = model(x)[0]
    convert(model, inplace=True)
    assert type(model[0]) is RNN
    torch.testing.assert_close(model(x)[0], before)
    with torch.no_grad():
        model[0].weight_ih_l0_g.mul_(2)
    assert not torch.allclose(model(x)[0], before)


def test_other_dtypes_and_the_meta_device() -> None:
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        _, report = convert(nn.GRU(3, 4, 2, dtype=dtype))
        assert report.difference is not None
        assert report.difference < (1e-13 if dtype == torch.float64 else 0.02)
    converted, report = convert(nn.GRU(3, 4, device="meta"))
    assert type(converted) is GRU
    assert report.difference is None
    assert "meta" in str(report)


def test_a_difference_undoes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.LSTM(3, 4))
    stock = LSTM._weights
    monkeypatch.setattr(
        LSTM, "_weights", lambda self, suffix: [None if w is None else w * 1.001 for w in stock(self, suffix)]
    )
    with pytest.raises(ConversionError, match="expected at most 1e-05"):
        convert(model, inplace=True)
    assert type(model[0]) is nn.LSTM
    with pytest.raises(ConversionError, match="on the sample"):
        convert(model, sample=torch.randn(4, 2, 3))


def test_randomness_and_samples_of_other_kinds() -> None:
    model = Tagger()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    convert(model, sample=(torch.zeros(2, 3, dtype=torch.int64),))
    convert(model, sample={"x": torch.zeros(2, 3, dtype=torch.int64)})
    assert torch.equal(state, torch.random.get_rng_state())
    copied = convert(copy.deepcopy(model))[0]
    x = torch.zeros(2, 3, dtype=torch.int64)
    torch.manual_seed(2)
    a = copied(x)[0]
    torch.manual_seed(2)
    torch.testing.assert_close(a, model(x)[0])  # the same dropout too
