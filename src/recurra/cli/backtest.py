"""`recurra backtest`: the account of a trader's model on prices that it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recurra.errors import ModelFileError
from recurra.terminal import Terminal


def backtest(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file of `recurra fit trade`.", show_default=False)
    ],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Prices, with the columns that the model was fitted to.", show_default=False
        ),
    ],
    cost: Annotated[float | None, typer.Option(help="Basis points of what is traded; without: as in `fit`.")] = None,
    delay: Annotated[
        int | None, typer.Option(help="Bars from a position to when it is taken; without: as in `fit`.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="A page (HTML) of the account.")] = None,
) -> None:
    """What a trader's positions come to on other prices, after costs and delay.

    Nothing is learned. The same assets held and momentum are beside it, with
    intervals, and the proof that no position knows what comes after it. Bars that
    the model was trained on are counted, and said.

    \b
    recurra backtest prices.recurra prices_of_this_year.csv --cost 5
    """
    from recurra.files import check_writable
    from recurra.report.terminal import table_of
    from recurra.tasks.estimator import open_model
    from recurra.tasks.trading.trader import Trader

    if report is not None:
        check_writable(report, model, file)
    trader = open_model(model)
    if not isinstance(trader, Trader):
        raise ModelFileError(f"{model}: its task is {trader.task.name!r}, expected a model of `recurra fit trade`")
    found = trader.backtest(file, cost=cost, delay=delay)
    console = Terminal()
    for note in found["data"]["notes"]:
        console.print(f"note: {note}", highlight=False, markup=False)
    console.print(table_of(found["metrics"], found["table"], "after costs"))
    for sentence in found["verdict"]:
        console.print(sentence, highlight=False, markup=False)
    if report is not None:
        from recurra.report.page import write
        from recurra.report.trade import account_page

        write(account_page(found), report)
        console.print(f"wrote {report}", highlight=False, markup=False)
