"""`recurra fit`: from a table to a model file, and what it is worth."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from recurra.formatting import number, share

FIT, DATA, NETWORK, TRAINING = "Output", "Data", "Network", "Training"


def fit(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A table: CSV with a header line, or Parquet.", show_default=False)
    ],
    target: Annotated[
        str, typer.Option(help="The column to forecast.", rich_help_panel=DATA, metavar="COLUMN", show_default=False)
    ],
    horizon: Annotated[
        int, typer.Option(help="How many steps to forecast.", rich_help_panel=DATA, metavar="N", show_default=False)
    ],
    time: Annotated[
        str | None,
        typer.Option(
            help="The column of times (ISO 8601, or years). Without: a column called time or date; else rows count.",
            rich_help_panel=DATA,
            metavar="COLUMN",
        ),
    ] = None,
    known_ahead: Annotated[
        str,
        typer.Option(
            help="Columns known ahead of time, with commas between: holidays, plans.",
            rich_help_panel=DATA,
            metavar="COLUMNS",
        ),
    ] = "",
    past: Annotated[
        str,
        typer.Option(
            help="Columns known up to the time of forecasting: temperature, say.",
            rich_help_panel=DATA,
            metavar="COLUMNS",
        ),
    ] = "",
    series: Annotated[
        str | None,
        typer.Option(
            help="The column that names the series of a row, where there are several.",
            rich_help_panel=DATA,
            metavar="COLUMN",
        ),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(
            help="The time zone of the clock on the wall (Europe/Berlin), where times do not state it.",
            rich_help_panel=DATA,
        ),
    ] = None,
    cell: Annotated[
        str,
        typer.Option(
            help="A cell of the zoo (see `recurra cells`), or of a script: my_cells.py:my_cell.",
            rich_help_panel=NETWORK,
        ),
    ] = "gru",
    hidden: Annotated[int, typer.Option(help="Units of a layer.", rich_help_panel=NETWORK)] = 64,
    layers: Annotated[int, typer.Option(help="Recurrent layers.", rich_help_panel=NETWORK)] = 1,
    epochs: Annotated[
        int | None,
        typer.Option(help="At most so many; without: as many as the size of the data needs.", rich_help_panel=TRAINING),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all chance.", rich_help_panel=TRAINING)] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run was killed or stopped.", rich_help_panel=TRAINING)
    ] = False,
    out: Annotated[Path, typer.Option(help="The model file.", rich_help_panel=FIT)] = Path("model.recurra"),
    report: Annotated[
        Path | None, typer.Option(help="A page (HTML) on how well it forecasts.", rich_help_panel=FIT)
    ] = None,
) -> None:
    """Train a forecaster on a table, compare it with naive forecasts on the last part,
    and write a model file.

    The table is split by time: 70 % to learn from, 15 % to stop early on, 15 %
    to measure on. Scales, seasons and the calendar are learned from the first
    part alone. Steps may be from seconds to years; missing values are allowed.

    Ctrl-C ends the training and keeps the best model so far. Killed at any
    moment, the same command with --resume goes on from the last epoch, and ends
    with the same weights as an unbroken run.

    \b
    recurra fit demand.csv --target Demand --time time --horizon 48 \\
        --known-ahead WorkDay --past Temperature --out demand.recurra --report report.html
    """
    from recurra.cells.script import load_cell
    from recurra.files import check_writable
    from recurra.tasks.forecast import Forecaster

    checkpoint = out.with_name(f"{out.name}.checkpoint")
    for path in (out, report):
        if path is not None:
            check_writable(path)
    forecaster = Forecaster(horizon, load_cell(cell), hidden, layers, epochs=epochs, seed=seed)
    console = Console()
    with TrainingBar(console) as bar:
        try:
            forecaster.fit(
                file,
                target,
                time=time,
                known_ahead=_names(known_ahead),
                past=_names(past),
                series=series,
                zone=zone,
                checkpoint=checkpoint,
                resume=resume,
                progress=bar,
            )
        except KeyboardInterrupt:
            console.print("Stopped before the end of the first epoch: there is nothing to save.")
            raise typer.Exit(130) from None
    forecaster.save(out)
    if forecaster.history_.ended != "interrupted":
        checkpoint.unlink(missing_ok=True)
    _tell(console, forecaster)
    console.print(f"wrote {out}", highlight=False, markup=False)
    if report is not None:
        from recurra.report.forecast import write_forecast_report

        write_forecast_report(forecaster.report_, report, forecaster.model_)
        console.print(f"wrote {report}", highlight=False, markup=False)


class TrainingBar:
    """A progress bar of training: the validation error beside the best naive one's, and the time left."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(None),
            TextColumn("{task.fields[error]}"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=console, transient=True, expand=True)

    def __enter__(self) -> TrainingBar:
        self.bar.start()
        self.task = self.bar.add_task("reading", total=None, error="")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, progress: Any) -> None:
        """What `Forecaster.fit` calls after every update."""
        p = progress
        done = (p.epoch - 1) * p.updates + p.update
        error = ""
        if "valid_mae" in p.last:
            error = f"validation MAE {p.last['valid_mae']:.4g}"
            if p.baseline_error:
                error += f", naive {p.baseline_error:.4g} ({p.last['valid_mae'] / p.baseline_error - 1:+.0%})"
        self.bar.update(
            self.task,
            description=f"epoch {p.epoch} of {p.epochs}",
            total=p.epochs * p.updates,
            completed=done,
            error=error,
        )


def _tell(console: Console, forecaster: Any) -> None:
    """Print what was done to the data, the table, and the verdict."""
    report, history = forecaster.report_, forecaster.history_
    for note in report["data"]["notes"]:
        console.print(f"note: {note}", highlight=False, markup=False)
    if history.ended == "interrupted":
        console.print(
            f"Stopped: what follows is the best model so far, of epoch {history.best_epoch}; --resume goes on.",
            style="bold",
        )
    table = Table("on the test part")
    for name in ("MAE", "MASE", "sMAPE", "coverage"):
        table.add_column(name, justify="right")
    for row in report["table"]:
        cells = [number(row.get(name), 4, "") for name in ("mae", "mase")]
        cells += [share(row.get("smape"), 2, ""), share(row.get("coverage"), 0, "")]
        table.add_row(row["name"], *cells, style="bold" if row["kind"] == "model" else None)
    console.print(table)
    for sentence in report["verdict"]:
        console.print(sentence, highlight=False, markup=False)


def _names(text: str) -> list[str]:
    """Names between commas; a name with a comma in it is put between quotes."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])] if text.strip() else []
