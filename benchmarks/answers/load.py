"""ETTh1: seven series of an electricity transformer, hourly, forecast 96 to 720 hours ahead (Zhou 2021).

12, 4 and 4 months for training, validation and test, each column scaled by the training part, as is usual.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

import recurra
from benchmarks.answers.row import Metric, Row, shared

HORIZONS, BACK = (96, 192, 336, 720), 336
TRAIN, VALID, TEST = (30 * 24 * months for months in (12, 16, 20))  # where each part ends
WARM_UP = 30 * 24  # hours before the test part from which ours takes its state
Array = NDArray[Any]


def read() -> Any:
    """The table up to the end of the test part."""
    import pandas as pd

    return pd.read_csv(shared("ETTh1.csv"), parse_dates=["date"]).iloc[:TEST]


def scaled(table: Any) -> Array:
    """All columns [T, 7] in standard deviations of the training part."""
    x = table.drop(columns="date").to_numpy()
    return (x - x[:TRAIN].mean(0)) / x[:TRAIN].std(0)


def windows(x: Array, horizon: int, start: int, stop: int) -> tuple[Array, Array]:
    """[M, 7, back] and [M, 7, horizon]: every window whose forecast lies in start .. stop - 1."""
    at = np.arange(start, stop - horizon + 1)
    before = np.lib.stride_tricks.sliding_window_view(x, BACK, 0)[at - BACK]
    return before, np.lib.stride_tricks.sliding_window_view(x, horizon, 0)[at]


def over_horizons(answer: Callable[[Any, int], float]) -> Callable[[Any], tuple[float, ...]]:
    """The error of an answer at each horizon, and their mean."""

    def all_of(table: Any) -> tuple[float, ...]:
        errors = [answer(table, horizon) for horizon in HORIZONS]
        return (*errors, float(np.mean(errors)))

    return all_of


def naive(table: Any, horizon: int) -> float:
    """The last value."""
    before, after = windows(scaled(table), horizon, VALID, TEST)
    return float(((before[..., -1:] - after) ** 2).mean())


def linear(table: Any, horizon: int) -> float:
    """One ridge regression for all columns, on the differences to the last value."""
    x = scaled(table)
    (before, after), (test_before, test_after) = windows(x, horizon, BACK, TRAIN), windows(x, horizon, VALID, TEST)

    def flat(part: Array, last: Array) -> Array:
        return (part - last[..., -1:]).reshape(-1, part.shape[-1])

    model = Ridge().fit(flat(before, before), flat(after, before))
    found = model.predict(flat(test_before, test_before))
    return float(((found - flat(test_after, test_before)) ** 2).mean())


def forecaster(table: Any, horizon: int) -> float:
    """`recurra.Forecaster` as it is made, one series a column."""
    long = table.melt("date", var_name="column", value_name="value")
    dates, columns = table["date"], [name for name in table if name != "date"]
    began = time.perf_counter()
    model = recurra.Forecaster(horizon, parts=(str(dates[TRAIN]), str(dates[VALID])), refit="train").fit(
        long, "value", time="date", series="column", evaluate=False
    )
    print(f"load: {horizon} hours ahead fitted in {time.perf_counter() - began:.0f} s")
    spread = table[:TRAIN].drop(columns="date").std(ddof=0)
    total, count = 0.0, 0
    for name in columns:
        recent = long[(long["column"] == name) & (long["date"] >= dates[VALID - WARM_UP])]
        found = model.predict(recent, origins="all")
        found = found[(found["origin"] >= dates[VALID - 1]) & (found["origin"] < dates[TEST - horizon])]
        truth = table.set_index("date")[name].reindex(found["time"]).to_numpy()
        error = (found["q0.5"].to_numpy() - truth) / spread[name]
        total, count = total + float((error**2).sum()), count + len(error)
    assert count == len(columns) * horizon * (TEST - VALID - horizon + 1)
    return total / count


ROW = Row(
    name="load",
    data="ETTh1, 7 series, 96, 192, 336 and 720 hours ahead",
    split="12, 4 and 4 months",
    metrics=(
        *(Metric(f"MSE, scaled, at {horizon}") for horizon in HORIZONS),
        Metric("their mean", reach=0.395, recurrent=0.397),
    ),
    read=read,
    naive=over_horizons(naive),
    simple=over_horizons(linear),
    ours=over_horizons(forecaster),
)
