"""`recurra compare`: which network, if any, for these data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recurra.cli.training import names
from recurra.compare.settings import Settings

if TYPE_CHECKING:
    from recurra.tasks.base import Task

DEFAULTS = Settings()
TASKS = ("forecast", "classify", "regress")


def compare(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] FILE", help="A CSV or Parquet file; after a model file, which says its task and columns."
        ),
    ],
    target: Annotated[str, typer.Option(help="The column to learn.", metavar="COLUMN")] = "",
    horizon: Annotated[int | None, typer.Option(help="How many steps to forecast.", metavar="N")] = None,
    task: Annotated[
        str, typer.Option(help="forecast, classify or regress; without: forecast.", metavar="TASK")
    ] = "forecast",
    time: Annotated[str | None, typer.Option(help="The column of times; otherwise it is found by its name.")] = None,
    known_ahead: Annotated[str, typer.Option(help="Columns known ahead of time, separated by commas.")] = "",
    past: Annotated[str, typer.Option(help="Columns known up to the time of forecasting, separated by commas.")] = "",
    series: Annotated[str | None, typer.Option(help="The column that names the series of each row.")] = None,
    group: Annotated[
        str | None, typer.Option(help="The column that says what a sequence was taken from, to classify or regress.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="The time zone of the clock on the wall, as Europe/Berlin.")] = None,
    time_format: Annotated[
        str | None, typer.Option(help="How times are written: '%d/%m/%Y %H:%M', dmy, mdy, excel, seconds, count.")
    ] = None,
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
    seed: Annotated[int, typer.Option(min=0, help="Of every random choice.")] = DEFAULTS.seed,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the comparison in the folder.")] = False,
) -> None:
    """Compare naive answers, a linear model, feedforward, convolution, attention and recurrent networks on your data.

    All have the same splits, features, loss, number of parameters and tuning trials; the naive ones are always there,
    and "use no network" can be the answer. Ctrl-C keeps what is finished; --resume goes on.

    \b
    recurra compare demand.csv --target Demand --horizon 48 --budget 10m
    recurra compare walks.csv --task classify --series walk --target room
    recurra compare walks.recurra walks.csv
    """
    from recurra.compare import of_task
    from recurra.compare.progress import Board
    from recurra.compare.table import show
    from recurra.terminal import Terminal

    settings = {
        "budget": budget,
        "candidates": names(candidates) or None,
        "seeds": seeds,
        "trials": trials,
        "parameters": parameters,
        "out": out,
        "engine": engine,
        "workers": workers,
        "seed": seed,
        "resume": resume,
    }
    if len(files) == 2:
        asked, roles = _of_model(files[0])
    elif task == "forecast":
        roles = {"time": time, "known_ahead": names(known_ahead), "past": names(past), "series": series}
        roles |= {"zone": zone, "time_format": time_format}
        asked, roles = _task(task, target, horizon), {"target": target, **roles}
    else:
        asked, roles = _task(task, target, 1), {"y": target, "series": series, "time": time, "groups": group}
    with Board() as board:
        found = of_task(asked, files[-1], watch=board, settings=settings, **roles)
    console = Terminal(width=None if Terminal().is_terminal else 200)
    show(found, console)
    console.print(f"\n{out}: compare.json, report.html{', ' + found.model if found.model else ''}", highlight=False)


def _task(name: str, target: str, horizon: int | None) -> Task:
    from recurra.errors import CompareError
    from recurra.tasks.base import Task

    if name not in TASKS:
        raise CompareError(f"compare: the task is {name!r}, expected one of {', '.join(TASKS)}")
    if not target or horizon is None:
        missing = " and ".join(n for n, v in (("--target", target), ("--horizon", horizon)) if not v)
        raise CompareError(f"compare: got no {missing}, expected it, or a model file before the table")
    kind: Any = Task.named(name)
    made: Task = kind(horizon) if name == "forecast" else kind()
    return made


def _of_model(path: Path) -> tuple[Task, dict[str, Any]]:
    """The task of a model file, with nothing learned, and the columns that it was fitted to."""
    from recurra.runtime import load
    from recurra.tasks.opening import opened

    task, transform = opened(load(path), str(path))
    return task.anew(), task.roles_of(transform)
