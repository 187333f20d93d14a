"""The times of a table: what its time column means, and where it is out of order or off its step.

`Clock.read` says what one cell is. Here whole columns are read at once, to the same numbers; what that cannot do is
read cell by cell, which finds the row to name in a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data import arrow
from recurra.data.forecasting.clock import UNIX, Clock, are_years, check_zone, parse_time, seconds_of
from recurra.data.forecasting.step import DAY, Step
from recurra.data.table import MISSING, Table
from recurra.errors import DataError

Times = NDArray[np.int64]
Rows = NDArray[np.int64]

NAMES = ("time", "date", "datetime", "timestamp")
_SINCE_1970 = range(10**8, 42 * 10**8)  # whole numbers that are taken for seconds since 1970


def time_column(table: Table, time: str | None) -> tuple[str | None, list[str]]:
    """The column of times, and a note where it was chosen by its name."""
    if time is not None:
        table.require(time, "time column")
        return time, []
    if table.index is not None:
        return table.index, []
    named = next((name for name in table.columns if name.lower() in NAMES), None)
    if named is None:
        return None, ["no time column: rows count as equally spaced, without a calendar"]
    return named, [f"the times are taken from the column {named!r}, for its name"]


@dataclass(frozen=True)
class _Column:
    """A column of times, not yet on a clock: its kind, and whole numbers.

    Of dates and times these are seconds since 1970, in UTC in the rows that are `aware` of their offset from UTC, and
    as a clock on the wall shows them in the others.
    """

    kind: str
    numbers: Times
    aware: NDArray[np.bool_]
    zone: str | None = None
    notes: tuple[str, ...] = ()


def read_times(
    table: Table, time: str | None, zone: str | None, groups: Sequence[Rows], *, clock: Clock | None = None
) -> tuple[Clock, Times, list[str]]:
    """The clock of a table, the time of each row as a whole number, and notes.

    Args:
        table: the table.
        time: its column of times; None: rows count.
        zone: the time zone of the clock on the wall, where times do not say it.
        groups: the rows of each series, in order.
        clock: the clock, where it is known.

    Raises:
        DataError: a time is missing, is no time or none of the clock, or only some have an offset from UTC.
    """
    if zone is not None:
        check_zone(zone)
    if time is None:
        times = np.zeros(len(table), np.int64)
        for rows in groups:
            times[rows] = np.arange(len(rows))
        return clock or Clock("count"), times, []
    table.require(time, "time column")
    if clock is not None:
        read = _as_known(table, time, clock)
        found = None if read is None else _on_clock(clock, read, groups)
        return clock, _one_by_one(table, time, clock, groups) if found is None else found, []
    read = _read(table, time)
    if read.kind in ("year", "count"):
        return Clock(read.kind, dates=read.kind == "year"), read.numbers, list(read.notes)
    clock = Clock(read.kind, zone or read.zone)
    wall = clock.wall(read.numbers) if read.aware[0] else read.numbers
    steps = np.concatenate([np.diff(wall[rows]) for rows in groups])
    if (steps > 0).any() and np.median(steps[steps > 0]) >= DAY:
        clock = replace(clock, dates=True)
    found = _on_clock(clock, read, groups)
    assert found is not None
    return clock, found, list(read.notes)


def _on_clock(clock: Clock, column: _Column, groups: Sequence[Rows]) -> Times | None:
    """Times as a clock reads them, in the order of each series; None where one has an offset and the clock no zone."""
    numbers, aware = column.numbers, column.aware
    if clock.kind == "count" or (clock.zone is None and not aware.any()):
        return numbers
    if clock.zone is None:
        return None
    if clock.dates:
        return np.where(aware, clock.wall(numbers, True), numbers) if aware.any() else numbers
    if aware.all():
        return numbers
    first, second = clock.instants(numbers)
    times = np.where(aware, numbers, first)
    twice = ~aware & (first != second)  # on the wall, when clocks are set back
    for rows in groups if twice.any() else ():
        for i in np.flatnonzero(twice[rows]):
            if i and times[rows[i]] <= times[rows[i - 1]]:
                times[rows[i]] = second[rows[i]]
    return times


def _read(table: Table, time: str) -> _Column:
    """A column whose clock is not known."""
    quick = _dates_and_times(table, time)
    if quick is not None:
        return quick
    column = table.column(time)
    whole = _whole_numbers(column)
    if whole is not None:
        return _of_numbers(whole, time)
    moments = [_parse(table, row, time) for row in range(len(column))]
    aware = np.array([m.tzinfo is not None for m in moments])
    other = np.flatnonzero(aware != aware[0])
    if len(other):
        raise DataError(
            f"{table.where(int(other[0]))}: the time {column[other[0]]!r} {'lacks' if aware[0] else 'has'} an offset "
            "from UTC, unlike the times before: write all with it, or all without"
        )
    zone, notes = _zone_of(moments) if aware[0] else (None, ())
    return _Column("time", np.array([seconds_of(m) for m in moments], np.int64), aware, zone, notes)


def _as_known(table: Table, time: str, clock: Clock) -> _Column | None:
    """A column whose clock is known; None where it must be read cell by cell."""
    quick = _dates_and_times(table, time) if clock.kind in ("time", "year") else None
    if quick is not None:
        return quick
    whole = _whole_numbers(table.column(time))
    if whole is None:
        return None
    if clock.kind in UNIX:
        return _Column(clock.kind, whole // UNIX[clock.kind], np.ones(len(whole), bool))
    dates = whole if clock.kind == "count" else _as_dates(whole)
    return None if dates is None else _Column(clock.kind, dates, np.zeros(len(whole), bool))


def _dates_and_times(table: Table, time: str) -> _Column | None:
    """A column of datetime64, or of texts that PyArrow reads; None where it is another, or one may be no time."""
    strings = table.strings(time)
    if strings is not None:
        read = arrow.seconds(strings)
        if read is None:
            return None
        seconds, offsets = read
        zone, notes = _zone_of([parse_time(text) for text in offsets]) if offsets else (None, ())
        return _Column("time", seconds, np.full(len(seconds), bool(offsets)), zone, notes)
    column = table.column(time)
    if column.dtype.kind != "M" or np.isnat(column).any() or (column != column.astype("datetime64[s]")).any():
        return None
    stated = table.zones.get(time)
    aware = np.full(len(column), stated is not None)
    return _Column("time", column.astype("datetime64[s]").astype(np.int64), aware, stated)


def _one_by_one(table: Table, time: str, clock: Clock, groups: Sequence[Rows]) -> Times:
    """The time of each row, as `Clock.read` has it, or what is wrong with one."""
    column, times, zone = table.column(time), np.zeros(len(table), np.int64), table.zones.get(time)
    for rows in groups:
        last = None
        for row in rows:
            cell = _parse(table, int(row), time).replace(tzinfo=UTC) if zone is not None else column[row]
            if _is_missing(cell):
                raise DataError(_missing(table, int(row), time))
            try:
                last = clock.read(cell, last)
            except ValueError as error:
                raise DataError(f"{table.where(int(row))}: the time {time!r}: {error}") from None
            times[row] = last
    return times


def _zone_of(moments: Sequence[datetime]) -> tuple[str, tuple[str, ...]]:
    """The zone of times with offsets from UTC: their own where they have one, else that of the first offset."""
    names = {str(getattr(zone, "key", "")) for zone in {m.tzinfo for m in moments}}
    if len(names) == 1 and names != {""}:
        return names.pop(), ()
    offsets = sorted({offset for m in moments if (offset := m.utcoffset()) is not None})
    zone = _offset_name(int(offsets[0].total_seconds()))
    if len(offsets) == 1:
        return zone, ()
    return zone, (
        f"the times have {len(offsets)} offsets from UTC, so the calendar follows {zone} throughout; name the zone "
        "(zone='Europe/Berlin', say) to have it follow the clock on the wall",
    )


def _whole_numbers(column: NDArray[Any]) -> Times | None:
    """The column as whole numbers, if it is that."""
    if column.dtype.kind in "iu":
        return column.astype(np.int64)
    if column.dtype.kind == "f":
        finite = np.isfinite(column).all() and (column == np.floor(column)).all()
        return column.astype(np.int64) if finite else None
    if column.dtype.kind in "OU" and all(_is_digits(cell) for cell in column):
        return np.array([int(cell) for cell in column], np.int64)
    return None


def _is_digits(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell.strip().removeprefix("-").isdecimal() and len(cell) < 18
    return isinstance(cell, (int, np.integer)) and not isinstance(cell, bool)


def _of_numbers(whole: Times, name: str) -> _Column:
    """Whole numbers as years, as dates without dashes, as seconds since 1970 or as a count."""
    low, high, wall = int(whole.min()), int(whole.max()), np.zeros(len(whole), bool)
    dates = _as_dates(whole) if are_years(whole) or (low >= 15_000_101 and high <= 24_991_231) else None
    if dates is not None and are_years(whole):
        return _Column("year", dates, wall)
    if dates is not None:
        note = f"{name}: read as dates, {low} as {dates.min().astype('datetime64[s]')}"
        return _Column("time", dates, wall, None, (note,))
    for unit, size in UNIX.items():
        if low // size in _SINCE_1970 and high // size in _SINCE_1970 and not (whole % size).any():
            return _Column(unit, whole // size, ~wall, "UTC", (f"{name}: read as {unit} since 1970, UTC",))
    return _Column("count", whole, wall)


def _as_dates(whole: Times) -> Times | None:
    """Whole numbers that are years, or dates without dashes, as seconds since 1970; None where one is neither."""
    different, places = np.unique(whole, return_inverse=True)
    try:
        seconds = [seconds_of(parse_time(int(n))) for n in different]
    except ValueError:
        return None
    return np.array(seconds, np.int64)[places]


def _parse(table: Table, row: int, name: str) -> datetime:
    cell = table.column(name)[row]
    if _is_missing(cell):
        raise DataError(_missing(table, row, name))
    try:
        return parse_time(cell)
    except ValueError as error:
        raise DataError(f"{table.where(row)}: the time {name!r}: {error}") from None


def _is_missing(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell.strip().lower() in MISSING
    return bool(cell is None or cell != cell)


def _missing(table: Table, row: int, name: str) -> str:
    return f"{table.where(row)}: the time {name!r} is missing, expected a time in every row: fill it in"


def _offset_name(seconds: int) -> str:
    if not seconds:
        return "UTC"
    hours, rest = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}:{rest:02}"


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
    index, fits = step.index(times, int(times[0]))
    bad = np.flatnonzero(~fits | (np.diff(index, prepend=-1) <= 0))
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"{table.where(int(rows[row]))}: the time {clock.text(times[row])}{_of(name)} comes after "
            f"{clock.text(times[row - 1])}, expected steps of {step} as most rows have, or whole multiples of it: "
            "correct the time, or resample the table"
        )
    return index


def _of(name: str) -> str:
    return f" of {name!r}" if name else ""
