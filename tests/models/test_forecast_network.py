"""The forecaster's network: its parity with the runtime, its loss, and the calibration of its quantiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import user_cells
from helpers import generator
from recurra.errors import CellError, ExportError, ShapeError
from recurra.models import ForecastHead, ForecastNetwork, pinball
from recurra.torch import export
from recurra.torch.export import to_model

NETWORKS = {
    "gru": ("gru", {}),
    "two layers": ("lstm", {"layers": 2, "dropout": 0.3}),
    "projected": ("lstm_projected", {"layers": 2, "projection": 5}),
    "a user's cell": (user_cells.CELLS[0], {}),
    "five quantiles": ("mgu", {"levels": (0.02, 0.3, 0.5, 0.6, 0.99)}),
    "the median alone": ("indrnn", {"levels": (0.5,), "known": 0, "seasons": 1}),
}


def network(name: str, scale: float = 0.4) -> ForecastNetwork:
    cell, options = NETWORKS[name]
    torch.manual_seed(3)
    module = ForecastNetwork(cell, 4, 11, **{"horizon": 6, "known": 3, "seasons": 2, "units": 7, **options})
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
        module.head.k.uniform_(0.5, 2)
    return module.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_has_the_values_of_the_module(name, tmp_path) -> None:
    module = network(name)
    model = export(module, tmp_path / "m.recurra")
    assert not any(model.parity["differing"].values())
    x = generator(name).normal(size=(40, 3, module.input_size)).astype(np.float32)
    with torch.no_grad():
        want = module(torch.from_numpy(x))[0].numpy()
    assert np.abs(model.run(x) - want).max() < 1e-5 * max(1, np.abs(want).max())
    assert np.abs(want).max() > 0.5


@pytest.mark.parametrize("fault", ["A", "B", "e", "W", "w", "C", "c", "D", "k"])
def test_a_planted_fault_fails_the_parity_check(fault, monkeypatch) -> None:
    """Rows of one array changed in the model but not in the module: the check must see it."""
    module = network("gru", 0.8)
    taken = module.model_layers()
    array = getattr(taken[-1], fault)
    object.__setattr__(taken[-1], fault, np.ascontiguousarray(array[::-1]))
    monkeypatch.setattr(module, "model_layers", lambda: taken)
    with pytest.raises(ExportError, match="the model's output is"):
        to_model(module)


@given(st.integers(0, 10_000), st.floats(0.1, 5))
def test_quantiles_never_cross(seed, scale) -> None:
    torch.manual_seed(seed)
    head = ForecastHead(3, 4, 2, 2, (0.1, 0.2, 0.5, 0.9), units=5)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(0, scale)
        given_ = head(torch.randn(9, 3), scale * torch.randn(9, head.beside))
        assert (given_.diff(dim=-1) >= 0).all()
        head.calibrate(given_, given_[..., 2] + torch.randn(9, 4))
        assert (head.k >= 0).all()


def test_at_first_the_forecast_is_the_mean_of_the_seasons() -> None:
    head = ForecastHead(3, 2, 0, 2)
    with torch.no_grad():
        head.W.zero_()
        out = head(torch.randn(3), torch.tensor([1.0, 3.0, 10.0, 20.0]))
    assert torch.allclose(out[:, 1], torch.tensor([2.0, 15.0]))
    assert torch.allclose(out[:, 2] - out[:, 0], torch.tensor(0.6))


def test_trust_is_shares() -> None:
    module = network("gru")
    h, beside = torch.randn(5, 11), torch.randn(5, module.head.beside)
    shares = module.head.trust(h, beside)
    assert shares.shape == (5, 6, 2)
    assert torch.allclose(shares.sum(-1), torch.ones(5, 6))


@pytest.mark.parametrize("levels", [(0.1, 0.5, 0.9), (0.05, 0.2, 0.5, 0.8), (0.5, 0.6, 0.9)])
def test_calibrated_quantiles_have_their_share_of_targets(levels) -> None:
    torch.manual_seed(0)
    head = ForecastHead(3, 5, 1, 2, levels)
    h, beside = torch.randn(2000, 3), torch.randn(2000, head.beside)
    with torch.no_grad():
        before = head(h, beside)
        target = before[..., head.middle] + 2.5 * torch.randn(2000, 5)
        target[::7] = torch.nan
        head.calibrate(before, target)
        after = head(h, beside)
    there = ~target.isnan()
    for q, level in enumerate(levels):
        if q != head.middle:
            assert abs((target < after[..., q])[there].double().mean() - level) < 2e-3
    assert torch.equal(before[..., head.middle], after[..., head.middle])


def test_nothing_is_calibrated_without_targets() -> None:
    head = ForecastHead(3, 5, 1, 2)
    head.calibrate(torch.randn(4, 5, 3), torch.full((4, 5), torch.nan))
    assert (head.k == 1).all()


def test_pinball_is_its_definition_and_leaves_out_what_is_missing() -> None:
    rng = generator("pinball")
    quantiles, target = rng.normal(size=(6, 4, 3)), rng.normal(size=(6, 4))
    target[rng.random((6, 4)) < 0.3] = np.nan
    levels = [0.1, 0.5, 0.8]
    terms = [
        level * (y - q) if y > q else (1 - level) * (q - y)
        for row, forecast in zip(target.ravel(), quantiles.reshape(-1, 3), strict=True)
        for y, q, level in zip([row] * 3, forecast, levels, strict=True)
        if not np.isnan(y)
    ]
    given_ = torch.tensor(quantiles, requires_grad=True)
    loss = pinball(given_, torch.tensor(target), torch.tensor(levels, dtype=torch.float64))
    assert float(loss.detach()) == pytest.approx(np.mean(terms))
    loss.backward()
    assert (given_.grad[torch.tensor(np.isnan(target))] == 0).all()
    assert (given_.grad[torch.tensor(~np.isnan(target))] != 0).all()
    nothing = pinball(given_, torch.full((6, 4), torch.nan), torch.tensor(levels))
    assert float(nothing.detach()) == 0


def test_dropout_only_acts_in_training() -> None:
    module = network("gru")
    module.head.dropout.p = 0.5
    x = torch.randn(5, 2, module.input_size)
    assert torch.equal(module(x)[0], module(x)[0])
    module.train()
    assert not torch.equal(module(x)[0], module(x)[0])


def test_a_reset_starts_anew() -> None:
    module = network("two layers")
    x = torch.randn(9, 2, module.input_size)
    reset = torch.zeros(9, 2, dtype=torch.bool)
    reset[4, 1] = True
    whole, _ = module(x, reset=reset)
    assert torch.allclose(whole[4:, 1], module(x[4:])[0][:, 1], atol=1e-6)
    assert torch.allclose(whole[:, 0], module(x)[0][:, 0], atol=1e-6)
    first, state = module(x[:4])
    second, _ = module(x[4:], state)
    assert torch.allclose(torch.cat([first, second])[:, 0], whole[:, 0], atol=1e-6)


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ShapeError, match="ForecastHead: sizes 3, 0, 1, 2, 32"):
        ForecastHead(3, 0, 1, 2)
    with pytest.raises(CellError):
        ForecastNetwork("gruu", 3, 4, horizon=2, known=0, seasons=1)
