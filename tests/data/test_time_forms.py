"""Times as people and programs write them, read as what they mean, in a table as in a stream."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recurra.data import Clock, as_table, series_of
from recurra.data.forecasting.forms import parse_time
from recurra.errors import DataError

HOURS = pd.date_range("2023-01-01 01:00", periods=300, freq="h")
MONTHS = pd.date_range("2000-01-01", periods=120, freq="MS")
QUARTERS, WEEKS = MONTHS[::3], pd.date_range("2023-01-02", periods=60, freq="W-MON")


def ending(times: pd.DatetimeIndex) -> list[str]:
    """Midnight as 24:00 of the day before."""
    day = pd.Timedelta("1D")
    return [f"{t - day:%Y-%m-%d} 24:00" if t.hour == 0 else f"{t:%Y-%m-%d %H:%M}" for t in times]


# What is written, of which times, and with which time_format where that must be said.
FORMS = {
    "YYYYMM": (MONTHS, MONTHS.strftime("%Y%m").astype(int), None),
    "YYYYMM as text": (MONTHS, MONTHS.strftime("%Y%m"), None),
    "YYYYMM as floats": (MONTHS, MONTHS.strftime("%Y%m").astype(float), None),
    "YYYYMMDD": (WEEKS, WEEKS.strftime("%Y%m%d").astype(int), None),
    "YYYYMMDDHH": (HOURS, HOURS.strftime("%Y%m%d%H").astype(int), None),
    "YYYYMMDDHHMM": (HOURS, HOURS.strftime("%Y%m%d%H%M"), None),
    "YYYYMMDDHHMMSS": (HOURS, HOURS.strftime("%Y%m%d%H%M%S").astype(int), None),
    "day/month": (HOURS, HOURS.strftime("%d/%m/%Y %H:%M"), None),
    "day/month without zeros": (HOURS, [f"{t.day}/{t.month}/{t.year} {t:%H:%M}" for t in HOURS], None),
    "day.month": (MONTHS, MONTHS.strftime("%d.%m.%Y"), None),
    "day/month, said": (MONTHS, MONTHS.strftime("%d/%m/%Y"), "dmy"),
    "month/day, said": (MONTHS, MONTHS.strftime("%m/%d/%y"), "mdy"),
    "day-month in two digits": (HOURS, HOURS.strftime("%d-%m-%y %H:%M"), "dmy"),
    "month/day AM": (HOURS, HOURS.strftime("%m/%d/%Y %I:%M %p"), None),
    "hours with an h": (HOURS, HOURS.strftime("%d/%m/%Y %Hh%M"), None),
    "as databases write AM": (HOURS, HOURS.strftime("%d-%b-%y %I.%M.%S.000000 %p"), "dmy"),
    "as logs have them": (HOURS.tz_localize("UTC"), HOURS.strftime("%d/%b/%Y:%H:%M:%S +0000"), None),
    "as C writes them": (HOURS, HOURS.strftime("%a %b %d %H:%M:%S %Y"), None),
    "as Unix writes them": (HOURS.tz_localize("UTC"), HOURS.strftime("%a %b %e %H:%M:%S UTC %Y"), None),
    "hours alone": (HOURS, HOURS.strftime("%Y/%m/%d %Hh"), None),
    "hours in German": (HOURS, HOURS.strftime("%d. %B %Y, %H Uhr"), None),
    "under lines": (WEEKS, WEEKS.strftime("%Y_%m_%d"), None),
    "quarters of years of two digits": (QUARTERS, [f"Q{t.quarter}-{t.year % 100:02}" for t in QUARTERS], None),
    "half-years": (MONTHS[::6], [f"{t.year}H{1 + t.month // 7}" for t in MONTHS[::6]], None),
    "half-years behind a word": (MONTHS[::6], [f"S{1 + t.month // 7} {t.year}" for t in MONTHS[::6]], None),
    "a quarter behind a colon": (QUARTERS, [f"{t.year}:Q{t.quarter}" for t in QUARTERS], None),
    "a pattern": (HOURS, HOURS.strftime("%Hh %d|%m|%Y"), "%Hh %d|%m|%Y"),
    "a pattern with 24:00": (HOURS, [t.replace("-", "_") for t in ending(HOURS)], "%Y_%m_%d %H:%M"),
    " UTC": (HOURS.tz_localize("UTC"), HOURS.strftime("%Y-%m-%d %H:%M:%S UTC"), None),
    "24:00": (HOURS, ending(HOURS), None),
    "seconds as floats": (HOURS, HOURS.astype("M8[s]").astype(int).astype(float), None),
    "seconds as text": (HOURS, [f"{t}.0" for t in HOURS.astype("M8[s]").astype(int)], None),
    "milliseconds": (HOURS, HOURS.astype("M8[ms]").astype(int), None),
    "microseconds": (HOURS, HOURS.astype("M8[us]").astype(int), None),
    "nanoseconds": (HOURS, HOURS.astype("M8[ns]").astype(int), None),
    "seconds of 1970, said": (
        pd.date_range("1970-01-02", periods=50, freq="h"),
        86400 + 3600 * np.arange(50),
        "seconds",
    ),
    "a spreadsheet": (HOURS, [f"{(t - pd.Timestamp('1899-12-30')) / pd.Timedelta('1D'):.4f}" for t in HOURS], "excel"),
    "Jan 1 2000": (MONTHS, [f"{t:%b} {t.day} {t.year}" for t in MONTHS], None),
    "1 January 2000": (MONTHS, [f"{t.day} {t:%B} {t.year}" for t in MONTHS], None),
    "1991 Jul": (MONTHS, MONTHS.strftime("%Y %b"), None),
    "Jul-91": (MONTHS, MONTHS.strftime("%b-%y"), None),
    "07/1991": (MONTHS, MONTHS.strftime("%m/%Y"), None),
    "1991M07": (MONTHS, MONTHS.strftime("%YM%m"), None),
    "1991-7": (MONTHS, [f"{t.year}-{t.month}" for t in MONTHS], None),
    "1970 Q1": (QUARTERS, [f"{t.year} Q{t.quarter}" for t in QUARTERS], None),
    "Q1-1970": (QUARTERS, [f"Q{t.quarter}-{t.year}" for t in QUARTERS], None),
    "ISO weeks": (WEEKS, WEEKS.strftime("%G-W%V"), None),
    "weeks, said": (WEEKS, WEEKS.strftime("%G/%V"), "%G/%V"),
    "days of the year": (WEEKS, WEEKS.strftime("%Y-%j"), None),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_table_and_a_stream_read_the_same(name) -> None:
    times, written, form = FORMS[name]
    column = np.array(written) if not isinstance(written[0], str) else np.array(written, object)
    table = as_table({"time": column, "y": np.arange(float(len(column)))})
    (one,) = series_of(table, "y", time_format=form)
    naive = times.tz_localize(None) if times.tz else times
    assert one.time.astype("M8[s]").tolist() == naive.to_pydatetime().tolist()
    clock = Clock.from_dict(one.clock.to_dict())
    read = [clock.read(cell) for cell in written]
    ticks = one.ticks.tolist()
    assert [int(one.step.add(ticks[0], one.step.nearest(np.array([t]), ticks[0])[0])[0]) for t in read] == ticks
    if form != "excel":
        assert read == ticks


def test_whole_numbers_that_count_are_no_dates() -> None:
    for numbers in (np.arange(202001, 202101), np.arange(100_000, 100_050), 20 * np.arange(99)):
        (one,) = series_of(as_table({"time": numbers, "y": np.arange(float(len(numbers)))}), "y", time_format="count")
        assert one.step.unit == "row"
    with pytest.raises(DataError, match="time_format is 'iso', expected a pattern such as"):
        series_of(as_table({"time": [1, 2], "y": [1.0, 2.0]}), "y", time_format="iso")
    with pytest.raises(DataError, match="the time 'time' is 'soon', expected a number as time_format='seconds' says"):
        series_of(as_table({"time": ["1", "soon"], "y": [1.0, 2.0]}), "y", time_format="seconds")


def test_a_month_is_a_time_where_it_rises() -> None:
    passengers = {"Month": list(MONTHS.strftime("%Y-%m")), "Passengers": np.arange(120.0)}
    (one,) = series_of(as_table(passengers), "Passengers")
    assert str(one.step) == "1 month"
    (one,) = series_of(as_table(passengers | {"Month": [t.month for t in MONTHS]}), "Passengers")
    assert one.step.unit == "row"
    (one,) = series_of(as_table({"year": [t.year for t in MONTHS], "y": np.arange(120.0)}), "y")
    assert one.step.unit == "row"
    (one,) = series_of(as_table(passengers), "Passengers", time="")
    assert one.step.unit == "row"


@pytest.mark.parametrize(
    "text",
    ["soon", "2024-02-30", "2024-13", "25:00", "2024-01-01 25:00", "2024-01-01 24:01", "32 Jan 2024", "1-01", "Jan",
     "99999999999999999999", "2024-366x", "2023-366", "2024-W54", "9999-12-31 24:00", "13:00 PM", "", "2020.1"],
)  # fmt: skip
def test_what_is_no_time(text) -> None:
    for form in (None, "dmy", "%Y-%m"):
        if not (text == "2024-13" and form == "%Y-%m"):
            with pytest.raises(ValueError, match="is no time"):
                parse_time(text, form)
