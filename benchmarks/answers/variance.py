"""The S&P 500's variance of the next day, 2010 to 2018, by the range of the day (Parkinson 1980): `arch` has the data.

Every year is forecast by what was learned of the years before it, from 1999 on. EWMA is RiskMetrics' (0.94), log-HAR
(Corsi 2009) a regression of the log of variance on its means over a day, a week and a month, fitted anew each year.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import recurra
from benchmarks.answers.row import Metric, Row

FIRST, LAST = 2010, 2018
BEFORE = FIRST - 1999
Array = NDArray[Any]


def read() -> Any:
    """A frame of days: Open, High, Low, Close."""
    from arch.data import sp500

    return sp500.load()[["Open", "High", "Low", "Close"]]


def parkinson(data: Any) -> Array:
    return np.asarray(np.log(data["High"] / data["Low"]) ** 2 / (4 * np.log(2)))


def qlike(variance: Array, forecast: Array) -> tuple[float]:
    ratio = variance / forecast
    return (float(np.mean(ratio - np.log(ratio) - 1)),)


def ewma(data: Any) -> tuple[float]:
    variance, test = parkinson(data), data.index.year >= FIRST
    mean = np.empty(len(variance))
    mean[0] = variance[0]
    for t in range(1, len(variance)):
        mean[t] = 0.94 * mean[t - 1] + 0.06 * variance[t]
    return qlike(variance[1:][test[1:]], mean[:-1][test[1:]])


def har(data: Any) -> tuple[float]:
    variance, year = parkinson(data), np.asarray(data.index.year)
    log = np.log(variance)
    rows = [np.convolve(log, np.ones(n) / n)[: len(log)] for n in (1, 5, 22)]
    x, y, year = np.stack([np.ones(len(log)), *rows], 1)[21:-1], log[22:], year[22:]
    forecast = np.empty(len(y))
    for one in range(FIRST, LAST + 1):
        past = year < one
        b = np.linalg.lstsq(x[past], y[past], rcond=None)[0]
        smear = np.exp(y[past] - x[past] @ b).mean()
        forecast[year == one] = np.exp(x[year == one] @ b) * smear
    test = year >= FIRST
    return qlike(np.exp(y[test]), forecast[test])


def trader(data: Any) -> tuple[float]:
    """`recurra.Trader` as it is made, of variance."""
    report = recurra.Trader("variance", years=BEFORE, refit=False).fit(data).report_
    return (report["scores"]["GRU"]["qlike"],)


ROW = Row(
    name="variance",
    data="S&P 500, variance of the next day",
    split=f"1999 on; each year of {FIRST} to {LAST}",
    metrics=(Metric("QLIKE", reach=0.400),),
    read=read,
    naive=ewma,
    simple=har,
    ours=trader,
)
