"""What reading a table of a time and three numbers takes: `python -m benchmarks.reading`. One thread; turns are taken.

The goal is not to be slower than `pandas.read_csv` and the same series of its frame.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.table import Table

from benchmarks.measure import FULL, QUICK, Spread, in_turns
from benchmarks.report import console, duration
from benchmarks.task import Task
from recurra.data import Series, as_table, read_table, series_of


def write(path: Path, rows: int) -> None:
    """A file with a row each half hour."""
    rng = np.random.default_rng(0)
    times = np.datetime64("2014-01-01T00:00:00") + 1800 * np.arange(rows)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)).round(4), columns=["y", "a", "b"])
    frame.insert(0, "time", times)
    frame.to_csv(path, index=False)


def series(table: object) -> Series:
    """The one series of a table or a frame."""
    (one,) = series_of(as_table(table), "y", time="time", past=["a", "b"])
    return one


def read_by_pandas(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, parse_dates=["time"])


CALLS = {
    "read_table": read_table,
    "pandas.read_csv": read_by_pandas,
    "read_table, series_of": lambda path: series(read_table(path)),
    "pandas.read_csv, series_of": lambda path: series(read_by_pandas(path)),
}


def main(rows: int = 200_000, quick: Annotated[bool, typer.Option("--quick", help="Fewer rounds.")] = False) -> None:
    """Read one file both ways, to the same series, and print medians."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        write(path, rows)
        ours, theirs = series(read_table(path)), series(read_by_pandas(path))
        if ours.ticks.tolist() != theirs.ticks.tolist() or ours.past.tobytes() != theirs.past.tobytes():
            raise ValueError("the two series differ")
        tasks = {name: Task(lambda call=call: call(path), read=lambda result: {}) for name, call in CALLS.items()}
        seconds = in_turns(tasks, QUICK if quick else FULL)
    table = Table(title=f"a CSV file of {rows:,} rows: a time and three numbers", title_justify="left")
    for column in ("", "median (quartiles)", "against pandas.read_csv, series_of"):
        table.add_column(column)
    for name, taken in seconds.items():
        spread, share = Spread.of(taken), Spread.of(taken / seconds["pandas.read_csv, series_of"])
        quartiles = f"{duration(spread.median)} ({duration(spread.low)} to {duration(spread.high)})"
        table.add_row(name, quartiles, f"{share.median:.2f}")
    console().print(table)


if __name__ == "__main__":
    typer.run(main)
