"""Twenty stocks of the S&P 500 and the index, 1990 to 2022 (`skfolio` has them): positions year after year, at 10 bp.

Nobody is known to have found an edge in them; what counts is that the account is honest: the index, the same stocks
held (they are survivors, which no one knew in 1990), ours, and that no bit of a position knows what came after it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import recurra
from benchmarks.answers.row import Metric, Row
from recurra.demos.market import load_prices

YEARS = 5


def read() -> tuple[dict[str, Any], dict[str, Any]]:
    return load_prices("1990-01-01")


def yearly(closes: Any, days: Any) -> float:
    """Per cent a year, bought and held in equal parts from the first year that is judged."""
    judged = days >= np.datetime64(f"{days[0].astype('datetime64[Y]') + YEARS}", "D")
    wealth = (closes[judged][-1] / closes[judged][0]).mean()
    return float(100 * (wealth ** (365.25 / (days[judged][-1] - days[judged][0]).astype(int)) - 1))


def index(data: Any) -> tuple[float, float]:
    _, benchmark = data
    return yearly(benchmark["SP500"][:, None], benchmark["time"]), 0.0


def held(data: Any) -> tuple[float, float]:
    stocks, _ = data
    return yearly(np.stack([v for name, v in stocks.items() if name != "time"], 1), stocks["time"]), 0.0


def trader(data: Any) -> tuple[float, float]:
    """`recurra.Trader` as it is made, of positions; what it says is printed."""
    stocks, benchmark = data
    report = recurra.Trader(years=YEARS, refit=False).fit(stocks, benchmark=benchmark).report_
    for row in report["table"]:
        print({name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()})
    print("\n".join(report["verdict"]))
    return 100 * report["table"][0]["yearly"], 0.0 if report["proof"] else 1.0


ROW = Row(
    name="stocks",
    data="20 stocks and the index, a year at a time",
    split="1990 on; each year from 1995 on, 10 bp",
    metrics=(Metric("% a year", less=False), Metric("proofs that fail", reach=0.0)),
    read=read,
    naive=index,
    simple=held,
    ours=trader,
)
