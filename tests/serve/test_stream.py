"""Streams: their lines, what is reported, and a snapshot that outlives the process at any moment."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import TESTS
from recurra.data import Features, as_table, series_of, split_by_time
from recurra.errors import DataError, SessionError
from recurra.serve import journal as journal_module
from recurra.serve.journal import Journal
from recurra.serve.stream import LONGEST_LINE, _Run, read_lines, stream
from recurra.tasks.forecasting.live import LiveForecaster
from tasks.networks import forecaster, model_of, rows_of, table_of, whole_forecasts

TABLE = table_of(60)
MODEL, (SERIES,) = forecaster(TABLE)
WANT = whole_forecasts(MODEL, LiveForecaster(MODEL).features, SERIES)
HEADER = "time,y,temperature,holiday"


def cell(value):
    return "" if value != value else str(value)


def csv_lines(table=TABLE, start=0, header=True):
    rows = [",".join(map(cell, row.values())) for row in rows_of(table, sparse=False)]
    return [f"{line}\n" for line in ([",".join(table.columns)] if header else []) + rows[start:]]


def json_lines(table=TABLE):
    return [
        json.dumps({k: v if isinstance(v, (str, float)) else str(v) for k, v in row.items()}) + "\n"
        for row in rows_of(table)
    ]


def run(lines, model=MODEL, **options):
    out, errors = io.StringIO(), io.StringIO()
    summary = stream(LiveForecaster(model), lines, out, errors, **options)
    return out.getvalue(), errors.getvalue(), summary


@pytest.fixture
def ahead(tmp_path):
    path = tmp_path / "ahead.csv"
    rows = [f"{row['time']},{row['holiday']}\n" for row in rows_of(TABLE)]
    path.write_text("".join(["time,holiday\n", *rows]))
    return path


def test_csv_in_csv_out(ahead) -> None:
    out, errors, summary = run(csv_lines(), ahead=ahead)
    head, *rows = csv.reader(out.splitlines())
    assert head[:5] == ["time", "q0.1+1", "q0.5+1", "q0.9+1", "q0.1+2"]
    assert len(head) == 1 + 5 * 3
    assert [row[0] for row in rows] == [str(t) for t in SERIES.time]
    assert (np.array([row[1:] for row in rows], float).reshape(-1, 5, 3) == WANT).all()
    assert summary.answers == 60
    missing = sum(np.isnan(TABLE.columns[n]).sum() for n in ("y", "temperature"))
    assert errors.count("is missing at") == missing > 0
    assert errors.count("holiday") == 1  # unknown at the end of the table, said once


def test_json_in_json_out(ahead) -> None:
    out, _, _ = run([line.encode() for line in json_lines()], ahead=ahead)
    rows = [json.loads(line) for line in out.splitlines()]
    assert list(rows[0]) == ["time", "q0.1", "q0.5", "q0.9"]
    got = np.array([[row["q0.1"], row["q0.5"], row["q0.9"]] for row in rows]).transpose(0, 2, 1)
    assert (got == WANT).all()


def test_many_series_and_another_separator() -> None:
    shops = table_of(9, shops=("a,b", "c"), key="shops", missing=0)
    model, _ = forecaster(table_of(60, shops=("a,b", "c")))
    lines = [line.replace(",", ";").replace("a;b", "a,b") for line in csv_lines(shops)]
    out, _, _ = run(lines, model)
    head, *rows = csv.reader(out.splitlines(), delimiter=";")
    assert head[:3] == ["shop", "time", "q0.1+1"]
    assert [row[0] for row in rows] == ["a,b", "c"] * 9
    live = LiveForecaster(model)
    want = [live.step(row).quantiles.ravel().tolist() for row in rows_of(shops)]
    assert [[float(x) for x in row[2:]] for row in rows] == want
    quoted = [line.replace("a,b", '"a,b"') for line in csv_lines(shops)]
    assert [row[2:] for row in csv.reader(run(quoted, model)[0].splitlines())][1:] == [row[2:] for row in rows]


BAD = {
    "garbage": ("?!", "the row has 1 cells, expected 4"),
    "text": ("2024-03-29T01:00,x,1,0", "'y' is 'x', expected a number"),
    "infinity": ("2024-03-29T01:00,inf,1,0", "'y' is infinite"),
    "out of order": ("2024-03-29T00:00,1,1,0", "comes after 2024-03-29T00:30:00"),
    "twice": ("2024-03-29T00:30,1,1,0", "comes twice"),
    "too many": ("2024-03-29T01:00,1,1,0,5", "the row has 5 cells, expected 4"),
    "quotes": ('2024-03-29T01:00,"1,1,0', "no CSV"),
    "no UTF-8": (b"2024-03-29T01:00,1\xff,1,0\n", "byte 0xff is no UTF-8"),
    "no time": (",1,1,0", "the time 'time' is missing"),
    "control": ("\x00", "the row has 1 cells"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_reported_and_the_stream_goes_on(name) -> None:
    line, message = BAD[name]
    line = line if isinstance(line, bytes) else f"{line}\n".encode()
    good = [x.encode() for x in csv_lines()]
    out, errors, summary = run([*good[:3], line, b"\n", *good[3:]])
    assert out == run(good)[0]
    assert summary.bad == 1
    reported = [x for x in errors.splitlines() if x.startswith("line 4:")]
    assert len(reported) == 1
    assert message in reported[0]


def test_garbage_in_json() -> None:
    lines = json_lines()
    out, errors, summary = run([lines[0], "{oops\n", "[1, 2]\n", "7\n", '{"time": [1]}\n', "{}\n", *lines[1:]])
    assert out == run(lines)[0]
    assert summary.bad == 5
    assert "line 2: no JSON (" in errors
    assert "line 3: '[1, 2]' is no JSON object" in errors
    assert "line 5: the time 'time': [1] is no time" in errors
    assert "line 6: the row has no 'time'" in errors


def test_rows_that_are_left_out() -> None:
    lines = csv_lines()
    out, errors, _ = run(lines[:5] + lines[8:])
    assert "line 6: 3 rows before 2024-03-29T03:30:00 taken as missing" in errors
    assert len(out.splitlines()) == 58


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("time,demand,temperature,holiday\n", "line 1: there is no column 'y'; expected one of: time, demand"),
        ("time,y,temprature,holiday\n", "line 1: there is no column 'temperature'; did you mean 'temprature'?"),
        ("time,y,y,temperature,holiday\n", "line 1: the column 'y' comes twice"),
        ("2,3,4\n", "line 1: the first line is '2,3,4', expected the names of the columns"),
    ],
)
def test_a_header_that_will_not_do_ends_the_stream(header, message) -> None:
    with pytest.raises(DataError) as error:
        run([header, "1,2,3,4\n"])
    assert message in str(error.value)


def test_an_ahead_file_that_will_not_do(tmp_path) -> None:
    path = tmp_path / "ahead.csv"
    path.write_text("time,holidays\n2024-03-29,1\n")
    with pytest.raises(DataError, match=r"ahead.csv: there is no column 'holiday'; did you mean 'holidays'"):
        run(csv_lines(), ahead=path)
    path.write_text("time,holiday\n2024-03-29,1\nsoon,1\n")
    with pytest.raises(DataError, match=r"ahead.csv, line 3: the time 'time': 'soon' is no time"):
        run(csv_lines(), ahead=path)


def test_a_line_without_end_is_cut() -> None:
    lines = list(read_lines(io.BytesIO(b"a\n" + b"x" * (3 * LONGEST_LINE) + b"\nb\n")))
    assert [len(line) for line in lines] == [2, LONGEST_LINE, 2]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 61), max_size=4), st.booleans(), st.integers(0, 3))
def test_a_stream_in_pieces_is_the_stream(tmp_path_factory, cuts, again, size) -> None:
    """Ended after any lines and started again with the rest or the whole; the state is written anew at odd times."""
    state = tmp_path_factory.mktemp("s") / "state"
    lines, whole = csv_lines(), run(csv_lines())[0]
    out, before = "", 0
    for cut in [*sorted(cuts), len(lines)]:
        part = lines[:cut] if again else lines[before:cut]
        got, errors, _ = run(part, snapshot=state)
        assert errors.count("are in the snapshot") == (again and before > 1)
        out, before = out + got, max(before, cut)
    assert out == whole


def test_what_the_snapshot_knows_is_not_counted_twice(tmp_path) -> None:
    lines = csv_lines()
    run(lines[:20], snapshot=tmp_path / "s")
    out, errors, summary = run([*lines[:9], "2024-03-29T00:00,5,5,5\n", *lines[9:30]], snapshot=tmp_path / "s")
    assert out == "".join(run(lines)[0].splitlines(keepends=True)[20:30])
    assert summary.skipped == 20
    assert errors.count("are in the snapshot") == 1


def test_a_snapshot_that_will_not_do(tmp_path) -> None:
    path, other = tmp_path / "s", forecaster(table_of(60), hidden=3)[0]
    run(csv_lines()[:20], snapshot=path)
    whole = path.read_bytes()
    with pytest.raises(SessionError, match="of another model"):
        run(csv_lines(), other, snapshot=path)
    for bad, message in (
        (b"", "0 bytes that are no snapshot"),
        (whole[:200], "damaged or cut short"),
        (whole[:4] + b"\x07" + whole[5:], "has version 7, expected 2: update recurra"),
        (whole[:4] + b"\x01" + whole[5:], "has version 1, expected 2: an earlier recurra wrote it; delete the file"),
        (b"RcrJour\x01" + bytes(99), "107 bytes that are no snapshot"),  # of the first version
        (whole[:300] + bytes([whole[300] ^ 1]) + whole[301:], "damaged"),
    ):
        path.write_bytes(bad)
        with pytest.raises(SessionError, match=message):
            run(csv_lines(), snapshot=path)
        assert path.read_bytes() == bad


def test_the_journal(tmp_path) -> None:
    """Lines that were cut short are not there; the others are; two processes do not share it."""
    journal = Journal(tmp_path / "j")
    assert journal.state is None
    journal.begin(b"state")
    for i in range(3):
        assert not journal.add(b"line %d" % i, i)
    with pytest.raises(SessionError, match="in use by another process"):
        Journal(tmp_path / "j")
    journal.close()
    content = (tmp_path / "j").read_bytes()
    for cut in range(0, 23):
        (tmp_path / "j").write_bytes(content[: len(content) - cut])
        again = Journal(tmp_path / "j")
        assert again.lines == [(b"line %d" % i, i) for i in range(3 if cut == 0 else 2)]
        again.add(b"more", 7)
        again.close()
        last = Journal(tmp_path / "j")
        assert last.lines == [*again.lines, (b"more", 7)]
        last.close()
    journal = Journal(tmp_path / "j")
    ghost = journal_module._RECORD.pack(5, journal_module._checksum(b"ghost", 7), 7) + b"ghost"
    journal.add(b"12345" + 50 * ghost, 7)
    journal.close()
    os.truncate(tmp_path / "j", (tmp_path / "j").stat().st_size - 100)
    for _ in range(3):  # what is left of the long line does not come back
        journal = Journal(tmp_path / "j")
        journal.add(b"short", 7)
        journal.close()
    assert [line for line, _ in journal.lines[-2:]] == [b"short"] * 2
    assert len(journal.lines) == len(last.lines) + 2
    for at in (-30, -41):  # in a record, and in its size
        (tmp_path / "j").write_bytes(content[:at] + b"?" + content[at + 1 :])
        with pytest.raises(SessionError, match="damaged after 1 lines"):
            Journal(tmp_path / "j")


@pytest.mark.parametrize("torn", range(6))
def test_an_end_that_came_to_the_disk_in_part_is_dropped(torn, tmp_path) -> None:
    lines, whole, path = csv_lines(), run(csv_lines())[0].splitlines(keepends=True), tmp_path / "s"
    journal = unfinished(lines[:20], path)
    good, n = path.read_bytes(), len(lines[19])
    path.write_bytes(
        [
            good[:-5],
            good[: -n - 16] + bytes(n + 16),
            good[:-n] + bytes(n),
            good[:-10] + bytes(10),
            good + bytes(4096),
            good[: -8 * n] + bytes(2 * n) + good[-6 * n :],  # a page in the midst of the last lines
        ][torn]
    )
    assert journal.answered is False
    out, errors, _ = run([lines[0], *lines[11:25]], snapshot=path)
    assert errors.startswith("line 0: the end of the snapshot came to the disk only in part")
    assert whole[-1] not in out
    assert "".join(whole).endswith(out + "".join(whole[25:]))


def unfinished(lines, path, live=None):
    """A stream whose process ends without a word."""
    run_ = _Run(live or LiveForecaster(MODEL), io.StringIO(), io.StringIO())
    run_.go_on(path)
    for line in lines:
        run_.take(line)
    run_.journal.close()
    return run_.journal


def test_two_streams_that_start_together_on_a_snapshot_that_is_not_there_yet(tmp_path) -> None:
    first = _Run(LiveForecaster(MODEL), io.StringIO(), io.StringIO())
    first.go_on(tmp_path / "s")
    with pytest.raises(SessionError, match="in use by another process"):
        run(csv_lines(), snapshot=tmp_path / "s")
    for line in csv_lines()[:20]:  # also where the state is written anew in between
        first.take(line)
        with pytest.raises(SessionError, match="in use by another process"):
            Journal(tmp_path / "s")
    first.save()
    with pytest.raises(SessionError, match="in use by another process"):
        Journal(tmp_path / "s")
    first.journal.close()
    assert [file.name for file in tmp_path.iterdir()] == ["s"]
    out, _, summary = run(csv_lines(), snapshot=tmp_path / "s")
    assert summary.skipped == 19
    assert out == "".join(run(csv_lines())[0].splitlines(keepends=True)[20:])


def test_the_state_is_written_anew_when_the_lines_are_many(tmp_path) -> None:
    journal = Journal(tmp_path / "j")
    journal.begin(b"a")
    assert not journal.add(b"x" * (1 << 19), 0)
    assert journal.add(b"x" * (1 << 19), 0)
    journal.begin(b"b")
    assert not journal.add(b"y", 1)
    journal.close()
    assert (tmp_path / "j").stat().st_size < 100
    again = Journal(tmp_path / "j")
    assert (again.state, again.lines) == (b"b", [(b"y", 1)])
    again.close()


KILLED = """
import os, sys
from recurra import engine, load
from recurra.serve.stream import read_lines, stream
from recurra.tasks.forecasting.live import LiveForecaster
engine.set_num_threads(1)
assert "torch" not in sys.modules
stream(LiveForecaster(load(sys.argv[1])), read_lines(sys.stdin.buffer), sys.stdout, sys.stderr, snapshot=sys.argv[2])
assert "torch" not in sys.modules
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what the output has")
@pytest.mark.parametrize("given_again", ["rest", "whole"])
def test_killed_at_any_moment_nothing_is_lost_or_counted_twice(tmp_path, given_again) -> None:
    """A process is killed while it works, again and again; the file of forecasts ends as that of an unbroken run."""
    table = table_of(4000, key="killed")
    model, _ = forecaster(table)
    model.save(tmp_path / "m.recurra")
    lines = [line.encode() for line in csv_lines(table)]
    want = run(lines, model)[0].encode()
    output, rng, kills = tmp_path / "out.csv", np.random.default_rng(3), 0
    for attempt in range(40):
        done = len(output.read_bytes().splitlines()) if output.exists() else 0
        part = lines if given_again == "whole" else [*lines[:1], *lines[max(1, done - 3) :]]
        (tmp_path / "in.csv").write_bytes(b"".join(part))
        with (tmp_path / "in.csv").open("rb") as source, output.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-c", KILLED, str(tmp_path / "m.recurra"), str(tmp_path / "state")],
                stdin=source,
                stdout=sink,
                stderr=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": str(TESTS)},
            )
            if attempt < 6:  # wait until it works, then a little longer
                size = output.stat().st_size
                while process.poll() is None and output.stat().st_size == size:
                    time.sleep(0.001)
                time.sleep(rng.uniform(0, 0.04))
                process.send_signal(signal.SIGKILL)
            errors = process.communicate(timeout=100)[1]
        kills += process.returncode == -signal.SIGKILL
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
    assert output.read_bytes() == want
    assert kills >= 3


def test_a_kill_between_the_forecast_and_the_snapshot(tmp_path) -> None:
    """The moment at which the snapshot has a line whose forecast is not out, or is cut in two."""
    lines, whole = csv_lines(), run(csv_lines())[0]
    for taken in (1, 2, 20):
        for there in (0, 1, 7, None):
            out_path, state = tmp_path / f"out {taken} {there}", tmp_path / f"s {taken} {there}"
            with out_path.open("a", encoding="utf-8") as out, pytest.raises(OSError, match="killed"):
                stream(LiveForecaster(MODEL), lines, Killed(out, taken, there), io.StringIO(), snapshot=state)
            with out_path.open("a", encoding="utf-8") as out:
                stream(LiveForecaster(MODEL), lines[taken:], out, io.StringIO(), snapshot=state)
            assert out_path.read_text() == whole


@pytest.mark.parametrize("first", [18, 19, 20])
def test_a_pipe_gets_the_last_forecast_when_its_line_is_given_first(first, tmp_path) -> None:
    lines, whole = csv_lines(), run(csv_lines())[0].splitlines(keepends=True)
    out = Killed(io.StringIO(), 20, 0)
    with pytest.raises(OSError, match="killed"):
        stream(LiveForecaster(MODEL), lines, out, io.StringIO(), snapshot=tmp_path / "s")
    assert out.file.getvalue() == "".join(whole[:19])
    again, _, _ = run([lines[0], *lines[first:]], snapshot=tmp_path / "s")
    assert again == "".join(whole[19 if first == 19 else 20 :])


@pytest.mark.parametrize("form", ["csv", "json"])
def test_without_times_a_line_whose_answer_was_not_seen_counts_once(form, tmp_path) -> None:
    """Given again from the first line without an answer, whether its like came before or not."""
    table = as_table({"y": TABLE.columns["y"]})
    series = series_of(table, "y")
    model = model_of(Features.fit(series, split_by_time(series, horizon=5), horizon=5, seasons=(6,)))
    values = [1, 2, 2, 2, 3, 3, 4, 5, 5, 5]
    lines = [f'{{"y": {v}}}\n' for v in values] if form == "json" else ["y\n", *(f"{v}\n" for v in values)]
    head = lines[: form == "csv"]
    whole = run(lines, model)[0].splitlines(keepends=True)
    for killed in range(len(head) + 1, len(whole) + 1):
        for seen in (0, None):
            path = tmp_path / f"{killed} {seen}"
            out = Killed(io.StringIO(), killed, seen)
            with pytest.raises(OSError, match="killed"):
                stream(LiveForecaster(model), lines, out, io.StringIO(), snapshot=path)
            if seen is None and killed < len(whole):  # it saw the answer, and went on to the next line
                journal = Journal(path)
                journal.answer()
                journal.close()
            got = out.file.getvalue().splitlines(keepends=True)
            again, errors, _ = run([*head, *lines[len(got) :]], model, snapshot=path)
            assert "".join(got) + again == "".join(whole)
            assert errors.count("it counts once") == (seen == 0)


class Killed:
    """An output whose process ends at one of the lines: after so many characters of it, or (None) after it."""

    def __init__(self, file, line, characters):
        self.file, self.left, self.characters = file, line, characters

    def write(self, text):
        self.left -= 1
        self.file.write(text if self.left else text[: self.characters])
        if not self.left:
            self.file.flush()
            raise OSError("killed")

    def __getattr__(self, name):
        return getattr(self.file, name)
