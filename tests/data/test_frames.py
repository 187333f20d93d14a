"""Frames and files as people have them: columns with other names than texts, and decimals behind a comma."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from helpers import generator
from recurra.data import as_table, series_of
from recurra.data.readers import read_table
from recurra.errors import DataError
from recurra.serve.lines import LineFormat
from recurra.tasks.forecasting.forecaster import Forecaster
from tasks.networks import forecaster, table_of

Y = generator("frames").normal(size=300)
DAYS = pd.date_range("2020-01-01", periods=300)
LABELS = {
    "whole numbers": (pd.DataFrame({0: Y, 1: Y}), 1),
    "a series without a name": (pd.Series(Y, index=DAYS), 0),
    "a series with a number": (pd.Series(Y, name=7), 7),
    "tuples": (pd.DataFrame({("a", "b"): Y, ("a", "c"): Y}, index=DAYS), ("a", "c")),
    "levels": (pd.DataFrame(np.c_[Y, Y], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 1)])), ("b", 1)),
    "periods": (pd.DataFrame({pd.Period("2020-01"): Y, pd.Period("2020-02"): Y}), pd.Period("2020-02")),
    "times": (pd.DataFrame({pd.Timestamp("2020-01-01"): Y}), pd.Timestamp("2020-01-01")),
}


@pytest.mark.parametrize("name", LABELS)
def test_columns_may_have_any_labels(name) -> None:
    frame, target = LABELS[name]
    before = list(frame.columns) if isinstance(frame, pd.DataFrame) else frame.name
    (one,) = series_of(as_table(frame), target)
    assert one.target.tolist() == Y.tolist()
    assert (list(frame.columns) if isinstance(frame, pd.DataFrame) else frame.name) == before
    if isinstance(frame.index, pd.DatetimeIndex):
        assert str(one.step) == "1 day"


def test_the_numbers_of_series_come_back_as_numbers() -> None:
    table = table_of(60, shops=(3, 12), missing=0)
    model, _ = forecaster(table)
    f = Forecaster.of_model(model)
    frame = pd.DataFrame(dict(table.columns))
    for given in (frame.astype({"shop": int}), table.columns | {"shop": np.array([3, 12] * 60)}):
        out = f.predict(given)
        assert list(out["series"]) == [3] * 5 + [12] * 5
        assert np.asarray(out["series"]).dtype.kind == "i"
    assert set(f.predict(frame.assign(shop=["3", "12"] * 60))["series"]) == {"3", "12"}


def test_a_fitted_forecaster_and_its_model_are_pickled_and_copied() -> None:
    model, _ = forecaster(table_of(60))
    f = Forecaster.of_model(model)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        assert again.fingerprint == model.fingerprint
        assert again.preprocessing == model.preprocessing
    data = pd.DataFrame(dict(table_of(60).columns))
    for again in (pickle.loads(pickle.dumps(f)), copy.deepcopy(f)):
        assert again.predict(data).equals(f.predict(data))


def test_decimals_behind_a_comma_between_semicolons(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time;y;z;name\n2024-01-01;51,524;1.234,5;a,b\n2024-01-02;-3;#N/A;?\n2024-01-03;,5;12,25e1;c\n")
    table = read_table(path)
    assert table.numbers("y").tolist() == [51.524, -3, 0.5]
    np.testing.assert_array_equal(table.numbers("z"), [1234.5, np.nan, 122.5])
    assert list(table.columns["name"]) == ["a,b", "?", "c"]
    path.write_text("time;y\n2024-01-01;1,5\n2024-01-02;1.234\n")
    with pytest.raises(DataError, match=r"a.csv, line 3: the column 'y' is '1.234' among numbers with a comma before"):
        read_table(path).numbers("y")
    path.write_text('time,y\n2024-01-01,"1,234"\n')  # which may be a thousand
    with pytest.raises(DataError, match="is '1,234', expected a number: write decimals with a point"):
        read_table(path).numbers("y")


def test_the_same_in_a_stream() -> None:
    form = LineFormat.of("shop;time;y\n", ["shop", "time", "y"], ["shop", "time"])
    assert form.observation("1,5;2024-01-01;51,524\n") == {"shop": "1,5", "time": "2024-01-01", "y": "51.524"}
    form = LineFormat.of("time,y\n", ["time", "y"], ["time"])
    assert form.observation('2024-01-01,"1,234"\n')["y"] == "1,234"


def test_comments_and_separators_behind_a_row(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "# of the station\n\ntime,y\n2024-01-01,1,\n# a pause, of a day, and more\n2024-01-02,2,,\n#N/A,3\n"
    )
    table = read_table(path)
    assert table.numbers("y").tolist() == [1, 2, 3]
    assert list(table.columns["time"]) == ["2024-01-01", "2024-01-02", "#N/A"]
    assert [table.where(row) for row in range(3)] == ["a.csv, line 4", "a.csv, line 6", "a.csv, line 7"]
    path.write_text("#time,y\n2024-01-01,1\n")  # a header, as rows with numbers follow it
    assert list(read_table(path).columns) == ["#time", "y"]
    path.write_text("time,y\n2024-01-01,1,2\n")
    with pytest.raises(DataError, match="line 2: the row has 3 cells, expected 2"):
        read_table(path)


def test_an_index_of_several_levels_has_series_and_times() -> None:
    index = pd.MultiIndex.from_product(
        [["a", "b"], pd.period_range("2020-01", periods=150, freq="M")], names=["id", "month"]
    )
    frame = pd.DataFrame({"y": Y}, index=index)
    found = series_of(as_table(frame), "y", series="id")
    assert [one.group for one in found] == ["a", "b"]
    assert [str(one.step) for one in found] == ["1 month"] * 2
    assert found[1].target.tolist() == Y[150:].tolist()
    assert list(frame.columns) == ["y"]
    (one,) = series_of(as_table(frame.xs("b").reset_index()), "y")  # a column of periods
    assert str(one.step) == "1 month"
    assert str(one.time[0])[:10] == "2020-01-01"


def test_a_column_by_itself_is_answered_by_a_frame() -> None:
    for index in (None, DAYS):
        given = pd.Series(Y, index=index, name="y")
        f = Forecaster(horizon=2, hidden=2, epochs=1).fit(given, "y")
        assert isinstance(f.predict(given.to_frame()), pd.DataFrame)
        assert f.predict(given).equals(f.predict(given.to_frame()))
