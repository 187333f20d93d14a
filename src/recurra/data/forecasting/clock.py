"""`Clock`: how the times of a table are read and written, and what a clock on the wall shows at them.

Inside, a time is a whole number: seconds since 1970 for dates and times, itself for a counter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError

_EPOCH = datetime(1970, 1, 1)
_MONTH = re.compile(r"(\d{4})[-/]?(?:(\d{2})|[Qq]([1-4]))")
_DAY = 86400
_QUARTER_HOUR = 900  # seconds; no zone changes its offset in between
_YEARS = range(1500, 2500)
_CURE = "write times as 2024-12-31 23:30, with +01:00 behind it where the offset from UTC is known"
UNIX = {"seconds": 1, "milliseconds": 1000}  # since 1970, in UTC
KINDS = ("time", "year", "count", *UNIX)


@dataclass(frozen=True)
class Clock:
    """What the times of a table mean.

    Times with a UTC offset, or of a zone, are instants: an hour is 3600 seconds, also on the days when the clocks
    change, and the calendar (time of day, weekday) is that of the zone's clock on the wall. Times that state neither
    are taken as a clock that never changes. Steps of a day and more go by the dates on the wall.

    Attributes:
        kind: "time" (dates and times), "year" (whole numbers that are years), "seconds" or "milliseconds" (since 1970,
            in UTC), or "count" (any whole numbers, row numbers).
        zone: a name such as "Europe/Berlin", an offset such as "+01:00", or None where times state no zone.
        dates: whether times are the dates on the wall rather than instants, for steps of a day and more.
    """

    kind: str = "time"
    zone: str | None = None
    dates: bool = False

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
        if self.kind in UNIX:
            instant = _whole(value) // UNIX[self.kind]
            return int(self.wall(np.array([instant]), True)[0]) if self.dates else instant
        moment = parse_time(value)
        if moment.tzinfo is None:
            local = seconds_of(moment)
            if self.zone is None or self.dates:
                return local
            first = self._instant(local, moment.fold)
            return first if after is None or first > after else self._instant(local, 1)
        instant = seconds_of(moment)
        if self.zone is None:
            raise ValueError(f"{value} has an offset from UTC, expected none like the times of the training table")
        return int(self.wall(np.array([instant]), True)[0]) if self.dates else instant

    def _instant(self, local: int, fold: int) -> int:
        offset = (_EPOCH + timedelta(seconds=local)).replace(tzinfo=_zone(self.zone), fold=fold).utcoffset()
        return local - round((offset or timedelta()).total_seconds())

    def instants(self, wall: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and the second instant at which a clock on the wall shows each time; mostly they are one."""

        def offset(block: int) -> tuple[int, ...]:
            at = block * _QUARTER_HOUR
            return tuple(at - self._instant(at, fold) for fold in (0, 1))

        offsets = _by_block(offset, wall)
        return wall - offsets[:, 0], wall - offsets[:, 1]

    def wall(self, times: NDArray[np.int64], force: bool = False) -> NDArray[np.int64]:
        """What a clock on the wall shows, as seconds since 1970."""
        if self.zone is None or (self.dates and not force):
            return times
        zone = self.zone
        return times + _by_block(lambda block: (_offset(zone, block),), times)[:, 0]

    def wall_one(self, time: int) -> int:
        """The same for one time."""
        return time if self.zone is None or self.dates else time + _offset(self.zone, time // _QUARTER_HOUR)

    def text(self, time: int) -> str:
        """A time as a table has it, in ISO 8601.

        >>> Clock(zone="Europe/Berlin").text(Clock().read("2024-07-01 10:00"))
        '2024-07-01T12:00:00+02:00'
        """
        if self.kind == "count":
            return str(time)
        if self.kind in UNIX and not self.dates:
            return str(int(time) * UNIX[self.kind])
        moment = _EPOCH + timedelta(seconds=int(time))
        if self.kind == "year":
            return str(moment.year)
        if self.dates:
            return moment.date().isoformat() if time % 86400 == 0 else moment.isoformat()
        if self.zone is None:
            return moment.isoformat()
        offset = timedelta(seconds=_offset(self.zone, int(time) // _QUARTER_HOUR))
        return (moment + offset).replace(tzinfo=timezone(offset)).isoformat()

    def array(self, times: NDArray[np.int64]) -> NDArray[Any]:
        """As datetime64[s] (UTC where the times have a zone), or as it is for a counter."""
        return times if self.kind == "count" else times.astype("datetime64[s]")

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"kind": self.kind, "zone": self.zone, "dates": self.dates}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Clock:
        """From `to_dict`.

        Raises:
            DataError: it is not what `to_dict` writes.
        """
        kind, zone, dates = described["kind"], described["zone"], described["dates"]
        if kind not in KINDS or not isinstance(dates, bool) or not (zone is None or isinstance(zone, str)):
            raise DataError(f"the clock is {dict(described)}, expected what recurra writes: save the model again")
        if zone is not None:
            check_zone(zone)
        return cls(kind, zone, dates)


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
    moment = (_EPOCH + timedelta(seconds=block * _QUARTER_HOUR)).replace(tzinfo=UTC).astimezone(_zone(zone))
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


def parse_time(value: Any) -> datetime:
    """A date, a time, a month (2024-12), a quarter (2024Q4) or a year as a datetime in whole seconds.

    Raises:
        ValueError: it is none of these.

    >>> parse_time("2024Q4"), parse_time("2024-12-31T23:30Z").tzinfo
    (datetime.datetime(2024, 10, 1, 0, 0), datetime.timezone.utc)
    """
    if isinstance(value, str):
        moment = _of_text(value.strip())
    elif isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day)
    elif isinstance(value, np.datetime64) and not np.isnat(value):
        moment = _EPOCH + timedelta(microseconds=int(value.astype("datetime64[us]").astype(np.int64)))
    elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        moment = _of_text(str(value))
    else:
        raise ValueError(f"{value!r} is no time: {_CURE}")
    if moment.microsecond:
        raise ValueError(
            f"{value} has a fraction of a second, expected whole seconds: leave the time column away, and rows count"
        )
    return moment


def _of_text(text: str) -> datetime:
    short = _MONTH.fullmatch(text)
    try:
        if short and not (short[2] and "-" not in text and "/" not in text):
            return datetime(int(short[1]), int(short[2] or 3 * int(short[3]) - 2), 1)
        if text.isdecimal() and len(text) == 4:
            return datetime(int(text), 1, 1)
        return datetime.fromisoformat(text.replace("/", "-"))
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time: {_CURE}") from None


def seconds_of(moment: datetime) -> int:
    """Seconds since 1970: UTC where the moment has an offset, as it stands where it has none."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    passed = moment - _EPOCH
    return passed.days * 86400 + passed.seconds


def _whole(value: Any) -> int:
    whole = int(value)
    if isinstance(value, float) and whole != value:
        raise ValueError(f"{value} is no whole number")
    return whole


def are_years(times: NDArray[np.int64]) -> bool:
    """Whether whole numbers are years: all from 1500 to 2499."""
    return bool(len(times)) and int(times.min()) in _YEARS and int(times.max()) in _YEARS
