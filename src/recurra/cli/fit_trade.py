"""`recurra fit trade`: from prices to positions, year after year."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recurra.cli.fit import (
    DATA,
    MODEL,
    Cell,
    Epochs,
    Hidden,
    Layers,
    Out,
    Report,
    Resume,
    Seed,
    Time,
    fit,
)
from recurra.cli.training import names, train

ACCOUNT, YEARS = "Account", "Years"


@fit.command()
def trade(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A table of prices: CSV with a header line, or Parquet.", show_default=False
        ),
    ],
    target: Annotated[
        str,
        typer.Option(
            help="What is learned: position (trained on log wealth after costs), return, sign or variance.",
            rich_help_panel=DATA,
        ),
    ] = "position",
    time: Time = None,
    asset: Annotated[
        str | None,
        typer.Option(
            help="The column that says which asset a row is of; without: one asset, or a column of closes for each.",
            rich_help_panel=DATA,
            metavar="COLUMN",
        ),
    ] = None,
    prices: Annotated[
        str,
        typer.Option(
            help="The close; or open,high,low,close; or the closes of several assets; without: by their names.",
            rich_help_panel=DATA,
            metavar="COLUMNS",
        ),
    ] = "",
    inputs: Annotated[
        str,
        typer.Option(
            help="More columns that are known at the close of a bar, with commas between.",
            rich_help_panel=DATA,
            metavar="COLUMNS",
        ),
    ] = "",
    calendar: Annotated[
        str | None,
        typer.Option(
            help="An exchange (XNYS) whose sessions are held against the bars.", rich_help_panel=DATA, metavar="NAME"
        ),
    ] = None,
    benchmark: Annotated[
        Path | None,
        typer.Option(help="A table of one more price on the same dates, to be held beside.", rich_help_panel=DATA),
    ] = None,
    years: Annotated[int, typer.Option(help="Before the first that is judged.", rich_help_panel=YEARS)] = 5,
    rolling: Annotated[
        bool,
        typer.Option("--rolling", help="Leave the first year out when one is added.", rich_help_panel=YEARS),
    ] = False,
    embargo: Annotated[int, typer.Option(help="Bars left out between parts.", rich_help_panel=YEARS)] = 5,
    cost: Annotated[float, typer.Option(help="Basis points of what is traded.", rich_help_panel=ACCOUNT)] = 10.0,
    slippage: Annotated[float, typer.Option(help="More of them.", rich_help_panel=ACCOUNT)] = 0.0,
    delay: Annotated[int, typer.Option(help="Bars from a position to when it is taken.", rich_help_panel=ACCOUNT)] = 1,
    short: Annotated[
        bool, typer.Option("--short", help="Positions may be below zero.", rich_help_panel=ACCOUNT)
    ] = False,
    tries: Annotated[
        int,
        typer.Option(help="Models, settings and data that were tried in all before this one.", rich_help_panel=ACCOUNT),
    ] = 1,
    cell: Cell = "gru",
    hidden: Hidden = 16,
    layers: Layers = 1,
    epochs: Epochs = None,
    seed: Seed = 0,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """A position after every bar, judged year after year, after costs.

    Each year is judged by a network that learned from the years before it. The
    account of all these years is set beside the same assets held, momentum and a
    ridge, with intervals; "no edge was found" is the usual answer on daily
    prices. Everything after some days is replaced by noise, and the positions up
    to them must keep their bits. Then the network is trained once more on all.

    \b
    recurra fit trade prices.csv --cost 10 --calendar XNYS --out prices.recurra --report report.html
    """
    from recurra.cells.script import load_cell
    from recurra.tasks.trading.trader import Trader

    how: dict[str, Any] = {"cost": cost, "slippage": slippage, "delay": delay, "short": short, "years": years}
    how |= {"rolling": rolling, "embargo": embargo, "tries": tries, "epochs": epochs, "seed": seed}
    model = Trader(target, load_cell(cell), hidden, layers, **how)
    roles = {"time": time, "asset": asset, "columns": names(prices) or None, "inputs": names(inputs)}
    train(model, file, out, report, resume, calendar=calendar, benchmark=benchmark, **roles)
