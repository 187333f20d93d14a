"""The report of a trader: the account and its verdict first, then years, the network and the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recurra.formatting import plain
from recurra.report.fit import against_baselines, data_of, parity, shown, the_network, training
from recurra.report.page import Section, Text, render

NOTES = (
    "All after costs and delay. Sharpe ratios are a year's, with a 95 % interval by the stationary bootstrap (Politis "
    "and Romano 1994); deflated: the probability that a ratio is above what so many tries without skill would show "
    "(Bailey and Lopez de Prado 2014). Equal weight goes back to equal parts after every bar, bought and held never "
    "trades again."
)


def trade_page(report: Mapping[str, Any], model: Any = None) -> str:
    """The page as text.

    Args:
        report: what `recurra.Trader.report_` has.
        model: the network, to be drawn unrolled: what `recurra.draw.network` takes.

    Raises:
        MissingExtraError: Matplotlib or Jinja2 is not installed.
    """
    more = [training(report, "loss"), the_network(report, model, "a head with a linear forecast of variance beside it")]
    return render(report["title"], [*_account(report), *more, *_data(report), parity(report)], report["verdict"])


def account_page(report: Mapping[str, Any]) -> str:
    """The page of `recurra.Trader.backtest`.

    Raises:
        MissingExtraError: Matplotlib or Jinja2 is not installed.
    """
    return render(report["title"], [*_account(report), *_data(report)], report["verdict"])


def _account(report: Mapping[str, Any]) -> list[Section]:
    if not report["table"]:
        return []
    table = against_baselines(report, report["metrics"], NOTES)
    found = [Section("The account", table.parts)]
    return found + [section for one in report["sections"] for section in shown(one)]


def _data(report: Mapping[str, Any]) -> list[Section]:
    if report["data"]["parts"]:
        return [Section("The data", data_of(report["data"]))]
    facts = ", ".join(f"{name} {plain(report['data'][name])}" for name in ("assets", "bars"))
    return [Section("The data", [Text(f"{facts}."), *map(Text, report["data"]["notes"])])]
