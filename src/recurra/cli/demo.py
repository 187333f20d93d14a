"""`recurra demo`: the whole way on data at hand, from a source to live answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recurra.demos import DEMOS, run


def demo(
    task: Annotated[str, typer.Argument(metavar="[TASK]", help=f"One of {', '.join(DEMOS)}.")] = "forecast",
    folder: Annotated[Path, typer.Option("--out", help="Where the model file and report.html go.")] = Path("."),
    seed: Annotated[int, typer.Option(min=0, help="Of data that are made, initial weights and training.")] = 0,
) -> None:
    """Train, compare with naive answers, report, run live; without a word: electricity demand, a day ahead.

    The data come with packages, or are made here; nothing is downloaded.
    Each takes some minutes at most on an idle machine.

    """
    run(task, folder, seed=seed)


demo.__doc__ = (demo.__doc__ or "") + "\n\n    ".join(f"{name}: {one.shows}." for name, one in DEMOS.items())
