"""`Step`: the distance between the rows of a series, from seconds to years."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.clock import Clock
from recurra.errors import DataError

Times = NDArray[np.int64]

MINUTE, HOUR, DAY, WEEK = 60, 3600, 86400, 604800
LONGEST_SEASON = 20_000  # rows; a live forecaster remembers as many values
UNITS = ("second", "weekday", "month", "row")
_ONE = ((1, ""),)
_NAMES = {
    "second": ((WEEK, "week"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (1, "second")),
    "month": ((12, "year"), (3, "quarter"), (1, "month")),
}


@dataclass(frozen=True)
class Step:
    """The distance between rows: seconds, days from Monday to Friday, months, or just rows.

    A step of months keeps to a day of the month, or to its last day. Times are whole numbers as `Clock` reads them.

    Attributes:
        count: how many units a step is.
        unit: "second", "weekday", "month" or "row".
        day: for months: the day of the month, 31 for its last day.

    >>> print(Step(1800, "second"), Step(3, "month"), Step(1, "row"))
    30 minutes 1 quarter 1 row
    >>> Step(1800, "second").seasons()
    (48, 336, 17472)
    """

    count: int
    unit: str
    day: int = 1

    @classmethod
    def infer(cls, *series: Times, clock: Clock | None = None) -> Step:
        """The step that most neighbours have, over one or several series of times in order.

        Raises:
            DataError: no series has two rows.
        """
        clock = clock or Clock()
        differences = np.concatenate([np.diff(times) for times in series]) if series else np.zeros(0, np.int64)
        differences = differences[differences > 0]
        if not len(differences):
            raise DataError("there are no two rows to see a step between, expected at least 2: give more rows")
        values, counts = np.unique(differences, return_counts=True)
        usual = int(values[np.argmax(counts)])
        if clock.kind == "count":
            return cls(usual, "row")
        whole = np.concatenate([times for times in series if len(times) > 1])
        if usual >= 28 * DAY and len(np.unique(whole % DAY)) == 1:
            day = _day_of_month(whole)
            months = np.concatenate([np.diff(_months(times)) for times in series])
            months = months[months > 0]
            if day and len(months):
                found, how_often = np.unique(months, return_counts=True)
                return cls(int(found[np.argmax(how_often)]), "month", day)
        if usual == DAY and (differences == 3 * DAY).any() and len(np.unique(whole % DAY)) == 1:
            weekday = (whole // DAY + 3) % 7
            if weekday.max() < 5:
                return cls(1, "weekday")
        return cls(usual, "second")

    def index(self, times: Times, start: int) -> tuple[Times, NDArray[np.bool_]]:
        """How many steps each time is after the start, and whether it is a whole number of them."""
        if self.unit == "month":
            months = _months(times) - _months(np.array([start]))[0]
            rows = months // self.count
        elif self.unit == "weekday":
            rows = np.busday_count(_dates(np.array([start]))[0], _dates(times)).astype(np.int64)
        else:
            rows = (times - start) // self.count
        return rows, self.add(start, rows) == times

    def add(self, time: int, rows: Times | int) -> Times:
        """The time that is this many steps later.

        >>> Step(1, "month", 31).add(0, np.array([0, 1, 2])) // DAY  # the last days of January, February, March
        array([30, 58, 89])
        """
        n = np.asarray(rows, np.int64)
        if self.unit == "month":
            first = np.datetime64(int(_months(np.array([time]))[0]), "M") + n * self.count
            start = first.astype("datetime64[D]").astype(np.int64)
            length = (first + 1).astype("datetime64[D]").astype(np.int64) - start
            return np.asarray((start + np.minimum(self.day, length) - 1) * DAY + time % DAY, np.int64)
        if self.unit == "weekday":
            day = np.busday_offset(_dates(np.array([time]))[0], n, roll="backward")
            return np.asarray(day.astype(np.int64) * DAY + time % DAY, np.int64)
        return np.asarray(time + n * self.count, np.int64)

    def after(self, time: int) -> int:
        """The time of the next row."""
        return time + self.count if self.unit in ("second", "row") else int(self.add(time, 1))

    def seasons(self) -> tuple[int, ...]:
        """How many steps a day, a week and a year (52 weeks, so that weekdays meet) are, where it is a whole number."""
        if self.unit == "month":
            return (12 // self.count,) if 12 % self.count == 0 and self.count < 12 else ()
        if self.unit == "weekday":
            return 5, 260
        if self.unit == "row":
            return ()
        lengths = (p // self.count for p in (DAY, WEEK, 52 * WEEK) if p % self.count == 0)
        return tuple(n for n in lengths if 1 < n <= LONGEST_SEASON)

    def __str__(self) -> str:
        size, name = next((size, name) for size, name in _NAMES.get(self.unit, _ONE) if self.count % size == 0)
        name = name or self.unit
        count = self.count // size
        return f"{count} {name}" + ("s" if count > 1 else "")

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"count": self.count, "unit": self.unit, "day": self.day}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Step:
        """From `to_dict`.

        Raises:
            DataError: it is not what `to_dict` writes.
        """
        count, unit, day = described["count"], described["unit"], described["day"]
        if not (type(count) is int and 0 < count < 1 << 40 and unit in UNITS and type(day) is int and 0 < day < 32):
            raise DataError(f"the step is {dict(described)}, expected what recurra writes: save the model again")
        return cls(count, unit, day)


def _dates(times: Times) -> NDArray[np.datetime64]:
    return (times // DAY).astype("datetime64[D]")


def _months(times: Times) -> Times:
    return _dates(times).astype("datetime64[M]").astype(np.int64)


def _day_of_month(times: Times) -> int:
    """The day that all times have: 31 where each is the last of its month, 0 where they differ."""
    dates = _dates(times)
    day = (dates - dates.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64) + 1
    last = ((dates + 1).astype("datetime64[M]") != dates.astype("datetime64[M]")).all()
    if last and len(np.unique(day)) > 1:
        return 31
    top = int(day.max())
    length = ((dates.astype("datetime64[M]") + 1).astype("datetime64[D]") - dates).astype(np.int64) + day - 1
    return top if (day == np.minimum(top, length)).all() else 0
