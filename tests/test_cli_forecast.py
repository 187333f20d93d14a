"""The commands of a forecaster: from a table to a model file, forecasts and a stream, and how they fail."""

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
from typer.testing import CliRunner

from helpers import TESTS, generator
from recurra import cli, runtime
from recurra.cells.script import load_cell
from recurra.cli.training import names
from recurra.errors import CellError, RecurraError


def run(*arguments, stdin=""):
    """A command in this process: its result, an error as an exception."""
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments], input=stdin, standalone_mode=False)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def started(command, *arguments, **options):
    """A command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "recurra", command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1", "COLUMNS": "300"},
        **options,
    )


ROWS = 260
COLUMNS = ("time", "Demand", "Temperature", "WorkDay")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table and the model that was fitted to it."""
    path, rng, t = tmp_path_factory.mktemp("cli"), generator("cli"), np.arange(ROWS)
    demand = 50 + 5 * np.sin(t / 24 * 2 * np.pi) + rng.normal(size=ROWS)
    times = np.datetime64("2024-01-01T00:00") + 60 * t.astype("m8[m]")
    rows = [[str(times[i]), f"{demand[i]:.4f}", f"{rng.normal():.3f}", int(i // 24 % 7 < 5)] for i in t]
    rows[20][2] = ""
    with (path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    (path / "my_cells.py").write_text(
        "import recurra\nfrom recurra.cells import sigmoid, tanh\n\n\n"
        "@recurra.cell\ndef mine(x, h):\n    return sigmoid(x.z) * h + (1 - sigmoid(x.z)) * tanh(x.n + h.n)\n\n\n"
        "none = 7\n"
    )
    columns = ("--known-ahead", "WorkDay", "--past", "Temperature", "--time", "time")
    small = ("--hidden", 3, "--epochs", 1, "--out", path / "m.recurra")
    result = run("fit", "forecast", path / "t.csv", "--target", "Demand", "--horizon", 5, *columns, *small)
    (path / "fit.txt").write_text(result.output)
    return path


def test_fit_prints_a_table_and_writes_a_model(folder) -> None:
    printed = (folder / "fit.txt").read_text()
    for word in (
        "MAE",
        "MASE",
        "sMAPE",
        "coverage",
        "GRU",
        "yesterday again",
        "linear",
        "Temperature: 1 of 260 values",
    ):
        assert word in printed
    assert sorted(os.listdir(folder)) == ["fit.txt", "m.recurra", "my_cells.py", "t.csv"]
    about = runtime.load(folder / "m.recurra").preprocessing["transform"]
    assert (about["columns"]["past"], about["columns"]["ahead"]) == (["Temperature"], ["WorkDay"])
    assert about["horizon"] == 5


def test_predict_is_stream_to_the_last_bit(folder) -> None:
    out = folder / "f.csv"
    assert (
        "1300 rows" in run("predict", folder / "m.recurra", folder / "t.csv", "--out", out, "--origins", "all").output
    )
    with out.open() as file:
        rows = list(csv.DictReader(file))
    process = started("stream", folder / "m.recurra", "--ahead", folder / "t.csv", stdin=subprocess.PIPE)
    streamed, errors = process.communicate((folder / "t.csv").read_bytes(), timeout=60)
    assert process.returncode == 0, errors
    lines = list(csv.DictReader(io.StringIO(streamed.decode())))
    assert len(lines) == ROWS
    for row in rows:
        line = lines[int(row["origin"][8:10]) * 24 - 24 + int(row["origin"][11:13])]
        assert line["time"] == row["origin"]
        for level in ("q0.1", "q0.5", "q0.9"):
            assert line[f"{level}+{row['horizon']}"] == row[level]
    out.unlink()


def test_a_stream_goes_on_from_its_snapshot(folder) -> None:
    lines = (folder / "t.csv").read_text().splitlines(keepends=True)
    state = folder / "state"
    whole = started("stream", folder / "m.recurra", stdin=subprocess.PIPE)
    want = whole.communicate("".join(lines).encode(), timeout=60)[0]
    first = started("stream", folder / "m.recurra", "--snapshot", state, stdin=subprocess.PIPE)
    for line in lines[:30]:
        first.stdin.write(line.encode())
    first.stdin.flush()
    got = b"".join(first.stdout.readline() for _ in range(30))
    first.send_signal(signal.SIGKILL)
    got += first.communicate(timeout=60)[0]
    again = started("stream", folder / "m.recurra", "--snapshot", state, stdin=subprocess.PIPE)
    rest, errors = again.communicate("".join(lines[30:]).encode(), timeout=60)
    assert got + rest == want
    assert errors.decode().splitlines()[-1].startswith("231 forecasts at ")
    state.unlink()


def test_the_stream_flushes_each_line(folder) -> None:
    lines = (folder / "t.csv").read_bytes().splitlines(keepends=True)
    process = started("stream", folder / "m.recurra", stdin=subprocess.PIPE)
    process.stdin.write(lines[0])
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"time,q0.1+1")
    for line in lines[1:4]:
        process.stdin.write(line)
        process.stdin.flush()
        assert process.stdout.readline().startswith(line[:10])
    process.communicate(timeout=60)


def test_json_lines(folder) -> None:
    row = {"time": "2024-01-01T00:00", "Demand": 51.5, "Temperature": None, "WorkDay": 1}
    process = started("stream", folder / "m.recurra", stdin=subprocess.PIPE)
    out, errors = process.communicate((json.dumps(row) + "\noops\n").encode(), timeout=60)
    assert len(json.loads(out)["q0.5"]) == 5
    assert b"line 1: 'Temperature' is missing at 2024-01-01T00:00:00" in errors
    assert b"line 2: no JSON" in errors
    assert errors.splitlines()[-1].startswith(b"1 forecast at ")
    assert errors.splitlines()[-1].endswith(b", 1 bad line")


BAD_FIT = {
    "no file": (["none.csv"], "none.csv: No such file or directory"),
    "no column": (["t.csv", "--target", "demand"], "there is no target 'demand'; did you mean 'Demand'?"),
    "no past": (["t.csv", "--past", "Temp"], "there is no past column 'Temp'; did you mean 'Temperature'?"),
    "a horizon of 0": (["t.csv", "--horizon", "0"], "horizon=0, expected a whole number from 1 to 10000"),
    "a long horizon": (["t.csv", "--horizon", "60"], "260 rows are too few for a horizon of 60"),
    "no cell": (["t.csv", "--cell", "gruu"], "gruu"),
    "no script": (["t.csv", "--cell", "none.py:mine"], "none.py: there is no such script, expected a Python file"),
    "no folder": (["t.csv", "--out", "none/m.recurra"], "none: there is no such folder"),
    "a folder": (["t.csv", "--report", "."], "is a folder, expected the name of a file"),
    "no size": (["t.csv", "--hidden", "0"], "hidden=0, expected a whole number from 1"),
    "no zone": (["t.csv", "--zone", "Mars"], "the time zone is 'Mars', expected a name such as Europe/Berlin"),
    "empty": (["empty.csv"], "empty.csv: the file is empty, expected a header line and rows"),
    "text": (["text.csv"], "text.csv, line 3: the target 'Demand' is 'much', expected a number"),
    "unsorted": (["unsorted.csv"], "unsorted.csv, line 4: the time 2024-01-02 comes after 2024-01-03"),
    "constant": (["constant.csv"], "constant.csv: the target 'Demand' is 1 in every row"),
}
TABLES = {
    "empty.csv": "",
    "text.csv": "time,Demand\n2024-01-01,1\n2024-01-02,much\n",
    "unsorted.csv": "time,Demand\n2024-01-01,1\n2024-01-03,2\n2024-01-02,3\n",
    "constant.csv": "time,Demand\n2024-01-01,1\n2024-01-02,1\n2024-01-03,1\n",
}


@pytest.mark.parametrize("name", BAD_FIT)
def test_a_fit_that_cannot_be_done_ends_before_it_begins(name, folder, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_bytes((folder / "t.csv").read_bytes())
    for file, text in TABLES.items():
        (tmp_path / file).write_text(text)
    (tmp_path / "m.recurra").write_text("before")
    before = sorted(os.listdir(tmp_path))
    (file, *more), message = BAD_FIT[name]
    given = {"--target": "Demand", "--horizon": "5", "--out": "m.recurra"} | dict(
        zip(more[::2], more[1::2], strict=True)
    )
    with pytest.raises((RecurraError, OSError)) as error:
        run("fit", "forecast", file, *[x for pair in given.items() for x in pair])
    text = str(error.value)
    if isinstance(error.value, OSError) and not isinstance(error.value, RecurraError):
        text = f"{error.value.filename}: {error.value.strerror}"
    assert message in text
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "m.recurra").read_text() == "before"


def test_errors_are_one_line_and_status_2(folder, tmp_path) -> None:
    (tmp_path / "foreign").write_bytes(b"something else")
    (tmp_path / "cut").write_bytes((folder / "m.recurra").read_bytes()[:999])
    (tmp_path / "damaged").write_bytes(b"RcrJour\x01 but no more")
    model, table = folder / "m.recurra", folder / "t.csv"
    commands = {
        "no column": ("fit", "forecast", table, "--target", "demand", "--horizon", 5, "--out", tmp_path / "x"),
        "foreign": ("predict", tmp_path / "foreign", table, "--out", tmp_path / "x"),
        "cut short": ("predict", tmp_path / "cut", table, "--out", tmp_path / "x"),
        "another table": ("predict", model, folder / "fit.txt", "--out", tmp_path / "x"),
        "foreign model": ("stream", tmp_path / "foreign"),
        "damaged snapshot": ("stream", model, "--snapshot", tmp_path / "damaged"),
    }
    running = {name: started(*command, stdin=subprocess.DEVNULL) for name, command in commands.items()}
    for name, process in running.items():
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 2, name
        assert errors.startswith(b"recurra: "), errors
        assert errors.count(b"\n") == 1, errors
        assert out.strip() == b"", name
    assert sorted(os.listdir(tmp_path)) == ["cut", "damaged", "foreign"]


def test_ctrl_c_saves_the_best_so_far(folder, tmp_path) -> None:
    process = started(
        "fit", "forecast", folder / "t.csv", "--target", "Demand", "--horizon", 5, "--hidden", 3, "--epochs", 100000,
        "--out", tmp_path / "m.recurra",
    )  # fmt: skip
    checkpoint = tmp_path / "m.recurra.checkpoint"
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert b"Stopped: what follows is the best model so far, of epoch" in out
    assert runtime.load(tmp_path / "m.recurra").preprocessing["task"] == "forecast"
    assert sorted(os.listdir(tmp_path)) == ["m.recurra", "m.recurra.checkpoint"]


def test_a_cell_of_a_script(folder, tmp_path) -> None:
    cell = load_cell(f"{folder / 'my_cells.py'}:mine")
    assert cell.gates == ("z", "n")
    for name, message in {
        "my_cells.py:none": "'none' is no cell, expected a function under @recurra.cell; the script's cells are: mine",
        "my_cells.py:gru": "'gru' is not in it, expected",
        "my_cells.py": "expected the cell's name after the script",
    }.items():
        with pytest.raises(CellError, match=message):
            load_cell(str(folder / name))
    (tmp_path / "bad.py").write_text("1 / 0\n")
    with pytest.raises(CellError, match="the script fails with ZeroDivisionError: division by zero; run it alone"):
        load_cell(f"{tmp_path / 'bad.py'}:x")


def test_help_is_worth_reading() -> None:
    for command, words in {
        "fit forecast": ("--known-ahead", "--resume", "my_cells.py:my_cell", "Ctrl-C"),
        "fit classify": ("--series", "--group", "--bidirectional", "stratified by"),
        "predict": ("--out", "predictions.csv", "known ahead"),
        "evaluate": ("MODEL", "all metrics"),
        "stream": ("--snapshot", "--ahead", "JSON", "standard error"),
    }.items():
        text = CliRunner().invoke(cli.app, [*command.split(), "--help"], env={"COLUMNS": "200"}).output
        assert all(word in text for word in words), text


def test_names_between_commas() -> None:
    assert names("") == []
    assert names('a, b,"c,d"') == ["a", "b", "c,d"]
