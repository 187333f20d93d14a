"""The first NaN or infinity: its step, layer and operation."""

from __future__ import annotations

import math

import pytest
import torch
from networks import noise
from torch import Tensor, nn

from recurra import doctor
from recurra.cells import cell, exp, sigmoid, sqrt, tanh
from recurra.doctor.anomalies import Anomaly
from recurra.torch import GRU, LSTM, Recurrent, Stack


@cell(source="tests: overflows where x is large")
def bursting(x, h):
    return tanh(h.n) + exp(x.e)


@cell(source="tests: no number where x is negative, and no slope at 0")
def rooted(x, h):
    z = sigmoid(x.z + h.z)
    return z * h + (1 - z) * sqrt(x.s)


def found(module: nn.Module, x: Tensor, loss: object = None) -> Anomaly:
    findings = doctor.examine(module, x, loss=loss)
    assert findings.kinds == {"not finite"}
    assert findings.layers == []
    assert str(findings.anomaly) in findings.show(1000)
    return findings.anomaly


def planted(kind: object, *, layers: int = 1, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return kind(3, 5, num_layers=layers, **options)


def test_in_the_input() -> None:
    x = noise(20, 4, dtype=torch.float32)
    x[13, 2, 1] = math.inf
    x[15, 0, 0] = math.nan
    got = found(planted(LSTM, layers=2), x)
    assert (got.step, got.layer, got.operation, got.value, got.unit) == (13, "LSTM layer 0", "input", "infinity", 1)


@pytest.mark.parametrize("batch_first", [False, True])
def test_from_an_operation(batch_first: bool) -> None:
    """exp overflows in float32 above 88.7; two layers, the fault in the upper one, at one step of one row."""
    torch.manual_seed(0)
    upper = Recurrent(bursting, 5, 4, batch_first=batch_first)
    with torch.no_grad():
        upper.weight_ih_l0.zero_()
        upper.weight_ih_l0[2, 0] = 200.0
    model = Stack(nn.Identity(), nn.Linear(5, 5), upper)
    x = torch.full((16, 3, 5), 0.1)
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if n == "1.weight").copy_(torch.eye(5))
        next(p for n, p in model.named_parameters() if n == "1.bias").zero_()
    x[9, 1, 0] = 0.6
    x[12, 0, 0] = 0.9
    got = found(model, x.transpose(0, 1) if batch_first else x)
    assert (got.step, got.layer, got.operation, got.value, got.unit) == (9, "2 Recurrent", "exp(x.e)", "infinity", 2)
    assert float(got.detail.removeprefix("exp of ")) == pytest.approx(
        120 + float(upper.bias_ih_l0[2].detach()), rel=1e-3
    )


def test_from_the_root_of_a_negative_number() -> None:
    torch.manual_seed(0)
    layer = Recurrent(rooted, 1, 1)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.tensor([[1.0], [1.0]]))
        layer.bias_ih_l0.zero_()
    x = torch.rand(12, 2, 1) + 0.1
    x[7, 1] = -0.5
    got = found(layer, x)
    assert (got.step, got.operation, got.value) == (7, "sqrt(x.s)", "NaN")
    assert got.detail == "sqrt of -0.5"


@pytest.mark.parametrize(
    ("layer", "name", "operation"), [(0, "weight_hh", "h.g"), (1, "weight_ih", "x.o"), (1, "bias_hh", "h.f")]
)
def test_in_a_weight(layer: int, name: str, operation: str) -> None:
    model = planted(LSTM, layers=2)
    gate = {"i": 0, "f": 1, "g": 2, "o": 3}[operation[-1]]
    with torch.no_grad():
        getattr(model, f"{name}_l{layer}")[5 * gate + 2] = math.nan
    got = found(model, noise(10, 3, dtype=torch.float32))
    # A NaN in U times a state of zeros is a NaN too, so it is there from the first step on.
    assert (got.step, got.layer, got.unit, got.value) == (0, f"LSTM layer {layer}", 2, "NaN")
    assert operation in got.operation
    assert "the weight" in got.detail


def test_in_both_directions() -> None:
    model = planted(GRU, bidirectional=True)
    x = noise(10, 3, dtype=torch.float32)
    with torch.no_grad():
        model.bias_ih_l0_reverse[1] = math.nan
    got = found(model, x)
    assert (got.layer, got.step) == ("GRU backward", 9)


def test_in_a_layer_without_equations() -> None:
    class Log(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.log()

    model = Stack(planted(GRU), Log(), nn.Linear(5, 1))
    got = found(model, noise(10, 3, dtype=torch.float32))
    assert (got.layer, got.operation, got.value) == ("1", "Log", "NaN")
    expected = (next(iter(model.children()))(noise(10, 3, dtype=torch.float32))[0] < 0).any(-1).any(-1)
    assert got.step == int(expected.nonzero()[0])


def test_in_the_loss_and_in_the_gradient() -> None:
    got = found(
        planted(GRU), noise(10, 3, dtype=torch.float32), loss=lambda out, _: (out[0].sum() * 0).log() + out[0].sum()
    )
    assert got.layer == "the loss"
    got = found(planted(GRU), noise(10, 3, dtype=torch.float32), loss=lambda out, _: (out[0][-1, 1, 2] * 0).sqrt())
    assert (got.layer, got.step, got.operation, got.backward) == ("GRU", 9, "the output", True)


def test_in_the_gradient_of_an_operation() -> None:
    """The root has no slope at 0, though its value is a number."""
    layer = Recurrent(rooted, 1, 1)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.tensor([[1.0], [1.0]]))
        layer.bias_ih_l0.zero_()
    x = torch.rand(12, 2, 1) + 0.1
    x[4, 1] = 0.0
    got = found(layer, x, loss=lambda out, _: out[0].sum())
    assert (got.step, got.backward, got.operation) == (4, True, "x.s")
    assert "sqrt" in got.detail


def test_explosion_past_the_dtype() -> None:
    """States of float32 overflow where those of float64 would not."""
    torch.manual_seed(0)
    layer = Recurrent("rnn_relu", 1, 1, bias=False)
    with torch.no_grad():
        layer.weight_hh_l0.fill_(4.0)
        layer.weight_ih_l0.fill_(1.0)
    x = torch.ones(90, 1, 1)
    got = found(layer, x)
    first = next(t for t in range(90) if sum(4.0**k for k in range(t + 1)) > torch.finfo(torch.float32).max)
    assert (got.step, got.value) == (first, "infinity")
    assert doctor.examine(layer.double(), x.double()).anomaly is None
