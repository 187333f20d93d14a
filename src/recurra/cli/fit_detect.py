"""`recurra fit detect`: what is unusual in a stream."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from recurra.cli.fit import (
    DATA,
    MODEL,
    Cell,
    Epochs,
    File,
    Hidden,
    Inputs,
    Layers,
    Members,
    Out,
    Report,
    Resume,
    Seed,
    Time,
    fit,
)
from recurra.cli.training import names, train
from recurra.errors import SettingError


@fit.command()
def detect(
    file: File,
    time: Time = None,
    series: Annotated[
        str | None,
        typer.Option(
            help="The column that names the stream of a row, where there are several.",
            rich_help_panel=DATA,
            metavar="COLUMN",
        ),
    ] = None,
    inputs: Inputs = "",
    truth: Annotated[
        str | None,
        typer.Option(
            help="A column that says what is anomalous (0 or 1): not learned from, `recurra evaluate` judges by it.",
            rich_help_panel=DATA,
            metavar="COLUMN",
        ),
    ] = None,
    false_alarms: Annotated[float, typer.Option(help="So many false alarms ...", rich_help_panel="Alarms")] = 1.0,
    per: Annotated[
        str,
        typer.Option(
            help="... in so many steps; or in a minute, hour, day, week, month or year, with --time.",
            rich_help_panel="Alarms",
        ),
    ] = "10000",
    surprise: Annotated[
        str, typer.Option(help="forecast, of one step ahead, or autoencoder.", rich_help_panel="Alarms")
    ] = "forecast",
    smooth: Annotated[
        str,
        typer.Option(
            help="Steps over which the surprise and the level are averaged; the rarest average counts.",
            rich_help_panel="Alarms",
            metavar="NUMBERS",
        ),
    ] = "1,4,16",
    adapt: Annotated[
        int,
        typer.Option(
            help="Steps in which what is usual is learned anew, live too; 0: never.", rich_help_panel="Alarms"
        ),
    ] = 1000,
    apart: Annotated[
        int, typer.Option(help="Steps from an alarm to the next one at least.", rich_help_panel="Alarms")
    ] = 10,
    levels: Annotated[
        bool,
        typer.Option(help="Watch the level of the numbers too, not the surprise alone.", rich_help_panel="Alarms"),
    ] = True,
    cell: Cell = "gru",
    hidden: Hidden = 32,
    layers: Layers = 1,
    epochs: Epochs = None,
    seed: Seed = 0,
    members: Members = 1,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """What is unusual in a stream of numbers; live, how rare each step is, and alarms.

    No labels are needed. The first 60 % of the rows are learned from, the next
    25 % say how often a level is passed by chance, and the report is on the rest.
    `recurra stream` answers each row; in JSON a line {"feedback": "false"},
    "missed" or "right" is an operator's word on the alarms since the last one,
    and moves the level.

    \b
    recurra fit detect pump.csv --time time --false-alarms 1 --per week --out pump.recurra --report pump.html
    """
    from recurra.cells.script import load_cell
    from recurra.tasks.detection.detector import Detector

    steps: Any = int(per) if per.isascii() and per.isdigit() else per
    try:
        lengths = [int(word) for word in smooth.split(",")]
    except ValueError:
        raise SettingError(f"--smooth is {smooth[:40]!r}, expected numbers of steps with commas between") from None
    watch: Any = {"smooth": lengths, "adapt": adapt, "apart": apart, "levels": levels}
    model = Detector(
        false_alarms,
        steps,
        surprise,
        **watch,
        cell=load_cell(cell),
        hidden=hidden,
        layers=layers,
        epochs=epochs,
        seed=seed,
        members=members,
    )
    roles = {"y": truth, "series": series, "time": time, "inputs": names(inputs) or None}
    train(model, file, out, report, resume, **roles)
