"""A live forecaster has the bits of the whole table, wherever rows and values are missing, and goes on where it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra import runtime
from recurra.data import as_table
from recurra.errors import DataError, ModelFileError, SessionError
from recurra.tasks.forecasting.live import LiveForecaster
from tasks.networks import START, forecaster, rows_of, table_of, whole_forecasts

TABLE = table_of(90)
MODEL, (SERIES,) = forecaster(TABLE)
SHOPS = table_of(61, shops=("north", "south", "east"))
SHOP_MODEL, SHOP_SERIES = forecaster(SHOPS)


def whole(model, series):
    return {one.name: whole_forecasts(model, LiveForecaster(model).features, one) for one in series}


def announced(live, table):
    for row in rows_of(table):
        live.announce(row)


def test_each_forecast_is_that_of_the_whole_table() -> None:
    live, want = LiveForecaster(MODEL), whole(MODEL, [SERIES])[""]
    announced(live, TABLE)
    for t, row in enumerate(rows_of(TABLE)):
        forecast = live.step(row)
        assert forecast.quantiles.tobytes() == want[t].tobytes()
        assert (forecast.time == SERIES.time[t] + 1800 * np.arange(1, 6)).all()
        assert forecast.origin == str(SERIES.time[t])
    assert np.isfinite(want).all()
    assert (np.diff(want, axis=2) >= 0).all()


@settings(max_examples=40)
@given(st.data())
def test_rows_that_are_left_out_are_missing_and_snapshots_go_on(data) -> None:
    """Some rows of three shops do not come, some come as announcements; now and then the process is another one."""
    gone = data.draw(st.sets(st.integers(1, 182), max_size=40))
    moved = data.draw(st.sets(st.integers(0, 182), max_size=3))
    kept = {name: column.copy() for name, column in SHOPS.columns.items()}
    for i in gone:
        kept["y"][i] = kept["temperature"][i] = np.nan
    live = LiveForecaster(SHOP_MODEL)
    series = live.features.series_of(as_table(kept))
    want = whole(SHOP_MODEL, series)
    announced(live, SHOPS)
    for i, row in enumerate(rows_of(SHOPS)):
        if i in moved:
            saved, live = live.snapshot(), LiveForecaster(SHOP_MODEL)
            live.restore(saved)
            assert live.snapshot() == saved
        if i in gone and i >= 3:
            continue
        if i in gone:
            row = {**row, "y": None, "temperature": None}
        forecast = live.step(row)
        assert forecast.quantiles.tobytes() == want[row["shop"]][i // 3].tobytes()


def test_an_announcement_gives_no_forecast_and_changes_the_next() -> None:
    rows = rows_of(TABLE)
    plain, announced_to = LiveForecaster(MODEL), LiveForecaster(MODEL)
    for live in (plain, announced_to):
        live.step(rows[0])
    assert announced_to.step({"time": rows[2]["time"], "holiday": 1 - rows[2]["holiday"]}) is None
    assert announced_to.step({"time": rows[2]["time"], "holiday": 7.0, "y": "", "temperature": " "}) is None
    assert (plain.step(rows[1]).quantiles != announced_to.step(rows[1]).quantiles).any()
    assert announced_to.step({**rows[2], "y": None}) is not None  # null is an observation whose value is missing


def test_what_is_missing_is_said() -> None:
    live, rows = LiveForecaster(MODEL), rows_of(TABLE, sparse=False)
    live.step(rows[0])
    assert any("values of 'holiday' within the horizon are unknown" in note for note in live.notes)
    live.notes.clear()
    live.step({**rows[1], "y": float("nan"), "temperature": 3.0})
    assert live.notes == ["'y' is missing at 2024-03-29T00:30:00"]
    live.notes.clear()
    live.step({**rows[5], "y": 1, "temperature": 1})
    assert live.notes == ["3 rows before 2024-03-29T02:30:00 taken as missing"]
    shops = LiveForecaster(SHOP_MODEL)
    shops.step({"time": START, "y": 1.0, "temperature": 1, "holiday": 0, "shop": "west"})
    assert "the series 'west' was not in training: it is scaled like all others together" in shops.notes


BAD = {
    "text": ({"y": "many"}, "'y' is 'many', expected a number"),
    "infinite": ({"temperature": "inf"}, "'temperature' is infinite, expected a finite number: leave it empty"),
    "no time": ({"time": ""}, "the time 'time' is missing, expected a time"),
    "garbage time": ({"time": "noon"}, "the time 'time': 'noon' is no time: write times as 2024-12-31 23:30"),
    "repeated": ({"time": "2024-03-29T01:00"}, "2024-03-29T01:00:00 comes twice, expected a later time"),
    "earlier": ({"time": "2024-03-29T00:30"}, "2024-03-29T00:30:00 comes after 2024-03-29T01:00:00"),
    "off the step": ({"time": "2024-03-29T01:40"}, "expected a whole number of steps of 30 minutes later"),
    "far": ({"time": "2025-03-29T01:30"}, "comes 17521 steps after 2024-03-29T01:00:00, expected at most 10000"),
    "an offset": (
        {"time": "2024-03-29T01:30Z"},
        "has an offset from UTC, expected none like the times of the training",
    ),
    "year 10000": ({"time": "99999-01-01"}, "is no time"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_says_why_and_changes_nothing(name) -> None:
    live, rows = LiveForecaster(MODEL), rows_of(TABLE, sparse=False)
    for row in rows[:3]:
        live.step(row)
    before, (change, message) = live.snapshot(), BAD[name]
    with pytest.raises(DataError) as error:
        live.step({**rows[3], "y": 1.0, **change})
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert live.snapshot() == before


def test_a_row_without_the_time_or_the_series() -> None:
    with pytest.raises(DataError, match="the row has no 'time'; did you mean 'Time'"):
        LiveForecaster(MODEL).step({"Time": "2024-03-29", "y": 1})
    with pytest.raises(DataError, match="the row has no 'shop'"):
        LiveForecaster(SHOP_MODEL).step({"time": "2024-03-29", "y": 1})
    with pytest.raises(DataError, match="the series 'shop' is missing"):
        LiveForecaster(SHOP_MODEL).step({"time": "2024-03-29", "y": 1, "shop": " "})


def test_a_snapshot_is_refused_where_it_does_not_belong() -> None:
    live = LiveForecaster(SHOP_MODEL)
    live.step(rows_of(SHOPS)[0])
    saved, other = live.snapshot(), LiveForecaster(MODEL)
    before = other.snapshot()
    bad = {
        "of another model": saved,
        "no snapshot": b"RcrS" + saved[4:],
        "0 bytes": b"",
        "damaged": saved[:-3] + bytes([saved[-3] ^ 1]) + saved[-2:],
        "cut short": saved[:-1],
        "version 9": saved[:4] + b"\x09" + saved[5:],
    }
    for message, snapshot in bad.items():
        with pytest.raises(SessionError, match=message):
            (other if "another" in message else live).restore(snapshot)
    assert other.snapshot() == before
    assert live.snapshot() == saved


def test_other_scales_are_another_model() -> None:
    again = runtime.Model(MODEL.ops, preprocessing={**MODEL.preprocessing})
    again.preprocessing["transform"] = {**MODEL.preprocessing["features"], "pooled": {"center": 1.0, "scale": 2.0}}
    with pytest.raises(SessionError, match="of another model"):
        LiveForecaster(again).restore(LiveForecaster(MODEL).snapshot())


def test_a_model_that_is_no_forecaster() -> None:
    with pytest.raises(ModelFileError, match="no forecaster, expected one that `recurra fit`"):
        LiveForecaster(runtime.Model([runtime.Linear(np.ones((1, 2), np.float32))]))
    narrow = runtime.Model([runtime.Linear(np.ones((1, 2), np.float32))], preprocessing=MODEL.preprocessing)
    with pytest.raises(ModelFileError, match="the model takes 2 numbers and gives 1, expected"):
        LiveForecaster(narrow)
