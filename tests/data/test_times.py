"""Times: the step that people mean, clocks that change, and what is wrong with a time, said with its line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.data import Clock, Features, Step, as_table, series_of, split_by_time
from recurra.data.readers import read_table
from recurra.errors import DataError

STEPS = {
    "10 seconds": pd.date_range("2024-01-01", periods=50, freq="10s"),
    "1 minute": pd.date_range("2024-02-28 23:50", periods=50, freq="min"),
    "30 minutes": pd.date_range("2024-01-01 00:30", periods=50, freq="30min"),
    "1 hour": pd.date_range("1969-12-31 20:00", periods=50, freq="h"),
    "6 hours": pd.date_range("2024-01-01", periods=50, freq="6h"),
    "1 day": pd.date_range("2024-02-20", periods=50, freq="D"),
    "1 weekday": pd.date_range("2024-02-20", periods=50, freq="B"),
    "1 week": pd.date_range("2024-01-01", periods=50, freq="W-WED"),
    "4 weeks": pd.date_range("2024-01-01", periods=50, freq="4W-MON"),
    "1 month": pd.date_range("2019-11-01", periods=50, freq="MS"),
    "1 month ": pd.date_range("2019-11-30", periods=50, freq="ME"),
    "1 month  ": pd.to_datetime(["2019-11-15", "2019-12-15", "2020-01-15", "2020-02-15", "2020-03-15"]),
    "1 month, the 30th": pd.to_datetime(["2019-11-30", "2019-12-30", "2020-01-30", "2020-02-29", "2020-03-30"]),
    "1 quarter": pd.date_range("2019-10-01", periods=50, freq="QS"),
    "1 quarter ": pd.date_range("2019-10-01", periods=50, freq="QE"),
    "1 year": pd.date_range("1990-01-01", periods=50, freq="YS"),
    "1 year ": pd.date_range("1890-12-31", periods=50, freq="YE"),
    "2 years": pd.date_range("1950-07-01", periods=20, freq="24MS"),
}


def ticks(times):
    return np.asarray(times, "datetime64[s]").astype(np.int64)


@pytest.mark.parametrize("name", STEPS)
def test_steps_are_inferred_and_added(name) -> None:
    times = ticks(STEPS[name])
    step = Step.infer(times)
    assert str(step) == name.strip().removesuffix(", the 30th")
    assert step.add(times[0], np.arange(len(times))).tolist() == times.tolist()
    assert [step.after(t) for t in times[:-1]] == times[1:].tolist()
    index, fits = step.index(times[3:], times[1])
    assert fits.all()
    assert index.tolist() == list(range(2, len(times) - 1))
    assert not step.index(times[3:] + 1, times[1])[1].any()
    gaps = np.delete(times, [3])
    assert Step.infer(gaps, times) == step
    assert Step.from_dict(step.to_dict()) == step


@given(st.sampled_from(sorted(STEPS)), st.integers(-200, 200), st.integers(-200, 200))
def test_steps_add_up(name, n, m) -> None:
    start = int(ticks(STEPS[name])[0])
    step = Step.infer(ticks(STEPS[name]))
    assert step.add(int(step.add(start, n)), m) == step.add(start, n + m)
    assert step.index(np.array([step.add(start, n)]), start)[0] == n


def table(times, **more):
    return as_table({"time": times, "y": np.arange(float(len(times))), **more})


@pytest.mark.parametrize(
    ("texts", "step", "wall"),
    [
        (["2024-01-01", "2024-01-02", "2024-01-03"], "1 day", "2024-01-03"),
        (["2024/01/01 10:00", "2024/01/01 11:00"], "1 hour", "2024-01-01T11:00:00"),
        (["2024-01-01T10:00:00Z", "2024-01-01T10:15:00Z"], "15 minutes", "2024-01-01T10:15:00+00:00"),
        (["2024-01-01 10:00+05:30", "2024-01-01 11:00+05:30"], "1 hour", "2024-01-01T11:00:00+05:30"),
        (["2024-01", "2024-02", "2024-03"], "1 month", "2024-03-01"),
        (["2024Q3", "2024Q4", "2025-Q1"], "1 quarter", "2025-01-01"),
        (["1999", "2000", "2001"], "1 year", "2001"),
        ([1999, 2000, 2002], "1 year", "2002"),
        (["20240228", "20240229", "20240301"], "1 day", "2024-03-01"),
        ([1704067200, 1704067260], "1 minute", "1704067260"),
        ([1704067200000, 1704070800000], "1 hour", "1704070800000"),
        ([1, 2, 3, 5], "1 row", "5"),
        ([10.0, 20.0, 30.0], "10 rows", "30"),
    ],
)
def test_what_times_may_look_like(texts, step, wall) -> None:
    (one,) = series_of(table(texts), "y")
    assert str(one.step) == step
    assert one.clock.text(int(one.ticks[-1])) == wall
    assert [one.clock.read(t) for t in texts] == [int(t) for t, y in zip(one.ticks, one.target, strict=True) if y == y]
    assert Clock.from_dict(one.clock.to_dict()) == one.clock


def test_a_column_is_taken_for_times_by_its_name_and_that_is_said() -> None:
    (one,) = series_of(as_table({"Date": ["2024-01-01", "2024-01-02"], "y": [1.0, 2.0]}), "y")
    assert one.notes == ("the times are taken from the column 'Date', for its name",)
    (one,) = series_of(as_table({"when": ["2024-01-01", "2024-01-02"], "y": [1.0, 2.0]}), "y")
    assert one.notes == ("no time column: rows count as equally spaced, without a calendar",)


SPRING = pd.date_range("2024-03-30 12:00", periods=48, freq="h", tz="Europe/Berlin")
AUTUMN = pd.date_range("2024-10-26 12:00", periods=48, freq="h", tz="Europe/Berlin")


@pytest.mark.parametrize("hours", [SPRING, AUTUMN])
def test_the_nights_when_clocks_change(hours, tmp_path) -> None:
    """By name, by naive times of the wall and the zone, or by offsets and the zone: the same hours, all there."""
    walls = hours.tz_localize(None)
    forms = {
        "a zone of its own": table(hours),
        "the wall": table(walls),
        "texts of the wall": table(np.array([str(t) for t in walls], dtype=object)),
        "offsets": table(np.array([t.isoformat() for t in hours], dtype=object)),
    }
    for name, given_ in forms.items():
        (one,) = series_of(given_, "y", zone=None if name == "a zone of its own" else "Europe/Berlin")
        assert one.ticks.tolist() == (hours.tz_convert("UTC").tz_localize(None)).astype("M8[s]").astype(int).tolist(), (
            name
        )
        assert one.clock.wall(one.ticks).tolist() == walls.astype("M8[s]").astype(int).tolist(), name
        assert [one.clock.text(t) for t in one.ticks.tolist()] == [t.isoformat() for t in hours]
        last = None
        for t, wall in zip(one.ticks.tolist(), walls, strict=True):  # as a stream reads them
            last = one.clock.read(str(wall), last)
            assert last == t
            assert one.clock.wall_one(t) == int(pd.Timestamp(wall).timestamp())


def test_without_a_zone_the_night_of_autumn_is_a_repeated_time() -> None:
    with pytest.raises(DataError) as error:
        series_of(table(AUTUMN.tz_localize(None)), "y")
    assert "row 15: the time 2024-10-27T02:00:00 comes twice" in str(error.value)
    assert "if clocks were set back here, name the time zone" in str(error.value)
    (one,) = series_of(table(SPRING.tz_localize(None)), "y")
    assert "1 row filled in as missing, the first before row 14" in one.notes


def test_offsets_that_change_without_a_zone_are_said() -> None:
    (one,) = series_of(table(np.array([t.isoformat() for t in SPRING], dtype=object)), "y")
    assert one.clock.zone == "+01:00"
    assert any("the times have 2 offsets from UTC, so the calendar follows +01:00 throughout" in n for n in one.notes)


def test_days_of_a_zone_are_days_on_the_wall() -> None:
    days = pd.date_range("2024-03-25", periods=14, freq="D", tz="Europe/Berlin")  # one of them has 23 hours
    (one,) = series_of(table(days), "y")
    assert str(one.step) == "1 day"
    assert one.time.tolist() == days.tz_localize(None).to_pydatetime().tolist()
    assert one.clock.text(int(one.ticks[9])) == "2024-04-03"


def test_another_table_of_the_same_model(tmp_path) -> None:
    """The training was in pandas with a zone; later files have texts of the wall, or offsets of another zone."""
    (one,) = series_of(table(SPRING, p=np.arange(48.0)), "y", past="p")
    features = Features.fit([one], split_by_time([one]), horizon=1)
    for given_ in (
        table(np.array([str(t)[:16] for t in SPRING.tz_localize(None)], dtype=object), p=np.arange(48.0)),
        table(np.array([t.isoformat() for t in SPRING.tz_convert("Asia/Kolkata")], dtype=object), p=np.arange(48.0)),
        table(SPRING.tz_convert("America/New_York"), p=np.arange(48.0)),
        table(SPRING.tz_localize(None), p=np.arange(48.0)),
    ):
        assert features.series_of(given_)[0].ticks.tolist() == one.ticks.tolist()
    one_row = features.series_of(table(SPRING[:1], p=[3.0]))[0]
    assert len(one_row) == 1
    bad = table(np.array(["2024-03-30 12:00", ""], dtype=object), p=[1.0, 2.0])
    with pytest.raises(DataError, match="row 1: the time 'time' is missing, expected a time in every row"):
        features.series_of(bad)
    with pytest.raises(
        DataError, match=r"row 1: the time 2024-03-30T12:40:00.01:00 comes after .* expected steps of 1 hour"
    ):
        features.series_of(table(np.array(["2024-03-30 12:00", "2024-03-30 12:40"], dtype=object), p=[1.0, 2.0]))


def test_rows_of_several_series_may_be_interleaved_and_have_gaps() -> None:
    rows = [("2024-01-01", "a", 1), ("2024-03-05", "b", 10), ("2024-01-02", "a", 2), ("2024-03-06", "b", 20),
            ("2024-01-03", "a", 3), ("2024-03-09", "b", 50)]  # fmt: skip
    time, shop, y = (list(column) for column in zip(*rows, strict=True))
    a, b = series_of(as_table({"time": time, "shop": shop, "y": y}), "y", series="shop")
    assert (a.name, a.target.tolist()) == ("a", [1, 2, 3])
    np.testing.assert_array_equal(b.target, [10, 20, np.nan, np.nan, 50])
    assert b.notes == ("the times are taken from the column 'time', for its name",
                       "2 rows filled in as missing, the first before row 5")  # fmt: skip


def test_rows_at_the_end_that_are_the_future() -> None:
    data = {"time": np.arange(5), "y": [1.0, np.nan, 3.0, np.nan, np.nan], "h": [0.0, 1, 0, 1, 0]}
    (one,) = series_of(as_table(data), "y", known_ahead="h")
    assert (one.observed, len(one)) == (3, 5)
    assert "y: 1 of 3 values are missing" in one.notes
    (one,) = series_of(as_table(data), "y")
    assert one.observed == 5


BAD = {
    "unsorted": ("2024-01-01,1\n2024-01-03,2\n2024-01-02,3\n",
                 "t.csv, line 4: the time 2024-01-02 comes after 2024-01-03, expected rising times: sort the rows"),
    "repeated": ("2024-01-01,1\n2024-01-02,2\n2024-01-02,3\n",
                 "t.csv, line 4: the time 2024-01-02 comes twice, expected rising times: remove one of the rows"),
    "irregular": ("2024-01-01 00:00,1\n2024-01-01 01:00,2\n2024-01-01 02:00,3\n2024-01-01 02:20,3\n",
                  "t.csv, line 5: the time 2024-01-01T02:20:00 comes after 2024-01-01T02:00:00, expected steps of 1"),
    "missing": ("2024-01-01,1\n,2\n", "t.csv, line 3: the time 'time' is missing, expected a time in every row"),
    "garbage": ("2024-01-01,1\nsoon,2\n", "t.csv, line 3: the time 'time': 'soon' is no time: write times as"),
    "day or month first": ("01/02/2024,1\n02/02/2024,2\n03/02/2024,3\n",
                           "'time' is '01/02/2024', which may be 2024-02-01 (dmy) or 2024-01-02 (mdy)"),
    "both in one": ("31/12/2024,1\n12/31/2025,2\n", "t.csv, line 2: the time 'time': '31/12/2024' is no time"),
    "a month too many": ("202011,1\n202012,2\n202013,3\n202101,3\n",
                         "t.csv, line 4: the time 'time' is 202013, expected a date as 202011 is: correct it; if"),
    "days of a spreadsheet": ("44927.25,1\n44927.5,2\n", "if it is a date of a spreadsheet, say --time-format excel"),
    "no such day": ("2024-02-30,1\n", "t.csv, line 2: the time 'time': '2024-02-30' is no time"),
    "some offsets": ("2024-01-01T00:00Z,1\n2024-01-01T01:00,2\n", "t.csv, line 3: the time '2024-01-01T01:00' lacks"),
    "one row": ("2024-01-01,1\n", "t.csv: there are no two rows to see a step between, expected at least 2"),
    "a year off": ("2024-01-01,1\n2024-01-02,2\n2048-01-03,3\n", "t.csv, line 4: 8766 rows are missing before this"),
    "constant": ("2024-01-01,7\n2024-01-02,7\n2024-01-03,\n", "t.csv: the target 'y' is 7 in every row, expected"),
    "no value": ("2024-01-01,\n2024-01-02,NA\n", "t.csv: the target 'y' has no value at all, expected numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_with_its_line(name, tmp_path) -> None:
    text, message = BAD[name]
    (tmp_path / "t.csv").write_text(f"time,y\n{text}")
    with pytest.raises(DataError) as error:
        series_of(read_table(tmp_path / "t.csv"), "y", time="time")
    assert str(error.value).startswith(message) or message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_wrong_in_one_of_several_series_names_it() -> None:
    data = {"time": [1, 1, 2, 1], "shop": ["a", "b", "a", "b"], "y": [1.0, 2, 3, 4]}
    with pytest.raises(DataError, match="row 3: the time 1 of 'b' comes twice"):
        series_of(as_table(data), "y", series="shop")
    data = {"time": [1, 2, 1, 2], "shop": ["a", "a", "", "b"], "y": [1.0, 2, 3, 4]}
    with pytest.raises(DataError, match="row 2: the series 'shop' is missing, expected a name in every row"):
        series_of(as_table(data), "y", series="shop")
    data = {"time": [1, 2, 1, 2], "shop": ["a", "a", "b", "b"], "y": [1.0, 2, np.nan, np.nan]}
    with pytest.raises(DataError, match="the series 'b' of the target 'y' has no value at all"):
        series_of(as_table(data), "y", series="shop")


def test_a_zone_that_is_none() -> None:
    with pytest.raises(
        DataError, match="the time zone is 'Berlin', expected a name such as Europe/Berlin or an offset"
    ):
        series_of(table(SPRING), "y", zone="Berlin")
    (one,) = series_of(table(SPRING.tz_localize(None)), "y", zone="+05:30")
    assert one.clock.text(int(one.ticks[0])) == "2024-03-30T12:00:00+05:30"


@pytest.mark.parametrize("texts", [["20\x1f", " 21", "22"], ["20.0\x1f", "21", "22.0 "]])
def test_what_stands_around_a_number_is_left_out(texts) -> None:
    table = as_table({"time": np.array(texts, object), "y": np.arange(3.0)})
    assert series_of(table, "y", time="time")[0].ticks.tolist() == [20, 21, 22]
