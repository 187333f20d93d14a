"""Reading by PyArrow is reading by the standard library: the same cells, numbers, times and messages."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recurra.data import arrow, read_table, series_of
from recurra.data.forecasting.forms import micros_of, parse_time
from recurra.data.readers import parse_csv
from recurra.data.table import MISSING, number
from recurra.errors import DataError


def told(content, fast):
    """What comes of a text: the cells and lines, or the message."""
    try:
        table = parse_csv(content, "t.csv", fast=fast)
    except DataError as error:
        return str(error)
    return {name: column.tolist() for name, column in table.columns.items()}, table.lines.tolist(), len(table)


PIECES = ["a", "1.5", ",", ";", "\t", '"', '""', '","', '"\n"', "\n", "\r\n", "\r", " ", "é", "\0", "\ufeff", "a,b\n"]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.sampled_from([b"", b"\xff", b"\n\xc3"]))
@example('x,y\n"a\r\nb",1\n\n"",""\n', b"")
@example('x,y\n"a""b","""c"\n', b"")
@example("x\n\n \n\r\n1", b"")
@example("x,y\n1,2\n3,4", b"")
def test_any_text_has_the_same_rows(text, end) -> None:
    content = text.encode() + end
    assert told(content, True) == told(content, False)


def random_cell(rng):
    kind = rng.integers(6)
    plain = "".join(rng.choice(list('ab1 ,;"\n\ré'), rng.integers(0, 5)))
    quoted = '"' + plain.replace('"', '""') + '"'
    return [quoted, quoted, str(rng.normal()), "NA", "", plain if kind else "x"][kind]


@given(st.integers(0, 10**9), st.integers(1, 4), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]))
def test_any_table_has_the_same_rows(seed, width, separator, end) -> None:
    """Mostly whole rows of cells with quotes, separators and line ends in them; now and then a fault."""
    rng = np.random.default_rng(seed)
    head = separator.join(f"c{i}" for i in range(width))
    rows = [separator.join(random_cell(rng) for _ in range(width)) for _ in range(rng.integers(0, 9))]
    content = end.join([head, *rows, ""]).encode()
    assert told(content, True) == told(content, False)


@pytest.mark.parametrize("fast", [False, True])
def test_words_of_statistical_offices_are_no_numbers(fast) -> None:
    table = parse_csv("t|y\n1|n.a.\n2|..\n3|:\n4|\u22120.5\n5|2\n".encode(), "t.csv", fast=fast)
    np.testing.assert_array_equal(table.numbers("y"), [np.nan, np.nan, np.nan, -0.5, 2])


def test_pyarrow_is_what_reads_a_good_file() -> None:
    """Without which the tests above would hold two equal things against each other."""
    content = b'time;"words"\r\n1;"a;b"\r\n\r\n2;"c""\r\nd"\r\n'
    table = parse_csv(content, "t.csv", fast=True)
    assert isinstance(table.columns, arrow.TextColumns)
    assert table.columns["words"].tolist() == ["a;b", 'c"\r\nd']
    assert [table.where(row) for row in range(2)] == ["t.csv, line 2", "t.csv, line 5"]


NUMBERS = ["1", " 2.5 ", "-3e-7", "+4", ".5", "5.", "1e999", "inf", "-Infinity", "nan", "-nan", "nan(1)", "1_000",
           "1,5", "0x10", "true", "", "NA", " n/a", "None", "1e-400", "5e-324", "0.1", "１２", "\u200b1", "\xa01",
           "1 2", "1d5", "179769313486231570000" * 15, "9007199254740993", "--1", "infinit", "1f"]  # fmt: skip


def strings(texts):
    import pyarrow as pa

    return pa.chunked_array([texts], pa.string())


def read_each(texts, read):
    """What the standard library makes of each text; None where one is refused."""
    try:
        return [read(text) for text in texts]
    except ValueError:
        return None


@example(NUMBERS)
@given(st.lists(st.one_of(st.sampled_from(NUMBERS), st.floats().map(repr), st.text(max_size=4)), min_size=1))
def test_numbers_are_those_of_python(texts) -> None:
    for some in (texts, *([text] for text in texts)):
        found, want = arrow.numbers(strings(some), MISSING), read_each(some, number)
        assert found is None or (want is not None and found.tobytes() == np.array(want).tobytes())


@given(
    st.lists(st.one_of(st.floats(allow_nan=False, allow_infinity=False).map(repr), st.sampled_from(sorted(MISSING))))
)
def test_usual_numbers_are_read_by_pyarrow(texts) -> None:
    found = arrow.numbers(strings([*texts, " 7 "]), MISSING)
    assert found.tobytes() == np.array([number(text) for text in [*texts, "7"]]).tobytes()


TIMES = ["2024-01-01", "2024-01-01 10", "2024-01-01T10:20", "2024/01/01 10:20:30", " 2024-01-01 10:20:30Z",
         "2024-01-01 10:20:30 +01:00", "2024-01-01 10:20:30+01", "2024-01-01 10:20:30-0130",
         "2024-01-01T10:20:30+05:45", "2024-01-01 24:00", "2024-01-01 10:20:60", "20240101", "20240101T1020",
         "2024", "2024-01", "2024-W01-1", "2024-1-1", "0000-01-01", "0001-01-01", "9999-12-31", "10000-01-01",
         "2024-01-01T10:20:30.000", "2024-02-30", "2024-01-01T10:20:30.5", "now", "today", "", "NaT",
         "2024-01-01x10:20", "2024-01-01Z", "2024-01-01T", "2024-01-01 10:20:30+25:00",
         "2024-01-01 10:20:30+01:00:30", "2024-01-01t10:20:30z", "1677-01-01"]  # fmt: skip


@example(TIMES)
@given(st.lists(st.one_of(st.sampled_from(TIMES), st.datetimes().map(str), st.text(max_size=4)), min_size=1))
def test_times_are_those_of_python(texts) -> None:
    for some in (texts, *([text] for text in texts)):
        found, want = arrow.seconds(strings(some)), read_each(some, parse_time)
        if found is not None:
            assert found[0].tolist() == [micros_of(moment) // 10**6 for moment in want]
            assert {parse_time(text).utcoffset() for text in found[1]} == {m.utcoffset() for m in want} - {None}
            assert len({moment.tzinfo is None for moment in want}) == 1


@given(st.lists(st.datetimes(timezones=st.sampled_from([None, UTC])), min_size=1), st.sampled_from("T "))
def test_usual_times_are_read_by_pyarrow(moments, between) -> None:
    texts = [m.replace(microsecond=0, tzinfo=moments[0].tzinfo).isoformat(between) for m in moments]
    assert arrow.seconds(strings(texts))[0].tolist() == [micros_of(parse_time(text)) // 10**6 for text in texts]


def test_small_files_are_read_without_other_libraries(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("time,y\n2024-01-01,1\n2024-01-02,2\n")
    code = (
        "import sys; from recurra.data import read_table, series_of; series_of(read_table(sys.argv[1]), 'y');"
        "assert not {'pandas', 'pyarrow', 'narwhals', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "t.csv")], check=True)


@pytest.mark.parametrize("fault", ["", "x", "text", "time"])
def test_a_large_file_is_read_as_a_small_one(fault, tmp_path, monkeypatch) -> None:
    """The same series, or the same message with the same line, however large a table must be for PyArrow."""
    lines = [
        f"{t},{y}" for t, y in zip(np.datetime64("2024-01-01T00:00") + np.arange(50), np.arange(50.0), strict=True)
    ]
    lines[20] = {"": lines[20], "x": "x", "text": lines[20] + "x", "time": "soon,1"}[fault]
    (tmp_path / "t.csv").write_text("\n".join(["time,y", *lines]))

    def read():
        try:
            (one,) = series_of(read_table(tmp_path / "t.csv"), "y")
        except DataError as error:
            return str(error)
        return one.ticks.tolist(), one.target.tolist(), one.step, one.clock, one.notes

    small = read()
    monkeypatch.setattr("recurra.data.readers._LARGE", 0)
    monkeypatch.setattr(arrow, "MANY", 0)
    assert read() == small
    assert ("line 22" in small) == bool(fault)
