"""The times of a table: what its time column means, and where it is out of order or off its step."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.clock import Clock, are_years, check_zone, parse_time, seconds_of
from recurra.data.forecasting.step import DAY, Step
from recurra.data.table import MISSING, Table
from recurra.errors import DataError

Times = NDArray[np.int64]
Rows = NDArray[np.int64]

NAMES = ("time", "date", "datetime", "timestamp")
_UNIX, _UNIX_MS = (10**8, 42 * 10**8), (10**11, 42 * 10**11)


def time_column(table: Table, time: str | None) -> tuple[str | None, list[str]]:
    """The column of times, and a note where it was chosen by its name."""
    if time is not None:
        table.column(time, "time column")
        return time, []
    if table.index is not None:
        return table.index, []
    named = next((name for name in table.columns if name.lower() in NAMES), None)
    if named is None:
        return None, ["no time column: rows count as equally spaced, without a calendar"]
    return named, [f"the times are taken from the column {named!r}, for its name"]


def read_times(table: Table, time: str | None, zone: str | None, groups: list[Rows]) -> tuple[Clock, Times, list[str]]:
    """The clock of a table, the time of each row as a whole number, and notes.

    Raises:
        DataError: a time is missing or is no time, or only some have an offset from UTC.
    """
    if zone is not None:
        check_zone(zone)
    if time is None:
        times = np.zeros(len(table), np.int64)
        for rows in groups:
            times[rows] = np.arange(len(rows))
        return Clock("count"), times, []
    column = table.column(time, "time column")
    whole = _whole_numbers(column)
    if whole is not None:
        clock, times, notes = _of_numbers(whole, time)
        if clock.kind in ("year", "count"):
            return clock, times, notes
        found, times, more = _with_zone(times, clock.zone is not None, zone or clock.zone, groups, notes)
        return replace(found, kind=clock.kind), times, more
    if column.dtype.kind == "M":
        missing = np.flatnonzero(np.isnat(column))
        if len(missing):
            raise DataError(_missing(table, int(missing[0]), time))
        times = column.astype("datetime64[s]").astype(np.int64)
        fraction = np.flatnonzero(column != column.astype("datetime64[s]"))
        if len(fraction):
            _parse(table, int(fraction[0]), time, column)
        stated = table.zones.get(time)
        return _with_zone(times, stated is not None, zone or stated, groups, [])
    moments = [_parse(table, row, time, column) for row in range(len(column))]
    aware = [m.tzinfo is not None for m in moments]
    if any(aware) and not all(aware):
        row = aware.index(not aware[0])
        raise DataError(
            f"{table.where(row)}: the time {column[row]!r} {'has' if aware[row] else 'lacks'} an offset from UTC, "
            "unlike the times before: write all with it, or all without"
        )
    notes = []
    if aware[0] and zone is None:
        offsets = sorted({m.utcoffset() for m in moments})
        zone = _offset_name(int(offsets[0].total_seconds()))
        names = {str(getattr(m.tzinfo, "key", "")) for m in moments}
        if len(names) == 1 and names != {""}:
            zone = names.pop()
        elif len(offsets) > 1:
            notes.append(
                f"the times have {len(offsets)} offsets from UTC, so the calendar follows {zone} throughout; name the "
                "zone (zone='Europe/Berlin', say) to have it follow the clock on the wall"
            )
    return _with_zone(np.array([seconds_of(m) for m in moments], np.int64), aware[0], zone, groups, notes)


def reread_times(table: Table, time: str | None, clock: Clock, groups: list[Rows]) -> Times:
    """The time of each row, as a clock that is known reads it.

    Raises:
        DataError: a time is missing, or is none of that clock.
    """
    if time is None:
        return read_times(table, None, None, groups)[1]
    column = table.column(time, "time column")
    times = np.zeros(len(column), np.int64)
    zone = table.zones.get(time)
    for rows in groups:
        last = None
        for row in rows:
            cell = column[row]
            if zone is not None:  # held as UTC
                cell = _parse(table, int(row), time, column).replace(tzinfo=UTC)
            elif _is_missing(cell):
                raise DataError(_missing(table, int(row), time))
            try:
                last = clock.read(cell, last)
            except ValueError as error:
                raise DataError(f"{table.where(int(row))}: the time {time!r}: {error}") from None
            times[row] = last
    return times


def _with_zone(
    times: Times, instants: bool, zone: str | None, groups: list[Rows], notes: list[str]
) -> tuple[Clock, Times, list[str]]:
    """Times of one sort, as instants where there is a zone, or as dates where the steps are days or more."""
    clock = Clock("time", zone)
    wall = clock.wall(times) if instants else times
    differences = np.concatenate([np.diff(wall[rows]) for rows in groups])
    differences = differences[differences > 0]
    if len(differences) and np.median(differences) >= DAY:
        return replace(clock, dates=True), wall, notes
    if zone is not None and not instants:
        times, second = clock.instants(wall)
        for rows in groups:
            for before, row in itertools.pairwise(rows):
                if times[row] <= times[before]:
                    times[row] = second[row]
    return clock, times, notes


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


def _of_numbers(whole: Times, name: str) -> tuple[Clock, Times, list[str]]:
    """Whole numbers as years, as dates without dashes, as seconds since 1970 or as a count."""
    if are_years(whole):
        return (
            Clock("year", dates=True),
            (whole - 1970).astype("datetime64[Y]").astype("datetime64[s]").astype(np.int64),
            [],
        )
    low, high = int(whole.min()), int(whole.max())
    if low >= 15_000_101 and high <= 24_991_231:
        try:
            dates = np.array([seconds_of(parse_time(str(n))) for n in whole], np.int64)
        except ValueError:
            pass
        else:
            return Clock(), dates, [f"{name}: read as dates, {low} as {dates.min().astype('datetime64[s]')}"]
    for (first, last), unit, size in ((_UNIX, "seconds", 1), (_UNIX_MS, "milliseconds", 1000)):
        if first <= low and high <= last and not (whole % size).any():
            return Clock(unit, "UTC"), whole // size, [f"{name}: read as {unit} since 1970, UTC"]
    return Clock("count"), whole, []


def _parse(table: Table, row: int, name: str, column: NDArray[Any]) -> Any:
    cell = column[row]
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
