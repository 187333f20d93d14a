"""The rows of a series on its regular step: where times are out of order, off the step, or near to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.clock import Clock
from recurra.data.forecasting.step import Step
from recurra.data.table import Table
from recurra.errors import DataError

Times = NDArray[np.int64]
Rows = NDArray[np.int64]


def check_order(table: Table, rows: Rows, times: Times, clock: Clock, name: str) -> None:
    """Raise DataError where times do not rise."""
    bad = np.flatnonzero(np.diff(times) <= 0)
    if not len(bad):
        return
    row, before = int(bad[0]) + 1, int(bad[0])
    now, then = clock.text(times[row]), clock.text(times[before])
    if times[row] == times[before]:
        what, cure = "comes twice", "remove one of the rows, or name the series column if there are several series"
        if clock.kind == "time" and clock.zone is None and not clock.dates:
            cure += "; if clocks were set back here, name the time zone"
    else:
        what, cure = (
            f"comes after {then}",
            "sort the rows by time, or name the series column if there are several series",
        )
    raise DataError(f"{table.where(int(rows[row]))}: the time {now}{_of(name)} {what}, expected rising times: {cure}")


def place(table: Table, rows: Rows, times: Times, clock: Clock, step: Step, name: str) -> Rows:
    """How many steps each row is after the first.

    Raises:
        DataError: one is not a whole number of steps after the one before.
    """
    start = step.anchor(int(times[0]))
    index, fits = step.nearest(times, start)
    bad = np.flatnonzero(~fits | (np.diff(index, prepend=-1) <= 0))
    if len(bad):
        row = int(bad[0])
        before = f"after {clock.text(times[row - 1])}" if row else "first"
        raise DataError(
            f"{table.where(int(rows[row]))}: the time {clock.text(times[row])}{_of(name)} comes {before}, expected "
            f"steps of {step} as most rows have, or whole multiples of it: correct the time, or resample the table"
        )
    return index


def off_step(times: Times, step: Step, clock: Clock, index: Rows) -> list[str]:
    """A note on times that are not quite where they should be."""
    off = np.abs(times - step.add(step.anchor(int(times[0])), index))
    count = int((off > 0).sum())
    if not count:
        return []
    most, are = float(off.max()) / clock.ticks, "1 time is" if count == 1 else f"{count} times are"
    return [f"{are} up to {most:g} s off the step of {step}, and taken for the nearest place on it"]


def _of(name: str) -> str:
    return f" of {name!r}" if name else ""


def part_edges(table: Table, name: str, rows: NDArray[np.int64], index: NDArray[np.int64]) -> tuple[int, int]:
    """Where validation and test begin in a series, as a column says of its rows, which lie at `index` on the step.

    Raises:
        DataError: a cell is no part, or a part comes after a later one.
    """
    column = table.column(name, "split column")
    last, edges = 0, [int(index[-1]) + 1] * 2
    for row, at in zip(rows.tolist(), index.tolist(), strict=True):
        part = str(column[row]).strip().lower()
        if part not in ("train", "valid", "test"):
            raise DataError(f"{table.where(row)}: the split {name!r} is {part[:40]!r}, expected train, valid or test")
        number = ("train", "valid", "test").index(part)
        if number < last:
            raise DataError(
                f"{table.where(row)}: the split {name!r} is {part} after a row of a later part, expected train, then "
                "valid, then test in each series: what is learned must lie before what is measured"
            )
        edges[last:number] = [min(edge, at) for edge in edges[last:number]]
        last = number
    return edges[0], edges[1]
