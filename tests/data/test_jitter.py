"""Clocks that are a little off, and steps that calendars have: on the step that is meant."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recurra.data import Step, as_table, series_of
from recurra.data.forecasting.live import LiveFeatures
from recurra.errors import DataError
from recurra.tasks.forecasting.live import LiveForecaster
from tasks.networks import forecaster, rows_of, table_of, whole_forecasts

rng = np.random.default_rng(0)


def off(least: int, most: int, unit: str, count: int = 300) -> pd.TimedeltaIndex:
    return pd.to_timedelta(rng.integers(least, most, count), unit=unit)


def of_days(*days: int) -> pd.DatetimeIndex:
    """Days of each month of a year; 0 is the last of the month before."""
    starts = pd.date_range("2020-01-01", periods=14, freq="MS")
    return pd.DatetimeIndex([start + pd.Timedelta(days=day - 1) for start in starts for day in days])


def every(freq: str, count: int = 300, start: str = "2023-01-01") -> pd.DatetimeIndex:
    return pd.date_range(start, periods=count, freq=freq)


HOURS, SECONDS, TENTHS, DAYS = every("h"), every("s"), every("100ms"), every("D", start="2023-01-01 06:00")
FIVE, SEVEN, WEEKDAYS, MONTHS = every("5min"), every("7min"), every("B", start="2023-01-02 06:00"), every("MS", 90)
LAST = every("BME", 90)
# What is meant, what is written, and the name of the step.
TIMES = {
    "seconds around hours": (HOURS, HOURS + off(-20, 20, "s"), "1 hour"),
    "seconds after hours": (HOURS, HOURS + off(0, 60, "s"), "1 hour"),
    "one late": (HOURS, HOURS + pd.to_timedelta([0] * 9 + [200] + [0] * 290, unit="s"), "1 hour"),
    "the first late": (HOURS, HOURS + pd.to_timedelta([50] + [0] * 299, unit="s"), "1 hour"),
    "a part of a second": (HOURS, HOURS + pd.Timedelta("123ms"), "1 hour"),
    "five minutes": (
        five := pd.date_range("2023-01-01", periods=300, freq="5min"),
        five + off(0, 40, "s"),
        "5 minutes",
    ),
    "seven minutes": (
        seven := pd.date_range("2023-01-01", periods=300, freq="7min"),
        seven + off(-5, 5, "s"),
        "7 minutes",
    ),
    "seconds": (SECONDS, SECONDS + off(-90, 90, "ms"), "1 second"),
    "tenths": (TENTHS, TENTHS, "100 milliseconds"),
    "about tenths": (TENTHS, TENTHS + off(-5, 5, "ms"), "100 milliseconds"),
    "one and a half": (every("1500ms"), every("1500ms"), "1500 milliseconds"),
    "microseconds": (every("40us"), every("40us"), "40 microseconds"),
    "days": (DAYS, DAYS + off(-900, 900, "s"), "1 day"),
    "weekdays": (WEEKDAYS, WEEKDAYS + off(-900, 900, "s"), "1 weekday"),
    "months": (MONTHS, MONTHS + off(0, 900, "s", 90), "1 month"),
    "last weekday of a month": (every("BME", 90), every("BME", 90), "1 month"),
    "first weekday of a month": (every("BMS", 90), every("BMS", 90), "1 month"),
    "last weekday of a quarter": (every("BQE", 40), every("BQE", 40), "1 quarter"),
    "last trading day": (LAST, LAST - pd.to_timedelta([int(i % 13 == 3) for i in range(90)], unit="D"), "1 month"),
    "half months": (every("SMS", 40), every("SMS", 40), "1/2 month"),
    "ends of half months": (every("SME", 40), every("SME", 40), "1/2 month"),
    "ten days": (of_days(1, 11, 21), of_days(1, 11, 21), "1/3 month"),
    "ends of ten days": (of_days(0, 10, 20), of_days(0, 10, 20), "1/3 month"),
}


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("gaps", [False, True])
def test_the_step_that_is_meant(name, gaps) -> None:
    meant, written, step = TIMES[name]
    keep = np.setdiff1d(np.arange(len(meant)), [7, 8, 20]) if gaps else np.arange(len(meant))
    texts = np.array([str(t) for t in written[keep]], object)
    (one,) = series_of(as_table({"time": texts, "y": rng.normal(size=len(texts))}), "y", time="time")
    assert str(one.step) == step
    assert one.time.tolist() == np.array(meant, one.time.dtype).tolist()
    assert np.flatnonzero(np.isnan(one.target)).tolist() == ([7, 8, 20] if gaps else [])
    assert Step.from_dict(one.step.to_dict()) == one.step
    noted = [note for note in one.notes if "taken for the nearest place" in note]
    seen = written.round("s") if one.clock.ticks == 1 else written
    assert bool(noted) == bool((seen != meant)[keep].any())


def test_what_is_off_is_refused() -> None:
    for late in (1200, 2400):
        times = HOURS + pd.to_timedelta([0] * 9 + [late] + [0] * 290, unit="s")
        with pytest.raises(DataError, match=r"row 9: the time .* expected steps of 1 hour as most rows have"):
            series_of(as_table({"time": times, "y": rng.normal(size=300)}), "y")


TABLE = table_of(60, missing=0)
MODEL, (SERIES,) = forecaster(TABLE)
WANT = whole_forecasts(MODEL, LiveForecaster(MODEL).features, SERIES)


def streamed(offsets: list[int]) -> tuple[LiveForecaster, list]:
    """Forecasts of rows that come so many seconds late, None where a row is left out; all is announced before."""
    live, got = LiveForecaster(MODEL), []
    for row in rows_of(TABLE):
        live.announce(row)
    for row, late in zip(rows_of(TABLE), offsets, strict=True):
        try:
            got.append(live.step(row | {"time": str(row["time"] + late)}))
        except DataError:
            got.append(None)
    return live, got


@pytest.mark.parametrize(
    "offsets",
    [[3] + [0] * 59, [0, 5, -7, 200] * 15, [0] * 59 + [-300], [350] * 60],
    ids=["the first line late", "all a little off", "the last early", "all late"],
)
def test_a_stream_takes_times_near_their_place(offsets) -> None:
    _, got = streamed(offsets)
    assert all(got)
    assert (np.stack([forecast.quantiles for forecast in got]) == WANT).all()
    assert [forecast.origin for forecast in got] == [str(t) for t in SERIES.time]


def test_a_row_that_is_far_off_silences_nothing() -> None:
    """The first is where the steps begin until the second says otherwise; one in the midst is left out alone."""
    live, got = streamed([800] + [0] * 59)
    assert all(got)
    assert got[1].origin == str(SERIES.time[1])
    assert any("it begins there anew" in note for note in live.notes)
    _, got = streamed([0] * 9 + [700] + [0] * 50)
    assert [i for i, forecast in enumerate(got) if forecast is None] == [9]
    assert (got[8].quantiles == WANT[8]).all()


def test_another_phase_is_kept_and_the_trainings_is_gone_back_to() -> None:
    _, got = streamed([800] * 60)
    assert all(got)
    assert [forecast.origin for forecast in got] == [str(t + 800) for t in SERIES.time]
    _, got = streamed([800] * 20 + [0] * 40)
    assert all(got)
    assert got[-1].origin == str(SERIES.time[-1])


def test_moving_a_series_keeps_what_was_announced_and_has_the_calendar_of_the_new_times() -> None:
    features = LiveForecaster(MODEL).features
    moved, plain = LiveFeatures(features), LiveFeatures(features)
    start = int(SERIES.ticks[0])
    moved.push(start + 800, 1.0, [1.0], [1.0])
    plain.push(start, 1.0, [1.0], [1.0])
    moved.move(start)
    assert all(
        (a == b).all()
        for a, b in zip(moved.state().values(), plain.state().values(), strict=True)
        if a.dtype != np.float32
    )
    assert np.array_equal(moved.push(start + 1800, 2.0), plain.push(start + 1800, 2.0))
