"""The doctor on networks whose truth is known: numbers to the tolerance of the mathematics, and the right findings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from networks import LINEAR, Reader, forgetful, linear, noise, recall, sigmoid
from torch import nn

from recurra import doctor
from recurra.doctor.memory import FAINT
from recurra.torch import GRU, LSTM, RNN, Recurrent

FOUND = {
    0.5: {"vanishing", "forgetting too early"},
    1.0: {"healthy"},
    1.5: {"exploding", "unstable state"},
}


@pytest.mark.parametrize("radius", FOUND)
def test_linear_rnn(radius: float) -> None:
    findings = doctor.examine(linear(radius), noise(60, 4))
    (layer,) = findings.layers
    assert findings.kinds == FOUND[radius]
    # Orthogonal weights times a number: every direction and every step has exactly that factor.
    assert layer.flow.rate == pytest.approx(radius, rel=1e-12)
    np.testing.assert_allclose(layer.flow.norms, layer.flow.norms[0] * radius ** np.arange(60), rtol=1e-11)
    np.testing.assert_allclose(layer.spectrum.exponents, math.log(radius), atol=1e-12)
    assert layer.spectrum.radius == pytest.approx(radius, rel=1e-12)
    assert layer.spectrum.largest == pytest.approx(radius, rel=1e-12)
    np.testing.assert_allclose(np.hypot(*zip(*layer.spectrum.eigenvalues, strict=True)), radius, rtol=1e-12)
    expected = min(59, math.ceil(math.log(FAINT) / math.log(0.5)) - 1) if radius == 0.5 else 59
    assert layer.memory.horizon == expected


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5])
def test_lyapunov_exponent_of_weights_that_are_not_normal(radius: float) -> None:
    steps = 400
    layer = linear(radius, orthogonal=False)
    (seen,) = doctor.examine(layer, noise(steps, 2)).layers
    U = layer.weight_hh_l0.detach().numpy()
    # The error after n steps is at most log of the eigenvectors' condition over n, from either side.
    bound = 2 * math.log(np.linalg.cond(np.linalg.eig(U)[1])) / (0.75 * steps)
    assert seen.spectrum.exponents[0] == pytest.approx(math.log(radius), abs=bound)
    assert bound < 0.03
    moduli = np.sort(np.abs(np.linalg.eigvals(U)))[::-1]
    np.testing.assert_allclose(np.cumsum(seen.spectrum.exponents), np.cumsum(np.log(moduli[:4])), atol=4 * bound)


@pytest.mark.parametrize("bias", [-5.0, 0.0, 5.0])
def test_forget_gate_alone(bias: float) -> None:
    """Without recurrent weights the cell state is kept by the gate, and nothing else passes from step to step."""
    f = sigmoid(bias)
    (layer,) = doctor.examine(forgetful(bias, alone=True), noise(80, 4)).layers
    assert layer.activity.kept == {"c": pytest.approx(f, rel=1e-12)}
    assert layer.spectrum.exponents[0] == pytest.approx(math.log(f), abs=1e-12)
    assert layer.spectrum.radius == pytest.approx(f, rel=1e-12)
    norms = np.array(layer.flow.norms[1:])
    np.testing.assert_allclose(norms, norms[0] * f ** np.arange(79), rtol=1e-10)


def test_lstm_that_forgets_and_one_that_keeps() -> None:
    closed = doctor.examine(forgetful(-5.0), noise(100, 8))
    assert closed.kinds == {"vanishing", "forgetting too early"}
    assert closed.layers[0].activity.kept["c"] < 0.02
    assert closed.layers[0].memory.horizon < 8
    for finding in closed:
        assert finding.remedies[0] == "forget_bias"
        assert "keeps 0.00" in finding.cause
    opened = doctor.examine(forgetful(5.0), noise(100, 8), lag=90)
    assert not opened.kinds & {"vanishing", "exploding", "forgetting too early", "unstable state"}
    assert opened.layers[0].memory.horizon == 99
    assert opened.layers[0].memory.complete
    assert -0.02 < opened.layers[0].spectrum.exponents[0] < 0.02
    (forget,) = (s for s in opened.layers[0].activity.saturation if s.name == "f")
    assert forget.keeps
    assert forget.high > 0.5


def test_saturated_tanh() -> None:
    torch.manual_seed(0)
    layer = RNN(3, 12).double()
    x = noise(50, 6)
    assert "saturated" not in doctor.examine(layer, x).kinds
    with torch.no_grad():
        layer.weight_ih_l0.mul_(60)
    findings = doctor.examine(layer, x)
    assert "saturated" in findings.kinds
    (n,) = findings.layers[0].activity.saturation
    output = layer(x)[0].detach().numpy()
    assert n.low == pytest.approx(np.mean(1 - output**2 < 0.05) - n.high, abs=1e-12)
    assert n.high == pytest.approx(np.mean((1 - output**2 < 0.05) & (output > 0)), abs=1e-12)
    np.testing.assert_allclose(n.units, np.mean(1 - output**2 < 0.05, axis=(0, 1)), atol=1e-12)
    assert next(f for f in findings if f.kind == "saturated").remedies[0] == "input_scaling"


def test_dead_units() -> None:
    torch.manual_seed(0)
    layer = RNN(3, 12, nonlinearity="relu").double()
    with torch.no_grad():
        layer.bias_ih_l0[[1, 4, 7, 8]] = -50.0
    findings = doctor.examine(layer, noise(50, 6))
    assert set(findings.layers[0].activity.dead) >= {1, 4, 7, 8}
    assert "dead" in findings.kinds
    assert (
        findings.layers[0].activity.dead
        == np.flatnonzero(np.ptp(layer(noise(50, 6))[0].detach().numpy(), (0, 1)) == 0).tolist()
    )


def test_states_that_run_away() -> None:
    layer = Recurrent(LINEAR, 1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_hh_l0.fill_(1.2)
    (seen,) = doctor.examine(layer, torch.ones(80, 1, 1, dtype=torch.float64)).layers
    # h_t = w (1.2^(t + 1) - 1) / 0.2: the growth tends to 1.2 from above.
    t = np.arange(1, 81)
    expected = np.abs(float(layer.weight_ih_l0.detach())) * (1.2**t - 1) / 0.2
    np.testing.assert_allclose(seen.activity.norms, expected, rtol=1e-12)
    assert seen.activity.growth == pytest.approx(1.2, rel=1e-3)
    assert seen.activity.largest == pytest.approx(expected[-1])


def test_input_scale() -> None:
    torch.manual_seed(0)
    layer = GRU(3, 8).double()
    x = noise(40, 5) * torch.tensor([1.0, 400.0, 1.0]) + torch.tensor([0.0, 2024.0, 0.0])
    findings = doctor.examine(layer, x)
    bad = next(f for f in findings if f.kind == "bad input scale")
    assert "1 of 3" in bad.evidence
    assert "feature 1" in bad.evidence
    mean, deviation = findings.network.inputs[1]
    assert mean == pytest.approx(float(x[..., 1].mean()))
    assert deviation == pytest.approx(float(x[..., 1].std(correction=0)))
    assert "bad input scale" not in doctor.examine(layer, noise(40, 5)).kinds


@pytest.mark.parametrize(("rate", "expected"), [(1e-3, False), (5.0, True)])
def test_learning_rate(rate: float, expected: bool) -> None:
    torch.manual_seed(0)
    model = Reader(GRU(3, 8), 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    before = [p.clone() for p in model.parameters()]
    x = noise(20, 5, dtype=torch.float32)
    findings = doctor.examine(model, x, torch.ones(5, 1), optimizer=optimizer, lag=5)
    assert ("learning rate too high" in findings.kinds) == expected
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_healthy_after_real_training() -> None:
    """A GRU that has learned to recall the first number of 25."""
    torch.manual_seed(0)
    model = Reader(GRU(1, 16), 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loss = torch.tensor(1.0)
    with doctor.watch(model, every=20, lag=24) as record:
        for _ in range(400):
            x, y = recall(25)
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            record.loss(loss)
            if float(loss.detach()) < 0.01:
                break
    assert float(loss.detach()) < 0.05
    findings = doctor.examine(model, *recall(25), lag=24, optimizer=optimizer)
    assert findings.healthy, findings
    assert record.findings().healthy, record.findings()


@pytest.mark.parametrize("make", [lambda: LSTM(3, 8), lambda: nn.GRU(3, 8), lambda: Recurrent("mgu", 3, 8)])
def test_untrained_but_open_gates_are_healthy(make: object) -> None:
    torch.manual_seed(0)
    layer = make()
    from recurra.doctor.remedies import Facts, Setup, applied

    x = noise(40, 4, dtype=torch.float32)
    setup = applied("forget_bias", Setup(lambda: layer, 1e-3, None), Facts(40, x, 0, False, 1.0))
    assert doctor.examine(setup.make(), x).healthy
