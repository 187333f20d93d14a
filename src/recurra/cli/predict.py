"""`recurra predict`: forecasts of a table, in a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Origins(StrEnum):
    """From where to forecast."""

    last = "last"
    all = "all"


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file of `recurra fit`.", show_default=False)],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A table with the columns that the model was fitted to.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where to write: CSV, or Parquet by its ending.")] = Path("forecasts.csv"),
    origins: Annotated[
        Origins, typer.Option(help="After the last observation of each series, or after all of them.")
    ] = Origins.last,
) -> None:
    """Forecast what follows the last observation of each series in a table.

    Rows after the last observation may say what is known ahead: leave their
    target and past columns empty. Where they do not, the value of a week before
    is taken, or the last. One row is written for each step ahead: the series,
    the origin (the time of the observation), the time, the step, and the
    quantiles, in the target's units.

    The numbers are those of `recurra stream`, to the last bit.

    \b
    recurra predict demand.recurra this_year.csv --out tomorrow.csv
    """
    from recurra.data.writers import write_table
    from recurra.files import check_writable
    from recurra.tasks.forecast import Forecaster

    check_writable(out)
    forecaster = Forecaster.load(model)
    forecasts = forecaster.predict(file, origins.value)
    write_table(out, forecasts, forecaster.transform_.clock)
    typer.echo(f"wrote {out}: {len(forecasts['time'])} rows")
