"""M4 Weekly: 359 series of 80 to 2,597 weeks, the next 13 (Makridakis 2018)."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

import recurra
from benchmarks.answers.row import Metric, Row, shared

HORIZON, BACK = 13, 26
Array = NDArray[Any]


@dataclass(frozen=True)
class Weeks:
    """Series by name, and what followed [13]."""

    past: dict[str, Array]
    future: dict[str, Array]


def read() -> Weeks:
    parts = []
    for part in ("train", "test"):
        with gzip.open(shared(f"m4_weekly/Weekly-{part}.csv.gz"), "rt") as file:
            rows = list(csv.reader(file))[1:]
        parts.append({row[0]: np.array([float(v) for v in row[1:] if v]) for row in rows})
    return Weeks(*parts)


def scale(past: Array) -> float:
    """The mean change from week to week, in which MASE counts."""
    return float(np.abs(np.diff(past)).mean())


def error(data: Weeks, forecasts: dict[str, Array]) -> tuple[float]:
    """The mean absolute scaled error."""
    each = [np.abs(forecasts[name] - data.future[name]).mean() / scale(past) for name, past in data.past.items()]
    return (float(np.mean(each)),)


def naive(data: Weeks) -> tuple[float]:
    """The last value."""
    return error(data, {name: np.repeat(past[-1], HORIZON) for name, past in data.past.items()})


def linear(data: Weeks) -> tuple[float]:
    """One ridge regression for all series, on the differences to the last value."""
    x, y = [], []
    for past in data.past.values():
        rows = np.lib.stride_tricks.sliding_window_view(past, BACK + HORIZON)
        last = rows[:, BACK - 1 : BACK]
        x.append((rows[:, :BACK] - last) / scale(past))
        y.append((rows[:, BACK:] - last) / scale(past))
    model = Ridge().fit(np.concatenate(x), np.concatenate(y))
    return error(
        data,
        {
            name: past[-1] + scale(past) * model.predict((past[None, -BACK:] - past[-1]) / scale(past))[0]
            for name, past in data.past.items()
        },
    )


def forecaster(data: Weeks) -> tuple[float]:
    """`recurra.Forecaster` as it is made; the series say nothing of when they were, so each is cut by itself."""
    table = {
        "series": np.concatenate([[name] * len(past) for name, past in data.past.items()]),
        "value": np.concatenate(list(data.past.values())),
    }
    model = recurra.Forecaster(HORIZON, refit="train").fit(table, "value", series="series", evaluate=False)
    found = model.predict()
    return error(data, {name: found["q0.5"][found["series"] == name] for name in data.past})


ROW = Row(
    name="weekly",
    data="M4 Weekly, 359 series, 13 weeks ahead",
    split="the competition's",
    metrics=(Metric("MASE, m = 1", reach=2.3),),
    read=read,
    naive=naive,
    simple=linear,
    ours=forecaster,
)
