"""`recurra compare`: which network, if any, for a forecast from this table."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer

from recurra.compare.settings import Settings

DEFAULTS = Settings()


def compare(
    file: Annotated[Path, typer.Argument(help="A CSV or Parquet file, one row for each time (and series).")],
    target: Annotated[str, typer.Option(help="The column to forecast.")],
    horizon: Annotated[int, typer.Option(help="How many steps to forecast.")],
    time: Annotated[str | None, typer.Option(help="The column of times; otherwise it is found by its name.")] = None,
    known_ahead: Annotated[str, typer.Option(help="Columns known ahead of time, separated by commas.")] = "",
    past: Annotated[str, typer.Option(help="Columns known up to the time of forecasting, separated by commas.")] = "",
    series: Annotated[str | None, typer.Option(help="The column that names the series of each row.")] = None,
    zone: Annotated[str | None, typer.Option(help="The time zone of the clock on the wall, as Europe/Berlin.")] = None,
    budget: Annotated[str, typer.Option(help="Time for everything: 90s, 10m, 1.5h.")] = str(DEFAULTS.budget),
    candidates: Annotated[
        str, typer.Option(help="Names separated by commas, cells of the zoo or my_cells.py:my_cell; all if not given.")
    ] = "",
    seeds: Annotated[int, typer.Option(help="How often each is trained after tuning.")] = DEFAULTS.seeds,
    trials: Annotated[int, typer.Option(help="Tuning trials of each candidate.")] = DEFAULTS.trials,
    parameters: Annotated[int, typer.Option(help="Of every network, within 5 %.")] = DEFAULTS.parameters,
    out: Annotated[Path, typer.Option(help="Folder of compare.json, report.html and the model.")] = Path("compare"),
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster (RAY_ADDRESS).")] = DEFAULTS.engine,
    workers: Annotated[int | None, typer.Option(help="Trainings at a time; one for each core if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = DEFAULTS.seed,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the comparison in the folder.")] = False,
) -> None:
    """Compare naive forecasts, a linear model, feedforward, convolution, attention and recurrent networks on your data.

    All have the same splits, features, loss, number of parameters and tuning trials; the naive ones are always there,
    and "use no network" can be the answer. Ctrl-C keeps what is finished; --resume goes on.
    """
    from rich.console import Console

    from recurra.compare import forecasters
    from recurra.compare.progress import Board
    from recurra.compare.table import show

    with Board() as board:
        found = forecasters(
            file,
            target,
            horizon,
            time=time,
            known_ahead=_names(known_ahead),
            past=_names(past),
            series=series,
            zone=zone,
            watch=board,
            budget=budget,
            candidates=_names(candidates) or None,
            seeds=seeds,
            trials=trials,
            parameters=parameters,
            out=out,
            engine=engine,
            workers=workers,
            seed=seed,
            resume=resume,
        )
    console = Console(width=None if Console().is_terminal else 200)
    show(found, console)
    console.print(f"\n{out}: compare.json, report.html{', ' + found.model if found.model else ''}", highlight=False)


def _names(text: str) -> list[str]:
    """Names between commas; a name with a comma in it is put between quotes."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])] if text.strip() else []
