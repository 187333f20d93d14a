"""The times of a table: what its time column means, and where it is out of order or off its step.

`Clock.read` says what one cell is. Here whole columns are read at once, to the same numbers; what that cannot do is
read cell by cell, which finds the row to name in a message.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data import arrow
from recurra.data.forecasting.clock import Clock, are_years, check_zone
from recurra.data.forecasting.forms import (
    UNIX,
    YEARS,
    check_form,
    compact,
    micros_of,
    orders_of,
    parse_time,
)
from recurra.data.forecasting.step import DAY
from recurra.data.table import MISSING, Table
from recurra.errors import DataError

Times = NDArray[np.int64]
Rows = NDArray[np.int64]

NAMES = ("time", "date", "datetime", "timestamp", "date_time", "ds")
OTHER_NAMES = ("month", "quarter", "week", "day", "year", "period", "hour")  # which may also be numbers of something
_SINCE_1970 = range(10**8, 42 * 10**8)  # whole numbers that are taken for seconds since 1970
_SECOND = 10**6  # microseconds
_LONG = 10  # seconds of a step, of which parts of a second are no matter
_MOST_DATES = 0.5  # the share of numbers that spell dates, above which the others are wrong


def time_column(table: Table, time: str | None, series: str | None = None) -> tuple[str | None, list[str]]:
    """The column of times, and a note where it was chosen by its name."""
    if time is not None:
        if not time.strip():
            return None, ["rows count as equally spaced, without a calendar"]
        table.joined(time).require(time, "time column")
        return time, []
    if table.index is not None:
        return table.index, []
    both = _date_and_time(table)
    if both is not None:
        return both, [f"the times are taken from two columns, {both!r}, for their names"]
    named = next((name for name in table.columns if name.lower() in NAMES), None)
    if named is None:
        others = (name for name in table.columns if name.lower() in OTHER_NAMES and name != series)
        named = next((name for name in others if _rises(table, name, series)), None)
    if named is None:
        return None, ["no time column: rows count as equally spaced, without a calendar"]
    return named, [f"the times are taken from the column {named!r}, for its name"]


def _date_and_time(table: Table) -> str | None:
    """`date+time`, where these are two columns and the second has the time of a day only."""
    found = [next((name for name in table.columns if name.lower() == word), None) for word in ("date", "time")]
    if None in found or not len(table):
        return None
    cell = str(table.columns[str(found[1])][0]).strip()
    return "+".join(map(str, found)) if _OF_A_DAY.fullmatch(cell) else None


_OF_A_DAY = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?( ?[ap]\.?m\.?)?", re.IGNORECASE)


def _rises(table: Table, name: str, series: str | None) -> bool:
    """Whether a column has times, no mere numbers, that rise in each series."""
    try:
        groups = [np.arange(len(table))] if series is None else list(table.groups(series).values())
        clock, times, _ = read_times(table, name, None, groups)
    except DataError:
        return False
    return clock.kind != "count" and all((np.diff(times[rows]) > 0).all() for rows in groups)


@dataclass(frozen=True)
class _Column:
    """A column of times, not yet on a clock: its kind, and whole numbers.

    Of dates and times these are microseconds since 1970, in UTC in the rows that are `aware` of their offset from UTC,
    and as a clock on the wall shows them in the others.
    """

    kind: str
    numbers: Times
    aware: NDArray[np.bool_]
    zone: str | None = None
    notes: tuple[str, ...] = ()
    form: str | None = None


def read_times(
    table: Table,
    time: str | None,
    zone: str | None,
    groups: Sequence[Rows],
    *,
    clock: Clock | None = None,
    form: str | None = None,
) -> tuple[Clock, Times, list[str]]:
    """The clock of a table, the time of each row as a whole number, and notes.

    Args:
        table: the table.
        time: its column of times; None: rows count.
        zone: the time zone of the clock on the wall, where times do not say it.
        groups: the rows of each series, in order.
        clock: the clock, where it is known.
        form: how times are written, where that must be said: see `recurra.data.forecasting.forms`.

    Raises:
        DataError: a time is missing, is no time or none of the clock, or only some have an offset from UTC.
    """
    if zone is not None:
        check_zone(zone)
    if form is not None:
        check_form(form)
    if time is None:
        times = np.zeros(len(table), np.int64)
        for rows in groups:
            times[rows] = np.arange(len(rows))
        return clock or Clock("count"), times, []
    table.require(time, "time column")
    if clock is not None:
        known = _as_known(table, time, clock)
        found = None if known is None else _on_clock(clock, known, groups)
        return clock, _one_by_one(table, time, clock, groups) if found is None else found, []
    read = _of_form(table, time, form) if form is not None else _read(table, time, groups)
    if read.kind in ("year", "count"):
        clock = Clock(read.kind, dates=read.kind == "year")
        return clock, read.numbers if read.kind == "count" else clock.round(read.numbers), list(read.notes)
    steps = np.concatenate([np.diff(read.numbers[rows]) for rows in groups])
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    clock = Clock(read.kind, zone or read.zone, form=read.form, ticks=_ticks(read.numbers, usual))
    # Days with clock changes in between are 23 to 25 hours, and times may be a little off.
    if usual * 24 >= 23 * DAY * _SECOND and clock.ticks == 1:
        clock = replace(clock, dates=True)
    found = _on_clock(clock, read, groups)
    assert found is not None
    return clock, found, list(read.notes)


def _ticks(numbers: Times, usual: float) -> int:
    """How fine a clock must be: seconds, unless the step is so short that a part of one matters."""
    if usual >= _LONG * _SECOND or not (numbers % _SECOND).any():
        return 1
    whole = round(usual / _SECOND) * _SECOND
    if whole and abs(usual - whole) * 50 <= usual and np.median(np.abs(_off(numbers, _SECOND))) * 20 <= usual:
        return 1
    return 1000 if usual >= _SECOND or not (numbers % 1000).any() else _SECOND


def _off(numbers: Times, size: int) -> Times:
    return np.asarray((numbers + size // 2) % size - size // 2)


def _on_clock(clock: Clock, column: _Column, groups: Sequence[Rows]) -> Times | None:
    """Times as a clock reads them, in the order of each series; None where one has an offset and the clock no zone."""
    numbers, aware = column.numbers, column.aware
    if clock.kind == "count":
        return numbers
    numbers = np.asarray(clock.round(numbers))
    if clock.zone is None:
        return None if aware.any() else numbers
    if clock.dates:
        return np.where(aware, clock.shown(numbers), numbers) if aware.any() else numbers
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


def _read(table: Table, time: str, groups: Sequence[Rows]) -> _Column:
    """A column whose clock is not known."""
    quick = _dates_and_times(table, time)
    if quick is not None:
        return quick
    column = table.column(time)
    numbers = _numbers(column)
    if numbers is not None:
        return _of_numbers(table, numbers, time)
    form: str | None = None
    note: tuple[str, ...] = ()
    first = next((row for row, cell in enumerate(column) if isinstance(cell, str) and not _reads(cell)), None)
    if first is not None:
        missing = next((row for row, cell in enumerate(column) if _is_missing(cell)), None)
        if missing is not None:
            raise DataError(_missing(table, missing, time))
        form, note = _order_of(table, time, first, groups)
    read = _of_moments(table, time, form)
    return replace(read, notes=(*note, *read.notes))


def _of_moments(table: Table, time: str, form: str | None) -> _Column:
    """A column that is read cell by cell."""
    column = table.column(time)
    moments = [_parse(table, row, time, form) for row in range(len(column))]
    aware = np.array([m.tzinfo is not None for m in moments])
    other = np.flatnonzero(aware != aware[0])
    if len(other):
        raise DataError(
            f"{table.where(int(other[0]))}: the time {column[other[0]]!r} {'lacks' if aware[0] else 'has'} an offset "
            "from UTC, unlike the times before: write all with it, or all without"
        )
    zone, notes = _zone_of(moments) if aware[0] else (None, ())
    return _Column("time", np.array([micros_of(m) for m in moments], np.int64), aware, zone, notes, form)


def _reads(cell: str) -> bool:
    try:
        parse_time(cell)
    except ValueError:
        return False
    return True


def _order_of(table: Table, time: str, first: int, groups: Sequence[Rows]) -> tuple[str | None, tuple[str, ...]]:
    """Whether days or months come first, from all texts of a column, one of which says it or is out of order else.

    Raises:
        DataError: both can be meant.
    """
    column = table.column(time)
    texts = [str(cell).strip() for cell in column]
    orders = orders_of([texts[first], *texts])
    if not orders:
        return None, ()
    read = {order: _of_moments(table, time, order).numbers for order in orders}
    rising = [o for o in orders if all((np.diff(read[o][rows]) > 0).all() for rows in groups)]
    left = rising or orders
    if len(left) > 1 and any((read[o] != read[left[0]]).any() for o in left):
        ways = " or ".join(f"{parse_time(texts[first], o).date()} ({o})" for o in left)
        raise DataError(
            f"{table.where(first)}: the time {time!r} is {texts[first]!r}, which may be {ways}, and no time says "
            f"which: say it with --time-format (time_format=): {' or '.join(left)}"
        )
    said = parse_time(texts[first], left[0]).date()
    return left[0], (f"{time}: read as {left[0]}, {texts[first]} as {said}",)


def _of_form(table: Table, time: str, form: str) -> _Column:
    """A column of which is said how it is written."""
    if form == "count" or form in UNIX:
        numbers = _numbers(table.column(time))
        if numbers is None or (form == "count" and numbers.dtype.kind == "f"):
            bad = next((r for r, c in enumerate(table.column(time)) if _numbers(np.array([c], object)) is None), 0)
            raise DataError(
                f"{table.where(bad)}: the time {time!r} is {str(table.column(time)[bad])[:40]!r}, expected a number as "
                f"time_format={form!r} says"
            )
        return _Column("count", numbers, np.zeros(len(numbers), bool)) if form == "count" else _unix(numbers, form)
    return _of_moments(table, time, form)


def _unix(numbers: NDArray[Any], unit: str) -> _Column:
    size = UNIX[unit]
    micros = (numbers * (_SECOND / size)).round() if numbers.dtype.kind == "f" else _times(numbers, _SECOND, size)
    return _Column(unit, micros.astype(np.int64), np.ones(len(numbers), bool), "UTC")


def _times(numbers: Times, by: int, over: int) -> Times:
    return numbers * (by // over) if by >= over else numbers // (over // by)


def _as_known(table: Table, time: str, clock: Clock) -> _Column | None:
    """A column whose clock is known; None where it must be read cell by cell."""
    quick = _dates_and_times(table, time) if clock.kind in ("time", "year") and clock.form is None else None
    if quick is not None:
        return quick
    numbers = _numbers(table.column(time))
    if numbers is None or clock.form is not None:
        return None
    if clock.kind in UNIX:
        return _unix(numbers, clock.kind)
    if numbers.dtype.kind == "f":
        return None
    if clock.kind == "count":
        return _Column(clock.kind, numbers, np.zeros(len(numbers), bool))
    dates = _as_dates(numbers)
    return None if dates is None else _Column(clock.kind, dates, np.zeros(len(numbers), bool))


def _dates_and_times(table: Table, time: str) -> _Column | None:
    """A column of datetime64, or of texts that PyArrow reads; None where it is another, or one may be no time."""
    strings = table.strings(time)
    if strings is not None:
        read = arrow.seconds(strings)
        if read is None:
            return None
        seconds, offsets = read
        zone, notes = _zone_of([parse_time(text) for text in offsets]) if offsets else (None, ())
        return _Column("time", seconds * _SECOND, np.full(len(seconds), bool(offsets)), zone, notes)
    column = table.column(time)
    if column.dtype.kind != "M" or np.isnat(column).any():
        return None
    years = column.astype("datetime64[Y]").astype(np.int64) + 1970
    if not all(1 <= year <= 9999 for year in (years.min(initial=1), years.max(initial=1))):
        row = int(np.flatnonzero((years < 1) | (years > 9999))[0])
        raise DataError(f"{table.where(row)}: the time {time!r} is in the year {years[row]}, expected one of 1 to 9999")
    stated = table.zones.get(time)
    aware = np.full(len(column), stated is not None)
    return _Column("time", column.astype("datetime64[us]").astype(np.int64), aware, stated)


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


def _numbers(column: NDArray[Any]) -> NDArray[Any] | None:
    """The column as whole numbers, or as floats where one has a fraction; None where it is something else."""
    if column.dtype.kind in "iu":
        return column.astype(np.int64)
    if column.dtype.kind in "OU":
        if all(isinstance(cell, (int, np.integer)) and not isinstance(cell, bool) for cell in column):
            return np.array([int(cell) for cell in column], np.int64)
        if not all(isinstance(cell, str) for cell in column):
            return None
        texts = [cell.strip() for cell in column]
        if not all(_NUMBER.fullmatch(text) for text in texts):
            return None
        if all(text.lstrip("-").isdecimal() for text in texts):
            return np.array([int(text) for text in texts], np.int64)
        column = np.array([float(text) for text in texts])
    if column.dtype.kind != "f" or not np.isfinite(column).all():
        return None
    return column.astype(np.int64) if (column == np.floor(column)).all() else column.astype(np.float64)


_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{0,9})?|\d{19}")


def _of_numbers(table: Table, numbers: NDArray[Any], name: str) -> _Column:
    """Numbers as years, as dates without dashes, as time since 1970 or as a count."""
    low, high, wall = float(numbers.min()), float(numbers.max()), np.zeros(len(numbers), bool)
    if numbers.dtype.kind != "f":
        dates = _as_dates(numbers)
        if dates is not None and are_years(numbers):
            return _Column("year", dates, wall)
        if dates is not None:
            said = str(dates[:1].astype("datetime64[us]").astype("datetime64[s]")[0]).replace("T", " ")
            return _Column("time", dates, wall, None, (f"{name}: read as dates, {numbers[0]} as {said}",))
        _check_dates(table, numbers, name)
    for unit, size in UNIX.items():
        if low / size >= _SINCE_1970.start and high / size < _SINCE_1970.stop:
            return replace(_unix(numbers, unit), notes=(f"{name}: read as {unit} since 1970, UTC",))
    if numbers.dtype.kind == "f":
        row = int(np.flatnonzero(numbers != np.floor(numbers))[0])
        raise DataError(
            f"{table.where(row)}: the time {name!r} is {numbers[row]:g}, expected a date, or a whole number: if it is "
            "a date of a spreadsheet, say --time-format excel (time_format='excel'); without a time column rows count"
        )
    return _Column("count", numbers, wall)


def _check_dates(table: Table, whole: Times, name: str) -> None:
    """Raise DataError where most of some whole numbers spell dates, and one does not."""
    found = compact(whole)
    if found is not None and found[1].mean() > _MOST_DATES:
        row = int(np.flatnonzero(~found[1])[0])
        raise DataError(
            f"{table.where(row)}: the time {name!r} is {whole[row]}, expected a date as {whole[found[1]][0]} is: "
            "correct it; if these are mere numbers, say --time-format count (time_format='count')"
        )


def _as_dates(whole: Times) -> Times | None:
    """Whole numbers that are years, or dates without dashes, as microseconds since 1970; None where one is neither."""
    if int(whole.min()) in YEARS and int(whole.max()) in YEARS:
        return (whole - 1970).astype("datetime64[Y]").astype("datetime64[us]").astype(np.int64)
    found = compact(whole)
    return found[0] if found is not None and found[1].all() else None


def _parse(table: Table, row: int, name: str, form: str | None = None) -> datetime:
    cell = table.column(name)[row]
    if _is_missing(cell):
        raise DataError(_missing(table, row, name))
    try:
        return parse_time(cell, form)
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
