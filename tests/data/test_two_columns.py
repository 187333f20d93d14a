"""A date and the time of a day in two columns, and a line of units below the header: a table as a stream."""

from __future__ import annotations

import numpy as np
import pytest

import recurra
from helpers import generator
from recurra.data.forecasting.series import series_of
from recurra.data.readers import parse_csv
from recurra.errors import DataError

HEADERS = {"found by their names": ("Date,Time,y", None), "said": ("day,hour,y", "day+hour")}


def rows(count: int) -> list[tuple[np.datetime64, float]]:
    rng, begin = generator("two columns"), np.datetime64("2023-01-25T00:00")
    return [(begin + np.timedelta64(30 * i, "m"), float(rng.normal())) for i in range(count)]


def two(header: str, count: int = 90) -> str:
    """The rows with a day first, and hours of one digit."""
    lines = [f"{t.item():%d/%m/%Y},{t.item().hour}:{t.item():%M},{y!r}" for t, y in rows(count)]
    return "\n".join([header, *lines, ""])


@pytest.mark.parametrize("header", HEADERS)
def test_a_series_is_that_of_one_column(header) -> None:
    names, time = HEADERS[header]
    (one,) = series_of(parse_csv(two(names).encode(), "t.csv", fast=False), "y", time=time)
    times, values = zip(*rows(90), strict=True)
    assert (one.time == np.array(times)).all()
    assert (one.target == np.array(values)).all()


def test_a_stream_of_two_columns_has_the_forecasts_of_the_table(tmp_path) -> None:
    (tmp_path / "t.csv").write_text(two("Date,Time,y"))
    model = recurra.Forecaster(horizon=2, hidden=3, epochs=1).fit(tmp_path / "t.csv", target="y", evaluate=False)
    live = model.live()
    for line in two("", 90).splitlines()[1:]:
        date, time, y = line.split(",")
        said = live.step({"Date": date, "y": y, "Time": time})
    assert (said.quantiles[:, 1] == model.predict(tmp_path / "t.csv")["q0.5"]).all()


def test_a_part_that_is_missing_is_named() -> None:
    text = two("Date,Time,y").replace(",7:30,", ",,", 1)
    with pytest.raises(DataError, match=r"line 17: the time 'Date[+]Time' is missing"):
        series_of(parse_csv(text.encode(), "t.csv", fast=False), "y")
    with pytest.raises(DataError, match=r"no time column 'day[+]time'"):
        series_of(parse_csv(text.encode(), "t.csv", fast=False), "y", time="day+time")


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("units", [",MW", "UTC,[m3/s]", "-,%"])
def test_a_line_of_units_is_no_row(units, fast) -> None:
    lines = [f"{t},{y!r}" for t, y in rows(40)]
    plain, with_units = (
        parse_csv("\n".join(["time,y", *more, *lines, ""]).encode(), "t.csv", fast=fast) for more in ([], [units])
    )
    assert (with_units.numbers("y") == plain.numbers("y")).all()
    assert with_units.where(0) == "t.csv, line 3"
    assert "are units" in with_units.notes[0]
    assert plain.notes == ()


@pytest.mark.parametrize("first", ["Oslo,NA,2024-01-01", "Oslo,3,2024-01-01", "Oslo,x,2024-01-01"])
def test_a_row_that_is_none_of_units_is_kept(first) -> None:
    table = parse_csv(f"town,y,time\n{first}\nRome,5,2024-01-02\n".encode(), "t.csv", fast=False)
    assert len(table) == 2
