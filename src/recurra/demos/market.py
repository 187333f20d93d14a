"""`run_market_demo`: from the prices of twenty stocks to positions, year after year, and to a live session."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.errors import RecurraError, need

if TYPE_CHECKING:
    from rich.console import Console

SOURCE = "20 stocks of the S&P 500 and the index, daily closes from 2006 to 2022, of skfolio"
FIRST = "2006-01-01"
YEARS = 8
SHOWN = 4


def run_market_demo(
    folder: str | os.PathLike[str] = ".",
    *,
    seed: int = 0,
    epochs: int | None = 6,
    console: Console | None = None,
    first: str = FIRST,
    assets: int | None = None,
) -> dict[str, Any]:
    """Walk forward over the years, write `trade.recurra` and `report.html` into a folder, and replay a month live.

    Args:
        folder: made if it is not there.
        seed: of the weights and of training.
        epochs: see `recurra.Trader`.
        console: of Rich, to print to.
        first: the day from which prices are taken.
        assets: only the first so many, for a quick look; None: all.

    Returns:
        The report.

    Raises:
        MissingExtraError: a package of the extras train, data, draw and trade is not installed.
        OSError: a file cannot be written.
    """
    from recurra.report import write_report
    from recurra.report.terminal import tell
    from recurra.tasks.estimator import open_model
    from recurra.tasks.trading.trader import Trader
    from recurra.terminal import Terminal

    began = time.perf_counter()
    need("the demo", "torch", "sklearn", "matplotlib", "jinja2", "skfolio", "arch", extra="train,data,draw,trade")
    console, place = console or Terminal(), Path(folder)
    prices, index = load_prices(first)
    prices = dict(list(prices.items())[: None if assets is None else assets + 1])
    place.mkdir(parents=True, exist_ok=True)
    console.print(f"[bold]1[/]  {len(prices['time']):,} days of {SOURCE}: a position in each stock after every close.")
    console.print(f"   Each year from the {YEARS + 1}th on is judged by what was learned of the years before it.")
    trader = Trader(epochs=epochs, seed=seed, years=YEARS)
    with console.status("training, year after year"):
        trader.fit(prices, benchmark=index)
    console.print(f"[bold]2[/]  Trained in {trader.report_['seconds']['total']:.0f} s. The account, and what it says:")
    tell(console, trader)
    if "failed" in trader.report_:
        raise RecurraError(f"the demo: {trader.report_['failed']}")
    file, page = place / "trade.recurra", place / "report.html"
    trader.save(file)
    trader.report_["model_file"], trader.report_["data"]["source"] = file.name, SOURCE
    write_report(trader.report_, page, trader.model_)
    console.print(f"[bold]3[/]  Written: {file} ({file.stat().st_size / 1024:.0f} KiB) and {page}")
    console.print("[bold]4[/]  The same bars, live, a day in and positions out; of the last days:")
    live, names = open_model(file).live(), [name for name in prices if name != "time"]
    days = [str(day) for day in prices["time"]]
    rows = zip(*(prices[name].tolist() for name in names), strict=True)
    for t, (day, row) in enumerate(zip(days, rows, strict=True), 1):
        answer = live.step({"time": day, **dict(zip(names, row, strict=True))})
        if t > len(days) - SHOWN:
            shown = ", ".join(f"{name} {answer[name]:.2f}" for name in names[:SHOWN])
            console.print(f"   {day}  {shown} ...", highlight=False)
    whole = trader.predict(prices)
    same = [answer[name] for name in names] == whole["position"].tolist()
    console.print(f"   the last positions are {'' if same else 'not '}those of predict, to the last bit")
    console.print(f"   {time.perf_counter() - began:.0f} seconds in all.")
    return dict(trader.report_)


def load_prices(first: str = FIRST) -> tuple[dict[str, Any], dict[str, Any]]:
    """The closes of twenty stocks, and of the index, by name, with their days as `time`.

    Raises:
        MissingExtraError: skfolio is not installed.
    """
    need("the prices of the demo", "skfolio", extra="trade")
    from skfolio.datasets import load_sp500_dataset, load_sp500_index

    found = []
    for frame in (load_sp500_dataset(), load_sp500_index()):
        days = frame.index.to_numpy().astype("datetime64[D]")
        there = days >= np.datetime64(first)
        found.append({"time": days[there], **{name: frame[name].to_numpy()[there] for name in frame.columns}})
    stocks, index = found
    return stocks, index
