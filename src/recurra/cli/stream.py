"""`recurra stream`: an answer after every line of standard input."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer


def stream(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file of `recurra fit`.", show_default=False)],
    snapshot: Annotated[
        Path | None,
        typer.Option(help="Keep the state here: a process that is killed and started again goes on where it was."),
    ] = None,
    ahead: Annotated[
        Path | None,
        typer.Option(help="A table of times to come and their known-ahead columns, announced at the start."),
    ] = None,
    adapt: Annotated[
        float | None,
        typer.Option(
            help="Have a forecaster's intervals follow how often they hold, so fast: 0.005, say. Without, they stay as "
            "they were calibrated.",
            metavar="RATE",
        ),
    ] = None,
) -> None:
    """Read observations from standard input, one a line, and write what the model
    says of each, at once: a forecast; or, of the steps of a sequence so far, a
    label with the probability of each, or a number.

    Lines are CSV, the first with the names of the columns, or JSON: objects, or
    lists of all values; answers have the same form. Of a forecast the column
    q0.5+3 is the median three steps later; in JSON "q0.5" is the list of the
    medians of all steps. Sequences are told apart by the column that named them
    in training; a column `end`, or in JSON "end": true, says that one ends with
    its line, which may have nothing else. Without names, an empty line ends a
    sequence.

    A forecaster's line with a later time, known-ahead columns and no target says
    what is known ahead, and gives no forecast. Values that are missing, rows that
    were left out, and lines that cannot be read are reported on standard error,
    and the stream goes on.

    With --snapshot a restarted stream goes on where it was: each observation
    counts exactly once, and where there are times, the input may be the rest or
    the whole. In a file that is appended to (>>) each answer is there exactly
    once, whenever the process was killed.

    \b
    tail -f readings.csv | recurra stream demand.recurra --snapshot demand.state >> forecasts.csv
    """
    from recurra.runtime import load
    from recurra.serve.stream import read_lines
    from recurra.serve.stream import stream as run
    from recurra.tasks.opening import open_live

    if isinstance(sys.stdout, io.TextIOWrapper):  # as the lines that come in
        sys.stdout.reconfigure(encoding="utf-8")
    live = open_live(load(model), str(model))
    if adapt is not None:
        live.adapt(adapt)
    try:
        done = run(live, read_lines(sys.stdin.buffer), sys.stdout, sys.stderr, snapshot=snapshot, ahead=ahead)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    typer.echo(str(done), err=True)
