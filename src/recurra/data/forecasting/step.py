"""`Step`: the distance between the rows of a series, from seconds to years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.clock import Clock
from recurra.errors import DataError

Times = NDArray[np.int64]

MINUTE, HOUR, DAY, WEEK = 60, 3600, 86400, 604800
LONGEST_SEASON = 20_000  # rows; a live forecaster remembers as many values
TICKS = {"second": 1, "millisecond": 10**3, "microsecond": 10**6}  # in a second, of clocks with such steps
UNITS = (*TICKS, "weekday", "month", "row")
NEAR = 5  # a time as near to its place as this part of a step is there
_SPREAD = 3  # times their median distance from a round time of the day, of times that are meant to be there
_MOST_DAYS = 6  # of a month, on which rows are
_SIXTIETHS = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)
_ROUND = [
    n * size
    for size, ns in ((1, _SIXTIETHS), (MINUTE, _SIXTIETHS), (HOUR, (1, 2, 3, 4, 6, 8, 12)), (DAY, (1, 2, 7, 14, 28)))
    for n in ns
]  # seconds that people choose for a step
_ONE = ((1, ""),)
_NAMES = {
    "second": ((WEEK, "week"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (1, "second")),
    "month": ((12, "year"), (3, "quarter"), (1, "month")),
}


@dataclass(frozen=True)
class Step:
    """The distance between rows: seconds or parts of them, days from Monday to Friday, months, or just rows.

    A step of months keeps to a day of the month, to its last day, or to the first or last weekday; or there are several
    days in each month. Times are whole numbers as `Clock` reads them.

    Attributes:
        count: how many units a step is.
        unit: one of `UNITS`.
        day: for months: the day of the month, 31 for its last day.
        days: for months: the days, where there are several: (1, 11, 21).
        roll: for months: what a Saturday or Sunday becomes, the weekday before (-1) or after (1).
        phase: where in a step of seconds, or in a day, the times of training are; None where that is not known.

    >>> print(Step(1800, "second"), Step(3, "month"), Step(1, "row"))
    30 minutes 1 quarter 1 row
    >>> Step(1800, "second").seasons()
    (48, 336, 17472)
    """

    count: int
    unit: str
    day: int = 1
    days: tuple[int, ...] = ()
    roll: int = 0
    phase: int | None = None

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
        if clock.kind == "count":
            return cls(_usual(differences), "row")
        whole = np.concatenate([times for times in series if len(times) > 1])
        one, day = clock.ticks, DAY * clock.ticks
        unit = next(name for name, ticks in TICKS.items() if ticks == one)
        usual, middle = _usual(differences), float(np.median(differences))
        found = []
        if len(np.unique(whole % day)) == 1 or middle >= day:
            found = _of_days(series, usual, middle, differences) if one == 1 else []
        for step in [*found, cls(usual, unit)]:
            if all(step._fits(times) and not step._off(times).any() for times in series):
                return step._with_phase(whole, exact=True)
        near = [step for step in (one._with_phase(whole) for one in found) if all(map(step._fits, series))]
        if near:
            return max(near, key=lambda step: sum(int((step._off(times) == 0).sum()) for times in series))
        near = [cls(n, unit)._with_phase(whole) for n in (usual, *_round_near(middle, one)) if n > 0]
        near = [step for step in near if all(map(step._fits, series))]
        if near:
            return min(near, key=lambda step: sum(int(step._off(times).sum()) for times in series))
        return cls(usual, unit)._with_phase(whole)

    def _with_phase(self, times: Times, exact: bool = False) -> Step:
        """Where on the step most times are: at its beginning, where they differ and are near that; none where `exact`
        series have their own."""
        size = self.count if self.unit in TICKS else DAY if self.unit != "row" else 0
        if not size:
            return self
        places = times % size
        phases, counts = np.unique(places, return_counts=True)
        most = int(phases[np.argmax(counts)])
        if exact:
            return replace(self, phase=most if len(phases) == 1 else None)
        if 2 * counts.max() <= len(times):
            middle = float(np.angle(np.exp(2j * np.pi * places / size).mean())) / (2 * np.pi) * size
            off = float(np.median(np.abs((places - middle + size / 2) % size - size / 2)))
            ticks = TICKS.get(self.unit, 1)
            rounded = (round(middle / n) * n for n in (size, *(n * ticks for n in (HOUR, 15 * MINUTE, MINUTE, 1)), 1))
            most = int(next(n for n in rounded if abs(n - middle) <= max(1, _SPREAD * off))) % size
        return replace(self, phase=most)

    def _fits(self, times: Times) -> bool:
        """Whether rising times are all near to the step's places, each to one of its own."""
        if not len(times):
            return True
        index, fine = self.nearest(times, self.anchor(int(times[0])))
        return bool(fine.all() and (np.diff(index, prepend=-1) > 0).all())

    def _off(self, times: Times) -> Times:
        """How far times are from the nearest of its places."""
        start = self.anchor(int(times[0])) if len(times) else 0
        return np.asarray(np.abs(self.add(start, self.nearest(times, start)[0]) - times))

    def anchor(self, time: int) -> int:
        """The first of a series' places for its first time: as in training where it is near to that, else itself."""
        if self.phase is None or self.unit == "row":
            return time
        size = self.count if self.unit in TICKS else DAY
        off = (time - self.phase + size // 2) % size - size // 2
        near = time - off if abs(off) * NEAR <= size else time
        if self.unit == "month":
            place = int(self._at(self._slots(np.array([near])), near % DAY)[0])
            return place if abs(place - near) * NEAR <= self._length() else near
        return near

    def trained(self, time: int) -> bool:
        """Whether a time is on the steps of training, where these are known."""
        return self.phase is not None and self.unit in TICKS and (time - self.phase) % self.count == 0

    def nearest(self, times: Times, start: int) -> tuple[Times, NDArray[np.bool_]]:
        """How many steps after the start is the place nearest to each time, and whether that is near."""
        if self.unit == "row":
            return self.index(times, start)
        if self.unit in TICKS:
            rows = (times - start + self.count // 2) // self.count
        elif self.unit == "month":
            rows = self._slots(times) - self._first(start)
            rows = (rows + self.count // 2) // self.count
        else:
            days = _dates(times - start % DAY + DAY // 2)
            rows = np.busday_count(_dates(np.array([start]))[0], days).astype(np.int64)
        return rows, np.abs(self.add(start, rows) - times) * NEAR <= self._length()

    def _length(self) -> int:
        """About how long a step is."""
        if self.unit == "month":
            return 30 * DAY * self.count // len(self._days)
        return DAY if self.unit == "weekday" else self.count

    @property
    def _days(self) -> tuple[int, ...]:
        return self.days or (self.day,)

    def _slots(self, times: Times) -> Times:
        """The number, since 1970, of the month's day that is nearest to each time."""
        L = len(self._days)
        tried = np.arange(-L, 2 * L)[:, None] + _months(times) * L
        away = np.abs(self._at(tried, times % DAY) - times)
        return np.asarray(tried[np.argmin(away, 0), np.arange(len(times))])

    def _first(self, start: int) -> int:
        """That of a series' first time, which may be on any day of its month where there is one place in each."""
        first = np.array([start])
        return int((self._slots(first) if self.days else _months(first))[0])

    def _at(self, slots: Times, clock: Times | int) -> Times:
        """The time of such a number, at a time of the day."""
        days = np.array(self._days)
        first = (slots // len(days)).astype("datetime64[M]")
        start = first.astype("datetime64[D]").astype(np.int64)
        length = (first + 1).astype("datetime64[D]").astype(np.int64) - start
        date = start + np.minimum(days[slots % len(days)], length) - 1
        if self.roll:
            weekday = (date + 3) % 7
            date = date + np.where(weekday < 5, 0, 4 - weekday if self.roll < 0 else 7 - weekday)
        return np.asarray(date * DAY + clock, np.int64)

    def index(self, times: Times, start: int) -> tuple[Times, NDArray[np.bool_]]:
        """How many steps each time is after the start, and whether it is a whole number of them."""
        if self.unit == "month":
            rows = (self._slots(times) - self._first(start)) // self.count
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
            return self._at(self._first(time) + n * self.count, time % DAY)
        if self.unit == "weekday":
            day = np.busday_offset(_dates(np.array([time]))[0], n, roll="backward")
            return np.asarray(day.astype(np.int64) * DAY + time % DAY, np.int64)
        return np.asarray(time + n * self.count, np.int64)

    def after(self, time: int) -> int:
        """The time of the next row."""
        return time + self.count if self.unit in (*TICKS, "row") else int(self.add(time, 1))

    def seasons(self) -> tuple[int, ...]:
        """How many steps a day, a week and a year (52 weeks, so that weekdays meet) are, where it is a whole number."""
        if self.days:
            return (12 * len(self.days),)
        if self.unit == "month":
            return (12 // self.count,) if 12 % self.count == 0 and self.count < 12 else ()
        if self.unit == "weekday":
            return 5, 260
        if self.unit not in TICKS:
            return ()
        lengths = (
            p // self.count for p in (n * TICKS[self.unit] for n in (DAY, WEEK, 52 * WEEK)) if p % self.count == 0
        )
        return tuple(n for n in lengths if 1 < n <= LONGEST_SEASON)

    def __str__(self) -> str:
        if self.days:
            return f"1/{len(self.days)} month"
        size, name = next((size, name) for size, name in _NAMES.get(self.unit, _ONE) if self.count % size == 0)
        name = name or self.unit
        count = self.count // size
        return f"{count} {name}" + ("s" if count > 1 else "")

    def to_dict(self) -> dict[str, Any]:
        """As JSON; what was not there before, only where it says something."""
        more: dict[str, Any] = {"days": list(self.days)} if self.days else {}
        more |= {"roll": self.roll} if self.roll else {}
        more |= {} if self.phase is None else {"phase": self.phase}
        return {"count": self.count, "unit": self.unit, "day": self.day} | more

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Step:
        """From `to_dict`.

        Raises:
            DataError: it is not what `to_dict` writes.
        """
        count, unit, day = described["count"], described["unit"], described["day"]
        days, roll, phase = tuple(described.get("days", ())), described.get("roll", 0), described.get("phase")
        fine = type(count) is int and 0 < count < 1 << 40 and unit in UNITS and type(day) is int and 0 < day < 32
        fine &= len(days) <= _MOST_DAYS and all(type(d) is int and 0 < d < 32 for d in days) and len(days) != 1
        fine &= list(days) == sorted(set(days)) and roll in (-1, 0, 1) and (not days or (unit, count) == ("month", 1))
        fine &= phase is None or (type(phase) is int and 0 <= phase < 1 << 40)
        if not fine:
            raise DataError(f"the step is {dict(described)}, expected what recurra writes: save the model again")
        return cls(count, unit, day, days, roll, phase)


def _usual(differences: Times) -> int:
    values, counts = np.unique(differences, return_counts=True)
    return int(values[np.argmax(counts)])


def _round_near(middle: float, ticks: int) -> list[int]:
    """Lengths that people choose, near to one that was seen, the nearest first; in ticks."""
    size = 10 ** max(0, len(str(int(middle))) - 2)
    known = {round(middle / size) * size, *(_ROUND if ticks == 1 else ())}
    near = sorted((n for n in known if abs(n - middle) * 2 * NEAR <= middle), key=lambda n: abs(n - middle))
    return [*near, round(middle)]


def _of_days(series: Sequence[Times], usual: int, middle: float, differences: Times) -> list[Step]:
    """The steps of weekdays, months, and days of a month that times of whole days may be on."""
    whole = np.concatenate([times for times in series if len(times) > 1])
    found = []
    if usual >= 28 * DAY or middle >= 27 * DAY:
        months = np.concatenate([np.diff(_months(times)) for times in series])
        months = months[months > 0]
        if len(months):
            count, last = _usual(months), _month_days(whole)
            own = [d for d in (_day_of_month(whole), _usual(last)) if d]
            rolled = [Step(count, "month", 31, roll=-1), Step(count, "month", 1, roll=1)]
            found += [*(Step(count, "month", day) for day in own), Step(count, "month", 31), *rolled]
    elif middle >= 4 * DAY and (differences != usual).any():
        dates = _dates(whole)
        ends = (dates + 1).astype("datetime64[M]") != dates.astype("datetime64[M]")
        days = _month_days(whole)
        kinds = sorted({*days[~ends].tolist(), *([31] if (ends & ~np.isin(days, days[~ends])).any() else [])})
        if 1 < len(kinds) <= _MOST_DAYS:
            found.append(Step(1, "month", days=tuple(kinds)))
    if abs(middle - DAY) * NEAR <= DAY and (differences * 2 > 5 * DAY).any() and ((whole // DAY + 3) % 7).max() < 5:
        found.append(Step(1, "weekday"))
    return found


def _dates(times: Times) -> NDArray[np.datetime64]:
    return (times // DAY).astype("datetime64[D]")


def _months(times: Times) -> Times:
    return _dates(times).astype("datetime64[M]").astype(np.int64)


def _month_days(times: Times) -> Times:
    dates = _dates(times)
    return np.asarray((dates - dates.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64) + 1)


def _day_of_month(times: Times) -> int:
    """The day that all times have: 31 where each is the last of its month, 0 where they differ."""
    dates, day = _dates(times), _month_days(times)
    last = ((dates + 1).astype("datetime64[M]") != dates.astype("datetime64[M]")).all()
    if last and len(np.unique(day)) > 1:
        return 31
    top = int(day.max())
    length = ((dates.astype("datetime64[M]") + 1).astype("datetime64[D]") - dates).astype(np.int64) + day - 1
    return top if (day == np.minimum(top, length)).all() else 0
