"""`recurra fit recommend`: the next item of a session."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.fit import DATA, MODEL, NETWORK, Cell, Epochs, Layers, Out, Report, Resume, Seed, fit
from recurra.cli.training import train


@fit.command()
def recommend(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Events: a user, an item and a time a row (CSV, Parquet, JSON Lines).",
            show_default=False,
        ),
    ],
    item: Annotated[
        str | None,
        typer.Option(help="The column of items; without: found by its name.", rich_help_panel=DATA, metavar="COLUMN"),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            help="The column of users or sessions; without: found by its name.", rich_help_panel=DATA, metavar="COLUMN"
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            help="The column of times, in whose order events are put; without: found by its name, or as they stand.",
            rich_help_panel=DATA,
            metavar="COLUMN",
        ),
    ] = None,
    best: Annotated[int, typer.Option(min=1, help="How many items an answer has.", rich_help_panel=DATA)] = 10,
    min_count: Annotated[
        int, typer.Option(min=1, help="Items that come more rarely are unknown.", rich_help_panel=DATA)
    ] = 1,
    again: Annotated[
        bool | None,
        typer.Option(
            "--again/--once",
            help="Whether what is in a session may be recommended again; without: if it came again in training.",
            rich_help_panel=DATA,
        ),
    ] = None,
    cell: Cell = "gru",
    hidden: Annotated[int, typer.Option(help="Units of a layer.", rich_help_panel=NETWORK)] = 128,
    layers: Layers = 1,
    epochs: Epochs = None,
    seed: Seed = 0,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """What a user takes next; live, after every event.

    The last item of each session is the test part, the one before it the
    validation part. All items are ranked, beside popularity and rules of what is
    bought with what.

    \b
    recurra fit recommend events.csv --user user --item item --time time --out shop.recurra
    recurra predict shop.recurra events.csv --out best.csv
    tail -f events.csv | recurra stream shop.recurra
    """
    from recurra.cells.script import load_cell
    from recurra.tasks.recommendation.recommender import Recommender

    how = {"again": again, "epochs": epochs, "seed": seed, "reading": {"min_count": min_count}}
    model = Recommender(best, load_cell(cell), hidden, layers, **how)  # type: ignore[arg-type]
    train(model, file, out, report, resume, item=item, series=user, time=time)
