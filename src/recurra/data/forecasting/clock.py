"""`Clock`: how the times of a table are read and written, and what a clock on the wall shows at them.

Inside, a time is a whole number, a tick: seconds since 1970 for dates and times, or parts of a second where steps are
as short; itself for a counter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.forms import EPOCH, UNIX, YEARS, check_form, micros_of, parse_time
from recurra.errors import DataError

_DAY = 86400
_QUARTER_HOUR = 900  # seconds; no zone changes its offset in between
_MOST = 1 << 62  # of a counter
_UNITS = {1: "s", 10**3: "ms", 10**6: "us"}
KINDS = ("time", "year", "count", *UNIX)

# The years 1000 and 9000 in seconds since 1970.
_FIRST, _LAST = (int(np.datetime64(f"{year}-01-01", "s").astype(np.int64)) for year in (1000, 9000))


@dataclass(frozen=True)
class Clock:
    """What the times of a table mean.

    Times with a UTC offset, or of a zone, are instants: an hour is 3600 seconds, also on the days when the clocks
    change, and the calendar (time of day, weekday) is that of the zone's clock on the wall. Times that state neither
    are taken as a clock that never changes. Steps of a day and more go by the dates on the wall.

    Attributes:
        kind: "time" (dates and times), "year" (whole numbers that are years), "seconds" .. "nanoseconds" (since 1970,
            in UTC), or "count" (any whole numbers, row numbers).
        zone: a name such as "Europe/Berlin", an offset such as "+01:00", or None where times state no zone.
        dates: whether times are the dates on the wall rather than instants, for steps of a day and more.
        form: how times are written, where that must be said: see `forms.parse_time`.
        ticks: how many there are in a second: 1, a thousand or a million. What is finer is rounded.
    """

    kind: str = "time"
    zone: str | None = None
    dates: bool = False
    form: str | None = None
    ticks: int = 1

    def read(self, value: Any, after: int | None = None) -> int:
        """A time as a whole number.

        Of a time on the wall that comes twice, in the night when summer ends, the first is meant, but the second where
        the first is not after `after`.

        Raises:
            ValueError: it is no time of this clock; the message says what was expected.

        >>> Clock(zone="Europe/Berlin").read("2024-07-01 12:00") == Clock().read("2024-07-01 10:00")
        True
        """
        if self.kind == "count":
            return _whole(value)
        if self.kind in UNIX and not isinstance(value, (datetime, np.datetime64)):
            instant: int = self.round(_since_1970(value, UNIX[self.kind]))
            return int(self.shown(np.array([instant]))[0]) if self.dates else instant
        moment = parse_time(value, self.form)
        tick: int = self.round(micros_of(moment))
        if moment.tzinfo is None:
            if self.zone is None or self.dates:
                return tick
            first = self._instant(tick, moment.fold)
            return first if after is None or first > after else self._instant(tick, 1)
        if self.zone is None:
            raise ValueError(f"{value} has an offset from UTC, expected none like the times of the training table")
        return int(self.shown(np.array([tick]))[0]) if self.dates else tick

    def check(self, tick: int) -> None:
        """Raise ValueError unless a calendar holds the time, and what is forecast from it."""
        if self.kind != "count" and not _FIRST <= tick // self.ticks < _LAST:
            raise ValueError("a time before the year 1000 or after 8999, expected one of these eight thousand years")

    def round(self, micros: Any) -> Any:
        """Microseconds since 1970 as ticks, one or an array of them."""
        size = 10**6 // self.ticks
        return (micros + size // 2) // size

    def _instant(self, local: int, fold: int) -> int:
        wall = EPOCH + timedelta(seconds=local // self.ticks)
        offset = wall.replace(tzinfo=_zone(self.zone), fold=fold).utcoffset()
        return local - round((offset or timedelta()).total_seconds()) * self.ticks

    def instants(self, wall: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and the second instant at which a clock on the wall shows each time; mostly they are one."""

        def offset(block: int) -> tuple[int, ...]:
            at = block * _QUARTER_HOUR * self.ticks
            return tuple((at - self._instant(at, fold)) // self.ticks for fold in (0, 1))

        offsets = _by_block(offset, wall // self.ticks) * self.ticks
        return wall - offsets[:, 0], wall - offsets[:, 1]

    def wall(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """What a clock on the wall shows at some ticks, as whole seconds since 1970."""
        if self.kind == "count":
            return times
        return (times if self.dates else self.shown(times)) // self.ticks

    def shown(self, instants: NDArray[np.int64]) -> NDArray[np.int64]:
        """What it shows at some instants, in ticks."""
        if self.zone is None:
            return instants
        zone = self.zone
        offsets = _by_block(lambda block: (_offset(zone, block),), instants // self.ticks)[:, 0]
        return instants + offsets * self.ticks

    def wall_one(self, time: int) -> int:
        """As `wall`, for one time."""
        if self.kind == "count":
            return time
        second = time // self.ticks
        return second if self.zone is None or self.dates else second + _offset(self.zone, second // _QUARTER_HOUR)

    def text(self, time: int) -> str:
        """A time as a table has it, in ISO 8601.

        >>> Clock(zone="Europe/Berlin").text(Clock().read("2024-07-01 10:00"))
        '2024-07-01T12:00:00+02:00'
        """
        if self.kind == "count":
            return str(time)
        if self.kind in UNIX and not self.dates:
            whole, rest = divmod(int(time) * UNIX[self.kind], self.ticks)
            return str(whole) + (f".{rest * 10**6 // self.ticks:06}".rstrip("0") if rest else "")
        moment = EPOCH + timedelta(microseconds=int(time) * 10**6 // self.ticks)
        if self.kind == "year":
            return str(moment.year)
        if self.dates:
            return moment.date().isoformat() if time % (86400 * self.ticks) == 0 else moment.isoformat()
        unit = "milliseconds" if self.ticks == 1000 and moment.microsecond else "auto"
        if self.zone is None:
            return moment.isoformat(timespec=unit)
        offset = timedelta(seconds=_offset(self.zone, int(time) // self.ticks // _QUARTER_HOUR))
        return (moment + offset).replace(tzinfo=timezone(offset)).isoformat(timespec=unit)

    def array(self, times: NDArray[np.int64]) -> NDArray[Any]:
        """As datetime64[s], [ms] or [us] (UTC where the times have a zone), or as it is for a counter."""
        return times if self.kind == "count" else times.astype(f"datetime64[{_UNITS[self.ticks]}]")

    def tick(self, time: np.datetime64) -> int:
        """A datetime64 of `array` as a tick."""
        return int(time.astype(f"datetime64[{_UNITS[self.ticks]}]").astype(np.int64))

    def to_dict(self) -> dict[str, Any]:
        """As JSON; what was not there before, only where it says something."""
        more = {"form": self.form} if self.form else {}
        return (
            {"kind": self.kind, "zone": self.zone, "dates": self.dates}
            | more
            | ({"ticks": self.ticks} if self.ticks != 1 else {})
        )

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Clock:
        """From `to_dict`.

        Raises:
            DataError: it is not what `to_dict` writes.
        """
        kind, zone, dates = described["kind"], described["zone"], described["dates"]
        if kind not in KINDS or not isinstance(dates, bool) or not (zone is None or isinstance(zone, str)):
            raise DataError(f"the clock is {dict(described)}, expected what recurra writes: save the model again")
        form, ticks = described.get("form"), described.get("ticks", 1)
        if type(ticks) is not int or ticks not in _UNITS or not (form is None or isinstance(form, str)):
            raise DataError(f"the clock is {dict(described)}, expected what recurra writes: save the model again")
        if zone is not None:
            check_zone(zone)
        if form is not None:
            check_form(form)
        return cls(kind, zone, dates, form, ticks)


def check_zone(zone: str) -> None:
    """Raise DataError unless the zone is known here."""
    try:
        _zone(zone)
    except Exception as error:
        raise DataError(
            f"the time zone is {zone[:40]!r}, expected a name such as Europe/Berlin or an offset such as +01:00; "
            "where a name is right, install the zones: pip install tzdata"
        ) from error


@lru_cache(64)
def _zone(name: str | None) -> tzinfo:
    if name is None or name == "UTC":
        return UTC
    if name[0] in "+-":
        parsed = datetime.fromisoformat(f"2000-01-01T00:00:00{name}").tzinfo
        assert parsed is not None
        return parsed
    return ZoneInfo(name)


@lru_cache(1 << 16)
def _offset(zone: str | None, block: int) -> int:
    """The offset from UTC, in seconds, in one quarter of an hour of UTC."""
    moment = (EPOCH + timedelta(seconds=block * _QUARTER_HOUR)).replace(tzinfo=UTC).astimezone(_zone(zone))
    return round((moment.utcoffset() or timedelta()).total_seconds())


def _by_block(offset: Callable[[int], tuple[int, ...]], times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Offsets of times, asked for by quarters of an hour; once a day where they are the same from end to end of it."""
    days, places = np.unique(times // _DAY, return_inverse=True)
    edges = [np.array([offset(int(day + n) * _DAY // _QUARTER_HOUR) for day in days], np.int64) for n in (0, 1)]
    offsets = edges[0][places]
    mixed = (edges[0] != edges[1]).any(1)[places]
    if mixed.any():
        blocks, at = np.unique(times[mixed] // _QUARTER_HOUR, return_inverse=True)
        offsets[mixed] = np.array([offset(int(block)) for block in blocks], np.int64)[at]
    return offsets


def _whole(value: Any) -> int:
    whole = int(float(value)) if isinstance(value, str) and not value.strip().lstrip("-").isdecimal() else int(value)
    if (isinstance(value, (float, str)) and float(value) != whole) or abs(whole) >= _MOST:
        raise ValueError(f"{str(value)[:40]} is no whole number that counts")
    return whole


def _since_1970(value: Any, unit: int) -> int:
    """A number of seconds, or of parts of them, as microseconds."""
    if isinstance(value, (int, np.integer)):
        return int(value) * 10**6 // unit
    if isinstance(value, str) and not float(value) < 1e19:  # so that no text can make a number of a million digits
        raise ValueError(f"{value[:40]} is no time since 1970")
    number = Decimal(value.strip()) if isinstance(value, str) else Decimal(float(value))
    return int(number * 10**6 / unit)


def are_years(times: NDArray[np.int64]) -> bool:
    """Whether whole numbers are years: all from 1500 to 2499."""
    return bool(len(times)) and int(times.min()) in YEARS and int(times.max()) in YEARS
