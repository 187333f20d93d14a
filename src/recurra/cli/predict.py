"""`recurra predict`: the answers of a model to a table, in a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Origins(StrEnum):
    """After which steps to answer."""

    last = "last"
    all = "all"


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file of `recurra fit`.", show_default=False)],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A table with the columns that the model was fitted to, or a folder of Parquet files.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where to write: CSV, or Parquet by its ending.")] = Path("predictions.csv"),
    origins: Annotated[
        Origins | None,
        typer.Option(
            help="After the last observation of each series or sequence, or after all of them; without: the last, or "
            "all where the model learned a value for each step.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster (RAY_ADDRESS).")] = "local",
    workers: Annotated[int | None, typer.Option(help="Of Ray; without: one for each core.", show_default=False)] = None,
) -> None:
    """Write what a model says of a table: forecasts, labels with their probabilities, or numbers.

    The file knows its task and its columns. A forecaster writes one row for each
    step ahead: the series, the origin (the time of the observation), the time,
    the step, and the quantiles, in the target's units. Rows after the last
    observation may say what is known ahead: leave their target and past columns
    empty. Where they do not, the value of a week before is taken, or the last.
    Any other model writes one row for each sequence, or for each of its steps.

    The numbers are those of `recurra stream`, to the last bit. Of Parquet whose
    rows are series after series only some series are in memory at a time.

    \b
    recurra predict demand.recurra this_year.csv --out tomorrow.csv
    """
    from recurra.cluster import chosen_engine
    from recurra.data.writers import write_table
    from recurra.files import check_writable
    from recurra.tasks.estimator import open_model
    from recurra.tasks.scoring import score

    on_ray = chosen_engine("predict", engine, workers, "pyarrow", "pandas")
    check_writable(out, file, model)
    if on_ray:
        from recurra.tasks.scoring_on_ray import score_on_ray

        typer.echo(f"wrote {out}: {score_on_ray(model, file, origins and origins.value, out, workers)} rows")
        return
    estimator, after = open_model(model), origins and origins.value
    rows = score(file, estimator, after, out)
    if rows is None:
        columns, clock = estimator.predictions(file, after)
        write_table(out, columns, clock)
        rows = len(next(iter(columns.values())))
    typer.echo(f"wrote {out}: {rows} rows")
