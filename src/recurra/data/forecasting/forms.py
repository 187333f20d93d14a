"""Times as people write them: a cell, text or number, as a datetime.

What can be meant in one way only is read as it stands. Whether a day or a month comes first, what a year of two digits
is, and what a bare number counts, a form says: "dmy", "mdy", "ymd", "excel", or a pattern such as "%d.%m.%Y %H:%M".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.months import is_weekday, month_of
from recurra.errors import DataError

Times = NDArray[np.int64]

EPOCH = datetime(1970, 1, 1)
ORDERS = ("dmy", "mdy", "ymd")
UNIX = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}  # since 1970, in UTC
WORDS = (*ORDERS, "excel", *UNIX, "count")
YEARS = range(1500, 2500)
_EXCEL = datetime(1899, 12, 30)
_MOST_DAYS = 10**6
_CURE = (
    "write times as 2024-12-31 23:30, with +01:00 behind it where the offset from UTC is known, or say how they are "
    "written with --time-format (time_format=): '%d/%m/%Y %H:%M', dmy, mdy, excel, seconds"
)
# The least and the last year in which whole numbers of so many digits are taken for dates: YYYYMM to YYYYMMDDHHMMSS.
_COMPACT = {6: (1500, 2499), 8: (1500, 2499), 10: (1900, 2199), 12: (1900, 2199), 14: (1900, 2199)}
_CLOCK = (
    r"(?P<hour>\d{1,2})(?:(?P<alone>h| ?uhr)\b|(?:[:h]|\.(?=[\d.]*\s*[ap]\.?m))(?P<minute>\d\d)"
    r"(?:[:.](?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?)?(?:\s*(?P<half>[ap])\.?m\.?)?"
)
_ZONE = r"(?:\s*(?P<zone>z|utc|gmt|[+-]\d\d(?::?\d\d)?))?"
_TEXT = re.compile(
    rf"(?P<date>.+?)(?:(?:\s+|t|,\s*|\s+-\s+|(?<=/\d{{4}}):)(?P<clock>{_CLOCK}){_ZONE}|\s+(?P<utc>utc|gmt))?", re.I
)
_D, _M, _Y, _YY, _S = (
    r"(?P<d>\d{1,2})(?:st|nd|rd|th|er|º|°)?",
    r"(?P<m>\d{1,2})",
    r"(?P<y>\d{4})",
    r"'?(?P<y>\d\d)",
    "[-/. ,]",
)
_NAME = r"(?P<name>[^\W\d_]{3,12})\.?"
_DATES = [
    re.compile(pattern, re.I)
    for pattern in (
        rf"{_Y}([-/. _]){_M}\2(?P<d>\d{{1,2}})",
        rf"{_Y}(?:[-/ ]|m){_M}",
        rf"{_M}[-/. ]{_Y}",
        rf"{_Y}[-/ :]?q(?P<q>[1-4])",
        rf"q(?P<q>[1-4])[-/ ]?{_Y}",
        rf"q(?P<q>[1-4])[-/ ]{_YY}",
        rf"{_Y}[-/ ]?[hs](?P<half>[12])",
        rf"[hs](?P<half>[12])[-/ ]?{_Y}",
        rf"{_Y}-?(?P<n>\d{{3}})",
        rf"{_Y}[-/ ]?w(?P<w>\d\d?)(?:-?(?P<wd>[1-7]))?",
        rf"w(?P<w>\d\d?)[-/ ]?{_Y}",
        rf"{_NAME}{_S}*{_Y}",
        rf"{_Y}{_S}*{_NAME}",
        rf"{_NAME}{_S}*{_D}{_S}+{_Y}",
        rf"{_D}{_S}*{_NAME}{_S}*{_Y}",
        rf"{_Y}{_S}*{_NAME}{_S}*{_D}",
        rf"{_NAME}{_S}+{_YY}",
        rf"{_D}{_S}*{_NAME}{_S}+{_YY}",
    )
]
_WEEKDAY = re.compile(r"([^\W\d_]{3,12})\.?,?\s+")
_YEAR_LAST = re.compile(r"(?P<day>.+?)\s+(?P<clock>\d{1,2}:\d\d(?::\d\d)?)(?P<zone>\s+\S+)?\s+(?P<year>\d{4})")
_OF = re.compile(r"(?<=[\s\d.])(?:de|del|do|di)\s+", re.I)  # between day, month and year, in Romance languages
_RANGE = re.compile(r"(.*\d:\d\d)\s*[-–—]\s+(?=\S.*\d:\d\d).*", re.S)
_ORDERED = {
    "dmy": re.compile(rf"(?P<d>\d{{1,2}})([-/. ]){_M}\2(?P<y>\d{{4}}|\d\d)"),
    "mdy": re.compile(rf"{_M}([-/. ])(?P<d>\d{{1,2}})\2(?P<y>\d{{4}}|\d\d)"),
    "ymd": re.compile(rf"(?P<y>\d{{4}}|\d\d)([-/. ]){_M}\2(?P<d>\d{{1,2}})"),
}


def parse_time(value: Any, form: str | None = None) -> datetime:
    """A cell as a datetime, which has a zone where the cell says an offset from UTC.

    Args:
        value: a text; a whole number such as 20241231 or 202412; a date or datetime of Python, NumPy or pandas.
        form: how texts and numbers are written, where they can be meant in several ways: one of `ORDERS`, "excel", or
            a pattern of `datetime.strptime`.

    Raises:
        ValueError: it is no time.

    >>> parse_time("2024Q4"), parse_time("Jan 31, 2024 2:00 PM"), parse_time("31/1/2024 24:00", "dmy")
    (datetime.datetime(2024, 10, 1, 0, 0), datetime.datetime(2024, 1, 31, 14, 0), datetime.datetime(2024, 2, 1, 0, 0))
    """
    if isinstance(value, str):
        return _of_text(_beginning(value.strip()), form)
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, np.datetime64) and not np.isnat(value):
        return EPOCH + timedelta(microseconds=int(value.astype("datetime64[us]").astype(np.int64)))
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return _of_text(str(value), form)
    if isinstance(value, (float, np.floating)) and (form == "excel" or value == np.floor(value)):
        return _of_text(str(float(value)).removesuffix(".0"), form)
    raise ValueError(f"{value!r} is no time: {_CURE}")


def micros_of(moment: datetime) -> int:
    """Microseconds since 1970: UTC where the moment has an offset, as it stands where it has none."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    passed = moment - EPOCH
    return (passed.days * 86400 + passed.seconds) * 10**6 + passed.microseconds


def _beginning(text: str) -> str:
    """Of a range such as `01.01.2023 00:00 - 01.01.2023 01:00`, where it begins; else the text."""
    found = _RANGE.fullmatch(text) if len(text) < 100 and text.count(":") > 1 else None
    return text if found is None else found[1]


def _of_text(text: str, form: str | None) -> datetime:
    try:
        if form == "excel":
            return _of_excel(float(text))
        if form is not None and form not in ORDERS:
            return _of_pattern(text, form)
        if text.isdecimal():
            return _of_digits(text)
        if form is None:
            try:
                return datetime.fromisoformat(text.replace("/", "-"))
            except ValueError:
                pass
        return _of_words(text, form)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is no time: {_CURE}") from None


def _of_excel(days: float) -> datetime:
    if not 0 < days < _MOST_DAYS:
        raise ValueError(days)
    return _EXCEL + timedelta(milliseconds=round(days * 86_400_000))


@lru_cache(1 << 12)
def _of_pattern(text: str, pattern: str) -> datetime:
    """By strptime, to which a week without a day is its Monday; 24:00 ends a day."""
    if "%V" in pattern and not any(d in pattern for d in ("%u", "%a", "%A", "%w")):
        text, pattern = f"{text} 1", f"{pattern} %u"
    later = timedelta(0)
    if "%H:%M" in pattern and re.search(r"\b24:00", text):
        text, later = re.sub(r"\b24:00", "00:00", text), timedelta(days=1)
    return datetime.strptime(text, pattern) + later


def _of_digits(text: str) -> datetime:
    if len(text) == 4:
        return datetime(int(text), 1, 1)
    if len(text) not in _COMPACT:
        raise ValueError(text)
    fields = [int(text[:4]), *(int(text[i : i + 2]) for i in range(4, len(text), 2))]
    return datetime(*(fields if len(fields) > 2 else [*fields, 1]))  # type: ignore[arg-type]


def _of_words(text: str, form: str | None) -> datetime:
    last = _YEAR_LAST.fullmatch(text[:80])  # as C and Unix write it: Tue Jan 31 14:00:00 2023
    if last is not None:
        text = f"{last['day']} {last['year']} {last['clock']}{last['zone'] or ''}"
    found = _TEXT.fullmatch(text[:80])
    if found is None:
        raise ValueError(text)
    day = _date(found["date"].strip(), form)
    clock, moment = timedelta(0), datetime(day.year, day.month, day.day)
    if found["clock"]:
        clock = _clock(found)
    moment += clock
    zone = found["zone"] or found["utc"]
    if zone:
        offset = "+00:00" if zone[0] not in "+-" else zone
        moment = moment.replace(tzinfo=datetime.fromisoformat(f"2000-01-01T00:00:00{offset}").tzinfo)
        return moment.replace(tzinfo=UTC) if moment.utcoffset() == timedelta(0) else moment
    return moment


def _clock(found: re.Match[str]) -> timedelta:
    """The time of day; 24:00 is the end of it."""
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    if found["minute"] is None and not found["half"] and not found["alone"]:
        raise ValueError(found[0])
    if found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + 12 * (found["half"].lower() == "p")
    micros = int((found["fraction"] or "0").ljust(6, "0")[:6])
    if minute > 59 or second > 59 or hour > 24 or (hour == 24 and (minute or second or micros)):
        raise ValueError(found[0])
    return timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micros)


@lru_cache(1 << 14)
def _date(text: str, form: str | None) -> date:
    """The text of a date without a time."""
    if form is not None:
        found = _ORDERED[form].fullmatch(text)
        if found is not None:
            return date(_year(found["y"]), int(found["m"]), int(found["d"]))
    weekday = _WEEKDAY.match(text)
    if weekday is not None and is_weekday(weekday[1]):
        text = text[weekday.end() :]
    text = _OF.sub("", text)
    if text.isdecimal():
        return _of_digits(text).date()
    for pattern in _DATES:
        found = pattern.fullmatch(text)
        if found is not None:
            return _of_parts({name: part for name, part in found.groupdict().items() if part is not None})
    raise ValueError(text)


def _of_parts(parts: dict[str, str]) -> date:
    year = _year(parts["y"])
    if "w" in parts:
        return date.fromisocalendar(year, int(parts["w"]), int(parts.get("wd", 1)))
    if "n" in parts:
        day = date(year, 1, 1) + timedelta(days=int(parts["n"]) - 1)
        if day.year != year:
            raise ValueError(parts["n"])
        return day
    if "q" in parts:
        return date(year, 3 * int(parts["q"]) - 2, 1)
    if "half" in parts:
        return date(year, 6 * int(parts["half"]) - 5, 1)
    month = month_of(parts["name"]) if "name" in parts else int(parts["m"])
    return date(year, month, int(parts.get("d", 1)))


def _year(text: str) -> int:
    """Of two digits, those from 69 on are of the last century, as POSIX has it."""
    year = int(text)
    return year if len(text) == 4 else year + (1900 if year > 68 else 2000)


def check_form(form: str) -> None:
    """Raise DataError unless it is a form that `parse_time` knows, or a word for a number."""
    if form not in WORDS and "%" not in form:
        raise DataError(
            f"time_format is {form[:40]!r}, expected a pattern such as '%d/%m/%Y %H:%M', or one of {', '.join(WORDS)}"
        )


def orders_of(texts: Sequence[str]) -> list[str]:
    """The orders of day, month and year in which all of some texts are times; a date with dots begins with the day."""
    found = [order for order in ORDERS if all(_is_time(text, order) for text in texts)]
    if len(found) > 1 and "." in texts[0] and found[0] == "dmy":
        return found[:1]
    return [order for order in found if order != "ymd" or "-" in texts[0]] or found


def _is_time(text: str, form: str) -> bool:
    try:
        parse_time(text, form)
    except ValueError:
        return False
    return True


def compact(whole: Times) -> tuple[Times, NDArray[np.bool_]] | None:
    """Whole numbers that spell dates, as YYYYMM or YYYYMMDDHHMM do: microseconds, and which of them are dates.

    None where they have another or more than one number of digits, or are out of the years in which that is likely.

    >>> compact(np.array([202012, 202101]))[0].astype("datetime64[us]").astype("datetime64[M]")
    array(['2020-12', '2021-01'], dtype='datetime64[M]')
    """
    low, high = int(whole.min()), int(whole.max())
    digits = len(str(low))
    first, last = _COMPACT.get(digits, (0, -1))
    year = 10 ** (digits - 4) if digits > 4 else 1
    if low < 0 or len(str(high)) != digits or not first <= low // year <= high // year <= last:
        return None
    fields = [whole // year, *(whole // 100**k % 100 for k in range((digits - 4) // 2 - 1, -1, -1))]
    years, months, *rest = fields
    days, *clock = rest or [np.ones_like(whole)]
    limits = (24, 60, 60)
    fine = (months >= 1) & (months <= 12) & (days >= 1)
    month = ((years - 1970) * 12 + np.clip(months, 1, 12) - 1).astype("datetime64[M]")
    start, end = (m.astype("datetime64[D]").astype(np.int64) for m in (month, month + 1))
    fine &= days <= end - start
    seconds = (start + days - 1) * 86400
    for value, limit, size in zip(clock, limits, (3600, 60, 1), strict=False):
        fine &= value < limit
        seconds = seconds + value * size
    return seconds * 10**6, fine
