"""Intervals by horizon, quantiles of any number, intervals that follow the stream, and paths."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import torch

from helpers import generator
from recurra import Forecaster
from recurra.errors import SessionError, SettingError
from recurra.tasks.forecasting.adaptive import Adaptive
from recurra.tasks.forecasting.residuals import GRID, Residuals, normal_scores, values_of
from recurra.torch.forecast import ForecastHead

T, N = 420, 5


def noisy() -> np.ndarray:
    """A level that wanders, so that later horizons are less certain."""
    return np.cumsum(generator("intervals").normal(size=T)) + 20


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return Forecaster(N, hidden=5, epochs=2, quantiles=(0.05, 0.2, 0.5, 0.8, 0.9), seasons=(7,), refit="train").fit(
        {"y": noisy()}, "y"
    )


def test_each_horizon_has_its_own_factor_where_there_are_enough_targets() -> None:
    """Against the definition: the score that a share of the scores, with one more, does not exceed."""
    M, levels = 1501, (0.2, 0.5, 0.7)
    head = ForecastHead(3, 2, 0, 1, levels)
    rng = generator("by horizon")
    given = np.sort(rng.normal(size=(M, 2, 3)), -1)
    y = rng.normal(size=(M, 2)) * [1.0, 6.0]
    y[::7, 0] = np.nan
    head.calibrate(torch.from_numpy(given), torch.from_numpy(y))
    for n in range(2):
        off = y[:, n] - given[:, n, 1]
        for q, share in ((0, 0.8), (2, 0.7)):
            scores = np.sort((off / (given[:, n, q] - given[:, n, 1]))[np.isfinite(off)])
            want = max(0.0, scores[int(np.ceil((len(scores) + 1) * share)) - 1])
            assert head.k[n, q].item() == pytest.approx(want, rel=1e-6)
    assert head.k[1, 0] > 3 * head.k[0, 0] > 0


def test_horizons_with_few_targets_are_calibrated_together() -> None:
    head = ForecastHead(3, 4, 0, 1, (0.5, 0.9))
    rng = generator("few")
    given = np.sort(rng.normal(size=(20, 4, 2)), -1)
    head.calibrate(torch.from_numpy(given), torch.from_numpy(rng.normal(size=(20, 4))))
    assert len(set(head.k[:, 1].tolist())) == 1
    assert head.k[0, 1] != 1


@pytest.mark.parametrize("quantiles", [(0.5,), (0.5, 0.9), (0.01, 0.1, 0.25, 0.5, 0.75, 0.99)])
def test_quantiles_of_any_number(quantiles) -> None:
    f = Forecaster(3, hidden=3, epochs=1, quantiles=quantiles, seasons=(), refit="train").fit({"y": noisy()}, "y")
    said = f.predict(origins="all")
    values = np.stack([said[f"q{q:g}"] for q in quantiles])
    assert (np.diff(values, axis=0) >= 0).all()
    rows = np.arange(294, 357 - 3)
    truth = noisy()[rows[:, None] + 1 + np.arange(3)]
    middle = said["q0.5"].reshape(T, 3)[rows]
    assert f.history_.epochs[0]["valid_mae"] == pytest.approx(np.abs(truth - middle).mean(), rel=1e-5)
    coverage = f.report_["table"][0]["coverage"]
    assert (coverage is None) == (len(quantiles) == 1)


def test_coverage_by_horizon_is_counted(fitted) -> None:
    said, y = fitted.predict(origins="all"), noisy()
    rows = np.arange(357, T - N)
    truth = y[rows[:, None] + 1 + np.arange(N)]
    low, high = (said[name].reshape(T, N)[rows] for name in ("q0.05", "q0.9"))
    want = ((truth >= low) & (truth <= high)).mean(0)
    assert fitted.report_["coverage_by_horizon"] == pytest.approx(want)
    assert fitted.report_["table"][0]["coverage"] == pytest.approx(want.mean())


def test_adapted_intervals_hold_after_the_world_has_changed(fitted) -> None:
    """Movements five times as large: the model's intervals are left far too often, those that follow are not."""
    y = np.cumsum(generator("wilder").normal(size=1000)) * 5
    still, follows = fitted.live(), fitted.live(adapt=0.05)
    inside = {False: [], True: []}
    residuals = []
    for t, value in enumerate(y[:-1]):
        for adapted, live in ((False, still), (True, follows)):
            quantiles = live.step({"y": value}).quantiles
            assert (np.diff(quantiles, axis=-1) >= 0).all()
            if t > 500:
                inside[adapted].append(quantiles[0, 0] <= y[t + 1] <= quantiles[0, -1])
        residuals.append(quantiles[0, 2])
    assert np.mean(inside[True]) == pytest.approx(0.85, abs=0.03)
    assert abs(np.mean(inside[False]) - 0.85) > abs(np.mean(inside[True]) - 0.85)


def test_the_shares_are_those_of_the_paper() -> None:
    """Gibbs and Candes' recursion by hand, one horizon, with a value that is missing."""
    rng, rate = generator("aci"), 0.03
    tails = np.stack([np.array(GRID) * 2, np.zeros(len(GRID)), np.array(GRID) + 0.1])
    known = Residuals(tails, np.array([1]), np.ones((1, 1)))
    adaptive = Adaptive(known, (0.1, 0.5, 0.8), 1, rate)
    share, said = {0: 0.9, 2: 0.8}, None
    for _ in range(60):
        y = rng.normal()
        if rng.random() < 0.2:
            y = np.nan
        if said is not None and y == y:
            share[0] += rate * ((y < said[0]) - 0.1)
            share[2] += rate * ((y > said[2]) - 0.2)
        adaptive.take(y)
        quantiles = np.sort(rng.normal(size=(1, 3)), -1)
        said = adaptive.give(quantiles)[0]
        for q, least in ((0, 0.9), (2, 0.8)):
            times = known.stretched(q, np.array(share[q])) / known.stretched(q, np.array(least))
            assert said[q] == pytest.approx(quantiles[0, 1] + times * (quantiles[0, q] - quantiles[0, 1]))
    assert share[0] != 0.9


def test_a_snapshot_has_the_state_of_what_follows(fitted) -> None:
    y = 3 * noisy()
    live = fitted.live(adapt=0.02)
    for value in y[:60]:
        live.step({"y": value})
    state = live.snapshot()
    again = fitted.live(adapt=0.02)
    again.restore(state)
    for value in (*y[60:70], float("nan"), *y[70:80]):
        assert np.array_equal(live.step({"y": value}).quantiles, again.step({"y": value}).quantiles)
    for other in (fitted.live(), fitted.live(adapt=0.03)):
        with pytest.raises(SessionError):
            other.restore(state)


def test_what_cannot_adapt_says_so(fitted) -> None:
    for rate in (0, 1.0, -0.1, "fast", True):
        with pytest.raises(SettingError, match=r"adapt: rate=.*expected"):
            fitted.live(adapt=rate)
    live = fitted.live()
    live.step({"y": 1.0})
    with pytest.raises(SessionError, match="before the first"):
        live.adapt(0.01)


def test_scores_and_values_are_inverse() -> None:
    levels = (0.1, 0.5, 0.8)
    quantiles = np.sort(generator("scores").normal(size=(4, 3)), -1)
    z = generator("z").normal(size=(9, 4))
    tiled = np.tile(quantiles, (9, 1, 1))
    assert normal_scores(values_of(z, quantiles, levels), tiled, levels) == pytest.approx(z)
    at = np.array([NormalDist().inv_cdf(level) for level in levels])
    assert values_of(np.tile(at[:, None], (1, 4)), quantiles, levels) == pytest.approx(quantiles.T)


@pytest.mark.parametrize("horizon", [7, 130])
def test_paths_have_the_spread_and_the_memory_of_errors(horizon) -> None:
    """Errors of an autoregression: the correlation of any two horizons is known, between the knots too."""
    rng, M, rho = generator("copula"), 4000, 0.97
    errors = np.zeros((M, horizon))
    errors[:, 0] = rng.normal(size=M)
    for n in range(1, horizon):
        errors[:, n] = rho * errors[:, n - 1] + np.sqrt(1 - rho**2) * rng.normal(size=M)
    levels = (0.1, 0.5, 0.9)
    width = np.linspace(1, 4, horizon)
    at = np.array([NormalDist().inv_cdf(level) for level in levels])
    quantiles = np.tile(width[:, None] * at, (M, 1, 1))
    known = Residuals.fit([(errors * width, quantiles)], levels)
    known = Residuals.from_dict(known.to_dict(), horizon, 3)
    drawn = known.paths(quantiles[0], levels, 6000, seed=1)
    assert drawn.std(0) == pytest.approx(width, rel=0.06)
    near, far = (np.corrcoef(drawn[:, 2], drawn[:, 2 + k])[0, 1] for k in (1, 4))
    assert near == pytest.approx(rho, abs=0.02)
    assert far == pytest.approx(rho**4, abs=0.04)


def test_a_live_session_draws_the_same_paths(fitted) -> None:
    live = fitted.live()
    for value in noisy():
        forecast = live.step({"y": value})
    table = fitted.paths(count=30, seed=4)
    drawn = table["value"].reshape(30, N)
    assert np.array_equal(forecast.paths(30, seed=4), drawn)
    assert table["path"].reshape(30, N)[:, 0].tolist() == list(range(1, 31))
    assert table["horizon"].tolist() == [1, 2, 3, 4, 5] * 30
    assert np.corrcoef(drawn[:, 3], drawn[:, 4])[0, 1] > 0.5  # of a random walk's errors
    for count in (0, 2.5, True, 10**6):
        with pytest.raises(SettingError, match="paths: count="):
            fitted.paths(count=count)


def test_of_counts_everything_is_a_count(tmp_path) -> None:
    """Forecasts, paths and a live session's adapted intervals; of anything else nothing is rounded."""
    rng = generator("counts")
    mean = np.exp(0.3 + np.sin(np.arange(400) / 4))
    y = rng.poisson(mean).astype(float)
    y[rng.random(400) < 0.03] = np.nan
    how = {"horizon": 5, "hidden": 4, "epochs": 3, "seasons": (25,), "refit": "train"}
    f = Forecaster(**how).fit({"y": y}, "y", evaluate=False)
    f.save(tmp_path / "c.recurra")
    said = f.predict(origins="all")
    numbers = np.stack([said[q] for q in ("q0.1", "q0.5", "q0.9")])
    known = numbers[np.isfinite(numbers)]
    assert (known == np.rint(known)).all()
    assert (known >= 0).all()
    assert len(np.unique(known)) > 3
    paths = f.paths(count=20)["value"]
    assert set(paths) <= set(range(50))
    live = Forecaster.load(tmp_path / "c.recurra").live()
    live.adapt()
    for row in y[:60]:
        answer = live.step({"y": row})
    assert np.isin(answer.quantiles, np.arange(50)).all()
    half = Forecaster(**how).fit({"y": y + 0.5}, "y", evaluate=False).predict()["q0.5"]
    assert (half != np.rint(half)).any()
