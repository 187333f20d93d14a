"""Streams as a detector reads them: of tables, with the length of a step where times are known, and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.times import read_times
from recurra.data.readers import read_table
from recurra.data.sequences import Sequences
from recurra.data.table import as_table
from recurra.errors import DataError

SPANS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0, "week": 604800.0, "month": 2629800.0, "year": 31557600.0}
CLOCKS = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}


def of_table(
    X: Any, series: str | None, time: str | None, columns: Any, labels: str | None
) -> tuple[Sequences, float | None]:
    """The streams of a table, and the seconds of a step; None where nothing says how many."""
    table = read_table(X) if isinstance(X, (str, Path)) else as_table(X)
    seconds = None
    at = {"": np.arange(len(table))} if series is None else table.groups(series)
    roles = {series, time, labels}
    names = list(columns) if columns is not None else [n for n in table.columns if n not in roles]
    if not names:
        raise DataError(f"{table.source}: no column is left for the numbers of a step, expected at least one")
    numbers = np.stack([table.numbers(n, "input column") for n in names], 1)
    if time is not None:
        clock, ticks, _ = read_times(table, time, None, list(at.values()))
        gaps = np.concatenate([np.diff(ticks[rows]) for rows in at.values()])
        unit = 1.0 / clock.ticks if clock.kind == "time" else CLOCKS.get(clock.kind)
        seconds = float(np.median(gaps)) * unit if unit and len(gaps) and np.median(gaps) > 0 else None
    y = None if labels is None else [table.column(labels, "column of y")[rows] for rows in at.values()]
    found = Sequences(tuple(at), tuple(np.ascontiguousarray(numbers[rows]) for rows in at.values()), tuple(names), y)
    return found, seconds


def labels_of(values: Any, found: Sequences) -> list[NDArray[np.bool_]]:
    """Whether each step is anomalous, [T] for each stream; what is missing is not."""
    result = []
    for i, x in enumerate(found.x):
        try:
            one = np.array([v not in (None, "") and v == v and bool(float(v)) for v in list(values)[i]])
        except (TypeError, ValueError, IndexError):
            one = np.zeros(0, bool)
        if len(one) != len(x):
            raise DataError(f"y: stream {i} has {len(one)} labels for {len(x)} steps, expected 0 or 1 for each step")
        result.append(one)
    return result
