"""Sequences of any length, read from arrays, lists, frames and files, and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.times import read_times
from recurra.data.readers import read_table
from recurra.data.table import Table, as_table
from recurra.errors import DataError

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Steps:
    """One sequence of T steps of I numbers; NaN is a missing value.

    Attributes:
        name: in the series column, or its number as text.
        x: float64 [T, I].
        target: what belongs to the whole of it, [], or to each of its steps, [T]; NaN where nothing is known.
        group: what it was taken from (a person, a machine), as text.
        time: when it was taken, as a number that rises with time; NaN where nothing was said.
    """

    name: str
    x: Floats
    target: Floats
    group: str
    time: float

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Sequences:
    """What was read: for each sequence its name and numbers, and what was given with it.

    Attributes:
        names, x: of each sequence, float64 [T, I].
        columns: the names of the I numbers.
        y: what belongs to each, as it was given: one value, or an array [T]; None where nothing was given.
        groups: what each was taken from; None where nothing was given.
        times: when each was taken; None where nothing was given.
    """

    names: tuple[str, ...]
    x: tuple[Floats, ...]
    columns: tuple[str, ...]
    y: list[Any] | None = None
    groups: list[str] | None = None
    times: Floats | None = None

    def __len__(self) -> int:
        return len(self.x)

    def with_targets(self, targets: Sequence[Any] | None) -> list[Steps]:
        """As `Steps`, with a number (or an array [T]) for each."""
        count = len(self)
        groups = self.groups if self.groups is not None else [f"{i}" for i in range(count)]
        times = self.times if self.times is not None else np.full(count, np.nan)
        values = [np.nan] * count if targets is None else targets
        parts = zip(self.names, self.x, values, groups, times, strict=True)
        return [Steps(n, x, np.asarray(y, np.float64), g, float(t)) for n, x, y, g, t in parts]


def read_sequences(
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    times: Any = None,
    series: str | None = None,
    time: str | None = None,
    channels_first: bool = False,
    columns: Sequence[str] | None = None,
) -> Sequences:
    """Sequences from whatever holds them.

    Args:
        X: an array [N, T, I] or [N, T]; a list of arrays [T_n, I] or [T_n]; or a long table (a pandas or Polars frame,
            a dict of arrays, a CSV or Parquet file), whose column `series` says to which sequence a row belongs.
        y: N values, or N arrays [T_n] for a value at each step; the name of a column of a table, which has a value for
            each step where it changes within a sequence.
        groups: N names, or the name of a column: what each sequence was taken from.
        times: N times: when each was taken; of a table, its column `time` at the sequence's first row, where that is no
            mere count.
        series, time: columns of a table; the rows of each sequence must be in the order of time.
        channels_first: whether arrays are [N, I, T], and those of a list [I, T], as aeon has them.
        columns: the columns to take, in this order, as the training had them; None: all that have no other role.

    Raises:
        DataError: there are none, one has no steps, another width, or something that is no number; y or groups are of
            another length; the message says which.

    >>> found = read_sequences([[1.0, 2.0], [3.0, 4.0, 5.0]], ["a", "b"])
    >>> [x.shape for x in found.x], found.y
    ([(2, 1), (3, 1)], ['a', 'b'])
    """
    if is_table(X):
        table = read_table(X) if isinstance(X, (str, Path)) else as_table(X)
        return _of_table(table, y, groups, series, time, columns)
    for what, name in (("series", series), ("time", time)):
        if name is not None:
            raise DataError(
                f"sequences: {what} is {name!r}, but X is a {type(X).__name__}, expected a table with columns"
            )
    x = _arrays(X, channels_first)
    width = x[0].shape[1]
    names = tuple(str(i) for i in range(len(x)))
    found = tuple(columns) if columns is not None and len(columns) == width else tuple(f"x{k}" for k in range(width))
    given = None if groups is None else [str(g) for g in _values("groups", groups, len(x))]
    when = None if times is None else _when(_values("times", times, len(x)))
    return Sequences(names, x, found, None if y is None else _values("y", y, len(x)), given, when)


def is_table(X: Any) -> bool:
    """Whether X is a table, or the path of one, and no array or list of sequences."""
    return isinstance(X, (str, Path, Mapping, Table)) or hasattr(type(X), "columns")


def _arrays(X: Any, channels_first: bool) -> tuple[Floats, ...]:
    """The sequences of an array or a list, [T, I] each."""
    if isinstance(X, np.ndarray) and X.dtype != object and X.ndim not in (2, 3):
        raise DataError(f"sequences: the array has shape {X.shape}, expected [N, T, I] or [N, T]")
    try:
        given = list(X)
    except TypeError:
        raise DataError(
            f"sequences: got a {type(X).__name__}, expected an array [N, T, I], a list of arrays [T, I], a table or a "
            "file"
        ) from None
    if not given:
        raise DataError("sequences: there are none, expected at least one")
    found = [_array(i, one, channels_first) for i, one in enumerate(given)]
    width = found[0].shape[1]
    odd = next((i for i, x in enumerate(found) if x.shape[1] != width), None)
    if odd is not None:
        cure = (
            "give channels_first=False" if channels_first else "transpose those that are [I, T], or give channels_first"
        )
        raise DataError(
            f"sequences: number {odd} has {found[odd].shape[1]} numbers a step, expected {width} as the first: {cure}"
        )
    return tuple(found)


def _array(i: int, one: Any, channels_first: bool) -> Floats:
    """One sequence as float64 [T, I]."""
    try:
        x = np.asarray(one, np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"sequences: number {i} has something that is no number, expected an array [T, I] of numbers: encode words "
            "as numbers"
        ) from None
    x = x[:, None] if x.ndim == 1 else x.T if channels_first and x.ndim == 2 else x
    if x.ndim != 2 or x.shape[1] == 0:
        raise DataError(f"sequences: number {i} has shape {np.shape(one)}, expected [T, I] or [T]")
    if len(x) == 0:
        raise DataError(f"sequences: number {i} has no steps, expected at least one: leave it out")
    if np.isinf(x).any():
        raise DataError(f"sequences: number {i} has an infinite value, expected numbers, or NaN where one is missing")
    return x


def _values(what: str, values: Any, count: int) -> list[Any]:
    """One value for each sequence."""
    if isinstance(values, str):
        raise DataError(f"{what}: got the text {values!r}, expected {count} values, one for each sequence")
    found = list(np.asarray(values)) if not hasattr(values, "tolist") and hasattr(values, "dtype") else list(values)
    if len(found) != count:
        raise DataError(f"{what}: got {len(found)} for {count} sequences, expected one for each")
    return found


def _when(values: Sequence[Any]) -> Floats:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        return np.asarray(values, "datetime64[us]").astype(np.float64)


def _of_table(
    table: Table, y: Any, groups: Any, series: str | None, time: str | None, columns: Sequence[str] | None
) -> Sequences:
    """The sequences of a long table, in the order in which they come first."""
    if series is None:
        raise DataError(
            f"{table.source}: X is a table, but series is not given, expected the name of the column that says to "
            f"which sequence a row belongs: one of {', '.join(list(table.columns)[:12])}; or text, the column of texts"
        )
    at = table.groups(series)
    roles = {series, time, y if isinstance(y, str) else None, groups if isinstance(groups, str) else None}
    names = list(columns) if columns is not None else [n for n in table.columns if n not in roles]
    if not names:
        raise DataError(f"{table.source}: no column is left for the numbers of a step, expected at least one")
    numbers = np.stack([table.numbers(n, "input column") for n in names], 1)
    x = tuple(np.ascontiguousarray(numbers[found]) for found in at.values())
    times = None
    if time is not None:
        clock, ticks, _ = read_times(table, time, None, list(at.values()))
        for found in at.values():
            late = np.flatnonzero(np.diff(ticks[found]) < 0)
            if len(late):
                raise DataError(
                    f"{table.where(int(found[late[0] + 1]))}: its time is before that of the row before it in the same "
                    f"sequence, expected rows in the order of {time!r}: sort them"
                )
        if clock.kind != "count":  # which is each sequence's own
            times = np.array([float(ticks[found[0]]) for found in at.values()])
    if isinstance(y, str) and _changes(table.column(y, "column of y"), at):
        labels: list[Any] | None = [table.column(y, "column of y")[rows] for rows in at.values()]
    else:
        labels = _of_each(table, "y", y, at)
    kept = _of_each(table, "groups", groups, at)
    return Sequences(tuple(at), x, tuple(names), labels, None if kept is None else [str(g) for g in kept], times)


def _of_each(table: Table, role: str, values: Any, at: Mapping[str, NDArray[np.int64]]) -> list[Any] | None:
    """A value for each sequence, of a column or as it was given."""
    if values is None:
        return None
    return _column_values(table, values, at, role) if isinstance(values, str) else _values(role, values, len(at))


def _changes(column: NDArray[Any], at: Mapping[str, NDArray[np.int64]]) -> bool:
    """Whether a column has two values within a sequence; a cell that is missing is none."""
    there = column == column
    if column.dtype == object:
        there &= np.array([value is not None and value != "" for value in column], bool)
    return any(len(np.unique(column[rows][there[rows]])) > 1 for rows in at.values())


def _column_values(table: Table, name: str, at: Mapping[str, NDArray[np.int64]], role: str) -> list[Any]:
    """The value of a column for each sequence, which must be one."""
    column = table.column(name, f"column of {role}")
    found: list[Any] = []
    for series, rows in at.items():
        values = column[rows]
        odd = next((int(r) for r, v in zip(rows, values, strict=True) if v != values[0] and v == v), None)
        if odd is not None:
            raise DataError(
                f"{table.where(odd)}: the {role} {name!r} of the sequence {series!r} is {values[0]!r} and then "
                f"{column[odd]!r}, expected one value for the whole sequence"
            )
        found.append(values[0])
    return found
