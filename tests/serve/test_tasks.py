"""Classifiers and regressors from their files, streamed: what `predict` says of the steps so far, to the last bit."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest

import recurra
from helpers import generator
from recurra import runtime
from recurra.errors import ModelFileError
from recurra.serve.stream import stream
from recurra.tasks.opening import open_live

SMALL = {"hidden": 5, "epochs": 2}


def long_table(count, key):
    """Rows of several sequences of odd lengths: two columns, one of them with missing values."""
    rng = generator(key)
    x = [rng.normal(size=(rng.integers(3, 8), 2)) for _ in range(count)]
    for one in x:
        one[rng.random(len(one)) < 0.2, 1] = np.nan
    rows = np.concatenate(x)
    return x, {"id": np.repeat([f"s{i}" for i in range(count)], list(map(len, x))), "a": rows[:, 0], "b": rows[:, 1]}


@pytest.fixture(scope="module", params=["classify", "regress"])
def estimator(request):
    _, table = long_table(40, "train")
    if request.param == "classify":
        y = ["up" if i % 2 else "down, or so" for i in range(40)]
        return recurra.Classifier(**SMALL).fit(table, y, series="id", evaluate=False)
    return recurra.Regressor(**SMALL).fit(table, np.arange(40.0), series="id", evaluate=False)


@pytest.fixture(scope="module")
def path(estimator, tmp_path_factory):
    path = tmp_path_factory.mktemp("m") / "m.recurra"
    estimator.save(path)
    return path


def turns(x):
    """The name and the step of each row, the sequences taking turns."""
    return [(i, t) for t in range(max(map(len, x))) for i in range(len(x)) if t < len(x[i])]


def expected(estimator, x):
    """What `predict` says of each sequence up to each step."""
    said = estimator.predict_proba if hasattr(estimator, "predict_proba") else estimator.predict
    return np.array([np.ravel(said([x[i][: t + 1]])[0]) for i, t in turns(x)])


def lines(x, form):
    cells = [["" if v != v else repr(float(v)) for v in x[i][t]] for i, t in turns(x)]
    names = [f"s{i}" for i, _ in turns(x)]
    if form == "csv":
        return ["note,b,a,id\n", *(f"?,{b},{a},{name}\n" for name, (a, b) in zip(names, cells, strict=True))]
    values = [[float(v) if v else None for v in row] for row in cells]
    if form == "lists":
        return [json.dumps([name, *row]) + "\n" for name, row in zip(names, values, strict=True)]
    rows = [{"a": a, "id": name} | ({} if b is None else {"b": b}) for name, (a, b) in zip(names, values, strict=True)]
    return [json.dumps(row) + "\n" for row in rows]


@pytest.mark.parametrize("form", ["csv", "lists", "objects"])
def test_a_stream_says_what_predict_says(estimator, path, form, tmp_path) -> None:
    """Cut in two by a restart, too."""
    x, _ = long_table(5, "new")
    out, errors, given = io.StringIO(), io.StringIO(), lines(x, form)
    for part in (given[:9], given[9:]):
        stream(open_live(recurra.load(path)), part, out, errors, snapshot=tmp_path / "s")
    want = expected(estimator, x)
    if form == "csv":
        head, *rows = csv.reader(io.StringIO(out.getvalue()))
        labels = ["probabilities.down, or so", "probabilities.up"]
        assert head == ["id", *(["label", *labels] if hasattr(estimator, "classes_") else ["value"])]
        answers = [dict(zip(head, row, strict=True)) for row in rows]
        numbers = [[float(v) for name, v in row.items() if name not in ("id", "label")] for row in answers]
    else:
        answers = [json.loads(line) for line in out.getvalue().splitlines()]
        numbers = [list(row["probabilities"].values()) if "label" in row else [row["value"]] for row in answers]
    assert [row["id"] for row in answers] == [f"s{i}" for i, _ in turns(x)]
    assert np.array(numbers).astype(want.dtype).tobytes() == want.tobytes()
    if hasattr(estimator, "classes_"):
        assert [row["label"] for row in answers] == estimator.classes_[want.argmax(1)].tolist()
    assert errors.getvalue() == ""


ENDS = [
    '{"id": "s0", "a": 0.5, "b": 1}',
    '{"id": "s1", "a": 0.1}',
    '{"id": "s0", "a": -1, "end": true}',  # on the last observation
    '{"id": "s0", "a": 2, "b": 3, "end": false}',
    '{"id": "s1", "end": "yes"}',  # on a line of its own
    '{"id": "s1", "b": 7}',
]


@pytest.mark.parametrize("form", ["csv", "objects"])
def test_a_sequence_with_a_name_ends(estimator, path, form, tmp_path) -> None:
    """And begins anew; in a stream that goes on after a kill between any two lines, too."""
    given = [f"{line}\n" for line in ENDS]
    if form == "csv":
        names = ["id", "a", "b", "end"]
        rows = [json.loads(line) for line in ENDS]
        cells = [["" if row.get(n) in (None, False) else str(row[n]) for n in names] for row in rows]
        given = [",".join(names) + "\n", *(",".join(row) + "\n" for row in cells)]
    said = estimator.predict_proba if hasattr(estimator, "predict_proba") else estimator.predict
    nan = np.nan
    parts = [[[0.5, 1]], [[0.1, nan]], [[0.5, 1], [-1, nan]], [[2, 3]], [[nan, 7]]]
    want = [np.ravel(said([np.array(one)])[0]) for one in parts]
    for cut in range(len(given)):
        out, errors, state = io.StringIO(), io.StringIO(), tmp_path / f"{form}{cut}"
        first = stream(open_live(recurra.load(path)), given[:cut], out, errors, snapshot=state)
        rest = stream(open_live(recurra.load(path)), given[cut:], out, errors, snapshot=state)
        assert (first.answers + rest.answers, first.ended + rest.ended, first.bad + rest.bad) == (5, 2, 0)
        assert (errors.getvalue(), first.announcements + rest.announcements) == ("", 0)
        answers = out.getvalue().splitlines()
        if form == "csv":
            numbers = [[float(v) for v in row[-len(want[0]) :]] for row in csv.reader(answers[1:])]
        else:
            told = [json.loads(line) for line in answers]
            numbers = [list(row["probabilities"].values()) if "label" in row else [row["value"]] for row in told]
        assert np.array(numbers).astype(want[0].dtype).tobytes() == np.array(want).tobytes()


BAD = {
    '{"id": "s0", "end": "perhaps"}': "'end' is 'perhaps', expected true or false",
    '{"end": true}': "the series 'id' is missing, expected the name of the one that ends",
    '["s0", "x", 1]': "'a' is 'x', expected a number",
    '{"id": "s0", "a": "inf"}': "'a' is infinite, expected a finite number",
    '{"a": 1}': "the row has no 'id'",
    '{"id": " ", "a": 1}': "the series 'id' is missing, expected a name",
    '["s0", 1]': "or a list of 3 values: id, a, b",
}


@pytest.mark.parametrize("line", BAD)
def test_a_bad_line_changes_nothing(path, line) -> None:
    x, _ = long_table(2, "bad")
    good, live = lines(x, "objects"), open_live(recurra.load(path))
    out, errors = io.StringIO(), io.StringIO()
    summary = stream(live, [*good[:2], f"{line}\n", *good[2:]], out, errors)
    want = io.StringIO()
    stream(open_live(recurra.load(path)), good, want, io.StringIO())
    assert (out.getvalue(), summary.bad) == (want.getvalue(), 1)
    assert "line 3: " in errors.getvalue()
    assert BAD[line] in errors.getvalue()


def test_columns_of_no_use_are_said_once(path) -> None:
    errors, rows = io.StringIO(), ['{"id": "s", "a": 1, "c": 2}\n'] * 3
    stream(open_live(recurra.load(path)), rows, io.StringIO(), errors)
    assert errors.getvalue() == "line 1: there is no column 'c' in the model: it is passed over\n"


def test_an_empty_line_ends_a_sequence_without_a_name(tmp_path) -> None:
    """Also where the process ends after any line."""
    x = [generator("unnamed", i).normal(size=(3 + i % 4, 1)) for i in range(30)]
    model = recurra.Classifier(**SMALL).fit(x, ["a", "b"] * 15, evaluate=False)
    given = [f"[{v}]\n" for v in x[1][:, 0]] + ["\n", "\n"] + [f"[{v}]\n" for v in x[2][:, 0]]
    out = io.StringIO()
    for line in given:
        stream(model.live(), [line], out, io.StringIO(), snapshot=tmp_path / "s")
    rows = [json.loads(line)["probabilities"] for line in out.getvalue().splitlines()]
    want = [model.predict_proba([one[: t + 1]])[0] for one in x[1:3] for t in range(len(one))]
    assert np.array([[row["a"], row["b"]] for row in rows], np.float32).tobytes() == np.array(want).tobytes()
    killed, out = model.live(), io.StringIO()
    journal = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        stream(killed, interrupted(given[:6]), out, io.StringIO(), snapshot=journal)
    stream(model.live(), given[6:], out, io.StringIO(), snapshot=journal)
    assert [json.loads(line)["probabilities"] for line in out.getvalue().splitlines()] == rows


def interrupted(lines):
    yield from lines
    raise KeyboardInterrupt


def test_the_command_streams_any_model_file_without_torch(path) -> None:
    """Only NumPy and the native module."""
    code = (
        "import sys; from recurra.cli.stream import stream; from pathlib import Path; stream(Path(sys.argv[1]));"
        "assert not {'torch', 'pandas', 'pyarrow', 'narwhals', 'sklearn', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        input="id,a,b\ns,1,2\ns,,3\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr.splitlines()[-1].startswith("2 answers at ")


def test_a_model_without_a_task() -> None:
    with pytest.raises(ModelFileError, match="the model has no task, expected one that an estimator of recurra wrote"):
        open_live(runtime.Model([runtime.Linear(np.ones((1, 2), np.float32))]))
