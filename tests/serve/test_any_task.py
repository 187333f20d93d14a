"""What serves models knows no task: a made-up one streams, goes on from a snapshot, and is refused where it must be."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest

from helpers import generator
from recurra import cells, runtime
from recurra.errors import DataError, SessionError
from recurra.serve.lines import LineFormat
from recurra.serve.stream import stream
from recurra.tasks.live.base import Live
from recurra.weights import Weights

F = np.float32


class Halves:
    """A transform that remembers the step before: each number, half of the one before it, and whether it is missing."""

    def __init__(self, factor=0.5):
        self.factor = factor

    def live(self, name):
        return LiveHalves(self.factor)

    def to_dict(self):
        return {"factor": self.factor}

    def rows(self, x):
        before = np.concatenate([[0.0], np.nan_to_num(x[:-1])])
        return np.stack([np.nan_to_num(x), self.factor * before, np.isnan(x)], 1).astype(F)


class LiveHalves:
    def __init__(self, factor):
        self.factor, self.before = factor, np.zeros(1)

    def push(self, x):
        row = np.array([0 if x != x else x, self.factor * self.before[0], x != x], F)
        self.before[0] = row[0]
        return row

    def state(self):
        return {"before": self.before.copy()}

    def restore(self, state):
        self.before = state["before"].copy()


def model(seed="any task"):
    rng = generator(seed)
    recurrent = runtime.Recurrent(cells.gru, [Weights.random(cells.gru, 3, 5, rng=rng)])
    linear = runtime.Linear(rng.normal(size=(2, 5)).astype(F))
    return runtime.Model([recurrent, linear, runtime.Softmax()])


MODEL = model()


class Toss(Live):
    """Heads or tails, after each number of each coin."""

    answer = "coin"

    def __init__(self, of=MODEL, factor=0.5):
        super().__init__(of, Halves(factor), ["coin"], ["x"])

    def step(self, observation):
        name, text = str(observation["coin"]), observation.get("x")
        try:
            x = math.nan if text in (None, "") else float(text)
        except ValueError:
            raise DataError(f"'x' is {text!r}, expected a number") from None
        one = self._series.setdefault(name, self._begun(name))
        if x != x:
            self.notes.append(f"'x' of {name!r} is missing")
        return name, one.session.step(one.rows.push(x))

    @property
    def fields(self):
        return ["coin", "side", "heads", "tails"]

    def cells(self, answer):
        name, shares = answer
        return [name, ("heads", "tails")[shares.argmax()], *map(repr, shares.tolist())]

    def to_dict(self, answer):
        return dict(zip(self.fields[:2], self.cells(answer)[:2], strict=True)) | {"shares": answer[1].tolist()}


def observations(count=40):
    """Numbers of three coins, some missing, in any order."""
    rng = generator("coins")
    return [("abc"[rng.integers(3)], math.nan if rng.random() < 0.1 else rng.normal()) for _ in range(count)]


def whole(rows):
    """What the network says of each coin's whole sequence at once, in the order of the rows."""
    said = {}
    for coin in "abc":
        x = np.array([x for c, x in rows if c == coin])
        said[coin] = iter(MODEL.run(Halves().rows(x)[:, None])[:, 0])
    return np.stack([next(said[coin]) for coin, _ in rows])


def as_text(rows, form):
    texts = ["" if x != x else repr(float(x)) for _, x in rows]
    lines = {
        "csv": ["x;more;coin", *(f"{x};?;{c}" for (c, _), x in zip(rows, texts, strict=True))],
        "objects": [json.dumps({"coin": c} | ({} if x != x else {"x": x})) for c, x in rows],
        "lists": [json.dumps([c, None if x != x else x]) for c, x in rows],
    }
    return [f"{line}\n" for line in lines[form]]


def run(lines, live=None, **options):
    out, errors = io.StringIO(), io.StringIO()
    summary = stream(live or Toss(), lines, out, errors, **options)
    return out.getvalue(), errors.getvalue(), summary


@pytest.mark.parametrize("form", ["csv", "objects", "lists"])
def test_answers_are_those_of_whole_sequences(form) -> None:
    rows = observations()
    out, errors, summary = run(as_text(rows, form))
    if form == "csv":
        head, *lines = csv.reader(out.splitlines(), delimiter=";")
        assert head == ["coin", "side", "heads", "tails"]
        coins, shares = [line[0] for line in lines], [[float(x) for x in line[2:]] for line in lines]
    else:
        lines = [json.loads(line) for line in out.splitlines()]
        assert list(lines[0]) == ["coin", "side", "shares"]
        coins, shares = [line["coin"] for line in lines], [line["shares"] for line in lines]
    assert coins == [coin for coin, _ in rows]
    assert np.array(shares, F).tobytes() == whole(rows).tobytes()
    assert errors.count("is missing") == sum(x != x for _, x in rows) > 0
    assert str(summary).startswith("40 coins at ")


@pytest.mark.parametrize("form", ["csv", "objects", "lists"])
def test_a_stream_in_pieces_is_the_stream(form, tmp_path) -> None:
    """Without times the input is the rest; the state, the transform's too, is in the snapshot or in its lines."""
    lines = as_text(observations(), form)
    want, _, _ = run(lines)
    out = "".join(run(lines[a:b], snapshot=tmp_path / "s")[0] for a, b in ((0, 7), (7, 8), (8, 8), (8, 41)))
    assert out == want


def test_a_bad_line_is_reported_and_nothing_is_lost() -> None:
    lines = as_text(observations(), "lists")
    out, errors, summary = run([*lines[:3], "[1]\n", '["a", "x"]\n', "7\n", *lines[3:]])
    assert out == run(lines)[0]
    assert summary.bad == 3
    assert "line 4: '[1]' is no JSON object, expected one such as {...}, or a list of 2 values: coin, x" in errors
    assert "line 5: 'x' is 'x', expected a number" in errors


def test_what_cannot_be_announced(tmp_path) -> None:
    (tmp_path / "ahead.csv").write_text("coin,x\na,1\n")
    with pytest.raises(DataError, match=r"ahead.csv, line 2: the model has no known-ahead columns: nothing can be"):
        run([], ahead=tmp_path / "ahead.csv")


def test_a_snapshot_belongs_to_its_model_and_its_transform() -> None:
    live = Toss()
    for coin, x in observations():
        live.step({"coin": coin, "x": x})
    saved = live.snapshot()
    for other in (Toss(model("another")), Toss(factor=0.25)):
        with pytest.raises(SessionError, match="of another model"):
            other.restore(saved)
        assert other.series == []
    again = Toss()
    again.restore(saved)
    assert (again.series, again.snapshot()) == (live.series, saved)
    again.end("a")
    (_, got), (_, fresh) = (one.step({"coin": "a", "x": 1.0}) for one in (again, Toss()))
    assert got.tobytes() == fresh.tobytes() != live.step({"coin": "a", "x": 1.0})[1].tobytes()


def test_a_network_of_two_directions_cannot_live() -> None:
    rng = generator("both")
    weights = [Weights.random(cells.gru, 3, 5, rng=rng) for _ in range(2)]
    with pytest.raises(SessionError, match="a live session"):
        Toss(runtime.Model([runtime.Recurrent(cells.gru, weights), runtime.Linear(np.ones((2, 10), F))]))


@pytest.mark.parametrize("line", ['{"x": 1, "coin": "a"}', '["a", 1]', "coin,x"])
def test_the_format_is_that_of_the_first_line(line) -> None:
    form = LineFormat.of(line, ["coin", "x"])
    assert form.is_json == (line[0] in "{[")
    assert form.is_header("coin,x\n") == (not form.is_json)
    assert form.observation('{"x": 2}' if form.is_json else "b,2") == (
        {"x": 2} if form.is_json else {"coin": "b", "x": "2"}
    )
