"""The linear forecast beside the network: how far back it looks, and that it is a ridge regression."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from helpers import generator
from recurra.data import Features, as_table, series_of, split_by_time
from recurra.data.forecasting.trend import PENALTIES, Trend, windows_for

N = 24


def echo(delay: int, T: int = 1600) -> np.ndarray:
    """Steps of which each is mostly that of `delay` steps before."""
    steps = generator(delay).normal(size=T)
    for t in range(delay, T):
        steps[t] = 0.9 * steps[t - delay] + 0.3 * steps[t]
    return steps.cumsum()


@pytest.mark.parametrize(("delay", "window"), [(40, 48), (90, 96), (181, 192)])
def test_the_window_reaches_back_as_far_as_the_past_matters(delay, window) -> None:
    series = series_of(as_table({"y": echo(delay)}), "y")
    features = Features.fit(series, split_by_time(series, horizon=N), horizon=N, seasons=())
    assert features.trend is not None
    assert windows_for(N, (), 1120) == (48, 96, 192)
    assert features.trend.lags >= window
    live = features.live()
    rows = [live.push(t, y) for t, y in enumerate(series[0].target[:300])]
    assert np.stack(rows).tobytes() == features.rows(series[0], 0, 300).tobytes()


def test_a_short_training_part_has_a_short_window() -> None:
    assert windows_for(N, (), 191) == (48,)
    assert windows_for(N, (), 384) == (48, 96)


def test_it_is_a_ridge_regression_on_the_newest_values() -> None:
    rng = generator(0)
    x = rng.normal(size=(500, 30)).astype(np.float32)
    x[:, -1] = 0  # relative to the last value
    y = (x[:, -5:] @ rng.normal(size=(5, 3)) + 0.1 * rng.normal(size=(500, 3))).astype(np.float32)
    y[rng.random(500) < 0.1, 1] = np.nan
    trend = Trend.fit([(x[:200], y[:200]), (x[200:], y[200:])], 3, (10, 30))
    assert trend.lags == 10  # the older 20 only add noise
    there = ~np.isnan(y).any(1)
    newest = x[there, -10:].astype(np.float64)
    found = []
    for penalty in PENALTIES:
        alpha = penalty * (newest**2).sum() / 10 + 1e-9
        found.append(Ridge(alpha=alpha, fit_intercept=False).fit(newest, y[there].astype(np.float64)).coef_)
    assert min(np.abs(trend.weights - one).max() for one in found) < 1e-5
