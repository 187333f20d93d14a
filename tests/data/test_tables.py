"""Tables: what is read is what was written, and what cannot be read is said in one line."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.data import Clock, as_table, read_table, series_of
from recurra.data.writers import csv_text, write_table
from recurra.errors import DataError, MissingExtraError


def written(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


GOOD = {
    "commas": "time,y\n2024-01-01,1.5\n2024-01-02,\n",
    "semicolons, a mark and other line ends": "\ufefftime;y\r\n2024-01-01;1.5\r\n2024-01-02;\r\n",
    "tabs": "time\ty\n2024-01-01\t1.5\n2024-01-02\tNA\n",
    "quotes": '"time","y"\n"2024-01-01","1.5"\n2024-01-02,"nan"\n',
    "empty lines": "\n\ntime,y\n\n2024-01-01, 1.5\n\n\n2024-01-02,NULL\n\n",
    "no end": "time,y\n2024-01-01,1.5\n2024-01-02,None",
}


@pytest.mark.parametrize("name", GOOD)
def test_csv(name, tmp_path) -> None:
    table = read_table(written(tmp_path, GOOD[name]))
    assert list(table.columns) == ["time", "y"]
    assert table.columns["time"].tolist() == ["2024-01-01", "2024-01-02"]
    np.testing.assert_array_equal(table.numbers("y"), [1.5, np.nan])
    line = 6 if name.startswith("empty") else 2
    assert table.where(0) == f"t.csv, line {line - 1 if name.startswith('empty') else line}"


BAD = {
    "empty": (b"", "t.csv: the file is empty, expected a header line and rows"),
    "only line ends": (b"\n\r\n\n", "t.csv: the file has no line with text, expected a header line and rows"),
    "only a header": (b"time,y\n", "t.csv: there is a header line and no rows, expected at least one row"),
    "no header": (b"1,2\n3,4\n", "t.csv, line 1: the first line is '1,2', expected the names of the columns: add them"),
    "two of a name": (
        b"y,x,y\n1,2,3\n",
        "t.csv, line 1: the column 'y' comes twice, expected different names: rename one",
    ),
    "ragged": (b"a,y\n1,2\n3\n", "t.csv, line 3: the row has 1 cells, expected 2, one for each column of the header"),
    "too long": (b"a,y\n1,2\n\n3,4,5\n", "t.csv, line 4: the row has 3 cells, expected 2"),
    "Latin-1": (
        "a,y\n1,2\nZürich,4\n".encode("latin-1"),
        "t.csv, line 3: byte 0xfc is no UTF-8, expected text in UTF-8",
    ),
    "UTF-16": (
        "a,y\n1,2\n".encode("utf-16"),
        "t.csv: the file is UTF-16, expected CSV in UTF-8 or Parquet: save it as",
    ),
    "a spreadsheet": (b"PK\x03\x04....", "t.csv: the file is a ZIP file or a spreadsheet, expected CSV in UTF-8"),
    "gzip": (b"\x1f\x8b\x08\x00", "t.csv: the file is gzip, expected CSV"),
    "quotes": (b'a,y\n1,"2\n3,4\n', "expected CSV: check the quotes"),
    "cut Parquet": (b"PAR1\x00\x00\x00", "t.csv: no Parquet file ("),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_table(name, tmp_path) -> None:
    content, message = BAD[name]
    with pytest.raises(DataError) as error:
        read_table(written(tmp_path, content))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv")


CELLS = {
    "text": ("b", "t.csv, line 3: the target 'y' is 'b', expected a number: correct it, or leave it empty where"),
    "a comma": ('"2,5"', "t.csv, line 3: the target 'y' is '2,5', expected a number: write decimals with a point"),
    "infinite": ("-inf", "t.csv, line 3: the target 'y' is infinite, expected a finite number: leave the cell empty"),
    "an underscore": ("1_000", "t.csv, line 3: the target 'y' is '1_000', expected a number"),
    "overflow": ("1e999", "t.csv, line 3: the target 'y' is infinite"),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_that_is_no_number(name, tmp_path) -> None:
    cell, message = CELLS[name]
    table = read_table(written(tmp_path, f"words,y\none,1\ntwo,{cell}\nthree,3\n"))
    with pytest.raises(DataError) as error:
        table.numbers("y", "target")
    assert message in str(error.value)
    assert series_of(read_table(written(tmp_path, "words,y\none,1\ntwo,2\n")), "y")[0].target.tolist() == [1, 2]


def test_a_column_that_is_not_there() -> None:
    table = as_table({"Demand": np.arange(3.0), "time": np.arange(3)})
    for name, message in (("demand", "did you mean 'Demand'?"), ("x", "expected one of: Demand, time")):
        with pytest.raises(DataError) as error:
            series_of(table, name)
        assert str(error.value) == f"the table: there is no target {name!r}; {message}"
    for role in ("past", "known_ahead", "series", "time"):
        with pytest.raises(DataError, match=r"there is no .* 'Demnd'; did you mean 'Demand'\?"):
            series_of(table, "Demand", **{role: "Demnd"})
    with pytest.raises(DataError, match="the column 'Demand' has two roles"):
        series_of(table, "Demand", past="Demand")


COLUMNS = {
    "time": pd.date_range("2024-03-30 22:00", periods=5, freq="h"),
    "y": [1.5, np.nan, -2.0, 4.0, 5.0],
    "n": [3, 1, 4, 1, 5],
    "flag": [True, False, True, True, False],
    "word": ["a", "b", "a", "b", "c"],
}


def frames(tmp_path):
    frame = pd.DataFrame(COLUMNS)
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    return {
        "pandas": as_table(frame),
        "the index": as_table(frame.set_index("time")),
        "categories": as_table(frame.astype({"word": "category", "n": "Int64"})),
        "polars": as_table(pl.from_pandas(frame)),
        "lazy": as_table(pl.from_pandas(frame).lazy()),
        "arrow": as_table(pa.Table.from_pandas(frame)),
        "dict": as_table({name: column.to_numpy() for name, column in frame.items()}),
        "lists": as_table({**COLUMNS, "time": list(COLUMNS["time"].to_pydatetime()), "y": [1.5, None, -2, 4, 5]}),
        "parquet": read_table(tmp_path / "t.parquet"),
        "csv": read_table(tmp_path / "t.csv"),
    }


def test_every_kind_of_table_gives_the_same_series(tmp_path) -> None:
    for name, table in frames(tmp_path).items():
        (one,) = series_of(table, "y", past=["n"], known_ahead=["flag"])
        assert one.time.tolist() == COLUMNS["time"].to_pydatetime().tolist(), name
        np.testing.assert_array_equal(one.target, [1.5, np.nan, -2, 4, 5], name)
        np.testing.assert_array_equal(one.past[:, 0], COLUMNS["n"], name)
        np.testing.assert_array_equal(one.ahead[:, 0], COLUMNS["flag"], name)
        with pytest.raises(DataError, match="encode words as numbers, one column of 0 and 1 for each"):
            series_of(table, "y", known_ahead=["word"])
        groups = series_of(table, "n", series="word")
        assert [(one.name, one.target.tolist()) for one in groups[2:]] == [("c", [5.0])]


def test_arrays() -> None:
    array = np.arange(12.0).reshape(6, 2)
    (one,) = series_of(as_table(array), 1, past="0")
    assert one.target.tolist() == array[:, 1].tolist()
    assert one.past[:, 0].tolist() == array[:, 0].tolist()
    assert series_of(as_table(array[:, 0]), 0)[0].time.tolist() == list(range(6))
    assert series_of(as_table(pd.Series(array[:, 0], name="y")), "y")[0].target.tolist() == array[:, 0].tolist()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((2, 2, 2)), "the array has shape (2, 2, 2), expected [T] or [T, columns]"),
        (np.zeros((0, 2)), "it has 2 columns and no rows, expected at least one row"),
        ({"a": [1.0], "b": [1.0, 2.0]}, "the columns have the lengths {'a': 1, 'b': 2}, expected one length"),
        ({"a": np.zeros((2, 2))}, "the column 'a' has shape (2, 2), expected one value a row"),
        (7, "got a int, expected a pandas or Polars frame, a dict of arrays or a NumPy array"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "the column 'a' comes twice"),
        (pd.DataFrame(), "it has 0 columns and no rows"),
    ],
)
def test_what_is_no_table_in_memory(data, message) -> None:
    with pytest.raises(DataError) as error:
        as_table(data)
    assert message in str(error.value)


def test_missing_packages_say_how_to_get_them(tmp_path, monkeypatch) -> None:
    pq.write_table(pa.table({"y": [1.0]}), tmp_path / "t.parquet")
    frame, real = pd.DataFrame({"y": [1.0]}), builtins.__import__

    def without(name, *rest, **more):
        if name.partition(".")[0] in ("narwhals", "pyarrow"):
            raise ImportError(name)
        return real(name, *rest, **more)

    for name in [n for n in sys.modules if n.partition(".")[0] in ("narwhals", "pyarrow")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'recurra\[data\]'"):
        read_table(tmp_path / "t.parquet")
    with pytest.raises(MissingExtraError, match=r"a frame needs narwhals"):
        as_table(frame)


@given(
    st.lists(st.tuples(st.text(max_size=9), st.floats(allow_nan=True, allow_infinity=False)), min_size=1, max_size=9)
)
def test_what_is_written_is_read(tmp_path_factory, rows) -> None:
    path = tmp_path_factory.mktemp("w") / "w.csv"
    words = np.array([word.replace("\r", "").replace("\0", "") for word, _ in rows], dtype=object)
    numbers = np.array([x for _, x in rows])
    times = np.datetime64("2024-07-01T00:00:00") + 3600 * np.arange(len(rows))
    columns = {"word": words, "x": numbers, "time": times}
    write_table(path, columns, Clock(zone="Europe/Berlin"))
    table = read_table(path)
    np.testing.assert_array_equal(table.numbers("x"), numbers)
    assert table.columns["word"].tolist() == words.tolist()
    assert table.columns["time"][0] == "2024-07-01T02:00:00+02:00"


def test_parquet_is_written(tmp_path) -> None:
    times = np.datetime64("2024-07-01T00:00:00") + 3600 * np.arange(3)
    columns = {"series": np.array(["a", "b", "c"], dtype=object), "time": times, "x": np.array([0.1, np.nan, 3.0])}
    write_table(tmp_path / "w.parquet", columns, Clock(zone="Europe/Berlin"))
    frame = pd.read_parquet(tmp_path / "w.parquet")
    assert str(frame["time"][0]) == "2024-07-01 02:00:00+02:00"
    np.testing.assert_array_equal(frame["x"], columns["x"])
    assert csv_text(columns, Clock()).splitlines()[1] == "a,2024-07-01T00:00:00,0.1"
