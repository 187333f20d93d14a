"""`Series`: the numbers of one series on its regular step, checked; `series_of` makes them of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.clock import Clock
from recurra.data.forecasting.places import check_order, off_step, part_edges, place
from recurra.data.forecasting.static import Cells, static_cells
from recurra.data.forecasting.step import Step
from recurra.data.forecasting.times import read_times, time_column
from recurra.data.table import Table
from recurra.errors import DataError

Floats = NDArray[np.float64]
_MOST_FILLED = 100  # rows filled in as missing for each row that is there


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what.

    Attributes:
        target: what is forecast.
        past: known up to the time of forecasting.
        ahead: known ahead of time: holidays, prices that were announced, plans.
        time, series: the columns of times and of the series' names, or None where there are none.
        others: more targets, each a series of its own beside that of the first.
        static: what does not change within a series.
    """

    target: str
    past: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()
    time: str | None = None
    series: str | None = None
    others: tuple[str, ...] = ()
    static: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        used = [*self.targets, *self.past, *self.ahead, *self.static]
        used += [n for n in (self.time, self.series) if n is not None]
        for name in used:
            if used.count(name) > 1:
                raise DataError(
                    f"the column {name!r} has two roles, expected one of target, time, series, static, past and "
                    "known ahead: the past of the target is always an input, so name it only once"
                )

    @property
    def targets(self) -> tuple[str, ...]:
        """All that are forecast."""
        return (self.target, *self.others)

    def name(self, group: str, target: str) -> str:
        """The name of one target's series in a group, which is what the series column names.

        >>> Columns("load", series="site", others=("wind",)).name("north", "wind")
        'north, wind'
        """
        if not self.others:
            return group
        return target if self.series is None else f"{group}, {target}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Columns:
        """From `to_dict`; raises KeyError, TypeError or ValueError where that is something else."""
        d = dict(described)
        more = tuple(d.get("others", ())), tuple(d.get("static", ()))
        columns = cls(d["target"], tuple(d["past"]), tuple(d["ahead"]), d["time"], d["series"], *more)
        names = (*columns.targets, *columns.past, *columns.ahead, *columns.static)
        if not all(isinstance(n, str) for n in names) or not all(
            isinstance(d[k], str | None) for k in ("time", "series")
        ):
            raise TypeError(f"the columns are {d}, expected names")
        return columns


@dataclass(frozen=True, eq=False)
class Series:
    """One series of T rows on a regular step; NaN is a missing value.

    Attributes:
        name: its name in the series column, "" where there is only one; with several targets that and the target's.
        ticks: the times as whole numbers, int64 [T], as `clock` reads and writes them.
        target: float64 [T]; NaN also in rows of the future, of which only what is known ahead is known.
        past, ahead: float64 [T, P] and [T, K].
        observed: rows before this one have been observed; the rest are the future.
        step, clock, columns: the distance of rows, the meaning of times, and the names.
        notes: what was done to the table: rows filled in, values missing.
        group, variable: its name in the series column, and the target that it is of.
        static: the cells of the static columns.
        edges: the first rows of validation and of test, where a column says so.
    """

    name: str
    ticks: NDArray[np.int64]
    target: Floats
    past: Floats
    ahead: Floats
    observed: int
    step: Step
    clock: Clock
    columns: Columns
    notes: tuple[str, ...] = ()
    group: str = ""
    variable: str = ""
    static: Cells = ()
    edges: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.target)

    @property
    def time(self) -> NDArray[Any]:
        """The times: datetime64[s] [T], UTC where they have a zone and steps of less than a day; or a count, int64."""
        return self.clock.array(self.ticks)


def series_of(
    data: Table,
    target: str | int | Sequence[str | int],
    *,
    time: str | None = None,
    known_ahead: Sequence[str] | str = (),
    past: Sequence[str] | str = (),
    series: str | None = None,
    static: Sequence[str] | str = (),
    split: str | None = None,
    zone: str | None = None,
    time_format: str | None = None,
) -> list[Series]:
    """The series of a table, each on a regular step, in the order in which they first come.

    Rows of different series may be interleaved; the times of each must rise by the step that most rows have, or by
    whole multiples of it: rows that were left out are filled in as missing, and `notes` says so. Where there are
    known-ahead columns, rows at the end whose target and past columns are empty are the future.
    `recurra.data.forecasting.clock.Clock` says what times may look like and what their zones mean.

    Args:
        data: the table.
        target: the column to forecast; or several, each of which is a series of its own, on the same rows.
        time: the column of times, or two as "date+time"; None: a frame's index of times, or a column called time,
            date, datetime, timestamp and the like, and otherwise rows count; "": rows count.
        known_ahead: columns that are known ahead of time.
        past: columns that are known up to the time of forecasting.
        series: the column that names the series of each row, where there are several.
        static: columns that have one value for each series, numbers or words.
        split: a column that says of each row in which part it is: train, then valid, then test.
        zone: the time zone of the clock on the wall, such as "Europe/Berlin", where times do not say it.
        time_format: how times are written, where they can be meant in several ways: a pattern such as
            "%d/%m/%Y %H:%M", the order "dmy", "mdy" or "ymd", "excel" for the days of a spreadsheet, "seconds" ..
            "nanoseconds" since 1970, or "count" for mere numbers.

    Raises:
        DataError: a column is missing, is no number, or is infinite; times are missing, repeated, out of order or off
            their step; the target never changes.

    >>> from recurra.data import as_table
    >>> table = as_table({"year": [2019, 2020, 2022], "y": [1.0, 2.0, 4.0]})
    >>> one = series_of(table, "y", time="year")[0]
    >>> one.target, str(one.step), one.notes
    (array([ 1.,  2., nan,  4.]), '1 year', ('1 row filled in as missing, the first before row 2',))
    """
    time, series = (None if n is None else str(n) for n in (time, series))
    name, notes = time_column(data, time, series)
    several = isinstance(target, (list, tuple)) and str(target) not in data.columns  # or a label that is a tuple
    first, *others = ([str(n) for n in target] or [""]) if several else [str(target)]  # type: ignore[union-attr]
    columns = Columns(first, _names(past), _names(known_ahead), name, series, tuple(others), _names(static))
    made = put_on_step(data, columns, notes=notes, zone=zone, form=time_format, split=split)
    _check_targets(data, made)
    return made


def put_on_step(
    data: Table,
    columns: Columns,
    *,
    clock: Clock | None = None,
    step: Step | None = None,
    zone: str | None = None,
    notes: Sequence[str] = (),
    form: str | None = None,
    split: str | None = None,
) -> list[Series]:
    """The series of a table, where its columns, and perhaps their clock and step, are known; as `series_of`."""
    data = data if columns.time is None else data.joined(columns.time)
    values = _matrix(data, columns.targets, "target")
    past_values = _matrix(data, columns.past, "past column")
    ahead_values = _matrix(data, columns.ahead, "known-ahead column")
    groups = {"": np.arange(len(data))} if columns.series is None else data.groups(columns.series)
    clock, times, more = read_times(data, columns.time, zone, list(groups.values()), clock=clock, form=form)
    notes = [*data.notes, *notes, *more]
    for group, rows in groups.items():
        check_order(data, rows, times[rows], clock, group)
    step = step or _step(data, [times[rows] for rows in groups.values()], clock)
    numbers = (values, past_values, ahead_values)
    made: list[Series] = []
    for group, rows in groups.items():
        made += _together(data, group, rows, times, numbers, step, clock, columns, notes, split)
    names = [one.name for one in made]
    if len(set(names)) < len(names):
        doubled = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{data.source}: two series would be called {doubled!r}: rename one of them or of the targets")
    return made


def _together(
    table: Table,
    name: str,
    rows: NDArray[np.int64],
    times: NDArray[np.int64],
    values: tuple[Floats, Floats, Floats],
    step: Step,
    clock: Clock,
    columns: Columns,
    notes: Sequence[str],
    split: str | None,
) -> list[Series]:
    """The series of all targets in a group, their rows put on the step."""
    index = place(table, rows, times[rows], clock, step, name)
    T = int(index[-1]) + 1
    if T // (len(rows) + 10) > _MOST_FILLED:
        gap = int(np.argmax(np.diff(index)))
        raise DataError(
            f"{table.where(int(rows[gap + 1]))}: {int(index[gap + 1] - index[gap]) - 1} rows are missing before this "
            f"one, expected a row every {step}: correct the time, or resample the table"
        )
    targets, past, ahead = (np.full((T, *v.shape[1:]), np.nan) for v in values)
    for full, part in zip((targets, past, ahead), values, strict=True):
        full[index] = part[rows]
    seen = np.isfinite(targets).any(1) | np.isfinite(past).any(1)
    observed = int(np.flatnonzero(seen)[-1]) + 1 if seen.any() else 0
    if not columns.ahead:
        observed = T
    said = list(notes)
    filled = T - len(rows)
    if filled:
        gap = int(rows[int(np.argmax(np.diff(index) > 1)) + 1])
        where = table.where(gap).rpartition(", ")[2]
        said.append(f"{filled} {'row' if filled == 1 else 'rows'} filled in as missing, the first before {where}")
    named = zip((*columns.targets, *columns.past), (*targets[:observed].T, *past[:observed].T), strict=True)
    for column, array in named:
        empty = int(np.isnan(array).sum()) - filled
        if empty > 0:
            said.append(f"{column}: {empty} of {len(array)} values are missing")
    said += off_step(times[rows], step, clock, index)
    ticks = step.add(step.anchor(int(times[rows[0]])), np.arange(T))
    static = static_cells(table, columns.static, rows, name)
    edges = () if split is None else part_edges(table, split, rows, index)
    return [
        Series(
            columns.name(name, variable), ticks, np.ascontiguousarray(target), past, ahead, observed, step, clock,
            columns, tuple(said), name, variable, static, edges,
        )
        for variable, target in zip(columns.targets, targets.T, strict=True)
    ]  # fmt: skip


def _step(table: Table, times: list[NDArray[np.int64]], clock: Clock) -> Step:
    try:
        return Step.infer(*times, clock=clock)
    except DataError as error:
        raise DataError(f"{table.source}: {error}") from None


def _check_targets(table: Table, made: list[Series]) -> None:
    for one in made:
        if not np.isfinite(one.target).any():
            which = f"the series {one.group!r} of " if one.group else ""
            raise DataError(
                f"{table.source}: {which}the target {one.variable!r} has no value at all, expected numbers: "
                "remove the series, or name another target"
            )
    for target in made[0].columns.targets:
        values = np.concatenate([one.target for one in made if one.variable == target])
        if np.nanmin(values) == np.nanmax(values):
            raise DataError(
                f"{table.source}: the target {target!r} is {np.nanmin(values):g} in every row, expected a column that "
                "changes: there is nothing to forecast"
            )


def _names(names: Sequence[str] | str) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(str(n) for n in names)


def _matrix(table: Table, names: Sequence[str], role: str) -> Floats:
    return np.stack([table.numbers(n, role) for n in names], 1) if names else np.empty((len(table), 0))
