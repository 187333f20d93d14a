"""A table's times and a stream's are read alike: whatever the zone, the step, the form and the gaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from unittest import mock
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from hypothesis import event, given, settings
from hypothesis import strategies as st

from recurra.data import arrow, as_table, series_of
from recurra.data.forecasting.series import put_on_step
from recurra.errors import DataError

EPOCH = datetime(1970, 1, 1)
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Beirut",
         "Africa/Casablanca", "America/St_Johns", "Atlantic/Azores"]  # fmt: skip
SHORT = {"s": 1, "min": 60, "15min": 900, "30min": 1800, "h": 3600, "6h": 6 * 3600}
LONG = ["D", "B", "W-WED", "MS", "ME", "QS", "YS"]
FORMS = ["wall", "wall with a T", "slashes", "offsets", "datetimes", "pandas", "pandas with a zone"]


@st.composite
def moments(draw):
    """The zone of a clock on the wall, or None; moments on a step, some left out; whether none is."""
    zone = draw(st.sampled_from([None, *ZONES]))
    keep = draw(st.lists(st.booleans(), min_size=4, max_size=60))
    if draw(st.booleans()):
        size, start = (
            SHORT[draw(st.sampled_from(sorted(SHORT)))],
            draw(st.integers(800_000_000, 1_900_000_000) | near(zone)),
        )
        instants = [start // size * size + size * i for i in range(len(keep))]
        found = [datetime.fromtimestamp(t, ZoneInfo(zone) if zone else UTC) for t in instants]
    else:
        start = draw(st.datetimes(datetime(1995, 1, 1), datetime(2030, 1, 1))).date()
        days = pd.date_range(start, periods=len(keep), freq=draw(st.sampled_from(LONG))).to_pydatetime()
        found = [day.replace(tzinfo=ZoneInfo(zone) if zone else UTC) for day in days]
    if draw(st.booleans()):
        found = [m for m, kept in zip(found, keep, strict=True) if kept or m in found[:3]]
    return zone, found, len(found) == len(keep)


@cache
def near(zone):
    """Instants some hours before clocks change."""
    if zone is None:
        return st.nothing()
    changes = [t for t in range(1_300_000_000, 1_500_000_000, 86400) if offset(t, zone) != offset(t + 86400, zone)]
    return st.builds(lambda t, hours: t + 3600 * hours, st.sampled_from(changes or [0]), st.integers(-4, 24))


def offset(t, zone):
    return datetime.fromtimestamp(t, ZoneInfo(zone)).utcoffset()


def written(form, moment):
    """A cell of a table or a stream."""
    wall = moment.replace(tzinfo=None)
    return {
        "wall": str(wall),
        "wall with a T": wall.isoformat(timespec="minutes" if wall.second == 0 else "auto"),
        "slashes": str(wall).replace("-", "/"),
        "offsets": moment.isoformat(),
        "datetimes": wall,
        "pandas": wall,
        "pandas with a zone": moment,
    }[form]


@settings(max_examples=300)
@given(moments(), st.sampled_from(FORMS), st.booleans(), st.sampled_from([0, 10**9]))
def test_a_stream_reads_times_as_a_table_does(made, form, shops, many) -> None:
    zone, found, whole = made
    cells, names = [written(form, moment) for moment in found], ["a", "b"] if shops else ["a"]
    column = pd.Series(cells if form.startswith("pandas") else np.array(cells, dtype=object)).repeat(len(names))
    table = as_table(pd.DataFrame({"time": column.array, "shop": names * len(cells), "y": np.arange(len(column))}))
    with mock.patch.object(arrow, "MANY", many):
        try:
            series = series_of(table, "y", time="time", series="shop", zone=zone)
        except DataError:
            event("refused")
            assert not whole or not_plain(form, zone, found)
            return
        again = put_on_step(table, series[0].columns, clock=series[0].clock, step=series[0].step)
    for one, other in zip(series, again, strict=True):
        ticks = one.ticks[np.isfinite(one.target)].tolist()
        assert other.ticks.tolist() == one.ticks.tolist()
        assert other.target.tobytes() == one.target.tobytes()
        assert as_a_stream(one.clock, cells) == ticks
        assert as_a_stream(one.clock, [one.clock.text(tick) for tick in ticks]) == ticks
        if not not_plain(form, zone, found):
            event("held against the truth")
            assert ticks == [truth(moment, one.clock) for moment in found]


def as_a_stream(clock, cells):
    """Cells read one after the other."""
    times: list[int] = []
    for cell in cells:
        times.append(clock.read(cell, times[-1] if times else None))
    return times


def not_plain(form, zone, found):
    """Whether something is left to guess: the wall comes twice or not at all, or steps are none on the wall."""
    if zone is None or form in ("offsets", "pandas with a zone"):
        return False
    return any(m.fold or m.astimezone(UTC).astimezone(ZoneInfo(zone)) != m for m in found)


def truth(moment, clock):
    """Seconds since 1970 by the standard library: of the wall for dates and clocks without a zone."""
    wall = moment.replace(tzinfo=None)
    if clock.dates or clock.zone is None:
        return (wall - EPOCH) // timedelta(seconds=1)
    return round(moment.timestamp())
